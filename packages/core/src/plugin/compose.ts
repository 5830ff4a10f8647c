/** How several plugins become one: codecs by id, guards in list order, observers side by side, one tracer. A plugin's failure ends here. */
import { Cause, Effect, type Tracer } from "effect"
import * as z from "zod"
import { linksTo } from "../event/link.ts"
import type { History, PluginFact } from "../event/payload.ts"
import { NO_COMPRESSION } from "../log/policy.ts"
import { TEMPORARY_SUFFIX } from "../log/name.ts"
import { pluginOf } from "../plan/evolve.ts"
import { formatDuration } from "../unit/duration.ts"
import type { Codec } from "./codec.ts"
import { type Contributions, type Doomed, PluginError, type Verdict } from "./plugin.ts"

/** A guard that takes longer counts as one that defers, unless it says how long it may take … */
export const GUARD_LIMIT_MS = 5 * 60_000
/** … which is at most this. Long enough for a gigabyte over a slow line. */
export const GUARD_LIMIT_MAX_MS = 60 * 60_000
/** How soon a guard that failed or was too slow is asked again. */
export const GUARD_RETRY_MS = 60_000

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
    const events: Record<string, z.ZodType> = {}
    let tracer: { readonly plugin: string; readonly tracer: Tracer.Tracer } | null = null
    for (const { contributions, plugin } of all) {
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
      if (!(limitMs > 0 && limitMs <= GUARD_LIMIT_MAX_MS)) {
        const most = `${GUARD_LIMIT_MAX_MS / 60_000} minutes`
        return yield* refuse(plugin, "beforeRemove", `guard.limitMs is ${String(limitMs)}, not more than 0 and at most ${most}`)
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
        why,
        retryAfterMs: GUARD_RETRY_MS,
        timedOut,
      })
      const ruling = yield* Effect.suspend(() => guard.ask(doomedFor(guard, question))).pipe(
        Effect.map((verdict): Ruling => readVerdict(verdict, plugin) ?? defer("it answered neither Allow nor Defer")),
        Effect.timeoutOrElse({
          duration: limitMs,
          orElse: () => Effect.succeed(defer(`no answer within ${formatDuration(limitMs)}`, true)),
        }),
        // Only what the guard did itself arrives here; when the pass is interrupted from outside, no handler runs.
        Effect.catchCause((cause) => Effect.succeed(defer(firstMessage(cause)))),
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

const doomedFor = ({ events, plugin }: Guard, { history, ...question }: Question): Doomed => ({
  ...question,
  rotated: history.rotated,
  told: history.told.findLast(({ type }) => pluginOf(type) === plugin) ?? null,
  record: (fact) =>
    Effect.gen(function* () {
      const schema = Object.hasOwn(events, fact.type) ? events[fact.type] : undefined
      const read = schema?.safeParse(fact.data)
      const problem = read === undefined ? "is none of its events" : read.success ? null : z.prettifyError(read.error)
      if (problem !== null) return yield* refuse(plugin, "events", `${fact.type} ${problem}`)
      return yield* question.record({ type: fact.type, data: read?.data } satisfies PluginFact)
    }),
})

const firstMessage = (cause: Cause.Cause<unknown>): string => Cause.prettyErrors(cause)[0]?.message ?? "it failed"

/** A third party's answer, which may be anything; null if it is no verdict. */
const readVerdict = (verdict: unknown, by: string): Ruling | null => {
  if (typeof verdict !== "object" || verdict === null || !("_tag" in verdict)) return null
  if (verdict._tag === "Allow") return { _tag: "Allow" }
  if (verdict._tag !== "Defer") return null
  const { retryAfterMs, why } = verdict as { readonly retryAfterMs?: unknown; readonly why?: unknown }
  const wait = typeof retryAfterMs === "number" && retryAfterMs >= 0 && Number.isFinite(retryAfterMs)
  return {
    _tag: "Defer",
    by,
    why: String(why),
    retryAfterMs: wait ? Math.round(retryAfterMs) : GUARD_RETRY_MS,
    timedOut: false,
  }
}
