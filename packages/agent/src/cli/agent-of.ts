/** From a configuration file to an agent. */
import { Context, Effect, Layer, type Scope } from "effect"
import { Agent, type AgentShape } from "../agent.ts"
import type { AgentError } from "../agent-error.ts"
import type { ConfigError } from "../config/config-error.ts"
import { type LoadedConfig, loadConfig } from "../config/load.ts"

export interface ConfiguredAgent {
  readonly agent: AgentShape
  readonly config: LoadedConfig
}

/** Loads the file and makes the agent that it describes, for as long as the scope lasts. */
export const agentOf = (file: string): Effect.Effect<ConfiguredAgent, ConfigError | AgentError, Scope.Scope> =>
  Effect.gen(function* () {
    const config = yield* loadConfig(file)
    const context = yield* Layer.build(Agent.layer(config.options))
    return { agent: Context.get(context, Agent), config }
  })
