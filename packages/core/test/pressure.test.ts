// Whether a segment that guards keep must go all the same.
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { type DeferredLimits, givesWay } from "@cordwood/core"
import { runs } from "./property.ts"

const drop = (limits: Partial<DeferredLimits>): DeferredLimits => ({ onPressure: "drop", ...limits })

describe("what guards keep", () => {
  it("stays under hold, whatever the limits and however little is free", () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(), fc.nat(), fc.nat(), (maxSize, minFree, waitingBytes, freeBytes) => {
        expect(givesWay({ onPressure: "hold", maxSize, minFree }, { waitingBytes, freeBytes })).toBeNull()
      }),
      runs(100),
    )
  })

  it.each([
    [drop({ maxSize: 1_024 }), 1_024, null, null],
    [drop({ maxSize: 1_024 }), 2_048, null, "2.0 KiB wait, and policy.deferred.maxSize is 1.0 KiB"],
    [drop({ maxSize: 0 }), 0, 0, null],
    [drop({ maxSize: 0 }), 1, 0, "1 B wait, and policy.deferred.maxSize is 0 B"],
    [drop({ minFree: 1_024 }), 9_999, 1_024, null],
    [drop({ minFree: 1_024 }), 0, 1_023, "1023 B are free, and policy.deferred.minFree is 1.0 KiB"],
    // Nobody knows: no reason to drop a log.
    [drop({ minFree: 1_024 }), 9_999, null, null],
    [drop({ maxSize: 10, minFree: 10 }), 10, 10, null],
    [drop({ maxSize: 10, minFree: 10 }), 11, 9, "11 B wait, and policy.deferred.maxSize is 10 B"],
    [drop({ maxSize: 10, minFree: 10 }), 10, 9, "9 B are free, and policy.deferred.minFree is 10 B"],
  ])("under %j, with %s bytes waiting and %s free, gives way: %s", (limits, waitingBytes, freeBytes, why) => {
    expect(givesWay(limits, { waitingBytes, freeBytes })).toBe(why)
  })

  it("stays where drop has no limit, which no policy can say", () => {
    expect(givesWay(drop({}), { waitingBytes: Number.MAX_SAFE_INTEGER, freeBytes: 0 })).toBeNull()
  })
})
