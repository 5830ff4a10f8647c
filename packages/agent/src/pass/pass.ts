/**
 * One pass over one log: scan, plan, then the steps. The steps that give a writer a fresh file come first and are quick (rotation.ts); the others
 * follow in their own time (upkeep.ts), while later passes may rotate. Each step looks again before it acts, as a plan is older than the disk.
 * Never fails: what goes wrong is an event and a line in the report, and the next step is done nevertheless.
 */
import {
  firstMessage,
  formatStamp,
  type Glance,
  isRotation,
  type Limits,
  linksTo,
  type Log,
  LogFilesError,
  nameOf,
  nextStamp,
  pathOf,
  plan,
  type Snapshot,
  snapshotOf,
  stampIn,
  type Step,
  stepName,
  TEMPORARY_SUFFIX,
} from "@cordwood/core"
import { Cause, Clock, Effect, Exit, type Tracer } from "effect"
import { monotonicMs } from "../clock.ts"
import { closedIn, drain, forgetGone, giveWay, isPutOff, offer, passed, pressureOn, remove } from "./guarded.ts"
import { type Explained, PassRecord } from "./pass-record.ts"
import { reopen, rotate } from "./rotation.ts"
import type { DrainReport } from "./report.ts"
import { passAttributes, stepAttributes } from "./span.ts"
import { clean, compress } from "./upkeep.ts"
import { limitsNow, type PassPorts, type Scan, type Tally, type Watched } from "./watched.ts"

/** What the rotation half of a pass leaves to do. */
export interface Upkeep {
  readonly steps: ReadonlyArray<Step>
  readonly run: Effect.Effect<void>
  /** There was nothing to do, and until a name changes in the directory, or the log is full, there won't be. */
  readonly settled: boolean
}
const NOTHING: Upkeep = { steps: [], run: Effect.void, settled: false }

/** A directory that changed less than this before its scan may change again within the same tick of the file system's clock. */
const SETTLED_MS = 5_000

/** Segments from which on going through all of them takes milliseconds: between one time and the next others get their turn. */
const MANY = 4_096
const othersFirst = ({ length }: { readonly length: number }): Effect.Effect<void> =>
  length < MANY ? Effect.void : Effect.yieldNow

export const scan = (ports: Pick<PassPorts, "files" | "plugins">, log: Log): Effect.Effect<Scan, LogFilesError> =>
  Effect.gen(function* () {
    const listing = yield* ports.files.list(log.path)
    const active = nameOf(log.path)
    yield* othersFirst(listing.entries)
    const stamps = new Set<string>()
    for (const { name } of listing.entries) {
      // A half-written file stands for no segment: it is removed, and its segment is there, or gone.
      const stamp = name.endsWith(TEMPORARY_SUFFIX) ? null : stampIn(active, name)
      if (stamp !== null) stamps.add(stamp)
    }
    yield* othersFirst(listing.entries)
    return { snapshot: snapshotOf(log, listing, ports.plugins.codecs), stamps }
  })

/** The steps that a pass would take now. */
export const planNow = (limits: Limits, snapshot: Snapshot): Effect.Effect<ReadonlyArray<Step>> =>
  Effect.map(Clock.currentTimeMillis, (nowMs) => plan(limits, snapshot, formatStamp(nowMs) ?? LAST_STAMP))
/** For a clock beyond the year 9999: names stay in order, and then there are none. */
const LAST_STAMP = "99991231-235959"

/** The error for a log whose path leads to something that may not be rotated. */
export const notRegular = (path: string, kind: NonNullable<Snapshot["obstacle"]>): LogFilesError => {
  const what = kind === "other" ? "device, a pipe or a socket" : kind
  return new LogFilesError({ op: "scan", path, reason: "NotRegular", detail: `it is a ${what}, not a regular file` })
}

/** Scans, plans, and takes the rotation steps; the rest is in what it returns. */
export const pass = (ports: PassPorts, watched: Watched, tally: Tally): Effect.Effect<Upkeep> =>
  Effect.suspend(() => passOver(new PassRecord(ports, watched, tally)))

const passOver = (record: PassRecord): Effect.Effect<Upkeep> =>
  Effect.gen(function* () {
    const { log, ports, watched } = record
    const looked = yield* Effect.result(watched.books.withPermit(look(record)))
    if (looked._tag === "Failure") {
      ports.holdings.forget(log.path)
      // A pod that is deleted takes its directory along, and its source lists it no more.
      if (watched.writer !== "running" && looked.failure.reason === "NotFound") return NOTHING
      yield* record.failed("scan", log.path, looked.failure)
      return NOTHING
    }
    const { snapshot, span, steps } = looked.success
    const within = <A>(effect: Effect.Effect<A>): Effect.Effect<A> =>
      span === null ? effect : Effect.withParentSpan(effect, span)
    // Upkeep outlives the rotation half of its pass, and still belongs to the pass's span.
    const rotation = yield* within(rotateFirst(record, steps)).pipe(Effect.onExit((exit) => ended(span, exit)))
    if (rotation === "stopping") return NOTHING
    // What was planned beside a rotation that didn't come about would remove one segment too many. Unless it is room that is lacking:
    // the kubelet, too, removes before it rotates.
    const limits = limitsNow(ports, watched)
    const kept =
      rotation === "failed" ? yield* planNow({ ...limits, maxSize: Number.MAX_SAFE_INTEGER }, snapshot) : steps
    const rest = kept.filter((step) => !isRotation(step))
    return {
      steps: rest,
      run: within(tend(record, rest)),
      settled: steps.length === 0 && isSettled(record, snapshot),
    }
  })

/** A pass's span ends once, also where the pass was interrupted. */
const ended = (span: Tracer.Span | null, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> =>
  span === null
    ? Effect.void
    : Effect.map(Clock.currentTimeNanos, (now) => span.end(now, Exit.isSuccess(exit) ? Exit.void : exit))

/** Asks the guards about every closed segment of a log, unless it is only observed; see `drain`. */
export const drainLog = (ports: PassPorts, watched: Watched, tally: Tally): Effect.Effect<Drained> =>
  Effect.suspend(() => {
    const record = new PassRecord(ports, watched, tally)
    const { mode, name: policy } = watched.applied
    return scan(ports, watched.log).pipe(
      Effect.flatMap((seen): Effect.Effect<Drained> => {
        if (mode === "enforce") return Effect.map(drain(record, seen), (drained) => ({ ...drained, unasked: [] }))
        const unasked = closedIn(seen.snapshot).map(({ path }) => ({ path, policy }))
        return Effect.succeed({ asked: 0, waiting: [], unasked })
      }),
      Effect.catch((error) =>
        Effect.as(record.failed("scan", watched.log.path, error), { asked: 0, waiting: [], unasked: [] }),
      ),
    )
  })
type Drained = Pick<DrainReport, "asked" | "waiting" | "unasked">

interface Looked {
  readonly snapshot: Snapshot
  readonly steps: ReadonlyArray<Step>
  /** The pass's span; null if the pass has nothing to do, nor to tell. */
  readonly span: Tracer.Span | null
}

/** Scans, plans and records what was seen, before anything else can change it. */
const look = (record: PassRecord): Effect.Effect<Looked, LogFilesError> =>
  Effect.gen(function* () {
    const { log, ports, watched } = record
    const { applied } = watched
    const seen = yield* scan(ports, log)
    const snapshot = afterLast(seen.snapshot, record.state.lastSegment)
    if (snapshot.obstacle !== null) return yield* notRegular(log.path, snapshot.obstacle)
    const { segments } = snapshot
    yield* othersFirst(segments)
    forgetGone(watched, seen)
    // It is back before the source was asked again.
    if (snapshot.active !== null) watched.dormant = false
    ports.holdings.put(watched, snapshot, limitsNow(ports, watched).writer, ({ name }) => isOurs(record, name))
    yield* othersFirst(segments)
    const planned = feasible(record, yield* planNow(limitsNow(ports, watched), snapshot))
    yield* othersFirst(segments)
    const observes = applied.mode === "observe"
    const excess = observes ? [] : planned.flatMap((step) => (step._tag === "Remove" ? [step.segment.stamp] : []))
    ports.waiting.retain(log.path, new Set(excess))
    const acts = observes ? record.wouldBeNews(planned) : yield* anyDue(record, planned)
    const attributes = passAttributes(log, applied, record.correlationId, planned)
    const span = acts || record.isNews(snapshot) ? yield* Effect.makeSpan("cordwood.pass", { attributes }) : null
    yield* othersFirst(segments)
    const told = Effect.gen(function* () {
      yield* record.scanned(seen, !observes && planned.some(isRotation))
      if (observes) yield* record.planned(planned)
    })
    yield* span === null
      ? told
      : Effect.onExit(Effect.withParentSpan(told, span), (exit) =>
          Exit.isSuccess(exit) ? Effect.void : ended(span, exit),
        )
    return { snapshot, steps: observes ? [] : planned, span }
  })

/**
 * The newest segment may be gone, for a budget say: the next one must be later all the same, as what is shipped bears its name. Unless there is no later
 * one: a name from the end of the calendar must not keep the log from being rotated once it is gone.
 */
const afterLast = (snapshot: Snapshot, lastSegment: string | null): Snapshot => {
  const { log, newestStamp } = snapshot
  const last = lastSegment === null ? null : stampIn(nameOf(log.path), nameOf(lastSegment))
  if (last === null || (newestStamp !== null && newestStamp >= last) || nextStamp(last, last) === null) return snapshot
  return { ...snapshot, newestStamp: last }
}

/**
 * Without the steps that are none for this log. With nobody to tell, waiting for the writer is nothing to do, nor to tell on every pass. Of a
 * dormant log there is but the names to say that it is one, and they may be another program's dated files: so nothing is removed or
 * compressed there but what an event says that a rotation made. Guards may see them all; the rest stays as it is until the file is back.
 */
const feasible = (record: PassRecord, steps: ReadonlyArray<Step>): ReadonlyArray<Step> => {
  const { dormant, source } = record.watched
  return steps.filter((step) => {
    if (step._tag === "Reopen") return !dormant && source.tells !== false
    return step._tag === "Offer" || isOurs(record, nameOf(pathOf(step)))
  })
}
const isOurs = (record: PassRecord, name: string): boolean =>
  !record.watched.dormant || record.historyOf(name).rotated !== null

/** Whether a step would be begun now: one that is put off is no reason for a span. */
const anyDue = (record: PassRecord, steps: ReadonlyArray<Step>): Effect.Effect<boolean> =>
  Effect.gen(function* () {
    const nowMs = yield* monotonicMs
    if (steps.some((step) => !isPutOff(record, step, nowMs))) return true
    if (!steps.some(({ _tag }) => _tag === "Remove")) return false
    return (yield* pressureOn(record.ports, record.log.path)) !== null
  })

/** The steps after the rotation. What a guard keeps is compressed meanwhile, unless it must give way; what is gone is not. */
const tend = (record: PassRecord, steps: ReadonlyArray<Step>): Effect.Effect<void> =>
  Effect.gen(function* () {
    const gone = new Set<string>()
    const takeAll = (some: ReadonlyArray<Step>): Effect.Effect<void> =>
      Effect.gen(function* () {
        for (const step of some) {
          if (record.ports.stopping()) return
          const isSkipped = gone.has(pathOf(step))
          const done = !isSkipped && (yield* take(record, step))
          if (!done && step._tag === "Remove" && step.reason === "budget") yield* passed(record, step)
          if (isSkipped) continue
          if (done && (step._tag === "Remove" || step._tag === "Compress")) gone.add(pathOf(step))
          // Beside an original that couldn't be cleaned away its twin is not the segment, and removing it is not the segment's end. Unless it never
          // will be: then retention takes the one now, and the other on the next pass.
          if (!done && step._tag === "Clean" && step.reason === "superseded" && step.twin !== "active") {
            if (!record.watched.disputed.has(step.file.stamp)) gone.add(step.twin.path)
          }
        }
      })
    const asked = steps.findLastIndex(({ _tag }) => _tag === "Remove") + 1
    yield* takeAll(steps.slice(0, asked))
    for (const step of steps) {
      if (step._tag !== "Remove" || gone.has(pathOf(step))) continue
      if (record.ports.stopping() || (yield* pressureOn(record.ports, record.log.path)) === null) break
      if (yield* begin(record, step, giveWay(record, step))) gone.add(pathOf(step))
    }
    yield* takeAll(steps.slice(asked))
  })

const rotateFirst = (
  record: PassRecord,
  steps: ReadonlyArray<Step>,
): Effect.Effect<"done" | "failed" | "no-space" | "stopping"> =>
  Effect.gen(function* () {
    for (const step of steps.filter(isRotation)) {
      if (record.ports.stopping()) return "stopping"
      // A step that comes after another relies on it: a file that still has two names must not get a third.
      if (!(yield* take(record, step))) return lacksSpace(record.lastFailure) ? "no-space" : "failed"
    }
    return "done"
  })

/** For want of space, of blocks or of inodes, for us or for the runtime, which says so in words only. */
const lacksSpace = (failure: Explained | null): boolean =>
  failure !== null && (failure.reason === "NoSpace" || /no space left|ENOSPC|quota exceeded/i.test(failure.message))

const isSettled = ({ log, ports, watched }: PassRecord, { active, segments, takenAtMs }: Snapshot): boolean => {
  const glance: Glance = { bytes: -1, directoryChangedMs: -1 }
  ports.files.glance(log.path, glance)
  const { applied, writer } = watched
  // A plain segment besides the newest, or any where nobody writes, was too fresh to be compressed, and won't be for long. So was what is to go.
  const packed = writer === "running" ? segments.slice(0, -1) : segments
  const fresh =
    (applied.limits.codec !== null && packed.some(({ suffix }) => suffix === "")) ||
    (writer === "surplus" && (active !== null || segments.length > 0))
  const unasked = ports.plugins.early && segments.some(({ stamp }) => !watched.cleared.has(stamp))
  return !fresh && !unasked && takenAtMs - glance.directoryChangedMs > SETTLED_MS
}

/** Takes one step; false if it did not come about. */
const take = (record: PassRecord, step: Step): Effect.Effect<boolean> =>
  Effect.gen(function* () {
    if (!isPutOff(record, step, yield* monotonicMs)) return yield* begin(record, step, act(record, step))
    if (step._tag === "Remove") record.ports.waiting.add(record.log.path, step.segment)
    if (step._tag !== "Compress" && step._tag !== "Clean") record.tally.deferred += 1
    return false
  })

const begin = (record: PassRecord, step: Step, does: Effect.Effect<boolean, LogFilesError>): Effect.Effect<boolean> => {
  const { applied } = record.watched
  return does.pipe(
    Effect.catch((error) => explain(record, step, error)),
    Effect.catchCause((cause) => {
      if (Cause.hasInterruptsOnly(cause)) return Effect.interrupt
      const message = firstMessage(cause, "unknown")
      const hint = "this is a bug; the log's files are as they were before the step. Please report it"
      return Effect.as(record.failed(stepName(step), pathOf(step), { reason: "Defect", message, hint }), false)
    }),
    Effect.withSpan(
      `cordwood.${stepName(step)}`,
      {
        attributes: stepAttributes(record.log, applied, step),
        links: linksTo(record.historyOf(nameOf(pathOf(step))).rotated),
      },
      { captureStackTrace: false },
    ),
  )
}

const act = (record: PassRecord, step: Step): Effect.Effect<boolean, LogFilesError> => {
  switch (step._tag) {
    case "Rotate":
      return rotate(record, step)
    case "Reopen":
      return reopen(record, step)
    case "Refuse": {
      const refused: Explained = { reason: "NoName", message: step.message, hint: step.hint }
      return Effect.as(record.failed("rotate", step.path, refused), false)
    }
    case "Clean":
      return clean(record, step)
    case "Remove":
      return remove(record, step)
    case "Compress":
      return compress(record, step)
    case "Offer":
      return offer(record, step)
  }
}

const explain = (record: PassRecord, step: Step, error: LogFilesError): Effect.Effect<boolean> => {
  const path = pathOf(step)
  if (isRotation(step)) return Effect.as(record.failed(stepName(step), path, error), false)
  // Somebody else has removed it, as the kubelet does with a dead container's logs: nothing is left to do.
  if (error.reason === "NotFound") return Effect.succeed(true)
  if (error.reason === "Changed") {
    return Effect.as(record.deferred(stepName(step), path, "cordwood", "it is still being written to", 0), false)
  }
  return Effect.as(record.failed(stepName(step), path, error), false)
}
