/**
 * What every plugin with a guard must do, as a list of cases that any test framework can run. Knows nothing of what the guard decides by: it only asks,
 * about segments in memory. It asks the plugin itself, without the agent's precautions, so that what an agent would put up with is seen. Needs no
 * framework, no `node:` and no network.
 */
import { Cause, Clock, Effect, Exit, Fiber, Option, type Scope } from "effect"
import type { PluginFact } from "../event/payload.ts"
import type { Log } from "../log/log.ts"
import { formatRotatedName } from "../log/name.ts"
import type { Segment } from "../log/snapshot.ts"
import { compose, GUARD_STOP_MS, readFact } from "../plugin/compose.ts"
import { type Configured, type Contributions, type Doomed, PluginError, type Verdict } from "../plugin/plugin.ts"
import { LogFilesError } from "../port/log-files.ts"
import { plainCodec } from "./plain-codec.ts"
import { setUp } from "./set-up.ts"

/** Fails by rejecting, with a sentence. `name` is a sentence, too: a test's title. */
export interface GuardCase {
  readonly name: string
  readonly run: () => Promise<void>
}

export interface GuardSuiteOptions {
  /** Milliseconds within which the guard must answer, and let a segment go for good; ten seconds if not given. */
  readonly patienceMs?: number
  /**
   * The plugin where what it relies on is out of reach: nobody listens at its endpoint. It must keep the segment, then. Without it, that is not tried;
   * a guard that relies on nothing outside has none.
   */
  readonly outOfReach?: () => Configured | Promise<Configured>
  /**
   * Where the segments lie for real, beside what the guard is given to read; for a guard that uses their paths. What lies there must be as it was put
   * once the guard has answered. Without it there are no such files.
   */
  readonly disk?: {
    /** Absolute, without a slash at its end. */
    readonly directory: string
    readonly put: (path: string, bytes: Uint8Array) => Promise<void>
    /** Null: there is no such file. */
    readonly get: (path: string) => Promise<Uint8Array | null>
  }
}

/**
 * `guardSuite(() => s3({ bucket })).forEach(({ name, run }) => it(name, run))`
 *
 * `make` is called once for every case, and gives the plugin with a config under which it lets a segment go in the end: at once, or when it has been
 * asked a few times. It is set up with that once, or several times as by an agent that is started again, and its scope is closed each time. If it has
 * surroundings (a bucket, a directory), they may be new for each call of `make`, or shared: no two cases of one suite ask about the same bytes.
 */
export const guardSuite = (
  make: () => Configured | Promise<Configured>,
  options: GuardSuiteOptions = {},
): ReadonlyArray<GuardCase> => {
  const { disk, outOfReach, patienceMs = PATIENCE_MS } = options
  let seed = 0

  /** Runs with what the plugin contributes, then closes its scope; several times on end, as restarts do. */
  const using = async (
    from: () => Configured | Promise<Configured>,
    ...uses: ReadonlyArray<(under: UnderTest) => Effect.Effect<void>>
  ): Promise<void> => {
    const configured = await from()
    for (const use of uses) {
      const exit = await Effect.runPromiseExit(
        Effect.gen(function* () {
          const contributions = yield* within(setUpScoped(configured), patienceMs, "its setup")
          yield* within(use({ plugin: configured.plugin.name, contributions }), patienceMs * 5, "a case")
        }).pipe(closing(patienceMs)),
      )
      if (Exit.isFailure(exit)) throw asError(exit.cause)
    }
  }

  /** A segment that no other case has. */
  const newSubject = (given: Given = {}): Effect.Effect<Subject> =>
    Effect.gen(function* () {
      seed += 1
      const subject = subjectOf(seed, yield* Clock.currentTimeMillis, disk?.directory ?? "/logs", given)
      yield* Effect.promise(async () => disk?.put(subject.segment.path, subject.stored))
      return subject
    })

  /** Asks once, and holds the guard to all that holds for any question. */
  const ask = ({ contributions, plugin }: UnderTest, subject: Subject, about: About = {}): Effect.Effect<Answer> =>
    Effect.gen(function* () {
      const guard = contributions.beforeRemove
      if (guard === undefined) return yield* broken("it contributes no beforeRemove")
      const question = questionOf(subject, plugin, contributions, about)
      const before = JSON.stringify([question.doomed.log, question.doomed.segment])
      const fiber = yield* Effect.forkDetach(Effect.suspend(() => guard(question.doomed)))
      const ended = yield* Effect.timeoutOption(Fiber.await(fiber), patienceMs)
      if (Option.isNone(ended)) {
        fiber.interruptUnsafe()
        return yield* broken(`it gave no answer within ${patienceMs} ms`)
      }
      const answer = yield* answerIn(ended.value)
      question.over()
      // Whatever it still has in hand gets the time to come forward.
      yield* Effect.sleep(PAUSE_MS)
      yield* checkReads(question)
      yield* check(before === JSON.stringify([question.doomed.log, question.doomed.segment]), "it changed its question")
      yield* check(
        isSame(subject.raw, subject.rawAsMade) && isSame(subject.stored, subject.storedAsMade),
        "it changed the bytes that it was given to read",
      )
      const problem = question.problems[0]
      if (problem !== undefined) return yield* broken(problem)
      if (disk !== undefined) {
        const { path } = subject.segment
        const there = yield* Effect.promise(() => disk.get(path))
        yield* check(there !== null, `it removed ${path}`)
        yield* check(there !== null && isSame(there, subject.storedAsMade), `it changed ${path}`)
      }
      return answer
    })

  /** Asks until the segment may go. */
  const allowed = (under: UnderTest, subject: Subject, about: About = {}): Effect.Effect<void> =>
    Effect.gen(function* () {
      const endMs = (yield* Clock.currentTimeMillis) + patienceMs
      for (;;) {
        const answer = yield* ask(under, subject, about)
        if (answer._tag === "Allow") return
        if ((yield* Clock.currentTimeMillis) > endMs) {
          return yield* broken(`it does not let the segment go within ${patienceMs} ms: ${answer.why}`)
        }
        yield* Effect.sleep(Math.min(answer.retryAfterMs, RETRY_MS))
      }
    })

  const oddSegments: ReadonlyArray<readonly [what: string, given: Given]> = [
    ["an empty segment", { bytes: 0 }],
    ["a segment of one byte", { bytes: 1 }],
    ["a segment of many chunks", { bytes: LARGE }],
    ["a compressed segment", { compressed: true }],
    ["a segment of a log that no container writes", { log: {} }],
    ["a segment whose names are hostile", { log: HOSTILE }],
    ["a segment whose rotation nobody knows", { rotated: null }],
  ]

  return [
    {
      name: "is set up from its config, and contributes what an agent takes, a guard among it",
      run: () =>
        using(make, ({ contributions, plugin }) =>
          Effect.gen(function* () {
            const composed = yield* Effect.result(compose([{ plugin, contributions }]))
            if (composed._tag === "Failure") return yield* broken(composed.failure.message)
            yield* check(composed.success.guarded, "it contributes no beforeRemove")
          }),
        ),
    },
    ...OCCASIONS.map((occasion): GuardCase => ({
      name: `answers Allow or Defer when it is asked on the occasion ${occasion}`,
      run: () =>
        using(make, (under) =>
          Effect.gen(function* () {
            yield* ask(under, yield* newSubject(), { occasion })
          }),
        ),
    })),
    ...oddSegments.map(([what, given]): GuardCase => ({
      name: `answers Allow or Defer, or fails with a PluginError, when it is asked about ${what}`,
      run: () =>
        using(make, (under) =>
          Effect.gen(function* () {
            yield* ask(under, yield* newSubject(given))
          }),
        ),
    })),
    {
      name: "lets a segment go in the end, and again each time it is asked about it, whether or not it is told what it recorded",
      run: () =>
        using(make, (under) =>
          Effect.gen(function* () {
            const subject = yield* newSubject()
            yield* allowed(under, subject, { occasion: "closed" })
            yield* allowed(under, subject)
            yield* allowed(under, subject, { forgets: true })
            yield* allowed(under, subject, { occasion: "drain" })
          }),
        ),
    },
    {
      name: "lets a segment go that it has let go before the agent was started again",
      run: async () => {
        const { shared, subject } = remembered(newSubject)
        await using(
          make,
          (under) => Effect.flatMap(subject, (one) => allowed(under, one)),
          (under) => allowed(under, shared()),
          (under) => allowed(under, shared(), { forgets: true }),
        )
      },
    },
    {
      name: "lets a segment go that has been compressed since it let it go",
      run: () =>
        using(make, (under) =>
          Effect.gen(function* () {
            const subject = yield* newSubject()
            yield* allowed(under, subject, { occasion: "closed" })
            const packed = packedOf(subject)
            yield* Effect.promise(async () => disk?.put(packed.segment.path, packed.stored))
            yield* allowed(under, packed)
          }),
        ),
    },
    ...[0, CHUNK, LARGE - 1].map((failsAfter): GuardCase => ({
      name: `does not let a segment go if reading it failed after ${failsAfter} bytes, and does once it can be read`,
      run: () =>
        using(make, (under) =>
          Effect.gen(function* () {
            const subject = yield* newSubject({ bytes: LARGE })
            const met: Array<Reading> = []
            const answer = yield* ask(under, subject, { course: { _tag: "Fails", failsAfter }, met })
            const hasMet = met.some(({ failed }) => failed)
            yield* check(answer._tag !== "Allow" || !hasMet, "it let a segment go that it could not read to its end")
            yield* allowed(under, subject)
          }),
        ),
    })),
    {
      name: "ends soon when it is stopped while it reads, reads no further, and lets the segment go when it is asked again",
      run: () =>
        using(make, (under) =>
          Effect.gen(function* () {
            const subject = yield* newSubject({ bytes: LARGE })
            yield* stopped(under, subject, Math.min(patienceMs, GUARD_STOP_MS))
            yield* allowed(under, subject)
          }),
        ),
    },
    {
      name: "answers about several segments at a time, and keeps them apart",
      run: () =>
        using(make, (under) =>
          Effect.gen(function* () {
            const subjects = yield* Effect.forEach(Array.from({ length: AT_A_TIME }), () =>
              newSubject({ bytes: CHUNK * 3 }),
            )
            yield* Effect.forEach(subjects, (subject) => allowed(under, subject), { concurrency: "unbounded" })
          }),
        ),
    },
    {
      name: "does not die where its events can't be recorded",
      run: () =>
        using(make, (under) =>
          Effect.gen(function* () {
            yield* ask(under, yield* newSubject(), { recordFails: true })
          }),
        ),
    },
    ...(outOfReach === undefined
      ? []
      : [
          {
            name: "keeps the segment where what it relies on is out of reach, and answers nevertheless",
            run: () =>
              using(outOfReach, (under) =>
                Effect.gen(function* () {
                  for (const occasion of OCCASIONS) {
                    const answer = yield* ask(under, yield* newSubject(), { occasion })
                    yield* check(answer._tag !== "Allow", `it let a segment go on the occasion ${occasion}`)
                  }
                }),
              ),
          },
        ]),
  ]
}

/** Long enough for a server on the same machine. */
const PATIENCE_MS = 10_000
/** How soon a guard that defers is asked again here. */
const RETRY_MS = 50
/** Long enough for what was left behind to come forward. */
const PAUSE_MS = 20
const SMALL = 5_000
const CHUNK = 64 * 1024
const LARGE = 1024 * 1024
const AT_A_TIME = 5
/** A guard that was stopped may still take what was under way. */
const MAX_READ_ON = 1024 * 1024
const OCCASIONS = ["closed", "removal", "drain"] as const
/** As the CRI would refuse them, but a file's path has them. */
const HOSTILE = {
  namespace: "../../etc",
  pod: "a b/\n\u0000%2e%2e",
  podUid: "",
  container: "\ud800é".repeat(100),
  containerId: "containerd://x",
} satisfies Partial<Log>
const KNOWN = {
  namespace: "shop",
  pod: "api-7c9f",
  podUid: "6f1c9b1e-7d0a-4a57-9f6e-0242ac120002",
  container: "app",
  containerId: "c1",
} satisfies Partial<Log>

interface UnderTest {
  readonly plugin: string
  readonly contributions: Contributions
}
interface Given {
  readonly bytes?: number
  readonly compressed?: boolean
  readonly log?: Partial<Log>
  readonly rotated?: null
}
/** What happens to those who read. */
type Course =
  | { readonly _tag: "Whole" }
  | { readonly _tag: "Fails"; readonly failsAfter: number }
  /** After the first chunk nothing comes until `until`; then more than there is. */
  | { readonly _tag: "Stalls"; readonly until: Promise<void>; readonly stalled: () => void }
interface About {
  readonly occasion?: Doomed["occasion"]
  /** As after the journal was lost. */
  readonly forgets?: boolean
  readonly recordFails?: boolean
  readonly course?: Course
  /** Gets every reading of this question. */
  readonly met?: Array<Reading>
}
interface Reading {
  bytes: number
  failed: boolean
  closed: boolean
}
/** A segment in memory, with what was recorded about it. */
interface Subject {
  readonly log: Log
  readonly segment: Segment
  readonly rotated: Doomed["rotated"]
  readonly facts: Array<PluginFact>
  readonly stored: Uint8Array
  readonly storedAsMade: Uint8Array
  readonly raw: Uint8Array
  readonly rawAsMade: Uint8Array
}
interface Question {
  readonly doomed: Doomed
  readonly readings: Array<Reading>
  readonly problems: Array<string>
  readonly over: () => void
}
type Answer = Verdict | { readonly _tag: "Failed"; readonly why: string; readonly retryAfterMs: number }

/** What a case fails with: a guard's own failures never get that far. */
const broken = (sentence: string): Effect.Effect<never> => Effect.die(new Error(sentence))
const check = (holds: boolean, otherwise: string): Effect.Effect<void> => (holds ? Effect.void : broken(otherwise))
const asError = (cause: Cause.Cause<unknown>): Error => {
  const error = Cause.squash(cause)
  return error instanceof Error ? error : new Error(String(error))
}

const setUpScoped = (configured: Configured): Effect.Effect<Contributions, never, Scope.Scope> =>
  setUp(configured).pipe(Effect.catch((error) => broken(error.message)))
const within = <A, R>(effect: Effect.Effect<A, never, R>, limitMs: number, what: string): Effect.Effect<A, never, R> =>
  Effect.timeoutOrElse(effect, { duration: limitMs, orElse: () => broken(`${what} is not done within ${limitMs} ms`) })
/** Closes the plugin's scope, which must not take for ever either. */
const closing =
  (limitMs: number) =>
  (effect: Effect.Effect<void, never, Scope.Scope>): Effect.Effect<void> =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkDetach(Effect.scoped(Effect.exit(effect)))
      const exit = yield* Fiber.join(fiber).pipe(Effect.timeoutOption(limitMs * 10))
      if (Option.isNone(exit)) return yield* broken("its scope can't be closed")
      return yield* exit.value
    })

/** One subject for several uses. */
const remembered = (make: () => Effect.Effect<Subject>) => {
  let made: Subject | undefined
  return {
    subject: Effect.tap(Effect.suspend(make), (subject) => Effect.sync(() => (made = subject))),
    shared: (): Subject => {
      if (made === undefined) throw new Error("there is no segment yet")
      return made
    },
  }
}

/** Numbered lines that no other seed has, all ASCII. */
const linesOf = (length: number, seed: number): Uint8Array => {
  const bytes = new Uint8Array(length)
  for (let at = 0, n = 0; at < length; n += 1) {
    const line = `2026-09-09T04:33:10.${String(n).padStart(9, "0")}Z stdout F segment ${seed}, line ${n}\n`
    for (let c = 0; c < line.length && at < length; c += 1, at += 1) bytes[at] = line.charCodeAt(c)
  }
  return bytes
}
/** What `plainCodec` makes of them. */
const packed = (raw: Uint8Array): Uint8Array => {
  const { length } = raw
  const bytes = new Uint8Array(1 + length + 4)
  bytes.set([0x50])
  bytes.set(raw, 1)
  bytes.set([length >>> 24, length >>> 16, length >>> 8, length], 1 + length)
  return bytes
}

const subjectOf = (seed: number, nowMs: number, directory: string, given: Given): Subject => {
  const { bytes = SMALL, compressed = false, log = KNOWN } = given
  const raw = linesOf(bytes, seed)
  const path = `${directory}/${seed}.log`
  const stamp = `20260909-0433${String(seed % 60).padStart(2, "0")}`
  const name = formatRotatedName(`${seed}.log`, stamp)
  const segment: Segment = {
    path: `${directory}/${name}`,
    name,
    stamp,
    suffix: "",
    codec: null,
    bytes: raw.length,
    modifiedMs: nowMs - 3_600_000,
    identity: `inode ${seed}`,
  }
  const span = { traceId: "4bf92f3577b34da6a3ce929d0e0e4736", spanId: "00f067aa0ba902b7" }
  const plain: Subject = {
    log: { path, ...log },
    segment,
    rotated: given.rotated === null ? null : { eventId: `rotation ${seed}`, ...span },
    facts: [],
    stored: raw,
    storedAsMade: raw.slice(),
    raw,
    rawAsMade: raw.slice(),
  }
  return compressed ? packedOf(plain) : plain
}
/** The same segment, compressed. */
const packedOf = (subject: Subject): Subject => {
  const { segment } = subject
  const stored = packed(subject.raw)
  return {
    ...subject,
    segment: {
      ...segment,
      path: segment.path + plainCodec.suffix,
      name: segment.name + plainCodec.suffix,
      suffix: plainCodec.suffix,
      codec: plainCodec.id,
      bytes: stored.length,
      identity: `${segment.identity}, compressed`,
    },
    stored,
    storedAsMade: stored.slice(),
  }
}

const questionOf = (subject: Subject, plugin: string, { events = {} }: Contributions, about: About): Question => {
  const { course = { _tag: "Whole" }, forgets = false, met = [], occasion = "removal", recordFails = false } = about
  const problems: Array<string> = []
  let over = false
  const { facts, log, rotated, segment } = subject
  const doomed: Doomed = {
    log: { ...log },
    segment: { ...segment },
    occasion,
    correlationId: "pass",
    rotated,
    told: forgets ? null : (facts.at(-1) ?? null),
    stored: () => reading(subject.stored, segment.path, course, met),
    raw: () => reading(subject.raw, segment.path, course, met),
    codecs: [plainCodec],
    record: (fact) =>
      Effect.suspend(() => {
        const read = readFact(events, fact, segment.path)
        if (typeof read === "string") problems.push(`it records what its schemas don't take: ${read}`)
        else if (over) problems.push(`it recorded ${read.type} after its answer`)
        else if (!recordFails) facts.push(read)
        if (typeof read === "object" && !recordFails) return Effect.void
        const detail = typeof read === "string" ? read : "it can't be recorded"
        return Effect.fail(new PluginError({ plugin, slot: "events", detail, hint: "" }))
      }),
  }
  return { doomed, readings: met, problems, over: () => (over = true) }
}

/** Reads from the beginning, each time; counts as open from the first piece on. */
const reading = (
  content: Uint8Array,
  path: string,
  course: Course,
  met: Array<Reading>,
): AsyncIterableIterator<Uint8Array> => {
  let at = 0
  let mine: Reading | null = null
  const end = { done: true, value: undefined } as const
  return {
    [Symbol.asyncIterator]() {
      return this
    },
    next: async () => {
      if (mine === null) met.push((mine = { bytes: 0, failed: false, closed: false }))
      if (mine.closed) return end
      if (course._tag === "Fails" && at >= course.failsAfter) {
        mine.failed = mine.closed = true
        throw new LogFilesError({ op: "read", path, reason: "Changed", detail: "it grows while it is read" })
      }
      if (course._tag === "Stalls" && at > 0) {
        course.stalled()
        await course.until
      }
      // Others get their turn, as where a disk is read.
      await Effect.runPromise(Effect.yieldNow)
      if (at >= content.length && course._tag !== "Stalls") {
        mine.closed = true
        return end
      }
      const from = at % Math.max(1, content.length)
      const most = course._tag === "Fails" ? course.failsAfter : from + CHUNK
      const chunk = content.subarray(from, Math.min(most, from + CHUNK, content.length))
      at += chunk.length
      mine.bytes += chunk.length
      return { done: false, value: chunk }
    },
    return: async () => {
      if (mine !== null) mine.closed = true
      at = content.length
      return end
    },
  }
}

const checkReads = ({ readings }: Question): Effect.Effect<void> => {
  const open = readings.filter(({ closed }) => !closed).length
  return check(open === 0, `it left ${open} of its reads open`)
}

/** Stops a guard in the midst of reading. One that doesn't read can't be. */
const stopped = ({ contributions, plugin }: UnderTest, subject: Subject, limitMs: number): Effect.Effect<void> =>
  Effect.gen(function* () {
    const guard = contributions.beforeRemove
    if (guard === undefined) return yield* broken("it contributes no beforeRemove")
    const [begun, stalled] = gate()
    const [until, release] = gate()
    const question = questionOf(subject, plugin, contributions, { course: { _tag: "Stalls", until, stalled } })
    const fiber = yield* Effect.forkDetach(Effect.suspend(() => guard(question.doomed)))
    yield* Effect.raceFirst(
      Fiber.await(fiber),
      Effect.promise(() => begun),
    )
    fiber.interruptUnsafe()
    const ended = yield* Effect.timeoutOption(Fiber.await(fiber), limitMs)
    release()
    if (Option.isNone(ended)) return yield* broken(`it did not end within ${limitMs} ms of being stopped`)
    question.over()
    const bytesBefore = question.readings.reduce((sum, { bytes }) => sum + bytes, 0)
    // What it reads has no end now: it goes on for ever if nobody stops it.
    for (let turn = 0; turn < 10 && question.readings.some(({ closed }) => !closed); turn += 1)
      yield* Effect.sleep(PAUSE_MS)
    const bytesOn = question.readings.reduce((sum, { bytes }) => sum + bytes, 0) - bytesBefore
    const open = question.readings.filter(({ closed }) => !closed)
    for (const left of open) left.closed = true
    yield* check(bytesOn <= MAX_READ_ON, `it read on for ${bytesOn} bytes after it was stopped`)
    yield* check(open.length === 0, `it left ${open.length} of its reads open when it was stopped`)
    const problem = question.problems[0]
    if (problem !== undefined) yield* broken(problem)
  })

const gate = (): readonly [Promise<void>, () => void] => {
  let open = (): void => undefined
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return [opened, () => open()]
}

/** A verdict, or a failure of the one kind that a guard may have. */
const answerIn = (exit: Exit.Exit<unknown, unknown>): Effect.Effect<Answer> => {
  if (Exit.isFailure(exit)) {
    const error = Option.getOrUndefined(Exit.findErrorOption(exit))
    if (isPluginError(error)) return Effect.succeed({ _tag: "Failed", why: error.message, retryAfterMs: RETRY_MS })
    return broken(`it ended with ${asError(exit.cause).message}, which is no PluginError`)
  }
  const verdict = exit.value as Partial<Record<string, unknown>> | null | undefined
  if (verdict?.["_tag"] === "Allow") return Effect.succeed({ _tag: "Allow" })
  if (verdict?.["_tag"] !== "Defer")
    return broken(`it answered ${String(JSON.stringify(verdict))}, neither Allow nor Defer`)
  const { retryAfterMs, why } = verdict
  if (typeof why !== "string" || why.trim() === "") return broken("it deferred without saying why")
  if (typeof retryAfterMs !== "number" || !(retryAfterMs >= 0 && retryAfterMs < Infinity)) {
    return broken(`it deferred with retryAfterMs ${String(retryAfterMs)}`)
  }
  return Effect.succeed({ _tag: "Defer", why, retryAfterMs })
}
/** Also one of another copy of core. */
const isPluginError = (error: unknown): error is PluginError =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === "PluginError"

const isSame = (a: Uint8Array, b: Uint8Array): boolean => {
  if (a.length !== b.length) return false
  for (let at = 0; at < a.length; at += 1) if (a[at] !== b[at]) return false
  return true
}
