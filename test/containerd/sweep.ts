/**
 * Ends and removes whatever a containerd of the tests has left: processes, mounts, cgroups, sockets, its folder. Touches nothing that
 * doesn't carry the folder's name. Synchronous, and no other module is needed to run it.
 */
import { execFileSync } from "node:child_process"
import { readdirSync, readFileSync, rmdirSync, rmSync } from "node:fs"
import { basename, join } from "node:path"

/** What every scratch folder's name begins with. */
export const SCRATCH_PREFIX = "cordwood-e2e-"
const SHIM_SOCKETS = "/run/containerd/s/"
const CGROUPS = "/sys/fs/cgroup"

const quietly = (act: () => void): void => {
  try {
    act()
  } catch {
    // It was gone already; what is really left over shows as a folder that can't be removed.
  }
}

interface Process {
  readonly pid: number
  readonly parent: number
  readonly args: ReadonlyArray<string>
}

const processes = (): ReadonlyArray<Process> =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const args = readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0")
        // The second field is the command in brackets and may hold anything; the parent is the second one after it.
        const afterCommand = readFileSync(`/proc/${name}/stat`, "utf8")
          .replace(/^.*\) /s, "")
          .split(" ")
        return [{ pid: Number(name), parent: Number(afterCommand[1]), args }]
      } catch {
        return [] // It ended while we looked.
      }
    })

/** Processes that were given a path in this folder (containerd, its shims, agents) and all beneath them, children first. */
const processesOf = (scratch: string): ReadonlyArray<number> => {
  const all = processes()
  const below = (pid: number): ReadonlyArray<number> =>
    all.filter(({ parent }) => parent === pid).flatMap((child) => [...below(child.pid), child.pid])
  const roots = all.filter(({ args }) => args.some((arg) => arg.startsWith(`${scratch}/`)))
  return [...new Set(roots.flatMap(({ pid }) => [...below(pid), pid]))].filter((pid) => pid !== process.pid)
}

export const sweep = (scratch: string): void => {
  if (!basename(scratch).startsWith(SCRATCH_PREFIX)) throw new Error(`${scratch} is no scratch folder of these tests`)
  for (const pid of processesOf(scratch)) quietly(() => process.kill(pid, "SIGKILL"))
  const tasks = join(scratch, "state/io.containerd.runtime.v2.task/k8s.io")
  quietly(() => {
    for (const id of readdirSync(tasks)) {
      quietly(() => {
        const address = readFileSync(join(tasks, id, "address"), "utf8").replace(/^unix:\/\//, "")
        if (address.startsWith(SHIM_SOCKETS)) rmSync(address, { force: true })
      })
    }
  })
  const mounts = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((path) => path.startsWith(`${scratch}/`))
    .sort()
    .toReversed()
  for (const path of mounts) quietly(() => execFileSync("umount", ["--lazy", path], { stdio: "ignore" }))
  rmSync(scratch, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
  // Last, when the processes in them have had the time to end.
  quietly(() => {
    for (const controller of ["", ...readdirSync(CGROUPS)]) {
      const parent = join(CGROUPS, controller, basename(scratch))
      quietly(() => {
        for (const child of readdirSync(parent, { withFileTypes: true })) {
          if (child.isDirectory()) quietly(() => rmdirSync(join(parent, child.name)))
        }
        rmdirSync(parent)
      })
    }
  })
}
