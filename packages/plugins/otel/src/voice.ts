/** How code that runs outside of Effect, in an SDK's callbacks, tells the operator something: through the agent's own log. Never throws. */
import { messageOf as messageIn } from "@cordwood/core"
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

/** A message is read by people, in one line, and may come from anybody: what can't be seen is escaped, and what is too long is cut. */
const MAX_LENGTH = 500
export const inOneLine = (text: string): string =>
  JSON.stringify(text.slice(0, MAX_LENGTH)).slice(1, -1).replaceAll('\\"', '"')

/** What an error says, in one line. Never throws. */
export const messageOf = (error: unknown): string => inOneLine(messageIn(error))
