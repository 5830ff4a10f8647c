/**
 * What is thrown where nobody waits for it: in a plugin's timer, by a promise that it forgot. Node would end the program, and rotation with it; here it
 * is said, and the work goes on. Not for commands that only read.
 */
import { messageOf } from "@cordwood/core"
import { Effect, type Scope } from "effect"
import { sayProblem } from "./failure.ts"

/** A timer that throws does so for ever. */
const MAX_TOLD = 20
const HINT = "rotation goes on; if a plugin is named in what follows, mend or remove it, else please report this"

/** For as long as the scope lasts. */
export const survivingStrays: Effect.Effect<void, never, Scope.Scope> = Effect.suspend(() => {
  let count = 0
  const tell = (error: unknown): void => {
    count += 1
    if (count > MAX_TOLD) return
    const last = count === MAX_TOLD ? "; there were many, and further ones are not told" : ""
    sayProblem(`something that nobody waits for failed: ${messageOf(error)}${last}`, `${HINT}${placeOf(error)}`)
  }
  return Effect.asVoid(
    Effect.acquireRelease(
      Effect.sync(() => {
        process.on("uncaughtException", tell)
        process.on("unhandledRejection", tell)
      }),
      () =>
        Effect.sync(() => {
          process.off("uncaughtException", tell)
          process.off("unhandledRejection", tell)
        }),
    ),
  )
})

/** Where it was thrown: the first frame says whose code it is. */
const placeOf = (error: unknown): string => {
  try {
    const stack = error instanceof Error ? error.stack : undefined
    const frame = typeof stack === "string" ? /^ {4}(at .*)$/m.exec(stack)?.[1] : undefined
    return frame === undefined ? "" : `: ${frame}`
  } catch {
    return ""
  }
}
