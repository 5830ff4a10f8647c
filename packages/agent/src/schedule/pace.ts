/**
 * When to look at a log again between two passes: its size is asked for when, at the rate measured so far, it nears its limit. The fields are
 * numbers that are changed in place, as there may be thousands of logs and a look at each must allocate nothing.
 *
 * Times are milliseconds of a clock that never goes back.
 */

/** Of the time that is left by the measured rate, this much passes before the next look; the rest is for the rate to rise. */
const SHARE = 0.7
/** A look costs a `stat`, some 5 µs; a hundred a second of one log is the most. */
export const MIN_LOOK_MS = 10
/** A log that starts to be written is noticed within this time, as long as there are not thousands. */
const MAX_LOOK_MS = 1_000
/** What looking at one idle log may cost, so that 10,000 of them are looked at every 5 s: about 1 % of a core. */
const IDLE_MS_PER_LOG = 0.5
/** Idle logs are looked at together, at multiples of this: waking up for each of them would cost more than looking. */
const TOGETHER_MS = 250
/** How much of an earlier rate still counts when the writer has slowed down: bursts come again. */
const MEMORY = 0.8

export interface Pace {
  bytes: number
  atMs: number
  bytesPerMs: number
  nextLookMs: number
}

export const newPace = (): Pace => ({ bytes: -1, atMs: 0, bytesPerMs: 0, nextLookMs: 0 })

/** The longest time between two looks at a log when there are `logs` of them. */
export const longestLookMs = (logs: number): number => Math.max(MAX_LOOK_MS, logs * IDLE_MS_PER_LOG)

/** Takes in a look: `bytes` of the active file (-1: there is none) at `nowMs`; sets when to look next. `maxSize` is positive. */
export const observe = (pace: Pace, bytes: number, nowMs: number, maxSize: number, longestMs: number): void => {
  const elapsedMs = nowMs - pace.atMs
  if (bytes >= pace.bytes && pace.bytes >= 0 && elapsedMs > 0) {
    pace.bytesPerMs = Math.max((bytes - pace.bytes) / elapsedMs, pace.bytesPerMs * MEMORY)
  }
  pace.bytes = bytes
  pace.atMs = nowMs
  const leftMs = pace.bytesPerMs > 0 ? (maxSize - bytes) / pace.bytesPerMs : Infinity
  const waitMs = Math.max(MIN_LOOK_MS, leftMs * SHARE)
  pace.nextLookMs = waitMs < longestMs ? nowMs + waitMs : Math.ceil((nowMs + longestMs) / TOGETHER_MS) * TOGETHER_MS
}
