// One pass over bytes, however they come: the same digests, lines and times.
import { createHash } from "node:crypto"
import { crc32 } from "node:zlib"
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { digestSink, type Lines, linesSink, readInto } from "../src/reading.ts"

const cut = (bytes: Uint8Array, at: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
  const places = [0, ...at.map((place) => place % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length]
  return places.slice(1).map((to, index) => bytes.subarray(places[index], to))
}
const linesOf = (text: string, at: ReadonlyArray<number> = []): Lines => {
  const sink = linesSink()
  for (const chunk of cut(Buffer.from(text), at)) sink.update(chunk)
  return sink.done()
}

describe("digests", () => {
  it("are those of the whole, wherever it was cut", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 300 }),
        fc.array(fc.nat(), { maxLength: 8 }),
        fc.boolean(),
        (bytes, at, md5) => {
          const sink = digestSink({ md5 })
          for (const chunk of cut(bytes, at)) sink.update(chunk)
          const crc = Buffer.alloc(4)
          crc.writeUInt32BE(crc32(bytes))
          expect(sink.done()).toEqual({
            bytes: bytes.length,
            sha256: createHash("sha256").update(bytes).digest("hex"),
            crc32: crc.toString("base64"),
            md5: md5 ? createHash("md5").update(bytes).digest("hex") : null,
          })
        },
      ),
    )
  })
})

describe("lines and times", () => {
  it.each([
    ["nothing", "", { lines: 0, firstTimestamp: null, lastTimestamp: null }],
    ["an empty line", "\n", { lines: 1, firstTimestamp: null, lastTimestamp: null }],
    [
      "the CRI's lines",
      "2026-09-09T04:33:10.123456789Z stdout F a\n2026-09-09T04:33:11Z stderr P b\n",
      { lines: 2, firstTimestamp: "2026-09-09T04:33:10.123456789Z", lastTimestamp: "2026-09-09T04:33:11Z" },
    ],
    [
      "another time zone's, and a last line without an end",
      "2026-09-09T01:33:10.5+02:00 stdout F a\n2026-12-31T23:59:59.000000001-05:30 stdout F b",
      { lines: 2, firstTimestamp: "2026-09-08T23:33:10.5Z", lastTimestamp: "2027-01-01T05:29:59.000000001Z" },
    ],
    [
      "lines that begin otherwise, or with no time there is",
      "GET / 200\n2026-99-09T04:33:10Z x\n",
      { lines: 2, firstTimestamp: null, lastTimestamp: null },
    ],
    ["half a time", "2026-09-09T04:33:10.12345", { lines: 1, firstTimestamp: null, lastTimestamp: null }],
    [
      "a first line alone",
      `2026-09-09T04:33:10Z ${"x".repeat(100_000)}`,
      { lines: 1, firstTimestamp: "2026-09-09T04:33:10Z", lastTimestamp: "2026-09-09T04:33:10Z" },
    ],
  ])("are found in %s", (_what, text, expected) => {
    expect(linesOf(text)).toEqual(expected)
  })

  it("are the same wherever the bytes were cut, and what splitting all of it says", () => {
    const line = fc.oneof(
      fc.constantFrom("", "x", "GET /"),
      fc
        .integer({ min: 10, max: 59 })
        .map((second) => `2026-09-09T04:33:${second}.123456789Z stdout F ${"y".repeat(second)}`),
    )
    const time = (text: string | undefined): string | null => /^2026-\S+Z(?= )/.exec(text ?? "")?.[0] ?? null
    fc.assert(
      fc.property(
        fc.array(line, { maxLength: 6 }),
        fc.boolean(),
        fc.array(fc.nat(), { maxLength: 12 }),
        (all, ends, at) => {
          const text = all.join("\n") + (ends && all.length > 0 ? "\n" : "")
          const lines = text.split("\n")
          if (lines.at(-1) === "") lines.pop()
          expect(linesOf(text, at)).toEqual({
            lines: lines.length,
            firstTimestamp: time(lines[0]),
            lastTimestamp: time(lines.at(-1)),
          })
        },
      ),
    )
  })
})

describe("reading", () => {
  it("ends as soon as it is told to, and closes what it read", async () => {
    const stop = new AbortController()
    const seen: Array<string> = []
    const source = async function* () {
      try {
        yield Buffer.from("a")
        stop.abort(new Error("stop"))
        yield Buffer.from("b")
        yield Buffer.from("c")
      } finally {
        seen.push("closed")
      }
    }
    await expect(readInto(source(), stop.signal, { update: (chunk) => seen.push(String(chunk)) })).rejects.toThrow(
      "stop",
    )
    expect(seen).toEqual(["a", "closed"])
  })
})
