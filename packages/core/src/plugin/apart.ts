/**
 * Runs somebody else's effect in a fiber of its own, so that whatever it is, it ends there: one that is no effect at all ends the fiber that it is found
 * in, without unwinding it, and one that won't be interrupted holds up whoever waits for it. Must know nothing of plugins.
 */
import { Effect, Fiber } from "effect"

/**
 * What `make` gives, with its failure, defect or interruption. When this is interrupted, the effect is told, and gets `graceMs` to clean up; none if
 * not given. After that it ends in its own time.
 */
export const apart = <A, E, R>(make: () => Effect.Effect<A, E, R>, graceMs = 0): Effect.Effect<A, E, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(
      Effect.forkDetach(Effect.suspend(make), { startImmediately: true, uninterruptible: false }),
      (fiber) =>
        Effect.onInterrupt(restore(Fiber.join(fiber)), () =>
          graceMs > 0
            ? Effect.timeoutOption(Effect.interruptible(Fiber.interrupt(fiber)), graceMs)
            : Effect.sync(() => fiber.interruptUnsafe()),
        ),
    ),
  )
