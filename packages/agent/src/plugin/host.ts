/** Sets plugins up, each in the agent's scope, and composes what they bring. A plugin that can't be set up stops the start, with one clear error. */
import {
  compose,
  type Composed,
  type Configured,
  type Contributed,
  type Envelope,
  type Host,
  PLUGIN_API,
  PluginError,
} from "@cordwood/core"
import { Cause, Effect, PubSub, type Scope } from "effect"
import * as z from "zod"

/** A plugin that isn't ready by then never will be. */
const SETUP_LIMIT_MS = 30_000
/** An observer gets this long for one event; then it misses that event. */
const OBSERVE_LIMIT_MS = 10_000

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
    const fail = (slot: PluginError["slot"], detail: string, hint: string): PluginError =>
      new PluginError({ plugin: plugin.name, slot, detail, hint })
    if (plugin.api !== PLUGIN_API) {
      return yield* fail(
        "load",
        `it is made for plugin api ${String(plugin.api)}, this agent has ${PLUGIN_API}`,
        "install a version of the plugin for this agent, or another agent",
      )
    }
    const parsed = plugin.config.safeParse(config)
    if (!parsed.success) {
      return yield* fail(
        "config",
        z.prettifyError(parsed.error),
        "mend the plugin's settings (`with` in the config file)",
      )
    }
    const contributions = yield* Effect.suspend(() => plugin.setup(parsed.data, host)).pipe(
      Effect.timeoutOrElse({
        duration: SETUP_LIMIT_MS,
        orElse: () =>
          Effect.fail(
            fail("setup", `not ready within ${SETUP_LIMIT_MS / 1000} s`, "see what the plugin waits for, or remove it"),
          ),
      }),
      Effect.catchCause((cause) => {
        const error = Cause.squash(cause)
        if (isPluginError(error) || Cause.hasInterruptsOnly(cause)) return Effect.failCause(cause)
        return Effect.fail(
          fail("setup", error instanceof Error ? error.message : String(error), "mend the plugin or remove it"),
        )
      }),
    )
    if (typeof contributions !== "object" || contributions === null) {
      return yield* fail("setup", "its setup returned no contributions", "mend the plugin: setup returns an object")
    }
    return { plugin: plugin.name, contributions }
  })

/** Also one of another copy of core, as a plugin that is loaded by its path may have. */
const isPluginError = (error: unknown): boolean =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === "PluginError"

/** Tells every observer of every event, each at its own speed, until the scope closes. What an observer does wrong ends here. */
export const tellObservers = (
  observers: Composed["observers"],
  subscribe: Effect.Effect<PubSub.Subscription<Envelope>, never, Scope.Scope>,
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.forEach(
    observers,
    ({ observe, plugin }) =>
      Effect.flatMap(subscribe, (events) =>
        PubSub.take(events).pipe(
          Effect.flatMap((event) =>
            Effect.timeout(
              Effect.suspend(() => observe(event)),
              OBSERVE_LIMIT_MS,
            ),
          ),
          Effect.catchCause((cause) =>
            Cause.hasInterruptsOnly(cause)
              ? Effect.failCause(cause)
              : Effect.logWarning(`plugin ${plugin}, observe: ${Cause.prettyErrors(cause)[0]?.message ?? "failed"}`),
          ),
          Effect.forever,
          Effect.forkScoped,
        ),
      ),
    { discard: true },
  )
