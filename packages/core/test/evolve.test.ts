// What the events of a log add up to.
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import {
  type CoreFact,
  type Envelope,
  evolve,
  type Fact,
  type History,
  initialState,
  type LogState,
  nameOf,
  type PluginFact,
  stampIn,
  type Step,
} from "@cordwood/core"
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
const nothing: PlainState = {
  files: null,
  histories: {},
  lastRotatedAt: null,
  lastSegment: null,
  deferred: {},
  failing: {},
  planned: null,
}
/** What is known of a segment that the event at this place rotated. */
const rotatedBy = (place: number, ...told: ReadonlyArray<PluginFact>): History => ({
  rotated: { eventId: `00000000-0000-4000-8000-${String(place + 1).padStart(12, "0")}`, traceId: null, spanId: null },
  told: [...told],
})
const shipped = (about: string, key = "k"): PluginFact => ({ type: "s3.Shipped", data: { path: about, key } })
const compressed = (name: string): CoreFact => ({
  type: "Compressed",
  data: { from: `/logs/${name}`, to: `/logs/${name}.gz`, codec: "gzip", bytesIn: 9, bytesOut: 2, durationMs: 1 },
})
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
    givenEvents({ type: "Removed", data: { path: `/logs/${older}`, bytes: 1, reason: "missing" } }).thenState(nothing)
  })

  it("has one name more after a rotation, and when and to what it was", () => {
    const to = "/logs/0.log.20260909-043310"
    givenEvents(scanned, { type: "Rotated", data: { from: path, to, bytes: 9, reopened: true } }).thenState({
      ...nothing,
      files: { [older]: 2, [newer]: 4, "0.log.20260909-043310": 9 },
      histories: { "20260909-043310": rotatedBy(1) },
      lastRotatedAt: at(1),
      lastSegment: to,
    })
  })

  it("has one name less after a removal or a cleaning", () => {
    givenEvents(scanned, {
      type: "Removed",
      data: { path: `/logs/${older}`, bytes: 1, reason: "missing" },
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
        data: { path: `/logs/${older}`, bytes: 1, reason: "missing" },
      },
    ).thenState({ ...nothing, files: { [newer]: 4 } })
  })

  it("knows the last name of a segment that was removed, too, though nobody told of its rotation; not what others have taken away", () => {
    const to = "/logs/0.log.20260909-043310"
    const removed = (name: string, reason: "pressure" | "missing") =>
      ({ type: "Removed", data: { path: `/logs/${name}`, bytes: 1, reason } }) as const
    const files = { [newer]: 4 }
    givenEvents(scanned, removed(older, "pressure")).thenState({ ...nothing, files, lastSegment: `/logs/${older}` })
    givenEvents(
      { type: "Rotated", data: { from: path, to, bytes: 9, reopened: true } },
      removed("0.log.20260909-043311.gz", "pressure"),
      removed("0.log.20260909-043309", "pressure"),
      removed("0.log.20260909-043312", "missing"),
    ).thenState({
      ...nothing,
      histories: { "20260909-043310": rotatedBy(0) },
      lastRotatedAt: at(0),
      lastSegment: "/logs/0.log.20260909-043311",
    })
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
        histories: { "20260909-043300": rotatedBy(4) },
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

  it("keeps the wait of a segment that a guard keeps when it is compressed, since the same time", () => {
    const waits = { step: "remove", by: "s3", why: "not shipped", since: at(1) } as const
    const waiting = givenEvents(scanned, deferred(`/logs/${older}`))
    waiting.whenToo(compressed(older)).thenState({
      ...nothing,
      files: { [newer]: 4, [`${older}.gz`]: 2 },
      deferred: { [`/logs/${older}.gz`]: waits },
    })
    // Put off once more under its new name, it still waits since then.
    waiting.whenToo(compressed(older), deferred(`/logs/${older}.gz`, "no network")).thenState({
      ...nothing,
      files: { [newer]: 4, [`${older}.gz`]: 2 },
      deferred: { [`/logs/${older}.gz`]: { ...waits, why: "no network" } },
    })
  })

  it("keeps no wait for a compression that has come about", () => {
    const put = { step: "compress", path: `/logs/${older}`, by: "cordwood", why: "it grows", retryAfterMs: 0 } as const
    givenEvents(scanned, { type: "Deferred", data: put }, compressed(older)).thenState({
      ...nothing,
      files: { [newer]: 4, [`${older}.gz`]: 2 },
    })
  })

  it("says what would have been done, as it was last told, until there is a rotation", () => {
    const steps = [{ step: "rotate", path }] as const
    const planned: CoreFact = { type: "Planned", data: { steps: [...steps] } }
    givenEvents(scanned, { type: "Planned", data: { steps: [] } }, planned, scanned).thenState({
      ...twoSegments,
      planned: [...steps],
    })
    const to = `/logs/${newer}`
    givenEvents(planned, { type: "Rotated", data: { from: path, to, bytes: 1, reopened: true } }).thenState({
      ...nothing,
      histories: { "20260909-043300": rotatedBy(1) },
      lastRotatedAt: at(1),
      lastSegment: to,
    })
  })
})

describe("what is known of a segment", () => {
  const stamp = "20260909-043310"
  const to = `/logs/0.log.${stamp}`
  const rotated: CoreFact = { type: "Rotated", data: { from: path, to, bytes: 9, reopened: true } }
  const scannedAs = (...files: Extract<CoreFact, { type: "Scanned" }>["data"]["files"]): CoreFact => ({
    type: "Scanned",
    data: { activeBytes: 0, segments: files.length, totalBytes: 0, files },
  })
  const historiesAfter = (...facts: ReadonlyArray<Fact>) => plainState(givenEvents(...facts).state).histories

  it("is the event and the span of the rotation that made it", () => {
    const event = envelopeOf(rotated)
    const span = { traceId: "4bf92f3577b34da6a3ce929d0e0e4736", spanId: "00f067aa0ba902b7" }
    const { histories } = plainState(evolve(initialState, { ...event, metadata: { ...event.metadata, ...span } }))
    expect(histories).toEqual({ [stamp]: { rotated: { eventId: event.id, ...span }, told: [] } })
  })

  it("is what each plugin told of it last, plain or compressed", () => {
    const seen: PluginFact = { type: "audit.Seen", data: { path: to } }
    expect(
      historiesAfter(
        rotated,
        { type: "s3.Begun", data: { path: to } },
        seen,
        compressed(`0.log.${stamp}`),
        shipped(`${to}.gz`, "a"),
        shipped(`${to}.gz`, "b"),
      ),
    ).toEqual({ [stamp]: rotatedBy(0, seen, shipped(`${to}.gz`, "b")) })
  })

  it("keeps plugins apart whose names begin alike", () => {
    const other: PluginFact = { type: "s3x.Shipped", data: { path: to } }
    expect(historiesAfter(rotated, shipped(to), other, shipped(to, "b"))).toEqual({
      [stamp]: rotatedBy(0, other, shipped(to, "b")),
    })
  })

  it("ends what that plugin put off about the file, and nobody else's wait", () => {
    const waits = { step: "remove", by: "s3", why: "not shipped", since: at(1) } as const
    const waiting = givenEvents(scanned, deferred(`/logs/${older}`))
    waiting.whenToo(shipped(`/logs/${older}`)).thenState({
      ...twoSegments,
      histories: { "20260909-043250": { rotated: null, told: [shipped(`/logs/${older}`)] } },
    })
    const other: PluginFact = { type: "audit.Seen", data: { path: `/logs/${older}` } }
    waiting.whenToo(other).thenState({
      ...twoSegments,
      histories: { "20260909-043250": { rotated: null, told: [other] } },
      deferred: { [`/logs/${older}`]: waits },
    })
  })

  it.each([
    ["no path", {}],
    ["a path that is no text", { path: 7 }],
    ["no object", "text"],
    ["nothing", null],
    ["a list", [to]],
    ["the active file", { path }],
    ["another log's segment", { path: `/logs/1.log.${stamp}` }],
    ["a segment of the same name elsewhere", { path: `/bucket/0.log.${stamp}` }],
    ["a name only", { path: `0.log.${stamp}` }],
  ])("is nothing more by a plugin's event that names %s", (_what, data) => {
    givenEvents(scanned, { type: "s3.Shipped", data }).thenState(twoSegments)
  })

  it.each([".", "s3.", ".Shipped", "s3", "s3.a.b", "__proto__.x", "toString"])(
    "is nothing more by an event of the odd type %j",
    (type) => {
      givenEvents(scanned, { type, data: { path: `/logs/${older}` } } as PluginFact).thenState(twoSegments)
    },
  )

  it("goes along with scans, and ends with the file", () => {
    const history = rotatedBy(0, shipped(to))
    expect(historiesAfter(rotated, shipped(to), scannedAs({ name: `0.log.${stamp}`, bytes: 9 }))).toEqual({
      [stamp]: history,
    })
    expect(historiesAfter(rotated, shipped(to), scannedAs({ name: `0.log.${stamp}.gz`, bytes: 2 }))).toEqual({
      [stamp]: history,
    })
    expect(historiesAfter(rotated, shipped(to), scannedAs({ name: newer, bytes: 4 }))).toEqual({})
    // Half a compressed file is no segment.
    expect(historiesAfter(rotated, shipped(to), scannedAs({ name: `0.log.${stamp}.tmp`, bytes: 1 }))).toEqual({})
  })

  it("is as a scan says, where that says so: what came before may be gone from the journal", () => {
    const history: History = { rotated: { eventId: "e1", traceId: null, spanId: null }, told: [shipped(to, "z")] }
    expect(historiesAfter(scannedAs({ name: `0.log.${stamp}.gz`, bytes: 2, history }))).toEqual({ [stamp]: history })
    expect(historiesAfter(rotated, scannedAs({ name: `0.log.${stamp}`, bytes: 2, history }))).toEqual({
      [stamp]: history,
    })
  })

  it("includes, with a scan, what waits and what fails, and since when", () => {
    const since = "2026-09-01T00:00:00.000Z"
    const waits = { step: "remove", by: "s3", why: "not shipped", since } as const
    const fails = { path, reason: "Io", message: "no", hint: "look", since }
    const scan = scannedAs({ name: older, bytes: 2 }, { name: newer, bytes: 4 })
    const carried = {
      deferred: [
        { path: `/logs/${older}`, ...waits },
        { path: "/logs/gone", ...waits },
      ],
      failing: [
        { ...fails, step: "rotate" as const },
        // The scan itself has not failed.
        { ...fails, step: "scan" as const },
      ],
    }
    givenEvents({ ...scan, data: { ...scan.data, ...carried } } as CoreFact).thenState({
      ...twoSegments,
      deferred: { [`/logs/${older}`]: waits },
      failing: { [`rotate ${path}`]: fails },
    })
  })

  it("is the removed segment's until the next scan, for those who ask what it was", () => {
    expect(
      historiesAfter(rotated, shipped(to), { type: "Removed", data: { path: to, bytes: 9, reason: "max-files" } }),
    ).toEqual({ [stamp]: rotatedBy(0, shipped(to)) })
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
    "plugin",
    "offer" as const,
  )
  const fact: fc.Arbitrary<Fact> = fc.oneof(
    fc.record({
      type: fc.constantFrom("s3.Shipped", "s3.Begun", "audit.Seen", "odd" as "odd.Type", "." as const),
      data: fc.oneof(fc.record({ path: about, n: bytes }), fc.jsonValue()),
    }),
    fc.record({
      type: fc.constant("Planned"),
      data: fc.record({ steps: fc.array(fc.record({ step: activity, path: about }), { maxLength: 3 }) }),
    }),
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
          expect(Object.keys(next).toSorted()).toEqual(Object.keys(initialState).toSorted())
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

  it("is the same from the latest scan on, which carries along what is known of the files that it saw", () => {
    /** The scan as a pass records it: see `PassRecord.scanned` in the agent. */
    const telling = (state: LogState, event: Envelope): Envelope => {
      if (event.type !== "Scanned") return event
      const { data } = event as Extract<CoreFact, { type: "Scanned" }>
      const files = data.files.map((file) => {
        const stamp = file.name.endsWith(".tmp") ? null : stampIn(nameOf(path), file.name)
        const history = stamp === null ? undefined : state.histories.get(stamp)
        return history === undefined ? file : { ...file, history }
      })
      const deferred = [...state.deferred].map(([path, deferral]) => ({ path, ...deferral }))
      const failing = [...state.failing].map(([key, failure]) => ({ ...failure, step: key.split(" ", 1)[0] }))
      return { ...event, data: { ...data, files, deferred, failing } } as Envelope
    }
    const scan: fc.Arbitrary<Fact> = fc
      .subarray([older, newer, `${older}.gz`, "0.log.20260909-043310", "0.log.20260909-043310.tmp"])
      .map((names) => ({
        type: "Scanned",
        data: { activeBytes: 0, segments: 0, totalBytes: 0, files: names.map((name) => ({ name, bytes: 1 })) },
      }))
    const before = fc.array(fc.oneof(fact, scan), { maxLength: 20 })
    fc.assert(
      fc.property(before, scan, fc.array(fact, { maxLength: 10 }), (before, scan, after) => {
        let whole: LogState = initialState
        let sinceScan: LogState = initialState
        for (const [n, fact] of [...before, scan, ...after].entries()) {
          const event = telling(whole, envelopeOf(fact, n))
          whole = evolve(whole, event)
          sinceScan = evolve(n === before.length ? initialState : sinceScan, event)
        }
        // A replay has the latest rotation besides; what would have been done is told again.
        const but = { lastRotatedAt: null, lastSegment: null, planned: null }
        expect({ ...plainState(sinceScan), ...but }).toEqual({ ...plainState(whole), ...but })
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
    case "Offer":
    case "Reopen":
    case "Refuse":
      throw new Error(`${step._tag} is no step of these plans`)
  }
}
