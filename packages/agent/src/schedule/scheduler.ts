/**
 * When passes happen. Each source is listed and its logs are looked at every interval; logs that fill up quickly are looked at in between.
 * Rotation and upkeep have lanes of their own, and codecs a third, so that neither a runtime that is slow to answer, nor a guard that hangs, nor
 * a large segment holds up the rotation of any log; and a hanging guard not the upkeep of another.
 */
import { failureKey, type Glance, type Log, type Logs, messageOf, type Source, SourceError } from "@cordwood/core"
import { Cause, Effect, Exit, FiberSet, Scope, Semaphore } from "effect"
import { monotonicMs } from "../clock.ts"
import { drainLog, pass, type Upkeep } from "../pass/pass.ts"
import type { DrainReport, PassReport } from "../pass/report.ts"
import { type Applied, newTally, type PassPorts, type Tally, watch, type Watched, writersOf } from "../pass/watched.ts"
import { makeShedding } from "./shedding.ts"
import { longestLookMs, MIN_LOOK_MS, newPace, observe, type Pace } from "./pace.ts"

/** Rotations under way at a time. Each waits on a rename, a sync and the runtime, hardly on the CPU. */
const ROTATIONS = 64
/** Logs under upkeep at a time. Each waits for a guard's answer or for its turn with a codec, of which there are as many as workers. */
const UPKEEPS = 256
/** Sources that fail are asked again after this long, doubled every time, up to the interval: its logs wait for it. */
const FIRST_RETRY_MS = 1_000
/** Steps in hand get this long when the agent stops; Kubernetes gives 30 s before it kills. */
const STOP_LIMIT_MS = 20_000
/** Passes over one log in a row, when upkeep or a rotation has left something to do at once. */
const MAX_IN_A_ROW = 3
/** A log that is being rotated may be full again by the time that is done: it is looked at this soon. */
const ROTATING_LOOK_MS = 20
/** How long a budget must have been exceeded, or a full disk beyond help, before anything is done about it. */
const EXCEEDED_MS = 10_000
/** How soon it is seen that all logs are known. */
const MIN_SHARED_LOOK_MS = 100
/** All logs are known by then: what goes first is only told right when none is missing. */
const SURVEY_LIMIT_MS = 30_000
/** Rounds of shedding after a single pass over all logs, beside one for each log: each makes its segments go, or finds that guards keep them. */
const MORE_ROUNDS = 20
/** Logs looked at before others get the processor. */
const CHUNK = 256

export interface SchedulerOptions {
  readonly sources: ReadonlyArray<Source>
  readonly intervalMs: number
}

interface Entry extends Watched {
  readonly pace: Pace
  /** The rotation half of a pass is under way. */
  rotating: boolean
  /** The upkeep half of a pass is under way; `again`: another pass wanted to begin one meanwhile. */
  tending: boolean
  again: boolean
  /** How many upkeeps have begun. */
  upkeeps: number
  /** A pass has looked at it. */
  seen: boolean
  /** When its directory last changed as of a scan that left nothing to do; -1: scan it next time. */
  settledMs: number
}

/** A source's logs by path; whether it answered last time, and ever. */
interface Watch {
  readonly source: Source
  readonly entries: Map<string, Entry>
  answers: boolean
  listed: boolean
}

/** One pass over every log of every source, one log not waiting for another. */
export const passOverAll = (ports: PassPorts, options: SchedulerOptions): Effect.Effect<PassReport> =>
  Effect.map(passOnce(ports, options), ({ report }) => report)

/** One pass over every log, and then every guard is asked about every closed segment. */
export const drainAll = (ports: PassPorts, options: SchedulerOptions): Effect.Effect<DrainReport> =>
  Effect.gen(function* () {
    const { logs, report } = yield* passOnce(ports, options)
    const tally = newTally()
    const drained = yield* Effect.forEach(
      // Nobody to ask is nobody to have drained anything to.
      ports.plugins.guarded ? logs : [],
      (watched) => drainLog(ports, watched, tally),
      { concurrency: UPKEEPS },
    )
    if (report.problems.every(({ step }) => step !== "journal")) yield* offRecord(ports, tally)
    return {
      ...report,
      problems: [...report.problems, ...tally.problems],
      asked: drained.reduce((sum, { asked }) => sum + asked, 0),
      waiting: drained.flatMap(({ waiting }) => waiting),
      unasked: drained.flatMap(({ unasked }) => unasked),
    }
  })

const passOnce = (
  ports: PassPorts,
  options: SchedulerOptions,
): Effect.Effect<{ readonly report: PassReport; readonly logs: ReadonlyArray<Watched> }> =>
  Effect.gen(function* () {
    const tally = newTally()
    const logs = new Map<string, Watched>()
    const listings = yield* Effect.forEach(
      options.sources,
      (source) => Effect.map(Effect.exit(source.list), (listed) => ({ source, listed })),
      { concurrency: "unbounded" },
    )
    for (const { listed, source } of listings) {
      const problems = Exit.isSuccess(listed) ? listed.value.problems : [sourceError(source, listed.cause)]
      for (const problem of problems) yield* reportSource(ports, tally, problem)
      if (!Exit.isSuccess(listed)) continue
      const { dormant, labels } = listed.value
      const policyOf = (log: Log): Applied => ports.policyFor(log, labels?.get(log.path))
      const writerOf = writersOf(listed.value, policyOf)
      for (const log of listed.value.logs) {
        if (logs.has(log.path)) continue
        const state = { dormant: dormant?.has(log.path) ?? false, writer: writerOf(log.path) }
        logs.set(log.path, watch(log, source, policyOf(log), state))
      }
    }
    const upkeep = yield* Effect.forEach(logs.values(), (watched) => pass(ports, watched, tally), {
      concurrency: ROTATIONS,
    })
    yield* Effect.forEach(upkeep, ({ run }) => run, { concurrency: UPKEEPS, discard: true })
    yield* shedOnce(ports, logs, tally)
    yield* offRecord(ports, tally)
    const { cleaned, compressed, deferrals, deferred, observed, problems, removed, rotated } = tally
    const steps = { rotated, compressed, removed, cleaned }
    const report = { logs: logs.size, steps, deferred, deferrals: deferrals.all, observed, problems }
    return { report, logs: [...logs.values()] }
  })

/** What goes for limits that logs share is known once all have been looked at. */
const shedOnce = (ports: PassPorts, logs: ReadonlyMap<string, Watched>, tally: Tally): Effect.Effect<void> =>
  Effect.gen(function* () {
    if (!ports.holdings.used) return
    const shedding = makeShedding(ports)
    for (let round = 0; round < logs.size + MORE_ROUNDS; round += 1) {
      yield* shedding.look(tally, 0)
      const due = ports.holdings.due().flatMap((path) => logs.get(path) ?? [])
      if (due.length === 0) return
      for (const { log } of due) ports.holdings.begun(log.path)
      yield* Effect.forEach(due, (watched) => Effect.flatMap(pass(ports, watched, tally), ({ run }) => run), {
        concurrency: UPKEEPS,
        discard: true,
      })
    }
  })

/** What was done and could not be stored is a problem of whoever asked for it. */
const offRecord = ({ recorder }: PassPorts, tally: Tally): Effect.Effect<void> =>
  Effect.map(recorder.flush, () => {
    const trouble = recorder.trouble()
    if (trouble === null) return
    const { hint, message, path, reason } = trouble
    tally.problems.push({
      path,
      step: "journal",
      reason,
      message: `${message}; what this pass did is not on record`,
      hint,
    })
  })

const sourceError = (source: Source, cause: Cause.Cause<SourceError>): SourceError => {
  const error = Cause.squash(cause)
  if (error instanceof SourceError) return error
  return new SourceError({
    source: source.name,
    op: "list",
    target: source.name,
    reason: "Other",
    detail: messageOf(error),
    hint: "this is a bug of the source; its logs are left alone",
  })
}

const reportSource = (ports: PassPorts, tally: Tally, error: SourceError): Effect.Effect<void> => {
  const { hint, message, reason, target } = error
  tally.problems.push({ path: target, step: "source", reason, message, hint })
  // What is refused stays so until somebody mends it, so an agent that is run anew, and anew, says it once.
  const known = ports.recorder.state(target).failing.get(failureKey("source", target))
  if ((reason === "Invalid" || reason === "LeftAlone") && known?.reason === reason) return Effect.void
  return Effect.asVoid(
    ports.recorder.record(
      { path: target },
      { type: "Failed", data: { step: "source", path: target, reason, message, hint } },
      { correlationId: ports.newId(), causationId: null },
    ),
  )
}

/** Passes for ever. When it is interrupted, steps in hand are finished, within a limit; `stop` is told first. */
export const keepPassing = (ports: PassPorts, options: SchedulerOptions, stop: () => void): Effect.Effect<never> =>
  Effect.scoped(
    Effect.gen(function* () {
      const passes = yield* FiberSet.make<void, never>()
      const rotationLane = yield* Semaphore.make(ROTATIONS)
      const upkeepLane = yield* Semaphore.make(UPKEEPS)
      const watches = options.sources.map((source): Watch => ({
        source,
        entries: new Map(),
        answers: true,
        listed: false,
      }))
      let retained = false
      const glance: Glance = { bytes: -1, directoryChangedMs: -1 }
      const count = (): number => watches.reduce((sum, { entries }) => sum + entries.size, 0)

      /** The rotation half of a pass; the upkeep it returns is planned but not begun. */
      const rotate = (entry: Entry): Effect.Effect<Upkeep> =>
        Effect.gen(function* () {
          const tally = newTally()
          const { writer } = entry
          const upkeep = yield* rotationLane.withPermit(pass(ports, entry, tally))
          const nowMs = yield* monotonicMs
          entry.seen = true
          ports.files.glance(entry.log.path, glance)
          // What was planned for a container that has ended meanwhile is not all that there is to do.
          entry.settledMs = upkeep.settled && entry.writer === writer ? glance.directoryChangedMs : -1
          observe(entry.pace, glance.bytes, nowMs, entry.applied.limits.maxSize, longestLookMs(count()))
          // A log that can't, or mustn't, be rotated now is left for the next interval, however fast it grows.
          if (tally.problems.length > 0 || entry.applied.mode === "observe")
            entry.pace.nextLookMs = nowMs + options.intervalMs
          return upkeep
        }).pipe(
          Effect.ensuring(
            Effect.sync(() => {
              entry.rotating = false
            }),
          ),
        )

      const wholePass = (entry: Entry): Effect.Effect<void> =>
        Effect.gen(function* () {
          for (let row = 0; row < MAX_IN_A_ROW; row += 1) {
            const { tending, upkeeps } = entry
            const upkeep = yield* rotate(entry)
            if (upkeep.steps.length === 0) return
            if (entry.tending) {
              entry.again = true
              return
            }
            // What was planned beside another upkeep is older than what that has done.
            if (tending || entry.upkeeps !== upkeeps) {
              if (entry.rotating || ports.stopping()) return
              entry.rotating = true
              continue
            }
            entry.tending = true
            entry.upkeeps += 1
            entry.again = false
            const tended = Effect.sync(() => {
              entry.tending = false
            })
            yield* upkeepLane.withPermit(upkeep.run).pipe(Effect.ensuring(tended))
            if (!entry.again || entry.rotating || ports.stopping()) return
            entry.rotating = true
          }
          entry.rotating = false
        })

      const begin = (entry: Entry): Effect.Effect<void> => {
        if (entry.rotating || ports.stopping()) return Effect.void
        entry.rotating = true
        return Effect.asVoid(FiberSet.run(passes, surviving(wholePass(entry), undefined)))
      }

      const needsPass = (entry: Entry): boolean => {
        // A journal that was begun anew hasn't heard of it.
        if (entry.settledMs < 0 || ports.recorder.state(entry.log.path).files === null) return true
        ports.files.glance(entry.log.path, glance)
        if (glance.directoryChangedMs !== entry.settledMs || ports.holdings.isShedding(entry.log.path)) return true
        // The file of a container that has ended grows no more, and isn't waited for.
        if (entry.writer !== "running") return false
        const maxSize = entry.applied.limits.maxSize
        return (glance.bytes < 0 && !entry.dormant) || (maxSize >= 0 && glance.bytes >= maxSize)
      }

      const update = (watched: Watch, list: Logs): void => {
        const { dormant, labels, logs } = list
        const listed = new Set<string>()
        const writerOf = writersOf(
          list,
          (log) => watched.entries.get(log.path)?.applied ?? ports.policyFor(log, labels?.get(log.path)),
        )
        for (const log of logs) {
          listed.add(log.path)
          const writer = writerOf(log.path)
          const elsewhere = watches.some((other) => other !== watched && other.entries.has(log.path))
          const known = watched.entries.get(log.path)
          // Of a container that has ended nobody has to be told, so it doesn't matter whether the runtime still knows which one it was.
          const same =
            known !== undefined && (isBusy(known) || writer !== "running" || known.log.containerId === log.containerId)
          if (!elsewhere && !same) {
            const applied = ports.policyFor(log, labels?.get(log.path))
            watched.entries.set(log.path, newEntry(log, watched.source, applied))
          }
          const entry = watched.entries.get(log.path)
          if (entry === undefined) continue
          entry.dormant = dormant?.has(log.path) ?? false
          if (entry.writer === writer) continue
          entry.writer = writer
          entry.settledMs = -1
        }
        for (const [path, entry] of watched.entries) {
          // One pass at a time over a log: one that is listed again must find its entry while the old pass goes on.
          if (listed.has(path) || isBusy(entry)) continue
          watched.entries.delete(path)
          ports.waiting.forget(path)
          ports.holdings.forget(path)
          ports.recorder.forget(path)
        }
      }

      const follow = (watched: Watch): Effect.Effect<never> => {
        const reported = new Map<string, string>()
        let retryMs = FIRST_RETRY_MS
        const round = Effect.gen(function* () {
          const listed = yield* Effect.exit(watched.source.list)
          if (Exit.isFailure(listed) && Cause.hasInterruptsOnly(listed.cause)) return yield* Effect.interrupt
          watched.answers = Exit.isSuccess(listed)
          const problems = Exit.isSuccess(listed) ? listed.value.problems : [sourceError(watched.source, listed.cause)]
          const current = new Set(problems.map(({ target }) => target))
          for (const target of reported.keys()) {
            if (current.has(target)) continue
            reported.delete(target)
            ports.recorder.forget(target)
          }
          for (const problem of problems) {
            if (reported.get(problem.target) === problem.reason) continue
            reported.set(problem.target, problem.reason)
            yield* reportSource(ports, newTally(), problem)
          }
          if (Exit.isFailure(listed)) {
            const waitMs = retryMs
            retryMs = Math.min(Math.max(FIRST_RETRY_MS, options.intervalMs), retryMs * 2)
            return waitMs
          }
          retryMs = FIRST_RETRY_MS
          update(watched, listed.value)
          watched.listed = true
          if (!retained && watches.every((one) => one.listed)) {
            retained = true
            // The journal told of every log of the last month; those that are no more need not be kept in mind.
            ports.recorder.retain((path) => watches.some(({ entries }) => entries.has(path)))
          }
          let seen = 0
          for (const entry of watched.entries.values()) {
            if (needsPass(entry)) yield* begin(entry)
            seen += 1
            if (seen % CHUNK === 0) yield* Effect.yieldNow
          }
          yield* ports.recorder.flush
          return options.intervalMs
        })
        return Effect.gen(function* () {
          let dueMs = yield* monotonicMs
          for (;;) {
            const waitMs = yield* surviving(round, options.intervalMs)
            const nowMs = yield* monotonicMs
            dueMs = Math.max(dueMs + waitMs, nowMs)
            yield* Effect.sleep(dueMs - nowMs)
          }
        })
      }

      /** Looks at the sizes of the logs that are due, and begins a pass over those that are full. */
      const look: Effect.Effect<number> = Effect.gen(function* () {
        const nowMs = yield* monotonicMs
        const longestMs = longestLookMs(count())
        let nextMs = nowMs + longestMs
        let seen = 0
        for (const { answers, entries } of watches) {
          if (!answers) continue
          for (const entry of entries.values()) {
            seen += 1
            if (seen % CHUNK === 0) yield* Effect.yieldNow
            // Rotated on every pass, or never, or written by nobody: nothing to look out for in between.
            if (entry.applied.limits.maxSize <= 0 || entry.writer !== "running") continue
            if (entry.rotating) {
              nextMs = Math.min(nextMs, nowMs + ROTATING_LOOK_MS)
              continue
            }
            if (entry.pace.nextLookMs <= nowMs) {
              ports.files.glance(entry.log.path, glance)
              observe(entry.pace, glance.bytes, nowMs, entry.applied.limits.maxSize, longestMs)
              ports.holdings.grew(entry.log.path, glance.bytes)
              if (glance.bytes >= entry.applied.limits.maxSize) yield* begin(entry)
            }
            nextMs = Math.min(nextMs, entry.pace.nextLookMs)
          }
        }
        return Math.max(MIN_LOOK_MS, nextMs - nowMs)
      })
      const lookAhead: Effect.Effect<never> = Effect.forever(
        Effect.flatMap(surviving(look, options.intervalMs), (waitMs) => Effect.sleep(waitMs)),
      )

      const shedding = makeShedding(ports)
      const startedMs = yield* monotonicMs
      const isSurveyed = (): boolean =>
        watches.every(({ answers, entries, listed }) => {
          if (!listed) return !answers
          for (const { seen } of entries.values()) if (!seen) return false
          return true
        })
      let surveyed = false
      /** Looks at what logs share, and begins a pass over those that must lose something for it. */
      const lookAtShared: Effect.Effect<number> = Effect.gen(function* () {
        surveyed ||= isSurveyed() || (yield* monotonicMs) - startedMs > SURVEY_LIMIT_MS
        if (!surveyed) return MIN_SHARED_LOOK_MS
        const waitMs = yield* shedding.look(newTally(), EXCEEDED_MS)
        for (const path of ports.holdings.due()) {
          const entry = watches.map(({ entries }) => entries.get(path)).find((found) => found !== undefined)
          // What is begun already may have planned without it: it stays due.
          if (entry === undefined || entry.rotating) continue
          ports.holdings.begun(path)
          yield* begin(entry)
        }
        return waitMs
      })
      const share: Effect.Effect<never> = Effect.forever(
        Effect.flatMap(surviving(lookAtShared, options.intervalMs), (waitMs) => Effect.sleep(waitMs)),
      )

      const loops = yield* Scope.make()
      yield* Effect.addFinalizer(() => Scope.close(loops, Exit.void))
      for (const watched of watches) yield* Effect.forkIn(follow(watched), loops)
      // A limit of 0 means a rotation on every pass, not one at every look; a negative one means none.
      yield* Effect.forkIn(lookAhead, loops)
      if (ports.holdings.used) yield* Effect.forkIn(share, loops)
      return yield* Effect.onInterrupt(Effect.never, () =>
        Effect.gen(function* () {
          stop()
          yield* Scope.close(loops, Exit.void)
          yield* Effect.timeoutOption(FiberSet.awaitEmpty(passes), STOP_LIMIT_MS)
          yield* ports.recorder.flush
        }),
      )
    }),
  )

const isBusy = ({ rotating, tending }: Entry): boolean => rotating || tending

/** A bug in one round or pass must not be the end of all further ones: it is reported, and the next one is tried. */
const surviving = <A>(effect: Effect.Effect<A>, otherwise: A): Effect.Effect<A> =>
  Effect.catchCause(effect, (cause) =>
    Cause.hasInterruptsOnly(cause)
      ? Effect.failCause(cause)
      : Effect.as(Effect.logError("a bug in the agent; it goes on, please report it", cause), otherwise),
  )

const newEntry = (log: Log, source: Source, applied: Applied): Entry => ({
  ...watch(log, source, applied),
  pace: newPace(),
  rotating: false,
  tending: false,
  again: false,
  upkeeps: 0,
  seen: false,
  settledMs: -1,
})
