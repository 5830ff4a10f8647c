/** What goes when logs share a limit, by the whole agent on virtual time: free space that runs out, and budgets of containers and pods. */
import { assert, describe, it } from "@effect/vitest"
import {
  type Configured,
  type Contributions,
  definePlugin,
  type Doomed,
  type Log,
  LogFiles,
  LogFilesError,
  type LogFilesShape,
  type Source,
  type Verdict,
} from "@cordwood/core"
import { Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import * as z from "zod"
import type { AgentOptions } from "../src/agent-options.ts"
import { agentOf, logged, logOf, pathOf, settle, type Stage, stage, START, stop, types } from "./stage.ts"

const guarding = (contributions: Contributions): Configured =>
  definePlugin({ name: "ship", api: 1, config: z.strictObject({}), setup: () => Effect.succeed(contributions) })()
const ALLOW: Verdict = { _tag: "Allow" }
const defer = (retryAfterMs: number): Verdict => ({ _tag: "Defer", why: "the other side is away", retryAfterMs })

/** A log of closed segments, each of as many bytes, the oldest first, all at rest; and of an active file of as many. */
const filled = (
  { world }: Stage,
  path: string,
  segments: Readonly<Record<string, number>>,
  activeBytes = 1,
): ReadonlyArray<string> => {
  world.openWriter(path, START)
  world.write(path, new Uint8Array(activeBytes), START)
  return Object.entries(segments).map(([day, bytes]) => {
    const segment = `${path}.202601${day.slice(1)}-000000`
    world.put(segment, new Uint8Array(bytes))
    return segment
  })
}
const usedBytes = ({ world }: Stage): number =>
  world.paths().reduce((sum, path) => sum + (world.read(path)?.length ?? 0), 0)
/** Has the disk be of such a size that as many bytes are free now. */
const leave = (on: Stage, freeBytes: number): void => on.world.resize(usedBytes(on) + freeBytes)

interface Removal {
  readonly path: string
  readonly bytes: number
  readonly reason: string
}
const removals = ({ events }: Stage): ReadonlyArray<Removal> =>
  events.flatMap(({ data, type }) => (type === "Removed" ? [data as Removal] : []))
/** `a 01` for the segment of the first of the month of the log `a`, in the order in which they went. */
const told = (on: Stage, reason = "pressure"): ReadonlyArray<string> =>
  removals(on).map((removal) => {
    assert.strictEqual(removal.reason, reason)
    return shortOf(removal.path)
  })
const shortOf = (path: string): string => {
  const [, name, day] = /_([^_/]+)_[^/]*\/[^/]+\/\d+\.log\.202601(\d\d)-/.exec(path) ?? []
  return `${name} ${day}`
}
const failures = ({ events }: Stage): ReadonlyArray<unknown> =>
  events.flatMap(({ data, log, type }) => (type === "Failed" ? [[log, data]] : []))

const PLAIN = { maxSize: 1_000, maxFiles: 100, compression: "none" }
const pressing = (minFree: number, targetFree = minFree, keepFiles = 2) => ({ minFree, targetFree, keepFiles })

const run = (
  on: Stage,
  names: ReadonlyArray<string>,
  options: Partial<AgentOptions>,
  during: Effect.Effect<unknown> = TestClock.adjust("5 seconds"),
) =>
  Effect.gen(function* () {
    const agent = yield* agentOf(on, () => names, options)
    const { lines } = yield* logged(
      Effect.gen(function* () {
        const running = yield* Effect.forkScoped(agent.run)
        const done = yield* Effect.exit(during)
        yield* settle(on)
        yield* stop(running)
        yield* done
      }),
    )
    return lines
  })
const once = (on: Stage, names: ReadonlyArray<string>, options: Partial<AgentOptions>) =>
  Effect.scoped(
    Effect.flatMap(
      agentOf(on, () => names, options),
      (agent) => agent.once,
    ),
  )
/** Some logs as a source gives them that knows which containers have ended. */
const listing = (
  { world }: Stage,
  logs: ReadonlyArray<Log>,
  stopped: ReadonlyArray<string>,
): AgentOptions["sources"] => {
  const source: Source = {
    ...world.source(() => logs),
    list: Effect.succeed({ logs, stopped: new Set(stopped), problems: [] }),
  }
  return [{ name: "world", open: Effect.succeed(source) }]
}
/** The stage with other files, for what the world's disk doesn't do. */
const withFiles = (on: Stage, change: (files: LogFilesShape) => LogFilesShape): Stage => ({
  ...on,
  ports: { ...on.ports, files: Layer.sync(LogFiles, () => change(on.world.files())) },
})

describe("when the disk fills up, a running agent", () => {
  it.effect(
    "sheds the oldest segment of the largest log, again and again, until targetFree is free, and says so twice",
    () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(START)
        const on = stage()
        filled(on, pathOf("a"), { d03: 100, d05: 100, d07: 100, d09: 100 })
        filled(on, pathOf("b"), { d01: 150, d02: 150, d04: 20 })
        filled(on, pathOf("c"), { d06: 20 })
        leave(on, 500)
        const names = ["a", "b", "c"]
        const lines = yield* run(
          on,
          names,
          { policy: { ...PLAIN, pressure: pressing(500, 900) } },
          Effect.gen(function* () {
            yield* TestClock.adjust("20 seconds")
            assert.deepStrictEqual(told(on), [])
            on.world.write(pathOf("c"), new Uint8Array(10), START)
            yield* TestClock.adjust("5 seconds")
          }),
        )
        // a holds 400 bytes in segments, b 320; then 300 and 320, 300 and 170, 200 and 170.
        assert.deepStrictEqual(new Set(told(on)), new Set(["a 03", "b 01", "a 05", "a 07"]))
        assert.deepStrictEqual(lines, [
          "warn: 490 B are free on the file system of /pods, and policy.pressure.minFree is 500 B; 4 segments of 2 logs, 450 B, will go for 900 B to be free",
          "warn: 940 B are free on the file system of /pods: no more segments go for policy.pressure",
        ])
        assert.deepStrictEqual(failures(on), [])
      }),
  )

  it.effect(
    "leaves the newest keepFiles files of each log, and says once, as an event too, that nothing more can go",
    () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(START)
        const on = stage()
        filled(on, pathOf("a"), { d01: 100, d02: 100, d03: 100 })
        filled(on, pathOf("b"), { d04: 100 }, 999)
        leave(on, 0)
        const lines = yield* run(
          on,
          ["a", "b"],
          { policy: { ...PLAIN, pressure: pressing(1_000, 1_000, 3) } },
          Effect.gen(function* () {
            // It may be over before long: a segment may be compressed, or the writers stop.
            yield* TestClock.adjust("9 seconds")
            assert.deepStrictEqual(failures(on), [])
            yield* TestClock.adjust("2 minutes")
          }),
        )
        assert.deepStrictEqual(told(on), ["a 01"])
        const message =
          "nothing more can go: 100 B are free on the file system of /pods, and policy.pressure.minFree is 1000 B"
        const hint = "free space there, or lower policy.maxSize, policy.maxFiles or policy.pressure.keepFiles"
        assert.deepStrictEqual(lines, [
          "warn: 0 B are free on the file system of /pods, and policy.pressure.minFree is 1000 B; 1 segment of 1 log, 100 B, will go for 1000 B to be free",
          `warn: ${message}; ${hint}`,
        ])
        assert.deepStrictEqual(failures(on), [
          [{ path: "/pods" }, { step: "remove", path: "/pods", reason: "NoSpace", message, hint }],
        ])
      }),
  )

  it.effect.each(["0 seconds", "3 seconds"] as const)(
    "leaves keepFiles files: a name that a rotation which was cut off had reserved counts as none once it is cleared away, after %s",
    (takes) =>
      Effect.gen(function* () {
        yield* TestClock.setTime(START)
        const on = stage()
        const [oldest = "", reserved = ""] = filled(on, pathOf("a"), { d01: 100, d02: 0 }, PLAIN.maxSize)
        const slow = withFiles(on, (files) => ({
          ...files,
          remove: (file, options) => Effect.delay(files.remove(file, options), file.path === reserved ? takes : 0),
        }))
        leave(on, 0)
        const policy = { ...PLAIN, pressure: pressing(1_000, 1_000, 3) }
        yield* run(slow, ["a"], { policy }, TestClock.adjust("30 seconds"))
        assert.deepStrictEqual(types(on.events).slice(0, 3), ["Scanned", "Rotated", "Cleaned"])
        assert.deepStrictEqual([told(on), on.world.read(oldest)?.length], [[], 100])
      }),
  )
  it.effect("that is run anew for each pass says once, as an event, that nothing more can go", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      filled(on, pathOf("a"), { d01: 100 })
      leave(on, 0)
      const policy = { ...PLAIN, pressure: pressing(1_000) }
      const reports = [yield* once(on, ["a"], { policy }), yield* once(on, ["a"], { policy })]
      assert.deepStrictEqual(
        reports.map(({ problems }) => problems.map(({ path, reason }) => [path, reason])),
        [[["/pods/ns_a_uid/app", "NoSpace"]], [["/pods/ns_a_uid/app", "NoSpace"]]],
      )
      assert.strictEqual(failures(on).length, 1)
    }),
  )
  it.effect("takes first what the guards have let go, the oldest of all logs first", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      filled(on, pathOf("a"), { d01: 300, d02: 300, d03: 300 })
      filled(on, pathOf("b"), { d04: 10, d05: 10, d06: 10 })
      filled(on, pathOf("c"), { d02: 10, d05: 10, d06: 10 })
      leave(on, 1_000)
      const shipped = new Set(["b 04", "b 05", "c 02", "c 05", "c 06"])
      const guard = guarding({
        guard: { early: true },
        beforeRemove: ({ segment }) => Effect.succeed(shipped.has(shortOf(segment.path)) ? ALLOW : defer(60_000)),
      })
      yield* run(
        on,
        ["a", "b", "c"],
        { policy: { ...PLAIN, pressure: pressing(1_000) }, plugins: [guard] },
        Effect.gen(function* () {
          yield* TestClock.adjust("5 seconds")
          leave(on, 985)
          yield* TestClock.adjust("5 seconds")
          assert.deepStrictEqual(new Set(told(on)), new Set(["c 02", "b 04"]))
          leave(on, 985)
          yield* TestClock.adjust("5 seconds")
        }),
      )
      assert.deepStrictEqual(new Set(told(on).slice(2)), new Set(["b 05", "c 05"]))
    }),
  )

  it.effect("goes on to the next where a guard keeps a segment, and takes that one once it is let go", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      filled(on, pathOf("a"), { d01: 300, d02: 300 })
      filled(on, pathOf("b"), { d03: 200, d04: 200 })
      leave(on, 900)
      let away = true
      const guard = guarding({
        beforeRemove: ({ segment }) =>
          Effect.sync(() => (away && segment.path.startsWith(pathOf("a")) ? defer(20_000) : ALLOW)),
      })
      const lines = yield* run(
        on,
        ["a", "b"],
        { policy: { ...PLAIN, pressure: pressing(1_000, 1_300) }, plugins: [guard] },
        Effect.gen(function* () {
          yield* TestClock.adjust("5 seconds")
          assert.deepStrictEqual(told(on), ["b 03"])
          leave(on, 800)
          yield* TestClock.adjust("12 seconds")
          assert.deepStrictEqual(told(on), ["b 03"])
          away = false
          yield* TestClock.adjust("30 seconds")
        }),
      )
      assert.deepStrictEqual(told(on), ["b 03", "a 01"])
      assert.strictEqual(lines.length, 5)
      assert.match(
        lines[3]!,
        /nothing more can go: .*; 300 B would go, and are kept for now; mend what the guards wait for/,
      )
    }),
  )

  it.effect("goes on to the next where a guard hangs, a removal fails, or a log can't be looked at", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      filled(on, pathOf("a"), { d01: 300, d02: 300 })
      filled(on, pathOf("b"), { d03: 250, d04: 250 })
      filled(on, pathOf("c"), { d05: 200, d06: 200 })
      filled(on, pathOf("d"), { d07: 400, d08: 400 })
      leave(on, 5_000)
      const guard = guarding({
        beforeRemove: ({ segment }) => (segment.path.startsWith(pathOf("a")) ? Effect.never : Effect.succeed(ALLOW)),
      })
      yield* run(
        on,
        ["a", "b", "c", "d"],
        { policy: { ...PLAIN, pressure: pressing(1_000) }, plugins: [guard] },
        Effect.gen(function* () {
          yield* TestClock.adjust("5 seconds")
          on.world.faults = (operation, path) =>
            (operation === "remove" && path.startsWith(pathOf("b"))) || (operation === "list" && path === pathOf("d"))
              ? "before"
              : null
          leave(on, 900)
          yield* TestClock.adjust("20 seconds")
        }),
      )
      assert.deepStrictEqual(told(on), ["c 05"])
    }),
  )

  it.effect("counts on nothing that it may not remove: a dormant log's segments may be another program's", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      for (const day of [1, 2, 3]) on.world.put(`${pathOf("a")}.2026010${day}-000000`, new Uint8Array(500))
      filled(on, pathOf("b"), { d04: 100, d05: 100 })
      leave(on, 900)
      const logs = [logOf("a"), logOf("b")]
      const source: Source = {
        ...on.world.source(() => logs),
        list: Effect.succeed({ logs, dormant: new Set([pathOf("a")]), problems: [] }),
      }
      const sources = [{ name: "world", open: Effect.succeed(source) }]
      yield* run(on, [], { sources, policy: { ...PLAIN, pressure: pressing(1_000) } })
      assert.deepStrictEqual(told(on), ["b 04"])
    }),
  )

  it.effect("under drop stops a guard that takes long, and lets no more give way than it must", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      filled(on, pathOf("a"), { d01: 100, d02: 100, d03: 100, d04: 100 })
      leave(on, 50)
      let stopped = 0
      const guard = guarding({
        guard: { early: true },
        beforeRemove: () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => void (stopped += 1))),
      })
      const policy = {
        ...PLAIN,
        pressure: pressing(1_000),
        deferred: { onPressure: "drop" as const, minFree: 200 },
      }
      const lines = yield* run(on, ["a"], { policy, plugins: [guard] }, TestClock.adjust("25 seconds"))
      assert.deepStrictEqual(told(on), ["a 01", "a 02"])
      assert.isAbove(stopped, 0)
      assert.deepStrictEqual(lines.filter((line) => line.includes("dropped")).length, 2)
    }),
  )

  it.effect("takes no more than needed on a file system that tells late of what was freed", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      filled(on, pathOf("a"), { d01: 100, d02: 100, d03: 100, d04: 100, d05: 100 })
      const late = withFiles(on, (files) => ({ ...files, free: () => Effect.succeed(1_000) }))
      yield* run(late, ["a"], { policy: { ...PLAIN, pressure: pressing(1_150) } }, TestClock.adjust("30 seconds"))
      assert.deepStrictEqual(told(on), ["a 01", "a 02"])
    }),
  )

  it.effect("sheds on the file system that is full, and on no other", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      filled(on, pathOf("a"), { d01: 500, d02: 500 })
      filled(on, pathOf("b"), { d01: 100, d02: 100 })
      const isElsewhere = (path: string): boolean => path.startsWith(pathOf("b"))
      const swapped = <F extends { readonly path: string; readonly identity: string }>(file: F, device: string): F =>
        isElsewhere(file.path) ? { ...file, identity: file.identity.replace(/^\d+/, device) } : file
      const two = withFiles(on, (files) => ({
        ...files,
        list: (active) =>
          Effect.map(files.list(active), (listing) => ({
            ...listing,
            entries: listing.entries.map((entry) => swapped(entry, "2")),
          })),
        remove: (file, options) => files.remove(swapped(file, "1"), options),
        free: (active) => Effect.succeed(!isElsewhere(active) ? 5_000 : on.world.paths().length === 6 ? 900 : 1_000),
      }))
      yield* run(two, ["a", "b"], { policy: { ...PLAIN, pressure: pressing(1_000) } })
      assert.deepStrictEqual(told(on), ["b 01"])
    }),
  )

  it.effect("touches nothing that it only observes, or doesn't rotate, and records what it would do", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      filled(on, pathOf("a"), { d01: 900, d02: 900 })
      filled(on, pathOf("b"), { d01: 800, d02: 800 })
      filled(on, pathOf("c"), { d03: 50, d04: 50 })
      leave(on, 960)
      const overrides = [
        { name: "watched", match: { pod: "a" }, mode: "observe" as const },
        { name: "alone", match: { pod: "b" }, maxSize: -1 },
      ]
      yield* run(on, ["a", "b", "c"], { policy: { ...PLAIN, pressure: pressing(1_000), overrides } })
      assert.deepStrictEqual(told(on), ["c 03"])
      assert.deepStrictEqual(
        on.events.flatMap(({ data, type }) => (type === "Planned" ? [data] : [])),
        [
          { steps: [{ step: "remove", path: `${pathOf("a")}.20260101-000000` }] },
          // It is over.
          { steps: [] },
        ],
      )
    }),
  )

  it.effect("does not wait for a segment that its writer still holds, and takes it once it is at rest", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      const [held] = filled(on, pathOf("a"), { d05: 500 })
      filled(on, pathOf("b"), { d03: 100, d04: 100 })
      leave(on, 5_000)
      const policy = { ...PLAIN, pressure: pressing(1_000, 1_000, 1) }
      yield* run(
        on,
        ["a", "b"],
        { policy, interval: "2s" },
        Effect.gen(function* () {
          for (let second = 0; second < 20; second += 1) {
            on.world.append(held!, new Uint8Array(1), START + second * 1_000 + 900)
            if (second === 10) leave(on, 700)
            yield* TestClock.adjust("1 second")
          }
          assert.deepStrictEqual(told(on), ["b 03", "b 04"])
          yield* TestClock.adjust("5 seconds")
        }),
      )
      assert.deepStrictEqual(told(on), ["b 03", "b 04", "a 05"])
    }),
  )

  it.effect("keeps to the order also among segments that were looked at before they had come to rest", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      const fresh = { modifiedMs: START - 500 }
      for (const path of [
        ...filled(on, pathOf("a"), { d01: 1, d02: 1 }),
        ...filled(on, pathOf("b"), { d03: 1, d04: 1 }),
      ])
        on.world.rewrite(path, new Uint8Array(path.startsWith(pathOf("a")) ? 100 : 200), fresh)
      leave(on, 5_000)
      yield* run(
        on,
        ["a", "b"],
        { policy: { ...PLAIN, pressure: pressing(1_000) }, interval: "60s" },
        Effect.gen(function* () {
          yield* TestClock.adjust("5 seconds")
          leave(on, 900)
          yield* TestClock.adjust("5 seconds")
        }),
      )
      assert.deepStrictEqual(told(on), ["b 03"])
    }),
  )

  it.effect("removes none that grew after it was looked at", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      const [grows] = filled(on, pathOf("a"), { d01: 300, d02: 300 })
      leave(on, 900)
      on.world.faults = (operation, path) => {
        if (operation === "remove" && path === grows) on.world.append(path, new Uint8Array(1), START)
        return null
      }
      yield* run(on, ["a"], { policy: { ...PLAIN, pressure: pressing(1_000) }, interval: "60s" })
      assert.deepStrictEqual(types(on.events, "a"), ["Scanned", "Deferred"])
    }),
  )

  it.effect("removes none for which others made room while a guard was asked", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      filled(on, pathOf("a"), { d03: 200, d04: 200 })
      leave(on, 900)
      const asked: Array<string> = []
      const guard = guarding({
        beforeRemove: ({ segment }) =>
          Effect.suspend(() => {
            asked.push(shortOf(segment.path))
            return Effect.as(Effect.sleep("5 seconds"), ALLOW)
          }),
      })
      yield* run(
        on,
        ["a"],
        { policy: { ...PLAIN, pressure: pressing(1_000) }, plugins: [guard] },
        Effect.gen(function* () {
          yield* TestClock.adjust("3 seconds")
          leave(on, 1_000)
          yield* TestClock.adjust("20 seconds")
        }),
      )
      assert.deepStrictEqual([asked, told(on)], [["a 03"], []])
    }),
  )

  it.effect("under drop lets nothing give way that need not go any more", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      filled(on, pathOf("a"), { d01: 300, d02: 300 })
      leave(on, 900)
      const guard = guarding({
        beforeRemove: () =>
          Effect.sync(() => {
            leave(on, 1_000)
            return defer(60_000)
          }),
      })
      const policy = {
        ...PLAIN,
        pressure: pressing(1_000),
        deferred: { onPressure: "drop" as const, maxSize: 50 },
      }
      yield* run(on, ["a"], { policy, plugins: [guard] })
      assert.deepStrictEqual(types(on.events, "a"), ["Scanned", "Deferred"])
    }),
  )

  it.effect("chooses among all logs, also when it has just begun and one is slow to be looked at", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      filled(on, pathOf("a"), { d01: 200, d02: 200 })
      filled(on, pathOf("b"), { d03: 300, d04: 300 })
      leave(on, 900)
      const slow = withFiles(on, (files) => ({
        ...files,
        list: (active) => Effect.delay(files.list(active), active === pathOf("b") ? "5 seconds" : "1 millis"),
      }))
      yield* run(slow, ["a", "b"], { policy: { ...PLAIN, pressure: pressing(1_000) } }, TestClock.adjust("20 seconds"))
      assert.deepStrictEqual(told(on), ["b 03"])
    }),
  )

  it.effect("begins a pass over a log that is being rotated as soon as that is done", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      filled(on, pathOf("a"), { d01: 200, d02: 200 })
      leave(on, 5_000)
      const source = on.world.source(() => [logOf("a")])
      const slow: Source = { ...source, reopen: (log) => Effect.delay(source.reopen(log), "4 seconds") }
      const sources = [{ name: "world", open: Effect.succeed(slow) }]
      yield* run(
        on,
        [],
        { sources, policy: { ...PLAIN, pressure: pressing(1_000) }, interval: "60s" },
        Effect.gen(function* () {
          yield* TestClock.adjust("5 seconds")
          on.world.write(pathOf("a"), new Uint8Array(1_000), START + 5_000)
          yield* TestClock.adjust("2 seconds")
          assert.deepStrictEqual(on.world.calls.filter((call) => call.startsWith("setAside ")).length, 1)
          leave(on, 900)
          yield* TestClock.adjust("6 seconds")
        }),
      )
      assert.deepStrictEqual(told(on), ["a 01"])
    }),
  )

  it.effect("looks sooner when free space shrinks fast", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      filled(on, pathOf("a"), { d01: 500, d02: 500 })
      leave(on, 4_000)
      let freeBytes = 4_000
      yield* run(
        on,
        ["a"],
        { policy: { ...PLAIN, pressure: pressing(1_000) } },
        Effect.gen(function* () {
          yield* TestClock.adjust("3 seconds")
          for (let tenths = 0; tenths < 13; tenths += 1) {
            freeBytes -= 250
            leave(on, freeBytes)
            yield* TestClock.adjust("100 millis")
          }
        }),
      )
      assert.deepStrictEqual(told(on), ["a 01"])
    }),
  )
})

describe("one pass over all logs, when the disk is full,", () => {
  it.effect(
    "sheds until there is enough, or nothing more can go: that is a problem of whoever asked for the pass",
    () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(START)
        const on = stage()
        filled(on, pathOf("a"), { d01: 100, d02: 100, d03: 100 })
        filled(on, pathOf("b"), { d04: 150, d05: 100 })
        leave(on, 900)
        const report = yield* once(on, ["a", "b"], { policy: { ...PLAIN, pressure: pressing(1_000) } })
        assert.deepStrictEqual(told(on), ["a 01"])
        assert.deepStrictEqual([report.steps.removed, report.problems], [1, []])
        leave(on, 0)
        const { problems, steps } = yield* once(on, ["a", "b"], { policy: { ...PLAIN, pressure: pressing(1_000) } })
        assert.deepStrictEqual(new Set(told(on)), new Set(["a 01", "a 02", "b 04"]))
        assert.deepStrictEqual(
          [steps.removed, problems.map(({ path, reason, step }) => ({ path, step, reason }))],
          [2, [{ path: "/pods", step: "remove", reason: "NoSpace" }]],
        )
      }),
  )
})

describe("a plan", () => {
  it.effect.each([
    ["pressure", { pressure: pressing(1_000) }],
    ["budget", { maxTotal: 320 }],
  ] as const)("shows what would go for a limit that logs share (%s), and touches nothing", ([reason, limit]) =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      filled(on, pathOf("a"), { d01: 100, d02: 100, d03: 100 })
      filled(on, pathOf("b"), { d04: 300, d05: 40 })
      leave(on, 950)
      const options = { policy: { ...PLAIN, ...limit } }
      const before = on.world.paths()
      const planned = Effect.scoped(
        Effect.flatMap(
          agentOf(on, () => ["a", "b"], options),
          (agent) => agent.plan,
        ),
      )
      const steps = (yield* planned).logs.flatMap(({ steps }) => steps)
      assert.deepStrictEqual(
        steps.map((step) => (step._tag === "Remove" ? `${shortOf(step.segment.path)} ${step.reason}` : step._tag)),
        [`b 04 ${reason}`],
      )
      assert.deepStrictEqual(on.world.paths(), before)
      yield* logged(once(on, ["a", "b"], options))
      assert.deepStrictEqual(told(on, reason), ["b 04"])
    }),
  )
})

describe("a budget", () => {
  const pod = (container: string, attempt: number): Log => ({
    path: `/pods/shop_api_u1/${container}/${attempt}.log`,
    namespace: "shop",
    pod: "api",
    podUid: "u1",
    container,
    containerId: `${container}-${attempt}`,
  })
  const crashLoop = (on: Stage): ReadonlyArray<Log> => {
    const logs = [pod("app", 0), pod("app", 1), pod("app", 2), pod("side", 0)]
    filled(on, logs[0]!.path, { d01: 100, d02: 100 }, 10)
    filled(on, logs[1]!.path, { d03: 100, d04: 100 }, 10)
    filled(on, logs[2]!.path, { d05: 100, d06: 100 }, 10)
    filled(on, logs[3]!.path, { d01: 100, d02: 100 }, 10)
    return logs
  }
  const gone = (on: Stage): ReadonlyArray<string> =>
    removals(on).map(({ path, reason }) => {
      assert.strictEqual(reason, "budget")
      return path.slice("/pods/shop_api_u1/".length, -"-000000".length).replace(".202601", " ")
    })

  it.effect(
    "of a container holds for all its restarts together: those that have ended lose first, the earliest first",
    () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(START)
        const on = stage()
        const logs = crashLoop(on)
        const sources = listing(on, logs, [logs[0]!.path, logs[1]!.path])
        yield* run(
          on,
          [],
          { sources, policy: { ...PLAIN, keepStopped: 5, maxTotal: 330 } },
          TestClock.adjust("15 seconds"),
        )
        assert.deepStrictEqual(gone(on), ["app/0.log 01", "app/0.log 02", "app/1.log 03"])
      }),
  )
  it.effect.each([
    ["one pass over all logs", (on: Stage, options: Partial<AgentOptions>) => once(on, [], options)],
    ["a daemon", (on: Stage, options: Partial<AgentOptions>) => run(on, [], options, TestClock.adjust("1 minute"))],
  ] as const)("takes one log's after the other's, in the order of the rule: %s", ([, passes]) =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      const logs = crashLoop(on)
      // The last one listed is the first to lose, and what its segments free is enough but for one byte.
      const sources = listing(on, logs.toReversed(), [logs[0]!.path, logs[1]!.path])
      yield* passes(on, { sources, policy: { ...PLAIN, keepStopped: 5, maxTotal: { container: 429 } } })
      assert.deepStrictEqual(gone(on), ["app/0.log 01", "app/0.log 02", "app/1.log 03"])
    }),
  )
  it.effect("takes nothing for which a segment that went before has made room", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      const logs = crashLoop(on)
      // Somebody takes it while the guard is asked about what goes first.
      const taken = `${logs[1]!.path}.20260104-000000`
      const guard = guarding({
        beforeRemove: () =>
          Effect.sync(() => {
            if (on.world.read(taken) !== undefined) on.world.unlink(taken, START)
            return ALLOW
          }),
      })
      const sources = listing(on, logs, [logs[0]!.path, logs[1]!.path])
      const policy = { ...PLAIN, keepStopped: 5, maxTotal: { container: 330 } }
      yield* run(on, [], { sources, policy, plugins: [guard] }, TestClock.adjust("2 minutes"))
      assert.deepStrictEqual(
        removals(on).map(({ path, reason }) => `${path.slice(path.indexOf("app/"))} ${reason}`),
        ["app/0.log.20260101-000000 budget", "app/0.log.20260102-000000 budget", "app/1.log.20260104-000000 missing"],
      )
    }),
  )
  it.effect("of a pod is met by one pass over all logs, however often its containers' turns alternate", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      const logs = [pod("app", 0), pod("side", 0)]
      const days = Array.from({ length: 28 }, (_, day) => [`d${String(day + 1).padStart(2, "0")}`, 100] as const)
      for (const { path } of logs) filled(on, path, Object.fromEntries(days), 10)
      const report = yield* once(on, [], {
        sources: listing(on, logs, []),
        policy: { ...PLAIN, maxTotal: { pod: 1_020 } },
      })
      assert.deepStrictEqual([report.problems, report.steps.removed, usedBytes(on)], [[], 46, 1_020])
    }),
  )
  it.effect("doesn't wait for a guard that puts off for no time at all", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      const logs = crashLoop(on)
      const kept = `${logs[0]!.path}.20260101-000000`
      const guard = guarding({
        beforeRemove: ({ segment }) => Effect.succeed(segment.path === kept ? defer(0) : ALLOW),
      })
      const sources = listing(on, logs, [logs[0]!.path, logs[1]!.path])
      const policy = { ...PLAIN, keepStopped: 5, maxTotal: { container: 330 } }
      yield* run(on, [], { sources, policy, plugins: [guard] }, TestClock.adjust("30 seconds"))
      assert.deepStrictEqual(gone(on), ["app/0.log 02", "app/1.log 03"])
    }),
  )
  it.effect("doesn't wait for a segment that can't be told from its twin", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      const logs = crashLoop(on)
      on.world.put(`${logs[0]!.path}.20260101-000000.gz`, new Uint8Array(0))
      const broken = withFiles(on, (files) => ({
        ...files,
        matches: (_twin, { path }) =>
          Effect.fail(new LogFilesError({ op: "matches", path, reason: "Io", detail: "EIO: i/o error" })),
      }))
      const sources = listing(on, logs, [logs[0]!.path, logs[1]!.path])
      const policy = { ...PLAIN, keepStopped: 5, maxTotal: { container: 330 } }
      yield* run(broken, [], { sources, policy }, TestClock.adjust("30 seconds"))
      assert.deepStrictEqual(gone(on), ["app/0.log 02", "app/1.log 03"])
    }),
  )
  it.effect("leaves the newest segment to its writer until there is a byte in the active file", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      const log = pod("app", 0)
      filled(on, log.path, { d01: 100, d02: 100 }, 0)
      const paths = () => removals(on).map(({ path }) => path)
      yield* run(
        on,
        [],
        { sources: listing(on, [log], []), policy: { ...PLAIN, maxTotal: 0, pressure: pressing(1_000, 1_000, 1) } },
        Effect.gen(function* () {
          leave(on, 500)
          yield* TestClock.adjust("1 minute")
          assert.deepStrictEqual(paths(), [`${log.path}.20260101-000000`])
          on.world.write(log.path, new Uint8Array(1), START)
          yield* TestClock.adjust("1 minute")
        }),
      )
      assert.deepStrictEqual(paths(), [`${log.path}.20260101-000000`, `${log.path}.20260102-000000`])
    }),
  )

  it.effect("of a pod takes from its largest container, and none of its logs is rotated for it", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      const logs = crashLoop(on)
      const sources = listing(on, logs, [logs[0]!.path, logs[1]!.path])
      const policy = { ...PLAIN, keepStopped: 5, maxTotal: { container: 600, pod: 140 } }
      const report = yield* once(on, [], { sources, policy })
      assert.deepStrictEqual(gone(on).length, 7)
      assert.deepStrictEqual(report.problems, [])
      // The four active files, and what is newest in the container that was not the largest any more.
      assert.deepStrictEqual(on.world.paths(), [...logs.map(({ path }) => path), `${logs[3]!.path}.20260102-000000`])
    }),
  )

  it.effect(
    "counts what grows, and waits whether it stays so: what is about to be compressed gets the time for it",
    () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(START)
        const on = stage()
        const log = pod("app", 0)
        filled(on, log.path, { d01: 100, d02: 100, d03: 100 }, 10)
        yield* run(
          on,
          [],
          { sources: listing(on, [log], []), policy: { ...PLAIN, maxTotal: 320 } },
          Effect.gen(function* () {
            yield* TestClock.adjust("15 seconds")
            on.world.write(log.path, new Uint8Array(50), START)
            yield* TestClock.adjust("5 seconds")
            assert.deepStrictEqual(gone(on), [])
            yield* TestClock.adjust("10 seconds")
          }),
        )
        assert.deepStrictEqual(gone(on), ["app/0.log 01"])
      }),
  )

  it.effect("counts the segment of a rotation that was cut off once, when its writer has been told at last", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      const path = pathOf("a")
      on.world.put(`${path}.20260901-000000`, new Uint8Array(80))
      yield* once(on, ["a"], { policy: { ...PLAIN, maxTotal: 100 } })
      assert.deepStrictEqual(types(on.events), ["Scanned", "Rotated"])
      assert.deepStrictEqual(on.world.paths(), [path, `${path}.20260901-000000`])
    }),
  )
  it.effect("leaves no name to be given again, though the newest segment goes and the clock is set back", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      const path = pathOf("a")
      filled(on, path, {}, 50)
      const policy = { ...PLAIN, maxSize: 10, maxTotal: 0 }
      yield* once(on, ["a"], { policy })
      on.world.write(path, new Uint8Array(1), START)
      yield* TestClock.adjust("2 seconds")
      yield* once(on, ["a"], { policy })
      assert.deepStrictEqual(on.world.paths(), [path])
      yield* TestClock.setTime(START - 3_600_000)
      on.world.write(path, new Uint8Array(50), START - 3_600_000)
      yield* once(on, ["a"], { policy })
      const names = on.events.flatMap(({ data, type }) =>
        type === "Rotated" ? [(data as { readonly to: string }).to] : [],
      )
      assert.deepStrictEqual(names, [`${path}.20260909-043310`, `${path}.20260909-043311`])
    }),
  )
  it.effect("is not made up for by younger segments while a guard keeps the older ones", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      const logs = crashLoop(on)
      let away = true
      const asked = new Set<string>()
      const guard = guarding({
        beforeRemove: ({ segment }: Doomed) =>
          Effect.sync(() => {
            asked.add(segment.name)
            return away ? defer(5_000) : ALLOW
          }),
      })
      const options = {
        sources: listing(on, logs, [logs[0]!.path, logs[1]!.path]),
        policy: { ...PLAIN, keepStopped: 5, maxTotal: 550 },
        plugins: [guard],
      }
      yield* run(
        on,
        [],
        options,
        Effect.gen(function* () {
          yield* TestClock.adjust("1 minute")
          assert.deepStrictEqual([gone(on), [...asked]], [[], ["0.log.20260101-000000"]])
          away = false
          yield* TestClock.adjust("1 minute")
        }),
      )
      assert.deepStrictEqual(gone(on), ["app/0.log 01"])
    }),
  )
})

describe("whatever logs share, however little is left,", () => {
  const log = fc.record({
    pod: fc.constantFrom("x", "y"),
    container: fc.constantFrom("app", "side"),
    attempt: fc.nat({ max: 2 }),
    segments: fc.array(fc.nat({ max: 50 }), { maxLength: 5 }),
    activeBytes: fc.nat({ max: 50 }),
  })
  const cases = fc.record({
    logs: fc.uniqueArray(log, {
      maxLength: 6,
      selector: ({ attempt, container, pod }) => `${pod} ${container} ${attempt}`,
    }),
    free: fc.nat({ max: 400 }),
    target: fc.nat({ max: 400 }),
    container: fc.option(fc.nat({ max: 300 }), { nil: undefined }),
    pod: fc.option(fc.nat({ max: 400 }), { nil: undefined }),
    keepFiles: fc.integer({ min: 1, max: 4 }),
    keeps: fc.nat({ max: 3 }),
  })
  type Given = typeof cases extends fc.Arbitrary<infer A> ? A : never

  /** Some are kept by a guard, for longer than anybody waits here. */
  const keptOf =
    (keeps: number) =>
    (path: string): boolean =>
      path.includes("_x_") && Number(/202601(\d\d)-/.exec(path)?.[1]) % 4 < keeps

  const check = ({ container, free, keepFiles, keeps, logs, pod, target }: Given) =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      const isKept = keptOf(keeps)
      const listed = logs.map(({ attempt, container, pod }) => ({
        path: `/pods/ns_${pod}_uid/${container}/${attempt}.log`,
        pod,
        podUid: pod,
        container,
      }))
      for (const [at, { activeBytes, segments }] of logs.entries()) {
        filled(
          on,
          listed[at]!.path,
          Object.fromEntries(segments.map((bytes, day) => [`d${10 + day}`, bytes])),
          activeBytes,
        )
      }
      leave(on, free)
      const before = usedBytes(on)
      const guard = guarding({
        beforeRemove: ({ segment }) => Effect.succeed(isKept(segment.path) ? defer(3_600_000) : ALLOW),
      })
      const policy = {
        ...PLAIN,
        keepStopped: 5,
        maxTotal: { ...(container === undefined ? {} : { container }), ...(pod === undefined ? {} : { pod }) },
        pressure: pressing(Math.min(free + 1, target), target, keepFiles),
      }
      yield* logged(once(on, [], { sources: listing(on, listed, []), policy, plugins: [guard] }))

      const removed = removals(on)
      const removedBytes = removed.reduce((sum, { bytes }) => sum + bytes, 0)
      assert.strictEqual(usedBytes(on) + removedBytes, before)
      for (const { path, reason } of removed) {
        assert.isTrue(reason === "budget" || reason === "pressure")
        assert.isFalse(isKept(path))
      }
      const files = on.world.paths().map((path) => ({ path, bytes: on.world.read(path)!.length }))
      const wrong: Array<string> = []
      /** The newest segment, where nothing proves that its writer has reopened. */
      const mayBeHeld = (segment: string): boolean => {
        const active = segment.slice(0, segment.lastIndexOf(".log") + 4)
        return (
          on.world.read(active)!.length === 0 && files.findLast(({ path }) => path.startsWith(active))?.path === segment
        )
      }
      for (const [limit, directories] of [
        [container, listed.map(({ path }) => path.slice(0, path.lastIndexOf("/") + 1))],
        [pod, listed.map(({ pod }) => `/pods/ns_${pod}_uid/`)],
      ] as const) {
        for (const directory of directories) {
          // What is kept is on its way out, and nothing else goes for it.
          const some = files.filter(({ path }) => path.startsWith(directory) && !isKept(path))
          const isOver = some.reduce((sum, { bytes }) => sum + bytes, 0) > (limit ?? Infinity)
          if (isOver && some.some(({ path }) => !path.endsWith(".log") && !mayBeHeld(path)))
            wrong.push(`${directory} is over ${limit}`)
        }
      }
      for (const { path: active } of listed) {
        assert.isDefined(on.world.read(active))
        const own = files.filter(({ path }) => path.startsWith(active))
        const lost = removed.filter(({ path }) => path.startsWith(active))
        // A budget has no floor, and may take more after it.
        const pressed = lost.findLastIndex(({ reason }) => reason === "pressure")
        if (pressed >= 0) assert.isAtLeast(own.length + lost.length - 1 - pressed, keepFiles)
        const mayGo = own
          .slice(1, Math.max(1, own.length - keepFiles + 1))
          .filter(({ path }) => !isKept(path) && !mayBeHeld(path))
        if (free + removedBytes < target && mayGo.length > 0) wrong.push(`${mayGo.length} of ${active} could go`)
      }
      assert.deepStrictEqual(wrong, [])
    })

  it.effect(
    "every byte is on disk or told of as removed, no active file goes, and limits hold as far as they can",
    () =>
      Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(cases, (given) =>
            Effect.runPromise(Effect.scoped(Effect.provide(check(given), TestClock.layer()))),
          ),
          { numRuns: 100, endOnFailure: true },
        ),
      ),
    60_000,
  )
})
