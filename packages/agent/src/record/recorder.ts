/**
 * Where facts become events: gives each its identity, time and cause, has the journal store it, and only then publishes it. Keeps what the
 * events of each log add up to. Never fails and never makes rotation wait for a journal that is out of order: events then wait in a
 * bounded buffer.
 */
import {
  type CoreFact,
  type Envelope,
  evolve,
  type Fact,
  initialState,
  type JournalError,
  type JournalShape,
  type Log,
  type LogState,
  missingOf,
  type Mode,
  nameOf,
  type Replaced,
  stampIn,
  type Unstored,
} from "@cordwood/core"
import { Clock, Effect, Option, PubSub, Scope, Semaphore } from "effect"
import { monotonicMs } from "../clock.ts"

/** Events that wait for the journal. When there are more, the oldest are given up and counted: a day of rotations every ten seconds. */
const MAX_WAITING = 10_000
/** Events stored in one transaction. */
const BATCH = 100
/** Events a slow observer may lag behind: those of one pass in which each of a thousand logs rotates, is compressed and removed. */
const PUBLISHED = 8_192
/** How soon a journal that failed is tried again. */
const RETRY_MS = 1_000

export interface Cause {
  /** The pass. */
  readonly correlationId: string
  /** The event that led to this one. */
  readonly causationId: string | null
  /** The policy that the log is under, and its mode, where it is about a log. */
  readonly policy?: string
  readonly mode?: Mode
}

export interface Recorder {
  /** What the events of a log add up to; the initial state if there are none. */
  readonly state: (path: string) => LogState
  /** How many events of a log have come since its latest `Scanned`; since the first, if there is none. */
  readonly sinceScan: (path: string) => number
  /** Drops the state of a log that is gone. */
  readonly forget: (path: string) => void
  /** Drops the states of all logs but these. */
  readonly retain: (isKept: (path: string) => boolean) => void
  /** Records a fact and returns its event's id. Stored and published when this returns, or waiting for the journal. */
  readonly record: (log: Log, fact: Fact, cause: Cause) => Effect.Effect<string>
  /** Offers the journal what waits, if it isn't too soon. */
  readonly flush: Effect.Effect<void>
  /** Why events wait for the journal; null if none does. */
  readonly trouble: () => JournalError | null
  /** Of the last event that was published; 0 if none was. */
  readonly lastPosition: () => number
  readonly subscribe: Effect.Effect<PubSub.Subscription<Envelope>, never, Scope.Scope>
}

export interface RecorderOptions {
  /** Opens the journal; tried again later if it fails, unless another agent holds it. */
  readonly open: Effect.Effect<JournalShape, JournalError, Scope.Scope>
  /** For messages and events about the journal itself. */
  readonly path: string
  /** A fresh UUID. From outside, so that a simulation can be replayed. */
  readonly newId: () => string
}

/** OpenTelemetry's ids of a span that nobody traces are all zeros (W3C Trace Context: invalid). */
const validId = (id: string): string | null => (/^0*$/.test(id) ? null : id)

/** What a scan would have told, had it known what the journal says: it was made before that could be opened. */
const missedBy = (event: Unstored, before: LogState | undefined): ReadonlyArray<Fact> => {
  if (event.type !== "Scanned" || before === undefined || event.metadata.mode === "observe") return []
  const { files } = event.data as Extract<CoreFact, { readonly type: "Scanned" }>["data"]
  const { path } = event.log
  return missingOf(before, path, new Set(files.flatMap(({ name }) => stampIn(nameOf(path), name) ?? [])))
}

/** Fails only if another agent holds the journal. */
export const makeRecorder = (options: RecorderOptions): Effect.Effect<Recorder, JournalError, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    const published = yield* PubSub.sliding<Envelope>(PUBLISHED)
    const lock = yield* Semaphore.make(1)
    const states = new Map<string, LogState>()
    const sinceScan = new Map<string, number>()
    const waiting: Array<Unstored> = []
    /** Open, though what it holds may be still to be read: opened once more, it would be found locked, by ourselves. */
    let opened: JournalShape | null = null
    let journal: JournalShape | null = null
    let lost = 0
    let lastPosition = 0
    let outage: { readonly retryAtMs: number; readonly error: JournalError } | null = null

    const apply = (event: Envelope): void => {
      const { path } = event.log
      states.set(path, evolve(states.get(path) ?? initialState, event))
      sinceScan.set(path, event.type === "Scanned" ? 0 : (sinceScan.get(path) ?? 0) + 1)
    }
    const forget = (path: string): void => {
      states.delete(path)
      sinceScan.delete(path)
    }
    const forgetAll = (): void => {
      states.clear()
      sinceScan.clear()
    }

    const enqueue = Effect.fnUntraced(function* (log: Log, fact: Fact, cause: Cause) {
      const nowMs = yield* Clock.currentTimeMillis
      const span = yield* Effect.option(Effect.currentParentSpan)
      const event: Unstored = {
        ...fact,
        id: options.newId(),
        time: new Date(nowMs).toISOString(),
        version: 1,
        log,
        metadata: {
          ...cause,
          traceId: Option.match(span, { onNone: () => null, onSome: ({ traceId }) => validId(traceId) }),
          spanId: Option.match(span, { onNone: () => null, onSome: ({ spanId }) => validId(spanId) }),
        },
      }
      // A position is the journal's to give; the fold has no use for it.
      apply({ ...event, position: 0 })
      waiting.push(event)
      if (waiting.length > MAX_WAITING) {
        waiting.shift()
        lost += 1
      }
      return event.id
    })

    const aboutJournal = (reason: string, message: string, hint: string): Effect.Effect<string> =>
      enqueue(
        { path: options.path },
        { type: "Failed", data: { step: "journal", path: options.path, reason, message, hint } },
        { correlationId: options.newId(), causationId: null },
      )

    const started = (ready: JournalShape): Effect.Effect<void, JournalError> =>
      Effect.flatMap(ready.replay, (stored) => {
        journal = ready
        // A journal that could only be opened later tells of what was before: what waits comes after it, and carries its histories on.
        forgetAll()
        for (const decoded of stored) if (decoded._tag === "Known") apply(decoded.event)
        return Effect.forEach(waiting.splice(0), (event) => {
          const { correlationId, mode, policy } = event.metadata
          const cause: Cause = {
            correlationId,
            causationId: null,
            ...(policy === undefined ? {} : { policy }),
            ...(mode === undefined ? {} : { mode }),
          }
          const missed = missedBy(event, states.get(event.log.path))
          return Effect.map(
            Effect.forEach(missed, (fact) => enqueue(event.log, fact, cause), { discard: true }),
            () => {
              apply({ ...event, position: 0 })
              waiting.push(event)
            },
          )
        })
      }).pipe(Effect.asVoid)
    const start: Effect.Effect<void, JournalError> = Effect.gen(function* () {
      const ready = opened ?? (yield* Scope.provide(options.open, scope))
      opened = ready
      yield* started(ready)
    })

    const replaced = (what: Replaced, events: ReadonlyArray<Envelope>): Effect.Effect<string> => {
      // The new journal knows nothing but these, and what waits: every other log says again what it has, on its next pass.
      forgetAll()
      for (const event of events) apply(event)
      for (const event of waiting) apply({ ...event, position: 0 })
      return aboutJournal(
        what.reason,
        `${what.detail}; a new journal was begun${what.keptAs === null ? "" : `, the old one is kept as ${what.keptAs}`}`,
        "what is on disk is recorded anew; look into the old file for earlier events, then delete it",
      )
    }

    const failed = (error: JournalError): Effect.Effect<void> =>
      Effect.gen(function* () {
        const first = outage === null
        outage = { retryAtMs: (yield* monotonicMs) + RETRY_MS, error }
        if (!first) return
        yield* Effect.logError(`${error.message}; rotation goes on, events wait`).pipe(
          Effect.annotateLogs({ hint: error.hint }),
        )
        yield* aboutJournal(error.reason, error.message, error.hint)
      })

    const store: Effect.Effect<void> = Effect.gen(function* () {
      if (outage !== null && (yield* monotonicMs) < outage.retryAtMs) return
      if (journal === null) yield* start
      while (journal !== null && waiting.length > 0) {
        const batch = waiting.slice(0, BATCH)
        const appended = yield* journal.append(batch)
        waiting.splice(0, batch.length)
        for (const event of appended.events) {
          lastPosition = event.position
          yield* PubSub.publish(published, event)
        }
        if (appended.replaced !== null) yield* replaced(appended.replaced, appended.events)
        if (outage !== null) yield* Effect.logInfo(`the journal ${options.path} can be written again`)
        outage = null
        if (lost > 0) {
          yield* aboutJournal(
            "EventsLost",
            `${lost} events were given up while the journal could not be written`,
            "rotation was not affected; make room for the journal",
          )
          lost = 0
        }
      }
    }).pipe(Effect.catch(failed))
    // Uninterruptible: an event that was stored is published, whatever else is being stopped.
    const flush = store.pipe(lock.withPermits(1), Effect.uninterruptible)

    yield* start.pipe(Effect.catch((error) => (error.reason === "Locked" ? Effect.fail(error) : failed(error))))
    // The last chance of what waits, however lately the journal has failed.
    const lastFlush = Effect.suspend(() => {
      if (outage !== null) outage = { ...outage, retryAtMs: 0 }
      return flush
    })
    yield* Effect.addFinalizer(() => Effect.andThen(lastFlush, PubSub.shutdown(published)))

    return {
      state: (path) => states.get(path) ?? initialState,
      sinceScan: (path) => sinceScan.get(path) ?? 0,
      forget,
      retain: (isKept) => {
        for (const [path, { files }] of states) if (files !== null && !isKept(path)) forget(path)
      },
      record: (log, fact, cause) => Effect.tap(enqueue(log, fact, cause), () => flush),
      flush,
      trouble: () => (waiting.length > 0 ? (outage?.error ?? null) : null),
      lastPosition: () => lastPosition,
      subscribe: PubSub.subscribe(published),
    }
  })
