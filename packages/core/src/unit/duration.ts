/** Durations as Go and systemd write them (`250ms`, `10s`, `1h30m`, `30d`), in milliseconds. A bare number is an error: nobody can tell its unit. */
import * as z from "zod"
import type { Parsed } from "./quantity.ts"
import { quoted } from "./quoted.ts"

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const UNITS: ReadonlyMap<string, number> = new Map([
  ["ns", 1e-6],
  ["us", 1e-3],
  ["µs", 1e-3],
  ["μs", 1e-3],
  ["ms", 1],
  ["s", SECOND],
  ["sec", SECOND],
  ["second", SECOND],
  ["seconds", SECOND],
  ["m", MINUTE],
  ["min", MINUTE],
  ["minute", MINUTE],
  ["minutes", MINUTE],
  ["h", HOUR],
  ["hr", HOUR],
  ["hour", HOUR],
  ["hours", HOUR],
  ["d", DAY],
  ["day", DAY],
  ["days", DAY],
  ["w", 7 * DAY],
  ["week", 7 * DAY],
  ["weeks", 7 * DAY],
])
const PART = /(\d{1,15}(?:\.\d{1,9})?)\s*([a-zµμ]+)\s*/y
/** Ten years: longer is a slip of the pen, and still fits where timers and dates are made of it. */
const MAX_MS = 3_650 * DAY

/** Milliseconds of a duration, never negative; at most ten years. */
export const parseDuration = (input: string | number): Parsed => {
  const text = String(input).trim()
  if (text === "0") return { ok: true, value: 0 }
  if (/^[+-]?\d{1,15}(\.\d{1,9})?$/.test(text)) {
    return { ok: false, problem: `${quoted(input)} has no unit; write ${text.replace(/^[+-]/, "")}s for seconds` }
  }
  let sum = 0
  PART.lastIndex = 0
  for (let at = 0; at < text.length; at = PART.lastIndex) {
    const part = PART.exec(text)
    const unit = UNITS.get(part?.[2] ?? "")
    if (part === null || unit === undefined) {
      return { ok: false, problem: `${quoted(input)} is not a duration; write one such as 250ms, 10s, 1h30m or 30d` }
    }
    sum += Number(part[1]) * unit
  }
  if (text === "") return { ok: false, problem: `an empty text is not a duration; write one such as 10s` }
  return sum <= MAX_MS ? { ok: true, value: sum } : { ok: false, problem: `${quoted(input)} is longer than ten years` }
}

/** A zod schema that reads a duration as milliseconds. */
export const DurationMs = z
  .union([z.string(), z.number()])
  .meta({ description: "A duration as Go and systemd write it: 250ms, 10s, 1h30m, 30d.", examples: ["10s", "1h30m"] })
  .transform((input, context) => {
    const parsed = parseDuration(input)
    if (parsed.ok) return parsed.value
    context.issues.push({ code: "custom", message: parsed.problem, input })
    return z.NEVER
  })

/** Milliseconds for people, with two units at most: `1h 30m`, `4s`, `250ms`. */
export const formatDuration = (ms: number): string => {
  if (Math.round(ms) < SECOND) return `${Math.round(ms)}ms`
  const parts: Array<string> = []
  let rest = Math.round(ms / SECOND) * SECOND
  for (const [name, unit] of [
    ["d", DAY],
    ["h", HOUR],
    ["m", MINUTE],
    ["s", SECOND],
  ] as const) {
    const count = Math.floor(rest / unit)
    rest -= count * unit
    if (count > 0) parts.push(`${count}${name}`)
    if (parts.length === 2) break
  }
  return parts.join(" ")
}
