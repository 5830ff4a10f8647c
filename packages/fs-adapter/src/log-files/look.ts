/** Looks at files without changing anything: which there are, which of them is which. Follows no link. */
import { type BigIntStats, type Dir, lstatSync, opendirSync, type StatSyncOptions } from "node:fs"
import {
  besideOf,
  directoryOf,
  type Entry,
  type FileSeen,
  type Glance,
  type LogFilesError,
  nameOf,
} from "@cordwood/core"
import { Effect } from "effect"
import { type OpenDirectory } from "./directory.ts"
import { failure, failureOf } from "./failure.ts"

const MAYBE_MISSING = { throwIfNoEntry: false } as const satisfies StatSyncOptions
const EXACT_OR_MISSING = { bigint: true, throwIfNoEntry: false } as const

const NANOSECONDS_PER_MS = 1e6

const identityOf = ({ dev, ino }: BigIntStats): string => `${dev}:${ino}`

export const seenOf = (path: string, stats: BigIntStats): FileSeen => ({
  path,
  bytes: Number(stats.size),
  modifiedMs: Number(stats.mtimeNs) / NANOSECONDS_PER_MS,
  identity: identityOf(stats),
})

const kindOf = (stats: BigIntStats): Entry["kind"] =>
  stats.isFile() ? "file" : stats.isDirectory() ? "directory" : stats.isSymbolicLink() ? "symlink" : "other"

/** A name in the directory as it is at this moment; undefined if it isn't there. */
export const lookUp = (directory: OpenDirectory, name: string): BigIntStats | undefined =>
  lstatSync(directory.at(name), EXACT_OR_MISSING)

/** The regular file that goes by this name; throws the port's error if there is none. */
export const fileAt = (op: string, directory: OpenDirectory, name: string): FileSeen => {
  const path = `${directory.path === "/" ? "" : directory.path}/${name}`
  const stats = lookUp(directory, name)
  if (stats === undefined) throw failure(op, path, "NotFound", "ENOENT: no such file or directory")
  return regular(op, path, stats)
}

export const regular = (op: string, path: string, stats: BigIntStats): FileSeen => {
  const kind = kindOf(stats)
  if (kind !== "file") throw failure(op, path, "NotRegular", `not a regular file: ${KINDS[kind]}`)
  return seenOf(path, stats)
}
const KINDS = { directory: "a directory", symlink: "a symbolic link", other: "a device, pipe or socket" } as const

/** Throws the port's error if another file lies here than was seen; with `unchanged`, also if it isn't as it was. */
export const demandSame = (op: string, now: FileSeen, seen: FileSeen, unchanged: boolean): void => {
  if (now.identity !== seen.identity) {
    throw failure(op, now.path, "Changed", `another file lies there by now (${now.identity}, not ${seen.identity})`)
  }
  if (unchanged && now.bytes !== seen.bytes) {
    throw failure(op, now.path, "Changed", `it holds ${now.bytes} bytes, and held ${seen.bytes}`)
  }
  if (unchanged && now.modifiedMs !== seen.modifiedMs) {
    throw failure(op, now.path, "Changed", "it was written to since it was looked at")
  }
}

/** Synchronous, and two calls: statSync costs 2 to 7 µs, its promise three to five times that. */
export const glance = (active: string, into: Glance): void => {
  into.bytes = -1
  into.directoryChangedMs = -1
  try {
    const directory = lstatSync(directoryOf(active), MAYBE_MISSING)
    if (directory?.isDirectory() !== true) return
    into.directoryChangedMs = directory.mtimeMs
    const file = lstatSync(active, MAYBE_MISSING)
    if (file?.isFile() === true) into.bytes = file.size
  } catch {
    // Not to be looked at counts as missing: a scan says why.
  }
}

/** More names than `maxFiles` can ever leave, each with a twin; a directory that holds more has another trouble. */
const MAX_ENTRIES = 250_000
/** Names the kernel hands over at a time. */
const NAMES_PER_READ = 256
/** After this many names others get their turn: a directory may hold millions that are none of ours. */
const NAMES_PER_TURN = 4_096

/** The entries of a log: the active file's name, and those that begin with it and a dot. Others aren't even looked at. */
export const readEntries = (directory: OpenDirectory, active: string): Effect.Effect<Array<Entry>, LogFilesError> =>
  Effect.acquireUseRelease(
    Effect.try({
      try: () => opendirSync(directory.at("."), { bufferSize: NAMES_PER_READ }),
      catch: failureOf("list", active),
    }),
    (stream) =>
      Effect.gen(function* () {
        const entries: Array<Entry> = []
        for (;;) {
          const more = yield* Effect.try({
            try: () => readTurn(directory, stream, active, entries),
            catch: failureOf("list", active),
          })
          if (!more) return entries
          yield* Effect.yieldNow
        }
      }),
    (stream) => Effect.sync(() => stream.closeSync()),
  )

const readTurn = (directory: OpenDirectory, stream: Dir, active: string, into: Array<Entry>): boolean => {
  const own = nameOf(active)
  const prefix = `${own}.`
  for (let count = 0; count < NAMES_PER_TURN; count++) {
    const name = stream.readSync()?.name
    if (name === undefined) return false
    if (name !== own && !name.startsWith(prefix)) continue
    // Gone since its name was read, or a name that is no valid text and so can't be asked for: nothing of ours.
    const stats = lookUp(directory, name)
    if (stats === undefined) continue
    if (into.length === MAX_ENTRIES) {
      throw failure("list", active, "Other", `more than ${MAX_ENTRIES} names begin with ${prefix}`)
    }
    into.push({ ...seenOf(besideOf(active, name), stats), name, kind: kindOf(stats) })
  }
  return true
}
