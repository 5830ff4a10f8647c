/**
 * Which events go when the journal gets too old or too large, a bounded number at a time. What a fold needs is kept while its
 * log has any event younger than `keepMs`: the log's events since its latest `Scanned`, and its latest `Rotated`. A log that
 * was silent for longer is forgotten with its events. Size is a hard limit: when nothing else is left, fold or not.
 */
import type { DatabaseSync } from "node:sqlite"
import { scalarNumber } from "./sqlite.ts"

/** Rows that one round deletes, unless the append before it was larger: some 5 ms, so no append is held up by retention. */
export const ROUND_ROWS = 64
/** Rows that it looks at for each one that it may delete: passing over what is held must be much faster than appends add to it. */
const LOOKS_PER_ROW = 8
/** Pages of 4 KiB that one round gives back to the file system. */
const ROUND_PAGES = 64
/** The age of events is looked at this many times in `keepMs`, but not more often than the next two say. */
const LOOKS_PER_KEEP = 100
const LOOK_EVERY_MIN_MS = 1_000
const LOOK_EVERY_MAX_MS = 10 * 60_000

export interface RetentionLimits {
  /** Events older than this go. */
  readonly keepMs: number
  /** Bytes that the database's pages may take, its log of writes not counted. */
  readonly maxPagesBytes: number
  /** Bytes of free pages that are kept for what comes next rather than given back and taken again. */
  readonly spareBytes: number
}
export interface Moment {
  /** Milliseconds since 1970, by a clock that can be set. */
  readonly wallMs: number
  /** Milliseconds by a clock that can't. */
  readonly monotonicMs: number
}

/** A clock that runs ahead by more than this is doubted … */
const LEAP_MS = 60 * 60_000
/** … until it has done so for this long. */
const DOUBT_MS = 24 * 60 * 60_000

/**
 * Time as retention takes it. A clock that is set back only makes events stay longer. One that leaps ahead would make
 * everything old at once, and what is deleted doesn't come back when the clock does; so it isn't believed before a day is over.
 */
export const makeCautiousClock = (start: Moment): ((now: Moment) => number) => {
  let believed = start
  let leaptAtMs: number | null = null
  return (now) => {
    const expectedMs = believed.wallMs + (now.monotonicMs - believed.monotonicMs)
    const leapt = now.wallMs > expectedMs + LEAP_MS
    leaptAtMs = leapt ? (leaptAtMs ?? now.monotonicMs) : null
    const doubted = leaptAtMs !== null && now.monotonicMs - leaptAtMs < DOUBT_MS
    if (!doubted) leaptAtMs = null
    believed = { wallMs: doubted ? expectedMs : now.wallMs, monotonicMs: now.monotonicMs }
    return believed.wallMs
  }
}

interface Cursor {
  readonly time: number
  readonly position: number
}

/** `held`: a fold needs it and its log still has young events. Both queries walk an index from where the last round stopped. */
const CANDIDATE = `
  e.position, e.log, e.time_ms AS time,
  ((e.position >= l.scanned OR e.position = l.rotated) AND
   (SELECT y.time_ms FROM events y WHERE y.log = e.log ORDER BY y.position DESC LIMIT 1) >= :cutoff) AS held
  FROM events e LEFT JOIN logs l ON l.id = e.log`
const OLDEST = `SELECT ${CANDIDATE}
  WHERE e.time_ms < :cutoff AND (e.time_ms, e.position) > (:time, :position) ORDER BY e.time_ms, e.position LIMIT :rows`
const FIRST = `SELECT ${CANDIDATE} WHERE e.position > :position ORDER BY e.position LIMIT :rows`

export interface Retention {
  /** Deletes what one round may, and gives pages back. True: there may be more to do now. Call outside of a transaction. */
  readonly round: (now: Moment, rows?: number) => boolean
}

export const makeRetention = (db: DatabaseSync, limits: RetentionLimits, clock: (now: Moment) => number): Retention => {
  const pageBytes = scalarNumber(db, "PRAGMA page_size")
  const pageCount = db.prepare("PRAGMA page_count")
  const freePages = db.prepare("PRAGMA freelist_count")
  const oldest = db.prepare(OLDEST)
  const first = db.prepare(FIRST)
  const drop = db.prepare("DELETE FROM events WHERE position = ?")
  const forget = db.prepare("DELETE FROM logs WHERE id = ? AND NOT EXISTS (SELECT 1 FROM events WHERE log = logs.id)")
  const number = (statement: typeof pageCount): number => Number(Object.values(statement.get() ?? {})[0] ?? 0)

  const lookEveryMs = Math.min(Math.max(limits.keepMs / LOOKS_PER_KEEP, LOOK_EVERY_MIN_MS), LOOK_EVERY_MAX_MS)
  let lookNextMs = Number.NEGATIVE_INFINITY
  const begin: Cursor = { time: Number.MIN_SAFE_INTEGER, position: 0 }
  let byAge = begin
  let bySize = begin
  // Nothing is left that isn't held, and the journal is still too large.
  let pressed = false

  const isTooLarge = (): boolean => (number(pageCount) - number(freePages)) * pageBytes > limits.maxPagesBytes

  const excessPages = (): number => Math.max(0, number(freePages) - Math.floor(limits.spareBytes / pageBytes))

  /** Deletes at most `limit` of a stretch of rows, what is held only if it isn't spared, and returns where it ended; null: at the end. */
  const sweep = (rows: ReadonlyArray<Record<string, unknown>>, limit: number, spareHeld: boolean): Cursor | null => {
    const logs = new Set<number>()
    let dropped = 0
    let end: Cursor | null = null
    for (const row of rows) {
      if (dropped === limit) break
      end = { time: Number(row["time"]), position: Number(row["position"]) }
      if (spareHeld && row["held"] === 1) continue
      drop.run(end.position)
      dropped += 1
      logs.add(Number(row["log"]))
    }
    for (const log of logs) forget.run(log)
    // Fewer than asked for: these were the last ones, even if more have come by the next round.
    return dropped < limit && rows.length < limit * LOOKS_PER_ROW ? null : end
  }

  const round = (now: Moment, rows: number = ROUND_ROWS): boolean => {
    const nowMs = clock(now)
    const cutoff = nowMs - limits.keepMs
    const tooLarge = isTooLarge()
    const lookDue = Number.isFinite(cutoff) && now.monotonicMs >= lookNextMs
    if (!tooLarge) {
      bySize = begin
      pressed = false
    }
    if (!tooLarge && !lookDue && excessPages() === 0) return false
    db.exec("BEGIN IMMEDIATE")
    try {
      if (lookDue) {
        const end = sweep(oldest.all({ cutoff, ...byAge, rows: rows * LOOKS_PER_ROW }), rows, true)
        byAge = end ?? begin
        if (end === null) lookNextMs = now.monotonicMs + lookEveryMs
      }
      if (tooLarge) {
        const query = {
          cutoff: Math.max(cutoff, Number.MIN_SAFE_INTEGER),
          position: bySize.position,
          rows: rows * LOOKS_PER_ROW,
        }
        const end = sweep(first.all(query), rows, !pressed)
        if (end === null) pressed = true
        bySize = end ?? begin
      }
      const excess = Math.min(excessPages(), ROUND_PAGES)
      // Zero would mean all of them.
      if (excess > 0) db.exec(`PRAGMA incremental_vacuum(${excess})`)
      db.exec("COMMIT")
    } catch (error) {
      if (db.isTransaction) db.exec("ROLLBACK")
      throw error
    }
    return isTooLarge() || byAge !== begin || excessPages() > 0
  }
  return { round }
}
