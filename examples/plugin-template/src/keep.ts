/** Keeps segments until they are old enough, and every one of them while a certain file exists: under an audit, nothing goes. Touches no log. */
import { statSync } from "node:fs"
import { definePlugin, DurationMs, formatDuration, PluginError, type Verdict } from "@cordwood/core"
import { Clock, Effect } from "effect"
import * as z from "zod"

const Config = z.strictObject({
  minAge: DurationMs.prefault("0s").meta({ description: "How long a segment stays at least after its last line." }),
  hold: z.string().startsWith("/").optional().meta({ description: "While a file is at this path, no segment goes." }),
})

/** `keep({ minAge: "7d" })`, or in a config file `use: ./src/keep.ts` with `with: { minAge: 7d }`. */
export const keep = definePlugin({
  name: "keep",
  api: 1,
  config: Config,
  setup: ({ hold, minAge }) =>
    Effect.succeed({
      beforeRemove: ({ segment }) =>
        Effect.gen(function* () {
          if (hold !== undefined && (yield* isThere(hold))) return defer(`${hold} is there`, 60_000)
          const restMs = minAge - ((yield* Clock.currentTimeMillis) - segment.modifiedMs)
          return restMs > 0 ? defer(`it is younger than ${formatDuration(minAge)}`, restMs) : { _tag: "Allow" }
        }),
    }),
})

/** The reason says nothing that changes by the minute: a new reason is a new event. */
const defer = (why: string, retryAfterMs: number): Verdict => ({ _tag: "Defer", why, retryAfterMs })

const hint = "make the directory of `hold` readable for the agent, or choose another path"
const isThere = (path: string): Effect.Effect<boolean, PluginError> =>
  Effect.try({
    try: () => statSync(path, { throwIfNoEntry: false }) !== undefined,
    // A guard that doesn't know fails, and the segment stays.
    catch: (error) => new PluginError({ plugin: "keep", slot: "beforeRemove", detail: String(error), hint }),
  })
