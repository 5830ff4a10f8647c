// Which segments go for limits that logs share. What the properties expect is computed the slow way, step by step as the rules are written.
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import {
  type HeldSegment,
  type Holding,
  isPressing,
  type Log,
  inTurn,
  overBudget,
  type Shed,
  sharesOf,
  underPressure,
} from "@cordwood/core"
import { runs } from "./property.ts"

/** A log by its path, with its segments as `stamp: bytes`; a stamp that ends with `+` was cleared by the guards, with `!` is kept. */
const holding = (
  path: string,
  segments: Readonly<Record<string, number>>,
  other: Partial<Omit<Holding, "segments">> = {},
): Holding => ({
  path,
  ...sharesOf({ path }),
  writer: "running",
  fixedBytes: 0,
  fixedFiles: 1,
  maxTotal: {},
  ...other,
  segments: Object.entries(segments).map(([name, bytes]) => ({
    stamp: name.replace(/[!+]$/, ""),
    bytes,
    cleared: name.endsWith("+"),
    kept: name.endsWith("!"),
  })),
})
const names = (sheds: ReadonlyArray<Shed>): ReadonlyArray<string> => sheds.map(({ path, stamp }) => `${path} ${stamp}`)

const POD = "/var/log/pods/shop_api-1_u1"

describe("what a log shares its limits with", () => {
  const cases: ReadonlyArray<readonly [Log, string, string, number]> = [
    [{ path: `${POD}/app/3.log`, podUid: "u1", container: "app" }, "u1/app", "u1", 3],
    [{ path: `${POD}/app/3.log` }, `${POD}/app`, POD, 3],
    [{ path: `${POD}/app/3.log`, podUid: "u1" }, `${POD}/app`, "u1", 3],
    [{ path: "/srv/app/0.log" }, "/srv/app", "/srv/app", 0],
    [{ path: "/var/log/nginx.log" }, "/var/log/nginx.log", "/var/log/nginx.log", 0],
    [{ path: `${POD}/app/previous.log` }, `${POD}/app/previous.log`, `${POD}/app/previous.log`, 0],
    [{ path: "/0.log" }, "/", "/", 0],
  ]
  it.each(cases)("is told by its source, or by the kubelet's names: %j", (log, container, pod, attempt) => {
    expect(sharesOf(log)).toEqual({ container, pod, attempt })
  })
})

describe("a log of as many segments as can be listed", () => {
  it("is relieved of them like any other", () => {
    const segments = Array.from({ length: 250_000 }, (_, at) => ({
      stamp: String(at).padStart(6, "0"),
      bytes: 1,
      cleared: at < 125_000,
      kept: false,
    }))
    const { sheds, ...rest } = underPressure([{ ...holding("/0.log", {}), segments }], 250_000, 2)
    expect([sheds.length, sheds[0]?.stamp, sheds.at(-1)?.stamp]).toEqual([249_999, "000000", "249998"])
    expect(rest).toEqual({ missingBytes: 1, keptBytes: 0 })
  })
})

describe("a container's budget", () => {
  const limited = { maxTotal: { container: 100 } }

  it("leaves all as it is that is within it", () => {
    expect(overBudget([])).toEqual([])
    expect(overBudget([holding(`${POD}/app/0.log`, { a: 60 }, { ...limited, fixedBytes: 40 })])).toEqual([])
    expect(overBudget([holding(`${POD}/app/0.log`, { a: 6_000 }, { fixedBytes: 40 })])).toEqual([])
  })

  it("takes the oldest segments of the earliest container that has ended, then of the next, then of the one that runs", () => {
    const family = (container: number) => [
      holding(`${POD}/app/10.log`, { e: 30, f: 30 }, { maxTotal: { container }, fixedBytes: 10 }),
      holding(`${POD}/app/9.log`, { c: 30, d: 30 }, { maxTotal: { container }, writer: "stopped", fixedBytes: 10 }),
      holding(`${POD}/app/2.log`, { a: 30, b: 30 }, { maxTotal: { container }, writer: "surplus", fixedBytes: 10 }),
    ]
    const order = ["2.log a", "2.log b", "9.log c", "9.log d", "10.log e", "10.log f"].map(
      (name) => `${POD}/app/${name}`,
    )
    expect(names(overBudget(family(210)))).toEqual([])
    expect(names(overBudget(family(209)))).toEqual(order.slice(0, 1))
    expect(names(overBudget(family(120)))).toEqual(order.slice(0, 3))
    // Active files are what can't go: they alone may be more than the budget.
    expect(names(overBudget(family(0)))).toEqual(order)
  })

  it("counts what a guard keeps as gone, so that nothing younger goes in its place", () => {
    expect(names(overBudget([holding("/0.log", { "a!": 50, b: 50, c: 50 }, limited)]))).toEqual(["/0.log a"])
  })

  it("has one log lose after the other: those that come later wait, but for what is kept and must be asked about again", () => {
    const some = (...kept: ReadonlyArray<string>) =>
      inTurn(
        ["0.log a", "0.log b", "1.log c", "0.log d", "2.log e"].map((name): Shed => {
          const [path = "", stamp = ""] = name.split(" ")
          return { path, stamp, bytes: 1, kept: kept.includes(stamp) }
        }),
      )
    expect(names(some())).toEqual(["0.log a", "0.log b", "0.log d"])
    expect(names(some("a"))).toEqual(["0.log a", "0.log b", "0.log d"])
    expect(names(some("a", "b", "d"))).toEqual(["0.log a", "0.log b", "1.log c", "0.log d"])
    expect(names(some("c", "e"))).toEqual(["0.log a", "0.log b", "1.log c", "0.log d", "2.log e"])
    expect(names(some("a", "b", "c", "d", "e"))).toEqual(["0.log a", "0.log b", "1.log c", "0.log d", "2.log e"])
    expect(inTurn([])).toEqual([])
  })

  it("is its own: another container's bytes don't count, unless a limit of the pod says so", () => {
    const pod = (total: number, container?: number) => [
      holding(`${POD}/big/0.log`, { a: 40, b: 40, c: 40 }, { maxTotal: { pod: total, container }, fixedBytes: 10 }),
      holding(`${POD}/small/0.log`, { d: 40, e: 40 }, { maxTotal: { pod: 1_000 }, fixedBytes: 20 }),
      holding("/var/log/pods/shop_api-2_u2/big/0.log", { f: 40 }, { maxTotal: { pod: 1_000 } }),
    ]
    expect(names(overBudget(pod(230)))).toEqual([])
    // 130 and 100 bytes; 90 and 100; 90 and 60; 50 and 60; 50 and 20.
    const order = ["big/0.log a", "small/0.log d", "big/0.log b", "small/0.log e", "big/0.log c"].map(
      (name) => `${POD}/${name}`,
    )
    for (const [count, total] of [229, 189, 149, 109, 69].entries()) {
      expect(names(overBudget(pod(total)))).toEqual(order.slice(0, count + 1))
    }
    expect(names(overBudget(pod(0)))).toEqual(order)
    expect(names(overBudget(pod(0, 60)))).toEqual([order[0], order[2], order[1], order[3], order[4]])
  })
})

describe("pressure", () => {
  it("begins below minFree and ends at targetFree, which is minFree if it is not given", () => {
    const limits = { minFree: 10, targetFree: 20, keepFiles: 2 }
    expect([9, 10, 19, 20].map((free) => isPressing(free, false, limits))).toEqual([true, false, false, false])
    expect([9, 10, 19, 20].map((free) => isPressing(free, true, limits))).toEqual([true, true, true, false])
    expect([9, 10].map((free) => isPressing(free, true, { minFree: 10, keepFiles: 2 }))).toEqual([true, false])
  })

  const logs = [
    holding("/a/0.log", { "s01+": 10, s04: 50, s07: 50, s10: 10 }),
    holding("/b/0.log", { "s02+": 10, s03: 30, "s05+": 10, s08: 40, s11: 5 }),
    holding("/c/0.log", { s06: 500 }),
    holding("/d/0.log", { s09: 7, s12: 500 }, { fixedFiles: 0 }),
  ]
  // Of d the newest two files stay, both of them segments. Then a holds 110 in segments, b 75; a 60; b 45; a has 10 that stay.
  const order = [
    "/a/0.log s01",
    "/b/0.log s02",
    "/b/0.log s05",
    "/a/0.log s04",
    "/b/0.log s03",
    "/a/0.log s07",
    "/b/0.log s08",
  ]

  it("takes what is shipped first, the oldest of all logs first, and then the oldest of the largest log, again and again", () => {
    for (const [count, bytes] of [1, 11, 21, 31, 81, 111, 161].entries()) {
      const { missingBytes, sheds } = underPressure(logs, bytes, 2)
      expect({ missingBytes, sheds: names(sheds) }).toEqual({ missingBytes: 0, sheds: order.slice(0, count + 1) })
    }
    expect(underPressure(logs, 0, 2)).toEqual({ sheds: [], missingBytes: 0, keptBytes: 0 })
  })

  it("says what is missing when all is taken that may go", () => {
    const { missingBytes, sheds } = underPressure(logs, 1_000, 2)
    expect({ missingBytes, sheds: names(sheds) }).toEqual({ missingBytes: 800, sheds: order })
  })

  it("goes on to what comes next where something is kept, and names both", () => {
    const kept = [holding("/a/0.log", { "s1!": 50, s2: 10, s3: 1 }), holding("/b/0.log", { s4: 20, s5: 1 })]
    const { sheds, ...bytes } = underPressure(kept, 20, 2)
    expect({ ...bytes, sheds: names(sheds) }).toEqual({
      missingBytes: 0,
      keptBytes: 50,
      sheds: ["/a/0.log s1", "/b/0.log s4"],
    })
  })
})

describe("whatever logs there are,", () => {
  const segments = fc.uniqueArray(fc.nat({ max: 30 }), { maxLength: 6 }).chain((stamps) =>
    fc.tuple(
      ...stamps
        .toSorted((a, b) => a - b)
        .map((at) =>
          fc.record<HeldSegment>({
            stamp: fc.constant(String(at).padStart(2, "0")),
            bytes: fc.nat({ max: 20 }),
            cleared: fc.boolean(),
            kept: fc.boolean(),
          }),
        ),
    ),
  )
  const limit = fc.option(fc.nat({ max: 150 }), { nil: undefined })
  const logs = fc
    .uniqueArray(fc.tuple(fc.nat({ max: 1 }), fc.nat({ max: 2 }), fc.nat({ max: 2 })), {
      maxLength: 8,
      selector: (key) => key.join(),
    })
    .chain((keys) =>
      fc.tuple(
        ...keys.map(([pod, container, attempt]) =>
          fc
            .record({
              writer: fc.constantFrom("running" as const, "stopped" as const, "surplus" as const),
              fixedBytes: fc.nat({ max: 30 }),
              fixedFiles: fc.nat({ max: 2 }),
              segments,
              maxTotal: fc.record({ container: limit, pod: limit }),
            })
            .map((rest): Holding => {
              const path = `/var/log/pods/a_b_${pod}/${container}/${attempt}.log`
              return { path, ...sharesOf({ path }), ...rest }
            }),
        ),
      ),
    )

  /** All segments of some logs but those that are gone. */
  const left = (some: ReadonlyArray<Holding>, gone: ReadonlySet<string>) =>
    some
      .flatMap((log) => log.segments.map((segment) => ({ log, ...segment })))
      .filter(({ log, stamp }) => !gone.has(`${log.path} ${stamp}`))
  const bytesOf = (some: ReadonlyArray<Holding>, gone: ReadonlySet<string>): number =>
    some.reduce((sum, { fixedBytes }) => sum + fixedBytes, 0) +
    left(some, gone).reduce((sum, { bytes }) => sum + bytes, 0)
  const turn = ({ attempt, path, writer }: Holding): string => `${writer === "running" ? 1 : 0} ${attempt} ${path}`
  const least = <A>(all: ReadonlyArray<A>, key: (one: A) => string): A | undefined =>
    all.toSorted((a, b) => (key(a) < key(b) ? -1 : 1))[0]
  const limitOf = (some: ReadonlyArray<Holding>, of: "container" | "pod"): number =>
    Math.min(...some.map(({ maxTotal }) => maxTotal[of] ?? Infinity))

  it("budgets take just what the rules take one at a time", () => {
    fc.assert(
      fc.property(logs, (all) => {
        const gone = new Set<string>()
        const next = (container: ReadonlyArray<Holding>) => {
          const found = least(left(container, gone), ({ log, stamp }) => `${turn(log)} ${stamp}`)
          return found && `${found.log.path} ${found.stamp}`
        }
        for (const pod of Map.groupBy(all, ({ pod }) => pod).values()) {
          const containers = [...Map.groupBy(pod, ({ container }) => container).values()]
          for (const container of containers) {
            for (
              let due = next(container);
              due !== undefined && bytesOf(container, gone) > limitOf(container, "container");
              due = next(container)
            )
              gone.add(due)
          }
          while (bytesOf(pod, gone) > limitOf(pod, "pod")) {
            const able = containers.filter((container) => next(container) !== undefined)
            const most = Math.max(...able.map((container) => bytesOf(container, gone)))
            const largest = least(
              able.filter((container) => bytesOf(container, gone) === most),
              ([log]) => log!.container,
            )
            if (largest === undefined) break
            gone.add(next(largest)!)
          }
        }
        expect([...names(overBudget(all))].toSorted()).toEqual([...gone].toSorted())
      }),
      runs(300),
    )
  })

  it("pressure takes just what the rules take one at a time, frees enough or says what is missing, and leaves keepFiles files", () => {
    fc.assert(
      fc.property(logs, fc.nat({ max: 300 }), fc.integer({ min: 1, max: 4 }), (all, bytes, keepFiles) => {
        const gone = new Set<string>()
        const order: Array<string> = []
        const newest = ({ fixedFiles, segments }: Holding): ReadonlySet<string> =>
          new Set(segments.slice(Math.max(0, segments.length + fixedFiles - keepFiles)).map(({ stamp }) => stamp))
        const mayGo = () => left(all, gone).filter(({ log, stamp }) => !newest(log).has(stamp))
        let freed = 0
        while (freed < bytes) {
          const shipped = least(
            mayGo().filter(({ cleared }) => cleared),
            ({ log, stamp }) => `${stamp} ${log.path}`,
          )
          const held = ({ log }: { readonly log: Holding }): number =>
            left([log], gone).reduce((sum, { bytes }) => sum + bytes, 0)
          const most = Math.max(...mayGo().map(held))
          const due =
            shipped ??
            least(
              mayGo().filter((one) => held(one) === most),
              ({ log, stamp }) => `${log.path} ${stamp}`,
            )
          if (due === undefined) break
          gone.add(`${due.log.path} ${due.stamp}`)
          order.push(`${due.log.path} ${due.stamp}`)
          if (!due.kept) freed += due.bytes
        }
        const relief = underPressure(all, bytes, keepFiles)
        expect(names(relief.sheds)).toEqual(order)
        expect(relief.missingBytes).toBe(Math.max(0, bytes - freed))
        for (const log of all) {
          const count = log.fixedFiles + left([log], gone).length
          expect(count).toBeGreaterThanOrEqual(Math.min(keepFiles, log.fixedFiles + log.segments.length))
        }
      }),
      runs(300),
    )
  })

  it("the same goes whatever order they are given in", () => {
    fc.assert(
      fc.property(logs, fc.nat({ max: 300 }), (all, bytes) => {
        expect(overBudget(all.toReversed())).toEqual(overBudget(all))
        expect(underPressure(all.toReversed(), bytes, 2)).toEqual(underPressure(all, bytes, 2))
      }),
      runs(300),
    )
  })
})
