/**
 * A store of objects beyond the node, and its moods: it refuses, hangs, or stores and then gives no answer. Whole objects or none, never over
 * another; what it has it has for good. A request that is under way when its agent dies may still be done.
 */
import { Data, Effect } from "effect"

export type Mood = "well" | "refuses" | "hangs" | "silent" | "slow"
/** Milliseconds that a request takes to get there, and its answer to get back. */
const WAY_MS = 15
const SLOW_WAY_MS = 4_000
/** A client that has heard nothing by then gives up. */
const PATIENCE_MS = 3_000

export class StoreFailure extends Data.TaggedError("StoreFailure")<{ readonly detail: string }> {}

export class ObjectStore {
  mood: Mood = "well"
  readonly objects = new Map<string, Uint8Array>()
  /** Puts that would have changed an object that is there: a bug of whoever puts. */
  readonly conflicts: Array<string> = []

  get(key: string): Effect.Effect<Uint8Array | null, StoreFailure> {
    return this.#request(() => this.objects.get(key) ?? null)
  }
  /** False: another object lies there, which stays. */
  put(key: string, bytes: Uint8Array): Effect.Effect<boolean, StoreFailure> {
    return this.#request(() => {
      const there = this.objects.get(key)
      if (there === undefined) this.objects.set(key, bytes)
      else if (Buffer.compare(there, bytes) !== 0) {
        this.conflicts.push(key)
        return false
      }
      return true
    })
  }

  #request<A>(does: () => A): Effect.Effect<A, StoreFailure> {
    return Effect.suspend(() => {
      const wayMs = this.mood === "slow" ? SLOW_WAY_MS : WAY_MS
      const there = Effect.andThen(
        Effect.sleep(wayMs),
        Effect.suspend(() => {
          if (this.mood === "hangs") return Effect.never
          if (this.mood === "refuses") return Effect.fail(new StoreFailure({ detail: "503 slow down" }))
          const done = does()
          return this.mood === "silent" ? Effect.never : Effect.as(Effect.sleep(wayMs), done)
        }),
      )
      return Effect.timeoutOrElse(there, {
        duration: PATIENCE_MS,
        orElse: () => Effect.fail(new StoreFailure({ detail: "no answer" })),
      })
    })
  }
}
