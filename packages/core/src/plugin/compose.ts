/** How several plugins become one: codecs by id, guards in list order, observers side by side, one tracer. A plugin's failure ends here. */
import { Cause, Effect, Option, type Tracer } from "effect"
import type * as z from "zod"
import { NO_COMPRESSION } from "../log/policy.ts"
import { TEMPORARY_SUFFIX } from "../log/name.ts"
import type { Codec } from "./codec.ts"
import { type Contributions, type Doomed, PluginError, type Verdict } from "./plugin.ts"

/** A guard that takes longer counts as one that defers. Long enough for a large upload. */
export const GUARD_LIMIT_MS = 5 * 60_000
/** How soon a guard that failed or was too slow is asked again. */
export const GUARD_RETRY_MS = 60_000

export interface Contributed {
  readonly plugin: string
  readonly contributions: Contributions
}
/** A verdict over all guards; `by` is the plugin that deferred. */
export type Ruling =
  | { readonly _tag: "Allow" }
  | (Extract<Verdict, { readonly _tag: "Defer" }> & { readonly by: string })

export interface Composed {
  /** By id, in list order. */
  readonly codecs: ReadonlyArray<Codec>
  /** Asks every guard in list order; never fails: what goes wrong keeps the file. */
  readonly mayRemove: (doomed: Doomed) => Effect.Effect<Ruling>
  /** Whether anybody is asked: a segment that a guard allowed to go may be removed only as that guard saw it. */
  readonly guarded: boolean
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
    const guards = all.flatMap(({ contributions: { beforeRemove }, plugin }) =>
      beforeRemove === undefined ? [] : [{ plugin, ask: beforeRemove }],
    )
    const observers = all.flatMap(({ contributions: { observe }, plugin }) =>
      observe === undefined ? [] : [{ plugin, observe }],
    )
    return {
      codecs,
      mayRemove: mayRemove(guards),
      guarded: guards.length > 0,
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

const mayRemove =
  (guards: ReadonlyArray<{ readonly plugin: string; readonly ask: NonNullable<Contributions["beforeRemove"]> }>) =>
  (doomed: Doomed): Effect.Effect<Ruling> =>
    Effect.gen(function* () {
      for (const { ask, plugin } of guards) {
        const defer = (why: string): Ruling => ({ _tag: "Defer", by: plugin, why, retryAfterMs: GUARD_RETRY_MS })
        const ruling = yield* Effect.suspend(() => ask(doomed)).pipe(
          Effect.map((verdict): Ruling => readVerdict(verdict, plugin) ?? defer("it answered neither Allow nor Defer")),
          Effect.timeoutOption(GUARD_LIMIT_MS),
          Effect.map(Option.getOrElse(() => defer(`no answer within ${GUARD_LIMIT_MS / 60_000} minutes`))),
          // Only what the guard did itself arrives here; when the pass is interrupted from outside, no handler runs.
          Effect.catchCause((cause) => Effect.succeed(defer(firstMessage(cause)))),
          Effect.withSpan("plugin.beforeRemove", {
            attributes: { "cordwood.plugin": plugin, "log.file.path": doomed.segment.path },
          }),
        )
        if (ruling._tag === "Defer") return ruling
      }
      return { _tag: "Allow" }
    })

const firstMessage = (cause: Cause.Cause<unknown>): string => Cause.prettyErrors(cause)[0]?.message ?? "it failed"

/** A third party's answer, which may be anything; null if it is no verdict. */
const readVerdict = (verdict: unknown, by: string): Ruling | null => {
  if (typeof verdict !== "object" || verdict === null || !("_tag" in verdict)) return null
  if (verdict._tag === "Allow") return { _tag: "Allow" }
  if (verdict._tag !== "Defer") return null
  const { retryAfterMs, why } = verdict as { readonly retryAfterMs?: unknown; readonly why?: unknown }
  const wait = typeof retryAfterMs === "number" && retryAfterMs >= 0 && Number.isFinite(retryAfterMs)
  return { _tag: "Defer", by, why: String(why), retryAfterMs: wait ? Math.round(retryAfterMs) : GUARD_RETRY_MS }
}
