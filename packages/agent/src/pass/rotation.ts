/**
 * The steps that give a writer a fresh file. Uninterruptible from the first rename on, so that a stop never comes between it and the reopening;
 * whatever fails, the writer's bytes stay under one of two names. Each returns false if it did not come about.
 */
import { type LogFilesError, messageOf, type Reopen, type Rotate } from "@cordwood/core"
import { Cause, Effect } from "effect"
import type { Explained, PassRecord } from "./pass-record.ts"

/** Sources have deadlines of their own; this one is for a source that breaks that rule. */
const REOPEN_LIMIT_MS = 60_000

export const rotate = (record: PassRecord, { file, tells, to }: Rotate): Effect.Effect<boolean, LogFilesError> =>
  Effect.gen(function* () {
    const { files } = record.ports
    const moved = yield* Effect.result(files.setAside(file, to))
    // An error that took effect all the same leaves no active file: then the writer must be told, whatever the error was.
    if (moved._tag === "Failure" && (record.bytesOf(file.path) >= 0 || record.bytesOf(to) < 0)) {
      return yield* moved.failure
    }
    const reopened = yield* Effect.result(tells ? tellWriter(record) : Effect.succeed("not-told" as const))
    if (reopened._tag === "Success") return yield* rotated(record, file.path, to, reopened.success === "told")
    const back = yield* Effect.result(files.putBack(to, file.path))
    // A file is there: only the reply was lost, or late, and the writer has reopened. (The kubelet renames over that file.)
    if (back._tag === "Failure" && back.failure.reason === "Exists") return yield* rotated(record, file.path, to, true)
    if (back._tag === "Failure") yield* record.failed("rotate", to, back.failure)
    yield* record.failed("rotate", file.path, reopened.failure)
    return false
  }).pipe(Effect.uninterruptible)

/** The active file is missing. If a rotation was cut off before its writer was told, this completes it. */
export const reopen = (record: PassRecord, { interrupted, path }: Reopen): Effect.Effect<boolean> =>
  Effect.gen(function* () {
    // A runtime that was restarted makes the file itself. Reopening one that is there tears the lines of a busy containerd.
    const back = record.bytesOf(path) >= 0
    const told = yield* Effect.result(back ? Effect.succeed("told" as const) : tellWriter(record))
    if (record.bytesOf(path) < 0) {
      if (told._tag === "Success" && told.success === "not-told") return true
      yield* record.failed("reopen", path, told._tag === "Failure" ? told.failure : noFile(record, path))
      return false
    }
    const { lastSegment } = record.ports.recorder.state(record.log.path)
    if (interrupted === null || (lastSegment !== null && interrupted.path <= lastSegment)) return true
    return yield* rotated(record, path, interrupted.path, true)
  }).pipe(Effect.uninterruptible)

const noFile = ({ watched }: PassRecord, path: string): Explained => ({
  reason: "NotFound",
  message: `${watched.source.name} says it has reopened ${path}, but there is no such file`,
  hint: "check that the agent sees the log directory at the same path as the writer does",
})

const rotated = (record: PassRecord, from: string, to: string, reopened: boolean): Effect.Effect<boolean> => {
  record.tally.rotated += 1
  const bytes = Math.max(0, record.bytesOf(to))
  const { maxSize } = record.watched.applied.limits
  return Effect.as(record.done({ type: "Rotated", data: { from, to, bytes, reopened, maxSize } }), true)
}

/** Interruptible even within a rotation, which deals with whatever comes of it. */
const tellWriter = ({ watched: { log, source } }: PassRecord): Effect.Effect<"told" | "not-told", Explained> => {
  const refusal = (reason: string, detail: string): Explained => ({
    reason,
    message: `${source.name} reopen ${log.path}: ${detail}`,
    hint: "see whether the writer, or its container runtime, is alive; it is told again on the next pass",
  })
  return Effect.interruptible(source.reopen(log)).pipe(
    Effect.timeoutOrElse({
      duration: REOPEN_LIMIT_MS,
      orElse: () => Effect.fail(refusal("DeadlineExceeded", `no answer within ${REOPEN_LIMIT_MS / 1000} s`)),
    }),
    Effect.catchCause((cause) => {
      if (Cause.hasInterruptsOnly(cause)) return Effect.fail(refusal("Interrupted", "the agent was stopped meanwhile"))
      const error = Cause.squash(cause)
      return Effect.fail(isExplained(error) ? error : refusal("Defect", messageOf(error)))
    }),
  )
}

/** A `SourceError`, also one of another copy of core. */
const isExplained = (error: unknown): error is Explained =>
  typeof error === "object" && error !== null && "reason" in error && "message" in error && "hint" in error
