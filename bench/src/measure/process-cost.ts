/** What a whole process costs: CPU of all its threads, and memory. From outside, as the kernel counts it. Linux only. */
import { spawn } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { setTimeout } from "node:timers/promises"

const NANOSECONDS = 1e9
const BYTES_PER_MIB = 2 ** 20

/** Seconds on a CPU since the process began, by the scheduler's own nanoseconds. Threads that have ended are missing: Node's pools stay. */
export const cpuSeconds = (pid: number): number => {
  let nanoseconds = 0
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      nanoseconds += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "latin1").split(" ")[0])
    } catch {
      // The thread ended since its name was read.
    }
  }
  return nanoseconds / NANOSECONDS
}

/** In MiB. `anonymous`: what is the process's own, without the mapped binary. `peak`: the most there ever was. */
export interface Memory {
  readonly rss: number
  readonly anonymous: number
  readonly peak: number
}
export const memory = (pid: number): Memory => {
  const status = readFileSync(`/proc/${pid}/status`, "latin1")
  const field = (name: string): number =>
    (Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1]) * 1024) / BYTES_PER_MIB
  return { rss: field("VmRSS"), anonymous: field("RssAnon"), peak: field("VmHWM") }
}

/** A process that takes less than this share of a core … */
const QUIET_SHARE = 0.1
/** … over this long has nothing to do. */
const QUIET_MS = 600

/** Waits until the process has nothing to do; null if that doesn't come about within `limitMs`. Gives its CPU seconds up to then. */
export const quiet = async (pid: number, limitMs: number): Promise<number | null> => {
  const deadline = performance.now() + limitMs
  let before = cpuSeconds(pid)
  while (performance.now() < deadline) {
    await setTimeout(QUIET_MS)
    const now = cpuSeconds(pid)
    if (now - before < (QUIET_SHARE * QUIET_MS) / 1_000) return now
    before = now
  }
  return null
}
const QUIET_WITHIN_MS = 60_000
/** As `quiet`, of a process that must become so. */
export const untilQuiet = async (pid: number): Promise<number> => {
  const seconds = await quiet(pid, QUIET_WITHIN_MS)
  if (seconds === null) throw new Error(`process ${pid} is still busy after ${QUIET_WITHIN_MS / 1_000} s`)
  return seconds
}

export interface Cost {
  readonly cpuMs: number
  readonly wallMs: number
}
/** Runs a command to its end: the kernel's account of it, children included, as bash's `time` has it from wait4(2). */
export const costOf = (command: ReadonlyArray<string>, env: NodeJS.ProcessEnv = process.env): Promise<Cost> =>
  new Promise((resolve, reject) => {
    // What the command itself says on standard error goes to 3, so that only the account is left on 2.
    const script = `TIMEFORMAT='%3U %3S %3R'; time "$@" 2>&3`
    const child = spawn("bash", ["-c", script, "bash", ...command], {
      env,
      stdio: ["ignore", "ignore", "pipe", "pipe"],
    })
    let account = ""
    let said = ""
    child.stdio[2]?.on("data", (chunk: Buffer) => (account += chunk.toString()))
    child.stdio[3]?.on("data", (chunk: Buffer) => (said += chunk.toString()))
    child.on("error", reject)
    child.on("close", (code) => {
      const [user = Number.NaN, system = Number.NaN, real = Number.NaN] = account.trim().split(" ").map(Number)
      if (code !== 0)
        reject(new Error(`${command.join(" ")} ended with ${String(code)}: ${said.trim()}${account.trim()}`))
      else resolve({ cpuMs: (user + system) * 1_000, wallMs: real * 1_000 })
    })
  })
