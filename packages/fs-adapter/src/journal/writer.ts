/**
 * The one writer of a journal: opens it, appends, keeps it within its limits, and begins anew when the file is damaged or gone.
 * Synchronous and throwing; `journal.ts` makes effects of it. Nothing here may take longer than a commit and a retention round.
 */
import { randomUUID } from "node:crypto"
import { hostname } from "node:os"
import type { DatabaseSync, SQLOutputValue, StatementSync } from "node:sqlite"
import {
  type Appended,
  type Decoded,
  type DecodeOptions,
  type Envelope,
  type JournalQuery,
  type Replaced,
  type Unstored,
} from "@cordwood/core"
import { Damage, isConnectionLost, isDamage, Refusal, sqliteCode } from "./failure.ts"
import { acquireLock, type Lock, wasLocked } from "./lock.ts"
import { ensureDirectory, ensureFile, type Place, placeOf, removeFile, removeJournal, setAside } from "./place.ts"
import { makeCautiousClock, makeRetention, type Moment, type Retention, ROUND_ROWS } from "./retention.ts"
import { readEvents, replayEvents, storedOf } from "./rows.ts"
import { demandRoom } from "./room.ts"
import { createTables, isEmpty, probe, useWal } from "./schema.ts"
import { openDatabase, scalar, scalarNumber } from "./sqlite.ts"

/** Bytes; below this a journal holds too few events to be worth the name. */
export const MAX_BYTES_MIN = 1024 * 1024
/** SQLite's log of writes is emptied into the database at half of this, and is cut back to it after a larger batch. Bytes. */
const WAL_BYTES_MAX = 4 * 1024 * 1024
const SPARE_BYTES_MAX = 1024 * 1024
const PAGE_BYTES = 4096
/** Retention deletes faster than appends add. */
const ROUND_ROWS_PER_EVENT = 2
/** `SQLITE_READONLY_DBMOVED`: SQLite found by itself that the file isn't where it was. */
const READONLY_DBMOVED = 1032

export interface WriterOptions {
  readonly path: string
  readonly keepMs: number
  readonly maxBytes: number
  readonly decode: DecodeOptions
}
export interface Writer {
  /** Opens the journal now; otherwise the first use does. */
  readonly open: (now: Moment) => void
  readonly append: (events: ReadonlyArray<Unstored>, now: Moment) => Appended
  readonly read: (query: JournalQuery, now: Moment) => ReadonlyArray<Decoded>
  readonly replay: (now: Moment) => ReadonlyArray<Decoded>
  /** One round of retention. True: there may be more to do. */
  readonly tend: (now: Moment) => boolean
  readonly close: () => void
}

interface Opened {
  readonly db: DatabaseSync
  readonly token: string
  readonly statements: Record<keyof typeof SQL, StatementSync>
  readonly retention: Retention
  /** The files that are open. SQLite keeps the same ones for as long as the connection lasts. */
  readonly files: Files
  /** The sizes after our last use, below which nobody else takes them. */
  bytes: { readonly db: number; readonly wal: number }
}
interface Files {
  readonly db: Place | null
  readonly wal: Place | null
  readonly shm: Place | null
}

const SQL = {
  owner: "SELECT value FROM meta WHERE key = 'owner'",
  log: "SELECT id FROM logs WHERE path = ?",
  newLog: "INSERT INTO logs (path) VALUES (?)",
  insert: "INSERT INTO events (id, time_ms, log, body) VALUES (?, ?, ?, ?)",
  stored: "SELECT position, body FROM events WHERE id = ?",
  scanned: "UPDATE logs SET scanned = ? WHERE id = ?",
  rotated: "UPDATE logs SET rotated = ? WHERE id = ?",
} as const

const DISOWN = `DELETE FROM meta
  WHERE key IN ('owner', 'owner_said') AND (SELECT value FROM meta WHERE key = 'owner') = ?`
const LAST_POSITION = "SELECT seq FROM sqlite_sequence WHERE name = 'events'"
const DELETED = "the file was deleted"
const bytesOf = (files: Files): Opened["bytes"] => ({ db: files.db?.bytes ?? 0, wal: files.wal?.bytes ?? 0 })
const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

export const makeWriter = (options: WriterOptions, start: Moment): Writer => {
  const { path } = options
  const walBytes = Math.min(WAL_BYTES_MAX, options.maxBytes / 4)
  const spareBytes = Math.min(SPARE_BYTES_MAX, options.maxBytes / 8)
  const limits = { keepMs: options.keepMs, maxPagesBytes: options.maxBytes - walBytes - spareBytes, spareBytes }
  const clock = makeCautiousClock(start)
  let lock: Lock | null = null
  let opened: Opened | null = null
  /** What the next append will say. */
  let replaced: Replaced | null = null
  /** The last position given out; a journal that is begun anew goes on from here. Null until a journal was open. */
  let lastPosition: number | null = null
  let everOpened = false
  let closed = false

  const files = (): Files => ({ db: placeOf(path), wal: placeOf(`${path}-wal`), shm: placeOf(`${path}-shm`) })

  /** Lets go of the connection, whatever state it is in. The lock is kept. */
  const drop = (): void => {
    const db = opened?.db
    opened = null
    try {
      db?.close()
    } catch {
      // Whatever is wrong with it is found, and said, when it is opened again.
    }
  }

  const release = (): void => {
    drop()
    lock?.release()
    lock = null
  }

  const lockedBy = (): Refusal => {
    let owner = "another agent"
    try {
      const db = openDatabase(path, true)
      try {
        owner = String(scalar(db, "SELECT value FROM meta WHERE key = 'owner_said'") ?? owner)
      } finally {
        db.close()
      }
    } catch {
      // Damaged, or about to be created: then nobody can say.
    }
    return new Refusal(
      "Locked",
      `${owner} keeps this journal`,
      "Stop that agent, or give this one another journal.path.",
    )
  }

  const begin = (now: Moment): Opened => {
    ensureDirectory(path)
    demandRoom(path, 0)
    if (lock !== null && !lock.holds()) release()
    const keptBefore = wasLocked(path)
    lock ??= acquireLock(path)
    if (lock === null) throw lockedBy()
    const created = ensureFile(path)
    if (created && everOpened) replaced ??= { path, reason: "Missing", keptAs: null, detail: DELETED }
    try {
      // Where a lock lies, a journal was begun: a file without tables has lost them.
      return connect(now, created || !keptBefore)
    } catch (error) {
      if (isDamage(error)) return beginAnew("Corrupt", messageOf(error), now)
      if (created) tidyUp()
      throw error
    }
  }

  /** What couldn't be begun, for want of space for one, leaves no empty file for the next attempt to wonder at. */
  const tidyUp = (): void => {
    try {
      removeJournal(path)
    } catch {
      // The error that led here is the one to report.
    }
  }

  /** A position that is later than any the lost journal can have given out, if it can't be asked: the time in milliseconds. */
  const safePosition = (now: Moment): number => lastPosition ?? Math.max(0, Math.trunc(now.wallMs))

  const beginAnew = (reason: Replaced["reason"], detail: string, now: Moment): Opened => {
    drop()
    if (lock?.holds() !== true) return begin(now)
    const keptAs = setAside(path, now.wallMs)
    lastPosition = safePosition(now)
    // The first loss is the one to tell of, until an append has told it.
    replaced ??= { path, reason, keptAs, detail }
    ensureFile(path)
    try {
      return connect(now, true)
    } catch (error) {
      tidyUp()
      throw error
    }
  }

  const connect = (now: Moment, mayBeEmpty: boolean): Opened => {
    const place = placeOf(path)
    const db = openDatabase(path)
    try {
      if (!isEmpty(db)) useWal(db)
      else if (mayBeEmpty) createTables(db, lastPosition ?? 0)
      else throw new Damage("the file holds no events and no tables")
      db.exec(`
        PRAGMA synchronous = FULL;
        PRAGMA temp_store = MEMORY;
        PRAGMA wal_autocheckpoint = ${Math.floor(walBytes / 2 / PAGE_BYTES)};
        PRAGMA journal_size_limit = ${walBytes}`)
      probe(db)
      const last = scalarNumber(db, LAST_POSITION)
      if (lastPosition !== null && last < lastPosition) throw new Damage("the newest events are missing")
      const statements = prepare(db)
      const token = randomUUID()
      const said = `process ${process.pid} on ${hostname()}, since ${new Date(now.wallMs).toISOString()},`
      const own = db.prepare(
        "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
      )
      db.exec("BEGIN IMMEDIATE")
      own.run("owner", token)
      own.run("owner_said", said)
      db.exec("COMMIT")
      lastPosition = last
      everOpened = true
      const at = files()
      opened = {
        db,
        token,
        statements,
        retention: makeRetention(db, limits, clock),
        files: { ...at, db: place },
        bytes: bytesOf(at),
      }
      return opened
    } catch (error) {
      db.close()
      throw error
    }
  }

  const prepare = (db: DatabaseSync): Opened["statements"] => {
    const { insert, log, newLog, owner, rotated, scanned, stored } = SQL
    return {
      owner: db.prepare(owner),
      log: db.prepare(log),
      newLog: db.prepare(newLog),
      insert: db.prepare(insert),
      stored: db.prepare(stored),
      scanned: db.prepare(scanned),
      rotated: db.prepare(rotated),
    }
  }

  /** The open journal, once it is certain that what is at the path is still the file that is open. */
  const current = (now: Moment): Opened => {
    if (closed) throw new Refusal("Other", "the journal was closed", "This is a fault of the program: report it.")
    if (opened === null) return begin(now)
    const at = files()
    const { bytes, files: was } = opened
    if (at.db?.identity !== was.db?.identity) {
      drop()
      if (at.db === null || lock?.holds() !== true) return begin(now)
      // Says so if it is a link or a directory: nothing but a file is moved away.
      ensureFile(path)
      // What lies beside it is still ours, and would spoil a database it doesn't belong to.
      if (at.wal?.identity === was.wal?.identity) removeFile(`${path}-wal`)
      if (at.shm?.identity === was.shm?.identity) removeFile(`${path}-shm`)
      return beginAnew("Missing", "another file has taken its place", now)
    }
    const moved = at.wal?.identity !== was.wal?.identity || at.shm?.identity !== was.shm?.identity
    const cut = (at.db?.bytes ?? 0) < bytes.db || (at.wal !== null && at.wal.bytes < bytes.wal)
    if (!moved && !cut && lock?.holds() === true) return opened
    return reopen(opened, now, cut)
  }

  /** Somebody has been at the files beside the database, or at its length; what the connection still has goes to the file first. */
  const reopen = (open: Opened, now: Moment, cut: boolean): Opened => {
    if (!cut) {
      try {
        open.db.exec("PRAGMA wal_checkpoint(TRUNCATE)")
      } catch {
        // Then the file has what it has: `connect` finds out whether events are missing.
      }
    }
    drop()
    const next = begin(now)
    if (!cut) return next
    const problem = scalar(next.db, "PRAGMA quick_check(1)")
    return problem === "ok" ? next : beginAnew("Corrupt", String(problem), now)
  }

  /** Runs `use` on the journal; should it turn out to be damaged, once more on the new one. */
  const using = <A>(now: Moment, use: (open: Opened) => A): A => {
    try {
      return attempt(now, use)
    } catch (error) {
      if (isDamage(error)) beginAnew("Corrupt", messageOf(error), now)
      else if (sqliteCode(error) !== READONLY_DBMOVED) throw error
      return attempt(now, use)
    }
  }
  const attempt = <A>(now: Moment, use: (open: Opened) => A): A => {
    const open = current(now)
    try {
      return use(open)
    } catch (error) {
      if (isConnectionLost(error)) drop()
      else if (opened === open) rollBack(open)
      throw error
    } finally {
      if (opened === open) open.bytes = bytesOf(files())
    }
  }

  const rollBack = ({ db }: Opened): void => {
    try {
      if (db.isTransaction) db.exec("ROLLBACK")
    } catch {
      drop()
    }
  }

  const append = (events: ReadonlyArray<Unstored>, now: Moment): Appended => {
    if (events.length === 0) return { events: [], replaced: null }
    const bodies = events.map((event) => JSON.stringify(event))
    const bytes = bodies.reduce((sum, body) => sum + body.length, 0)
    const stored = using(now, (open) => {
      demandRoom(path, bytes)
      open.db.exec("BEGIN IMMEDIATE")
      if (open.statements.owner.get()?.["value"] !== open.token) throw lostTo(open)
      const stored = events.map((event, at) => store(open.statements, event, bodies[at] ?? "", now))
      open.db.exec("COMMIT")
      for (const { position } of stored) lastPosition = Math.max(lastPosition ?? 0, position)
      return stored
    })
    const appended = { events: stored, replaced }
    replaced = null
    try {
      tend(now, ROUND_ROWS_PER_EVENT * events.length)
    } catch {
      // The events are stored. Whatever stood in the way is met again, and said, by the next append.
    }
    return appended
  }

  /** Another agent has written itself in, which it can only have done after somebody removed the lock. */
  const lostTo = (open: Opened): Refusal => {
    rollBack(open)
    const refusal = lockedBy()
    // The next append tries for the lock again.
    release()
    return refusal
  }

  const store = (statements: Opened["statements"], event: Unstored, body: string, now: Moment): Envelope => {
    const { insert, log, newLog, rotated, scanned, stored } = statements
    // Asked first, because an insert that meets a conflict uses up a position all the same.
    const before = stored.get(event.id)
    if (before !== undefined) return storedBefore(before, event)
    const path = event.log.path
    const id = log.get(path)?.["id"] ?? newLog.run(path).lastInsertRowid
    const timeMs = Date.parse(event.time)
    const position = Number(insert.run(event.id, Number.isNaN(timeMs) ? now.wallMs : timeMs, id, body).lastInsertRowid)
    if (event.type === "Scanned") scanned.run(position, id)
    if (event.type === "Rotated") rotated.run(position, id)
    return { ...event, position }
  }

  const storedBefore = (row: Record<string, SQLOutputValue>, event: Unstored): Envelope => {
    try {
      // What was stored under this id was an event when it was stored.
      return storedOf(row) as Envelope
    } catch {
      return { ...event, position: Number(row["position"]) }
    }
  }

  const tend = (now: Moment, rows = 0): boolean =>
    using(now, (open) => {
      demandRoom(path, 0)
      return open.retention.round(now, Math.max(rows, ROUND_ROWS))
    })

  const close = (): void => {
    closed = true
    try {
      demandRoom(path, 0)
      // Only what is still ours: after a change of hands the rows are the other's.
      opened?.db.prepare(DISOWN).run(opened.token)
      opened?.db.exec("PRAGMA wal_checkpoint(TRUNCATE)")
    } catch {
      // All events are stored; the next agent finishes this.
    } finally {
      release()
    }
  }

  return {
    open: (now) => void current(now),
    append,
    read: (query, now) => using(now, (open) => readEvents(open.db, query, options.decode)),
    replay: (now) => using(now, (open) => replayEvents(open.db, options.decode)),
    tend: (now) => tend(now),
    close,
  }
}
