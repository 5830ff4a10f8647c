// The breaker alone, with times of its own: when it opens, whom it lets through, and when it closes.
import { describe, expect, it } from "vitest"
import { admit, type Breaker, CLOSED, type Outcome, settle } from "../src/breaker.ts"

const limits = { failures: 3, cooldownMs: 1_000 }
const failed: Outcome = { _tag: "failed", why: "down" }
const after = (outcomes: ReadonlyArray<Outcome>, from: Breaker = CLOSED, atMs = 0): Breaker =>
  outcomes.reduce((breaker, outcome) => settle(breaker, limits, outcome, atMs), from)
const opened = after([failed, failed, failed])

describe("the breaker", () => {
  it("opens after so many failures in a row, and not before", () => {
    expect(after([failed, failed])).toEqual({
      failures: 2,
      openUntilMs: null,
      openings: 0,
      probing: false,
      why: "down",
    })
    expect(opened).toEqual({ failures: 3, openUntilMs: 1_000, openings: 1, probing: false, why: "down" })
  })

  it("starts over with every answer, and goes by what says nothing", () => {
    expect(after([failed, failed, { _tag: "answered" }, failed, failed])).toMatchObject({
      failures: 2,
      openUntilMs: null,
    })
    expect(after([failed, failed, { _tag: "neutral" }, failed])).toMatchObject({ failures: 3, openUntilMs: 1_000 })
  })

  it("lets nobody through while it is open, and says how long that is", () => {
    expect(admit(opened, limits, 400)).toEqual({ next: opened, retryAfterMs: 600 })
  })

  it("then lets one through, and the others wait for that one", () => {
    const { next, retryAfterMs } = admit(opened, limits, 1_000)
    expect({ next, retryAfterMs }).toEqual({ next: { ...opened, probing: true }, retryAfterMs: null })
    expect(admit(next, limits, 1_001)).toEqual({ next, retryAfterMs: 1_000 })
  })

  it("closes when that one is answered, and makes room for another when it says nothing", () => {
    const probing: Breaker = { ...opened, probing: true }
    expect(settle(probing, limits, { _tag: "answered" }, 1_100)).toEqual(CLOSED)
    expect(settle(probing, limits, { _tag: "neutral" }, 1_100)).toEqual(opened)
  })

  it("waits twice as long each time that one fails, up to sixteen times", () => {
    let breaker = opened
    const waits: Array<number> = []
    for (let n = 0; n < 6; n += 1) {
      const atMs = breaker.openUntilMs ?? 0
      breaker = settle(admit(breaker, limits, atMs).next, limits, failed, atMs)
      waits.push((breaker.openUntilMs ?? 0) - atMs)
    }
    expect(waits).toEqual([2_000, 4_000, 8_000, 16_000, 16_000, 16_000])
  })

  it("isn't opened again by those that were under way when it opened", () => {
    expect(settle(opened, limits, failed, 500)).toEqual({ ...opened, failures: 4 })
  })
})
