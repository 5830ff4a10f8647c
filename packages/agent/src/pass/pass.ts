/**
 * One pass over one log: scan, plan, then the steps. Rotation steps come first and are quick; upkeep follows in a lane of its own, so that no
 * writer waits for a compression. Each step looks again before it acts, as a plan is older than the disk. Never fails: what goes wrong is an
 * event and a line in the report, and the next step is done nevertheless.
 */
import {
  type Activity,
  besideOf,
  type Clean,
  type Codec,
  type Compress,
  type Composed,
  type CoreFact,
  failureKey,
  formatStamp,
  type Glance,
  isRotation,
  type Limits,
  type Log,
  LogFilesError,
  type LogFilesShape,
  nameOf,
  pathOf,
  plan,
  type Remove,
  type Reopen,
  type Rotate,
  type Snapshot,
  snapshotOf,
  type Source,
  SourceError,
  stampIn,
  type Step,
  stepName,
  TEMPORARY_SUFFIX,
} from "@cordwood/core"
import { Cause, Clock, Effect, type Tracer } from "effect"
import { monotonicMs } from "../clock.ts"
import type { Problem } from "./report.ts"
import type { Recorder } from "../record/recorder.ts"

/** Sources have deadlines of their own; this one is for a source that breaks that rule. */
const REOPEN_LIMIT_MS = 60_000
/** Compressing or verifying one segment: a gigabyte takes under a minute. */
const CODEC_LIMIT_MS = 15 * 60_000

export interface PassPorts {
  readonly files: LogFilesShape
  readonly recorder: Recorder
  readonly plugins: Composed
  readonly limits: Limits
  readonly newId: () => string
  /** True once the agent is to end: no further step is begun. */
  readonly stopping: () => boolean
}

/** What a pass came to, added up while it goes on. */
export interface Tally {
  rotated: number
  compressed: number
  removed: number
  cleaned: number
  deferred: number
  readonly problems: Array<Problem>
}
export const newTally = (): Tally => ({ rotated: 0, compressed: 0, removed: 0, cleaned: 0, deferred: 0, problems: [] })

/** A log under watch, with what is remembered of it from pass to pass. */
export interface Watched {
  readonly log: Log
  readonly source: Source
  /** By path: a guard that deferred isn't asked again before then. Monotonic milliseconds. */
  readonly notBefore: Map<string, number>
}
export const watch = (log: Log, source: Source): Watched => ({ log, source, notBefore: new Map() })

/** What the rotation half of a pass leaves to do. */
export interface Upkeep {
  readonly steps: ReadonlyArray<Step>
  readonly run: Effect.Effect<void>
  /** Nothing was to be done, and the scan is old enough news that nothing is about to be: until the directory changes, scans can be saved. */
  readonly settled: boolean
}

/** A directory that changed less than this before its scan may change again within the same tick of the file system's clock. */
const SETTLED_MS = 5_000

export const scan = (ports: Pick<PassPorts, "files" | "plugins">, log: Log): Effect.Effect<Snapshot, LogFilesError> =>
  Effect.map(ports.files.list(log.path), (listing) => snapshotOf(log, listing, ports.plugins.codecs))

/** The steps that a pass would take now. */
export const planNow = (limits: Limits, snapshot: Snapshot): Effect.Effect<ReadonlyArray<Step>> =>
  Effect.map(Clock.currentTimeMillis, (nowMs) => plan(limits, snapshot, formatStamp(nowMs) ?? LAST_STAMP))
/** For a clock beyond the year 9999: names stay in order, and then there are none. */
const LAST_STAMP = "99991231-235959"

/** Scans, plans, and takes the rotation steps; the rest is in what it returns. */
export const pass = (ports: PassPorts, watched: Watched, tally: Tally): Effect.Effect<Upkeep> =>
  Effect.useSpan("cordwood.pass", { attributes: { "log.file.path": watched.log.path } }, (span) =>
    Effect.withParentSpan(passWithin(span, ports, watched, tally), span),
  )

/** Upkeep outlives the rotation half of its pass, and still belongs to the pass's span. */
const passWithin = (span: Tracer.Span, ports: PassPorts, watched: Watched, tally: Tally): Effect.Effect<Upkeep> =>
  Effect.gen(function* () {
    const current = new Pass(ports, watched, tally)
    const scanned = yield* Effect.result(scan(ports, watched.log))
    if (scanned._tag === "Failure") {
      yield* current.fail("scan", watched.log.path, scanned.failure)
      return NOTHING
    }
    const snapshot = scanned.success
    current.snapshot = snapshot
    if (snapshot.obstacle !== null) {
      yield* current.fail("scan", watched.log.path, notRegular(watched.log.path, snapshot.obstacle))
      return NOTHING
    }
    if (current.isNews(snapshot)) yield* current.announce
    const steps = yield* planNow(ports.limits, snapshot)
    let rotates = true
    for (const step of steps.filter(isRotation)) {
      if (ports.stopping()) return NOTHING
      rotates = yield* current.take(step)
      // A step that comes after another may rely on it: a file that still has two names must not get a third.
      if (!rotates) break
    }
    // What was planned beside a rotation that didn't come about would remove one segment too many.
    const upkeep = rotates ? steps : yield* planNow({ ...ports.limits, maxSize: Number.MAX_SAFE_INTEGER }, snapshot)
    const rest = upkeep.filter((step) => !isRotation(step))
    const glance: Glance = { bytes: -1, directoryChangedMs: -1 }
    ports.files.glance(watched.log.path, glance)
    return {
      steps: rest,
      run: Effect.forEach(rest, (step) => (ports.stopping() ? Effect.void : current.take(step)), {
        discard: true,
      }).pipe(Effect.withParentSpan(span)),
      settled: steps.length === 0 && snapshot.takenAtMs - glance.directoryChangedMs > SETTLED_MS,
    }
  })

const NOTHING: Upkeep = { steps: [], run: Effect.void, settled: false }

/** What every error that reaches an operator carries. */
interface Explained {
  readonly reason: string
  readonly message: string
  readonly hint: string
}

/** The error for a log whose path leads to something that may not be rotated. */
export const notRegular = (path: string, kind: NonNullable<Snapshot["obstacle"]>): LogFilesError => {
  const what = kind === "other" ? "device, a pipe or a socket" : kind
  return new LogFilesError({ op: "scan", path, reason: "NotRegular", detail: `it is a ${what}, not a regular file` })
}

class Pass {
  readonly #ports: PassPorts
  readonly #watched: Watched
  readonly #tally: Tally
  readonly #correlationId: string
  #causationId: string | null = null
  #announced = false
  snapshot: Snapshot | null = null

  constructor(ports: PassPorts, watched: Watched, tally: Tally) {
    this.#ports = ports
    this.#watched = watched
    this.#tally = tally
    this.#correlationId = ports.newId()
  }

  get #log(): Log {
    return this.#watched.log
  }

  /** Whether the scan differs from what the events so far add up to. */
  isNews(snapshot: Snapshot): boolean {
    const { failing, files } = this.#ports.recorder.state(this.#log.path)
    const found = filesIn(snapshot)
    if (files === null || files.size !== found.length || found.some(({ name }) => !files.has(name))) return true
    const over = failing.has(failureKey("scan", this.#log.path)) || failing.has(failureKey("reopen", this.#log.path))
    return over && snapshot.active !== null
  }

  /** Records what was scanned, once: before the first event of a pass that has any. */
  get announce(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const snapshot = this.snapshot
      if (this.#announced || snapshot === null) return Effect.void
      this.#announced = true
      const activeBytes = snapshot.active?.bytes ?? 0
      const totalBytes = snapshot.segments.reduce((sum, { bytes }) => sum + bytes, activeBytes)
      const data = { activeBytes, segments: snapshot.segments.length, totalBytes, files: filesIn(snapshot) }
      const missing = this.#missing(snapshot)
      return Effect.flatMap(this.#record({ type: "Scanned", data }), (id) => {
        this.#causationId = id
        return Effect.forEach(missing, (fact) => this.#record(fact), { discard: true })
      })
    })
  }

  /** Segments that events told of, and that are neither there nor on record as removed. A twin of the same stamp stands for them. */
  #missing(snapshot: Snapshot): ReadonlyArray<CoreFact> {
    const { files } = this.#ports.recorder.state(this.#log.path)
    const active = nameOf(this.#log.path)
    const stamps = new Set(snapshot.segments.map(({ stamp }) => stamp))
    return [...(files ?? [])].flatMap(([name, bytes]): ReadonlyArray<CoreFact> => {
      const stamp = stampIn(active, name)
      if (stamp === null || stamps.has(stamp) || name.endsWith(TEMPORARY_SUFFIX)) return []
      return [{ type: "Removed", data: { path: besideOf(this.#log.path, name), bytes, reason: "missing" } }]
    })
  }

  #record(fact: CoreFact): Effect.Effect<string> {
    return this.#ports.recorder.record(this.#log, fact, {
      correlationId: this.#correlationId,
      causationId: this.#causationId,
    })
  }

  #emit(fact: CoreFact): Effect.Effect<void> {
    return Effect.andThen(
      this.announce,
      Effect.suspend(() => Effect.asVoid(this.#record(fact))),
    )
  }

  /** Reports a failure; an event only if it is not the same as before. */
  fail(step: Activity, path: string, { hint, message, reason }: Explained): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#tally.problems.push({ path, step, reason, message, hint })
      const known = this.#ports.recorder.state(this.#log.path).failing.get(failureKey(step, path))
      if (known?.reason === reason) return Effect.void
      return this.#emit({ type: "Failed", data: { step, path, reason, message, hint } })
    })
  }

  #defer(step: Activity, path: string, by: string, why: string, retryAfterMs: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#tally.deferred += 1
      const known = this.#ports.recorder.state(this.#log.path).deferred.get(path)
      if (known?.step === step && known.by === by && known.why === why) return Effect.void
      return this.#emit({ type: "Deferred", data: { step, path, by, why, retryAfterMs } })
    })
  }

  /** Takes one step; false if it did not come about. */
  take(step: Step): Effect.Effect<boolean> {
    return this.#act(step).pipe(
      Effect.catch((error) => this.#explain(step, error)),
      Effect.catchCause((cause) => {
        if (Cause.hasInterruptsOnly(cause)) return Effect.interrupt
        const message = Cause.prettyErrors(cause)[0]?.message ?? "unknown"
        const hint = "this is a bug; the log's files are as they were before the step. Please report it"
        return Effect.as(this.fail(stepName(step), pathOf(step), { reason: "Defect", message, hint }), false)
      }),
      Effect.withSpan(`cordwood.${stepName(step)}`, { attributes: { "log.file.path": pathOf(step) } }),
    )
  }

  #explain(step: Step, error: LogFilesError): Effect.Effect<boolean> {
    const path = pathOf(step)
    // Somebody else has removed it, as the kubelet does with a dead container's logs: nothing is left to do.
    if (error.reason === "NotFound" && !isRotation(step)) return Effect.succeed(true)
    if (error.reason === "Changed" && !isRotation(step)) {
      return Effect.as(this.#defer(stepName(step), path, "cordwood", "it is still being written to", 0), false)
    }
    return Effect.as(this.fail(stepName(step), path, error), false)
  }

  #act(step: Step): Effect.Effect<boolean, LogFilesError> {
    switch (step._tag) {
      case "Rotate":
        return this.#rotate(step)
      case "Reopen":
        return this.#reopen(step)
      case "Refuse":
        return Effect.as(
          this.fail("rotate", step.path, { reason: "NoName", message: step.message, hint: step.hint }),
          false,
        )
      case "Clean":
        return this.#clean(step)
      case "Remove":
        return this.#remove(step)
      case "Compress":
        return this.#compress(step)
    }
  }

  /** Uninterruptible from the rename on, so that a stop never comes between it and the reopening. */
  #rotate({ file, to }: Rotate): Effect.Effect<boolean, LogFilesError> {
    const { files } = this.#ports
    return Effect.gen({ self: this }, function* () {
      const moved = yield* Effect.result(files.setAside(file, to))
      // An error that took effect all the same leaves no active file: then the writer must be told, whatever the error was.
      if (moved._tag === "Failure" && (this.#bytesOf(file.path) >= 0 || this.#bytesOf(to) < 0)) {
        return yield* moved.failure
      }
      const reopened = yield* Effect.result(this.#tellWriter)
      if (reopened._tag === "Success") return yield* this.#rotated(file.path, to, reopened.success === "told")
      const back = yield* Effect.result(files.putBack(to, file.path))
      // A file is there: only the reply was lost, or late, and the writer has reopened. (The kubelet renames over that file.)
      if (back._tag === "Failure" && back.failure.reason === "Exists") return yield* this.#rotated(file.path, to, true)
      if (back._tag === "Failure") yield* this.fail("rotate", to, back.failure)
      yield* this.fail("rotate", file.path, reopened.failure)
      return false
    }).pipe(Effect.uninterruptible)
  }

  #rotated(from: string, to: string, reopened: boolean): Effect.Effect<boolean> {
    this.#tally.rotated += 1
    const bytes = Math.max(0, this.#bytesOf(to))
    return Effect.as(this.#emit({ type: "Rotated", data: { from, to, bytes, reopened } }), true)
  }

  #bytesOf(path: string): number {
    const glance: Glance = { bytes: -1, directoryChangedMs: -1 }
    this.#ports.files.glance(path, glance)
    return glance.bytes
  }

  /** Interruptible even within a rotation, which deals with whatever comes of it. */
  get #tellWriter(): Effect.Effect<"told" | "not-told", Explained> {
    const { log, source } = this.#watched
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
        const error = Cause.squash(cause)
        if (error instanceof SourceError) return Effect.fail<Explained>(error)
        if (Cause.hasInterruptsOnly(cause))
          return Effect.fail(refusal("Interrupted", "the agent was stopped meanwhile"))
        return Effect.fail(isExplained(error) ? error : refusal("Defect", String(error)))
      }),
    )
  }

  /** The active file is missing. If a rotation was cut off before its writer was told, this completes it. */
  #reopen({ interrupted, path }: Reopen): Effect.Effect<boolean, LogFilesError> {
    return Effect.gen({ self: this }, function* () {
      // A runtime that was restarted makes the file itself. Reopening one that is there tears the lines of a busy containerd.
      const back = this.#bytesOf(path) >= 0
      const reopened = yield* Effect.result(back ? Effect.succeed("told" as const) : this.#tellWriter)
      const exists = this.#bytesOf(path) >= 0
      if (reopened._tag === "Failure" && !exists) {
        yield* this.fail("reopen", path, reopened.failure)
        return false
      }
      if (!exists && reopened._tag === "Success" && reopened.success === "told") {
        yield* this.fail("reopen", path, {
          reason: "NotFound",
          message: `${this.#watched.source.name} says it has reopened ${path}, but there is no such file`,
          hint: "check that the agent sees the log directory at the same path as the writer does",
        })
        return false
      }
      if (!exists) return true
      const { lastSegment } = this.#ports.recorder.state(this.#log.path)
      if (interrupted !== null && (lastSegment === null || interrupted.path > lastSegment)) {
        return yield* this.#rotated(path, interrupted.path, true)
      }
      return true
    }).pipe(Effect.uninterruptible)
  }

  #clean(step: Clean): Effect.Effect<boolean, LogFilesError> {
    return Effect.gen({ self: this }, function* () {
      const { files } = this.#ports
      const { file } = step
      if (step.reason === "temporary")
        return yield* this.#cleaned(file.path, yield* files.remove(file, { unchanged: false }), step.reason)
      if (step.twin === "active") {
        // One file under two names; the segment's goes, if both are still names of it.
        const { active } = yield* scan(this.#ports, this.#log)
        if (active?.identity !== file.identity) return true
        yield* files.remove(file, { unchanged: false })
        return yield* this.#cleaned(file.path, 0, step.reason)
      }
      const codec = this.#codec(step.twin.codec)
      if (codec === undefined) return true
      const twin = step.twin
      if (yield* this.#limited(files.matches(twin, file, codec), file.path)) {
        return yield* this.#cleaned(file.path, yield* files.remove(file, { unchanged: true }), step.reason)
      }
      return yield* this.#cleaned(twin.path, yield* files.remove(twin, { unchanged: true }), "invalid")
    })
  }

  #cleaned(path: string, bytes: number, reason: "temporary" | "superseded" | "invalid"): Effect.Effect<boolean> {
    this.#tally.cleaned += 1
    return Effect.as(this.#emit({ type: "Cleaned", data: { path, bytes, reason } }), true)
  }

  #codec(id: string | null): Codec | undefined {
    return this.#ports.plugins.codecs.find((codec) => codec.id === id)
  }

  #limited<A>(effect: Effect.Effect<A, LogFilesError>, path: string): Effect.Effect<A, LogFilesError> {
    return Effect.timeoutOrElse(effect, {
      duration: CODEC_LIMIT_MS,
      orElse: () =>
        Effect.fail(
          new LogFilesError({
            op: "compress",
            path,
            reason: "Codec",
            detail: `not done within ${CODEC_LIMIT_MS / 60_000} minutes`,
          }),
        ),
    })
  }

  #remove({ reason, segment }: Remove): Effect.Effect<boolean, LogFilesError> {
    return Effect.gen({ self: this }, function* () {
      const { files, plugins } = this.#ports
      const { notBefore } = this.#watched
      const path = segment.path
      if ((notBefore.get(path) ?? 0) > (yield* monotonicMs)) {
        this.#tally.deferred += 1
        return false
      }
      const ruling = yield* plugins.mayRemove({ log: this.#log, segment, correlationId: this.#correlationId })
      if (ruling._tag === "Defer") {
        notBefore.set(path, (yield* monotonicMs) + ruling.retryAfterMs)
        yield* this.#defer("remove", path, ruling.by, ruling.why, ruling.retryAfterMs)
        return false
      }
      notBefore.delete(path)
      const bytes = yield* files.remove(segment, { unchanged: plugins.guarded })
      this.#tally.removed += 1
      yield* this.#emit({ type: "Removed", data: { path, bytes, reason } })
      return true
    })
  }

  #compress({ codec: id, segment, to }: Compress): Effect.Effect<boolean, LogFilesError> {
    return Effect.gen({ self: this }, function* () {
      const codec = this.#codec(id)
      if (codec === undefined) return true
      const { files } = this.#ports
      const startedMs = yield* monotonicMs
      const { bytesIn, bytesOut, source } = yield* this.#limited(files.compress(segment, to, codec), segment.path)
      // Only what was read may go. If more has been written since, the next pass finds that the twin isn't one, and begins anew.
      yield* files.remove(source, { unchanged: true })
      const durationMs = (yield* monotonicMs) - startedMs
      this.#tally.compressed += 1
      yield* this.#emit({
        type: "Compressed",
        data: { from: segment.path, to, codec: id, bytesIn, bytesOut, durationMs },
      })
      return true
    })
  }
}

const isExplained = (error: unknown): error is Explained =>
  typeof error === "object" && error !== null && "reason" in error && "message" in error && "hint" in error

const filesIn = (snapshot: Snapshot): Array<{ name: string; bytes: number }> =>
  [...snapshot.segments, ...snapshot.temporaries]
    .map(({ bytes, path }) => ({ name: nameOf(path), bytes }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
