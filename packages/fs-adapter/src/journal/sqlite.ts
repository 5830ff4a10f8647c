/** Loads node:sqlite, on first use and without its warning. Knows no table. */
import type * as sqlite from "node:sqlite"

/** Milliseconds that a statement waits for another process's lock, with the event loop held up; longer than any checkpoint takes. */
export const BUSY_TIMEOUT_MS = 250

let loaded: typeof sqlite | undefined

/**
 * On Node 22 the module announces, once, that it is experimental; what this package needs of it is tested there. The warning
 * comes synchronously while the module loads, so no other one can get lost meanwhile.
 */
const load = (): typeof sqlite => {
  const emit = process.emitWarning
  process.emitWarning = () => {}
  try {
    return process.getBuiltinModule("node:sqlite")
  } finally {
    process.emitWarning = emit
  }
}

export const openDatabase = (location: string | URL, readOnly = false): sqlite.DatabaseSync => {
  loaded ??= load()
  const db = new loaded.DatabaseSync(location, { readOnly, enableForeignKeyConstraints: false })
  try {
    // A hostile file's views and triggers may call nothing; a damaged page is noticed when it is read, not when it is used.
    db.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON`)
    return db
  } catch (error) {
    db.close()
    throw error
  }
}

/** The value of a pragma or of a query with one column and one row. */
export const scalar = (db: sqlite.DatabaseSync, sql: string): unknown => {
  const row = db.prepare(sql).get()
  return row === undefined ? undefined : Object.values(row)[0]
}
export const scalarNumber = (db: sqlite.DatabaseSync, sql: string): number => Number(scalar(db, sql) ?? 0)
