/** The accountant is what every end-to-end proof rests on, so it is shown here to see each kind of loss. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { deflateRawSync, gzipSync } from "node:zlib"
import * as fc from "fast-check"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { account, FAULTLESS, filesOf, gunzipStrictly } from "./account.ts"
import { line, numberOf } from "./writer.ts"

const CHARS = 40
const TIME = "2026-09-09T04:33:10.123456789Z"
const record = (content: string, tag = "F", stream = "stdout"): string => `${TIME} ${stream} ${tag} ${content}\n`
const records = (...numbers: ReadonlyArray<number>): string => numbers.map((n) => record(line(n, CHARS))).join("")

let folder: string
let active: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "cordwood-account-"))
  active = join(folder, "0.log")
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const put = (suffix: string, content: string | Buffer): void => writeFileSync(`${active}${suffix}`, content)
const counted = (expected = {}) => account(active, numberOf(CHARS), expected)

describe("a log in which every line is there", () => {
  test("is read from the oldest segment to the active file, plain or compressed, and has no faults", () => {
    put(".20260909-043310.gz", gzipSync(records(1, 2)))
    put(".20260909-043320", records(3, 4, 5))
    put("", records(6))
    expect(counted({ from: 1, to: 6 })).toEqual({
      shares: [
        { name: "0.log.20260909-043310.gz", bytes: records(1, 2).length, first: 1, last: 2 },
        { name: "0.log.20260909-043320", bytes: records(3, 4, 5).length, first: 3, last: 5 },
        { name: "0.log", bytes: records(6).length, first: 6, last: 6 },
      ],
      first: 1,
      last: 6,
      faults: FAULTLESS,
      torn: 0,
      partials: 0,
      headless: 0,
      unfinished: {},
    })
  })

  test("is one when a line's records are spread over several files and both streams are mixed", () => {
    const one = line(1, CHARS)
    const two = line(2, CHARS)
    put(".20260909-043310", record(one.slice(0, 7), "P") + record(two.slice(0, 30), "P", "stderr"))
    put(".20260909-043320.gz", gzipSync(record(one.slice(7, 9), "P")))
    put("", record(one.slice(9)) + record(two.slice(30), "F", "stderr") + records(3))
    const { faults, first, last, torn, partials, unfinished } = counted()
    expect({ faults, first, last, torn, partials, unfinished }).toEqual({
      faults: FAULTLESS,
      first: 1,
      last: 3,
      torn: 2,
      partials: 3,
      unfinished: {},
    })
  })

  test("may end in a line that has no end yet", () => {
    put("", records(1) + record("line 00", "P"))
    const { faults, unfinished } = counted()
    expect({ faults, unfinished }).toEqual({ faults: FAULTLESS, unfinished: { stdout: "line 00" } })
  })

  test("may begin with the rest of a line whose head was removed by policy, and only there and only then", () => {
    put("", record(line(4, CHARS).slice(9)) + records(5, 6))
    const removed = counted({ beginningRemoved: true })
    expect({ faults: removed.faults, first: removed.first, last: removed.last, headless: removed.headless }).toEqual({
      faults: FAULTLESS,
      first: 5,
      last: 6,
      headless: 1,
    })
    expect(counted().faults.strange).toEqual([`0.log: ${CHARS - 9} chars: ${line(4, CHARS).slice(9)}`])
    put("", records(4) + record(line(5, CHARS).slice(9)) + records(6))
    expect(counted({ beginningRemoved: true }).faults.strange).toEqual([
      `0.log: ${CHARS - 9} chars: ${line(5, CHARS).slice(9)}`,
    ])
  })

  test("is empty when it holds nothing, and then everything expected is missing", () => {
    put("", "")
    expect(counted({ from: 1, to: 3 })).toEqual({
      shares: [{ name: "0.log", bytes: 0, first: undefined, last: undefined }],
      first: undefined,
      last: undefined,
      faults: { ...FAULTLESS, missing: ["1-3"] },
      torn: 0,
      partials: 0,
      headless: 0,
      unfinished: {},
    })
  })
})

describe("the accountant sees", () => {
  const faultsOf = (suffixed: Readonly<Record<string, string | Buffer>>, expected = {}) => {
    for (const [suffix, content] of Object.entries(suffixed)) put(suffix, content)
    return counted(expected).faults
  }

  test("a lost line, within a file, between two files, at the beginning and at the end", () => {
    expect(faultsOf({ ".20260909-043310": records(2, 4, 5), "": records(8, 9) }, { from: 1, to: 10 })).toEqual({
      ...FAULTLESS,
      missing: ["1", "3", "6-7", "10"],
    })
  })

  test("a doubled line", () => {
    expect(faultsOf({ "": records(1, 2, 2, 3) })).toEqual({ ...FAULTLESS, duplicated: ["2"] })
  })

  test("a line that is in two files", () => {
    expect(faultsOf({ ".20260909-043310.gz": gzipSync(records(1, 2)), "": records(2, 3) })).toEqual({
      ...FAULTLESS,
      duplicated: ["2"],
    })
  })

  test("a segment and its compressed twin", () => {
    expect(
      faultsOf({
        ".20260909-043310.gz": gzipSync(records(1, 2)),
        ".20260909-043310": records(1, 2),
        "": records(3),
      }),
    ).toEqual({ ...FAULTLESS, duplicated: ["1-2"] })
  })

  test("two swapped lines", () => {
    expect(faultsOf({ "": records(1, 3, 2, 4) })).toEqual({ ...FAULTLESS, outOfOrder: ["2"] })
  })

  test("two segments whose names are in the wrong order", () => {
    expect(faultsOf({ ".20260909-043320": records(1, 2), ".20260909-043310": records(3, 4), "": records(5) })).toEqual({
      ...FAULTLESS,
      outOfOrder: ["1-2"],
    })
  })

  test("a truncated archive, at whichever byte it was cut", () => {
    const archive = gzipSync(records(1, 2, 3))
    put("", records(4))
    for (let bytes = 0; bytes < archive.length; bytes++) {
      put(".20260909-043310.gz", archive.subarray(0, bytes))
      const { unreadable, missing } = counted({ from: 1, to: 4 }).faults
      expect([bytes, unreadable.length, missing]).toEqual([bytes, 1, ["1-3"]])
    }
  })

  test("a flipped bit anywhere in an archive's data, checksum and length", () => {
    const archive = gzipSync(records(1, 2, 3))
    for (let at = 10; at < archive.length; at++) {
      const damaged = Buffer.from(archive)
      damaged[at] = damaged[at]! ^ 1
      expect(() => gunzipStrictly(damaged), `byte ${at}`).toThrow(/./)
    }
  })

  test("a plain file that calls itself compressed", () => {
    expect(faultsOf({ ".20260909-043310.gz": records(1), "": records(2) })).toEqual({
      ...FAULTLESS,
      unreadable: ["0.log.20260909-043310.gz: no gzip magic"],
    })
  })

  test("a record that was cut, one in no format, and a line spliced from two", () => {
    const spliced = record(line(2, CHARS).slice(0, 20) + line(3, CHARS).slice(22))
    expect(faultsOf({ "": `${records(1)}no record\n${spliced}${record("").slice(0, 20)}` })).toEqual({
      ...FAULTLESS,
      malformed: ["0.log: no record", `0.log: ends within a record: ${TIME.slice(0, 20)}`],
      strange: [`0.log: ${CHARS - 2} chars: ${line(2, CHARS).slice(0, 20)}${line(3, CHARS).slice(22)}`],
    })
  })

  test("a partial record whose rest was lost: the next line is spliced onto it", () => {
    const { strange, missing } = faultsOf(
      { ".20260909-043310": record(line(1, CHARS).slice(0, 9), "P"), "": records(2, 3) },
      { from: 1, to: 3 },
    )
    expect([strange.length, missing]).toEqual([1, ["1-2"]])
  })
})

/** What `faults` says of a sequence of numbers, counted one by one. */
const counting = (sequence: ReadonlyArray<number>, from: number, to: number) => {
  const numbers = Array.from({ length: to - from + 1 }, (_, index) => from + index)
  const times = (number: number) => sequence.filter((other) => other === number).length
  const isLate = (number: number) =>
    sequence.slice(0, Math.max(0, sequence.indexOf(number))).some((earlier) => earlier > number)
  return {
    missing: numbers.filter((number) => times(number) === 0),
    duplicated: numbers.filter((number) => times(number) > 1),
    outOfOrder: numbers.filter(isLate),
  }
}
const spread = (ranges: ReadonlyArray<string>): ReadonlyArray<number> =>
  ranges.flatMap((range) => {
    const [from = NaN, to = from] = range.split("-").map(Number)
    return Array.from({ length: to - from + 1 }, (_, index) => from + index)
  })

test("whatever was lost, doubled and moved about, the accountant says what counting one by one says", () => {
  const piece = fc.tuple(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 8 }))
  fc.assert(
    fc.property(fc.array(piece, { minLength: 1, maxLength: 8 }), (pieces) => {
      const sequence = pieces.flatMap(([from, length]) => Array.from({ length }, (_, index) => from + index))
      put("", records(...sequence))
      const { missing, duplicated, outOfOrder } = counted({ from: 1, to: 40 }).faults
      expect({
        missing: spread(missing),
        duplicated: spread(duplicated),
        outOfOrder: spread(outOfOrder),
      }).toEqual(counting(sequence, 1, 40))
    }),
  )
})

describe("the accountant's gunzip", () => {
  test("reads every member, and a header with all its optional fields", () => {
    const body = deflateRawSync("second ")
    const plain = gzipSync("second ")
    const fields = Buffer.from([0x1f, 0x8b, 8, 4 + 8 + 16 + 2, 0, 0, 0, 0, 0, 3, 2, 0, 7, 7, 110, 0, 99, 0, 9, 9])
    const second = Buffer.concat([fields, body, plain.subarray(-8)])
    expect(gunzipStrictly(Buffer.concat([gzipSync("first "), second, gzipSync("third")])).toString()).toBe(
      "first second third",
    )
  })

  test("takes nothing behind the last member", () => {
    expect(() => gunzipStrictly(Buffer.concat([gzipSync("first"), Buffer.from("more of something")]))).toThrow(
      "no gzip magic",
    )
  })
})

test("files are told apart by their names alone, and other logs in the folder are other logs", () => {
  put("", "active")
  put(".20260909-043310", "newer")
  put(".20260808-043310.gz", "older")
  put(".20260909-043310.tmp", "left over")
  put(".backup", "somebody's")
  writeFileSync(join(folder, "1.log"), "another log")
  mkdirSync(join(folder, "10.log"))
  expect(filesOf(active)).toEqual([
    { name: "0.log.20260808-043310.gz", role: "segment", stamp: "20260808-043310", compressed: true, bytesOnDisk: 5 },
    { name: "0.log.20260909-043310", role: "segment", stamp: "20260909-043310", compressed: false, bytesOnDisk: 5 },
    { name: "0.log", role: "active", stamp: "", compressed: false, bytesOnDisk: 6 },
    { name: "0.log.20260909-043310.tmp", role: "temporary", stamp: "", compressed: false, bytesOnDisk: 9 },
    { name: "0.log.backup", role: "foreign", stamp: "", compressed: false, bytesOnDisk: 10 },
  ])
})
