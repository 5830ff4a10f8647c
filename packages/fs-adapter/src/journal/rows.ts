/** Reads events out of a journal's tables, for the writer and for readers in other processes. Writes nothing, throws SQLite's errors. */
import type { DatabaseSync, SQLOutputValue } from "node:sqlite"
import { decode, type Decoded, type DecodeOptions, type JournalQuery } from "@cordwood/core"
import { Refusal } from "./failure.ts"

/** Events that one read returns if it doesn't say; the port's. */
export const READ_LIMIT = 1_000

type Row = Record<string, SQLOutputValue>

/** What was stored, with its position: what `decode` takes. */
export const storedOf = (row: Row): unknown => {
  const body: unknown = JSON.parse(String(row["body"]))
  return typeof body === "object" && body !== null ? { ...body, position: Number(row["position"]) } : body
}

/** Never throws. */
export const decodeRow =
  (options: DecodeOptions) =>
  (row: Row): Decoded => {
    try {
      const decoded = decode(storedOf(row), options)
      return decoded._tag === "Invalid" ? invalid(row, decoded.problem) : decoded
    } catch (error) {
      return invalid(row, error instanceof Error ? error.message : String(error))
    }
  }
const invalid = (row: Row, problem: string): Decoded => ({
  _tag: "Invalid",
  problem: `position ${Number(row["position"])}: ${problem}`,
})

// The plus keeps SQLite from walking the index by time, from which it would have to sort.
const READ = "SELECT position, body FROM events WHERE position > ? AND +time_ms >= ? ORDER BY position LIMIT ?"
// And this one keeps it from reading events until one is young enough.
const FIRST_SINCE = "SELECT min(+position) FROM events INDEXED BY events_by_time WHERE time_ms >= ?"
// Log by log, which CROSS JOIN forces: there are few logs and many events.
const REPLAY = `
  SELECT e.position, e.body FROM logs l CROSS JOIN events e ON e.log = l.id AND e.position >= coalesce(l.scanned, 0)
  UNION ALL
  SELECT e.position, e.body FROM logs l CROSS JOIN events e ON e.position = l.rotated AND e.log = l.id WHERE l.rotated < l.scanned
  ORDER BY 1`

/** A limit that isn't a number of events counts as none given. */
const limitOf = (limit: number | undefined): number =>
  limit === undefined || Number.isNaN(limit)
    ? READ_LIMIT
    : Math.min(Math.max(0, Math.trunc(limit)), Number.MAX_SAFE_INTEGER)

export const readEvents = (db: DatabaseSync, query: JournalQuery, options: DecodeOptions): ReadonlyArray<Decoded> => {
  let after = Math.max(0, Math.trunc(query.after ?? 0))
  let sinceMs = Number.MIN_SAFE_INTEGER
  if (query.since !== undefined) {
    sinceMs = Date.parse(query.since)
    if (Number.isNaN(sinceMs)) {
      throw new Refusal(
        "Other",
        `"${query.since}" is no time`,
        "Times are ISO 8601 in UTC, such as 2026-09-09T04:33:10Z.",
      )
    }
    // Found through the index by time, so that what is older isn't read at all.
    const first = Object.values(db.prepare(FIRST_SINCE).get(sinceMs) ?? {})[0]
    if (typeof first !== "number") return []
    after = Math.max(after, first - 1)
  }
  return db.prepare(READ).all(after, sinceMs, limitOf(query.limit)).map(decodeRow(options))
}

export const replayEvents = (db: DatabaseSync, options: DecodeOptions): ReadonlyArray<Decoded> =>
  db.prepare(REPLAY).all().map(decodeRow(options))
