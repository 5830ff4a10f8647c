/**
 * The steps that guards have a say in: removing, and offering what is closed. A segment goes, and the event is stored, in one stretch that nothing
 * interrupts. What a guard keeps goes nevertheless where the user's policy says so; nothing else here overrules a guard.
 */
import {
  formatBytes,
  givesWay,
  type LogFilesError,
  nameOf,
  type Offer,
  pathOf,
  type Question,
  type Remove,
  type Ruling,
  type Segment,
  SETTLE_MS,
  type Snapshot,
  stampIn,
  type Step,
} from "@cordwood/core"
import { Clock, Effect } from "effect"
import { monotonicMs } from "../clock.ts"
import type { PassRecord } from "./pass-record.ts"
import type { DrainReport } from "./report.ts"
import { codecOf, type PassPorts, type Scan, type Watched } from "./watched.ts"
import { goes } from "./upkeep.ts"

/** A segment is the same one for a guard, plain or compressed. */
const askedKey = ({ stamp }: Pick<Segment, "stamp">): string => `${ASKED}${stamp}`
const ASKED = "guards "

/** What is remembered of segments that are gone. */
export const forgetGone = ({ cleared, log, pauses }: Watched, { stamps }: Scan): void => {
  for (const stamp of cleared) if (!stamps.has(stamp)) cleared.delete(stamp)
  for (const about of pauses.keys()) {
    const stamp = about.startsWith(ASKED) ? about.slice(ASKED.length) : stampIn(nameOf(log.path), nameOf(about))
    if (stamp !== null && !stamps.has(stamp)) pauses.delete(about)
  }
}

/** Whether a step is put off still: for its file, or, where a guard hangs, for all that guards are asked about in its log. */
export const isPutOff = ({ log, watched: { pauses } }: PassRecord, step: Step, nowMs: number): boolean => {
  const isPaused = (about: string): boolean => (pauses.get(about)?.untilMs ?? 0) > nowMs
  if (step._tag === "Compress" || step._tag === "Clean") return isPaused(pathOf(step))
  return step._tag === "Remove" || step._tag === "Offer"
    ? isPaused(askedKey(step.segment)) || isPaused(log.path)
    : false
}

const questionOf = (record: PassRecord, segment: Segment, occasion: Question["occasion"]): Question => {
  const { files, plugins } = record.ports
  const history = record.historyOf(segment.name)
  const codec = codecOf(plugins, segment.codec) ?? null
  return {
    log: record.log,
    segment,
    occasion,
    correlationId: record.correlationId,
    history,
    codecs: plugins.codecs,
    stored: () => files.read(segment, null),
    raw: () => files.read(segment, codec),
    record: (fact) => record.told(fact, history.rotated),
  }
}

/** Asks the guards; what one of them puts off is recorded, and not asked about for a while. */
const ask = (record: PassRecord, segment: Segment, occasion: "removal" | "closed"): Effect.Effect<Ruling> =>
  Effect.gen(function* () {
    const { pauses } = record.watched
    const ruling = yield* record.ports.plugins.ask(questionOf(record, segment, occasion))
    if (ruling._tag === "Allow") {
      pauses.delete(askedKey(segment))
      return ruling
    }
    const { by, retryAfterMs, timedOut, why } = ruling
    const pause = { untilMs: (yield* monotonicMs) + retryAfterMs, waitMs: retryAfterMs }
    pauses.set(askedKey(segment), pause)
    // A guard that hangs would do so for every segment: the others of this log wait as long, unasked.
    if (timedOut) pauses.set(record.log.path, pause)
    yield* record.deferred(occasion === "removal" ? "remove" : "offer", segment.path, by, why, retryAfterMs)
    return ruling
  })

export const remove = (record: PassRecord, { reason, segment }: Remove): Effect.Effect<boolean, LogFilesError> =>
  Effect.gen(function* () {
    const { plugins, waiting } = record.ports
    const ruling = yield* ask(record, segment, "removal")
    if (ruling._tag === "Allow") {
      yield* removed(record, segment, reason, plugins.guarded)
      return true
    }
    waiting.add(record.log.path, segment)
    return false
  })

/** Removes what a guard keeps, if it must go; false if not. For the oldest first, once it is known what the guards keep. */
export const giveWay = (record: PassRecord, { segment }: Remove): Effect.Effect<boolean, LogFilesError> =>
  Effect.gen(function* () {
    const why = yield* pressureOn(record.ports, record.log.path)
    if (why === null) return false
    yield* removed(record, segment, "pressure", false)
    record.ports.freeing.began(segment.bytes, yield* monotonicMs)
    yield* Effect.logWarning(
      `${segment.path} was dropped although a guard kept it: ${formatBytes(segment.bytes)} of log are gone; ${why}`,
    )
    return true
  }).pipe(record.ports.pressureLane.withPermit)

const removed = (
  record: PassRecord,
  segment: Segment,
  reason: Remove["reason"],
  unchanged: boolean,
): Effect.Effect<void, LogFilesError> => {
  const waitsNoLonger = Effect.sync(() => {
    record.watched.pauses.delete(askedKey(segment))
    record.ports.waiting.remove(record.log.path, segment.stamp)
  })
  return goes(record, segment, { unchanged }, (bytes) => ({
    type: "Removed",
    data: { path: segment.path, bytes, reason },
  })).pipe(
    Effect.tap(() => Effect.sync(() => void (record.tally.removed += 1))),
    Effect.tap(() => waitsNoLonger),
    // Somebody else has removed it: nothing else must give way for it.
    Effect.tapError((error) => (error.reason === "NotFound" ? waitsNoLonger : Effect.void)),
  )
}

/** Why what guards keep must give way now; null: it need not. */
export const pressureOn = (
  { deferred, files, freeing, waiting }: PassPorts,
  active: string,
): Effect.Effect<string | null> =>
  Effect.gen(function* () {
    if (deferred.onPressure === "hold") return null
    // A file system that doesn't say how full it is can't be a reason to drop a log.
    const free = deferred.minFree === undefined ? null : yield* Effect.orElseSucceed(files.free(active), () => null)
    const freeBytes = free === null ? null : freeing.withOwed(free, yield* monotonicMs)
    return givesWay(deferred, { waitingBytes: waiting.bytes, freeBytes })
  })

/** Done once the guards let the segment go; then they aren't asked again before it must. */
export const offer = (record: PassRecord, { segment }: Offer): Effect.Effect<boolean> =>
  Effect.map(ask(record, segment, "closed"), ({ _tag }) => {
    if (_tag === "Allow") record.watched.cleared.add(segment.stamp)
    return _tag === "Allow"
  })

/** Every segment that nobody is to write to any more. A plain one beside its compressed twin is the same one. */
export const closedIn = ({ active, segments }: Snapshot): ReadonlyArray<Segment> => {
  const packed = new Set(segments.flatMap(({ stamp, suffix }) => (suffix === "" ? [] : [stamp])))
  return segments.filter(
    ({ identity, stamp, suffix }) => identity !== active?.identity && (suffix !== "" || !packed.has(stamp)),
  )
}

/** What guards say of every closed segment, however lately they were asked. Removes nothing. */
export const drain = (record: PassRecord, { snapshot }: Scan): Effect.Effect<Pick<DrainReport, "asked" | "waiting">> =>
  Effect.gen(function* () {
    const closed = closedIn(snapshot)
    const waiting: Array<DrainReport["waiting"][number]> = []
    let silent: Extract<Ruling, { readonly _tag: "Defer" }> | null = null
    for (const segment of closed) {
      if (silent !== null) {
        // A guard that hangs would do so for every segment.
        waiting.push({ path: segment.path, by: silent.by, why: silent.why })
        continue
      }
      const restMs = SETTLE_MS - ((yield* Clock.currentTimeMillis) - segment.modifiedMs)
      if (segment.suffix === "" && restMs > 0 && restMs <= SETTLE_MS) yield* Effect.sleep(restMs)
      const ruling = yield* record.ports.plugins.ask(questionOf(record, segment, "drain"))
      if (ruling._tag === "Allow") continue
      const { by, why } = ruling
      waiting.push({ path: segment.path, by, why })
      if (ruling.timedOut) silent = ruling
      yield* record.deferred("offer", segment.path, by, why, ruling.retryAfterMs)
    }
    return { asked: closed.length, waiting }
  }).pipe(
    Effect.withSpan(
      "cordwood.drain",
      { attributes: { "log.file.path": record.log.path, "log.file.name": nameOf(record.log.path) } },
      { captureStackTrace: false },
    ),
  )
