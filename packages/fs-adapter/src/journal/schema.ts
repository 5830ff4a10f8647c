/**
 * The journal's tables, and what makes a file a journal. A later version may only add: tables, columns with defaults, indexes.
 * So an agent that was rolled back goes on with its successor's journal, and never lowers its version.
 */
import type { DatabaseSync } from "node:sqlite"
import { Damage, Refusal, sqliteCode } from "./failure.ts"
import { scalar, scalarNumber } from "./sqlite.ts"

/** `user_version` of what this program creates. */
export const SCHEMA_VERSION = 1
/** `application_id`, "cwjn": tells a journal from another program's database. */
export const APPLICATION_ID = 0x63776a6e

/**
 * `logs` numbers the logs' paths and remembers, by position, the latest `Scanned` and `Rotated` of each: what a replay starts
 * from and what retention keeps. `body` is the event as JSON, without its position. `time_ms` is the event's own time.
 */
const TABLES = `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE logs (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, scanned INTEGER, rotated INTEGER) STRICT;
  CREATE TABLE events (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    time_ms INTEGER NOT NULL,
    log INTEGER NOT NULL,
    body TEXT NOT NULL
  ) STRICT;
  CREATE INDEX events_by_time ON events (time_ms);
  CREATE INDEX events_by_log ON events (log);
`

/** Rows at either end of the journal that are read when it is opened; damage elsewhere is found when it is come across. */
const PROBE_ROWS = 100

/** True if the database has no table yet. Throws if it is somebody else's. */
export const isEmpty = (db: DatabaseSync): boolean => {
  const tables = scalarNumber(db, "SELECT count(*) FROM sqlite_schema")
  if (tables === 0) return true
  const ours =
    scalarNumber(db, "PRAGMA application_id") === APPLICATION_ID ||
    // The mark is in the header, which may be damaged.
    scalarNumber(db, "SELECT count(*) FROM sqlite_schema WHERE name IN ('events', 'logs', 'meta')") === 3
  if (!ours) {
    throw new Refusal("Other", "this is another program's SQLite database", "Give the agent a journal.path of its own.")
  }
  return false
}

/** `after`: the position that the first event is to come after. */
export const createTables = (db: DatabaseSync, after: number): void => {
  // Before anything is written, or freed pages could never be given back.
  db.exec("PRAGMA auto_vacuum = INCREMENTAL")
  useWal(db)
  db.exec("BEGIN IMMEDIATE")
  db.exec(TABLES)
  db.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${SCHEMA_VERSION}`)
  if (after > 0) db.prepare("INSERT INTO sqlite_sequence (name, seq) VALUES ('events', ?)").run(after)
  db.exec("COMMIT")
  // Into the database itself: should its log of writes get lost, this is still seen to have been a journal.
  db.exec("PRAGMA wal_checkpoint(TRUNCATE)")
}

export const useWal = (db: DatabaseSync): void => {
  if (scalar(db, "PRAGMA journal_mode = WAL") === "wal") return
  throw new Refusal(
    "Other",
    "the file system can't share memory between processes",
    "Put journal.path on a local disk.",
  )
}

/** Reads enough of the journal to find that it is none, or that its ends are damaged. */
export const probe = (db: DatabaseSync): void => {
  try {
    db.prepare("SELECT key, value FROM meta").all()
    db.prepare("SELECT id, path, scanned, rotated FROM logs LIMIT ?").all(PROBE_ROWS)
    for (const order of ["ASC", "DESC"]) {
      db.prepare(
        `SELECT total(length(body) + length(id) + time_ms + log) FROM
         (SELECT id, time_ms, log, body FROM events ORDER BY position ${order} LIMIT ?)`,
      ).get(PROBE_ROWS)
    }
  } catch (error) {
    if (sqliteCode(error) !== 1) throw error
    const version = scalarNumber(db, "PRAGMA user_version")
    // A table or a column is missing, says SQLite.
    const said = error instanceof Error ? error.message : String(error)
    if (version <= SCHEMA_VERSION)
      throw new Damage(`the journal's tables are not what they were: ${said}`, { cause: error })
    throw new Refusal(
      "Other",
      `a newer agent wrote this journal (schema ${version}, this one knows ${SCHEMA_VERSION}): ${said}`,
      "Upgrade the agent, or give it another journal.path.",
    )
  }
}
