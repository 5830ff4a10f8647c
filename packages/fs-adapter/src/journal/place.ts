/**
 * The journal's place on disk: its directory, its files' modes, and the setting aside of a file that is no use. Never opens
 * a file that SQLite may have open: closing it would drop every lock this process holds on it (fcntl's rule).
 */
import {
  accessSync,
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  statSync,
  unlinkSync,
  type Stats,
} from "node:fs"
import { basename, dirname, join } from "node:path"
import { formatStamp } from "@cordwood/core"
import { errno, Refusal } from "./failure.ts"

const FILE_MODE = 0o600
const DIRECTORY_MODE = 0o700
const STICKY = 0o1000
const OTHERS_WRITE = 0o002
/** Files set aside that are kept, the newest; so a disk that damages file after file can't fill up with them. */
export const SET_ASIDE_MAX = 3
/** What SQLite keeps beside a database in WAL mode. */
const COMPANIONS = ["-wal", "-shm"] as const

export const lstatOrNull = (path: string): Stats | null => {
  try {
    return lstatSync(path)
  } catch (error) {
    if (errno(error) === "ENOENT") return null
    throw error
  }
}

/** Device and inode, which tell a file from another of the same name, and its size. */
export interface Place {
  readonly identity: string
  readonly bytes: number
}
export const placeOf = (path: string): Place | null => {
  const seen = lstatOrNull(path)
  return seen === null ? null : { identity: `${seen.dev}:${seen.ino}`, bytes: seen.size }
}

export const syncDirectory = (directory: string): void => {
  const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** Root may do as it likes anyway, and what this process owns is its own. */
const isStranger = (uid: number): boolean => uid !== 0 && uid !== (process.geteuid?.() ?? 0)

/**
 * Makes sure of the directory. Only its last part is created: a mistyped path is said, not built. One that anybody may
 * write, without the sticky bit, is refused: anybody could swap the journal for a link there. So could another user whose directory it is,
 * or whose link leads there: such a journal could say that a segment has been shipped that hasn't.
 */
export const ensureDirectory = (path: string): void => {
  const directory = dirname(path)
  refuseStrangersLinks(directory)
  try {
    mkdirSync(directory, { mode: DIRECTORY_MODE })
    syncDirectory(dirname(directory))
  } catch (error) {
    if (errno(error) === "ENOENT") refuseMissing(directory)
    if (errno(error) !== "EEXIST" && !isDirectory(directory)) throw error
  }
  const seen = statSync(directory)
  refuseUnfit(directory, seen)
  if (isStranger(seen.uid)) {
    throw new Refusal(
      "Other",
      `${directory} belongs to another user (${seen.uid}), who could put any journal there`,
      `Give it to the agent's user (chown ${ownUser()} ${directory}), run the agent as user ${seen.uid}, or correct journal.path.`,
    )
  }
}
const ownUser = (): string => String(process.geteuid?.() ?? 0)

/** In a directory for everybody, such as /tmp, another user may have laid a link under the very name that the agent is about to create. */
const refuseStrangersLinks = (directory: string): void => {
  for (let part = directory; part !== dirname(part); part = dirname(part)) {
    const seen = lstatOrNull(part)
    if (seen?.isSymbolicLink() !== true || !isStranger(seen.uid)) continue
    throw new Refusal(
      "Other",
      `${part} is a symbolic link of another user (${seen.uid}); it is not followed`,
      "Remove it, or let journal.path name the directory that it leads to.",
    )
  }
}

const refuseMissing = (directory: string): never => {
  throw new Refusal(
    "Other",
    `neither ${directory} nor the directory above it exists`,
    `Create ${dirname(directory)}, or correct journal.path.`,
  )
}
const refuseUnfit = (directory: string, seen: Stats): void => {
  if (!seen.isDirectory()) {
    throw new Refusal("Other", `${directory} is no directory`, "Correct journal.path.")
  }
  if ((seen.mode & OTHERS_WRITE) !== 0 && (seen.mode & STICKY) === 0) {
    throw new Refusal(
      "Other",
      `everybody may rename files in ${directory}`,
      `Run chmod o-w ${directory}, or let journal.path name a directory in it, which the agent then creates for itself.`,
    )
  }
}

/**
 * Throws what `ensureDirectory` would, as far as looking tells: of the caller's own rights only the one to look counts, since an agent often
 * has more than who asks. Creates nothing.
 */
export const lookForDirectory = (path: string): void => {
  const directory = dirname(path)
  const seen = statOrNull(directory)
  if (seen !== null) return refuseUnfit(directory, seen)
  const above = statOrNull(dirname(directory))
  if (above === null) return refuseMissing(directory)
  if (!above.isDirectory()) throw new Refusal("Other", `${dirname(directory)} is no directory`, "Correct journal.path.")
  try {
    accessSync(dirname(directory), constants.W_OK)
  } catch (error) {
    if (errno(error) === "EROFS") throw error
  }
}

const statOrNull = (path: string): Stats | null => {
  try {
    return statSync(path)
  } catch (error) {
    if (errno(error) === "ENOENT" || errno(error) === "ENOTDIR") return null
    throw error
  }
}

const isDirectory = (path: string): boolean => {
  try {
    return statSync(path).isDirectory()
  } catch {
    return false
  }
}

/** Makes sure of a regular file of ours, for the owner alone; true if it had to be created. Follows no link, and changes no file of somebody else's. */
export const ensureFile = (path: string): boolean => {
  const created = createFile(path)
  if (created) {
    // Companions without their database are of no use, and would be taken for the new one's.
    for (const companion of COMPANIONS) removeFile(path + companion)
    syncDirectory(dirname(path))
    return true
  }
  const seen = lstatSync(path)
  refuseForeign(path, seen)
  // Asked beforehand, because SQLite opens what it can't write for reading, without a word. Throws EROFS or EACCES.
  accessSync(path, constants.W_OK)
  restrict(path, seen)
  for (const companion of COMPANIONS) {
    const beside = lstatOrNull(path + companion)
    if (beside === null) continue
    // SQLite would take over what another user's log of writes holds.
    refuseForeign(path + companion, beside)
    restrict(path + companion, beside)
  }
  return false
}
const refuseForeign = (path: string, seen: Stats): void => {
  if (!seen.isFile()) {
    const kind = seen.isSymbolicLink() ? "a symbolic link" : seen.isDirectory() ? "a directory" : "no regular file"
    throw new Refusal(
      "Other",
      `${path} is ${kind}; it is neither followed nor touched`,
      "Remove it, or correct journal.path.",
    )
  }
  if (isStranger(seen.uid)) {
    throw new Refusal(
      "Other",
      `${path} belongs to another user (${seen.uid}); it is not touched`,
      `Run the agent as that user, or move the file away; if it is this agent's own, run chown ${ownUser()} ${path}.`,
    )
  }
  if (seen.nlink > 1) {
    throw new Refusal(
      "Other",
      `${path} has ${seen.nlink} names, and another one may lie anywhere; it is not touched`,
      "See what it is (find -samefile tells the others) and remove it, or correct journal.path.",
    )
  }
}
const createFile = (path: string): boolean => {
  try {
    const fd = openSync(path, constants.O_CREAT | constants.O_EXCL | constants.O_RDWR, FILE_MODE)
    try {
      // The process's umask may have taken bits away that we need.
      fchmodSync(fd, FILE_MODE)
    } finally {
      closeSync(fd)
    }
    return true
  } catch (error) {
    if (errno(error) === "EEXIST") return false
    throw error
  }
}
const restrict = (path: string, seen: Stats): void => {
  if ((seen.mode & 0o777) !== FILE_MODE) chmodSync(path, FILE_MODE)
}

export const removeFile = (path: string): void => {
  try {
    unlinkSync(path)
  } catch (error) {
    if (errno(error) !== "ENOENT") throw error
  }
}

const ASIDE = /^\.corrupt-\d{8}-\d{6}(?:\.\d+)?$/
/** Removes a journal that was created a moment ago and never held an event. */
export const removeJournal = (path: string): void => {
  for (const suffix of ["", ...COMPANIONS]) removeFile(path + suffix)
}

const asideNames = (path: string): ReadonlyArray<string> =>
  readdirSync(dirname(path))
    .filter((name) => name.startsWith(basename(path)) && ASIDE.test(name.slice(basename(path).length)))
    .toSorted()

/**
 * Moves the journal and its companions to `<path>.corrupt-<UTC stamp>`, never over another file, and returns that path; null
 * if there was no journal. The caller holds the lock, so that nobody else takes the name meanwhile.
 */
export const setAside = (path: string, nowMs: number): string | null => {
  const kept =
    lstatOrNull(path) === null ? null : freeName(`${path}.corrupt-${formatStamp(nowMs) ?? "00000000-000000"}`)
  if (kept !== null) {
    for (const suffix of ["", ...COMPANIONS]) {
      if (lstatOrNull(path + suffix) !== null) renameSync(path + suffix, kept + suffix)
    }
  }
  for (const name of asideNames(path).slice(0, -SET_ASIDE_MAX)) {
    for (const suffix of ["", ...COMPANIONS]) removeFile(join(dirname(path), name + suffix))
  }
  syncDirectory(dirname(path))
  return kept
}
const freeName = (name: string): string => {
  let free = name
  for (let n = 1; lstatOrNull(free) !== null; n += 1) free = `${name}.${n}`
  return free
}
