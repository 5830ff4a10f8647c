// Durations as Go and systemd write them, in milliseconds.
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as z from "zod"
import { DurationMs, formatDuration, parseDuration } from "@cordwood/core"
import { runs } from "./property.ts"

const DAY = 86_400_000

describe("a duration", () => {
  it.each([
    ["250ms", 250],
    ["10s", 10_000],
    ["1h30m", 5_400_000],
    ["1h 30min", 5_400_000],
    ["30d", 30 * DAY],
    ["1w", 7 * DAY],
    ["1.5h", 5_400_000],
    ["2 days 3 hours", 2 * DAY + 3 * 3_600_000],
    ["1m30s", 90_000],
    ["1s500ms", 1_500],
    ["500us", 0.5],
    ["500µs", 0.5],
    ["500μs", 0.5],
    ["1000000ns", 1],
    ["0", 0],
    [0, 0],
    ["0s", 0],
    [" 10s ", 10_000],
    ["3650d", 3_650 * DAY],
  ])("%j is %d ms", (text, ms) => {
    expect(parseDuration(text)).toEqual({ ok: true, value: ms })
  })

  it.each([
    ["10", '"10" has no unit; write 10s for seconds'],
    [10, "10 has no unit; write 10s for seconds"],
    ["1.5", '"1.5" has no unit; write 1.5s for seconds'],
    ["", "an empty text is not a duration; write one such as 10s"],
    ["  ", "an empty text is not a duration; write one such as 10s"],
    ["s", '"s" is not a duration; write one such as 250ms, 10s, 1h30m or 30d'],
    ["ten seconds", '"ten seconds" is not a duration; write one such as 250ms, 10s, 1h30m or 30d'],
    ["-10s", '"-10s" is not a duration; write one such as 250ms, 10s, 1h30m or 30d'],
    ["10S", '"10S" is not a duration; write one such as 250ms, 10s, 1h30m or 30d'],
    ["10s5", '"10s5" is not a duration; write one such as 250ms, 10s, 1h30m or 30d'],
    ["10y", '"10y" is not a duration; write one such as 250ms, 10s, 1h30m or 30d'],
    ["1:30", '"1:30" is not a duration; write one such as 250ms, 10s, 1h30m or 30d'],
    ["1h,30m", '"1h,30m" is not a duration; write one such as 250ms, 10s, 1h30m or 30d'],
    ["10constructor", '"10constructor" is not a duration; write one such as 250ms, 10s, 1h30m or 30d'],
    ["3651d", '"3651d" is longer than ten years'],
    ["999999999999999w", '"999999999999999w" is longer than ten years'],
    [Number.NaN, "NaN is not a duration; write one such as 250ms, 10s, 1h30m or 30d"],
  ])("is not %j", (text, problem) => {
    expect(parseDuration(text)).toEqual({ ok: false, problem })
  })

  it("is the sum of its parts", () => {
    const part = fc.tuple(
      fc.nat({ max: 999 }),
      fc.constantFrom(...Object.entries({ ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: DAY })),
    )
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 3 }), (parts) => {
        const sum = parts.reduce((all, [count, [, ms]]) => all + count * ms, 0)
        expect(parseDuration(parts.map(([count, [unit]]) => `${count}${unit}`).join(""))).toEqual({
          ok: true,
          value: sum,
        })
      }),
      runs(),
    )
  })

  it("lies between nothing and ten years, or is an answer that says why not; never an exception", () => {
    const looksLikeOne = fc.stringMatching(
      /^([+-]?\d{0,20}\.?\d{0,12} ?(ns|us|µs|ms|s|m|h|d|w|years|constructor)? ?){0,5}$/,
    )
    fc.assert(
      fc.property(fc.oneof(looksLikeOne, fc.string({ unit: "binary" }), fc.double()), (input) => {
        const parsed = parseDuration(input)
        if (parsed.ok) expect(parsed.value >= 0 && parsed.value <= 3_650 * DAY).toBe(true)
        else expect(parsed.problem.length).toBeGreaterThan(0)
      }),
      runs(5_000),
    )
  })

  it.each([
    ["digits", "9".repeat(10_000)],
    ["digits with a unit", `${"9".repeat(10_000)}s`],
    ["decimals", `1.${"9".repeat(10_000)}s`],
    ["letters", `1${"s".repeat(10_000)}`],
    ["blanks in between", `1${" ".repeat(10_000)}x`],
  ])("of ten thousand %s is refused, with a message that doesn't repeat them all", (_what, text) => {
    const parsed = parseDuration(text)
    expect(parsed.ok).toBe(false)
    if (!parsed.ok) expect(parsed.problem.length).toBeLessThan(200)
  })

  it("may have ten thousand parts", () => {
    expect(parseDuration("1ms ".repeat(10_000))).toEqual({ ok: true, value: 10_000 })
  })

  it("in a config file is an error with its place", () => {
    const Config = z.strictObject({ interval: DurationMs })
    expect(z.prettifyError(Config.safeParse({ interval: 10 }).error!)).toBe(
      "✖ 10 has no unit; write 10s for seconds\n  → at interval",
    )
    expect(Config.parse({ interval: "1m" })).toEqual({ interval: 60_000 })
  })
})

describe("a duration for people", () => {
  it.each([
    [0, "0ms"],
    [250, "250ms"],
    [999.7, "1s"],
    [4_000, "4s"],
    [59_600, "1m"],
    [5_400_000, "1h 30m"],
    [90_061_000, "1d 1h"],
    [DAY + 5 * 60_000, "1d 5m"],
    [30 * DAY, "30d"],
  ])("%d ms are %s", (ms, text) => {
    expect(formatDuration(ms)).toBe(text)
  })

  it("is one that can be read again, to within its two units", () => {
    fc.assert(
      fc.property(fc.nat({ max: 3_000 * DAY }), (ms) => {
        const parsed = parseDuration(formatDuration(ms))
        expect(parsed.ok && Math.abs(parsed.value - ms) <= Math.max(500, ms * 0.05)).toBe(true)
      }),
      runs(),
    )
  })
})
