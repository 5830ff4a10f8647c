/**
 * The steps that guards have a say in: removing, and offering what is closed. A segment goes, and the event is stored, in one stretch that nothing
 * interrupts. What a guard keeps goes nevertheless where the user's policy says so; nothing else here overrules a guard.
 */
import {
  failureKey,
  formatBytes,
  formatDuration,
  givesWay,
  GUARD_RETRY_MS,
  isPressing,
  type LogFilesError,
  type LogState,
  nameOf,
  type Offer,
  pathOf,
  type Question,
  type Remove,
  type Ruling,
  type Segment,
  SETTLE_MS,
  type Snapshot,
  type Stamp,
  stampIn,
  type Step,
  TEMPORARY_SUFFIX,
} from "@cordwood/core"
import { Clock, Effect } from "effect"
import { monotonicMs } from "../clock.ts"
import type { Now } from "./holdings.ts"
import type { PassRecord } from "./pass-record.ts"
import type { DrainReport } from "./report.ts"
import { codecOf, type PassPorts, type Scan, type Watched } from "./watched.ts"
import { goes } from "./upkeep.ts"

/**
 * How long a guard is waited for when there is no time. Under `drop`, once less than `policy.deferred.minFree` is free, one that takes longer is
 * stopped, and counts as one that hangs; and what waits for its answer is counted on no more by those who need the space.
 */
export const PATIENCE_MS = 10_000
/** How often it is asked by then how much is free. */
const IMPATIENT_LOOK_MS = 1_000

/** A segment is the same one for a guard, plain or compressed. */
const askedKey = ({ stamp }: Pick<Segment, "stamp">): string => `${ASKED}${stamp}`
const ASKED = "guards "

/** Drops what is remembered of segments that are gone, or have grown since. */
export const forgetGone = ({ cleared, disputed, log, pauses }: Watched, { snapshot, stamps }: Scan): void => {
  for (const known of [cleared, disputed]) for (const stamp of known.keys()) if (!stamps.has(stamp)) known.delete(stamp)
  for (const { bytes, identity, stamp } of snapshot.segments) {
    const then = cleared.get(stamp)
    // Its writer was late to reopen: guards have not seen all of it. Compressed, it is another file.
    if (then !== undefined && then.identity === identity && then.bytes !== bytes) cleared.delete(stamp)
  }
  for (const about of pauses.keys()) {
    const stamp = about.startsWith(ASKED) ? about.slice(ASKED.length) : stampIn(nameOf(log.path), nameOf(about))
    if (stamp !== null && !stamps.has(stamp)) pauses.delete(about)
  }
}

const isPaused = ({ pauses }: Watched, about: string, nowMs: number): boolean =>
  (pauses.get(about)?.untilMs ?? 0) > nowMs
/** Whether guards keep a segment for now: it, or, where one hangs, all that they are asked about in its log. */
export const isWithheld = (watched: Watched, stamp: Stamp, nowMs: number): boolean =>
  isPaused(watched, askedKey({ stamp }), nowMs) || isPaused(watched, watched.log.path, nowMs)
/** What must stay for now of what is to go: what a guard keeps, or takes its time about, and what could not be removed. */
export const holdingNow = ({ holdings, recorder }: PassPorts): Effect.Effect<Now> =>
  Effect.map(Effect.all([Clock.currentTimeMillis, monotonicMs]), ([timeMs, nowMs]) => {
    const irremovable = new Map<string, ReadonlySet<Stamp>>()
    return {
      timeMs,
      isKept: (watched, stamp) => {
        const { path } = watched.log
        const sinceMs = holdings.askedSinceMs(path)
        if (isWithheld(watched, stamp, nowMs) || (sinceMs !== undefined && nowMs - sinceMs >= PATIENCE_MS)) return true
        const known = irremovable.get(path) ?? irremovableOf(path, recorder.state(path))
        irremovable.set(path, known)
        return known.has(stamp)
      },
    }
  })
/** Stamps of the log's segments that could not be removed, or not told from their twins, which are not removed before. */
const irremovableOf = (log: string, { failing }: LogState): ReadonlySet<Stamp> => {
  const stamps = new Set<Stamp>()
  for (const [key, { path }] of failing) {
    const isAbout =
      key === failureKey("remove", path) || (key === failureKey("clean", path) && !path.endsWith(TEMPORARY_SUFFIX))
    const stamp = isAbout ? stampIn(nameOf(log), nameOf(path)) : null
    if (stamp !== null) stamps.add(stamp)
  }
  return stamps
}
/** Whether a step is put off still. */
export const isPutOff = ({ watched }: PassRecord, step: Step, nowMs: number): boolean => {
  if (step._tag === "Compress" || step._tag === "Clean") return isPaused(watched, pathOf(step), nowMs)
  return (step._tag === "Remove" || step._tag === "Offer") && isWithheld(watched, step.segment.stamp, nowMs)
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
    const { holdings, plugins } = record.ports
    const { pauses } = record.watched
    holdings.asks(record.log.path, yield* monotonicMs)
    const asked = plugins.ask(questionOf(record, segment, occasion))
    const late = outOfPatience(record)
    const ruling = yield* (late === null ? asked : Effect.raceFirst(asked, late)).pipe(
      Effect.ensuring(Effect.sync(() => holdings.asks(record.log.path, null))),
    )
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

/** Answers for a guard once there is no time to wait for it any more; null: its segments never give way for want of space. */
const outOfPatience = ({ log, ports }: PassRecord): Effect.Effect<Ruling> | null => {
  const { deferred } = ports
  if (deferred.onPressure === "hold" || deferred.minFree === undefined) return null
  const late: Ruling = {
    _tag: "Defer",
    by: "cordwood",
    why: `less than policy.deferred.minFree is free, and no guard has answered within ${formatDuration(PATIENCE_MS)}`,
    retryAfterMs: GUARD_RETRY_MS,
    timedOut: true,
  }
  return Effect.gen(function* () {
    yield* Effect.sleep(PATIENCE_MS)
    while (givesWay(deferred, { waitingBytes: 0, freeBytes: yield* freeBytesNow(ports, log.path) }) === null) {
      yield* Effect.sleep(IMPATIENT_LOOK_MS)
    }
    return late
  })
}

export const remove = (record: PassRecord, step: Remove): Effect.Effect<boolean, LogFilesError> =>
  Effect.gen(function* () {
    const { segment } = step
    if (!(yield* isStillDue(record, step))) return false
    const ruling = yield* ask(record, segment, "removal")
    if (ruling._tag === "Defer") {
      record.ports.waiting.add(record.log.path, segment)
      return false
    }
    const isAlone = step.reason === "max-files" || record.watched.writer === "surplus"
    return yield* isAlone ? go(record, step) : makeRoom(record, step)
  })

/** What a budget wants gone has not gone: what comes after it doesn't wait for it. */
export const passed = ({ log, ports }: PassRecord, { segment }: Remove): Effect.Effect<void> =>
  Effect.map(holdingNow(ports), (now) => ports.holdings.passed(log.path, segment.stamp, now))

/** For the sake of other logs even the newest segment may go, which one of several writers may hold still. */
const go = (record: PassRecord, { reason, segment }: Remove): Effect.Effect<boolean, LogFilesError> =>
  removed(record, segment, reason, record.ports.plugins.guarded || reason !== "max-files")

/** For limits that logs share, one log at a time: what another has lost meanwhile may be enough. */
const makeRoom = (record: PassRecord, step: Remove): Effect.Effect<boolean, LogFilesError> =>
  Effect.gen(function* () {
    if (!(yield* isStillDue(record, step))) return false
    if (!(yield* go(record, step))) return false
    if (step.reason === "pressure") yield* freed(record, step.segment)
    return true
  }).pipe(record.ports.pressureLane.withPermit)

/** Takes in that bytes were freed, and looks at once whether they are free: before others have taken them. */
const freed = ({ log, ports }: PassRecord, { bytes }: Segment): Effect.Effect<void> =>
  Effect.gen(function* () {
    ports.freeing.began(bytes, yield* monotonicMs, ports.holdings.fileSystemOf(log.path))
    yield* freeBytesNow(ports, log.path)
  })

/** Whether a limit that logs share still wants the segment gone, and now: others may have lost enough meanwhile, and guards taken long to answer. */
const isStillDue = ({ log, ports, watched }: PassRecord, { reason, segment }: Remove): Effect.Effect<boolean> =>
  Effect.gen(function* () {
    if (reason === "max-files") return true
    if (reason === "budget") {
      if (watched.writer === "surplus") return true
      return ports.holdings.hasTurn(log.path, segment.stamp, yield* holdingNow(ports))
    }
    const { pressure } = ports.holdings
    if (!ports.holdings.isDoomed(log.path, segment.stamp)) return false
    const freeBytes = yield* freeBytesNow(ports, log.path)
    return pressure !== undefined && freeBytes !== null && isPressing(freeBytes, true, pressure)
  })

/** What is free where the log is, or is about to be; null where that can't be told. */
const freeBytesNow = ({ files, freeing, holdings }: PassPorts, active: string): Effect.Effect<number | null> =>
  Effect.gen(function* () {
    const free = yield* Effect.orElseSucceed(files.free(active), () => null)
    return free === null ? null : freeing.withOwed(free, yield* monotonicMs, holdings.fileSystemOf(active))
  })

/** Removes what a guard keeps, if it must go; false if not. For the oldest first, once it is known what the guards keep. */
export const giveWay = (record: PassRecord, step: Remove): Effect.Effect<boolean, LogFilesError> =>
  Effect.gen(function* () {
    const { segment } = step
    const why = yield* pressureOn(record.ports, record.log.path)
    if (why === null || !(yield* isStillDue(record, step))) return false
    if (!(yield* removed(record, segment, "pressure", false))) return false
    yield* freed(record, segment)
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
): Effect.Effect<boolean, LogFilesError> => {
  const waitsNoLonger = Effect.sync(() => {
    record.watched.pauses.delete(askedKey(segment))
    record.ports.waiting.remove(record.log.path, segment.stamp)
  })
  return goes(record, segment, { unchanged }, (bytes) => ({
    type: "Removed",
    data: { path: segment.path, bytes, reason },
  })).pipe(
    Effect.tap((gone) => (gone ? waitsNoLonger : Effect.void)),
    Effect.tap((gone) => Effect.sync(() => void (record.tally.removed += gone ? 1 : 0))),
    // Somebody else has removed it: nothing else must give way for it.
    Effect.tapError((error) => (error.reason === "NotFound" ? waitsNoLonger : Effect.void)),
  )
}

/** Why what guards keep must give way now; null: it need not. */
export const pressureOn = (ports: PassPorts, active: string): Effect.Effect<string | null> =>
  Effect.gen(function* () {
    const { deferred, waiting } = ports
    if (deferred.onPressure === "hold") return null
    // A file system that doesn't say how full it is can't be a reason to drop a log.
    const freeBytes = deferred.minFree === undefined ? null : yield* freeBytesNow(ports, active)
    return givesWay(deferred, { waitingBytes: waiting.bytes, freeBytes })
  })

/** Done once the guards let the segment go; then they aren't asked again before it must. */
export const offer = (record: PassRecord, { segment }: Offer): Effect.Effect<boolean> =>
  Effect.map(ask(record, segment, "closed"), ({ _tag }) => {
    if (_tag === "Allow") record.watched.cleared.set(segment.stamp, segment)
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
