// Each thing that a neighbour can lay beside a log, one by one, and whole passes over it: what becomes of it, and that nothing outside is touched.
import { execFileSync } from "node:child_process"
import {
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { constants, gunzipSync, gzipSync, zstdCompressSync } from "node:zlib"
import { Agent, files } from "@cordwood/agent"
import type { Envelope } from "@cordwood/core"
import { zstd } from "@cordwood/plugin-zstd"
import { afterEach, beforeEach, expect, test } from "vitest"
import { type Canary, makeCanary } from "./canary.ts"

const ACTIVE = "0.log"
const LONG_AGO_S = 1_600_000_000

let root = ""
let log = ""
let canary: Canary
beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), "cordwood-hostile-")))
  log = join(root, "log")
  mkdirSync(log)
  canary = makeCanary(join(root, "outside"), ACTIVE, "way/log")
})
afterEach(async () => {
  await canary.release()
  rmSync(root, { recursive: true, force: true })
})

const at = (suffix: string): string => join(log, ACTIVE + suffix)
const stampOf = (number: number): string => `.20260101-0000${String(number).padStart(2, "0")}`
const file = (suffix: string, bytes: Uint8Array | string): void => {
  writeFileSync(at(suffix), bytes)
  utimesSync(at(suffix), LONG_AGO_S, LONG_AGO_S)
}
/** Passes over the log, and what they did, as type and name. */
const passes = async (count: number): Promise<ReadonlyArray<string>> => {
  const events: Array<Envelope> = []
  const agent = Agent.make({
    sources: [files({ include: [join(log, ACTIVE)], reopen: "none" })],
    policy: { maxSize: "1Ki", maxFiles: 50 },
    plugins: [zstd()],
    journal: { path: join(root, "journal", "journal.db") },
  })
  for (let number = 0; number < count; number += 1) await agent.once({ onEvent: (event) => events.push(event) })
  return events.flatMap(({ data, type }) => {
    const { from, path = from, reason } = data as { path?: string; from?: string; reason?: string }
    const about = (path ?? "").replace(join(log, ACTIVE), "")
    return type === "Scanned" || type === "Rotated"
      ? [type]
      : [`${type} ${about}${reason === undefined ? "" : `: ${reason}`}`]
  })
}
const kinds = (): Readonly<Record<string, string>> =>
  Object.fromEntries(
    readdirSync(log)
      .toSorted()
      .map((name) => {
        const seen = lstatSync(join(log, name))
        const kind = seen.isSymbolicLink()
          ? "link"
          : seen.isDirectory()
            ? "directory"
            : seen.isFile()
              ? "file"
              : "other"
        return [name.slice(ACTIVE.length), kind]
      }),
  )

test(
  "links, pipes, devices, sockets and directories with the names of segments, twins and temporary files are left as they are",
  { timeout: 120_000 },
  async () => {
    const server = createServer().listen(at(stampOf(1)))
    await new Promise((resolve) => server.once("listening", resolve))
    symlinkSync(join(canary.log, ACTIVE), at(stampOf(2)))
    symlinkSync(canary.log, at(stampOf(3)))
    linkSync(canary.pipe, at(stampOf(4)))
    mkdirSync(at(stampOf(5)))
    // Some containers may make no devices.
    const made = (() => {
      try {
        execFileSync("mknod", [at(stampOf(6)), "c", "1", "3"], { stdio: "ignore" })
        return true
      } catch {
        return false
      }
    })()
    // Beside a segment that is one: in the places of its twin and of what it is compressed through.
    file(stampOf(10), "a real one\n")
    linkSync(canary.pipe, `${at(stampOf(10))}.gz`)
    file(stampOf(11), "another one\n")
    symlinkSync(canary.secret, `${at(stampOf(11))}.tmp`)
    file(stampOf(12), "the third\n")
    mkdirSync(`${at(stampOf(12))}.gz`)
    file(stampOf(13), "the newest\n")
    file("", "small\n")
    const before = kinds()
    const told = await passes(2)
    expect(canary.harm()).toEqual([])
    // What can't be compressed says so once, and stays plain.
    expect(told.toSorted()).toEqual([
      `Failed ${stampOf(10)}: Exists`,
      `Failed ${stampOf(11)}: Exists`,
      `Failed ${stampOf(12)}: Exists`,
      "Scanned",
    ])
    expect(kinds()).toEqual(before)
    expect(made ? before[stampOf(6)] : "other").toBe("other")
    expect([10, 11, 12].map((number) => readFileSync(at(stampOf(number)), "utf8"))).toEqual([
      "a real one\n",
      "another one\n",
      "the third\n",
    ])
    server.close()
  },
)

test(
  "a file from elsewhere under a second name is neither compressed nor changed, and twins and leftovers of that kind lose just the name",
  { timeout: 120_000 },
  async () => {
    linkSync(canary.secret, at(stampOf(1)))
    file(stampOf(2), "a real one\n")
    linkSync(canary.secret, `${at(stampOf(2))}.gz`)
    linkSync(canary.secret, `${at(stampOf(3))}.tmp`)
    file(stampOf(4), "the newest\n")
    file("", "small\n")
    const told = await passes(2)
    expect(canary.harm()).toEqual([])
    expect(told.toSorted()).toEqual([
      `Cleaned ${stampOf(2)}.gz: invalid`,
      `Cleaned ${stampOf(3)}.tmp: temporary`,
      `Compressed ${stampOf(2)}`,
      `Failed ${stampOf(1)}: Linked`,
      "Scanned",
    ])
    expect(kinds()).toEqual({
      "": "file",
      [stampOf(1)]: "file",
      [`${stampOf(2)}.gz`]: "file",
      [stampOf(4)]: "file",
    })
    expect(gunzipSync(readFileSync(`${at(stampOf(2))}.gz`)).toString()).toBe("a real one\n")
  },
)

test(
  "a bomb beside a segment is known for none of its twins, in whatever format, and goes",
  { timeout: 120_000 },
  async () => {
    const zeros = Buffer.alloc(16 * 1024 * 1024)
    const window = { params: { [constants.ZSTD_c_windowLog]: 27, [constants.ZSTD_c_enableLongDistanceMatching]: 1 } }
    const nothing = gzipSync("")
    const bombs = [
      [".gz", gzipSync(zeros)],
      [".zst", zstdCompressSync(zeros)],
      [".zst", zstdCompressSync(zeros, window)],
      // Decodes to nothing, for long.
      [".gz", Buffer.concat(Array.from({ length: 100_000 }, () => nothing))],
      [".gz", Buffer.concat(Array.from({ length: 1_000 }, () => nothing))],
    ] as const
    for (const [number, [suffix, bytes]] of bombs.entries()) {
      file(stampOf(number), `segment ${number}\n`)
      file(stampOf(number) + suffix, bytes)
    }
    file(stampOf(20), "the newest\n")
    file("", "small\n")
    const told = await passes(2)
    expect(canary.harm()).toEqual([])
    expect(told.toSorted()).toEqual(
      [
        ...bombs.map(([suffix], number) => `Cleaned ${stampOf(number)}${suffix}: invalid`),
        ...bombs.map((_, number) => `Compressed ${stampOf(number)}`),
        "Scanned",
      ].toSorted(),
    )
    const kept = bombs.map((_, number) => gunzipSync(readFileSync(`${at(stampOf(number))}.gz`)).toString())
    expect(kept).toEqual(bombs.map((_, number) => `segment ${number}\n`))
  },
)
