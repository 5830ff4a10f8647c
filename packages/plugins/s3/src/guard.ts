/**
 * What the plugin contributes over an S3, whichever that is: a guard that lets a segment go once S3 is proven to have it, and puts it off, with the
 * reason in words, as long as it isn't. Reads no environment, and loads no SDK.
 */
import { type Contributions, type Doomed, GUARD_LIMIT_MAX_MS, type PluginError, type Verdict } from "@cordwood/core"
import { Clock, Effect, Exit, Semaphore } from "effect"
import { admit, type Breaker, CLOSED, type Outcome, settle } from "./breaker.ts"
import type { S3 } from "./client.ts"
import type { Config } from "./config.ts"
import { EVENTS } from "./events.ts"
import { isAboutS3, S3Failure } from "./failure.ts"
import type { Kept } from "./form.ts"
import { ship, type Shipping } from "./ship.ts"

/** How soon a segment that S3 couldn't take is tried again. */
const RETRY_MS = 30_000
/** A segment may take so long, and as long again as its bytes take at the slowest rate that is worth waiting for. Less than the guard's limit. */
const BASE_BUDGET_MS = 5 * 60_000
const LEAST_BYTES_PER_MS = 256
const MAX_BUDGET_MS = GUARD_LIMIT_MAX_MS - 60_000

/** `node`: its name in keys and metadata. */
export const contributionsOver = (s3: S3, config: Config, node: string): Effect.Effect<Contributions> =>
  Effect.map(Semaphore.make(config.concurrency), (buffers) => ({
    beforeRemove: guard({ s3, config, node, buffers }),
    guard: { early: config.when === "on-rotate", limitMs: GUARD_LIMIT_MAX_MS },
    events: EVENTS,
  }))

const nowMs: Effect.Effect<number> = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos / 1_000_000n))

const guard = (shipping: Shipping): ((doomed: Doomed) => Effect.Effect<Verdict, PluginError>) => {
  const { failures, cooldown } = shipping.config.breaker
  const limits = { failures, cooldownMs: cooldown }
  let breaker: Breaker = CLOSED

  const note = (outcome: Outcome): Effect.Effect<void> =>
    Effect.gen(function* () {
      const atMs = yield* nowMs
      const before = breaker
      breaker = settle(before, limits, outcome, atMs)
      if (before.openUntilMs === null && breaker.openUntilMs !== null) {
        yield* Effect.logWarning(`shipping pauses, nothing is removed unshipped: ${breaker.why}`)
      } else if (before.openUntilMs !== null && breaker.openUntilMs === null) {
        yield* Effect.logInfo(`shipping goes on: ${shipping.s3.place.name} answers again`)
      }
    })

  return (doomed) =>
    Effect.gen(function* () {
      const atMs = yield* nowMs
      const { next, retryAfterMs } = admit(breaker, limits, atMs)
      breaker = next
      if (retryAfterMs !== null) return { _tag: "Defer", why: breaker.why, retryAfterMs } satisfies Verdict
      return yield* attempt(shipping, doomed, note)
    })
}

const attempt = (
  shipping: Shipping,
  doomed: Doomed,
  note: (outcome: Outcome) => Effect.Effect<void>,
): Effect.Effect<Verdict, PluginError> => {
  const { bytes, path } = doomed.segment
  const { bucket, place } = shipping.s3
  const budgetMs = Math.min(MAX_BUDGET_MS, BASE_BUDGET_MS + bytes / LEAST_BYTES_PER_MS)
  const slow = new S3Failure({
    op: "ship",
    kind: "slow",
    code: "Slow",
    detail: `${place.name}: shipping takes longer than it may`,
    hint: "see what slows the way to S3 down, or lower policy.maxSize",
  })
  return ship(shipping, doomed).pipe(
    Effect.timeoutOrElse({ duration: budgetMs, orElse: () => Effect.fail(slow) }),
    Effect.withSpan(
      "s3.ship",
      { attributes: { "aws.s3.bucket": bucket, "log.file.path": path, "cordwood.bytes": bytes } },
      { captureStackTrace: false },
    ),
    // Also when it is interrupted: one that tried after an outage must make room for the next.
    Effect.onExit((exit) => note(outcomeOf(exit))),
    Effect.as<Verdict>({ _tag: "Allow" }),
    Effect.catchTags({
      S3Failure: (failure) => Effect.succeed<Verdict>({ _tag: "Defer", why: failure.message, retryAfterMs: RETRY_MS }),
      Kept: ({ retryAfterMs, why }) => Effect.succeed<Verdict>({ _tag: "Defer", why, retryAfterMs }),
    }),
  )
}

const outcomeOf = (exit: Exit.Exit<void, S3Failure | Kept | PluginError>): Outcome => {
  if (Exit.isSuccess(exit)) return { _tag: "answered" }
  const failure = exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error
  if (failure instanceof S3Failure) {
    return isAboutS3(failure) ? { _tag: "failed", why: failure.message } : { _tag: "answered" }
  }
  return { _tag: "neutral" }
}
