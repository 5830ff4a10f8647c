/** What SIGINT and SIGTERM do. The first one asks for a graceful end, a second one ends the program at once. */
import { Effect } from "effect"
import { constants } from "node:os"
import { signalled } from "./exit-code.ts"

type Stopping = "SIGINT" | "SIGTERM" | "SIGHUP"

/** What the first signal does while a command runs that is meant to be ended by one. */
let stop: (() => void) | null = null
let asked = false

const on = (signal: Stopping, otherwise: (code: number) => void): void => {
  process.on(signal, () => {
    const code = signalled(constants.signals[signal])
    if (asked) process.exit(code)
    asked = true
    if (stop === null) otherwise(code)
    else stop()
  })
}

/** Listens from the start of the program to its end. `interrupt` is for commands that nobody expects to be ended by a signal. */
export const listenForSignals = (interrupt: (code: number) => void): void => {
  on("SIGINT", interrupt)
  on("SIGTERM", interrupt)
}

/**
 * Runs an effect until it ends or a signal asks for its end. Then it is interrupted, which lets it finish what it has in hand, and that is
 * success: SIGTERM is how Kubernetes and systemd stop a healthy program. `hangUp`: a closed terminal counts too.
 */
export const untilSignal = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  { hangUp = false, onSignal }: { readonly hangUp?: boolean; readonly onSignal?: () => void } = {},
): Effect.Effect<A | undefined, E, R> => {
  const signal = Effect.callback<undefined>((resume) => {
    stop = () => {
      onSignal?.()
      resume(Effect.succeed(undefined))
    }
    if (hangUp) on("SIGHUP", (code) => process.exit(code))
    return Effect.sync(() => {
      stop = null
    })
  })
  return Effect.raceFirst(effect, signal)
}
