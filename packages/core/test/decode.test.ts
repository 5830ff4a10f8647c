// Reading stored events back: whatever lies in the journal, an answer.
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as z from "zod"
import {
  type CoreFact,
  type CoreType,
  currentVersion,
  decode,
  type Decoded,
  type Envelope,
  payloads,
  upcast,
  type Upcasters,
} from "@cordwood/core"
import { envelopeOf } from "@cordwood/core/testing"
import { runs } from "./property.ts"

const path = "/logs/0.log"
const to = "/logs/0.log.20260909-043310"
/** One of every core type, with just what the contract says. */
const facts: { readonly [T in CoreType]: Extract<CoreFact, { readonly type: T }> } = {
  Scanned: {
    type: "Scanned",
    data: { activeBytes: 3, segments: 1, totalBytes: 5, files: [{ name: "0.log.20260909-043310", bytes: 2 }] },
  },
  Planned: { type: "Planned", data: { steps: [{ step: "rotate", path }] } },
  Cleaned: { type: "Cleaned", data: { path: `${to}.tmp`, bytes: 2, reason: "temporary" } },
  Removed: { type: "Removed", data: { path: to, bytes: 2, reason: "max-files" } },
  Compressed: {
    type: "Compressed",
    data: { from: to, to: `${to}.gz`, codec: "gzip", bytesIn: 9, bytesOut: 2, durationMs: 0.5 },
  },
  Rotated: { type: "Rotated", data: { from: path, to, bytes: 9, reopened: true } },
  Deferred: {
    type: "Deferred",
    data: { step: "remove", path: to, by: "s3", why: "not shipped", retryAfterMs: 60_000 },
  },
  Failed: {
    type: "Failed",
    data: { step: "compress", path: to, reason: "NoSpace", message: "no space left", hint: "free some" },
  },
}
const all = Object.values(facts)

/** As the journal gives it back. */
const stored = (event: object): Record<string, unknown> => JSON.parse(JSON.stringify(event)) as Record<string, unknown>
const rotated: Envelope = envelopeOf(facts.Rotated)

describe("an event", () => {
  it("exists for every payload", () => {
    expect(Object.keys(facts).toSorted()).toEqual(Object.keys(payloads).toSorted())
  })

  it.each(all)("is read back as it was written: $type", (fact) => {
    const event = envelopeOf(fact, 3, {
      path,
      namespace: "ns",
      pod: "p",
      podUid: "u",
      container: "c",
      containerId: "i",
    })
    expect(decode(stored(event))).toEqual({ _tag: "Known", event })
  })

  it("is invalid, with a message that says what and where, when its data is not what the type says", () => {
    const raw = stored({ ...rotated, data: { ...facts.Rotated.data, bytes: -1 } })
    expect(decode(raw)).toEqual({
      _tag: "Invalid",
      problem: `Rotated ${rotated.id}: ✖ Too small: expected number to be >=0\n  → at bytes`,
    })
  })

  it.each([
    ["id", 7, "✖ Invalid input: expected string, received number\n  → at id"],
    ["id", "not a uuid", "✖ Invalid UUID\n  → at id"],
    ["position", 0, "✖ Too small: expected number to be >=1\n  → at position"],
    ["time", "yesterday", "✖ Invalid ISO datetime\n  → at time"],
    ["time", "2026-09-09T04:33:10+02:00", "✖ Invalid ISO datetime\n  → at time"],
    ["type", "", "✖ Too small: expected string to have >=1 characters\n  → at type"],
    ["version", 0, "✖ Too small: expected number to be >=1\n  → at version"],
    ["version", 1.5, "✖ Invalid input: expected int, received number\n  → at version"],
    ["log", { path: "" }, "✖ Too small: expected string to have >=1 characters\n  → at log.path"],
    ["metadata", {}, "✖ Invalid input: expected string, received undefined\n  → at metadata.correlationId"],
  ])("is invalid when its %s is %j", (key, value, problem) => {
    const found = decode(stored({ ...rotated, [key]: value }))
    expect(found).toMatchObject({ _tag: "Invalid", problem: expect.stringContaining(problem) })
  })

  it("is read without the fields that a later agent of the same version has added, so that an agent can be rolled back", () => {
    const added = { later: [1] }
    for (const fact of all) {
      const event = envelopeOf(fact)
      const raw = {
        ...event,
        log: { ...event.log, ...added },
        metadata: { ...event.metadata, ...added },
        data: { ...fact.data, ...added },
      }
      expect(decode(stored(raw))).toEqual({ _tag: "Known", event })
    }
  })

  it("is unknown, with all that was stored, when its type is one that this program doesn't know", () => {
    const raw = stored({ ...rotated, type: "Archived", version: 4 })
    expect(decode(raw)).toEqual({ _tag: "Unknown", type: "Archived", version: 4, raw })
  })

  it("is unknown when it is newer than this program, whatever its data looks like, so that an agent can be rolled back", () => {
    for (const data of [facts.Rotated.data, { quite: "different" }, null]) {
      const raw = stored({ ...rotated, version: 2, data })
      expect(decode(raw)).toEqual({ _tag: "Unknown", type: "Rotated", version: 2, raw })
    }
  })
})

describe("a scan", () => {
  const scanned = (file: object): Decoded =>
    decode(
      stored({
        ...envelopeOf(facts.Scanned),
        data: { ...facts.Scanned.data, files: [{ name: "0.log.20260909-043310", bytes: 2, ...file }] },
      }),
    )
  const rotated = { eventId: "e1", traceId: null, spanId: null }

  it("is read back with what earlier events told of each file, and of what waits and fails", () => {
    const since = "2026-09-09T04:33:10.000Z"
    const deferred = [{ path: to, step: "remove" as const, by: "s3", why: "not shipped", since }]
    const failing = [{ path, step: "rotate" as const, reason: "Io", message: "m", hint: "h", since }]
    const told = [
      { type: "s3.Shipped" as const, data: { key: "a", list: [1, null] } },
      { type: "my-plugin2.Seen" as const, data: null },
    ]
    const event = envelopeOf({
      type: "Scanned",
      data: {
        activeBytes: 3,
        segments: 1,
        totalBytes: 5,
        files: [
          { name: "0.log.20260909-043300", bytes: 2, history: { rotated, told } },
          { name: "0.log.20260909-043310", bytes: 2, history: { rotated: null, told: [] } },
          { name: "0.log.20260909-043310.tmp", bytes: 0 },
        ],
        deferred,
        failing,
      },
    })
    expect(decode(stored(event))).toEqual({ _tag: "Known", event })
  })

  it.each([
    "",
    ".",
    "s3.",
    ".Shipped",
    "s3",
    "s3.a.b",
    "S3.Shipped",
    "s3.Shipped\n",
    "s 3.Shipped",
    "s3.7",
    "__proto__",
  ])("is invalid if it tells of a plugin's event of the type %j", (type) => {
    const found = scanned({ history: { rotated, told: [{ type, data: {} }] } })
    expect(found).toMatchObject({ _tag: "Invalid", problem: expect.stringContaining("told[0].type") })
  })

  it.each([
    [{ history: { rotated } }, "history.told"],
    [{ history: { rotated: { eventId: "e1" }, told: [] } }, "history.rotated.traceId"],
    [{ history: { rotated, told: [{ type: "s3.Shipped" }] } }, "history.told[0].data"],
  ])("is invalid if it tells of a file %j", (file, at) => {
    expect(scanned(file)).toMatchObject({ _tag: "Invalid", problem: expect.stringContaining(`files[0].${at}`) })
  })
})

describe("what a scan carries along", () => {
  it.each([
    [{ deferred: [{ path, step: "wait", by: "s3", why: "", since: "2026-09-09T04:33:10Z" }] }, "deferred[0].step"],
    [{ deferred: [{ path, step: "remove", by: "s3", why: "", since: "today" }] }, "deferred[0].since"],
    [
      { failing: [{ path, step: "rotate", reason: "", message: "", since: "2026-09-09T04:33:10Z" }] },
      "failing[0].hint",
    ],
  ])("is invalid as %j", (more, at) => {
    const raw = stored({ ...envelopeOf(facts.Scanned), data: { ...facts.Scanned.data, ...more } })
    expect(decode(raw)).toMatchObject({ _tag: "Invalid", problem: expect.stringContaining(at) })
  })
})

describe("a plan that was kept from being carried out", () => {
  it("is invalid where it has a step that nobody takes", () => {
    const raw = stored({ ...envelopeOf(facts.Planned), data: { steps: [{ step: "dance", path }] } })
    expect(decode(raw)).toMatchObject({ _tag: "Invalid", problem: expect.stringContaining("steps[0].step") })
  })
})

describe("an event under a policy", () => {
  it.each([{}, { policy: "canary" }, { policy: "canary", mode: "observe" }] as const)("says which: %j", (under) => {
    const event = { ...rotated, metadata: { ...rotated.metadata, ...under } }
    expect(decode(stored(event))).toEqual({ _tag: "Known", event })
  })

  it("is invalid in a mode that there isn't", () => {
    const event = { ...rotated, metadata: { ...rotated.metadata, mode: "dry-run" } }
    expect(decode(stored(event))).toMatchObject({ _tag: "Invalid", problem: expect.stringContaining("metadata.mode") })
  })
})

describe("a plugin's event", () => {
  const plugins = { "s3.Shipped": z.strictObject({ key: z.string() }) }
  const shipped = envelopeOf({ type: "s3.Shipped", data: { key: "a/b" } })

  it("is read by the schema that the plugin brought", () => {
    expect(decode(stored(shipped), { plugins })).toEqual({ _tag: "Known", event: shipped })
    expect(decode(stored({ ...shipped, data: { kee: 1 } }), { plugins })._tag).toBe("Invalid")
  })

  it("is unknown when the plugin isn't loaded any more, and when it is newer than the plugin", () => {
    const raw = stored(shipped)
    expect(decode(raw)).toEqual({ _tag: "Unknown", type: "s3.Shipped", version: 1, raw })
    const newer = stored({ ...shipped, version: 2, data: { bucket: "b" } })
    expect(decode(newer, { plugins })).toEqual({ _tag: "Unknown", type: "s3.Shipped", version: 2, raw: newer })
  })

  it.each(["constructor", "toString", "__proto__", "hasOwnProperty"])(
    "of the type %s, which every object has, is unknown like any other",
    (type) => {
      expect(decode({ ...stored(rotated), type }, { plugins })).toMatchObject({ _tag: "Unknown", type })
    },
  )
})

describe("an old event", () => {
  // Made up: version 1 had `name`, version 2 `from`, and version 3, today's, is as the payload says.
  const upcasters: Upcasters = {
    Rotated: {
      1: (data) => {
        const { name, ...rest } = data as { readonly name: string }
        return { ...rest, from: `/logs/${name}` }
      },
      2: (data) => ({ reopened: false, ...(data as object) }),
    },
  }
  const versions = {
    1: { name: "0.log", to, bytes: 9 },
    2: { from: path, to, bytes: 9 },
    3: { from: path, to, bytes: 9, reopened: false },
  }

  it.each([1, 2, 3] as const)("of version %d is raised to today's, a version at a time", (version) => {
    const raw = stored({ ...rotated, version, data: versions[version] })
    expect(decode(raw, { upcasters })).toEqual({ _tag: "Known", event: { ...rotated, version: 3, data: versions[3] } })
    // What is stored stays what it is.
    expect(raw["version"]).toBe(version)
  })

  it("of a version after today's is unknown", () => {
    expect(decode(stored({ ...rotated, version: 4 }), { upcasters })).toMatchObject({ _tag: "Unknown", version: 4 })
  })

  it("is invalid, not an exception, when it isn't even what its own version says", () => {
    const fragile: Upcasters = {
      Rotated: { 1: (data) => ({ from: (data as { readonly name: { readonly first: string } }).name.first }) },
    }
    expect(decode(stored({ ...rotated, data: {} }), { upcasters: fragile })).toEqual({
      _tag: "Invalid",
      problem: `Rotated ${rotated.id}: version 1 can't be raised to 2: TypeError: Cannot read properties of undefined (reading 'first')`,
    })
  })

  it("of a type without upcasters is at its first version, and stays as it is", () => {
    expect(upcast(upcasters, "Removed", 1, { a: 1 })).toEqual({ version: 1, data: { a: 1 } })
    expect([
      currentVersion(upcasters, "Removed"),
      currentVersion(upcasters, "Rotated"),
      currentVersion(upcasters, "constructor"),
    ]).toEqual([1, 3, 1])
  })
})

describe("decode", () => {
  const answers = (raw: unknown): void => {
    const found = decode(raw, { plugins: { "s3.Shipped": z.strictObject({ key: z.string() }) } })
    expect(["Known", "Unknown", "Invalid"]).toContain(found._tag)
    // Nothing gets lost on the way to Unknown.
    if (found._tag === "Unknown") expect(found.raw).toBe(raw)
  }

  it("has an answer for any JSON", () => {
    fc.assert(fc.property(fc.jsonValue({ maxDepth: 4 }), answers), runs(2_000))
  })

  it("has an answer for any value at all", () => {
    fc.assert(fc.property(fc.anything(), answers), runs())
  })

  it("has an answer for events with one thing wrong", () => {
    const key = fc.constantFrom(...Object.keys(stored(rotated)), "extra", "__proto__")
    const change = fc.tuple(
      key,
      fc.oneof(fc.jsonValue(), fc.constantFrom("s3.Shipped", "__proto__", "Scanned", 2, Number.MAX_SAFE_INTEGER)),
    )
    fc.assert(
      fc.property(fc.constantFrom(...all), change, (fact, [key, value]) => {
        answers(Object.fromEntries([...Object.entries(stored(envelopeOf(fact))), [key, value]]))
      }),
      runs(2_000),
    )
  })

  it("gives back any event whose data fits its type", () => {
    const bytes = fc.nat({ max: Number.MAX_SAFE_INTEGER })
    const text = fc.string({ unit: "binary", minLength: 1 })
    const fact: fc.Arbitrary<CoreFact> = fc.oneof(
      fc.record({
        type: fc.constant("Removed"),
        data: fc.record({ path: text, bytes, reason: fc.constantFrom("max-files", "pressure") }),
      }),
      fc.record({
        type: fc.constant("Rotated"),
        data: fc.record({ from: text, to: text, bytes, reopened: fc.boolean() }),
      }),
      fc.record({
        type: fc.constant("Scanned"),
        data: fc.record({
          activeBytes: bytes,
          segments: fc.nat(),
          totalBytes: bytes,
          files: fc.array(fc.record({ name: text, bytes })),
        }),
      }),
    )
    fc.assert(
      fc.property(fact, fc.nat({ max: 1_000 }), (fact, at) => {
        const event = envelopeOf(fact, at)
        expect(decode(stored(event))).toEqual({ _tag: "Known", event })
      }),
      runs(),
    )
  })
})
