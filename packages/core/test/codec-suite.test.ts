// The codec suite itself: a right codec passes every case, and each wrong one fails the case that is about it.
import { pipeline, type Transform } from "node:stream"
import { createDeflateRaw, createGunzip, createGzip, createInflateRaw } from "node:zlib"
import { describe, expect, it } from "vitest"
import type { Codec } from "@cordwood/core"
import { codecSuite } from "@cordwood/core/testing"

type Bytes = AsyncIterable<Uint8Array>
type Through = (input: Bytes) => Bytes

const collect = async (bytes: Bytes): Promise<Buffer> => {
  const all: Array<Uint8Array> = []
  for await (const chunk of bytes) all.push(chunk)
  return Buffer.concat(all)
}

/** Sends bytes through a zlib stream, as the gzip plugin does, which core can't know. */
const through = async function* (engine: Transform, input: Bytes): AsyncGenerator<Uint8Array, void, undefined> {
  const released = new Promise<void>((resolve) => {
    pipeline(input, engine, () => resolve())
  })
  try {
    yield* engine
  } finally {
    await released
  }
}
// Zeros after the end are the one thing that Node lets pass.
const decode: Through = async function* (input) {
  let bytesFed = 0
  const counted: Through = async function* (input) {
    for await (const chunk of input) {
      bytesFed += chunk.length
      yield chunk
    }
  }
  const gunzip = createGunzip()
  yield* through(gunzip, counted(input))
  if (gunzip.bytesWritten !== bytesFed) throw new Error("no gzip")
}
const encode: Through = async function* (input) {
  yield* through(createGzip({ level: 1 }), input)
}
const right: Codec = { id: "right", suffix: ".gz", encode, decode }

/** Names of the cases that a codec fails; of these only, if any are given. */
const failing = async (codec: Codec, only?: ReadonlyArray<string>): Promise<ReadonlyArray<string>> => {
  const cases = codecSuite(codec).filter(({ name }) => only === undefined || only.includes(name))
  const ends = await Promise.allSettled(cases.map(({ run }) => run()))
  return cases.flatMap(({ name }, at) => (ends[at]?.status === "rejected" ? [name] : []))
}

describe("the codec suite", () => {
  it("passes a codec that does all it must", async () => {
    expect(await failing(right)).toEqual([])
  })

  it("has a name of its own for every case", () => {
    const names = codecSuite(right).map(({ name }) => name)
    expect(new Set(names).size).toBe(names.length)
  })

  /** Reads all before it goes on. */
  const whole = (inner: Through): Through =>
    async function* (input) {
      yield* inner(
        (async function* () {
          yield await collect(input)
        })(),
      )
    }
  /** Reads on its own account, whether or not anybody asks. */
  const eager =
    (inner: Through): Through =>
    (input) => {
      const reading = collect(input)
      return inner(
        (async function* () {
          yield await reading
        })(),
      )
    }
  /** Never closes its input. */
  const deaf = (inner: Through): Through =>
    async function* (input) {
      const iterator = input[Symbol.asyncIterator]()
      yield* inner({ [Symbol.asyncIterator]: () => ({ next: () => iterator.next() }) })
    }
  /** Says something else about every failure. */
  const vague = (inner: Through): Through =>
    async function* (input) {
      try {
        yield* inner(input)
      } catch (error) {
        throw new Error("something went wrong", { cause: error })
      }
    }
  /** Takes failures of these kinds for the end. */
  const lenient = (...codes: ReadonlyArray<string>): Through =>
    async function* (input) {
      try {
        yield* decode(input)
      } catch (error) {
        if (!codes.includes(String((error as { readonly code?: unknown }).code))) throw error
      }
    }
  const zeros: Through = async function* (input) {
    yield* through(createGunzip(), input)
  }
  const firstOnly: Through = async function* (input) {
    yield* through(createGunzip({ rejectGarbageAfterEnd: true }), input)
  }
  /** Writes the time into the header. */
  let time = 0
  const dated: Through = async function* (input) {
    const file = await collect(encode(input))
    time += 1
    file.writeUInt32LE(time, 4)
    yield file
  }
  const identity: Through = (input) => input
  /** No checksum. */
  const raw: Partial<Codec> = {
    encode: async function* (input) {
      yield* through(createDeflateRaw(), input)
    },
    decode: async function* (input) {
      yield* through(createInflateRaw(), input)
    },
  }

  it.each<readonly [string, Partial<Codec>, ReadonlyArray<string>]>([
    ["whose suffix is taken", { suffix: ".tmp" }, ["has an id and a suffix that file names and policies can carry"]],
    [
      "that changes nothing",
      { encode: identity, decode: identity },
      [
        "makes a log smaller",
        "fails on a file that is cut off, after whichever byte",
        "fails on a large file that is cut off",
        "fails on a second file that is cut off, after whichever byte",
        "fails on bytes after the end that are no file of this format, zeros included",
        "fails on a plain log, and on zeros",
        "never decodes to other bytes when one is flipped: it fails, or the byte meant nothing",
      ],
    ],
    [
      "without a checksum",
      raw,
      [
        "decodes two files that lie one after another to both, wherever the chunks are cut",
        "fails on a second file that is cut off, after whichever byte",
        "fails on bytes after the end that are no file of this format, zeros included",
        "never decodes to other bytes when one is flipped: it fails, or the byte meant nothing",
      ],
    ],
    [
      "that reads all before it encodes",
      { encode: whole(encode) },
      [
        "encode gives out the first bytes of a large file before it has read the last",
        "encode holds a bounded part of a file, also for a consumer that takes its time",
        "encode closes its input when its consumer stops early, and reads no more",
      ],
    ],
    [
      "that reads all before it decodes",
      { decode: whole(decode) },
      [
        "decode gives out the first bytes of a large file before it has read the last",
        "decode holds a bounded part of a file, also for a consumer that takes its time",
        "decode closes its input when its consumer stops early, and reads no more",
      ],
    ],
    [
      "that reads without being asked",
      { encode: eager(encode) },
      [
        "encode touches its input only when it is read",
        "encode gives out the first bytes of a large file before it has read the last",
        "encode holds a bounded part of a file, also for a consumer that takes its time",
        "encode closes its input when its consumer stops early, and reads no more",
      ],
    ],
    [
      "that doesn't close its input",
      { decode: deaf(decode) },
      ["decode closes its input when its consumer stops early, and reads no more"],
    ],
    [
      "that hides its input's error",
      { encode: vague(encode) },
      [0, 1, 20].map((after) => `encode throws its input's error as it is, after ${after} chunks`),
    ],
    [
      "that takes an input that ends for a file that does",
      { decode: lenient("Z_BUF_ERROR") },
      [
        "fails on a file that is cut off, after whichever byte",
        "fails on a large file that is cut off",
        "fails on a second file that is cut off, after whichever byte",
        "never decodes to other bytes when one is flipped: it fails, or the byte meant nothing",
      ],
    ],
    [
      "that stops at zeros",
      { decode: zeros },
      ["fails on bytes after the end that are no file of this format, zeros included"],
    ],
    [
      "that knows of one file only",
      { decode: firstOnly },
      ["decodes two files that lie one after another to both, wherever the chunks are cut"],
    ],
    [
      "that writes something else each time",
      { encode: dated },
      ["writes the same file for the same bytes, however they are cut into chunks"],
    ],
  ])("fails a codec %s, by the cases that are about it", async (_what, fault, cases) => {
    expect(await failing({ ...right, ...fault }, cases)).toEqual(cases)
  })
})
