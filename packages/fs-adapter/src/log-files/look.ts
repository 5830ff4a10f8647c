/** Looks at files without changing anything: which there are, which of them is which. Follows no link. */
import { type BigIntStats, type Dir, fstatSync, lstatSync, opendirSync, type StatSyncOptions } from "node:fs"
import {
  besideOf,
  directoryOf,
  type Entry,
  type FileSeen,
  type Glance,
  type LogFilesError,
  nameOf,
} from "@cordwood/core"
import { Effect, Semaphore } from "effect"
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
  return demandRegular(op, path, lookUp(directory, name))
}

export const demandRegular = (op: string, path: string, stats: BigIntStats | undefined): FileSeen => {
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

/**
 * A directory of more names than this is read once for all the logs in it, as far as it stays as it is: else n logs in one directory
 * cost n² names. Below, a reading costs no more than remembering it, and the kubelet's own directories stay below.
 */
const BIG_NAMES = 64
/** Logs are gone through directory by directory, so few are needed at a time. */
const MAX_DIRECTORIES = 8
/** Names remembered in all: 13,000 logs of five files each. About 6 MB as names go, 18 MB if each has the 255 bytes it may have. */
const MAX_NAMES = 65_536
/** Ten of the longest ticks (10 ms, at 100 Hz) by which a kernel stamps files: a tick may be late where processors are overcommitted. */
const QUIET_MS = 100
/** The coarsest stamps that there are, FAT's; ext4 with small inodes has whole seconds. Such stamps have no fraction of a second. */
const WHOLE_SECONDS_MS = 2_000
/** A file system that stamps its directories wrongly, or not at all, is believed for no longer than this. */
const MAX_AGE_MS = 1_000
const NANOSECONDS_PER_SECOND = 1_000_000_000n

/** A directory that was found to hold many names. Times are by a clock that nobody sets. */
interface BigDirectory {
  /** Whoever waits for another's reading need not read: one at a time. */
  readonly lane: Semaphore.Semaphore
  /** Which directory it is and when its names last changed, as of the last look; empty before the first. */
  state: string
  /** The state is known to have been this since then. */
  sinceMs: number
  /** The state must have been known for this long before a reading of it can be remembered. */
  quietMs: number
  /** Sorted; null if there is no reading to be remembered. */
  names: ReadonlyArray<string> | null
  /** When their reading began. */
  readMs: number
}

/** Takes all the names that a reading found, one that began after the look it comes from. */
type Keep = (names: Array<string>) => void
interface Known {
  readonly names: ReadonlyArray<string> | null
  /** Null: a reading that begins now is not to be remembered. */
  readonly keep: Keep | null
}

/**
 * The names in the last few big directories. Why they can be believed:
 * - Whatever adds, removes or renames a name stamps the directory with the file system's time (mtime and ctime; ctime can't be set by
 *   anybody). So if the open directory is the same (device, inode) and bears the same stamps, a name can only have changed
 *   unseen within the very tick of the stamp: after the reading, and yet stamped alike.
 * - That is ruled out by time that passed: the stamp was seen, more than any tick went by, and only then the reading began. A change
 *   made before that is in the reading, and one made since bears a later stamp. Nothing is compared with the time of day: it needn't
 *   be the file server's, and may be set. A clock that is set back to the very nanosecond of the stamp (or second, where stamps
 *   are so coarse), or a file system that doesn't stamp, can deceive for a second, MAX_AGE_MS.
 * - The directory that is read is the very one that was looked at, where directory.ts can anchor it. Elsewhere another that is put in its
 *   place for just that time deceives for that second, as it would any act there.
 * - Only names are remembered. What lies under them is looked at every time, and a name that is gone is left out.
 * Were a list out of date nonetheless, no file would be lost: a step takes a name that nobody has (O_EXCL) or fails, and acts
 * only on the very file that was seen.
 */
export class BigDirectories {
  readonly #byPath = new Map<string, BigDirectory>()
  readonly #nowMs: () => number

  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs
  }

  /** How much is remembered. */
  get held(): { readonly directories: number; readonly names: number } {
    let names = 0
    for (const big of this.#byPath.values()) names += big.names?.length ?? 0
    return { directories: this.#byPath.size, names }
  }

  find(path: string): BigDirectory | undefined {
    const big = this.#byPath.get(path)
    if (big !== undefined) this.#touch(path, big)
    return big
  }

  add(path: string): void {
    if (this.#byPath.has(path)) return
    this.#touch(path, { lane: Semaphore.makeUnsafe(1), state: "", sinceMs: 0, quietMs: 0, names: null, readMs: 0 })
    for (const [oldest] of this.#byPath) {
      if (this.#byPath.size <= MAX_DIRECTORIES) break
      this.#byPath.delete(oldest)
    }
  }

  /** Looks at the open directory, and gives the names that are in it as of this moment, or who is to keep them once they are read. */
  look(big: BigDirectory, descriptor: number): Known {
    const stats = fstatSync(descriptor, { bigint: true })
    const { ctimeNs, mtimeNs } = stats
    const nowMs = this.#nowMs()
    const state = `${identityOf(stats)} ${mtimeNs} ${ctimeNs}`
    if (state !== big.state) {
      const hasFractions = mtimeNs % NANOSECONDS_PER_SECOND !== 0n && ctimeNs % NANOSECONDS_PER_SECOND !== 0n
      big.state = state
      big.sinceMs = nowMs
      big.quietMs = hasFractions ? QUIET_MS : WHOLE_SECONDS_MS + QUIET_MS
      big.names = null
    }
    if (nowMs - big.readMs > MAX_AGE_MS) big.names = null
    const isQuiet = nowMs - big.sinceMs >= big.quietMs
    return { names: big.names, keep: isQuiet ? (names) => this.#keep(big, state, nowMs, names) : null }
  }

  #keep(big: BigDirectory, state: string, readMs: number, names: Array<string>): void {
    // Somebody saw meanwhile that it had changed.
    if (big.state !== state) return
    big.names = names.sort()
    big.readMs = readMs
    for (const old of this.#byPath.values()) {
      if (readMs - old.readMs > MAX_AGE_MS) old.names = null
    }
    for (const old of this.#byPath.values()) {
      if (this.held.names <= MAX_NAMES) break
      old.names = null
    }
  }

  /** The one that was used last is the last to go. */
  #touch(path: string, big: BigDirectory): void {
    this.#byPath.delete(path)
    this.#byPath.set(path, big)
  }
}
/** One memory for the whole process: there is but one disk. */
const bigDirectories = new BigDirectories()

/** The entries of a log: the active file's name, and those that begin with it and a dot. Others aren't even looked at. */
export const readEntries = (
  directory: OpenDirectory,
  active: string,
  memory: BigDirectories = bigDirectories,
): Effect.Effect<Array<Entry>, LogFilesError> =>
  Effect.suspend(() => {
    const { descriptor, path } = directory
    const big = memory.find(path)
    if (big === undefined) return readThrough(directory, active, memory, null)
    const look = Effect.try({ try: () => memory.look(big, descriptor), catch: failureOf("list", active) })
    return Effect.flatMap(look, ({ names }) =>
      names === null
        ? big.lane.withPermit(
            Effect.flatMap(look, ({ keep, names }) =>
              names === null ? readThrough(directory, active, memory, keep) : entriesAmong(directory, active, names),
            ),
          )
        : entriesAmong(directory, active, names),
    )
  })

/** Where in the sorted names the first lies that is not less than this one. */
const placeOf = (name: string, names: ReadonlyArray<string>): number => {
  let from = 0
  let to = names.length
  while (from < to) {
    const middle = (from + to) >>> 1
    if ((names[middle] ?? name) < name) from = middle + 1
    else to = middle
  }
  return from
}

const entriesAmong = (
  directory: OpenDirectory,
  active: string,
  names: ReadonlyArray<string>,
): Effect.Effect<Array<Entry>, LogFilesError> =>
  Effect.gen(function* () {
    const own = nameOf(active)
    const prefix = `${own}.`
    const entries: Array<Entry> = []
    const addTurn = (from: number): number => {
      let at = from
      for (let name = names[at]; at - from < NAMES_PER_TURN && name?.startsWith(prefix); name = names[at]) {
        addEntry(directory, active, name, entries)
        at++
      }
      return at
    }
    // Not one range: "0.log" < "0.log-old" < "0.log.20260909-043310".
    let from = placeOf(prefix, names)
    const begin = (): void => {
      if (names[placeOf(own, names)] === own) addEntry(directory, active, own, entries)
    }
    yield* Effect.try({ try: begin, catch: failureOf("list", active) })
    for (;;) {
      const to = yield* Effect.try({ try: () => addTurn(from), catch: failureOf("list", active) })
      if (to - from < NAMES_PER_TURN) return entries
      from = to
      yield* Effect.yieldNow
    }
  })

/** Reads the directory from the first name to the last. `keep` is given the names, unless they are too few or too many. */
const readThrough = (
  directory: OpenDirectory,
  active: string,
  memory: BigDirectories,
  keep: Keep | null,
): Effect.Effect<Array<Entry>, LogFilesError> =>
  Effect.acquireUseRelease(
    Effect.try({
      try: () => opendirSync(directory.at("."), { bufferSize: NAMES_PER_READ }),
      catch: failureOf("list", active),
    }),
    (stream) =>
      Effect.gen(function* () {
        const entries: Array<Entry> = []
        const names: Array<string> = []
        const most = keep === null ? BIG_NAMES : MAX_NAMES
        for (;;) {
          const more = yield* Effect.try({
            try: () => readTurn(directory, stream, active, entries, names, most),
            catch: failureOf("list", active),
          })
          if (names.length > BIG_NAMES) memory.add(directory.path)
          if (more) yield* Effect.yieldNow
          else break
        }
        if (names.length > BIG_NAMES && names.length <= most) keep?.(names)
        return entries
      }),
    (stream) => Effect.sync(() => stream.closeSync()),
  )

/** Adds to `names` what was read, up to one more than `most`. */
const readTurn = (
  directory: OpenDirectory,
  stream: Dir,
  active: string,
  into: Array<Entry>,
  names: Array<string>,
  most: number,
): boolean => {
  const own = nameOf(active)
  const prefix = `${own}.`
  for (let count = 0; count < NAMES_PER_TURN; count++) {
    const name = stream.readSync()?.name
    if (name === undefined) return false
    if (names.length <= most) names.push(name)
    if (name === own || name.startsWith(prefix)) addEntry(directory, active, name, into)
  }
  return true
}

const addEntry = (directory: OpenDirectory, active: string, name: string, into: Array<Entry>): void => {
  const stats = lookUp(directory, name)
  // Gone since its name was read, or a name that is no valid text and so can't be asked for: nothing of ours.
  if (stats === undefined) return
  if (into.length === MAX_ENTRIES) {
    throw failure("list", active, "Other", `more than ${MAX_ENTRIES} names begin with ${nameOf(active)}.`)
  }
  into.push({ ...seenOf(besideOf(active, name), stats), name, kind: kindOf(stats) })
}
