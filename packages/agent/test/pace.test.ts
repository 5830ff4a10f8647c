/** When a log is looked at again, as a pure function of its sizes so far. */
import { assert, describe, it } from "vitest"
import { longestLookMs, MIN_LOOK_MS, newPace, observe } from "../src/schedule/pace.ts"

const MIB = 1024 * 1024

describe("the time of the next look", () => {
  it("is the longest one for a log that doesn't grow, and grows with the number of logs", () => {
    const pace = newPace()
    observe(pace, 100, 0, 10 * MIB, longestLookMs(1))
    observe(pace, 100, 1_000, 10 * MIB, longestLookMs(1))
    assert.strictEqual(pace.nextLookMs, 2_000)
    assert.deepStrictEqual([1, 1_000, 2_000, 10_000].map(longestLookMs), [1_000, 1_000, 1_000, 5_000])
  })

  it("comes at 0.7 of the time that is left at the measured rate", () => {
    const pace = newPace()
    observe(pace, 0, 0, 10_000, 60_000)
    observe(pace, 1_000, 1_000, 10_000, 60_000)
    // 1 byte a millisecond, 9,000 bytes left.
    assert.strictEqual(pace.nextLookMs, 1_000 + 0.7 * 9_000)
  })

  it("remembers a rate through a rotation, and through a pause for a while", () => {
    const pace = newPace()
    observe(pace, 0, 0, 10_000, 1_000)
    observe(pace, 9_000, 1_000, 10_000, 1_000)
    observe(pace, 10, 2_000, 10_000, 1_000)
    assert.strictEqual(pace.bytesPerMs, 9)
    observe(pace, 10, 3_000, 10_000, 1_000)
    assert.strictEqual(pace.bytesPerMs, 9 * 0.8)
  })

  it("is never sooner than the shortest time, even when the limit is passed", () => {
    const pace = newPace()
    observe(pace, 0, 0, 1_000, 1_000)
    observe(pace, 5_000, 1, 1_000, 1_000)
    assert.strictEqual(pace.nextLookMs, 1 + MIN_LOOK_MS)
  })

  it("keeps a writer of 50 MB/s below 1.1 times the limit, by a model of both", () => {
    const pace = newPace()
    const maxSize = 10 * MIB
    const bytesPerMs = 50_000
    let begunMs = 0
    let largest = 0
    for (let nowMs = 0; nowMs < 20_000; nowMs = Math.ceil(pace.nextLookMs)) {
      const bytes = (nowMs - begunMs) * bytesPerMs
      observe(pace, bytes, nowMs, maxSize, longestLookMs(100))
      if (bytes >= maxSize) {
        // The first file is found late, as nothing was known yet.
        if (begunMs > 0) largest = Math.max(largest, bytes)
        begunMs = nowMs
        observe(pace, 0, nowMs, maxSize, longestLookMs(100))
      }
    }
    assert.isAtLeast(largest, maxSize)
    assert.isBelow(largest / maxSize, 1.1)
  })
})
