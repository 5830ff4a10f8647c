/**
 * What a machine must have for the tests on real disks, and what becomes of them where it is missing: skipped with the reason printed, or,
 * with "disk" in the list CORDWOOD_E2E, failed. Tries a mount and a trace in a folder of its own, and undoes both.
 */
import { execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { beforeAll, describe } from "vitest"
import { whereIs } from "../containerd/requirements.ts"

const PROGRAMS = ["strace", "mkfs.ext4", "mount", "umount", "losetup"]
const NAMED = "on Debian, as root: apt-get install strace e2fsprogs mount"

/** Why it doesn't work, in the program's own words; empty if it does. */
const trouble = (what: string, ...[program = "", ...rest]: ReadonlyArray<string>): ReadonlyArray<string> => {
  try {
    execFileSync(program, rest, { stdio: ["ignore", "ignore", "pipe"] })
    return []
  } catch (error) {
    const said = error instanceof Error && "stderr" in error ? String(error.stderr) : String(error)
    return [`${what} (${said.trim()})`]
  }
}

/** What is missing here, each as a sentence's part. Empty: the tests can run. */
export const lacking = (): ReadonlyArray<string> => {
  if (process.platform !== "linux") return ["Linux"]
  if (process.getuid?.() !== 0) return ["root"]
  const programs = PROGRAMS.filter((name) => whereIs(name) === undefined)
  if (programs.length > 0) return programs
  const folder = mkdtempSync(join(tmpdir(), "cordwood-disk-"))
  const [at, image] = [join(folder, "at"), join(folder, "image")]
  try {
    mkdirSync(at)
    writeFileSync(image, "")
    truncateSync(image, 1024 * 1024)
    execFileSync("mkfs.ext4", ["-q", "-F", "-O", "^has_journal", image])
    const mounts = trouble("the right to mount an image", "mount", "-o", "loop", image, at)
    if (mounts.length === 0) execFileSync("umount", [at])
    return [...mounts, ...trouble("the right to trace a process", "strace", "-o", "/dev/null", "true")]
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** A group of tests on real disks. */
export const onDisks = (title: string, body: () => void): void => {
  const lacks = lacking()
  const mustRun = (process.env["CORDWOOD_E2E"] ?? "").split(",").includes("disk")
  const reason = `«${title}» needs ${lacks.join(", ")}; ${NAMED}`
  if (lacks.length > 0 && !mustRun) console.warn(`skipped: ${reason}`)
  describe.skipIf(lacks.length > 0 && !mustRun)(title, () => {
    beforeAll(() => {
      if (lacks.length > 0) throw new Error(`CORDWOOD_E2E has disk, but ${reason}`)
    })
    body()
  })
}
