/** What a policy says of each log: which override applies, what observing keeps from being done, and what gives way when guards keep segments. */
import { assert, describe, it } from "@effect/vitest"
import {
  type Configured,
  type Contributions,
  definePlugin,
  type Doomed,
  Journal,
  type Labels,
  type Log,
  LogFiles,
  percentileOf,
  type Source,
  type Verdict,
} from "@cordwood/core"
import { makeMemoryJournal, type MemoryJournal, plainCodec, type World } from "@cordwood/core/testing"
import { Clock, Effect, Exit, Layer, Tracer } from "effect"
import { TestClock } from "effect/testing"
import * as z from "zod"
import type { AgentOptions } from "../src/agent-options.ts"
import { agentOf, bring, disk, factsOf, logged, pathOf, settle, type Stage, stage, START, text } from "./stage.ts"

const FULL = text.encode("more than ten bytes")
const Sent = z.strictObject({ path: z.string(), key: z.string() })
const guarding = (contributions: Contributions): Configured =>
  definePlugin({ name: "sent", api: 1, config: z.strictObject({}), setup: () => Effect.succeed(contributions) })()
const defer = (why: string, retryAfterMs = 5_000): Verdict => ({ _tag: "Defer", why, retryAfterMs })
const ALLOW: Verdict = { _tag: "Allow" }

/** A stage whose journal replays what a real one does. */
const recording = (): Stage & { readonly memory: MemoryJournal } => {
  const on = stage()
  const memory = makeMemoryJournal({ decode: { plugins: { "sent.Done": Sent } } })
  return { ...on, memory, ports: { ...on.ports, journal: () => Layer.succeed(Journal, memory) } }
}

/** Closed segments of a log, the oldest first, all of them at rest; and its active file. */
const closed = ({ world }: Stage, name: string, contents: ReadonlyArray<string>): ReadonlyArray<string> => {
  world.openWriter(pathOf(name), START)
  return contents.map((content, at) => {
    const path = `${pathOf(name)}.2026010${at + 1}-000000`
    world.put(path, text.encode(content))
    return path
  })
}

/** One pass by an agent of its own, as `cordwood once` makes it. */
const once = (on: Stage, names: ReadonlyArray<string>, options: Partial<AgentOptions>) =>
  Effect.scoped(
    Effect.flatMap(
      agentOf(on, () => names, options),
      (agent) => agent.once,
    ),
  )
const drain = (on: Stage, names: ReadonlyArray<string>, options: Partial<AgentOptions>) =>
  Effect.scoped(
    Effect.flatMap(
      agentOf(on, () => names, options),
      (agent) => agent.drain,
    ),
  )

const source = (world: World, listed: ReadonlyArray<readonly [Log, Labels?]>): AgentOptions["sources"] => {
  const logs = listed.map(([log]) => log)
  const labels = new Map(listed.map(([log, labels = {}]) => [log.path, labels]))
  const made: Source = { ...world.source(() => logs), list: Effect.succeed({ logs, labels, problems: [] }) }
  return [{ name: "world", open: Effect.succeed(made) }]
}

describe("a policy in mode observe", () => {
  it.effect("touches nothing, and records what it would have done once, also over restarts", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = recording()
      const paths = closed(on, "a", ["one", "two", "three", "four", "five"])
      on.world.write(pathOf("a"), FULL, START)
      on.world.put(`${pathOf("a")}.20260101-000000.tmp`, text.encode("half"))
      const before = disk(on)
      const asked: Array<string> = []
      const guard = guarding({
        beforeRemove: ({ occasion }) => Effect.sync(() => (asked.push(occasion), ALLOW)),
        guard: { early: true },
      })
      const options: Partial<AgentOptions> = {
        policy: { maxSize: 10, maxFiles: 4, compression: "plain", mode: "observe" },
        plugins: [bring(plainCodec), guard],
      }
      const report = yield* once(on, ["a"], options)
      yield* TestClock.adjust("10 seconds")
      yield* once(on, ["a"], options)
      const drained = yield* drain(on, ["a"], options)
      const agent = yield* agentOf(on, () => ["a"], options)
      yield* Effect.forkScoped(agent.run)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(disk(on), before)
      assert.deepStrictEqual([...new Set(on.world.calls.map((call) => call.slice(0, call.indexOf(" "))))].toSorted(), [
        "list",
        "sourceList",
      ])
      assert.deepStrictEqual(asked, [])
      const [scanned, planned, ...more] = on.memory.stored()
      assert.deepStrictEqual([scanned?.type, planned?.type, more], ["Scanned", "Planned", []])
      const steps = (planned!.data as { readonly steps: ReadonlyArray<{ readonly step: string }> }).steps
      assert.deepStrictEqual(
        steps.map(({ step }) => step),
        [
          "rotate",
          "clean",
          "remove",
          "remove",
          "remove",
          "compress",
          "compress",
          "compress",
          "compress",
          "compress",
          "offer",
          "offer",
        ],
      )
      assert.deepStrictEqual(
        [report.observed, report.steps, drained],
        [
          steps.length,
          { rotated: 0, compressed: 0, removed: 0, cleaned: 0 },
          {
            ...report,
            asked: 0,
            waiting: [],
            unasked: paths.map((path) => ({ path, policy: "default" })),
          },
        ],
      )
      assert.deepInclude(planned?.metadata, { policy: "default", mode: "observe" })
    }),
  )

  it.effect("takes what another removes meanwhile for no loss", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = recording()
      closed(on, "a", ["one", "two", "three"])
      const options: Partial<AgentOptions> = {
        policy: { maxSize: 100, maxFiles: 4, compression: "none", mode: "observe" },
      }
      yield* once(on, ["a"], options)
      on.world.unlink(`${pathOf("a")}.20260101-000000`)
      yield* once(on, ["a"], options)
      assert.deepStrictEqual(
        on.memory.stored().map(({ type }) => type),
        ["Scanned", "Scanned"],
      )
    }),
  )

  it.effect("records anew what it would do once that is something else", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = recording()
      closed(on, "a", [])
      const options: Partial<AgentOptions> = {
        policy: { maxSize: 10, maxFiles: 4, compression: "none", mode: "observe" },
      }
      yield* once(on, ["a"], options)
      on.world.write(pathOf("a"), FULL, START)
      yield* once(on, ["a"], options)
      on.world.rewrite(pathOf("a"), text.encode("short"))
      yield* once(on, ["a"], options)
      const nothing = { activeBytes: 0, segments: 0, totalBytes: 0, files: [] }
      assert.deepStrictEqual(factsOf(on.memory.stored()), [
        ["Scanned", nothing],
        ["Planned", { steps: [{ step: "rotate", path: pathOf("a") }] }],
        ["Planned", { steps: [] }],
      ])
    }),
  )
})

describe("an override", () => {
  const logs: ReadonlyArray<readonly [Log, Labels?]> = [
    [{ path: "/pods/a/0.log", namespace: "shop", pod: "web-1", podUid: "u1", container: "nginx" }, { tier: "front" }],
    [{ path: "/pods/b/0.log", namespace: "shop", pod: "db-1", podUid: "u2", container: "postgres" }],
    [{ path: "/pods/c/0.log", namespace: "infra", pod: "web-2", podUid: "u3", container: "nginx" }],
    [{ path: "/pods/d/0.log", namespace: "infra", pod: "dns-1", podUid: "u4", container: "dns" }, { tier: "back" }],
    [{ path: "/pods/e/0.log", namespace: "infra", pod: "dns-2", podUid: "u5", container: "dns" }],
  ]
  it.effect(
    "of namespace, pod, container or labels chooses mode and limits, and events and spans say which it was",
    () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(START)
        const on = recording()
        for (const [{ path }] of logs) {
          on.world.openWriter(path, START)
          on.world.write(path, FULL, START)
        }
        const spans: Array<Tracer.NativeSpan> = []
        const tracer = Tracer.make({
          span: (options) => {
            const span = new Tracer.NativeSpan(options)
            spans.push(span)
            return span
          },
        })
        yield* once(on, [], {
          sources: source(on.world, logs),
          plugins: [guarding({ tracer })],
          policy: {
            maxSize: 10,
            compression: "none",
            overrides: [
              { name: "front", match: { labels: { tier: "front" } }, mode: "observe" },
              { name: "databases", match: { namespace: ["shop", "bank"], pod: "db-*" }, maxSize: 1_000 },
              { name: "nginx", match: { container: "nginx" }, maxSize: 5 },
              { name: "back", match: { labels: { tier: ["back", "middle"] } }, maxSize: -1 },
            ],
          },
        })
        const under = on.memory.stored().map(({ data, log, metadata, type }) => {
          const { maxSize } = data as { readonly maxSize?: number }
          return [log.path, type, metadata.policy, metadata.mode, ...(maxSize === undefined ? [] : [maxSize])]
        })
        assert.deepStrictEqual(
          under.toSorted((one, other) => String(one[0]).localeCompare(String(other[0]))),
          [
            ["/pods/a/0.log", "Scanned", "front", "observe"],
            ["/pods/a/0.log", "Planned", "front", "observe"],
            ["/pods/b/0.log", "Scanned", "databases", "enforce"],
            ["/pods/c/0.log", "Scanned", "nginx", "enforce"],
            ["/pods/c/0.log", "Rotated", "nginx", "enforce", 5],
            ["/pods/d/0.log", "Scanned", "back", "enforce"],
            ["/pods/e/0.log", "Scanned", "default", "enforce"],
            ["/pods/e/0.log", "Rotated", "default", "enforce", 10],
          ],
        )
        const passes = spans.filter(({ name }) => name === "cordwood.pass")
        assert.deepStrictEqual(
          passes
            .map(({ attributes }) => [
              attributes.get("k8s.pod.name"),
              attributes.get("cordwood.policy.name"),
              attributes.get("cordwood.policy.mode"),
            ])
            .toSorted(),
          [
            ["db-1", "databases", "enforce"],
            ["dns-1", "back", "enforce"],
            ["dns-2", "default", "enforce"],
            ["web-1", "front", "observe"],
            ["web-2", "nginx", "enforce"],
          ],
        )
        // Each has ended, and every event was emitted in one of them.
        assert.deepStrictEqual(
          spans.filter(({ status }) => status._tag !== "Ended"),
          [],
        )
        const ids = new Set(spans.map(({ spanId }) => spanId))
        assert.isTrue(on.memory.stored().every(({ metadata: { spanId } }) => spanId !== null && ids.has(spanId)))
      }),
  )

  it.effect("for a share of the pods observes the others, and a larger share adds pods and drops none", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const pods = Array.from({ length: 20 }, (_, at): readonly [Log] => [
        { path: `/pods/${at}/0.log`, pod: `p${at}`, podUid: `uid-${at}` },
      ])
      const rotatedAt = (percent: number) =>
        Effect.gen(function* () {
          const on = recording()
          for (const [{ path }] of pods) {
            on.world.openWriter(path, START)
            on.world.write(path, FULL, START)
          }
          yield* once(on, [], {
            sources: source(on.world, pods),
            policy: { maxSize: 10, mode: "observe", overrides: [{ name: "canary", percent, mode: "enforce" }] },
          })
          return on.memory.stored().flatMap(({ log, type }) => (type === "Rotated" ? [log] : []))
        })
      const [none, some, all] = [yield* rotatedAt(0), yield* rotatedAt(40), yield* rotatedAt(100)]
      const within = (percent: number): ReadonlyArray<Log> =>
        pods.flatMap(([log]) => (percentileOf(log) < percent ? [log] : []))
      assert.deepStrictEqual(
        [none, some, all].map((logs) => logs.map(({ path }) => path).toSorted()),
        [
          [],
          within(40)
            .map(({ path }) => path)
            .toSorted(),
          pods.map(([{ path }]) => path).toSorted(),
        ],
      )
      assert.isTrue(some.length > 0 && some.length < pods.length)
    }),
  )
})

describe("a guard that wants to be asked early", () => {
  it.effect("is asked about each closed segment until it allows, and not again before removal", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = recording()
      closed(on, "a", ["one", "two"])
      const asked: Array<string> = []
      const refuse = new Set(["20260102-000000"])
      const guard = guarding({
        beforeRemove: ({ occasion, segment: { stamp } }) =>
          Effect.sync(() => (asked.push(`${occasion} ${stamp}`), refuse.has(stamp) ? defer("not yet", 15_000) : ALLOW)),
        guard: { early: true },
      })
      const agent = yield* agentOf(on, () => ["a"], {
        policy: { maxSize: 10, maxFiles: 3, compression: "none" },
        plugins: [guard],
      })
      yield* Effect.forkScoped(agent.run)
      yield* TestClock.adjust("1 second")
      const first = ["closed 20260101-000000", "closed 20260102-000000"]
      assert.deepStrictEqual(asked, first)
      yield* TestClock.adjust("20 seconds")
      assert.deepStrictEqual(asked, [...first, "closed 20260102-000000"])
      refuse.clear()
      yield* TestClock.adjust("1 minute")
      const allowed = [...first, "closed 20260102-000000", "closed 20260102-000000"]
      assert.deepStrictEqual(asked, allowed)
      on.world.write(pathOf("a"), FULL, START)
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(asked, [...allowed, "removal 20260101-000000"])
      const stamp = on.world.paths().at(-1)?.slice(-15)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(asked, [...allowed, "removal 20260101-000000", `closed ${stamp}`])
    }),
  )

  it.effect("is asked anew about a segment that has grown since: its writer was late to reopen", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = recording()
      closed(on, "a", ["one", "two"])
      const asked: Array<string> = []
      const guard = guarding({
        beforeRemove: ({ segment: { bytes, stamp } }) =>
          Effect.sync(() => (asked.push(`${stamp}: ${bytes} bytes`), ALLOW)),
        guard: { early: true },
      })
      const agent = yield* agentOf(on, () => ["a"], {
        policy: { maxSize: 10, maxFiles: 3, compression: "none" },
        plugins: [guard],
      })
      yield* Effect.forkScoped(agent.run)
      yield* TestClock.adjust("1 second")
      const first = ["20260101-000000: 3 bytes", "20260102-000000: 3 bytes"]
      assert.deepStrictEqual(asked, first)
      on.world.append(`${pathOf("a")}.20260102-000000`, text.encode("late"), START + 1_000)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(asked, [...first, "20260102-000000: 7 bytes"])
    }),
  )
})

describe("what a guard records about a segment", () => {
  it.effect(
    "is in the journal with the pass and the rotation that led to it, and is handed back after a restart, when older events are gone",
    () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(START)
        const on = recording()
        on.world.openWriter(pathOf("a"), START)
        const seen: Array<Pick<Doomed, "occasion" | "told" | "rotated" | "correlationId">> = []
        const guard = guarding({
          events: { "sent.Done": Sent },
          guard: { early: true },
          beforeRemove: ({ correlationId, occasion, record, rotated, segment, told }) =>
            Effect.gen(function* () {
              seen.push({ occasion, told, rotated, correlationId })
              if (told === null)
                yield* record({ type: "sent.Done", data: { path: segment.path, key: `key of ${segment.name}` } })
              return ALLOW
            }),
        })
        const options = {
          policy: { maxSize: 10, maxFiles: 2, compression: "plain" },
          plugins: [bring(plainCodec), guard],
        }
        on.world.write(pathOf("a"), FULL, START)
        yield* once(on, ["a"], options)
        yield* TestClock.adjust("10 seconds")
        yield* once(on, ["a"], options)
        const stored = on.memory.stored()
        const rotated = stored.find(({ type }) => type === "Rotated")
        const told = stored.find(({ type }) => type === "sent.Done")
        assert.isDefined(rotated)
        const { to: segment } = rotated!.data as { readonly to: string }
        const fact = { type: "sent.Done" as const, data: { path: segment, key: `key of ${segment.slice(-21)}` } }
        assert.deepStrictEqual(
          [told?.data, told?.log.path, told?.metadata.correlationId, told?.metadata.causationId],
          [fact.data, pathOf("a"), seen[0]?.correlationId, rotated?.id],
        )
        const origin = { eventId: rotated?.id, traceId: rotated?.metadata.traceId, spanId: rotated?.metadata.spanId }
        assert.deepStrictEqual([seen[0]?.occasion, seen[0]?.told, seen[0]?.rotated], ["closed", null, origin])

        // The next rotation is recorded by a new agent, and then what was before is dropped, as retention does.
        on.world.put(`${pathOf("a")}.20250101-000000`, text.encode("from before"))
        yield* once(on, ["a"], options)
        const scanned = on.memory.stored().findLast(({ type }) => type === "Scanned")
        on.memory.drop(({ position }) => position < (scanned?.position ?? 0))
        assert.isFalse(on.memory.stored().some(({ id }) => id === rotated?.id || id === told?.id))
        on.world.write(pathOf("a"), FULL, START)
        yield* TestClock.adjust("10 seconds")
        seen.length = 0
        yield* once(on, ["a"], options)
        const last = seen.find(({ occasion, told }) => occasion === "removal" && told?.data !== undefined)
        assert.deepStrictEqual([last?.told, last?.rotated], [fact, origin])
      }),
  )

  it.effect("is refused where the journal couldn't hold it or read it back, and no other event is held up", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const cyclic: Record<string, unknown> = {}
      cyclic["self"] = cyclic
      const rubbish: ReadonlyArray<readonly [unknown, string]> = [
        [undefined, "has data that JSON has no form for"],
        [{ n: 2n }, "can't be told as JSON: Do not know how to serialize a BigInt"],
        [{ text: "x".repeat(20_000) }, "has 20011 characters of data; at most 16384 are kept"],
        [new Date(0), "can't be read back from JSON: ✖ Invalid input"],
      ]
      for (const [data, problem] of rubbish) {
        const on = recording()
        closed(on, "a", ["one", "two", "three"])
        const guard = guarding({
          events: { "sent.Odd": z.unknown().refine((value) => typeof value !== "string") },
          beforeRemove: ({ record }) => Effect.as(record({ type: "sent.Odd", data }), ALLOW),
        })
        yield* once(on, ["a"], { policy: { maxFiles: 3, compression: "none" }, plugins: [guard] })
        assert.deepStrictEqual(factsOf(on.memory.stored()).slice(1), [
          [
            "Deferred",
            {
              step: "remove",
              path: `${pathOf("a")}.20260101-000000`,
              by: "sent",
              why: `plugin sent, events: sent.Odd ${problem}`,
              retryAfterMs: 60_000,
            },
          ],
        ])
      }
    }),
  )
})

describe("draining", () => {
  it.effect(
    "asks about every closed segment, the newest plain one too, however lately it was asked, and removes none for it",
    () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(START)
        const on = recording()
        const paths = closed(on, "a", ["one", "two", "three"])
        closed(on, "b", [])
        const asked: Array<string> = []
        const guard = guarding({
          beforeRemove: ({ occasion, segment: { name } }) =>
            Effect.sync(() => (asked.push(`${occasion} ${name}`), name.includes("20260101") ? defer("away") : ALLOW)),
        })
        const options = { policy: { maxSize: 10, maxFiles: 3, compression: "none" }, plugins: [guard] }
        const report = yield* drain(on, ["a", "b"], options)
        assert.deepStrictEqual(asked, [
          "removal 0.log.20260101-000000",
          "drain 0.log.20260101-000000",
          "drain 0.log.20260102-000000",
          "drain 0.log.20260103-000000",
        ])
        assert.deepStrictEqual(report, {
          logs: 2,
          steps: { rotated: 0, compressed: 0, removed: 0, cleaned: 0 },
          deferred: 1,
          deferrals: [{ step: "remove", by: "sent", why: "away", count: 1, retryAfterMs: 5_000 }],
          observed: 0,
          problems: [],
          asked: 3,
          waiting: [{ path: paths[0] ?? "", by: "sent", why: "away" }],
          unasked: [],
        })
        assert.deepStrictEqual(on.world.paths(), [pathOf("a"), ...paths, pathOf("b")])
      }),
  )

  it.effect("asks a guard that doesn't answer once a log, and lists the other segments as waiting for it", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = recording()
      const paths = closed(on, "a", ["one", "two"])
      let asked = 0
      const guard = guarding({
        beforeRemove: () => Effect.suspend(() => ((asked += 1), Effect.never)),
        guard: { limitMs: 1_000 },
      })
      const draining = yield* Effect.forkScoped(drain(on, ["a"], { policy: { compression: "none" }, plugins: [guard] }))
      yield* TestClock.adjust("1 second")
      const report = yield* Effect.flatMap(settle(on), () => draining.pollUnsafe() ?? Exit.die("it hangs"))
      assert.deepStrictEqual(
        [report.waiting, asked],
        [paths.map((path) => ({ path, by: "sent", why: "no answer within 1s" })), 1],
      )
    }),
  )

  it.effect("asks about nothing where no plugin keeps segments, and doesn't say that it drained any", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = recording()
      closed(on, "a", ["one", "two"])
      for (const mode of ["enforce", "observe"] as const) {
        const policy = { compression: "none", mode }
        const { asked, unasked, waiting } = yield* drain(on, ["a"], { policy, plugins: [] })
        assert.deepStrictEqual([asked, waiting, unasked], [0, [], []])
      }
    }),
  )

  it.effect("waits until a segment that was only just rotated is at rest", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = recording()
      on.world.openWriter(pathOf("a"), START)
      on.world.write(pathOf("a"), FULL, START)
      const asked: Array<number> = []
      const guard = guarding({
        beforeRemove: () => Effect.map(Clock.currentTimeMillis, (ms) => (asked.push(ms - START), ALLOW)),
      })
      const options = { policy: { maxSize: 10, compression: "none" }, plugins: [guard] }
      const draining = yield* Effect.forkScoped(drain(on, ["a"], options))
      yield* TestClock.adjust("10 seconds")
      yield* Effect.flatMap(settle(on), () => draining.pollUnsafe() ?? Exit.die("it hangs"))
      assert.deepStrictEqual(asked, [1_000])
    }),
  )

  it.effect("says so when what it recorded could not be stored", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      closed(on, "a", ["one"])
      const guard = guarding({
        events: { "sent.Done": Sent },
        beforeRemove: ({ record, segment: { path } }) =>
          Effect.suspend(() => {
            on.journal.fails = true
            return Effect.as(record({ type: "sent.Done", data: { path, key: "k" } }), ALLOW)
          }),
      })
      const report = yield* drain(on, ["a"], { policy: { compression: "none" }, plugins: [guard] })
      assert.deepStrictEqual(
        report.problems.map(({ reason, step }) => [step, reason]),
        [["journal", "NoSpace"]],
      )
    }),
  )
})

describe("what guards keep", () => {
  const keeping = (retryAfterMs = 60_000): Configured =>
    guarding({ beforeRemove: () => Effect.succeed(defer("the other side is away", retryAfterMs)) })
  const dropping = (limits: NonNullable<NonNullable<AgentOptions["policy"]>["deferred"]>) => ({
    maxSize: 1_000,
    maxFiles: 2,
    compression: "none",
    deferred: { onPressure: "drop" as const, ...limits },
  })
  const removals = (on: { readonly memory: MemoryJournal }): ReadonlyArray<unknown> =>
    on.memory.stored().flatMap(({ data, type }) => (type === "Removed" ? [data] : []))

  it.effect("stays, whatever it takes, under hold", () =>
    Effect.gen(function* () {
      const on = recording()
      const paths = closed(on, "a", ["1".repeat(100), "2".repeat(100), "3".repeat(100)])
      on.world.resize(0)
      yield* once(on, ["a"], {
        policy: { ...dropping({}), deferred: { onPressure: "hold", maxSize: 1, minFree: "1Gi" } },
        plugins: [keeping()],
      })
      assert.deepStrictEqual(on.world.paths(), [pathOf("a"), ...paths])
    }),
  )

  it.effect("gives way once it holds more than maxSize: the oldest first, no more than needed, and loudly", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = recording()
      const paths = closed(on, "a", ["1".repeat(100), "2".repeat(100), "3".repeat(100), "4".repeat(100), "newest"])
      on.world.write(pathOf("a"), text.encode("active"), START)
      const options = { policy: dropping({ maxSize: 250 }), plugins: [keeping()] }
      const agent = yield* agentOf(on, () => ["a"], options)
      const { lines } = yield* logged(
        Effect.gen(function* () {
          yield* Effect.forkScoped(agent.run)
          yield* TestClock.adjust("31 seconds")
        }),
      )
      assert.deepStrictEqual(removals(on), [
        { path: paths[0], bytes: 100, reason: "pressure" },
        { path: paths[1], bytes: 100, reason: "pressure" },
      ])
      assert.deepStrictEqual(on.world.paths(), [pathOf("a"), ...paths.slice(2)])
      assert.deepStrictEqual(
        lines,
        paths
          .slice(0, 2)
          .map(
            (path, at) =>
              `warn: ${path} was dropped although a guard kept it: 100 B of log are gone; ${["400 B", "300 B"][at]} wait, and policy.deferred.maxSize is 250 B`,
          ),
      )
    }),
  )

  it.effect("gives way while less than minFree is free, and never the active file or what retention has room for", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = recording()
      const paths = closed(on, "a", ["1".repeat(100), "2".repeat(100), "newest"])
      on.world.write(pathOf("a"), text.encode("active"), START)
      on.world.resize(0)
      yield* once(on, ["a"], { policy: dropping({ minFree: 1_000 }), plugins: [keeping()] })
      assert.deepStrictEqual(removals(on), [
        { path: paths[0], bytes: 100, reason: "pressure" },
        { path: paths[1], bytes: 100, reason: "pressure" },
      ])
      assert.deepStrictEqual(on.world.paths(), [pathOf("a"), ...paths.slice(2)])
    }),
  )

  it.effect("gives way no further than it must when somebody else removes some of it meanwhile", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = recording()
      const paths = closed(on, "a", ["1".repeat(100), "2".repeat(100), "3".repeat(100), "4".repeat(100), "newest"])
      const guard = guarding({
        beforeRemove: ({ segment }) =>
          Effect.sync(() => {
            if (segment.path === paths[3]) for (const path of paths.slice(0, 2)) on.world.unlink(path, START)
            return defer("the other side is away")
          }),
      })
      yield* once(on, ["a"], { policy: dropping({ maxSize: 250 }), plugins: [guard] })
      assert.deepStrictEqual(removals(on), [])
      assert.deepStrictEqual(on.world.paths(), [pathOf("a"), ...paths.slice(2)])
    }),
  )

  it.effect("gives way no further than it must on a file system that tells late of what was freed", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = recording()
      const paths = closed(
        on,
        "a",
        ["1", "2", "3", "4", "5"].map((digit) => digit.repeat(100)),
      )
      const files = Layer.sync(LogFiles, () => ({ ...on.world.files(), free: () => Effect.succeed(1_000) }))
      const late = { ...on, ports: { ...on.ports, files } }
      const options = { policy: dropping({ minFree: 1_150 }), plugins: [keeping()] }
      const agent = yield* agentOf(late, () => ["a"], options)
      yield* Effect.forkScoped(agent.run)
      yield* TestClock.adjust("25 seconds")
      yield* settle(on)
      assert.deepStrictEqual(
        removals(on).map((removed) => (removed as { path: string }).path),
        paths.slice(0, 2),
      )
      // What hasn't been freed by then never will be: it was somebody else's, too.
      yield* TestClock.adjust("20 seconds")
      yield* settle(on)
      assert.deepStrictEqual(removals(on).length, 4)
    }),
  )

  it.effect("counts for all logs together, and several don't make room for the same bytes", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = recording()
      const names = ["a", "b", "c", "d"]
      for (const name of names) closed(on, name, ["1".repeat(100), "newest"])
      const policy = { ...dropping({ maxSize: 350 }), maxFiles: 2 }
      yield* once(on, names, { policy, plugins: [keeping()] })
      assert.strictEqual(removals(on).length, 1)
    }),
  )

  it.effect(
    "counts once, with what it takes on disk now, when it is compressed meanwhile, and not at all when it is gone",
    () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(START)
        const on = recording()
        // Compressed, the codec makes 105 bytes of 100: three wait with 315, or twice with 615.
        closed(on, "a", ["1".repeat(100), "2".repeat(100), "3".repeat(100), "newest"])
        const names = ["a", "b"]
        on.world.openWriter(pathOf("b"), START)
        const options = {
          policy: { ...dropping({ maxSize: 320 }), compression: "plain" },
          plugins: [bring(plainCodec), keeping(15_000)],
        }
        const agent = yield* agentOf(on, () => names, options)
        yield* Effect.forkScoped(agent.run)
        for (let round = 0; round < 6; round += 1) {
          yield* TestClock.adjust("10 seconds")
          yield* settle(on)
        }
        assert.deepStrictEqual(removals(on), [])
        assert.strictEqual(on.world.paths().filter((path) => path.endsWith(".plain")).length, 3)
        // Somebody else removes all of them; another log's take their place in the account.
        for (const path of on.world.paths())
          if (path.startsWith(`${pathOf("a")}.`)) on.world.unlink(path, START + 61_000)
        for (const day of [1, 2, 3, 4])
          on.world.put(`${pathOf("b")}.2026010${day}-000000`, text.encode("x".repeat(100)), { nowMs: START + 61_000 })
        for (let round = 0; round < 3; round += 1) {
          yield* TestClock.adjust("10 seconds")
          yield* settle(on)
        }
        assert.deepStrictEqual(
          removals(on).filter((removed) => (removed as { reason: string }).reason === "pressure"),
          [],
        )
        // Until they are more.
        on.world.put(`${pathOf("b")}.20260105-000000`, text.encode("x".repeat(100)), { nowMs: START + 95_000 })
        for (let round = 0; round < 3; round += 1) {
          yield* TestClock.adjust("10 seconds")
          yield* settle(on)
        }
        assert.deepStrictEqual(
          removals(on).filter((removed) => (removed as { reason: string }).reason === "pressure"),
          [{ path: `${pathOf("b")}.20260101-000000.plain`, bytes: 105, reason: "pressure" }],
        )
      }),
  )

  it.effect("is not counted any more once its log is gone", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = recording()
      const names = ["a", "b"]
      closed(on, "a", ["1".repeat(100), "newest"])
      const [held] = closed(on, "b", ["2".repeat(100), "newest"])
      const agent = yield* agentOf(on, () => names, { policy: dropping({ maxSize: 200 }), plugins: [keeping()] })
      yield* Effect.forkScoped(agent.run)
      yield* TestClock.adjust("15 seconds")
      names.shift()
      yield* TestClock.adjust("10 seconds")
      on.world.put(`${pathOf("b")}.20260103-000000`, text.encode("3".repeat(100)), { nowMs: START + 26_000 })
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(removals(on), [])
      assert.include(on.world.paths(), held)
    }),
  )

  it.effect("is removed only as the guard saw it: not when it has grown since", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = recording()
      const [oldest = ""] = closed(on, "a", ["one", "two"])
      const guard = guarding({
        beforeRemove: () => Effect.sync(() => (on.world.append(oldest, text.encode(" and more")), ALLOW)),
      })
      yield* once(on, ["a"], { policy: { maxFiles: 2, compression: "none" }, plugins: [guard] })
      assert.strictEqual(disk(on)[oldest], "one and more")
      assert.deepStrictEqual(factsOf(on.memory.stored()).slice(1), [
        [
          "Deferred",
          { step: "remove", path: oldest, by: "cordwood", why: "it is still being written to", retryAfterMs: 0 },
        ],
      ])
    }),
  )
})
