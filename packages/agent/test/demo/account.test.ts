// The demo's account of every line: it comes out even when all is well, and it can fail.
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { startExperiment } from "../../src/demo/experiment.ts"
import { lineOf, record, recordsOf, sequenceOf } from "../../src/demo/lines.ts"
import { accountOf, isComplete, type Piece, pieceReader } from "../../src/demo/piece.ts"
import { SOURCES } from "../cli/program.ts"

const TIME = "2026-09-09T04:33:10.123456789Z"
const pieceOf = (text: string): Piece => {
  const reader = pieceReader("w")
  reader.push(text)
  return reader.end()
}
const lines = (from: number, to: number): string =>
  Array.from({ length: to - from + 1 }, (_, index) => recordsOf(TIME, lineOf("w", from + index)).join("")).join("")
const account = (written: number, ...files: ReadonlyArray<string>) =>
  accountOf(
    "w",
    written,
    files.map((text) => ({ piece: pieceOf(text), removed: false })),
  )
const FAULTLESS = { removed: 0, missing: 0, duplicated: 0, outOfOrder: 0, garbled: 0 }

describe("a line", () => {
  it("is told from every other by its text", () => {
    expect([1, 2, 997, 123_456].map((sequence) => sequenceOf("w", lineOf("w", sequence)))).toEqual([1, 2, 997, 123_456])
    expect(sequenceOf("other", lineOf("w", 1))).toBe(null)
    expect(sequenceOf("w", `${lineOf("w", 1)}x`)).toBe(null)
  })
  it("of 40,000 characters takes several records, the last one full", () => {
    expect(recordsOf(TIME, lineOf("w", 997)).map((text) => [text.slice(31, 40), text.length])).toEqual([
      ["stdout P ", 16_425],
      ["stdout P ", 16_425],
      ["stdout F ", 7_273],
    ])
  })
})

describe("the account comes out even", () => {
  it("over files, with a long line in the midst", () => {
    expect(account(1_000, lines(1, 500), lines(501, 1_000))).toEqual({ written: 1_000, onDisk: 1_000, ...FAULTLESS })
  })
  it("wherever a rotation tears a record in two", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: LINE_LENGTH - 1 }), fc.integer({ min: 1, max: 8 }), (at, torn) => {
        const line = lineOf("w", torn)
        const first = lines(1, torn - 1) + record(TIME, "P", line.slice(0, at))
        const second = record(TIME, "F", line.slice(at)) + lines(torn + 1, 10)
        expect(account(10, first, second)).toEqual({ written: 10, onDisk: 10, ...FAULTLESS })
      }),
    )
  })
  it("with lines that were removed by policy, a torn one among them", () => {
    const line = lineOf("w", 6)
    const files = [
      { piece: pieceOf(lines(1, 5) + record(TIME, "P", line.slice(0, 100))), removed: true },
      { piece: pieceOf(record(TIME, "F", line.slice(100)) + lines(7, 9)), removed: false },
    ]
    expect(accountOf("w", 9, files)).toEqual({ written: 9, onDisk: 4, ...FAULTLESS, removed: 5 })
  })
  it("however its bytes are cut on the way", () => {
    const text = lines(1, 20)
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: text.length }), { maxLength: 20 }), (cuts) => {
        const reader = pieceReader("w")
        let at = 0
        for (const cut of [...cuts.toSorted((a, b) => a - b), text.length]) {
          reader.push(text.slice(at, cut))
          at = cut
        }
        expect(reader.end()).toEqual(pieceOf(text))
      }),
    )
  })
})
const LINE_LENGTH = 330

describe("the account fails", () => {
  it.each<readonly [string, ReadonlyArray<string>, object]>([
    ["when a line is lost", [lines(1, 4) + lines(6, 10)], { onDisk: 9, missing: 1 }],
    ["when the last line is lost", [lines(1, 9)], { onDisk: 9, missing: 1 }],
    ["when a line is there twice", [lines(1, 5) + lines(5, 10)], { onDisk: 11, duplicated: 1 }],
    ["when a file is there twice", [lines(1, 5), lines(1, 5), lines(6, 10)], { onDisk: 15, duplicated: 5 }],
    ["when files are in the wrong order", [lines(6, 10), lines(1, 5)], { onDisk: 10, outOfOrder: 5 }],
    [
      "when a line was changed",
      [lines(1, 9) + record(TIME, "F", `${lineOf("w", 10)}!`)],
      { onDisk: 9, missing: 1, garbled: 1 },
    ],
    ["when the end of a record is missing", [lines(1, 10).slice(0, -5)], { onDisk: 9, missing: 1, garbled: 1 }],
    [
      "when the rest of a torn line is missing",
      [lines(1, 9) + record(TIME, "P", "w 00")],
      { onDisk: 9, missing: 1, garbled: 1 },
    ],
    ["when there is nothing", [], { onDisk: 0, missing: 10 }],
  ])("%s", (_, files, faults) => {
    const found = account(10, ...files)
    expect(found).toEqual({ written: 10, ...FAULTLESS, ...faults })
    expect(isComplete(found)).toBe(false)
  })
})

const SECONDS = 5
it("a short experiment with a real agent loses no line", { timeout: 60_000 }, async () => {
  const directory = mkdtempSync(join(tmpdir(), "cordwood-experiment-"))
  try {
    const outcome = await Effect.runPromise(
      Effect.scoped(
        Effect.gen(function* () {
          const experiment = yield* startExperiment({
            directory,
            program: SOURCES,
            writers: [
              { name: "fast", lines: 2_000, pauseMs: 200 },
              { name: "slow", lines: 20, pauseMs: 100 },
            ],
            policy: { maxSize: "100k", maxFiles: 3 },
            interval: "200ms",
          })
          yield* Effect.raceFirst(Effect.sleep(SECONDS * 1_000), experiment.ended)
          return yield* experiment.settle
        }),
      ),
    )
    expect({ complete: outcome.complete, problems: outcome.problems, failed: outcome.failed }).toEqual({
      complete: true,
      problems: [],
      failed: 0,
    })
    // That the experiment had anything to show: retention took lines away, and each of them was counted before.
    expect(outcome.accounts.map(({ name, removed }) => [name, removed > 0])).toEqual([
      ["fast", true],
      ["slow", true],
    ])
    expect(Math.min(outcome.rotated, outcome.compressed, outcome.removed)).toBeGreaterThan(0)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
})
