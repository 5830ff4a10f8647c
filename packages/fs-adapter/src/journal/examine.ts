/**
 * Looks a journal over, all of it: SQLite's own check, and every row against what was once stored in it. Reads beside a running agent, in one
 * transaction, so that what it sees is of one moment; changes nothing. Only `setAsideJournal` does, and takes the lock for it.
 */
import { resolve } from "node:path"
import type { DatabaseSync, SQLOutputValue } from "node:sqlite"
import { Effect } from "effect"
import type { Decoded, JournalError } from "@cordwood/core"
import { Damage, isBusy, isConnectionLost, isDamage, Refusal } from "./failure.ts"
import { acquireLock, lockPathOf, wasLocked } from "./lock.ts"
import { lstatOrNull, setAside } from "./place.ts"
import { demandBegun, type JournalReaderOptions, openToRead, readerError } from "./reader.ts"
import { decodeRow, replayEvents } from "./rows.ts"
import { isEmpty } from "./schema.ts"
import { openDatabase, scalar, scalarNumber } from "./sqlite.ts"

/** Something in a journal that isn't as it was stored. `corrupt`: the file itself; `row`: one event; `index`: what events are found by. */
export interface JournalFault {
  readonly kind: "corrupt" | "row" | "index"
  /** Of the event; null where it is about none. */
  readonly position: number | null
  readonly detail: string
}
export interface JournalExamination {
  /** How many events could be read. */
  readonly events: number
  /** At most `MAX_FAULTS`, those of the file first. */
  readonly faults: ReadonlyArray<JournalFault>
  /** How many more there are. */
  readonly untold: number
  /** What a fold needs, see the port; null if the file is too damaged to be read. */
  readonly replay: ReadonlyArray<Decoded> | null
}

/** More than this is one trouble with many faces: the rest is only counted. */
const MAX_FAULTS = 100
/** Rows looked at before others get their turn. */
const PAGE = 500
/** An agent that starts meanwhile changes what was read without a lock: then it is read anew, with one. */
const MAX_ATTEMPTS = 3

/**
 * Every event is given to what `visitor` returns, oldest first; it is called again if all must be read anew. Fails only if the journal can't be
 * looked at.
 */
export const examineJournal = (
  options: JournalReaderOptions,
  visitor: () => (decoded: Decoded) => void,
): Effect.Effect<JournalExamination, JournalError> => {
  const path = resolve(options.path)
  const attempt = (left: number): Effect.Effect<JournalExamination, JournalError> =>
    Effect.gen(function* () {
      const { examined, locked } = yield* lookOver(path, options, visitor())
      // What nobody wrote to when it was opened was read without a lock.
      if (!locked && lstatOrNull(`${path}-wal`) !== null && left > 1) return yield* attempt(left - 1)
      return examined
    })
  return attempt(MAX_ATTEMPTS)
}

const lookOver = (
  path: string,
  options: JournalReaderOptions,
  visit: (decoded: Decoded) => void,
): Effect.Effect<{ readonly examined: JournalExamination; readonly locked: boolean }, JournalError> => {
  const failed = (error: unknown): JournalError => readerError("examine", path, error)
  const faults: Array<JournalFault> = []
  let untold = 0
  const fault = (kind: JournalFault["kind"], position: number | null, detail: string): void => {
    if (faults.length < MAX_FAULTS) faults.push({ kind, position, detail })
    else untold += 1
  }
  /** Damage is what is looked for; anything else is a failure of looking. */
  const tolerant = <A>(run: () => A, otherwise: A): A => {
    try {
      return run()
    } catch (error) {
      if (!isDamage(error)) throw error
      fault("corrupt", null, error instanceof Error ? error.message : String(error))
      return otherwise
    }
  }
  const sync = <A>(run: () => A): Effect.Effect<A, JournalError> => Effect.try({ try: run, catch: failed })
  return Effect.acquireUseRelease(
    sync(() => tolerant(() => openToRead(path), null)),
    (opened) =>
      Effect.gen(function* () {
        const nothing = { events: 0, faults, untold, replay: null } satisfies JournalExamination
        if (opened === null) return { examined: nothing, locked: true }
        const { db, locked } = opened
        if (!(yield* sync(() => tolerant(() => begin(db, path), false)))) return { examined: nothing, locked }
        yield* sync(() => tolerant(() => checkFile(db, fault), undefined))
        const rows = makeRows(options, fault, visit)
        for (let after: number | null = Number.MIN_SAFE_INTEGER; after !== null;) {
          const from: number = after
          after = yield* sync(() => tolerant(() => rows.page(db, from), null))
          yield* Effect.yieldNow
        }
        yield* sync(() => tolerant(() => rows.checkIndex(db), undefined))
        const replay = yield* sync(() => tolerant(() => replayEvents(db, options.decode ?? {}), null))
        return { examined: { events: rows.count(), faults, untold, replay }, locked }
      }),
    (opened) => Effect.sync(() => opened?.db.close()),
  )
}

/** From here on the connection sees the journal as it is now. */
const begin = (db: DatabaseSync, path: string): boolean => {
  db.exec("BEGIN")
  // Where a lock lies, a journal was begun.
  if (wasLocked(path) && isEmpty(db)) throw new Damage("the file holds no events and no tables")
  demandBegun(db)
  return true
}

type Fault = (kind: JournalFault["kind"], position: number | null, detail: string) => void

const checkFile = (db: DatabaseSync, fault: Fault): void => {
  for (const row of db.prepare(`PRAGMA integrity_check(${MAX_FAULTS})`).iterate()) {
    const said = String(Object.values(row)[0])
    if (said !== "ok") fault("corrupt", null, said)
  }
}

type Row = Record<string, SQLOutputValue>

const ROWS = `SELECT e.position, e.id, e.time_ms, e.log, e.body, l.path
  FROM events e LEFT JOIN logs l ON l.id = e.log WHERE e.position > ? ORDER BY e.position LIMIT ${PAGE}`

const makeRows = (options: JournalReaderOptions, fault: Fault, visit: (decoded: Decoded) => void) => {
  const decoded = decodeRow(options.decode ?? {})
  /** By the log's number. */
  const lastScanned = new Map<number, number>()
  let count = 0
  let last = 0

  const look = (row: Row): void => {
    const position = Number(row["position"])
    count += 1
    last = Math.max(last, position)
    if (position < 1) fault("row", position, "its position is none")
    const event = decoded(row)
    visit(event)
    if (event._tag === "Invalid") return fault("row", position, event.problem.replace(/^position -?\d+: /, ""))
    // An event of a later version has the same envelope: that much was checked when it was decoded.
    const stored = (event._tag === "Known" ? event.event : event.raw) as Readonly<Record<string, unknown>>
    const log = stored["log"] as { readonly path: string }
    const timeMs = Date.parse(String(stored["time"]))
    const beside: ReadonlyArray<readonly [string, unknown, unknown, boolean]> = [
      ["id", stored["id"], row["id"], stored["id"] === row["id"]],
      ["log", log.path, row["path"], log.path === row["path"]],
      ["time", stored["time"], row["time_ms"], timeMs === row["time_ms"]],
    ]
    const wrong = beside.filter(([, , , same]) => !same)
    if (wrong.length > 0) {
      fault(
        "row",
        position,
        wrong.map(([what, is, said]) => `its ${what} is ${told(is)}, and ${told(said)} beside it`).join("; "),
      )
    }
    if (stored["type"] === "Scanned") lastScanned.set(Number(row["log"]), position)
  }

  return {
    count: (): number => count,
    /** The position to go on after; null at the end. */
    page: (db: DatabaseSync, after: number): number | null => {
      const rows = db.prepare(ROWS).all(after)
      for (const row of rows) look(row)
      return rows.length < PAGE ? null : Number(rows.at(-1)?.["position"])
    },
    checkIndex: (db: DatabaseSync): void => {
      const given = scalarNumber(db, "SELECT seq FROM sqlite_sequence WHERE name = 'events'")
      if (given < last)
        fault("index", last, `the last position given out is said to be ${given}: it would be given out again`)
      for (const { id, path, scanned } of db.prepare("SELECT id, path, scanned FROM logs").iterate()) {
        const latest = lastScanned.get(Number(id)) ?? 0
        const said = Number(scanned ?? 0)
        // A later one may have been dropped for want of room.
        if (said < latest) fault("index", latest, `the latest scan of ${told(path)} is said to be at ${said}`)
        else if (said > latest && isAnother(db, said, Number(id))) {
          fault("index", said, `the latest scan of ${told(path)} is said to be here, and this is none`)
        }
      }
    },
  }
}

/** Whether an event that can be read is there, and isn't a scan of this log. */
const isAnother = (db: DatabaseSync, position: number, log: number): boolean => {
  const row = db.prepare("SELECT log, body FROM events WHERE position = ?").get(position)
  if (row === undefined) return false
  try {
    const { type } = JSON.parse(String(row["body"])) as { readonly type?: unknown }
    return row["log"] !== log || type !== "Scanned"
  } catch {
    // Told of as a row.
    return false
  }
}

const MAX_TOLD = 200
const told = (value: unknown): string => {
  const text = value === null || value === undefined ? "nothing" : String(value)
  return text.length > MAX_TOLD ? `${text.slice(0, MAX_TOLD)}…` : text
}

/**
 * Who keeps the journal now, in words; null: nobody does. Asks the lock, by reading it: an agent that tries for it in that very moment waits for the
 * answer.
 */
export const journalKeeper = (path: string): Effect.Effect<string | null, JournalError> => {
  const absolute = resolve(path)
  return Effect.try({
    try: () => (isLocked(absolute) ? keeperOf(absolute) : null),
    catch: (error) => readerError("look for", absolute, error),
  })
}

const isLocked = (path: string): boolean => {
  if (lstatOrNull(lockPathOf(path))?.isFile() !== true) return false
  const db = openDatabase(lockPathOf(path), true)
  try {
    db.exec("PRAGMA busy_timeout = 0")
    scalar(db, "SELECT count(*) FROM sqlite_schema")
    return false
  } catch (error) {
    if (isBusy(error)) return true
    // No lock of ours, then: nobody holds it.
    if (isDamage(error)) return false
    throw error
  } finally {
    db.close()
  }
}

const keeperOf = (path: string): string => {
  try {
    const { db } = openToRead(path)
    try {
      return String(scalar(db, "SELECT value FROM meta WHERE key = 'owner_said'") ?? ANOTHER).replace(/,$/, "")
    } finally {
      db.close()
    }
  } catch (error) {
    if (isConnectionLost(error) || error instanceof Refusal || isBusy(error)) return ANOTHER
    throw error
  }
}
const ANOTHER = "another agent"

/** Whether a journal was begun at this path and is gone: its lock lies there still. */
export const isJournalGone = (path: string): Effect.Effect<boolean, JournalError> => {
  const absolute = resolve(path)
  return Effect.try({
    try: () => lstatOrNull(absolute) === null && wasLocked(absolute),
    catch: (error) => readerError("look for", absolute, error),
  })
}

/**
 * Moves a damaged journal aside, as an agent does that comes across the damage, so that the next one begins anew. Nothing of it is deleted. Returns where it
 * lies now; null if there was none. Fails with `Locked` while an agent keeps it.
 */
export const setAsideJournal = (path: string, nowMs: number): Effect.Effect<string | null, JournalError> => {
  const absolute = resolve(path)
  return Effect.try({
    try: () => {
      const lock = acquireLock(absolute)
      if (lock === null) {
        throw new Refusal("Locked", `${keeperOf(absolute)} keeps this journal`, "Stop that agent first.")
      }
      try {
        return setAside(absolute, nowMs)
      } finally {
        lock.release()
      }
    },
    catch: (error) => readerError("set aside", absolute, error),
  })
}
