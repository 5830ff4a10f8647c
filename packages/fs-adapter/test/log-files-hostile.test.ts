// What a neighbour who may write beside a log can put there: links of all kinds, pipes, and other files between look and act.
import { execFileSync } from "node:child_process"
import fs from "node:fs"
import { syncBuiltinESMExports } from "node:module"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import type { Codec, FileSeen, LogFilesError } from "@cordwood/core"
import { Effect, Result } from "effect"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { mostBytesFor } from "../src/log-files/compress.ts"
import { canAnchor } from "../src/log-files/directory.ts"
import { makeNodeLogFiles } from "../src/log-files/node-log-files.ts"
import { contentsOf, gzip, makeScratch, openBelow, removeScratch, seenAt } from "./log-files-disk.ts"

const STAMP = "20260909-043310"
const isRoot = process.getuid?.() === 0
const anchoring = canAnchor()
/** Two users that nobody needs to have: owners are numbers. */
const [TENANT, VICTIM] = [54_321, 54_322]

let scratch = ""
let log = ""
let outside = ""
let active = ""
let segment = ""
beforeEach(() => {
  scratch = makeScratch()
  log = join(scratch, "log")
  outside = join(scratch, "outside")
  fs.mkdirSync(log)
  fs.mkdirSync(outside)
  active = join(log, "0.log")
  segment = `${active}.${STAMP}`
})
afterEach(() => {
  vi.restoreAllMocks()
  syncBuiltinESMExports()
  const open = process.platform === "linux" ? openBelow(scratch) : []
  removeScratch(scratch)
  if (open.length > 0) throw new Error(`still open after the test: ${open.join(", ")}`)
})

const outcome = async (effect: Effect.Effect<unknown, LogFilesError>): Promise<string> => {
  const result = await Effect.runPromise(Effect.result(effect))
  return Result.isSuccess(result) ? "done" : `${result.failure.reason}: ${result.failure.detail}`
}
const readOutcome = async (reading: AsyncIterable<Uint8Array>): Promise<string> => {
  const read: Array<Uint8Array> = []
  try {
    for await (const piece of reading) read.push(piece)
  } catch (error) {
    const { detail, reason } = error as LogFilesError
    return `${reason}: ${detail}, after ${read.length} pieces`
  }
  return Buffer.concat(read).toString()
}
/** All of a file that tells whether somebody has been at it: also whether it was read. */
const traceOf = (path: string): unknown => {
  const { atimeNs, gid, ino, mode, mtimeNs, size, uid } = fs.lstatSync(path, { bigint: true })
  return { ino, mode, uid, gid, size, mtimeNs, atimeNs }
}
const counted = (codec: Codec): { readonly codec: Codec; readonly calls: () => number } => {
  let calls = 0
  const count =
    (through: Codec["decode"]): Codec["decode"] =>
    (input) => {
      calls += 1
      return through(input)
    }
  return { codec: { ...codec, encode: count(codec.encode), decode: count(codec.decode) }, calls: () => calls }
}
/** Puts another function in the place of one that is imported by its name. */
const replace = (name: "readlinkSync", by: unknown): void => {
  vi.spyOn(fs, name).mockImplementation(by as never)
  syncBuiltinESMExports()
}

const ways = [
  ["through the open directory", makeNodeLogFiles(true), anchoring],
  ["by plain paths", makeNodeLogFiles(false), true],
] as const
describe.each(ways)("a segment with another name elsewhere, %s,", (_, files, possible) => {
  it.skipIf(!possible)("is neither compressed nor read, and of the other name's file nothing changes", async () => {
    const victim = join(outside, "secret")
    fs.writeFileSync(victim, "secret")
    // Read before it was written, as far as its times go: reading it would set the one to now (relatime).
    fs.utimesSync(victim, 1_500_000_000, 1_600_000_000)
    fs.linkSync(victim, segment)
    const before = traceOf(victim)
    const { calls, codec } = counted(gzip)
    const linked = "Linked: it has 2 names, and another one may lie anywhere"
    expect([
      await outcome(files.compress(seenAt(segment), `${segment}.gz`, codec)),
      await readOutcome(files.read(seenAt(segment), null)),
      await readOutcome(files.read(seenAt(segment), codec)),
      calls(),
    ]).toEqual([linked, `${linked}, after 0 pieces`, `${linked}, after 0 pieces`, 0])
    // A guess at what it holds isn't answered.
    fs.writeFileSync(`${segment}.gz`, gzipSync("secret"))
    expect(await outcome(files.matches(seenAt(`${segment}.gz`), seenAt(segment), codec))).toBe(linked)
    expect(traceOf(victim)).toEqual(before)
    expect(fs.readdirSync(log).toSorted()).toEqual([`0.log.${STAMP}`, `0.log.${STAMP}.gz`])
  })
  it.skipIf(!possible)("loses the name it has in the log when it is removed, and nothing else", async () => {
    fs.writeFileSync(join(outside, "secret"), "secret")
    fs.linkSync(join(outside, "secret"), segment)
    const before = traceOf(join(outside, "secret"))
    expect(await Effect.runPromise(files.remove(seenAt(segment), { unchanged: true }))).toBe(6)
    expect([traceOf(join(outside, "secret")), contentsOf(log)]).toEqual([before, {}])
  })
  it.skipIf(!possible)("isn't taken for one with a single name that was taken away while it was asked", async () => {
    fs.writeFileSync(join(outside, "secret"), "secret")
    fs.linkSync(join(outside, "secret"), segment)
    const seen = seenAt(segment)
    const handle = await fs.promises.open("/dev/null")
    const prototype = Object.getPrototypeOf(handle) as fs.promises.FileHandle
    await handle.close()
    const stat = prototype.stat as (...args: ReadonlyArray<unknown>) => Promise<unknown>
    const hideAndShow = (): void =>
      void vi.spyOn(prototype, "stat").mockImplementationOnce(async function (
        this: fs.promises.FileHandle,
        ...args: ReadonlyArray<unknown>
      ) {
        fs.unlinkSync(segment)
        const stats = await stat.call(this, ...args)
        fs.linkSync(join(outside, "secret"), segment)
        return stats
      } as never)
    const changed = "Changed: its name, owner or permissions were changed while it was being read"
    hideAndShow()
    expect(await outcome(files.compress(seen, `${segment}.gz`, gzip))).toBe(changed)
    fs.writeFileSync(`${segment}.gz`, gzipSync("secret"))
    const packed = seenAt(`${segment}.gz`)
    let asked = 0
    // Of the two files, the original is asked second.
    const second = async function (this: fs.promises.FileHandle, ...args: ReadonlyArray<unknown>): Promise<unknown> {
      asked += 1
      if (asked !== 2) return stat.call(this, ...args)
      fs.unlinkSync(segment)
      const stats = await stat.call(this, ...args)
      fs.linkSync(join(outside, "secret"), segment)
      return stats
    }
    const spy = vi.spyOn(prototype, "stat").mockImplementation(second as never)
    expect(await outcome(files.matches(packed, seen, gzip))).toBe(changed)
    spy.mockRestore()
    fs.unlinkSync(`${segment}.gz`)
    hideAndShow()
    expect(await readOutcome(files.read(seen, null))).toBe(`${changed}, after 1 pieces`)
    expect(contentsOf(log)).toEqual({ [`0.log.${STAMP}`]: "secret" })
  })
})

describe.each(ways)("a named pipe in a segment's place, %s,", (_, files, possible) => {
  it.skipIf(!possible)("is not opened: who waits at its other end goes on waiting", async () => {
    execFileSync("mkfifo", [segment])
    let woken = false
    const writer = fs.promises.open(segment, "w").then((handle) => {
      woken = true
      return handle.close()
    })
    const { ino, dev } = fs.lstatSync(segment, { bigint: true })
    const seen: FileSeen = { path: segment, bytes: 0, modifiedMs: 0, identity: `${dev}:${ino}` }
    const other = { ...seen, path: `${segment}.gz` }
    fs.writeFileSync(`${segment}.gz`, "")
    const refused = "NotRegular: not a regular file: a device, pipe or socket"
    expect([
      await outcome(files.compress(seen, `${segment}.gz`, gzip)),
      await outcome(files.matches(other, seen, gzip)),
      await outcome(files.matches(seen, other, gzip)),
      await readOutcome(files.read(seen, null)),
      await outcome(files.remove(seen, { unchanged: false })),
      await outcome(files.setAside(seen, `${segment}.x`)),
      await outcome(files.putBack(segment, active)),
    ]).toEqual([refused, refused, refused, `${refused}, after 0 pieces`, refused, refused, refused])
    expect(woken).toBe(false)
    const reader = await fs.promises.open(segment, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK)
    await writer
    await reader.close()
    expect(woken).toBe(true)
  })
})

describe.skipIf(!anchoring)("between looking at a segment and opening it", () => {
  it("a pipe that takes its place is not opened", async () => {
    const files = makeNodeLogFiles(true)
    fs.writeFileSync(segment, "abc")
    const seen = seenAt(segment)
    const { open } = fs.promises
    let woken = false
    let writer: Promise<unknown> = Promise.resolve()
    vi.spyOn(fs.promises, "open").mockImplementationOnce((...args) => {
      fs.renameSync(segment, join(log, "was-segment"))
      execFileSync("mkfifo", [segment])
      writer = open(segment, "w").then((handle) => {
        woken = true
        return handle.close()
      })
      return open(...args)
    })
    expect(await outcome(files.compress(seen, `${segment}.gz`, gzip))).toBe(
      "NotRegular: not a regular file: a device, pipe or socket",
    )
    expect(woken).toBe(false)
    expect(contentsOf(log)).toEqual({ [`0.log.${STAMP}`]: "(no file)", "was-segment": "abc" })
    const reader = await open(segment, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK)
    await writer
    await reader.close()
  })
})

describe("a twin", () => {
  it("with another name elsewhere is none, and isn't read to find out", async () => {
    const files = makeNodeLogFiles(anchoring)
    fs.writeFileSync(segment, "abc")
    fs.writeFileSync(join(outside, "packed"), gzipSync("abc"))
    fs.utimesSync(join(outside, "packed"), 1_500_000_000, 1_600_000_000)
    fs.linkSync(join(outside, "packed"), `${segment}.gz`)
    const before = traceOf(join(outside, "packed"))
    expect(await Effect.runPromise(files.matches(seenAt(`${segment}.gz`), seenAt(segment), gzip))).toBe(false)
    expect(traceOf(join(outside, "packed"))).toEqual(before)
    fs.unlinkSync(join(outside, "packed"))
    expect(await Effect.runPromise(files.matches(seenAt(`${segment}.gz`), seenAt(segment), gzip))).toBe(true)
  })
  it.skipIf(!isRoot)("that is another user's than the original is left alone, and so is the original", async () => {
    const files = makeNodeLogFiles(anchoring)
    fs.writeFileSync(segment, "planted")
    fs.chownSync(segment, TENANT, TENANT)
    fs.writeFileSync(`${segment}.gz`, gzipSync("abc"))
    expect(await outcome(files.matches(seenAt(`${segment}.gz`), seenAt(segment), gzip))).toBe(
      "Disputed: it belongs to user 0, and what it should be a twin of to user 54321; one of them was put there, and neither is taken for a leftover",
    )
  })
  it("of more bytes than an encoding of the original can have is none, and isn't decoded to find out", async () => {
    const files = makeNodeLogFiles(anchoring)
    fs.writeFileSync(segment, "abc")
    // Members with nothing in them decode to nothing, however many they are; the last one is the original.
    const nothing = gzipSync("")
    const count = Math.ceil(mostBytesFor(3) / nothing.length)
    fs.writeFileSync(`${segment}.gz`, Buffer.concat([...Array.from({ length: count }, () => nothing), gzipSync("abc")]))
    const { calls, codec } = counted(gzip)
    const seen = (): Effect.Effect<boolean, LogFilesError> =>
      files.matches(seenAt(`${segment}.gz`), seenAt(segment), codec)
    expect([await Effect.runPromise(seen()), calls()]).toEqual([false, 0])
    fs.writeFileSync(`${segment}.gz`, Buffer.concat([nothing, gzipSync("abc")]))
    expect([await Effect.runPromise(seen()), calls()]).toEqual([true, 1])
  })
})

describe.skipIf(!anchoring || !isRoot)("a symbolic link above the log's directory", () => {
  const files = makeNodeLogFiles(true)
  /** `<scratch>/way` leads to `<scratch>/place`, whose directory `log` is the owner's. */
  const lay = (linkOwner: number, directoryOwner: number): { readonly active: string; readonly place: string } => {
    const place = join(scratch, "place")
    fs.mkdirSync(join(place, "log"), { recursive: true })
    fs.chownSync(join(place, "log"), directoryOwner, directoryOwner)
    fs.writeFileSync(join(place, "log", "0.log"), "active")
    fs.writeFileSync(join(place, "log", `0.log.${STAMP}`), "segment")
    fs.symlinkSync("place", join(scratch, "way"))
    fs.lchownSync(join(scratch, "way"), linkOwner, linkOwner)
    return { active: join(scratch, "way", "log", "0.log"), place: join(place, "log") }
  }
  it.each([
    ["root", 0, VICTIM],
    ["the owner of the directory that it leads to", TENANT, TENANT],
  ])("is followed if it is that of %s", async (_, linkOwner, directoryOwner) => {
    const { active, place } = lay(linkOwner, directoryOwner)
    expect(await outcome(files.compress(seenAt(`${active}.${STAMP}`), `${active}.${STAMP}.gz`, gzip))).toBe("done")
    expect(await outcome(files.remove(seenAt(`${active}.${STAMP}`), { unchanged: true }))).toBe("done")
    expect(fs.readdirSync(place).toSorted()).toEqual(["0.log", `0.log.${STAMP}.gz`])
  })
  it.each([
    ["another user", VICTIM],
    ["root", 0],
  ])("isn't followed if it is a user's, and leads to a directory of %s", async (_, directoryOwner) => {
    const { active, place } = lay(TENANT, directoryOwner)
    const before = fs.readdirSync(place).map((name) => [name, traceOf(join(place, name))])
    const [file, segment] = [seenAt(active), seenAt(`${active}.${STAMP}`)]
    const refused = `NotRegular: ${join(scratch, "way", "log")} leads through a symbolic link of user ${TENANT} to a directory of user ${directoryOwner}; such a link is followed only to what is its owner's`
    expect([
      await outcome(files.list(active)),
      await outcome(files.setAside(file, `${active}.20260909-050000`)),
      await outcome(files.putBack(segment.path, `${active}.new`)),
      await outcome(files.compress(segment, `${segment.path}.gz`, gzip)),
      await outcome(files.matches(segment, file, gzip)),
      await outcome(files.remove(segment, { unchanged: false })),
      await readOutcome(files.read(segment, null)),
      await outcome(files.free(active)),
    ]).toEqual([refused, refused, refused, refused, refused, refused, `${refused}, after 0 pieces`, refused])
    expect(fs.readdirSync(place).map((name) => [name, traceOf(join(place, name))])).toEqual(before)
  })
  it("isn't followed through another one of root's", async () => {
    const { active } = lay(TENANT, VICTIM)
    fs.symlinkSync("way", join(scratch, "root-way"))
    expect(await outcome(files.list(active.replace("/way/", "/root-way/")))).toMatch(/^NotRegular: .* of user 54321 to/)
  })
  it("is noticed when it is gone again before anybody could look at it", async () => {
    const { active } = lay(TENANT, VICTIM)
    const readlink = fs.readlinkSync
    let swapped = false
    replace("readlinkSync", (...args: Parameters<typeof readlink>) => {
      const target = readlink(...args)
      if (!swapped) {
        swapped = true
        fs.unlinkSync(join(scratch, "way"))
        fs.mkdirSync(join(scratch, "way", "log"), { recursive: true })
      }
      return target
    })
    expect(await outcome(files.list(active))).toBe(
      `Changed: ${join(scratch, "way", "log")} was replaced while it was being opened`,
    )
  })
  it("that goes round in a circle by another one is refused", async () => {
    fs.symlinkSync("b", join(scratch, "a"))
    fs.symlinkSync("a", join(scratch, "b"))
    expect(await outcome(files.list(join(scratch, "a", "log", "0.log")))).toMatch(/^NotRegular: ELOOP/)
  })
})
