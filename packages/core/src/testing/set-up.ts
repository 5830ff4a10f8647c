/** Sets a plugin up as an agent does, for tests: config and all. Keeps none of what an agent does about a plugin that misbehaves. */
import { Effect, type Scope } from "effect"
import * as z from "zod"
import { type Configured, type Contributions, type Host, PLUGIN_API, PluginError } from "../plugin/plugin.ts"

/** An agent that a plugin under test may be told of. */
export const TEST_HOST: Host = { version: "0.0.0", configHash: "0123456789abcdef" }

/**
 * What a plugin contributes: `setUp(keep({ minAge: "1h" }))`. What it opens is closed with the scope. Fails where the plugin is for another agent,
 * or doesn't take its config.
 */
export const setUp = (
  { config, plugin }: Configured,
  host: Host = TEST_HOST,
): Effect.Effect<Contributions, PluginError, Scope.Scope> =>
  Effect.suspend(() => {
    const refused = (slot: "load" | "config", detail: string) =>
      Effect.fail(new PluginError({ plugin: plugin.name, slot, detail, hint: "mend the plugin, or the test" }))
    if (plugin.api !== PLUGIN_API) return refused("load", `it is made for plugin api ${String(plugin.api)}`)
    const parsed = plugin.config.safeParse(config)
    return parsed.success ? plugin.setup(parsed.data, host) : refused("config", z.prettifyError(parsed.error))
  })
