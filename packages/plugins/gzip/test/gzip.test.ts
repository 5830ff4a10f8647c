// The gzip codec: what every codec must do, and what is gzip's alone.
import { spawnSync } from "node:child_process"
import { gunzipSync, gzipSync } from "node:zlib"
import { type Codec, compose } from "@cordwood/core"
import { codecSuite, setUp } from "@cordwood/core/testing"
import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import * as z from "zod"
import { gzip } from "../src/index.ts"

const codecOf = async (config: z.input<typeof gzip.config> = {}): Promise<Codec> => {
  const contributions = await Effect.runPromise(Effect.scoped(setUp(gzip(config))))
  const { codecs } = await Effect.runPromise(compose([{ plugin: gzip.name, contributions }]))
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
const decode = (encoded: Uint8Array): Promise<Buffer> => collect(codec.decode(chunked(encoded)))

const LINES = Buffer.from(
  Array.from({ length: 9_000 }, (_, n) => `2026-09-09T04:33:10.123456789Z stdout F line ${n}\n`).join(""),
)

describe("as any codec, it", () => {
  for (const { name, run } of codecSuite(codec)) it(name, run)
})

describe("the plugin", () => {
  it("is called gzip, brings one codec of that id, and works from a config file and from code", async () => {
    expect({ name: gzip.name, api: gzip.api, id: codec.id, suffix: codec.suffix }).toEqual({
      name: "gzip",
      api: 1,
      id: "gzip",
      suffix: ".gz",
    })
    expect(gzip({ level: 6 }).config).toEqual({ level: 6 })
    expect(gzip().plugin.name).toBe("gzip")
    expect(gzip.config.parse({})).toEqual({ level: 3 })
  })

  it.each([
    [{ levle: 6 }, `✖ Unrecognized key: "levle"`],
    [{ level: 0 }, "✖ Too small: expected number to be >=1\n  → at level"],
    [{ level: 10 }, "✖ Too big: expected number to be <=9\n  → at level"],
    [{ level: 1.5 }, "✖ Invalid input: expected int, received number\n  → at level"],
    [{ level: "6" }, "✖ Invalid input: expected number, received string\n  → at level"],
  ])("refuses the config %j and names what is wrong", (config, message) => {
    expect(z.prettifyError(gzip.config.safeParse(config).error!)).toBe(message)
  })
})

describe("a file that it writes", () => {
  it("has neither a time nor a name in its header, so that the same log gives the same file", async () => {
    const encoded = await encode(LINES)
    const [magic, method, flags, mtime] = [encoded.readUInt16BE(0), encoded[2], encoded[3], encoded.readUInt32LE(4)]
    expect({ magic, method, flags, mtime }).toEqual({ magic: 0x1f8b, method: 8, flags: 0, mtime: 0 })
    expect(await encode(LINES)).toEqual(encoded)
  })

  it("is one that zlib reads in one go", async () => {
    expect(gunzipSync(await encode(LINES)).equals(LINES)).toBe(true)
  })

  it.skipIf(spawnSync("gzip", ["--version"]).error !== undefined)("is one that the gzip command reads", async () => {
    const { status, stdout } = spawnSync("gzip", ["-dc"], { input: await encode(LINES), maxBuffer: LINES.length * 2 })
    expect({ status, same: stdout.equals(LINES) }).toEqual({ status: 0, same: true })
  })

  it("is smaller at a higher level", async () => {
    const sizes = await Promise.all([1, 9].map(async (level) => (await encode(LINES, await codecOf({ level }))).length))
    expect(sizes[1]).toBeLessThan(sizes[0]!)
  })
})

describe("a file that others wrote", () => {
  it("is read when it has a name, a time, a comment, extra fields and a checksum of its header, as RFC 1952 allows", async () => {
    const plain = gzipSync(LINES)
    const flags = { extra: 4, name: 8, comment: 16 }
    const header = Buffer.from(plain.subarray(0, 10))
    header[3] = flags.extra | flags.name | flags.comment
    header.writeUInt32LE(1_788_928_390, 4)
    const optional = Buffer.from(
      [3, 0, 1, 2, 3, ..."0.log\0", ..."rotated\0"].map((part) =>
        typeof part === "number" ? part : part.charCodeAt(0),
      ),
    )
    expect((await decode(Buffer.concat([header, optional, plain.subarray(10)]))).equals(LINES)).toBe(true)
  })

  it("is read when Go's library made it, which says that it knows no operating system", async () => {
    const encoded = gzipSync(LINES)
    encoded[9] = 255
    expect((await decode(encoded)).equals(LINES)).toBe(true)
  })

  it("is read when it has many members", async () => {
    const parts = Array.from({ length: 40 }, (_, n) => Buffer.from(`member ${n}\n`.repeat(n)))
    expect((await decode(Buffer.concat(parts.map((part) => gzipSync(part))))).equals(Buffer.concat(parts))).toBe(true)
  })
})

describe("a file whose end is wrong", () => {
  const [one, two] = [gzipSync("one\n"), gzipSync("two\n")]
  const padded = Buffer.concat([one, Buffer.alloc(8), two])

  it("loses a member without a word in Node's own reader, if zeros come before it; that is why this one counts", () => {
    expect(gunzipSync(padded).toString()).toBe("one\n")
  })

  it.each([
    [
      "zeros",
      Buffer.concat([one, Buffer.alloc(8)]),
      `bytes that are no gzip follow the last member, from byte ${one.length} on`,
    ],
    ["zeros and then a member", padded, `bytes that are no gzip follow the last member, from byte ${one.length} on`],
    ["text", Buffer.concat([one, Buffer.from("2026-09-09T04:33:10Z")]), "incorrect header check"],
    ["half a header", Buffer.concat([one, two.subarray(0, 5)]), "unexpected end of file"],
    ["nothing at all, not even a member", Buffer.alloc(0), "unexpected end of file"],
  ])("fails with a message that says so: %s", async (_what, bytes, message) => {
    await expect(decode(bytes)).rejects.toThrow(message)
  })

  it("fails when a checksum or a length is not that of the content", async () => {
    const wrong = (at: number): Buffer => {
      const bytes = Buffer.from(one)
      bytes[bytes.length + at]! ^= 1
      return bytes
    }
    await expect(decode(wrong(-8))).rejects.toThrow("incorrect data check")
    await expect(decode(wrong(-4))).rejects.toThrow("incorrect length check")
  })
})

describe("what it holds", () => {
  /** Bytes that zlib itself has allocated; buffers are counted elsewhere. */
  const zlibBytes = (): number => {
    const { arrayBuffers, external } = process.memoryUsage()
    return external - arrayBuffers
  }
  const ways = {
    "an early stop": (direction: "encode" | "decode", input: Buffer) => codec[direction](chunked(input, 4_096)),
    "an input that fails": (direction: "encode" | "decode", input: Buffer) =>
      codec[direction](
        (async function* () {
          yield input.subarray(0, 4_096)
          throw new Error("the disk said no")
        })(),
      ),
  }
  const encoded = gzipSync(LINES, { level: 1 })

  it.each(
    Object.keys(ways).flatMap((way) =>
      (["encode", "decode"] as const).map((direction) => [direction, way as keyof typeof ways] as const),
    ),
  )(
    "%s frees it after %s, without waiting for the garbage collector, and leaves no listener",
    async (direction, way) => {
      const warnings: Array<string> = []
      const listen = (warning: Error): void => void warnings.push(warning.message)
      process.on("warning", listen)
      const once = async (): Promise<void> => {
        const chunks = ways[way](direction, direction === "encode" ? LINES : encoded)
        const iterator = chunks[Symbol.asyncIterator]()
        await iterator.next().catch(() => {})
        await iterator.return?.()
      }
      // What is allocated once and for all.
      await once()
      const before = zlibBytes()
      const held: Array<number> = []
      for (let n = 0; n < 30; n += 1) {
        await once()
        held.push(zlibBytes() - before)
      }
      process.off("warning", listen)
      // One engine of zlib's holds 40 KB (decoding) to 268 KB (encoding): thirty would be over a megabyte.
      expect(held.at(-1)).toBeLessThan(400_000)
      expect(warnings).toEqual([])
    },
  )
})
