/**
 * Sets plugins up and composes what they bring. A plugin that can't be set up stops the start, with one clear error; what one does wrong later ends
 * here: each has a scope and fibers of its own, and a limit for everything.
 */
import {
  apart,
  compose,
  type Composed,
  type Configured,
  type Contributed,
  type Contributions,
  contributionsProblem,
  firstMessage,
  type Host,
  messageOf,
  PLUGIN_API,
  PluginError,
} from "@cordwood/core"
import { Cause, Deferred, Effect, type Exit, PubSub, Scope } from "effect"
import * as z from "zod"
import type { Recorder } from "../record/recorder.ts"
import { guardedTracer } from "./guarded-tracer.ts"

/** A plugin that isn't ready by then never will be. */
const SETUP_LIMIT_MS = 30_000
/** What a plugin opened is closed by then, or left as it is: with the steps in hand (20 s) less than Kubernetes' 30 s before it kills. */
const CLOSE_LIMIT_MS = 5_000
/** An observer gets this long for one event; then it misses that event. */
const OBSERVE_LIMIT_MS = 10_000
/** All observers together get this long for the last events when the agent ends. */
const LAST_EVENTS_MS = 2_000

export const setUpPlugins = (
  all: ReadonlyArray<Configured>,
  host: Host,
): Effect.Effect<Composed, PluginError, Scope.Scope> =>
  Effect.flatMap(
    Effect.forEach(all, ({ config, plugin }) => setUp(plugin, config, host)),
    compose,
  )

const setUp = (
  plugin: Configured["plugin"],
  config: unknown,
  host: Host,
): Effect.Effect<Contributed, PluginError, Scope.Scope> =>
  Effect.gen(function* () {
    const { name } = plugin
    const fail = (slot: PluginError["slot"], detail: string, hint: string): PluginError =>
      new PluginError({ plugin: name, slot, detail, hint })
    if (plugin.api !== PLUGIN_API) {
      return yield* fail(
        "load",
        `it is made for plugin api ${String(plugin.api)}, this agent has ${PLUGIN_API}`,
        "install a version of the plugin for this agent, or another agent",
      )
    }
    const parsed = yield* Effect.try({
      try: () => plugin.config.safeParse(config),
      catch: (error) => fail("config", `its schema failed: ${messageOf(error)}`, "mend the plugin or remove it"),
    })
    if (!parsed.success) {
      return yield* fail(
        "config",
        z.prettifyError(parsed.error),
        "mend the plugin's settings (`with` in the config file)",
      )
    }
    const scope = yield* Scope.make()
    yield* Effect.addFinalizer((exit) => closed(name, scope, exit))
    const contributions = yield* apart(() =>
      Scope.provide(effectOf(plugin.setup(parsed.data, host), "its setup"), scope),
    ).pipe(
      Effect.timeoutOrElse({
        duration: SETUP_LIMIT_MS,
        orElse: () =>
          Effect.fail(
            fail("setup", `not ready within ${SETUP_LIMIT_MS / 1000} s`, "see what the plugin waits for, or remove it"),
          ),
      }),
      // Only what the plugin did itself arrives here, also where it interrupted itself; when the start is interrupted, no handler runs.
      Effect.catchCause((cause) => {
        const error = Cause.squash(cause)
        if (isPluginError(error)) return Effect.fail(fail(error.slot, error.detail, error.hint))
        return Effect.fail(fail("setup", messageOf(error), "mend the plugin or remove it"))
      }),
    )
    const problem = yield* Effect.try({
      try: () => contributionsProblem(contributions),
      catch: (error) => fail("setup", `what its setup returned can't be read: ${messageOf(error)}`, MEND_SETUP),
    })
    if (problem !== null) return yield* fail(problem.slot, problem.detail, MEND_SETUP)
    return { plugin: name, contributions: yield* contained(name, contributions) }
  })

const MEND_SETUP = "mend the plugin: setup returns an object of contributions"

/** Throws if it is no effect: a promise, say. Unchecked, it would be told of as a bug of the agent. */
const effectOf = <A, E, R>(returned: Effect.Effect<A, E, R>, what: string): Effect.Effect<A, E, R> => {
  if (Effect.isEffect(returned)) return returned
  throw new TypeError(`${what} returned no Effect; wrap a promise in Effect.tryPromise`)
}

/** The same contributions, with an observer that runs apart and a tracer that can't throw; of guards, `compose` takes care. */
const contained = (plugin: string, contributions: Contributions): Effect.Effect<Contributions> =>
  Effect.map(Effect.context<never>(), (context) => {
    const { observe, tracer } = contributions
    let told = false
    const trouble = (error: unknown): void => {
      // It may be at every span, thousands of times a second; the first says what is wrong.
      if (told) return
      told = true
      const message = `plugin ${plugin}, tracer: ${messageOf(error)}; rotation goes on, spans may be missing, and this is not told again`
      Effect.runForkWith(context)(Effect.logWarning(message))
    }
    return {
      ...contributions,
      ...(observe === undefined ? {} : { observe: (event) => apart(() => effectOf(observe(event), "observe")) }),
      ...(tracer === undefined ? {} : { tracer: guardedTracer(tracer, trouble) }),
    } satisfies Contributions
  })

/** Also one of another copy of core, as a plugin that is loaded by its path may have. */
const isPluginError = (error: unknown): error is PluginError => {
  if (typeof error !== "object" || error === null || !("_tag" in error) || error._tag !== "PluginError") return false
  const { detail, hint, slot } = error as Partial<Record<keyof PluginError, unknown>>
  return typeof detail === "string" && typeof hint === "string" && typeof slot === "string"
}

/** Closes what a plugin opened. A failure, and one that never ends, is told of and holds up nothing. */
const closed = (plugin: string, scope: Scope.Closeable, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> =>
  Effect.interruptible(apart(() => Scope.close(scope, exit))).pipe(
    Effect.timeoutOrElse({
      duration: CLOSE_LIMIT_MS,
      orElse: () =>
        Effect.logWarning(`plugin ${plugin} was not closed within ${CLOSE_LIMIT_MS / 1000} s; it is left as it is`),
    }),
    Effect.catchCause((cause) =>
      Effect.logWarning(`plugin ${plugin} failed to close: ${firstMessage(cause, "it was interrupted")}`),
    ),
  )

/**
 * Tells every observer of every event, each at its own speed, until the scope closes; by then of the last ones, too. What an observer does wrong
 * ends here.
 */
export const tellObservers = (
  observers: Composed["observers"],
  { flush, lastPosition, subscribe }: Pick<Recorder, "flush" | "lastPosition" | "subscribe">,
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function* () {
    if (observers.length === 0) return
    const telling = yield* Effect.forEach(observers, ({ observe, plugin }) =>
      Effect.gen(function* () {
        let toldUpTo = lastPosition()
        let upTo = Infinity
        const all = yield* Deferred.make<void>()
        const events = yield* subscribe
        const tell = Effect.gen(function* () {
          const event = yield* PubSub.take(events)
          yield* Effect.timeout(observe(event), OBSERVE_LIMIT_MS).pipe(
            Effect.catchCause((cause) =>
              Effect.logWarning(`plugin ${plugin}, observe: ${firstMessage(cause, "it was interrupted")}`),
            ),
          )
          toldUpTo = event.position
          if (toldUpTo >= upTo) yield* Deferred.succeed(all, undefined)
        })
        yield* Effect.forkScoped(Effect.forever(tell))
        return Effect.suspend(() => {
          upTo = lastPosition()
          return toldUpTo >= upTo ? Effect.void : Deferred.await(all)
        })
      }),
    )
    const last = Effect.forEach(telling, (told) => told, { concurrency: "unbounded", discard: true })
    yield* Effect.addFinalizer(() =>
      Effect.andThen(flush, Effect.interruptible(Effect.timeoutOption(last, LAST_EVENTS_MS))),
    )
  })
