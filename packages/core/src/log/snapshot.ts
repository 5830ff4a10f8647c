/** What one scan of a log saw. Pure: a listing of the log's directory goes in, a snapshot comes out. */
import { besideOf, nameOf, type Log } from "./log.ts"
import { rotatedName, stampIn, type Stamp } from "./name.ts"

/** A file as it was when looked at. `identity`, `<device>:<inode>`, tells it from another file of the same name, and where it lies from elsewhere. */
export interface FileSeen {
  readonly path: string
  readonly bytes: number
  /** Milliseconds since 1970, by the file system's clock. */
  readonly modifiedMs: number
  readonly identity: string
}
/** One name in the log's directory. Only regular files are ever ours. */
export interface Entry extends FileSeen {
  readonly name: string
  readonly kind: "file" | "directory" | "symlink" | "other"
}
/** What `LogFiles.list` returns: the entries whose names begin with the active file's, and when they were read. */
export interface Listing {
  readonly entries: ReadonlyArray<Entry>
  readonly takenAtMs: number
}

/** A rotated file. `suffix` is empty and `codec` null for a plain one. */
export interface Segment extends FileSeen {
  readonly name: string
  readonly stamp: Stamp
  readonly suffix: string
  readonly codec: string | null
}
/** A codec as far as names go. */
export interface KnownCodec {
  readonly id: string
  readonly suffix: string
}

export interface Snapshot {
  readonly log: Log
  /** Null: there is no file at the log's path. */
  readonly active: FileSeen | null
  /** What lies at the log's path when it is no regular file; such a log is refused, never followed. */
  readonly obstacle: Exclude<Entry["kind"], "file"> | null
  /** Every segment, oldest first; a plain one comes before its compressed twin. */
  readonly segments: ReadonlyArray<Segment>
  /** Half-written files of an earlier pass, oldest first. */
  readonly temporaries: ReadonlyArray<FileSeen>
  /** The latest stamp in any name that begins like a segment's, ours or not: the next one must be later. */
  readonly newestStamp: Stamp | null
  readonly takenAtMs: number
}

const byText =
  <A>(textOf: (of: A) => string) =>
  (a: A, b: A): number =>
    textOf(a) < textOf(b) ? -1 : textOf(a) > textOf(b) ? 1 : 0

/** Sorts a listing into what belongs to the log; everything else is left out, and so left alone. */
export const snapshotOf = (log: Log, listing: Listing, codecs: ReadonlyArray<KnownCodec>): Snapshot => {
  const active = nameOf(log.path)
  const directory = besideOf(log.path, "")
  const suffixes = codecs.map((codec) => codec.suffix)
  const segments: Array<Segment> = []
  const temporaries: Array<FileSeen> = []
  let seen: FileSeen | null = null
  let obstacle: Snapshot["obstacle"] = null
  let newestStamp: Stamp | null = null
  for (const entry of listing.entries) {
    const { bytes, identity, kind, modifiedMs, name } = entry
    const file: FileSeen = { path: directory + name, bytes, modifiedMs, identity }
    if (name === active) {
      if (kind === "file") seen = file
      else obstacle = kind
      continue
    }
    const stamp = stampIn(active, name)
    if (stamp !== null && (newestStamp === null || stamp > newestStamp)) newestStamp = stamp
    const parsed = kind === "file" && stamp !== null ? rotatedName(active, name, stamp, suffixes) : null
    if (parsed === null) continue
    if (parsed.kind === "temporary") temporaries.push(file)
    else {
      const codec = codecs.find((known) => known.suffix === parsed.suffix)?.id ?? null
      const { stamp, suffix } = parsed
      segments.push({ path: file.path, bytes, modifiedMs, identity, name, stamp, suffix, codec })
    }
  }
  return {
    log,
    active: seen,
    obstacle,
    segments: segments.toSorted(byText(({ name }) => name)),
    temporaries: temporaries.toSorted(byText(({ path }) => path)),
    newestStamp,
    takenAtMs: listing.takenAtMs,
  }
}
