/** A point in the past as people write it. Pure. */
import { parseDuration } from "@cordwood/core"

const ISO = /^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})?)?$/

/** ISO 8601 UTC of a time (UTC if it names no zone) or of a duration before `nowMs`. Throws an Error that says what to write. */
export const parseSince = (text: string, nowMs: number): string => {
  const given = text.trim()
  const iso = ISO.exec(given)
  if (iso !== null) {
    const withZone = given.length > "YYYY-MM-DD".length && iso[1] === undefined ? `${given}Z` : given
    const at = Date.parse(withZone.replace(" ", "T"))
    if (!Number.isNaN(at)) return new Date(at).toISOString()
  }
  const duration = parseDuration(given)
  if (duration.ok) return new Date(nowMs - duration.value).toISOString()
  throw new Error("a time such as 2026-09-09T04:33:10Z, or for how long: 10m, 1h30m, 2d")
}
