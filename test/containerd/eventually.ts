/** Waiting for something to become true: by asking again until a deadline, never by sleeping and hoping. */
import { setTimeout as pause } from "node:timers/promises"

/** Between two questions. Short against everything waited for, long against what a question costs. */
const ASK_AGAIN_MS = 50

export interface Wait {
  /** What is waited for, for the error's first line: "a second segment". */
  readonly what: string
  readonly withinMs: number
  readonly everyMs?: number
  /** Told when time is up, beneath the error: what was there instead. */
  readonly instead?: () => string
}

/** Thrown by a question whose answer can't come any more: the waiting ends at once. */
export class Hopeless extends Error {}

/** The first answer that is neither undefined nor false. An answer that throws counts as none; the last one's error is told. */
export const eventually = async <A>(
  wait: Wait,
  ask: () => A | undefined | false | Promise<A | undefined | false>,
): Promise<A> => {
  const startedMs = performance.now()
  let lastError: unknown
  for (;;) {
    try {
      const answer = await ask()
      if (answer !== undefined && answer !== false) return answer
      lastError = undefined
    } catch (error) {
      if (error instanceof Hopeless) throw new Error(`no ${wait.what}: ${error.message}`, { cause: error })
      lastError = error
    }
    if (performance.now() - startedMs >= wait.withinMs) {
      const because = lastError === undefined ? "" : `\nlast error: ${String(lastError)}`
      const instead = wait.instead === undefined ? "" : `\n${wait.instead()}`
      throw new Error(`waited ${wait.withinMs} ms in vain for ${wait.what}${because}${instead}`, { cause: lastError })
    }
    await pause(wait.everyMs ?? ASK_AGAIN_MS)
  }
}
