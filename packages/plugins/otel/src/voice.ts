/** How code that runs outside of Effect, in an SDK's callbacks, tells the operator something: through the agent's own log. Never throws. */
import { Effect } from "effect"

export interface Voice {
  readonly warn: (message: string, hint: string) => void
  readonly info: (message: string) => void
}

/** Speaks as the fiber that makes it would. */
export const makeVoice: Effect.Effect<Voice> = Effect.map(Effect.context<never>(), (context) => {
  const run = Effect.runForkWith(context)
  return {
    warn: (message, hint) => void run(Effect.annotateLogs(Effect.logWarning(message), { hint })),
    info: (message) => void run(Effect.logInfo(message)),
  }
})

export const messageOf = (error: unknown): string => {
  try {
    return error instanceof Error ? error.message : String(error)
  } catch {
    return "something that can't be shown"
  }
}
