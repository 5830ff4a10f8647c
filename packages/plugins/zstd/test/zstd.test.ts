// The zstd codec: what every codec must do, and what is zstd's alone.
import { createHook } from "node:async_hooks"
import { spawnSync } from "node:child_process"
import { writeFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Transform } from "node:stream"
import { constants, createZstdDecompress, gzipSync, zstdCompressSync, zstdDecompressSync } from "node:zlib"
import { type Codec, compose } from "@cordwood/core"
import { codecSuite } from "@cordwood/core/testing"
import { Effect } from "effect"
import * as fc from "fast-check"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as z from "zod"
import { zstd } from "../src/index.ts"

const codecOf = async (config: z.input<typeof zstd.config> = {}): Promise<Codec> => {
  const contributions = await Effect.runPromise(
    Effect.scoped(zstd.setup(zstd.config.parse(config), { version: "0.1.0", configHash: "0".repeat(16) })),
  )
  const { codecs } = await Effect.runPromise(compose([{ plugin: zstd.name, contributions }]))
  return codecs[0]!
}
const codec = await codecOf()

async function* chunked(bytes: Uint8Array, size = 65_536): AsyncGenerator<Uint8Array, void, undefined> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}
const collect = async (chunks: AsyncIterable<Uint8Array>): Promise<Buffer> => {
  const all: Array<Uint8Array> = []
  for await (const chunk of chunks) all.push(chunk)
  return Buffer.concat(all)
}
const encode = (plain: Uint8Array, by = codec): Promise<Buffer> => collect(by.encode(chunked(plain)))
const decode = (encoded: Uint8Array, size?: number): Promise<Buffer> => collect(codec.decode(chunked(encoded, size)))

const linesOf = (count: number): Buffer =>
  Buffer.from(
    Array.from(
      { length: count },
      (_, n) => `2026-09-09T04:33:10.${n % 1_000}Z stdout F line ${n} took ${(n * 7_919) % 10_007} ms\n`,
    ).join(""),
  )
const LINES = linesOf(9_000)
/** Several frames' worth, where frames are of 1 MiB. */
const MANY_LINES = linesOf(80_000)

/** A frame that is skipped: what pzstd writes before each of its own, and where others keep their notes. */
const skippable = (content: Uint8Array, digit = 0): Buffer => {
  const header = Buffer.alloc(8)
  header.writeUInt32LE(0x184d2a50 + digit, 0)
  header.writeUInt32LE(content.length, 4)
  return Buffer.concat([header, content])
}

describe("as any codec, it", () => {
  for (const { name, run } of codecSuite(codec)) it(name, run)
})
describe("with several workers, as any codec, it", async () => {
  for (const { name, run } of codecSuite(await codecOf({ workers: 2 }))) it(name, run)
})

describe("the plugin", () => {
  it("is called zstd, brings one codec of that id, and works from a config file and from code", async () => {
    expect({ name: zstd.name, api: zstd.api, id: codec.id, suffix: codec.suffix }).toEqual({
      name: "zstd",
      api: 1,
      id: "zstd",
      suffix: ".zst",
    })
    expect(zstd({ level: 6 }).config).toEqual({ level: 6 })
    expect(zstd().plugin.name).toBe("zstd")
    expect(zstd.config.parse({})).toEqual({ level: 1, checksum: true, workers: 1 })
  })

  it.each([
    [{ levle: 6 }, `✖ Unrecognized key: "levle"`],
    [{ level: 0 }, "✖ Too small: expected number to be >=1\n  → at level"],
    [{ level: 20 }, "✖ Too big: expected number to be <=19\n  → at level"],
    [{ windowLog: 9 }, "✖ Too small: expected number to be >=10\n  → at windowLog"],
    [{ windowLog: 28 }, "✖ Too big: expected number to be <=27\n  → at windowLog"],
    [{ checksum: "yes" }, "✖ Invalid input: expected boolean, received string\n  → at checksum"],
    [{ workers: 0 }, "✖ Too small: expected number to be >=1\n  → at workers"],
    [{ workers: 17 }, "✖ Too big: expected number to be <=16\n  → at workers"],
    [
      { workers: 2, windowLog: 21 },
      "✖ must be at most 20 with several workers: each compresses 1 MiB by itself, so none can look back further; choose workers: 1 or a smaller windowLog\n  → at windowLog",
    ],
  ])("refuses the config %j and names what is wrong", (config, message) => {
    expect(z.prettifyError(zstd.config.safeParse(config).error!)).toBe(message)
  })
})

/** What the header of a file's first frame says; see RFC 8878, 3.1.1.1. */
const headerOf = (encoded: Buffer) => ({
  magic: encoded.readUInt32LE(0),
  checksum: (encoded[4]! & 4) !== 0,
  window: 2 ** (10 + (encoded[5]! >>> 3)) * (1 + (encoded[5]! & 7) / 8),
})

describe("a file that it writes", () => {
  it.each([
    [{}, { checksum: true, window: 2 ** 19 }],
    [{ level: 3 }, { checksum: true, window: 2 ** 21 }],
    [{ windowLog: 17 }, { checksum: true, window: 2 ** 17 }],
    [
      { windowLog: 23, checksum: false },
      { checksum: false, window: 2 ** 23 },
    ],
    [{ workers: 2 }, { checksum: true, window: 2 ** 19 }],
    [
      { workers: 2, windowLog: 17 },
      { checksum: true, window: 2 ** 17 },
    ],
  ])("with %j has a header that says so: %j", async (config, said) => {
    expect(headerOf(await encode(MANY_LINES, await codecOf(config)))).toEqual({ magic: 0xfd2fb528, ...said })
  })

  it("is smaller at a high level", async () => {
    const sizes = await Promise.all(
      [1, 19].map(async (level) => (await encode(LINES, await codecOf({ level }))).length),
    )
    expect(sizes[1]).toBeLessThan(sizes[0]!)
  })

  it("is one frame, whatever the chunks, so that readers that know no more than the first read it all", async () => {
    const whole = await encode(MANY_LINES)
    expect(zstdDecompressSync(whole).equals(MANY_LINES)).toBe(true)
    for (const size of [1_009, 65_536, 262_144, MANY_LINES.length]) {
      const chunks = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
        for await (const chunk of chunked(MANY_LINES, size)) {
          yield chunk
          yield new Uint8Array()
          yield new Uint8Array()
        }
      }
      expect((await collect(codec.encode(chunks()))).equals(whole)).toBe(true)
    }
  })

  it("is with several workers what each MiB would be in a file of its own, one after another", async () => {
    const parts = Array.from({ length: Math.ceil(MANY_LINES.length / 2 ** 20) }, (_, n) =>
      encode(MANY_LINES.subarray(n * 2 ** 20, (n + 1) * 2 ** 20)),
    )
    expect(parts.length).toBeGreaterThan(3)
    const frames = await encode(MANY_LINES, await codecOf({ workers: 3 }))
    expect(frames.equals(Buffer.concat(await Promise.all(parts)))).toBe(true)
  })

  it("is the same whatever the number of workers, from two on", async () => {
    const [two, five] = await Promise.all([2, 5].map(async (workers) => encode(MANY_LINES, await codecOf({ workers }))))
    expect(two!.equals(five!)).toBe(true)
  })
})

describe("a file of several frames", () => {
  it("loses all but the first without a word in Node's own reader; that is why this one looks where they end", async () => {
    const both = Buffer.concat([zstdCompressSync("one\n"), zstdCompressSync("two\n")])
    const engine = createZstdDecompress()
    engine.end(both)
    expect((await collect(engine)).toString()).toBe("one\n")
    expect(zstdDecompressSync(both).toString()).toBe("one\n")
    expect((await decode(both)).toString()).toBe("one\ntwo\n")
  })

  it("is read whole, whatever the frames are and wherever the chunks are cut", async () => {
    const frame = fc.oneof(
      fc.record({
        content: fc.uint8Array({ maxLength: 400 }),
        repeat: fc.constantFrom(1, 1, 3, 2_000),
        level: fc.constantFrom(1, 3, 19),
        checksum: fc.boolean(),
        contentSize: fc.boolean(),
        windowLog: fc.constantFrom(10, 17, 22),
      }),
      fc.record({ skipped: fc.uint8Array({ maxLength: 300 }), digit: fc.nat({ max: 15 }) }),
    )
    await fc.assert(
      fc.asyncProperty(
        fc.array(frame, { minLength: 1, maxLength: 6 }),
        fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 41, max: 100_000 })),
        async (frames, size) => {
          const plain: Array<Buffer> = []
          const encoded = frames.map((frame) => {
            if ("skipped" in frame) return skippable(frame.skipped, frame.digit)
            const content = Buffer.concat(Array.from({ length: frame.repeat }, () => frame.content))
            plain.push(content)
            return zstdCompressSync(content, {
              params: {
                [constants.ZSTD_c_compressionLevel]: frame.level,
                [constants.ZSTD_c_checksumFlag]: frame.checksum,
                [constants.ZSTD_c_contentSizeFlag]: frame.contentSize,
                [constants.ZSTD_c_windowLog]: frame.windowLog,
              },
            })
          })
          const back = await decode(Buffer.concat(encoded), size)
          expect(back.equals(Buffer.concat(plain))).toBe(true)
        },
      ),
      { numRuns: 150 },
    )
  })

  it("is read when it holds nothing but what is skipped", async () => {
    expect(await decode(skippable(Buffer.alloc(70_000)))).toEqual(Buffer.alloc(0))
  })
})

describe("a file whose end is wrong", () => {
  const one = zstdCompressSync("one\n")
  const at = one.length
  const note = skippable(Buffer.from("a note"))

  it.each([
    ["zeros", [one, Buffer.alloc(8)], `at byte ${at}: no zstd frame begins here`],
    [
      "less zeros than a frame's first bytes",
      [one, Buffer.alloc(2)],
      `at byte ${at}: the frame that begins here is cut off`,
    ],
    ["zeros and then a frame", [one, Buffer.alloc(8), one], `at byte ${at}: no zstd frame begins here`],
    ["text", [one, Buffer.from("2026-09-09T04:33:10Z")], `at byte ${at}: no zstd frame begins here`],
    ["gzip", [one, gzipSync("two\n")], `at byte ${at}: no zstd frame begins here`],
    ["half a header", [one, one.subarray(0, 5)], `at byte ${at}: the frame that begins here is cut off`],
    ["a frame without its end", [one, one.subarray(0, -1)], `at byte ${at}: the frame that begins here is cut off`],
    ["half of what is skipped", [one, note.subarray(0, -1)], `at byte ${at}: the frame that begins here is cut off`],
    ["nothing at all, not even a frame", [], "at byte 0: the frame that begins here is cut off"],
  ])("fails with a message that says so: %s", async (_what, parts, message) => {
    await expect(decode(Buffer.concat(parts))).rejects.toThrow(message)
  })

  it("fails when a checksum is not that of the content", async () => {
    const wrong = await encode(LINES)
    wrong[wrong.length - 1]! ^= 1
    await expect(decode(wrong)).rejects.toThrow("Restored data doesn't match checksum")
  })
})

describe("a file that asks for too much", () => {
  it("is refused by what its header says, before anything is allocated", async () => {
    const header = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, (30 - 10) << 3, 1, 0, 0])
    await expect(decode(header)).rejects.toThrow(
      "at byte 0: a frame needs a window of 1024 MiB, and at most 128 MiB are read; `zstd -d --long=31` unpacks it",
    )
    const single = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0])
    await expect(decode(single)).rejects.toThrow(
      "at byte 0: a frame needs a window of 4096 MiB, and at most 128 MiB are read",
    )
  })

  it("comes out a bounded part at a time, as it is decoded: what is wrong at its end is told after all that comes before", async () => {
    const bomb = zstdCompressSync(Buffer.alloc(256 * 2 ** 20), {
      params: { [constants.ZSTD_c_checksumFlag]: 1 },
    })
    expect(bomb.length).toBeLessThan(20_000)
    bomb[bomb.length - 1]! ^= 1
    let out = 0
    let largest = 0
    const decoding = async (): Promise<void> => {
      for await (const piece of codec.decode(chunked(bomb))) {
        out += piece.length
        largest = Math.max(largest, piece.length)
      }
    }
    await expect(decoding()).rejects.toThrow("Restored data doesn't match checksum")
    expect(out).toBeGreaterThan(255 * 2 ** 20)
    expect(largest).toBeLessThanOrEqual(2 ** 20)
  })
})

const reasonOf = (command: string): string | null =>
  spawnSync(command, ["--version"]).error === undefined ? null : `the command ${command} is not installed`
const missing = reasonOf("zstd")
describe.skipIf(missing !== null)(
  `beside the zstd command${missing === null ? "" : ` (skipped: ${missing})`}, it`,
  () => {
    const directory = mkdtempSync(join(tmpdir(), "cordwood-zstd-"))
    afterAll(() => rmSync(directory, { recursive: true, force: true }))
    const run = (args: ReadonlyArray<string>, input: Uint8Array): Buffer => {
      const { status, stderr, stdout } = spawnSync("zstd", args, { input, maxBuffer: MANY_LINES.length * 4 })
      expect({ status, stderr: stderr.toString() }).toEqual({ status: 0, stderr: "" })
      return stdout
    }

    it.each([
      {},
      { level: 9 },
      { windowLog: 10 },
      { windowLog: 27 },
      { checksum: false },
      { workers: 4 },
      { workers: 2, windowLog: 20, level: 5 },
    ])("is read by it, with %j", async (config) => {
      const encoded = await encode(MANY_LINES, await codecOf(config))
      expect(run(["-dcq"], encoded).equals(MANY_LINES)).toBe(true)
    })

    it("is read by it, files one after another and an empty one among them", async () => {
      const parts = await Promise.all([LINES, Buffer.alloc(0), LINES].map((part) => encode(part)))
      expect(run(["-dcq"], Buffer.concat(parts)).equals(Buffer.concat([LINES, LINES]))).toBe(true)
    })

    it.each([
      [["-1"]],
      [["-9"]],
      [["--fast=3"]],
      [["--no-check"]],
      [["--long=27"]],
      [["-T2", "-B1M"]],
      [["--rsyncable", "-T2"]],
    ])("reads what it writes, with %j", async (args) => {
      expect((await decode(run(["-qc", ...args], MANY_LINES))).equals(MANY_LINES)).toBe(true)
    })

    it("reads what it writes of a file, whose size it knows, also when many are put together", async () => {
      const path = join(directory, "0.log")
      const parts = Array.from({ length: 30 }, (_, n) => LINES.subarray(0, n * 997))
      const encoded = parts.map((part) => {
        writeFileSync(path, part)
        run(["-q", "-f", path], Buffer.alloc(0))
        return readFileSync(`${path}.zst`)
      })
      expect((await decode(Buffer.concat(encoded))).equals(Buffer.concat(parts))).toBe(true)
    })

    it("refuses a window that is too large with a sentence, where the command does so, too", async () => {
      const encoded = run(["-qc", "--long=28"], MANY_LINES)
      expect(spawnSync("zstd", ["-dcq"], { input: encoded }).status).not.toBe(0)
      await expect(decode(encoded)).rejects.toThrow("a frame needs a window of 256 MiB, and at most 128 MiB are read")
    })

    const noPzstd = reasonOf("pzstd")
    it.skipIf(noPzstd !== null)(
      `reads what pzstd writes${noPzstd === null ? "" : ` (skipped: ${noPzstd})`}`,
      async () => {
        const { stdout } = spawnSync("pzstd", ["-qc", "-p", "2"], { input: MANY_LINES, maxBuffer: MANY_LINES.length })
        expect((await decode(stdout)).equals(MANY_LINES)).toBe(true)
      },
    )
  },
)

describe("what it holds", async () => {
  const three = await codecOf({ workers: 3 })
  // Node doesn't count zstd's memory (`external` stays as it is), so what is counted here is engines: each frees its own when it is destroyed.
  const engines = { opened: 0, destroyed: 0 }
  const hook = createHook({
    init: (_id, type) => {
      if (/zstd|zlib/i.test(type)) engines.opened += 1
    },
  })
  const destroy = Transform.prototype.destroy
  beforeAll(() => {
    hook.enable()
    Transform.prototype.destroy = function (this: Transform, ...args) {
      if (!this.destroyed && /zstd/i.test(this.constructor.name)) engines.destroyed += 1
      return destroy.apply(this, args)
    }
  })
  afterAll(() => {
    hook.disable()
    Transform.prototype.destroy = destroy
  })

  const ways = {
    "an early stop": (by: Codec, direction: "encode" | "decode", input: Buffer) => by[direction](chunked(input, 4_096)),
    "an input that fails": (by: Codec, direction: "encode" | "decode", input: Buffer) =>
      by[direction](
        (async function* () {
          yield* chunked(input)
          throw new Error("the disk said no")
        })(),
      ),
  }
  const cases = (["an early stop", "an input that fails"] as const).flatMap((way) => [
    { what: "encode", by: codec, direction: "encode" as const, input: LINES, way },
    { what: "encode with three workers", by: three, direction: "encode" as const, input: MANY_LINES, way },
    { what: "decode", by: codec, direction: "decode" as const, input: zstdCompressSync(LINES), way },
  ])

  it.each(cases)(
    "$what frees it after $way, without waiting for the garbage collector, and leaves no listener",
    async ({ by, direction, input, way }) => {
      const warnings: Array<string> = []
      const listen = (warning: Error): void => void warnings.push(warning.message)
      process.on("warning", listen)
      const once = async (): Promise<void> => {
        const chunks = ways[way](by, direction, input)
        const iterator = chunks[Symbol.asyncIterator]()
        await iterator.next().catch(() => {})
        await iterator.return?.()
      }
      const before = { ...engines }
      for (let n = 0; n < 12; n += 1) {
        await once()
        expect(engines.destroyed - before.destroyed).toBe(engines.opened - before.opened)
      }
      expect(engines.opened).toBeGreaterThan(before.opened)
      process.off("warning", listen)
      expect(warnings).toEqual([])
    },
  )
})
