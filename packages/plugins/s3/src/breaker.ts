/** Whether to try at all: after failures in a row nothing is, for a while, and then one thing. Pure: the time comes from outside, in milliseconds. */

export interface Limits {
  /** Failures in a row that open it. */
  readonly failures: number
  readonly cooldownMs: number
}
export interface Breaker {
  /** In a row. */
  readonly failures: number
  /** Null: closed. */
  readonly openUntilMs: number | null
  /** How often in a row it was opened. */
  readonly openings: number
  /** One is being tried, to see. */
  readonly probing: boolean
  /** What went wrong last. */
  readonly why: string
}

/** `answered`: by S3, be it with a refusal that was for the segment's sake. `neutral`: says nothing about S3. */
export type Outcome =
  | { readonly _tag: "answered" }
  | { readonly _tag: "neutral" }
  | { readonly _tag: "failed"; readonly why: string }

/** The cooldown doubles so often at most. */
const MAX_DOUBLINGS = 4

export const CLOSED: Breaker = { failures: 0, openUntilMs: null, openings: 0, probing: false, why: "" }

/** Whether the next may be tried, and if not, how long to wait. */
export const admit = (
  breaker: Breaker,
  { cooldownMs }: Limits,
  nowMs: number,
): { readonly next: Breaker; readonly retryAfterMs: number | null } => {
  const { openUntilMs, probing } = breaker
  if (openUntilMs === null) return { next: breaker, retryAfterMs: null }
  if (nowMs < openUntilMs) return { next: breaker, retryAfterMs: openUntilMs - nowMs }
  return probing
    ? { next: breaker, retryAfterMs: cooldownMs }
    : { next: { ...breaker, probing: true }, retryAfterMs: null }
}

/** After one that was admitted. */
export const settle = (breaker: Breaker, limits: Limits, outcome: Outcome, nowMs: number): Breaker => {
  if (outcome._tag === "answered") return CLOSED
  if (outcome._tag === "neutral") return { ...breaker, probing: false }
  const failures = breaker.failures + 1
  const { why } = outcome
  // One that was under way when it opened adds nothing.
  const isOpen = breaker.openUntilMs !== null && !breaker.probing
  if (failures < limits.failures || isOpen) return { ...breaker, failures, why }
  const openUntilMs = nowMs + limits.cooldownMs * 2 ** Math.min(breaker.openings, MAX_DOUBLINGS)
  return { failures, openUntilMs, openings: breaker.openings + 1, probing: false, why }
}
