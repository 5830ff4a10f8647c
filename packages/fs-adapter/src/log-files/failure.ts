/** Turns what node:fs throws into the port's one error. The only place that knows errno's names; it decides nothing else. */
import { getSystemErrorMap } from "node:util"
import { type FileReason, LogFilesError } from "@cordwood/core"
import { Effect } from "effect"

const REASONS: Readonly<Record<string, FileReason>> = {
  ENOENT: "NotFound",
  ENOTDIR: "NotFound",
  EEXIST: "Exists",
  EACCES: "Denied",
  EPERM: "Denied",
  ENOSPC: "NoSpace",
  EDQUOT: "NoSpace",
  EROFS: "ReadOnly",
  EIO: "Io",
  // The file system's own structure is damaged; libuv has no name for it.
  EUCLEAN: "Io",
  ESTALE: "Io",
  EXDEV: "CrossDevice",
  EBUSY: "Busy",
  ETXTBSY: "Busy",
  // Somebody else has a lease on the file; asked for it, they have a while to give it back.
  EAGAIN: "Busy",
  EMFILE: "TooManyOpenFiles",
  ENFILE: "TooManyOpenFiles",
  // Opening with O_NOFOLLOW what is a link, or opening a directory, a socket, a pipe without a reader, a device that is gone.
  ELOOP: "NotRegular",
  EISDIR: "NotRegular",
  ENXIO: "NotRegular",
  ENODEV: "NotRegular",
}
/** Linux's number of EUCLEAN. */
const EUCLEAN = 117
/** Text that comes from elsewhere ends after this many characters. */
const MAX_TEXT_LENGTH = 500

export const failure = (op: string, path: string, reason: FileReason, detail: string): LogFilesError =>
  new LogFilesError({ op, path, reason, detail })

/** The errno's name in what node:fs threw; empty if there is none. */
export const codeOf = (cause: unknown): string => {
  const { code, errno } = (typeof cause === "object" && cause !== null ? cause : {}) as NodeJS.ErrnoException
  return errno === -EUCLEAN ? "EUCLEAN" : typeof code === "string" ? code : ""
}

/** What was thrown, as text of a bounded length, whatever it is. */
export const textOf = (cause: unknown): string => {
  try {
    const text = cause instanceof Error ? cause.message || cause.name : String(cause)
    return text.length > MAX_TEXT_LENGTH ? `${text.slice(0, MAX_TEXT_LENGTH)}…` : text
  } catch {
    return "something that can't be shown was thrown"
  }
}

/**
 * The port's error for what was thrown while `op` was done to `path`. `state` says how things stand now, where that is not
 * what a reader of a failure would think. Node's own message isn't used: it names the path inside /proc.
 */
export const failureOf =
  (op: string, path: string, state = "") =>
  (cause: unknown): LogFilesError => {
    const after = state === "" ? "" : `; ${state}`
    if (cause instanceof LogFilesError) {
      return after === "" ? cause : failure(op, path, cause.reason, cause.detail + after)
    }
    const code = codeOf(cause)
    const { errno, syscall } = (code === "" ? {} : cause) as NodeJS.ErrnoException
    if (errno === undefined) return failure(op, path, "Other", textOf(cause) + after)
    const meaning = getSystemErrorMap().get(errno)?.[1] ?? (code === "EUCLEAN" ? "structure needs cleaning" : "unknown")
    const during = syscall === undefined ? "" : ` (${syscall})`
    return failure(op, path, REASONS[code] ?? "Other", `${code}: ${meaning}${during}${after}`)
  }

/** One act on the disk. Never interrupted half way: nobody may close a descriptor or a directory while it is in use. */
export const attempt = <A>(op: string, path: string, run: () => Promise<A>): Effect.Effect<A, LogFilesError> =>
  Effect.uninterruptible(Effect.tryPromise({ try: run, catch: failureOf(op, path) }))
