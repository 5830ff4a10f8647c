// What the events of a log add up to.
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { type CoreFact, evolve, initialState, type LogState, type Step } from "@cordwood/core"
import {
  envelopeOf,
  FIRST_EVENT_AT,
  given,
  givenEvents,
  givenSnapshot,
  plainState,
  type PlainState,
  type Situation,
} from "@cordwood/core/testing"
import { runs } from "./property.ts"

const at = (second: number): string => `2026-09-09T04:33:${10 + second}.000Z`
const path = "/logs/0.log"
const [older, newer] = ["0.log.20260909-043250", "0.log.20260909-043300"]
const scanned: CoreFact = {
  type: "Scanned",
  data: {
    activeBytes: 3,
    segments: 2,
    totalBytes: 9,
    files: [
      { name: older, bytes: 2 },
      { name: newer, bytes: 4 },
    ],
  },
}
const nothing: PlainState = { files: null, lastRotatedAt: null, lastSegment: null, deferred: {}, failing: {} }
const twoSegments: PlainState = { ...nothing, files: { [older]: 2, [newer]: 4 } }

const failed = (
  step: "scan" | "clean" | "remove" | "compress" | "rotate" | "reopen" | "source",
  about: string,
  reason = "NoSpace",
): CoreFact => ({
  type: "Failed",
  data: { step, path: about, reason, message: `${step} failed`, hint: "do something" },
})
const failure = (step: string, about: string, second: number, reason = "NoSpace") => ({
  path: about,
  reason,
  message: `${step} failed`,
  hint: "do something",
  since: at(second),
})
const deferred = (about: string, why = "not shipped"): CoreFact => ({
  type: "Deferred",
  data: { step: "remove", path: about, by: "s3", why, retryAfterMs: 60_000 },
})

describe("the state of a log", () => {
  it("begins with nothing", () => {
    givenEvents().thenState(nothing)
    expect(at(0)).toBe(FIRST_EVENT_AT)
  })

  it("knows the names after a scan, which is the truth about them", () => {
    givenEvents(scanned).thenState(twoSegments)
    givenEvents(scanned, { ...scanned, data: { ...scanned.data, files: [{ name: newer, bytes: 4 }] } }).thenState({
      ...nothing,
      files: { [newer]: 4 },
    })
  })

  it("knows no names before a scan, whatever else has happened", () => {
    givenEvents({ type: "Removed", data: { path: `/logs/${older}`, bytes: 1, reason: "max-files" } }).thenState(nothing)
  })

  it("has one name more after a rotation, and when and to what it was", () => {
    const to = "/logs/0.log.20260909-043310"
    givenEvents(scanned, { type: "Rotated", data: { from: path, to, bytes: 9, reopened: true } }).thenState({
      ...nothing,
      files: { [older]: 2, [newer]: 4, "0.log.20260909-043310": 9 },
      lastRotatedAt: at(1),
      lastSegment: to,
    })
  })

  it("has one name less after a removal or a cleaning", () => {
    givenEvents(scanned, {
      type: "Removed",
      data: { path: `/logs/${older}`, bytes: 1, reason: "max-files" },
    }).thenState({ ...nothing, files: { [newer]: 4 } })
    givenEvents(scanned, {
      type: "Cleaned",
      data: { path: `/logs/${newer}`, bytes: 1, reason: "superseded" },
    }).thenState({ ...nothing, files: { [older]: 2 } })
  })

  it("has another name after a compression", () => {
    givenEvents(scanned, {
      type: "Compressed",
      data: { from: `/logs/${older}`, to: `/logs/${older}.gz`, codec: "gzip", bytesIn: 9, bytesOut: 2, durationMs: 1 },
    }).thenState({ ...nothing, files: { [newer]: 4, [`${older}.gz`]: 2 } })
  })

  it("says what waits, for what and since when, also when it is put off once more for another reason", () => {
    givenEvents(scanned, deferred(`/logs/${older}`), deferred(`/logs/${older}`, "still not shipped")).thenState({
      ...twoSegments,
      deferred: { [`/logs/${older}`]: { step: "remove", by: "s3", why: "still not shipped", since: at(1) } },
    })
  })

  it("says what fails and since when, also when it fails once more for another reason", () => {
    givenEvents(scanned, failed("compress", `/logs/${older}`), failed("compress", `/logs/${older}`, "Io")).thenState({
      ...twoSegments,
      failing: { [`compress /logs/${older}`]: failure("compress", `/logs/${older}`, 1, "Io") },
    })
  })

  it("keeps several failures of one file apart", () => {
    givenEvents(scanned, failed("compress", `/logs/${older}`), failed("remove", `/logs/${older}`)).thenState({
      ...twoSegments,
      failing: {
        [`compress /logs/${older}`]: failure("compress", `/logs/${older}`, 1),
        [`remove /logs/${older}`]: failure("remove", `/logs/${older}`, 2),
      },
    })
  })

  it("forgets what waited and failed once the file is gone", () => {
    givenEvents(
      scanned,
      deferred(`/logs/${older}`),
      failed("compress", `/logs/${older}`),
      failed("remove", `/logs/${older}`),
      {
        type: "Removed",
        data: { path: `/logs/${older}`, bytes: 1, reason: "max-files" },
      },
    ).thenState({ ...nothing, files: { [newer]: 4 } })
  })

  it("forgets a failure once the same step succeeds, and no other file's, be its name like it", () => {
    // A log's path may hold a blank and the whole of another one's.
    const odd = `/a /logs/${older}`
    givenEvents(
      scanned,
      failed("compress", `/logs/${newer}`),
      failed("compress", odd),
      failed("compress", `/logs/${older}`),
      {
        type: "Compressed",
        data: {
          from: `/logs/${older}`,
          to: `/logs/${older}.gz`,
          codec: "gzip",
          bytesIn: 9,
          bytesOut: 2,
          durationMs: 1,
        },
      },
    ).thenState({
      ...nothing,
      files: { [newer]: 4, [`${older}.gz`]: 2 },
      failing: {
        [`compress /logs/${newer}`]: failure("compress", `/logs/${newer}`, 1),
        [`compress ${odd}`]: failure("compress", odd, 2),
      },
    })
  })

  it("forgets failures to rotate and to reopen after a rotation, and those to scan after a scan", () => {
    const broken = givenEvents(scanned, failed("rotate", path), failed("reopen", path), failed("scan", path))
    broken.thenState({
      ...twoSegments,
      failing: {
        [`rotate ${path}`]: failure("rotate", path, 1),
        [`reopen ${path}`]: failure("reopen", path, 2),
        [`scan ${path}`]: failure("scan", path, 3),
      },
    })
    broken.whenToo(scanned).thenState({ ...twoSegments, failing: { [`rotate ${path}`]: failure("rotate", path, 1) } })
    broken
      .whenToo({ type: "Rotated", data: { from: path, to: `/logs/${newer}`, bytes: 1, reopened: true } })
      .thenState({
        ...nothing,
        files: { [older]: 2, [newer]: 1 },
        lastRotatedAt: at(4),
        lastSegment: `/logs/${newer}`,
        failing: { [`scan ${path}`]: failure("scan", path, 3) },
      })
  })

  it("forgets, with a scan, what waited and failed about files that are there no more", () => {
    givenEvents(scanned, deferred(`/logs/${older}`), deferred(`/logs/${newer}`), failed("compress", `/logs/${older}`), {
      ...scanned,
      data: { ...scanned.data, files: [{ name: newer, bytes: 4 }] },
    }).thenState({
      ...nothing,
      files: { [newer]: 4 },
      deferred: { [`/logs/${newer}`]: { step: "remove", by: "s3", why: "not shipped", since: at(2) } },
    })
  })

  it("is not touched by a plugin's own events", () => {
    givenEvents(scanned, { type: "s3.Shipped", data: { path: `/logs/${older}` } }).thenState(twoSegments)
  })
})

describe("whatever happens, the state of a log", () => {
  const about = fc.constantFrom(
    path,
    `/logs/${older}`,
    `/logs/${newer}`,
    `/logs/${older}.gz`,
    "/logs/0.log.20260909-043310",
    "/run/containerd.sock",
  )
  const bytes = fc.nat()
  const activity = fc.constantFrom(
    "scan",
    "clean",
    "remove",
    "compress",
    "rotate",
    "reopen",
    "source",
    "journal",
    "plugin" as const,
  )
  const fact: fc.Arbitrary<CoreFact> = fc.oneof(
    fc.record({
      type: fc.constant("Scanned"),
      data: fc.record({
        activeBytes: bytes,
        segments: bytes,
        totalBytes: bytes,
        files: fc.subarray([older, newer, `${older}.gz`].map((name) => ({ name, bytes: 1 }))),
      }),
    }),
    fc.record({
      type: fc.constant("Cleaned"),
      data: fc.record({ path: about, bytes, reason: fc.constantFrom("temporary", "superseded", "invalid") }),
    }),
    fc.record({
      type: fc.constant("Removed"),
      data: fc.record({ path: about, bytes, reason: fc.constantFrom("max-files", "pressure") }),
    }),
    fc.record({
      type: fc.constant("Compressed"),
      data: fc.record({
        from: about,
        to: about,
        codec: fc.constant("gzip"),
        bytesIn: bytes,
        bytesOut: bytes,
        durationMs: bytes,
      }),
    }),
    fc.record({
      type: fc.constant("Rotated"),
      data: fc.record({ from: about, to: about, bytes, reopened: fc.boolean() }),
    }),
    fc.record({
      type: fc.constant("Deferred"),
      data: fc.record({ step: activity, path: about, by: fc.string(), why: fc.string(), retryAfterMs: bytes }),
    }),
    fc.record({
      type: fc.constant("Failed"),
      data: fc.record({ step: activity, path: about, reason: fc.string(), message: fc.string(), hint: fc.string() }),
    }),
  )

  it("is one: every event has a meaning in every state, and leaves the state before as it was", () => {
    fc.assert(
      fc.property(fc.array(fact, { maxLength: 30 }), (facts) => {
        let state: LogState = initialState
        for (const [n, fact] of facts.entries()) {
          const before = plainState(state)
          const copy = structuredClone(before)
          const next = evolve(state, envelopeOf(fact, n))
          expect(plainState(state)).toEqual(copy)
          expect(Object.keys(next).toSorted()).toEqual(["deferred", "failing", "files", "lastRotatedAt", "lastSegment"])
          state = next
        }
        expect(plainState(initialState)).toEqual(nothing)
      }),
      runs(),
    )
  })

  it("does not change when an event is told twice, but for its time", () => {
    fc.assert(
      fc.property(fc.array(fact, { maxLength: 10 }), fact, (facts, last) => {
        const once = facts.reduce((state, fact, n) => evolve(state, envelopeOf(fact, n)), initialState)
        const event = envelopeOf(last, facts.length)
        const told = evolve(once, event)
        expect(plainState(evolve(told, event))).toEqual(plainState(told))
      }),
      runs(),
    )
  })

  it("holds the names that a directory has after a plan's steps, when it is told what they did", () => {
    const stamp = fc.integer({ min: 0, max: 59 }).map((s) => `20260909-0432${String(s).padStart(2, "0")}`)
    const name = fc
      .tuple(stamp, fc.constantFrom("", "", ".gz", ".zst", ".tmp"))
      .map(([at, suffix]) => `0.log.${at}${suffix}`)
    const situation: fc.Arbitrary<Situation> = fc
      .record({
        files: fc.dictionary(name, fc.nat({ max: 20 }), { maxKeys: 10, noNullPrototype: true }),
        active: fc.nat({ max: 20 }),
        maxFiles: fc.integer({ min: 2, max: 6 }),
      })
      .map(({ active, files, maxFiles }) => ({ files: { "0.log": active, ...files }, policy: { maxFiles } }))
    fc.assert(
      fc.property(situation, (situation) => {
        const { namesAfter, steps } = given(situation).whenPlanned("20260909-043310")
        const { segments, temporaries } = givenSnapshot(situation)
        const files = [...segments, ...temporaries].map(({ bytes, path }) => ({
          name: path.slice("/logs/".length),
          bytes,
        }))
        const scan: CoreFact = {
          type: "Scanned",
          data: { activeBytes: 0, segments: segments.length, totalBytes: 0, files },
        }
        const { files: known } = plainState(givenEvents(scan, ...steps.map(factOf)).state)
        expect(Object.keys(known ?? {}).toSorted()).toEqual(namesAfter.filter((name) => name !== "0.log"))
      }),
      runs(),
    )
  })
})

/** What is told when a step of such a plan has been done. */
const factOf = (step: Step): CoreFact => {
  switch (step._tag) {
    case "Clean":
      return { type: "Cleaned", data: { path: step.file.path, bytes: step.file.bytes, reason: step.reason } }
    case "Remove":
      return { type: "Removed", data: { path: step.segment.path, bytes: step.segment.bytes, reason: step.reason } }
    case "Compress":
      return {
        type: "Compressed",
        data: {
          from: step.segment.path,
          to: step.to,
          codec: step.codec,
          bytesIn: step.segment.bytes,
          bytesOut: 1,
          durationMs: 1,
        },
      }
    case "Rotate":
      return { type: "Rotated", data: { from: step.file.path, to: step.to, bytes: step.file.bytes, reopened: true } }
    case "Reopen":
    case "Refuse":
      throw new Error(`${step._tag} is no step of these plans`)
  }
}
