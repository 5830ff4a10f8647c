/** Watermarks on a real disk's free space: a small one in memory, that somebody else fills up while an agent runs over its logs. */
import { execFileSync } from "node:child_process"
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  utimesSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { basename, join, relative } from "node:path"
import { Agent, files } from "@cordwood/agent"
import type { Envelope } from "@cordwood/core"
import { describe, expect, it, onTestFinished } from "vitest"
import { eventually } from "../containerd/eventually.ts"

const KIB = 1024
const MIB = 1024 * KIB
const WITHIN_MS = 30_000
const AT_REST = new Date("2026-01-09T00:00:00Z")

/** A folder that is gone when the test is over. */
const folder = (): string => {
  const path = mkdtempSync(join(tmpdir(), "cordwood-pressure-"))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}
/** Why no disk can be mounted here; null if one can. */
const mountTrouble = (): string | null => {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return "root on Linux"
  const at = mkdtempSync(join(tmpdir(), "cordwood-pressure-"))
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "cordwood-test", at], { stdio: "pipe" })
    execFileSync("umount", [at])
    return null
  } catch (error) {
    return `the right to mount (${String(error)})`
  } finally {
    rmSync(at, { recursive: true, force: true })
  }
}
const trouble = mountTrouble()
if (trouble !== null) console.warn(`skipped: «a disk that fills up» needs ${trouble}`)

const mounted = (mebibytes: number): string => {
  const at = folder()
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${mebibytes}m`, "cordwood-test", at])
  onTestFinished(() => void execFileSync("umount", ["--lazy", at]))
  return at
}
const freeOn = (disk: string): number => {
  const { bavail, bsize } = statfsSync(disk)
  return bavail * bsize
}

describe.skipIf(trouble !== null)("a disk that fills up", () => {
  it(
    "is relieved within seconds, in the stated order, with an event for every byte that goes",
    async () => {
      const disk = mounted(32)
      const made = new Map<string, number>()
      const make = (name: string, bytes: number): void => {
        const path = join(disk, "logs", name)
        mkdirSync(join(path, ".."), { recursive: true })
        writeFileSync(path, Buffer.alloc(bytes, "a line\n"))
        // At rest: one that was written to just now may be its writer's still.
        utimesSync(path, AT_REST, AT_REST)
        made.set(path, bytes)
      }
      for (const [log, count, bytes] of [
        ["a", 8, 512 * KIB],
        ["b", 4, 256 * KIB],
        ["c", 2, 1_280 * KIB],
      ] as const) {
        make(`${log}/app.log`, 4 * KIB)
        for (let day = 1; day <= count; day += 1) make(`${log}/app.log.2026010${day}-000000`, bytes)
      }
      const events: Array<Envelope> = []
      const stop = new AbortController()
      const agent = Agent.make({
        sources: [files({ include: [join(disk, "logs/*/app.log")], reopen: "none" })],
        journal: { path: join(folder(), "journal.db") },
        policy: {
          maxSize: "1Mi",
          maxFiles: 100,
          compression: "none",
          pressure: { minFree: 4 * MIB, targetFree: 7 * MIB, keepFiles: 2 },
        },
      })
      const running = agent.run({ signal: stop.signal, onEvent: (event) => events.push(event) })
      onTestFinished(() => stop.abort())
      await eventually({ what: "a scan of every log", withinMs: WITHIN_MS }, () => events.length === 3)

      const spare = freeOn(disk) - (4 * MIB - 64 * KIB)
      writeFileSync(join(disk, "somebody-elses"), Buffer.alloc(spare))
      await eventually({ what: "room", withinMs: WITHIN_MS }, () => freeOn(disk) >= 7 * MIB)
      stop.abort()
      await running

      const removed = events.flatMap(({ data, type }) =>
        type === "Removed" ? [data as { readonly path: string; readonly bytes: number; readonly reason: string }] : [],
      )
      // 3 MiB and 64 KiB are missing. a holds 4 MiB, c 2.5, b 1: a's first three go, the fourth as both hold 2.5, and then c's first.
      expect(removed.map(({ path, reason }) => `${relative(disk, path)} ${reason}`).toSorted()).toEqual([
        "logs/a/app.log.20260101-000000 pressure",
        "logs/a/app.log.20260102-000000 pressure",
        "logs/a/app.log.20260103-000000 pressure",
        "logs/a/app.log.20260104-000000 pressure",
        "logs/c/app.log.20260101-000000 pressure",
      ])
      for (const { bytes, path } of removed) {
        expect(bytes).toBe(made.get(path))
        made.delete(path)
      }
      const left = readdirSync(join(disk, "logs"), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map(({ name, parentPath }) => join(parentPath, name))
      expect(left.toSorted()).toEqual([...made.keys()].toSorted())
      for (const path of left) expect(readFileSync(path).length).toBe(made.get(path))
      expect(left.filter((path) => basename(path) === "app.log")).toHaveLength(3)
    },
    2 * WITHIN_MS,
  )
})
