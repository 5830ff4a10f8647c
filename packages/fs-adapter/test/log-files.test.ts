// LogFiles on a real disk: the suite that every implementation passes, and what only a real disk can show.
import { execFileSync } from "node:child_process"
import { randomBytes } from "node:crypto"
import fs from "node:fs"
import { syncBuiltinESMExports } from "node:module"
import { join } from "node:path"
import { setTimeout } from "node:timers/promises"
import { gunzipSync, gzipSync } from "node:zlib"
import { type Codec, type FileReason, type FileSeen, LogFiles, type LogFilesError } from "@cordwood/core"
import { logFilesSuite } from "@cordwood/core/testing"
import { Effect, Fiber, type Layer, Result } from "effect"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { modeFor, mostBytesFor } from "../src/log-files/compress.ts"
import { canAnchor } from "../src/log-files/directory.ts"
import { failureOf } from "../src/log-files/failure.ts"
import { makeNodeLogFiles, nodeLogFiles } from "../src/log-files/node-log-files.ts"
import { CHUNK_BYTES } from "../src/log-files/reading.ts"
import {
  bindMount,
  contentsOf,
  fillUp,
  gzip,
  harnessIn,
  makeScratch,
  type Mounted,
  mountProblem,
  mountTmpfs,
  openBelow,
  removeScratch,
  seenAt,
} from "./log-files-disk.ts"

const STAMP = "20260909-043310"
const noMounts = mountProblem()
if (noMounts !== null) console.warn(`tests of full and read-only file systems are skipped: ${noMounts}`)
const isRoot = process.getuid?.() === 0
const anchoring = canAnchor()
if (!anchoring) console.warn("tests of directories swapped for links are skipped: there is no /proc/self/fd here")

let directory = ""
let active = ""
let segment = ""
beforeEach(() => {
  directory = makeScratch()
  active = join(directory, "0.log")
  segment = `${active}.${STAMP}`
})
afterEach(() => {
  vi.restoreAllMocks()
  syncBuiltinESMExports()
  const open = process.platform === "linux" ? openBelow(directory) : []
  removeScratch(directory)
  if (open.length > 0) throw new Error(`still open after the test: ${open.join(", ")}`)
})

const files = makeNodeLogFiles(anchoring)
const run = Effect.runPromise
const failed = async (effect: Effect.Effect<unknown, LogFilesError>): Promise<LogFilesError> => {
  const result = await run(Effect.result(effect))
  if (Result.isSuccess(result)) throw new Error(`it should have failed, and gave ${JSON.stringify(result.success)}`)
  return result.failure
}
const reasonOf = async (effect: Effect.Effect<unknown, LogFilesError>): Promise<FileReason> =>
  (await failed(effect)).reason
const errno = (code: string, number: number, syscall: string): NodeJS.ErrnoException =>
  Object.assign(new Error(code), { code, errno: -number, syscall })
/** What every FileHandle inherits from, so that a call of one can be made to fail. */
const handlePrototype = async (): Promise<fs.promises.FileHandle> => {
  const handle = await fs.promises.open("/dev/null")
  await handle.close()
  return Object.getPrototypeOf(handle) as fs.promises.FileHandle
}
/** Has `then` run after a file was closed; the handles' `close` isn't inherited. */
const afterClosing = (then: (path: string, bytes: number) => void): void => {
  const { open } = fs.promises
  vi.spyOn(fs.promises, "open").mockImplementation(async (...args) => {
    const handle = await open(...args)
    const { close } = handle
    handle.close = async () => {
      if (handle.fd === -1) return
      const { size } = fs.fstatSync(handle.fd)
      await close()
      then(String(args[0]), size)
    }
    return handle
  })
}
/** Puts another function in the place of one that is imported by its name. */
const replace = (name: "fsync" | "lstatSync", by: unknown): void => {
  vi.spyOn(fs, name).mockImplementation(by as never)
  syncBuiltinESMExports()
}
/** Lines that compress as logs do. */
const linesOf = (bytes: number): Buffer => {
  const lines: Array<string> = []
  for (let count = 0, length = 0; length < bytes; count++) {
    const line = `2026-09-09T04:33:10.${count}Z stdout F request ${count} took ${(count * 7919) % 1000} ms\n`
    lines.push(line)
    length += line.length
  }
  return Buffer.from(lines.join("")).subarray(0, bytes)
}
const compressed = (): Effect.Effect<unknown, LogFilesError> => files.compress(seenAt(segment), `${segment}.gz`, gzip)

const ways = [
  ["through the open directory", makeNodeLogFiles(true), anchoring],
  ["by plain paths", makeNodeLogFiles(false), true],
] as const
for (const [way, implementation, possible] of ways) {
  describe.skipIf(!possible)(`the suite of LogFiles, ${way}`, () => {
    for (const { name, run } of logFilesSuite) {
      it(name, () => Effect.runPromise(run(harnessIn(directory)).pipe(Effect.provideService(LogFiles, implementation))))
    }
  })
}

describe("nodeLogFiles", () => {
  it("is the layer that programs are given", async () => {
    fs.writeFileSync(active, "abc")
    const listed = LogFiles.use((service) => service.list(active)).pipe(
      Effect.provide(nodeLogFiles satisfies Layer.Layer<LogFiles>),
    )
    const { entries } = await run(listed)
    expect(entries).toEqual([{ ...seenAt(active), name: "0.log", kind: "file" }])
  })
})

describe("list", () => {
  it("is not confused by names that are hostile, no text at all, or gone in the midst", async () => {
    fs.writeFileSync(active, "abc")
    fs.writeFileSync(segment, "de")
    fs.writeFileSync(`${segment}\n.gz`, "newline")
    fs.writeFileSync(`${active}.\u001b[31m`, "escape")
    fs.writeFileSync(Buffer.concat([Buffer.from(`${segment}.`), Buffer.from([0xff, 0xfe])]), "no text")
    fs.writeFileSync(`${active}.gone`, "gone")
    const lstat = fs.lstatSync
    replace("lstatSync", (path: string, options: fs.StatSyncOptions) => {
      if (path.endsWith(".gone")) fs.unlinkSync(`${active}.gone`)
      return lstat(path, options)
    })
    const { entries } = await run(files.list(active))
    expect(entries.map(({ name }) => name).toSorted()).toEqual(
      ["0.log", `0.log.${STAMP}`, `0.log.${STAMP}\n.gz`, "0.log.\u001b[31m"].toSorted(),
    )
  })
  it("reads a directory of thousands of names that aren't the log's", async () => {
    for (let count = 0; count < 5_000; count++) fs.closeSync(fs.openSync(join(directory, `other-${count}`), "w"))
    fs.writeFileSync(active, "abc")
    fs.writeFileSync(segment, "abc")
    const { entries } = await run(files.list(active))
    expect(entries.map(({ name }) => name).toSorted()).toEqual(["0.log", `0.log.${STAMP}`])
  })
  it("says what is wrong with a path that can't be a log's", async () => {
    fs.writeFileSync(active, "abc")
    const cases = [`${active}/0.log`, "0.log", `${directory}/a\0b/0.log`]
    const reasons = await Promise.all(cases.map((path) => reasonOf(files.list(path))))
    expect(reasons).toEqual(["NotFound", "Other", "Other"])
  })
})

describe("setAside", () => {
  it("works beside a directory's other names, in the very directory that was opened", async () => {
    fs.writeFileSync(active, "abc")
    await run(files.setAside(seenAt(active), segment))
    expect(contentsOf(directory)).toEqual({ [`0.log.${STAMP}`]: "abc" })
  })
  it("never overwrites a name, however many try at the same moment", async () => {
    const actives = Array.from({ length: 20 }, (_, count) => join(directory, `${count}.log`))
    for (const path of actives) fs.writeFileSync(path, path)
    const results = await Promise.all(actives.map((path) => run(Effect.result(files.setAside(seenAt(path), segment)))))
    const winners = actives.filter((_, index) => Result.isSuccess(results[index]!))
    expect(winners).toHaveLength(1)
    expect(fs.readFileSync(segment, "utf8")).toBe(winners[0])
    expect(fs.readdirSync(directory)).toHaveLength(20)
    expect(results.flatMap((result) => (Result.isFailure(result) ? [result.failure.reason] : []))).toEqual(
      Array.from({ length: 19 }, () => "Exists"),
    )
  })
  it("leaves the names as they were when the rename fails", async () => {
    fs.writeFileSync(active, "abc")
    vi.spyOn(fs.promises, "rename").mockRejectedValueOnce(errno("EIO", 5, "rename"))
    const error = await failed(files.setAside(seenAt(active), segment))
    expect([error.reason, error.path, error.detail]).toEqual(["Io", active, "EIO: i/o error (rename)"])
    expect(contentsOf(directory)).toEqual({ "0.log": "abc" })
  })
  it("keeps what another program has written to the name that was reserved", async () => {
    fs.writeFileSync(active, "abc")
    vi.spyOn(fs.promises, "rename").mockImplementationOnce(async () => {
      fs.writeFileSync(segment, "theirs")
      throw errno("EIO", 5, "rename")
    })
    expect(await reasonOf(files.setAside(seenAt(active), segment))).toBe("Io")
    expect(contentsOf(directory)).toEqual({ "0.log": "abc", [`0.log.${STAMP}`]: "theirs" })
  })
  it("doesn't rename over a file that took the reserved name's place", async () => {
    fs.writeFileSync(active, "abc")
    afterClosing(() => {
      fs.unlinkSync(segment)
      fs.writeFileSync(segment, "theirs")
    })
    expect(await reasonOf(files.setAside(seenAt(active), segment))).toBe("Exists")
    expect(contentsOf(directory)).toEqual({ "0.log": "abc", [`0.log.${STAMP}`]: "theirs" })
  })
  it("makes no file when the active one isn't the one that was seen", async () => {
    fs.writeFileSync(active, "abc")
    const created = vi.spyOn(fs.promises, "open")
    expect(await reasonOf(files.setAside({ ...seenAt(active), identity: "other" }, segment))).toBe("Changed")
    expect(created).not.toHaveBeenCalled()
  })
  it("doesn't rename a file that took the active one's place while the name was being reserved", async () => {
    fs.writeFileSync(active, "abc")
    const seen = seenAt(active)
    afterClosing(() => {
      fs.renameSync(active, join(directory, "moved"))
      fs.writeFileSync(active, "planted")
    })
    const renamed = vi.spyOn(fs.promises, "rename")
    expect(await reasonOf(files.setAside(seen, segment))).toBe("Changed")
    expect(renamed).not.toHaveBeenCalled()
    expect(contentsOf(directory)).toEqual({ "0.log": "planted", moved: "abc" })
  })
  it("succeeds when the rename took place although it is said to have failed", async () => {
    fs.writeFileSync(active, "abc")
    const rename = fs.promises.rename
    vi.spyOn(fs.promises, "rename").mockImplementationOnce(async (from, to) => {
      await rename(from, to)
      throw errno("ENOENT", 2, "rename")
    })
    await run(files.setAside(seenAt(active), segment))
    expect(contentsOf(directory)).toEqual({ [`0.log.${STAMP}`]: "abc" })
  })
  it("says where the file lies when it was renamed and the directory can't be synced", async () => {
    fs.writeFileSync(active, "abc")
    failDirectorySync()
    const error = await failed(files.setAside(seenAt(active), segment))
    expect([error.reason, error.detail]).toEqual(["Io", `EIO: i/o error (fsync); it lies at ${segment} by now`])
    expect(contentsOf(directory)).toEqual({ [`0.log.${STAMP}`]: "abc" })
  })
  it("takes file systems that can't sync a directory as they are", async () => {
    fs.writeFileSync(active, "abc")
    failDirectorySync(errno("EINVAL", 22, "fsync"))
    await run(files.setAside(seenAt(active), segment))
    expect(contentsOf(directory)).toEqual({ [`0.log.${STAMP}`]: "abc" })
  })
  it("gives another file its name back that took the active one's place at the last moment", async () => {
    fs.writeFileSync(active, "abc")
    const rename = fs.promises.rename
    vi.spyOn(fs.promises, "rename").mockImplementationOnce(async (from, to) => {
      fs.renameSync(active, join(directory, "moved"))
      fs.writeFileSync(active, "planted")
      await rename(from, to)
    })
    expect(await reasonOf(files.setAside(seenAt(active), segment))).toBe("Changed")
    expect(contentsOf(directory)).toEqual({ "0.log": "planted", moved: "abc" })
  })
  it.skipIf(!anchoring)("stays in the directory it opened when that is swapped for a link in the midst", async () => {
    const log = join(directory, "log")
    const other = join(directory, "other")
    fs.mkdirSync(log)
    fs.mkdirSync(other)
    fs.writeFileSync(join(log, "0.log"), "abc")
    fs.writeFileSync(join(other, "0.log"), "victim")
    const rename = fs.promises.rename
    vi.spyOn(fs.promises, "rename").mockImplementationOnce(async (from, to) => {
      fs.renameSync(log, join(directory, "was-log"))
      fs.symlinkSync("other", log)
      await rename(from, to)
    })
    await run(files.setAside(seenAt(join(log, "0.log")), join(log, `0.log.${STAMP}`)))
    expect(contentsOf(other)).toEqual({ "0.log": "victim" })
    expect(contentsOf(join(directory, "was-log"))).toEqual({ [`0.log.${STAMP}`]: "abc" })
  })
  it("isn't cut in two by an interruption", async () => {
    fs.writeFileSync(active, "abc")
    const reached = Promise.withResolvers<void>()
    const go = Promise.withResolvers<void>()
    const rename = fs.promises.rename
    vi.spyOn(fs.promises, "rename").mockImplementationOnce(async (from, to) => {
      reached.resolve()
      await go.promise
      await rename(from, to)
    })
    const fiber = Effect.runFork(files.setAside(seenAt(active), segment))
    await reached.promise
    const interrupted = run(Fiber.interrupt(fiber))
    go.resolve()
    await interrupted
    expect(contentsOf(directory)).toEqual({ [`0.log.${STAMP}`]: "abc" })
  })
})

/** Makes every fsync of a directory fail, and no other. */
const failDirectorySync = (cause: NodeJS.ErrnoException = errno("EIO", 5, "fsync")): void => {
  replace("fsync", (_descriptor: number, callback: fs.NoParamCallback) => callback(cause))
}

describe("putBack", () => {
  it("leaves the segment where it is on a file system without hard links", async () => {
    fs.writeFileSync(segment, "abc")
    vi.spyOn(fs.promises, "link").mockRejectedValueOnce(errno("EPERM", 1, "link"))
    const error = await failed(files.putBack(segment, active))
    expect([error.reason, error.detail]).toEqual([
      "Denied",
      "EPERM: operation not permitted (link); it stays where it is: its file system may have no hard links",
    ])
    expect(contentsOf(directory)).toEqual({ [`0.log.${STAMP}`]: "abc" })
  })
  it("finishes what an earlier attempt began", async () => {
    fs.writeFileSync(segment, "abc")
    fs.linkSync(segment, active)
    await run(files.putBack(segment, active))
    expect(contentsOf(directory)).toEqual({ "0.log": "abc" })
  })
  it("says that the file has two names when the old one can't be taken away", async () => {
    fs.writeFileSync(segment, "abc")
    vi.spyOn(fs.promises, "unlink").mockRejectedValueOnce(errno("EIO", 5, "unlink"))
    const error = await failed(files.putBack(segment, active))
    expect([error.reason, error.detail]).toEqual([
      "Io",
      `EIO: i/o error (unlink); it lies under both names, ${active} too`,
    ])
    expect(contentsOf(directory)).toEqual({ "0.log": "abc", [`0.log.${STAMP}`]: "abc" })
  })
  it("keeps the old name until the new one is durable", async () => {
    fs.writeFileSync(segment, "abc")
    failDirectorySync()
    expect(await reasonOf(files.putBack(segment, active))).toBe("Io")
    expect(contentsOf(directory)).toEqual({ "0.log": "abc", [`0.log.${STAMP}`]: "abc" })
  })
})

describe("remove", () => {
  it("tells of the bytes that are gone even if the disk then can't be synced", async () => {
    fs.writeFileSync(segment, "abc")
    failDirectorySync()
    expect(await run(files.remove(seenAt(segment), { unchanged: true }))).toBe(3)
    expect(contentsOf(directory)).toEqual({})
  })
  it("syncs the directory after the name is gone", async () => {
    fs.writeFileSync(segment, "abc")
    const fsync = fs.fsync
    const found: Array<unknown> = []
    replace("fsync", (descriptor: number, callback: fs.NoParamCallback) => {
      found.push([fs.fstatSync(descriptor).isDirectory(), contentsOf(directory)])
      fsync(descriptor, callback)
    })
    await run(files.remove(seenAt(segment), { unchanged: false }))
    expect(found).toEqual([[true, {}]])
  })
})

describe("compress", () => {
  it("keeps mode, owner and time, and makes what gunzip reads", async () => {
    const text = linesOf(3 * CHUNK_BYTES + 17)
    fs.writeFileSync(segment, text)
    if (isRoot) fs.chownSync(segment, 1234, 2345)
    fs.chmodSync(segment, 0o2640)
    fs.utimesSync(segment, 1_600_000_000.25, 1_600_000_000.25)
    const before = seenAt(segment)
    const result = await run(files.compress(before, `${segment}.gz`, gzip))
    const twin = fs.lstatSync(`${segment}.gz`)
    const { gid, uid } = fs.lstatSync(segment)
    expect(result).toEqual({ source: before, bytesIn: text.length, bytesOut: twin.size })
    expect({ mode: twin.mode & 0o7777, uid: twin.uid, gid: twin.gid, mtimeMs: twin.mtimeMs }).toEqual({
      // Never the bits that make a program run as somebody else.
      mode: 0o640,
      uid,
      gid,
      mtimeMs: 1_600_000_000_250,
    })
    expect(gunzipSync(fs.readFileSync(`${segment}.gz`)).equals(text)).toBe(true)
    expect(fs.readFileSync(segment).equals(text)).toBe(true)
    expect(fs.readdirSync(directory).toSorted()).toEqual([`0.log.${STAMP}`, `0.log.${STAMP}.gz`])
  })
  it("shows nobody the temporary file before it is finished", async () => {
    fs.writeFileSync(segment, "abc")
    fs.chmodSync(segment, 0o644)
    const modes: Array<number> = []
    const watching: Codec = {
      ...gzip,
      encode: async function* (input) {
        yield* gzip.encode(input)
        modes.push(fs.lstatSync(`${segment}.tmp`).mode & 0o777)
      },
    }
    await run(files.compress(seenAt(segment), `${segment}.gz`, watching))
    expect([modes, fs.lstatSync(`${segment}.gz`).mode & 0o777]).toEqual([[0o600], 0o644])
  })
  it("gives nobody more access when the owner can't be kept", async () => {
    expect(
      [0o640, 0o644, 0o664, 0o604, 0o060, 0o777, 0o400].map((mode) => modeFor(BigInt(mode), false).toString(8)),
    ).toEqual(["600", "644", "644", "600", "0", "777", "400"])
    if (!isRoot) return
    fs.writeFileSync(segment, "abc")
    fs.chownSync(segment, 1234, 2345)
    fs.chmodSync(segment, 0o640)
    vi.spyOn(await handlePrototype(), "chown").mockRejectedValueOnce(errno("EPERM", 1, "fchown"))
    await run(compressed())
    const { gid, mode, uid } = fs.lstatSync(`${segment}.gz`)
    expect([uid, gid, mode & 0o777]).toEqual([0, 0, 0o600])
  })
  it("carries on after short writes", async () => {
    const text = Buffer.from(Array.from({ length: 700_000 }, (_, index) => (index * 7919 * (index >> 3)) % 251))
    fs.writeFileSync(segment, text)
    const prototype = await handlePrototype()
    const write = prototype.write as (...args: ReadonlyArray<unknown>) => Promise<unknown>
    vi.spyOn(prototype, "write").mockImplementation(function (this: fs.promises.FileHandle, ...args: Array<unknown>) {
      const [buffer, offset, length, position] = args as [Buffer, number, number, number]
      return write.call(this, buffer, offset, Math.min(length, 1000), position)
    } as never)
    await run(compressed())
    expect(gunzipSync(fs.readFileSync(`${segment}.gz`)).equals(text)).toBe(true)
  })
  it("fails, and leaves no twin, if the original can't be made durable", async () => {
    fs.writeFileSync(segment, "abc")
    const prototype = await handlePrototype()
    const { sync } = prototype
    vi.spyOn(prototype, "sync").mockImplementation(async function (this: fs.promises.FileHandle) {
      if (fs.fstatSync(this.fd).ino === fs.lstatSync(segment).ino) throw errno("EIO", 5, "fsync")
      return sync.call(this)
    })
    expect([await reasonOf(compressed()), contentsOf(directory)]).toEqual(["Io", { [`0.log.${STAMP}`]: "abc" }])
  })
  it("syncs the finished file and the original before it has its name, and the directory after", async () => {
    fs.writeFileSync(segment, "abc")
    const acts: Array<string> = []
    const prototype = await handlePrototype()
    const { sync } = prototype
    const { fsync, promises } = fs
    const { rename } = promises
    vi.spyOn(prototype, "sync").mockImplementation(function (this: fs.promises.FileHandle) {
      const { ino, mode, size } = fs.fstatSync(this.fd)
      const which = ino === fs.lstatSync(segment).ino ? "original" : "file"
      acts.push(`${which} synced: ${size > 0 ? "written" : "empty"}, ${(mode & 0o777).toString(8)}`)
      return sync.call(this)
    })
    vi.spyOn(promises, "rename").mockImplementation((from, to) => {
      acts.push(`renamed to ${String(to).split("/").at(-1)}`)
      return rename(from, to)
    })
    replace("fsync", (descriptor: number, callback: fs.NoParamCallback) => {
      acts.push(`directory synced: ${fs.readdirSync(directory).toSorted().join(" ")}`)
      fsync(descriptor, callback)
    })
    fs.chmodSync(segment, 0o640)
    await run(compressed())
    expect(acts).toEqual([
      "file synced: written, 640",
      "original synced: written, 640",
      `renamed to 0.log.${STAMP}.gz`,
      `directory synced: 0.log.${STAMP} 0.log.${STAMP}.gz`,
    ])
  })
  const stages = [
    ["write", "ENOSPC", 28, "NoSpace"],
    ["chmod", "EPERM", 1, "Denied"],
    ["utimes", "EIO", 5, "Io"],
    ["sync", "EDQUOT", 122, "NoSpace"],
    ["read", "EIO", 5, "Io"],
  ] as const
  for (const [method, code, number, reason] of stages) {
    it(`leaves just the original when ${method} fails`, async () => {
      fs.writeFileSync(segment, "abc")
      vi.spyOn(await handlePrototype(), method).mockRejectedValueOnce(errno(code, number, method))
      const error = await failed(compressed())
      expect([error.reason, error.detail.slice(0, code.length + 1)]).toEqual([reason, `${code}:`])
      expect(contentsOf(directory)).toEqual({ [`0.log.${STAMP}`]: "abc" })
    })
  }
  it("leaves just the original when closing what was written fails", async () => {
    fs.writeFileSync(segment, "abc")
    afterClosing((path, bytes) => {
      if (path.endsWith(".tmp") && bytes > 0) throw errno("EIO", 5, "close")
    })
    expect(await reasonOf(compressed())).toBe("Io")
    expect(contentsOf(directory)).toEqual({ [`0.log.${STAMP}`]: "abc" })
  })
  it("leaves just the original when the last rename fails", async () => {
    fs.writeFileSync(segment, "abc")
    vi.spyOn(fs.promises, "rename").mockRejectedValueOnce(errno("EROFS", 30, "rename"))
    expect(await reasonOf(compressed())).toBe("ReadOnly")
    expect(contentsOf(directory)).toEqual({ [`0.log.${STAMP}`]: "abc" })
  })
  it("reads what is on the disk to verify, not what it meant to write", async () => {
    fs.writeFileSync(segment, linesOf(100_000))
    const prototype = await handlePrototype()
    const { sync } = prototype
    vi.spyOn(prototype, "sync").mockImplementationOnce(async function (this: fs.promises.FileHandle) {
      await sync.call(this)
      fs.writeSync(this.fd, Buffer.from([0xff, 0xff, 0xff]), 0, 3, 1000)
    })
    expect(await reasonOf(compressed())).toBe("Corrupt")
    expect(fs.readdirSync(directory)).toEqual([`0.log.${STAMP}`])
  })
  it("doesn't rename a file that took the temporary one's place, nor removes it", async () => {
    fs.writeFileSync(segment, "abc")
    const planting: Codec = {
      ...gzip,
      decode: async function* (input) {
        yield* gzip.decode(input)
        fs.unlinkSync(`${segment}.tmp`)
        fs.writeFileSync(`${segment}.tmp`, "planted")
      },
    }
    expect(await reasonOf(files.compress(seenAt(segment), `${segment}.gz`, planting))).toBe("Changed")
    expect(contentsOf(directory)).toEqual({ [`0.log.${STAMP}`]: "abc", [`0.log.${STAMP}.tmp`]: "planted" })
  })
  it("doesn't verify another file than it wrote", async () => {
    fs.writeFileSync(segment, "abc")
    afterClosing((path, bytes) => {
      if (!path.endsWith(".tmp") || bytes === 0 || fs.existsSync(join(directory, "moved"))) return
      fs.renameSync(`${segment}.tmp`, join(directory, "moved"))
      fs.writeFileSync(`${segment}.tmp`, gzipSync("abc"))
    })
    const decoded = vi.fn<Codec["decode"]>(gzip.decode)
    expect(await reasonOf(files.compress(seenAt(segment), `${segment}.gz`, { ...gzip, decode: decoded }))).toBe(
      "Changed",
    )
    expect(decoded).not.toHaveBeenCalled()
    expect(fs.readdirSync(directory).toSorted()).toEqual([`0.log.${STAMP}`, `0.log.${STAMP}.tmp`, "moved"])
  })
  it("finishes a rename that is under way when it is interrupted", async () => {
    fs.writeFileSync(segment, "abc")
    const reached = Promise.withResolvers<void>()
    const go = Promise.withResolvers<void>()
    const { rename } = fs.promises
    vi.spyOn(fs.promises, "rename").mockImplementationOnce(async (from, to) => {
      reached.resolve()
      await go.promise
      await rename(from, to)
    })
    const fiber = Effect.runFork(compressed())
    await reached.promise
    const interrupted = run(Fiber.interrupt(fiber)).then(() => "interrupted")
    // Time for the interruption to do harm, if it could: it must wait for the rename.
    const first = await Promise.race([interrupted, setTimeout(100, "still at it")])
    go.resolve()
    await interrupted
    expect(first).toBe("still at it")
    expect(fs.readdirSync(directory).toSorted()).toEqual([`0.log.${STAMP}`, `0.log.${STAMP}.gz`])
  })
  it("isn't held up by a named pipe in the segment's place", async () => {
    const seen: FileSeen = { path: segment, bytes: 3, modifiedMs: 0, identity: "1:1" }
    execFileSync("mkfifo", [segment])
    expect(await reasonOf(files.compress(seen, `${segment}.gz`, gzip))).toBe("NotRegular")
    expect(await reasonOf(files.remove(seen, { unchanged: false }))).toBe("NotRegular")
    expect(contentsOf(directory)).toEqual({ [`0.log.${STAMP}`]: "(no file)" })
  })
  it("stops promptly when interrupted in the midst of a large file, and closes everything", async () => {
    fs.writeFileSync(segment, linesOf(4 * 1024 * 1024))
    const reached = Promise.withResolvers<void>()
    let pieces = 0
    let ended = false
    const slow: Codec = {
      ...gzip,
      encode: async function* (input) {
        try {
          for await (const chunk of input) {
            pieces++
            if (pieces === 3) reached.resolve()
            yield chunk
          }
        } finally {
          ended = true
        }
      },
    }
    const fiber = Effect.runFork(files.compress(seenAt(segment), `${segment}.gz`, slow))
    await reached.promise
    await run(Fiber.interrupt(fiber))
    expect(fs.readdirSync(directory)).toEqual([`0.log.${STAMP}`])
    expect(process.platform === "linux" ? openBelow(directory) : []).toEqual([])
    await vi.waitFor(() => expect(ended, "the codec is told that no more is wanted").toBe(true))
    expect(pieces).toBeLessThan(17)
  })
  it("gives a codec that asks for more after an interruption an error, not a closed file", async () => {
    fs.writeFileSync(segment, linesOf(1024 * 1024))
    const reached = Promise.withResolvers<void>()
    const go = Promise.withResolvers<void>()
    const late = Promise.withResolvers<string>()
    const stubborn: Codec = {
      ...gzip,
      encode: async function* (input) {
        const iterator = input[Symbol.asyncIterator]()
        yield (await iterator.next()).value as Uint8Array
        reached.resolve()
        await go.promise
        late.resolve(await iterator.next().then(() => "more", String))
      },
    }
    const fiber = Effect.runFork(files.compress(seenAt(segment), `${segment}.gz`, stubborn))
    await reached.promise
    await run(Fiber.interrupt(fiber))
    go.resolve()
    expect(await late.promise).toBe("Error: reading has been stopped")
  })
  it("lets others have their turn while a codec yields small pieces without ever waiting", async () => {
    fs.writeFileSync(segment, Buffer.alloc(200_000, 1))
    const chatty: Codec = {
      ...gzip,
      encode: async function* (input) {
        for await (const chunk of input) for (const byte of chunk) yield Uint8Array.of(byte)
      },
    }
    let turns = 0
    let over = false
    const turn = (): void => {
      turns++
      if (!over) setImmediate(turn)
    }
    turn()
    const reason = await reasonOf(files.compress(seenAt(segment), `${segment}.gz`, chatty))
    over = true
    expect(reason).toBe("Corrupt")
    expect(turns).toBeGreaterThan(1_000)
  })
  it("stops a codec that makes more of a file than any format needs", async () => {
    fs.writeFileSync(segment, "abc")
    let made = 0
    const swelling: Codec = {
      ...gzip,
      encode: async function* (input) {
        for await (const chunk of input) for (;;) yield (((made += chunk.length), chunk))
      },
    }
    const error = await failed(files.compress(seenAt(segment), `${segment}.gz`, swelling))
    expect([error.reason, error.detail]).toEqual([
      "Codec",
      "the codec gzip failed: it makes more than 65542 bytes of 3",
    ])
    expect(made - mostBytesFor(3)).toBeLessThanOrEqual(3)
  })
  it("holds no more of a large file than a few chunks", async () => {
    const size = 48 * 1024 * 1024
    fs.writeFileSync(segment, linesOf(size))
    let ahead = 0
    let most = 0
    const counting: Codec = {
      ...gzip,
      // Reads one chunk, gives one piece: what is read ahead of what is taken is ours.
      encode: async function* (input) {
        for await (const chunk of input) {
          ahead += chunk.length
          most = Math.max(most, ahead)
          yield chunk
          ahead -= chunk.length
        }
      },
      decode: async function* (input) {
        for await (const chunk of input) {
          ahead += chunk.length
          most = Math.max(most, ahead)
          yield chunk
          ahead -= chunk.length
        }
      },
    }
    const result = await run(files.compress(seenAt(segment), `${segment}.gz`, counting))
    expect([result.bytesIn, result.bytesOut, most]).toEqual([size, size, CHUNK_BYTES])
  })
})

describe("matches", () => {
  const matches = (twin: Buffer): Promise<boolean> => {
    fs.writeFileSync(`${segment}.gz`, twin)
    return run(files.matches(seenAt(`${segment}.gz`), seenAt(segment), gzip))
  }
  it("reads every member of a gzip file, and knows one that was cut off or isn't one", async () => {
    const text = linesOf(CHUNK_BYTES + 5)
    fs.writeFileSync(segment, text)
    const [head, tail] = [gzipSync(text.subarray(0, 1000)), gzipSync(text.subarray(1000))]
    const whole = gzipSync(text)
    expect([
      await matches(Buffer.concat([head, tail])),
      await matches(head),
      await matches(whole),
      await matches(whole.subarray(0, -1)),
      await matches(whole.subarray(0, 10)),
      await matches(Buffer.concat([whole, head])),
      await matches(Buffer.from("no gzip")),
      await matches(Buffer.alloc(0)),
    ]).toEqual([true, false, true, false, false, false, false, false])
  })
  it("reads no more of a bomb than the original's length", async () => {
    fs.writeFileSync(segment, "abc")
    const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024))
    let decoded = 0
    const counting: Codec = {
      ...gzip,
      decode: async function* (input) {
        for await (const piece of gzip.decode(input)) yield (((decoded += piece.length), piece))
      },
    }
    fs.writeFileSync(`${segment}.gz`, bomb)
    expect(await run(files.matches(seenAt(`${segment}.gz`), seenAt(segment), counting))).toBe(false)
    expect(decoded).toBeLessThan(1024 * 1024)
  })
  it("is an error, not a no, when the disk can't be read", async () => {
    fs.writeFileSync(segment, "abc")
    fs.writeFileSync(`${segment}.gz`, gzipSync("abc"))
    vi.spyOn(await handlePrototype(), "read").mockRejectedValueOnce(errno("EIO", 5, "read"))
    expect(await reasonOf(files.matches(seenAt(`${segment}.gz`), seenAt(segment), gzip))).toBe("Io")
  })
  it("is an error, not a no, when the codec is broken", async () => {
    fs.writeFileSync(segment, "abc")
    fs.writeFileSync(`${segment}.gz`, gzipSync("abc"))
    const rubbish: Codec = {
      ...gzip,
      decode: async function* () {
        yield "abc" as unknown as Uint8Array
      },
    }
    expect(await reasonOf(files.matches(seenAt(`${segment}.gz`), seenAt(segment), rubbish))).toBe("Codec")
  })
  it("takes no file for proof of itself", async () => {
    const nothing: Codec = { id: "nothing", suffix: ".raw", encode: (input) => input, decode: (input) => input }
    fs.writeFileSync(segment, "abc")
    fs.linkSync(segment, `${segment}.raw`)
    expect(await reasonOf(files.matches(seenAt(`${segment}.raw`), seenAt(segment), nothing))).toBe("Changed")
  })
  it("has the twin on the disk before it says yes", async () => {
    fs.writeFileSync(segment, "abc")
    fs.writeFileSync(`${segment}.gz`, gzipSync("abc"))
    const seen = [seenAt(`${segment}.gz`), seenAt(segment)] as const
    vi.spyOn(await handlePrototype(), "sync").mockRejectedValueOnce(errno("EIO", 5, "fsync"))
    expect(await reasonOf(files.matches(...seen, gzip))).toBe("Io")
    failDirectorySync()
    expect(await reasonOf(files.matches(...seen, gzip))).toBe("Io")
  })
})

describe("errors", () => {
  it("keep errno's name, and say what to do", () => {
    const codes = [
      ["ENOENT", 2, "NotFound"],
      ["EEXIST", 17, "Exists"],
      ["EACCES", 13, "Denied"],
      ["EPERM", 1, "Denied"],
      ["ENOSPC", 28, "NoSpace"],
      ["EDQUOT", 122, "NoSpace"],
      ["EROFS", 30, "ReadOnly"],
      ["EIO", 5, "Io"],
      ["Unknown system error -117", 117, "Io"],
      ["EXDEV", 18, "CrossDevice"],
      ["EBUSY", 16, "Busy"],
      ["EMFILE", 24, "TooManyOpenFiles"],
      ["ELOOP", 40, "NotRegular"],
      ["ENAMETOOLONG", 36, "Other"],
    ] as const
    const found = codes.map(([code, number]) => {
      const { detail, hint, reason } = failureOf("remove", "/l")(errno(code, number, "unlink"))
      return [code, number, reason, detail.split(":")[0], hint !== ""]
    })
    expect(found).toEqual(
      codes.map(([code, number, reason]) => [code, number, reason, number === 117 ? "EUCLEAN" : code, true]),
    )
  })
  it("are bounded and never fail themselves, whatever was thrown", () => {
    const things: ReadonlyArray<unknown> = [null, undefined, 7, "x".repeat(10_000), Object.create(null), new Error("")]
    const details = things.map((thing) => failureOf("compress", "/l")(thing).detail)
    expect(details).toEqual([
      "null",
      "undefined",
      "7",
      `${"x".repeat(500)}…`,
      "something that can't be shown was thrown",
      "Error",
    ])
  })
})

describe.skipIf(noMounts !== null)("on a file system that is full, read-only or mounted upon", () => {
  const on = async (options: string, body: (mount: Mounted) => Promise<void>): Promise<void> => {
    const mount = mountTmpfs(directory, options)
    try {
      await body(mount)
    } finally {
      mount.unmount()
    }
  }
  const filler = (): string => join(directory, "filler")
  const text = randomBytes(200_000)

  it("has the original and no temporary file when there is no room for the compressed one", () =>
    on("size=512k", async () => {
      fs.writeFileSync(segment, text)
      expect(fillUp(filler())).toBeGreaterThan(0)
      const error = await failed(compressed())
      expect([error.reason, error.detail]).toEqual(["NoSpace", "ENOSPC: no space left on device (write)"])
      expect(fs.readdirSync(directory).toSorted()).toEqual([`0.log.${STAMP}`, "filler"])
      expect(fs.readFileSync(segment).equals(text)).toBe(true)
      fs.unlinkSync(filler())
      await run(compressed())
      expect(gunzipSync(fs.readFileSync(`${segment}.gz`)).equals(text)).toBe(true)
    }))
  it("has the original and no temporary file when there is room for only half of it", () =>
    on("size=300k", async () => {
      fs.writeFileSync(segment, text)
      expect(await reasonOf(compressed())).toBe("NoSpace")
      expect(fs.readdirSync(directory)).toEqual([`0.log.${STAMP}`])
      expect(fs.readFileSync(segment).equals(text)).toBe(true)
    }))
  // The directory, the segment, and as many files as are left.
  for (const [left, what] of [
    [0, "the temporary file"],
    [1, "the compressed file's name"],
  ] as const) {
    it(`has the original and nothing else when no inode is left for ${what}`, () =>
      on(`size=512k,nr_inodes=${2 + left}`, async () => {
        fs.writeFileSync(segment, "abc")
        expect(await reasonOf(compressed())).toBe("NoSpace")
        expect(contentsOf(directory)).toEqual({ [`0.log.${STAMP}`]: "abc" })
      }))
  }
  it("rotates where no byte is left, and leaves the active file where no inode is left", async () => {
    await on("size=64k", async () => {
      fs.writeFileSync(active, "abc")
      fillUp(filler())
      await run(files.setAside(seenAt(active), segment))
      expect(fs.readdirSync(directory).toSorted()).toEqual([`0.log.${STAMP}`, "filler"])
    })
    await on("size=64k,nr_inodes=2", async () => {
      fs.writeFileSync(active, "abc")
      const error = await failed(files.setAside(seenAt(active), segment))
      expect([error.reason, error.path]).toEqual(["NoSpace", segment])
      expect(contentsOf(directory)).toEqual({ "0.log": "abc" })
    })
  })
  it("changes nothing where nothing can be written", () =>
    on("size=64k", async (mount) => {
      fs.writeFileSync(active, "abc")
      fs.writeFileSync(segment, "de")
      fs.writeFileSync(`${active}.20260909-043300`, "f")
      const before = contentsOf(directory)
      mount.remount("ro")
      const reasons = [
        await reasonOf(files.setAside(seenAt(active), `${segment}1`)),
        await reasonOf(files.putBack(segment, join(directory, "1.log"))),
        await reasonOf(files.remove(seenAt(segment), { unchanged: true })),
        await reasonOf(compressed()),
      ]
      expect(reasons).toEqual(["ReadOnly", "ReadOnly", "ReadOnly", "ReadOnly"])
      expect(contentsOf(directory)).toEqual(before)
      expect((await run(files.list(active))).entries).toHaveLength(3)
    }))
  it("leaves a log that something is mounted upon, and takes the reserved name away again", async () => {
    fs.writeFileSync(active, "below")
    const other = makeScratch()
    fs.writeFileSync(join(other, "file"), "mounted")
    const mount = bindMount(join(other, "file"), active)
    try {
      expect(await reasonOf(files.setAside(seenAt(active), segment))).toBe("Busy")
      expect(contentsOf(directory)).toEqual({ "0.log": "mounted" })
    } finally {
      mount.unmount()
      removeScratch(other)
    }
  })
})
