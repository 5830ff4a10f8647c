// The limits for a log, as a user writes them.
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as z from "zod"
import { type Labels, limitsOf, type Log, percentileOf, Policy, policyFor, type PolicyInput } from "@cordwood/core"
import { runs } from "./property.ts"

const CODECS = [{ id: "gzip", suffix: ".gz" }]

describe("a policy", () => {
  it("is the kubelet's when nothing is said", () => {
    expect(Policy.parse({})).toEqual({
      maxSize: 10_485_760,
      maxFiles: 5,
      compression: "gzip",
      keepStopped: 1,
      mode: "enforce",
      deferred: { onPressure: "hold" },
      overrides: [],
    })
  })

  it("is what is written", () => {
    const deferred = { onPressure: "drop", maxSize: "1Gi", minFree: "5Gi" } as const
    const overrides = [
      {
        name: "canary",
        match: { namespace: ["shop", "web-*"], labels: { app: "api" } },
        percent: 12.5,
        maxSize: "1Mi",
      },
      { name: "rest", mode: "observe" },
    ] as const
    expect(
      Policy.parse({ maxSize: "5M", maxFiles: 2, compression: "none", mode: "observe", deferred, overrides }),
    ).toEqual({
      maxSize: 5_000_000,
      maxFiles: 2,
      compression: "none",
      keepStopped: 1,
      mode: "observe",
      deferred: { onPressure: "drop", maxSize: 1_073_741_824, minFree: 5_368_709_120 },
      overrides: [
        {
          name: "canary",
          match: { namespace: ["shop", "web-*"], labels: { app: "api" } },
          percent: 12.5,
          maxSize: 1_048_576,
        },
        { name: "rest", match: {}, percent: 100, mode: "observe" },
      ],
    })
    expect(Policy.parse({ maxSize: "-1" }).maxSize).toBe(-1)
    expect(Policy.parse({ maxSize: 0 }).maxSize).toBe(0)
  })

  it.each([
    [{ maxsize: "10Mi" }, '✖ Unrecognized key: "maxsize"'],
    [
      { maxSize: "10MB" },
      '✖ "10MB" is not a quantity; write a number of bytes such as 10Mi, 5M or 1048576\n  → at maxSize',
    ],
    [{ maxSize: "1.5" }, '✖ "1.5" is not a whole number of bytes\n  → at maxSize'],
    [{ maxSize: "1Ei" }, '✖ "1Ei" is more than 2^53 bytes\n  → at maxSize'],
    [{ maxFiles: 1 }, "✖ must be at least 2: the active file and one segment\n  → at maxFiles"],
    [{ maxFiles: 2.5 }, "✖ Invalid input: expected int, received number\n  → at maxFiles"],
    [{ maxFiles: "5" }, "✖ Invalid input: expected number, received string\n  → at maxFiles"],
    [{ maxFiles: 100_001 }, "✖ Too big: expected number to be <=100000\n  → at maxFiles"],
    [{ compression: "" }, "✖ Too small: expected string to have >=1 characters\n  → at compression"],
    [{ compression: null }, "✖ Invalid input: expected string, received null\n  → at compression"],
    [[], "✖ Invalid input: expected object, received array"],
    [{ mode: "dry-run" }, '✖ Invalid option: expected one of "enforce"|"observe"\n  → at mode'],
    [
      { deferred: { onPressure: "drop" } },
      "✖ onPressure: drop needs a limit: maxSize, minFree or both\n  → at deferred",
    ],
    [{ deferred: { maxSize: -1 } }, "✖ must not be negative\n  → at deferred.maxSize"],
    [{ deferred: { minFree: "-1Gi" } }, "✖ must not be negative\n  → at deferred.minFree"],
    [
      { deferred: { onPressure: "delete", maxSize: 1 } },
      '✖ Invalid option: expected one of "hold"|"drop"\n  → at deferred.onPressure',
    ],
    [{ overrides: [{}] }, "✖ Invalid input: expected string, received undefined\n  → at overrides[0].name"],
    [
      { overrides: [{ name: "a b" }] },
      "✖ must be 1 to 63 letters, digits, dots, dashes or underscores\n  → at overrides[0].name",
    ],
    [
      { overrides: [{ name: "default" }] },
      "✖ must not be default: that is what events call the policy itself\n  → at overrides[0].name",
    ],
    [
      { overrides: [{ name: "a" }, { name: "b" }, { name: "a" }] },
      "✖ each override must have a name of its own\n  → at overrides",
    ],
    [
      { overrides: [{ name: "a", percent: 101 }] },
      "✖ Too big: expected number to be <=100\n  → at overrides[0].percent",
    ],
    [
      { overrides: [{ name: "a", percent: -1 }] },
      "✖ Too small: expected number to be >=0\n  → at overrides[0].percent",
    ],
    [
      { overrides: [{ name: "a", percent: "10%" }] },
      "✖ Invalid input: expected number, received string\n  → at overrides[0].percent",
    ],
    [{ overrides: [{ name: "a", match: { node: "n" } }] }, '✖ Unrecognized key: "node"\n  → at overrides[0].match'],
    [{ overrides: [{ name: "a", deferred: {} }] }, '✖ Unrecognized key: "deferred"\n  → at overrides[0]'],
    [
      { overrides: [{ name: "a", maxFiles: 1 }] },
      "✖ must be at least 2: the active file and one segment\n  → at overrides[0].maxFiles",
    ],
    [
      { overrides: Array.from({ length: 101 }, (_, at) => ({ name: `o${at}` })) },
      "✖ Too big: expected array to have <=100 items\n  → at overrides",
    ],
  ])("of %j is refused with a message to act on", (input, message) => {
    expect(z.prettifyError(Policy.safeParse(input).error!)).toBe(message)
  })

  it("names every mistake at once", () => {
    const { error } = Policy.safeParse({ maxSize: "ten", maxFiles: 0, compresion: "gzip" })
    expect(error!.issues.map(({ path }) => path)).toEqual([["maxSize"], ["maxFiles"], []])
  })

  it("becomes limits with the codec in place of its id, and none for an unknown one", () => {
    const policy = Policy.parse({ maxSize: 7, maxFiles: 3 })
    const unguarded = { maxSize: 7, maxFiles: 3, guarded: false, cleared: null, writer: "running", shed: new Map() }
    expect(limitsOf(policy, CODECS)).toEqual({ ...unguarded, codec: CODECS[0] })
    expect(limitsOf({ ...policy, compression: "none" }, CODECS)).toEqual({ ...unguarded, codec: null })
    expect(limitsOf({ ...policy, compression: "brotli" }, CODECS)).toBeUndefined()
  })
})

describe("the limits that logs share", () => {
  it("are as written, for a container alone or for its pod, too", () => {
    expect(Policy.parse({ maxTotal: "1Ki" }).maxTotal).toEqual({ container: 1024, pod: undefined })
    expect(Policy.parse({ maxTotal: { pod: "2Ki" } }).maxTotal).toEqual({ pod: 2048 })
    expect(Policy.parse({ pressure: { minFree: "1Ki" } }).pressure).toEqual({ minFree: 1024, keepFiles: 2 })
  })

  it("are refused where they can't be met", () => {
    const { error } = Policy.safeParse({
      keepStopped: -1,
      maxTotal: "-1",
      pressure: { minFree: "2Ki", keepFiles: 0 },
    })
    expect(error!.issues.map(({ path }) => path.join("."))).toEqual(["keepStopped", "maxTotal", "pressure.keepFiles"])
    expect(z.prettifyError(Policy.safeParse({ pressure: { minFree: "2Ki", targetFree: "1Ki" } }).error!)).toBe(
      "✖ targetFree must not be less than minFree\n  → at pressure",
    )
  })

  it("can be other ones in an override", () => {
    const policy = Policy.parse({
      maxTotal: "1Ki",
      overrides: [{ name: "a", match: { container: "app" }, keepStopped: 3, maxTotal: { pod: "4Ki" } }],
    })
    const log: Log = { path: "/var/log/pods/shop_api-1_u1/app/0.log", container: "app" }
    expect(policyFor(policy, log)).toMatchObject({ keepStopped: 3, maxTotal: { pod: 4096 } })
    expect(policyFor(policy, { path: "/x/0.log" })).toMatchObject({ keepStopped: 1, maxTotal: { container: 1024 } })
  })
})

describe("the policy for a log", () => {
  const log: Log = {
    path: "/var/log/pods/shop_api-1_u1/app/0.log",
    namespace: "shop",
    pod: "api-1",
    podUid: "u1",
    container: "app",
  }
  const nameFor = (overrides: PolicyInput["overrides"], about: Log = log, labels?: Labels): string =>
    policyFor(Policy.parse({ overrides }), about, labels).name
  type Input = NonNullable<NonNullable<PolicyInput["overrides"]>[number]["match"]>
  /** Whether an override with this `match` fits. */
  const fits = (match: Input, about: Log = log, labels?: Labels): boolean =>
    nameFor([{ name: "one", match }], about, labels) === "one"

  it("is the policy itself where nothing else fits", () => {
    const policy = Policy.parse({ maxSize: 7, overrides: [{ name: "a", match: { namespace: "other" }, maxSize: 8 }] })
    expect(policyFor(policy, log)).toEqual({
      name: "default",
      mode: "enforce",
      maxSize: 7,
      maxFiles: 5,
      compression: "gzip",
      keepStopped: 1,
      maxTotal: {},
    })
  })

  it("is the first override that fits, and what that doesn't say is the policy's, not the next one's", () => {
    const policy = Policy.parse({
      maxSize: 7,
      mode: "observe",
      overrides: [
        { name: "other", match: { namespace: "other" }, maxFiles: 9 },
        { name: "first", match: { namespace: "shop" }, maxFiles: 3, mode: "enforce" },
        { name: "second", match: { namespace: "shop" }, maxFiles: 4, maxSize: 8, compression: "none" },
      ],
    })
    expect(policyFor(policy, log)).toEqual({
      name: "first",
      mode: "enforce",
      maxSize: 7,
      maxFiles: 3,
      compression: "gzip",
      keepStopped: 1,
      maxTotal: {},
    })
    const all = { name: "all", maxSize: "-1", maxFiles: 2, compression: "none", mode: "observe" } as const
    expect(policyFor(Policy.parse({ overrides: [all] }), log)).toEqual({
      ...all,
      maxSize: -1,
      keepStopped: 1,
      maxTotal: {},
    })
  })

  it("goes on to the next override where one leaves out this pod by its percentage", () => {
    const overrides = [
      { name: "none", percent: 0 },
      { name: "rest", match: { pod: "api-*" } },
    ]
    expect(nameFor(overrides)).toBe("rest")
    expect(nameFor([{ name: "all", percent: 100 }])).toBe("all")
  })

  it.each([
    ["api-1", true],
    ["api-", false],
    ["api-11", false],
    ["*", true],
    ["**", true],
    ["api-*", true],
    ["*-1", true],
    ["a*1", true],
    ["a*p*-*1", true],
    ["api-1*", true],
    ["*api-1", true],
    // Nothing may be used twice.
    ["api-1*1", false],
    ["api*api-1", false],
    ["*-1-1", false],
    ["API-1", false],
    // Everything but the star is itself.
    ["api.1", false],
    ["api-?", false],
    ["[a]pi-1", false],
  ])("takes the pattern %s for the pod api-1: %s", (pod, fitting) => {
    expect(fits({ pod })).toBe(fitting)
  })

  it("takes a star for the same as any characters in a regular expression", () => {
    const letters = fc.string({ unit: fc.constantFrom("a", "b", "*"), maxLength: 8 })
    const plain = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 8 })
    fc.assert(
      fc.property(letters, plain, (pattern, pod) => {
        fc.pre(pattern !== "")
        const expected = new RegExp(`^${pattern.replaceAll("*", ".*")}$`).test(pod)
        expect(fits({ pod: pattern }, { ...log, pod })).toBe(expected)
      }),
      runs(2_000),
    )
  })

  it("takes a list for any one of it, and several conditions for all of them", () => {
    expect(fits({ namespace: ["web", "sh*"] })).toBe(true)
    expect(fits({ namespace: ["web", "db"] })).toBe(false)
    expect(fits({ namespace: "shop", pod: "api-*", container: "app", path: "/var/log/pods/*" })).toBe(true)
    expect(fits({ namespace: "shop", pod: "api-*", container: "sidecar" })).toBe(false)
    expect(fits({})).toBe(true)
  })

  it("fits nothing on what the source doesn't know, not even with a star", () => {
    const file: Log = { path: "/var/log/nginx/access.log" }
    for (const match of [{ namespace: "*" }, { pod: "*" }, { container: ["*"] }, { labels: { app: "*" } }]) {
      expect(fits(match, file)).toBe(false)
    }
    expect(fits({ path: "*.log" }, file)).toBe(true)
  })

  it("takes the pod's labels, all that are asked for", () => {
    const labels = { app: "api", tier: "" }
    expect(fits({ labels: { app: "a*" } }, log, labels)).toBe(true)
    expect(fits({ labels: { app: ["web", "api"], tier: "*" } }, log, labels)).toBe(true)
    expect(fits({ labels: { app: "api", zone: "*" } }, log, labels)).toBe(false)
    expect(fits({ labels: {} }, log)).toBe(true)
    // A name that every object has is no label.
    expect(fits({ labels: { toString: "*" } }, log, labels)).toBe(false)
    expect(fits({ labels: { constructor: "*" } }, log)).toBe(false)
  })
})

describe("a pod's place among a hundred", () => {
  const of = (podUid: string): number => percentileOf({ path: "/x", podUid })

  // Computed by another program: FNV-1a of 32 bits, MurmurHash3's fmix32, then over 2^32 and times 100.
  it.each([
    ["", 0xab3e7c0b],
    ["a", 0x1a80b1b3],
    ["abc", 0x1cc93dbc],
    ["6f1c9b1e-7d0a-4a57-9f6e-0242ac120002", 0xd937142f],
    ["6f1c9b1e-7d0a-4a57-9f6e-0242ac120003", 0x9f024ea6],
    ["00000000-0000-0000-0000-000000000000", 0x3753bd98],
  ])("is, for the uid %s, what it has always been", (uid, hash) => {
    expect(of(uid)).toBe((hash / 2 ** 32) * 100)
  })

  it("is by the path for a log without a pod, and else by the uid alone", () => {
    expect(percentileOf({ path: "abc" })).toBe(of("abc"))
    expect(percentileOf({ path: "/y", podUid: "abc", pod: "p", namespace: "n" })).toBe(of("abc"))
  })

  it("lies from 0 up to, and not including, 100, whatever the uid", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (uid) => {
        expect(of(uid)).toBeGreaterThanOrEqual(0)
        expect(of(uid)).toBeLessThan(100)
      }),
      runs(),
    )
  })

  it("makes a higher percentage add pods, and drop none", () => {
    const percent = fc.double({ min: 0, max: 100, noNaN: true })
    const under = (percent: number, podUid: string): boolean =>
      policyFor(Policy.parse({ overrides: [{ name: "canary", percent }] }), { path: "/x", podUid }).name === "canary"
    fc.assert(
      fc.property(fc.uuid(), percent, percent, (uid, a, b) => {
        const [low, high] = a < b ? [a, b] : [b, a]
        if (under(low, uid)) expect(under(high, uid)).toBe(true)
        expect([under(0, uid), under(100, uid)]).toEqual([false, true])
      }),
      runs(),
    )
  })

  it("spreads pods evenly: each tenth of the hundred has about a tenth of them", () => {
    const count = 20_000
    const uids = fc.sample(fc.uuid({ version: 4 }), { seed: 20_260_909, numRuns: count })
    // As bad as it gets for a hash: uids that differ in their last digits only.
    const numbered = Array.from({ length: count }, (_, at) => `6f1c9b1e-7d0a-4a57-9f6e-${String(at).padStart(12, "0")}`)
    for (const all of [uids, numbered]) {
      const tenths = Array.from({ length: 10 }, () => 0)
      for (const uid of all) tenths[Math.floor(of(uid) / 10)]! += 1
      const expected = count / 10
      const chiSquared = tenths.reduce((sum, found) => sum + (found - expected) ** 2 / expected, 0)
      // With nine degrees of freedom, chance alone exceeds this once in ten thousand samples; these are fixed.
      expect(chiSquared).toBeLessThan(33.7)
    }
  })
})
