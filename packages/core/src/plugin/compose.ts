/** How several plugins become one: codecs by id, guards in list order, observers side by side, one tracer. A plugin's failure ends here. */
import { Effect, type Tracer } from "effect"
import * as z from "zod"
import { linksTo } from "../event/link.ts"
import { type History, isPluginType, type PluginFact } from "../event/payload.ts"
import { NO_COMPRESSION } from "../log/policy.ts"
import { TEMPORARY_SUFFIX } from "../log/name.ts"
import { pluginOf } from "../plan/evolve.ts"
import { formatDuration } from "../unit/duration.ts"
import { quoted } from "../unit/quoted.ts"
import { firstMessage, messageOf } from "../unit/said.ts"
import { apart } from "./apart.ts"
import type { Codec } from "./codec.ts"
import { contributionsProblem } from "./contributions.ts"
import { type Contributions, type Doomed, PluginError, type Verdict } from "./plugin.ts"

/** A guard that takes longer counts as one that defers, unless it says how long it may take … */
export const GUARD_LIMIT_MS = 5 * 60_000
/** … which is at most this. Long enough for a gigabyte over a slow line. */
export const GUARD_LIMIT_MAX_MS = 60 * 60_000
/** How soon a guard that failed or was too slow is asked again. */
export const GUARD_RETRY_MS = 60_000
/** How long a guard may put off the next time it is asked: a slip of the pen must not keep a segment for good. */
export const GUARD_RETRY_MAX_MS = 24 * 60 * 60_000
/** A guard that is stopped gets this long to put things in order; then nobody waits for it any more. */
export const GUARD_STOP_MS = 5_000
/** Characters of a guard's reason that are kept: it is stored, and shown to people. */
const MAX_WHY = 1_000
/** Characters of JSON of one plugin's event: the last one about a segment is stored again with every scan while the segment is there. */
export const MAX_FACT = 16_384

export interface Contributed {
  readonly plugin: string
  readonly contributions: Contributions
}
/** A verdict over all guards; `by` is the plugin that deferred, `timedOut` that it gave no answer in time. */
export type Ruling =
  | { readonly _tag: "Allow" }
  | (Extract<Verdict, { readonly _tag: "Defer" }> & { readonly by: string; readonly timedOut: boolean })

/** What a guard is asked with, before it is made each guard's own. `record` gets only facts that the plugin's schemas take. */
export type Question = Omit<Doomed, "told" | "rotated"> & { readonly history: History }

export interface Composed {
  /** By id, in list order. */
  readonly codecs: ReadonlyArray<Codec>
  /** Asks every guard in list order, or, of a segment that is merely `closed`, those that want it; never fails: what goes wrong keeps the file. */
  readonly ask: (question: Question) => Effect.Effect<Ruling>
  /** Whether anybody is asked: a segment that a guard allowed to go may be removed only as that guard saw it. */
  readonly guarded: boolean
  /** Whether anybody wants to be asked early. */
  readonly early: boolean
  readonly observers: ReadonlyArray<{
    readonly plugin: string
    readonly observe: NonNullable<Contributions["observe"]>
  }>
  readonly events: Readonly<Record<string, z.ZodType>>
  readonly tracer: Tracer.Tracer | null
}

export const compose = (all: ReadonlyArray<Contributed>): Effect.Effect<Composed, PluginError> =>
  Effect.gen(function* () {
    const codecs: Array<Codec> = []
    const owners = new Map<string, string>()
    const names = new Set<string>()
    const events: Record<string, z.ZodType> = {}
    let tracer: { readonly plugin: string; readonly tracer: Tracer.Tracer } | null = null
    for (const { contributions, plugin } of all) {
      // What a plugin has recorded is found again by its name.
      if (names.has(plugin)) return yield* refuse(plugin, "setup", "there is another plugin of this name")
      names.add(plugin)
      const misshapen = contributionsProblem(contributions)
      if (misshapen !== null) return yield* refuse(plugin, misshapen.slot, misshapen.detail)
      for (const codec of contributions.codecs ?? []) {
        const problem = codecProblem(codec, owners)
        if (problem !== null) return yield* refuse(plugin, "codecs", problem)
        owners.set(codec.id, plugin).set(codec.suffix, plugin)
        codecs.push(codec)
      }
      for (const [type, schema] of Object.entries(contributions.events ?? {})) {
        if (!type.startsWith(`${plugin}.`)) {
          return yield* refuse(plugin, "events", `the type ${type} doesn't begin with "${plugin}."`)
        }
        if (!isPluginType(type)) {
          const form = "lower-case letters, digits and dashes, a dot, then letters and digits"
          return yield* refuse(plugin, "events", `the type ${type} isn't <plugin>.<Name>: ${form}`)
        }
        events[type] = schema
      }
      if (contributions.tracer !== undefined) {
        if (tracer !== null)
          return yield* refuse(plugin, "tracer", `the plugin ${tracer.plugin} brings a tracer already`)
        tracer = { plugin, tracer: contributions.tracer }
      }
    }
    const guards: Array<Guard> = []
    for (const { contributions, plugin } of all) {
      const { beforeRemove, events = {}, guard = {} } = contributions
      if (beforeRemove === undefined) continue
      const { early = false, limitMs = GUARD_LIMIT_MS } = guard
      if (typeof limitMs !== "number" || !(limitMs > 0 && limitMs <= GUARD_LIMIT_MAX_MS)) {
        const most = `${GUARD_LIMIT_MAX_MS / 60_000} minutes`
        return yield* refuse(
          plugin,
          "beforeRemove",
          `guard.limitMs is ${String(limitMs)}, not more than 0 and at most ${most}`,
        )
      }
      guards.push({ plugin, ask: beforeRemove, early, limitMs, events })
    }
    const observers = all.flatMap(({ contributions: { observe }, plugin }) =>
      observe === undefined ? [] : [{ plugin, observe }],
    )
    return {
      codecs,
      ask: (question) => ask(question.occasion === "closed" ? guards.filter(({ early }) => early) : guards, question),
      guarded: guards.length > 0,
      early: guards.some(({ early }) => early),
      observers,
      events,
      tracer: tracer?.tracer ?? null,
    }
  })

const refuse = (plugin: string, slot: PluginError["slot"], detail: string): Effect.Effect<never, PluginError> =>
  Effect.fail(
    new PluginError({
      plugin,
      slot,
      detail,
      hint: "mend the plugin, or remove it (or the other one that is named) from the list of plugins",
    }),
  )

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null

const codecProblem = ({ id, suffix }: Codec, owners: ReadonlyMap<string, string>): string | null => {
  if (id === NO_COMPRESSION || !/^[a-z0-9-]+$/.test(id)) {
    return `${JSON.stringify(id)} can't be a codec's id: lower-case letters, digits and dashes, and not "${NO_COMPRESSION}"`
  }
  if (suffix === TEMPORARY_SUFFIX || !/^\.[A-Za-z0-9]+$/.test(suffix))
    return `${JSON.stringify(suffix)} can't be a codec's suffix: a dot, then letters and digits, and not "${TEMPORARY_SUFFIX}"`
  const taken = [id, suffix].find((key) => owners.has(key))
  return taken === undefined ? null : `the plugin ${owners.get(taken)} brings a codec ${taken} already`
}

interface Guard {
  readonly plugin: string
  readonly ask: NonNullable<Contributions["beforeRemove"]>
  readonly early: boolean
  readonly limitMs: number
  readonly events: Readonly<Record<string, z.ZodType>>
}

const ask = (guards: ReadonlyArray<Guard>, question: Question): Effect.Effect<Ruling> =>
  Effect.gen(function* () {
    for (const guard of guards) {
      const { limitMs, plugin } = guard
      const defer = (why: string, timedOut = false): Ruling => ({
        _tag: "Defer",
        by: plugin,
        why: shortened(why),
        retryAfterMs: GUARD_RETRY_MS,
        timedOut,
      })
      const ruling = yield* Effect.suspend(() => {
        const { doomed, end } = doomedFor(guard, question)
        return Effect.ensuring(
          apart(() => answerOf(guard, doomed), GUARD_STOP_MS),
          Effect.sync(end),
        )
      }).pipe(
        Effect.map((verdict): Ruling => readVerdict(verdict, plugin) ?? defer("it answered neither Allow nor Defer")),
        Effect.timeoutOrElse({
          duration: limitMs,
          orElse: () => Effect.succeed(defer(`no answer within ${formatDuration(limitMs)}`, true)),
        }),
        // Only what the guard did itself arrives here; when the pass is interrupted from outside, no handler runs.
        Effect.catchCause((cause) => Effect.succeed(defer(firstMessage(cause, "it failed")))),
        Effect.withSpan(
          "plugin.beforeRemove",
          {
            attributes: {
              "cordwood.plugin": plugin,
              "cordwood.occasion": question.occasion,
              "log.file.path": question.segment.path,
            },
            links: linksTo(question.history.rotated),
          },
          { captureStackTrace: false },
        ),
      )
      if (ruling._tag === "Defer") return ruling
    }
    return { _tag: "Allow" }
  })

const answerOf = (guard: Guard, doomed: Doomed): Effect.Effect<Verdict, PluginError> =>
  Effect.suspend(() => {
    const answer: unknown = guard.ask(doomed)
    if (Effect.isEffect(answer)) return answer as Effect.Effect<Verdict, PluginError>
    return Effect.die(new Error("beforeRemove returned no Effect; wrap a promise in Effect.tryPromise"))
  })

/** A question of one guard's own. After `end`, what the guard left open is closed, and it neither reads nor records any more. */
const doomedFor = (
  { events, plugin }: Guard,
  { history, ...question }: Question,
): { readonly doomed: Doomed; readonly end: () => void } => {
  const reads: Array<AsyncGenerator<Uint8Array, void, undefined>> = []
  let over = false
  const reading = (read: () => AsyncIterable<Uint8Array>) => (): AsyncIterable<Uint8Array> => {
    const chunks = (async function* () {
      if (over) throw new Error(`${question.segment.path} is read after the answer`)
      yield* read()
    })()
    reads.push(chunks)
    return chunks
  }
  const doomed: Doomed = {
    ...question,
    rotated: history.rotated,
    told: history.told.findLast(({ type }) => pluginOf(type) === plugin) ?? null,
    stored: reading(question.stored),
    raw: reading(question.raw),
    record: (fact) =>
      Effect.suspend(() => {
        const read = over ? `${fact.type} comes after the answer` : readFact(events, fact, question.segment.path)
        return typeof read === "string" ? refuse(plugin, "events", read) : question.record(read)
      }),
  }
  const end = (): void => {
    over = true
    // Not waited for: what hangs in a read would hang here, too.
    for (const chunks of reads) void chunks.return().catch(() => undefined)
  }
  return { doomed, end }
}

/** What a plugin records about the segment at `path`, as it is stored and can be read back; or, as a sentence, what is wrong with it. */
export const readFact = (
  events: Readonly<Record<string, z.ZodType>>,
  { data, type }: PluginFact,
  path: string,
): PluginFact | string => {
  const schema = Object.hasOwn(events, type) ? events[type] : undefined
  if (schema === undefined) return `${quoted(String(type))} is none of its events`
  try {
    const read = schema.safeParse(data)
    if (!read.success) return `${type} ${z.prettifyError(read.error)}`
    // What can't be told as JSON would stop the journal for everybody.
    const json: string | undefined = JSON.stringify(read.data)
    if (json === undefined) return `${type} has data that JSON has no form for`
    if (json.length > MAX_FACT) return `${type} has ${json.length} characters of data; at most ${MAX_FACT} are kept`
    const stored: unknown = JSON.parse(json)
    const back = schema.safeParse(stored)
    if (!back.success) return `${type} can't be read back from JSON: ${z.prettifyError(back.error)}`
    const about = isObject(stored) ? stored["path"] : undefined
    if (typeof about === "string" && about !== path)
      return `${type} is about ${quoted(about)}, and the question about ${quoted(path)}`
    return { type, data: stored }
  } catch (error) {
    return `${type} can't be told as JSON: ${messageOf(error)}`
  }
}

const shortened = (why: string): string => (why.length > MAX_WHY ? `${why.slice(0, MAX_WHY)}…` : why)

/** A third party's answer, which may be anything; null if it is no verdict. */
const readVerdict = (verdict: unknown, by: string): Ruling | null => {
  if (!isObject(verdict)) return null
  const { _tag, retryAfterMs, why } = verdict
  if (_tag === "Allow") return { _tag }
  if (_tag !== "Defer") return null
  const wait = typeof retryAfterMs === "number" && retryAfterMs >= 0 && Number.isFinite(retryAfterMs)
  return {
    _tag: "Defer",
    by,
    why: shortened(String(why)),
    retryAfterMs: wait ? Math.min(Math.round(retryAfterMs), GUARD_RETRY_MAX_MS) : GUARD_RETRY_MS,
    timedOut: false,
  }
}
