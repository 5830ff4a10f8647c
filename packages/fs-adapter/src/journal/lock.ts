/**
 * One writer per journal: an empty SQLite database beside it, `<path>.lock`, held exclusively for as long as the journal is
 * open. The lock is the kernel's (fcntl) and goes with the process, however it ends: there is no stale lock to clear. Within
 * one process SQLite does the same for two agents. Holds no data; who holds it is written in the journal itself.
 */
import type { DatabaseSync } from "node:sqlite"
import { isBusy, isDamage, Refusal } from "./failure.ts"
import { ensureFile, lstatOrNull, placeOf } from "./place.ts"
import { openDatabase } from "./sqlite.ts"

export const lockPathOf = (path: string): string => `${path}.lock`

export interface Lock {
  /** False once somebody has removed or replaced the file: the lock then keeps nobody out. */
  readonly holds: () => boolean
  readonly release: () => void
}

/** Milliseconds: whoever only looks whether the lock is held is done with it at once, and must not pass for somebody who holds it. */
const LOOK_MS = 50

/** Null if another agent holds it. */
export const acquireLock = (path: string): Lock | null => {
  const file = lockPathOf(path)
  ensureFile(file)
  const identity = placeOf(file)?.identity
  const db = openDatabase(file)
  try {
    take(db)
  } catch (error) {
    db.close()
    if (isBusy(error)) return null
    if (isDamage(error)) {
      throw new Refusal("Other", `${file} is no lock of ours`, `No agent holds it: look what it is and remove it.`)
    }
    throw error
  }
  const holds = (): boolean => placeOf(file)?.identity === identity
  if (!holds()) {
    db.close()
    throw new Refusal("Other", `${file} was replaced while it was being locked`, "Start the agent again.")
  }
  return { holds, release: () => db.close() }
}

const take = (db: DatabaseSync): void => {
  // In memory, or SQLite would leave an empty `-journal` beside the lock.
  db.exec(
    `PRAGMA busy_timeout = ${LOOK_MS}; PRAGMA journal_mode = MEMORY; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE`,
  )
}

/** Whether an agent has kept a journal here before. */
export const wasLocked = (path: string): boolean => lstatOrNull(lockPathOf(path)) !== null
