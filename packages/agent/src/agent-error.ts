/** Why an agent can't be made or can't go on. Everything less is an event, and the agent goes on. */
import { Data } from "effect"

/** `Config`: what it was given is wrong, nothing has been touched. `Journal`: another agent holds it, or it can't be read. `Plugin`: one can't be set up. */
export class AgentError extends Data.TaggedError("AgentError")<{
  readonly reason: "Config" | "Journal" | "Plugin"
  readonly message: string
  readonly hint: string
}> {}
