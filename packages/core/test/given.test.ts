// The given/when/then tools themselves: that what is wrong doesn't pass.
import { describe, expect, it } from "vitest"
import { given, givenEvents } from "@cordwood/core/testing"

const NOW = "20260909-043310"

describe("given, when, then", () => {
  const full = given({ files: { "0.log": 10, "0.log.20260909-043300": 4, "0.log.backup": 1, "1.log": 1 } }).whenPlanned(
    NOW,
  )
  const steps = [
    "Rotate 0.log to 0.log.20260909-043310",
    "Compress 0.log.20260909-043300 to 0.log.20260909-043300.gz, gzip",
  ]

  it("passes when the steps are these, and fails on one too few, one too many, one other and another order, with both in the message", () => {
    full.thenSteps(...steps)
    expect(() => full.thenSteps()).toThrow("expected\n[]\nbut got\n[\n")
    expect(() => full.thenSteps(steps[0]!)).toThrow(steps[1])
    expect(() => full.thenSteps(...steps, "Reopen 0.log")).toThrow("Reopen 0.log")
    expect(() => full.thenSteps(steps[0]!, "Reopen 0.log")).toThrow("Reopen 0.log")
    expect(() => full.thenSteps(...steps.toReversed())).toThrow(/^expected/)
  })

  it("says which names are there after all steps, foreign ones included", () => {
    const names = ["0.log", "0.log.20260909-043300.gz", "0.log.20260909-043310", "0.log.backup", "1.log"]
    expect(full.namesAfter).toEqual(names)
    full.thenNames(...names)
    expect(() => full.thenNames(...names.slice(1))).toThrow(/^expected/)
  })

  it("goes on from what the steps have made of the directory, later", () => {
    full.andDone().whenPlanned("20260909-053310").thenSteps()
    full.andDone(0).whenPlanned(NOW).thenSteps()
    given({ files: { "0.log": 10 }, policy: { maxSize: 0 } })
      .whenPlanned(NOW)
      .andDone()
      .whenPlanned(NOW)
      .thenSteps(
        "Rotate 0.log to 0.log.20260909-043311",
        "Compress 0.log.20260909-043310 to 0.log.20260909-043310.gz, gzip",
      )
  })

  it("refuses a policy that names no codec, and one that is none", () => {
    expect(() => given({ files: {}, policy: { compression: "brotli" } }).whenPlanned(NOW)).toThrow(
      "no codec brotli is given",
    )
    expect(() => given({ files: {}, policy: { maxFiles: 1 } }).whenPlanned(NOW)).toThrow("must be at least 2")
  })

  it("shows what a test framework needs for a difference", () => {
    const thrown = (): unknown => {
      try {
        full.thenSteps("nothing")
      } catch (error) {
        return error
      }
      return undefined
    }
    expect(thrown()).toMatchObject({ name: "AssertionError", actual: steps, expected: ["nothing"] })
  })

  it("tells states apart, not the order of their keys", () => {
    const state = {
      files: null,
      histories: {},
      lastRotatedAt: null,
      lastSegment: null,
      deferred: {},
      failing: {},
      planned: null,
    }
    givenEvents().thenState(Object.fromEntries(Object.entries(state).toReversed()) as typeof state)
    expect(() => givenEvents().thenState({ ...state, files: {} })).toThrow(/^expected/)
  })
})
