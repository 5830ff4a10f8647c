// Rubbish from outside, into what is pure: a value or words that say what is wrong, and never an exception. `FUZZ_RUNS=100` tries a hundred times as much.
import { assert, describe, it } from "vitest"
import * as fc from "fast-check"
import {
  decode,
  type Entry,
  evolve,
  formatBytes,
  formatDuration,
  formatRotatedName,
  initialState,
  type Limits,
  parseDuration,
  parseQuantity,
  parseRotatedName,
  pathOf,
  plan,
  Policy,
  policyFor,
  snapshotOf,
  stampIn,
} from "../src/index.ts"
import { runs } from "./property.ts"

const { seed = 0 } = runs()
const fuzz = (cases: number) => ({ seed, numRuns: cases * Number(process.env["FUZZ_RUNS"] ?? 1) })

const CODECS = [
  { id: "gzip", suffix: ".gz" },
  { id: "zstd", suffix: ".zst" },
]
/** Text of every kind, with what matters in a name in it more often than chance would. */
const text = fc.oneof(
  fc.string({ unit: "binary", maxLength: 40 }),
  fc.string({ maxLength: 40 }),
  fc
    .array(
      fc.constantFrom(
        "0.log",
        ".",
        "20260909-043310",
        "99999999-999999",
        ".gz",
        ".tmp",
        "-",
        "/",
        "\0",
        "\n",
        "..",
        "é",
        "\ud800",
      ),
      {
        maxLength: 6,
      },
    )
    .map((parts) => parts.join("")),
)

describe(`rubbish (seed ${seed})`, () => {
  it("is no rotated name, or one that is written as it was read", () => {
    fc.assert(
      fc.property(text, text, (active, rest) => {
        for (const name of [rest, `${active}.${rest}`]) {
          const stamp = stampIn(active, name)
          const parsed = parseRotatedName(
            active,
            name,
            CODECS.map(({ suffix }) => suffix),
          )
          if (parsed === null) continue
          assert.strictEqual(parsed.stamp, stamp)
          const suffix = parsed.kind === "temporary" ? ".tmp" : parsed.suffix
          assert.strictEqual(formatRotatedName(active, parsed.stamp, suffix), name)
        }
      }),
      fuzz(1_000),
    )
  })

  it("in a directory makes a plan that touches nothing but names of this log, each once and in this directory", () => {
    const entry = fc.record<Entry>({
      path: text,
      name: text,
      kind: fc.constantFrom("file", "directory", "symlink", "other"),
      bytes: fc.oneof(fc.nat(), fc.double(), fc.constant(-1)),
      modifiedMs: fc.double(),
      identity: fc.constantFrom("1:1", "1:2", "1:3", ""),
    })
    fc.assert(
      fc.property(
        fc.array(entry, { maxLength: 12 }),
        fc.boolean(),
        fc.double(),
        fc.record({
          maxSize: fc.integer({ min: -1, max: 100 }),
          maxFiles: fc.integer({ min: 2, max: 5 }),
          codec: fc.constantFrom(null, ...CODECS),
          guarded: fc.boolean(),
          cleared: fc.constantFrom(null, new Set<string>()),
          writer: fc.constantFrom("running", "stopped", "surplus"),
          shed: fc.constant(new Map()),
        }),
        (entries, isOurs, takenAtMs, limits: Limits) => {
          const listed = entries.map((one) => (isOurs ? { ...one, name: `0.log.${one.name}` } : one))
          const snapshot = snapshotOf({ path: "/d/0.log" }, { entries: listed, takenAtMs }, CODECS)
          for (const step of plan(limits, snapshot, "20260909-043310")) {
            const name = pathOf(step).slice("/d/".length)
            assert.isTrue(pathOf(step).startsWith("/d/0.log"), pathOf(step))
            const ours =
              name === "0.log" ||
              parseRotatedName(
                "0.log",
                name,
                CODECS.map(({ suffix }) => suffix),
              ) !== null
            assert.isTrue(ours, name)
          }
        },
      ),
      fuzz(500),
    )
  })

  it("is no quantity, in words, or a whole number that is a quantity itself", () => {
    const digits = fc.constantFrom(
      "0",
      "1",
      "9",
      "10",
      "1024",
      "999999999999999999999999999999",
      ".",
      "1e",
      "e",
      "E+",
      "-",
      "+",
      "Ki",
      "Mi",
      "m",
      "n",
      "k",
      "_",
      " ",
    )
    const input = fc.oneof(
      text,
      fc.array(digits, { maxLength: 6 }).map((parts) => parts.join("")),
      fc.double(),
      fc.bigInt().map(String),
    )
    fc.assert(
      fc.property(input, (from) => {
        const parsed = parseQuantity(from)
        if (!parsed.ok) return assert.isAbove(parsed.problem.length, 10)
        assert.isTrue(Number.isSafeInteger(parsed.value))
        assert.deepStrictEqual(parseQuantity(String(parsed.value)), parsed)
        assert.match(formatBytes(parsed.value), /^-?\d+(\.\d)? ([KMGT]i)?B$/)
      }),
      fuzz(1_000),
    )
  })

  it("is the quantity that Kubernetes' grammar makes of it", () => {
    const suffix = fc.constantFrom(
      ["", 1n],
      ["k", 10n ** 3n],
      ["M", 10n ** 6n],
      ["G", 10n ** 9n],
      ["Ki", 2n ** 10n],
      ["Mi", 2n ** 20n],
      ["Gi", 2n ** 30n],
      ["e3", 10n ** 3n],
      ["E2", 10n ** 2n],
    ) as fc.Arbitrary<[string, bigint]>
    fc.assert(
      fc.property(
        fc.bigInt({ min: 0n, max: 10n ** 12n }),
        suffix,
        fc.constantFrom("", "+", "-"),
        (number, [unit, factor], sign) => {
          const exact = number * factor * (sign === "-" ? -1n : 1n)
          const parsed = parseQuantity(`${sign}${number}${unit}`)
          const fits = exact >= -(2n ** 53n - 1n) && exact <= 2n ** 53n - 1n
          assert.deepStrictEqual(parsed.ok ? BigInt(parsed.value) : null, fits ? exact : null)
        },
      ),
      fuzz(500),
    )
  })

  it("is no duration, in words, or one of at most ten years that reads the same when it is written", () => {
    const part = fc.constantFrom(
      "1",
      "0",
      "90",
      "1.5",
      "999999999999999",
      "ms",
      "s",
      "m",
      "h",
      "d",
      "w",
      "µs",
      "ns",
      " ",
      "-",
      ".",
      "min",
      "xs",
      "\n",
    )
    const input = fc.oneof(
      text,
      fc.array(part, { maxLength: 8 }).map((parts) => parts.join("")),
      fc.double(),
    )
    fc.assert(
      fc.property(input, (from) => {
        const parsed = parseDuration(from)
        if (!parsed.ok) return assert.isAbove(parsed.problem.length, 10)
        assert.isTrue(parsed.value >= 0 && parsed.value <= 3_650 * 86_400_000)
        const said = formatDuration(parsed.value)
        const again = parseDuration(said)
        // Rounded to a second, and two units of it: of days, the hours.
        assert.isTrue(again.ok && Math.abs(again.value - parsed.value) <= parsed.value * 0.05 + 500, said)
      }),
      fuzz(1_000),
    )
  })

  it("in the place of an event, or in one, is decoded as what it is, and adds up to something all the same", () => {
    const valid = {
      id: "00000000-0000-4000-8000-000000000001",
      position: 1,
      time: "2026-09-09T04:33:10.000Z",
      version: 1,
      log: { path: "/d/0.log" },
      metadata: { correlationId: "c", causationId: null, traceId: null, spanId: null },
    }
    const seg = "/d/0.log.20260909-043310"
    const facts = [
      {
        type: "Scanned",
        data: {
          activeBytes: 1,
          segments: 1,
          totalBytes: 2,
          files: [{ name: "0.log.20260909-043310", bytes: 1 }],
          deferred: [],
          failing: [],
        },
      },
      { type: "Cleaned", data: { path: seg, bytes: 1, reason: "temporary" } },
      { type: "Removed", data: { path: seg, bytes: 1, reason: "max-files" } },
      {
        type: "Compressed",
        data: { from: seg, to: `${seg}.gz`, codec: "gzip", bytesIn: 1, bytesOut: 1, durationMs: 1 },
      },
      { type: "Rotated", data: { from: "/d/0.log", to: seg, bytes: 1, reopened: true, maxSize: 1 } },
      { type: "Deferred", data: { step: "remove", path: seg, by: "s3", why: "away", retryAfterMs: 1 } },
      { type: "Failed", data: { step: "scan", path: seg, reason: "Io", message: "m", hint: "h" } },
      { type: "Planned", data: { steps: [{ step: "remove", path: seg }] } },
      { type: "s3.Shipped", data: { path: seg } },
    ]
    const anything = fc.oneof(
      { weight: 3, arbitrary: fc.anything({ withNullPrototype: true, maxDepth: 3 }) },
      {
        weight: 3,
        arbitrary: fc.constantFrom<unknown>(
          null,
          undefined,
          Number.NaN,
          -1,
          2 ** 60,
          "",
          "\0",
          [],
          {},
          "constructor",
          "__proto__",
          { toString: 1 },
        ),
      },
      { weight: 1, arbitrary: fc.jsonValue() },
    )
    /** Puts something else in one place of an event, at whatever depth. */
    const bent = fc
      .tuple(fc.constantFrom(...facts), fc.array(fc.nat(20), { minLength: 1, maxLength: 4 }), anything)
      .map(([fact, way, other]) => {
        const event: Record<string, unknown> = structuredClone({ ...valid, ...fact })
        let at: Record<string, unknown> = event
        for (const [depth, turn] of way.entries()) {
          const keys = Object.keys(at)
          const key = keys[turn % Math.max(1, keys.length)] ?? "extra"
          const next = at[key]
          if (depth === way.length - 1 || typeof next !== "object" || next === null) {
            at[key] = other
            break
          }
          at = next as Record<string, unknown>
        }
        return event
      })
    const upcasters = { Rotated: { 1: (data: unknown) => ({ ...(data as { from: { x: number } }).from, x: 1 }) } }
    fc.assert(
      fc.property(fc.array(fc.oneof(anything, bent), { maxLength: 5 }), fc.boolean(), (raws, raises) => {
        let state = initialState
        for (const raw of raws) {
          const decoded = decode(raw, raises ? { upcasters } : {})
          if (decoded._tag === "Invalid") assert.isAbove(decoded.problem.length, 5)
          else if (decoded._tag === "Known") state = evolve(state, decoded.event)
          else assert.strictEqual(decoded.raw, raw)
        }
        assert.isTrue(state.files === null || state.files instanceof Map)
      }),
      fuzz(1_000),
    )
  })

  it("as a policy is refused in words, or applies to any log", () => {
    const pattern = fc.oneof(
      text,
      fc.array(fc.constantFrom("*", "a", "**", "ab"), { maxLength: 30 }).map((parts) => parts.join("")),
    )
    const override = fc.record({
      name: fc.constantFrom("x", "y"),
      match: fc.record({ namespace: pattern, path: fc.array(pattern, { maxLength: 3 }) }, { requiredKeys: [] }),
      percent: fc.oneof(fc.double(), fc.nat(100)),
    })
    const input = fc.oneof(
      fc.anything(),
      fc.record({ maxSize: text, overrides: fc.array(override, { maxLength: 3 }) }, { requiredKeys: [] }),
    )
    fc.assert(
      fc.property(input, text, (policy, name) => {
        const parsed = Policy.safeParse(policy)
        if (!parsed.success) return assert.isAbove(parsed.error.issues.length, 0)
        const applied = policyFor(parsed.data, { path: `/d/${name}`, namespace: name })
        assert.include([...parsed.data.overrides.map((one) => one.name), "default"], applied.name)
      }),
      fuzz(500),
    )
  })
})
