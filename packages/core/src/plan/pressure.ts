/** Whether a segment that guards keep must go all the same. Pure; the user's policy decides, and says nothing means no. */
import { formatBytes } from "../unit/quantity.ts"
import type { DeferredLimits } from "../log/policy.ts"

/** What waits and what is left, in bytes. `freeBytes`: null where nobody asked. */
export interface Pressure {
  readonly waitingBytes: number
  readonly freeBytes: number | null
}

/** Why the segment must go, as a sentence; null: it stays. */
export const givesWay = (limits: DeferredLimits, { freeBytes, waitingBytes }: Pressure): string | null => {
  if (limits.onPressure === "hold") return null
  if (limits.maxSize !== undefined && waitingBytes > limits.maxSize) {
    return `${formatBytes(waitingBytes)} wait, and policy.deferred.maxSize is ${formatBytes(limits.maxSize)}`
  }
  if (limits.minFree !== undefined && freeBytes !== null && freeBytes < limits.minFree) {
    return `${formatBytes(freeBytes)} are free, and policy.deferred.minFree is ${formatBytes(limits.minFree)}`
  }
  return null
}
