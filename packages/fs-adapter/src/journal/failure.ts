/** Turns what SQLite and the file system throw into the port's one error. Decides nothing about what happens next. */
import { accessSync, constants, statfsSync } from "node:fs"
import { dirname } from "node:path"
import { JournalError, type JournalReason } from "@cordwood/core"

/** What the operator has to settle before an agent can keep a journal here; raised by our own checks. */
export class Refusal extends Error {
  readonly reason: JournalReason
  readonly hint: string
  constructor(reason: JournalReason, message: string, hint: string) {
    super(message)
    this.reason = reason
    this.hint = hint
  }
}

/** The journal's file holds what no journal of ours can hold. */
export class Damage extends Error {}

// SQLite's result codes, https://www.sqlite.org/rescode.html; the low byte is the primary code.
const BUSY = 5
const LOCKED = 6
const READONLY = 8
const IOERR = 10
const CORRUPT = 11
const FULL = 13
const CANTOPEN = 14
const NOTADB = 26
const IOERR_SHORT_READ = 522
const IOERR_SHMSIZE = 4874

/** Below this many bytes a file system counts as full when SQLite says no more than that writing failed. */
const FULL_BELOW_BYTES = 64 * 1024

export const sqliteCode = (error: unknown): number | null =>
  error instanceof Error && "errcode" in error && typeof error.errcode === "number" ? error.errcode : null
const primary = (error: unknown): number | null => {
  const code = sqliteCode(error)
  return code === null ? null : code & 0xff
}
export const errno = (error: unknown): string | null =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : null

export const isDamage = (error: unknown): boolean =>
  error instanceof Damage ||
  primary(error) === CORRUPT ||
  primary(error) === NOTADB ||
  // Pages that should be there are beyond the file's end.
  sqliteCode(error) === IOERR_SHORT_READ ||
  // A number that no journal of ours holds, as it is none of JavaScript's.
  errno(error) === "ERR_OUT_OF_RANGE"
export const isBusy = (error: unknown): boolean => primary(error) === BUSY || primary(error) === LOCKED
/** After one of these the connection's own state can't be relied on; it is closed, and a new one tried by the next append. */
export const isConnectionLost = (error: unknown): boolean =>
  isDamage(error) || [IOERR, CANTOPEN, READONLY].includes(primary(error) ?? 0)

const fromErrno = (code: string | null): JournalReason | null => {
  switch (code) {
    case "ENOSPC":
    case "EDQUOT":
      return "NoSpace"
    case "EROFS":
      return "ReadOnly"
    case "EACCES":
    case "EPERM":
      return "Denied"
    default:
      return null
  }
}

/** SQLite folds the system's error into "I/O error" and "unable to open"; asking the file system tells them apart. */
const ask = (path: string): JournalReason | null => {
  for (const place of [dirname(path), path]) {
    try {
      accessSync(place, constants.W_OK)
    } catch (error) {
      const reason = fromErrno(errno(error))
      if (reason !== null) return reason
    }
  }
  try {
    const space = statfsSync(dirname(path))
    // Some file systems have no fixed number of inodes, and say 0 of 0.
    const outOfInodes = space.files > 0 && space.ffree === 0
    return outOfInodes || space.bavail * space.bsize < FULL_BELOW_BYTES ? "NoSpace" : null
  } catch {
    return null
  }
}

const reasonOf = (error: unknown, path: string): JournalReason => {
  if (error instanceof Refusal) return error.reason
  if (isDamage(error)) return "Corrupt"
  if (isBusy(error)) return "Busy"
  const code = primary(error)
  if (code === FULL || sqliteCode(error) === IOERR_SHMSIZE) return "NoSpace"
  if (code === READONLY) return ask(path) ?? "ReadOnly"
  if (code === IOERR || code === CANTOPEN) return ask(path) ?? "Other"
  return fromErrno(errno(error)) ?? "Other"
}

const HINTS = {
  Locked: (path) =>
    `One agent keeps a journal. Stop the other one, or give this one another journal.path than ${path}.`,
  Denied: (path) => `Let the agent's user write ${path} and the directory it is in, or change journal.path.`,
  NoSpace: (path) =>
    `Free space on the file system of ${dirname(path)}. Until then events wait in memory; rotation goes on.`,
  ReadOnly: (path) => `Mount the file system of ${dirname(path)} writable, or change journal.path.`,
  Corrupt: (path) => `The agent sets a damaged journal aside and begins a new one; if it can't, move ${path} away.`,
  Busy: (path) =>
    `Another program holds ${path} locked, for example a sqlite3 shell in a transaction; end that transaction.`,
  Other: (path) => `Look at ${path} and at the disk it is on (dmesg); a copy of the file can be examined with sqlite3.`,
} as const satisfies Record<JournalReason, (path: string) => string>

export const journalError = (op: string, path: string, error: unknown): JournalError => {
  const reason = reasonOf(error, path)
  const code = sqliteCode(error)
  const said = error instanceof Error ? error.message : String(error)
  return new JournalError({
    op,
    path,
    reason,
    detail: code === null ? said : `${said} (SQLite ${code})`,
    hint: error instanceof Refusal ? error.hint : HINTS[reason](path),
  })
}
