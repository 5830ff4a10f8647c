/** The clock for intervals and deadlines: unlike the time of day, it never goes back. */
import { Clock, Effect } from "effect"

export const monotonicMs: Effect.Effect<number> = Effect.map(Clock.monotonicTimeNanos, (nanos) =>
  Number(nanos / 1_000_000n),
)
