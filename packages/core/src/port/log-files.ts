/**
 * The file system as the steps need it, and nothing more. Ours rather than effect's `FileSystem`, which folds "no space",
 * "read-only" and "other device" into one; those are the ones to branch on. Every act that returns successfully is durable: it survives
 * a power cut. No act follows a symbolic link, and none writes outside the directory of the log it is about.
 */
import { Context, Data, type Effect } from "effect"
import type { Codec } from "../plugin/codec.ts"
import type { FileSeen, Listing } from "../log/snapshot.ts"

export type FileReason =
  | "NotFound"
  | "Exists"
  | "Denied"
  | "NoSpace"
  | "ReadOnly"
  | "Io"
  | "CrossDevice"
  | "Busy"
  | "TooManyOpenFiles"
  /** Another file than the one that was seen, or one that has grown since. */
  | "Changed"
  /** Not a regular file: a link, a directory, a device. */
  | "NotRegular"
  /** A file with more names than the one it was asked for by: its contents may be somebody else's. */
  | "Linked"
  /** A plain segment and a compressed one of the same name, of which neither is proven to be the other's leftover. */
  | "Disputed"
  /** What a codec wrote doesn't decode to what it was given. */
  | "Corrupt"
  /** A codec failed. */
  | "Codec"
  | "Other"

const HINTS: Readonly<Record<FileReason, string>> = {
  NotFound: "nothing to do if the container is gone; else check that the log directory is mounted into the agent",
  Exists: "another program makes files of the same name; run one log rotator only",
  Denied: "run the agent as root, or give its user write access to the log's directory",
  NoSpace: "free space on the log's file system, or lower policy.maxSize or policy.maxFiles",
  ReadOnly: "remount the log's file system read-write; after disk errors, check the disk first",
  Io: "check the disk: the kernel's log says more",
  CrossDevice: "the log's directory must be one file system",
  Busy: "another program holds the file; it is tried again on the next pass",
  TooManyOpenFiles: "raise the agent's limit of open files (LimitNOFILE, ulimit -n)",
  Changed: "the file is not the one that was looked at, or still grows; it is tried again on the next pass",
  NotRegular: "only regular files are rotated; point the source at the file itself",
  Linked:
    "find -samefile tells its other names; once they are gone it is taken up again, and until then it only counts as a file",
  Disputed: "compare the two, and move one of them away; once retention has no room for the segment, both go",
  Corrupt: "the original is untouched; if it happens again, check memory and disk, or choose another compression",
  Codec: "the original is untouched; see the message, or choose another compression",
  Other: "see the message; the file is tried again on the next pass",
}

/** The one error of the port. `hint` says what the operator can do. */
export class LogFilesError extends Data.TaggedError("LogFilesError")<{
  readonly op: string
  readonly path: string
  readonly reason: FileReason
  readonly detail: string
}> {
  override get message(): string {
    return `${this.op} ${this.path}: ${this.detail}`
  }
  get hint(): string {
    return HINTS[this.reason]
  }
}

/** A cheap look at a log. Mutable, and filled in place, so that looking at thousands of logs allocates nothing per log. */
export interface Glance {
  /** Bytes of the active file, or -1 if there is none. */
  bytes: number
  /** When a name in its directory last changed, milliseconds since 1970; -1 if there is no directory. */
  directoryChangedMs: number
}

/** What compressing a segment came to. `source` is the original as it was when its last byte was read. */
export interface Compression {
  readonly source: FileSeen
  readonly bytesIn: number
  readonly bytesOut: number
}

export interface LogFilesShape {
  /** Fills `into`; never fails: what can't be looked at counts as missing, and a scan says why. Synchronous: two `stat` calls. */
  readonly glance: (active: string, into: Glance) => void
  /** The entries beside `active` whose names are its name or begin with its name and a dot, itself included. */
  readonly list: (active: string) => Effect.Effect<Listing, LogFilesError>
  /**
   * Renames the active file to a segment's name. `Exists` if the name is taken, `Changed` if another file than `active` is there.
   * A crash in the midst leaves the file under its old name, and at worst an empty file under the new one. An error's detail says so
   * if the file has its new name nonetheless (renamed, but not durable): the next pass finds the active file missing, and goes on from there.
   */
  readonly setAside: (active: FileSeen, to: string) => Effect.Effect<void, LogFilesError>
  /**
   * Renames a segment back to the active file's name. `Exists` if a file is there by now: its writer has reopened after all.
   * A crash in the midst leaves the file under both names.
   */
  readonly putBack: (segment: string, active: string) => Effect.Effect<void, LogFilesError>
  /**
   * Removes a file and says how many bytes it held. `Changed` if another file lies there. With `unchanged`, also if it grew since it was
   * seen: for a file whose bytes are kept elsewhere, which is only true of those that were read. Succeeds once the name is gone, even
   * where that can't be made durable: the file may then come back after a power cut, but never is a removal left untold.
   */
  readonly remove: (file: FileSeen, options: { readonly unchanged: boolean }) => Effect.Effect<number, LogFilesError>
  /**
   * Compresses `segment` to `to`, through `<segment>.tmp`: written, synced, decoded again and compared in length and checksum, then
   * renamed without overwriting. Keeps mode, owner and time of modification. The original stays, and is durable before its twin has a name: what a
   * power cut leaves of it is never less. A failure leaves no temporary file where it can be removed. `Changed` if the segment grew meanwhile,
   * `Corrupt` if what was written doesn't decode to it. `Linked` if the segment has another name: compressing it would free nothing, and would
   * make a copy of what may be a file from elsewhere.
   */
  readonly compress: (segment: FileSeen, to: string, codec: Codec) => Effect.Effect<Compression, LogFilesError>
  /**
   * Whether `twin` decodes to just the bytes of `original`. False too if it doesn't decode at all; errors are those of reading. Before the
   * answer is `true` the twin is durable, whoever made it. `Changed` if either isn't what was seen, or the original changes meanwhile. A twin with
   * another name is none, and an original with one is `Linked`.
   */
  readonly matches: (twin: FileSeen, original: FileSeen, codec: Codec) => Effect.Effect<boolean, LogFilesError>
  /**
   * A file's bytes from its beginning, decoded if there is a codec, a bounded part at a time; the file is closed when the consumer returns. Throws a
   * `LogFilesError`: `Changed` if another file lies there than was seen, or it grows while it is read; `Linked` if it has another name; `Codec` if it doesn't decode.
   */
  readonly read: (file: FileSeen, codec: Codec | null) => AsyncIterable<Uint8Array>
  /** Bytes that this process may still write to the log's file system. */
  readonly free: (active: string) => Effect.Effect<number, LogFilesError>
}

export class LogFiles extends Context.Service<LogFiles, LogFilesShape>()("@cordwood/core/LogFiles") {}
