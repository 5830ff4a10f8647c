// A file read as a stream of bytes: only the one that was seen, whole, decoded or as it lies there, and closed whatever becomes of it.
import {
  appendFileSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Readable } from "node:stream"
import { createGunzip, gzipSync } from "node:zlib"
import { type Codec, type FileSeen, LogFilesError } from "@cordwood/core"
import { Effect } from "effect"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { makeNodeLogFiles } from "../src/log-files/node-log-files.ts"

let directory = ""
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "cordwood-read-"))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const put = (name: string, bytes: string | Uint8Array): string => {
  writeFileSync(join(directory, name), bytes)
  return join(directory, name)
}
const seen = async (path: string): Promise<FileSeen> => {
  const { entries } = await Effect.runPromise(makeNodeLogFiles(true).list(path))
  const { bytes, identity, modifiedMs } = entries.find((entry) => entry.path === path)!
  return { path, bytes, identity, modifiedMs }
}
const collect = async (bytes: AsyncIterable<Uint8Array>): Promise<string> => {
  const all: Array<Uint8Array> = []
  for await (const piece of bytes) all.push(piece)
  return Buffer.concat(all).toString()
}
/** What it came to: the bytes, or why not. */
const outcome = async (bytes: AsyncIterable<Uint8Array>): Promise<string> => {
  try {
    return await collect(bytes)
  } catch (error) {
    return error instanceof LogFilesError
      ? `${error.reason}: ${error.detail}`
      : `no error of the port: ${String(error)}`
  }
}
/** Descriptors of this process that lead into the directory. */
const open = (): ReadonlyArray<string> =>
  readdirSync("/proc/self/fd").flatMap((descriptor) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${descriptor}`)
      return target.startsWith(directory) ? [target] : []
    } catch {
      return []
    }
  })
const decoding = (decode: Codec["decode"]): Codec => ({ id: "odd", suffix: ".odd", encode: decode, decode })
const through: Codec["decode"] = (input) => Readable.from(input).pipe(createGunzip())
const gz: Codec = { id: "gzip", suffix: ".gz", encode: through, decode: through }

describe.each([true, false])("read, anchored to the directory: %s", (anchored) => {
  const files = makeNodeLogFiles(anchored)
  const large = "a line of a log\n".repeat(100_000)

  it("gives a plain file's bytes, a compressed one's as they lie there or decoded, from the beginning each time", async () => {
    const plain = await seen(put("0.log.20260101-000000", large))
    const packed = await seen(put("0.log.20260102-000000.gz", Buffer.concat([gzipSync(large), gzipSync("and more")])))
    expect([await collect(files.read(plain, null)), await collect(files.read(plain, null))]).toEqual([large, large])
    expect(await collect(files.read(packed, gz))).toBe(`${large}and more`)
    let stored = 0
    for await (const piece of files.read(packed, null)) stored += piece.length
    expect([stored, open()]).toEqual([packed.bytes, []])
    expect(await collect(files.read(await seen(put("empty", "")), null))).toBe("")
  })

  it("refuses another file of the same name, one that grew, one that is gone and one that is no file", async () => {
    const path = put("0.log.20260101-000000", "as it was seen")
    const file = await seen(path)
    appendFileSync(path, " and more")
    expect(await outcome(files.read(file, null))).toBe("Changed: it holds 23 bytes, and held 14")
    renameSync(put("other", "as it was seen"), path)
    expect(await outcome(files.read(file, null))).toMatch(/^Changed: another file lies there by now/)
    rmSync(path)
    expect(await outcome(files.read(file, null))).toMatch(/^NotFound: /)
    symlinkSync(put("elsewhere", "as it was seen"), path)
    expect(await outcome(files.read(file, null))).toMatch(/^NotRegular: /)
    rmSync(path)
    mkdirSync(path)
    expect(await outcome(files.read(file, null))).toMatch(/^NotRegular: /)
    expect([lstatSync(path).isDirectory(), open()]).toEqual([true, []])
  })

  it("fails at the end of a file that grew while it was read", async () => {
    const path = put("0.log.20260101-000000", large)
    const file = await seen(path)
    const read = async (): Promise<void> => {
      for await (const piece of files.read(file, null)) if (piece.length > 0) appendFileSync(path, "more")
    }
    await expect(read()).rejects.toMatchObject({ reason: "Changed", path })
    expect(open()).toEqual([])
  })

  it.each<readonly [string, Codec["decode"], string]>([
    [
      "throws",
      () => {
        throw new Error("no")
      },
      "Codec: the codec odd failed: no",
    ],
    ["returns nothing", () => undefined as never, "Codec: the codec odd failed: it returned no stream of bytes"],
    [
      "gives something else than bytes",
      async function* () {
        yield "text" as never
      },
      "Codec: the codec odd failed: it yielded something else than bytes (string)",
    ],
    [
      "stops before the end of what it was given",
      async function* () {
        yield new Uint8Array([1])
      },
      "Codec: the codec odd failed: it ended after 0 of 14 bytes",
    ],
  ])("takes a decoder that %s for a failure, not for the end", async (_, decode, said) => {
    const file = await seen(put("0.log.20260101-000000.odd", "as it was seen"))
    expect([await outcome(files.read(file, decoding(decode))), open()]).toEqual([said, []])
  })

  it("closes the file, and stops the decoder, when its reader has enough", async () => {
    const file = await seen(put("0.log.20260101-000000.odd", large))
    let stopped = false
    const decode: Codec["decode"] = async function* (input) {
      try {
        yield* input
      } finally {
        stopped = true
      }
    }
    for (const codec of [null, decoding(decode)]) {
      for await (const piece of files.read(file, codec)) if (piece.length > 0) break
      expect(open()).toEqual([])
    }
    expect(stopped).toBe(true)
  })
})
