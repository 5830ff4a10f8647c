/** The whole agent over a node in memory, on virtual time: what is looked at when, and what holds up what. */
import { assert, describe, it } from "@effect/vitest"
import { type Codec, definePlugin, Journal, LogFiles, type Source, SourceError } from "@cordwood/core"
import { makeMemoryJournal, plainCodec } from "@cordwood/core/testing"
import { Effect, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import * as z from "zod"
import type { AgentPorts } from "../src/agent.ts"
import { agentOf, bring, logOf, pathOf, stage, START, stop, text, types, until } from "./stage.ts"

describe("a running agent", () => {
  it.effect("looks at every log each interval, and does nothing about one that is not full", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      on.world.openWriter(pathOf("a"), START)
      const agent = yield* agentOf(on, () => ["a"])
      yield* Effect.forkScoped(agent.run)
      yield* TestClock.adjust("35 seconds")
      assert.deepStrictEqual(on.world.calls.filter((call) => call === "sourceList world").length, 4)
      assert.deepStrictEqual(types(on.events), ["Scanned"])
    }),
  )

  it.effect("rotates a log that fills up between two intervals soon after it is full", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      on.world.openWriter(pathOf("a"), START)
      const agent = yield* agentOf(on, () => ["a"])
      yield* Effect.forkScoped(agent.run)
      yield* TestClock.adjust("2 seconds")
      on.world.write(pathOf("a"), text.encode("much more than ten"), START)
      yield* TestClock.adjust("1100 millis")
      assert.deepStrictEqual(types(on.events), ["Scanned", "Scanned", "Rotated"])
    }),
  )

  it.effect(
    "looks after a dormant log without telling its writer, scans it no more than it must, and tells it once there is one",
    () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(START)
        const on = stage()
        const path = pathOf("a")
        on.world.put(`${path}.20260101-000000`, text.encode("closed"))
        const source = on.world.source(() => [logOf("a")])
        let dormant = new Set([path])
        const list = Effect.map(source.list, (logs) => ({ ...logs, dormant }))
        const agent = yield* agentOf(on, () => [], {
          sources: [{ name: "files", open: Effect.succeed({ ...source, list }) }],
          policy: { maxSize: 10, maxFiles: 4, compression: "none" },
        })
        const scans = (): number => on.world.calls.filter((call) => call === `list ${path}`).length
        yield* Effect.forkScoped(agent.run)
        yield* TestClock.adjust("25 seconds")
        const settled = scans()
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(
          [scans() - settled, on.world.calls.some((call) => call.startsWith("reopen")), types(on.events)],
          [0, false, ["Scanned"]],
        )
        // Somebody writes to the segment, so that there is a writer to be told: the source says so, and no name has changed.
        dormant = new Set()
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual(
          on.world.calls.filter((call) => call.startsWith("reopen")),
          [`reopen ${path}`],
        )
        dormant = new Set([path])
        on.world.write(path, text.encode("more than ten bytes"), START)
        yield* TestClock.adjust("20 seconds")
        assert.deepStrictEqual(types(on.events).filter((type) => type === "Rotated").length, 2)
      }),
  )

  it.effect("tells the writer of a dormant log in no single pass either, nor plans to", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const plans: Array<ReadonlyArray<string>> = []
      const told: Array<boolean> = []
      for (const dormant of [new Set([pathOf("a")]), new Set<string>()]) {
        const on = stage()
        on.world.put(`${pathOf("a")}.20260101-000000`, text.encode("closed"))
        const source = on.world.source(() => [logOf("a")])
        const list = Effect.map(source.list, (logs) => ({ ...logs, dormant }))
        const agent = yield* agentOf(on, () => [], {
          sources: [{ name: "files", open: Effect.succeed({ ...source, list }) }],
        })
        const { logs } = yield* agent.plan
        plans.push(logs.flatMap(({ steps }) => steps.map(({ _tag }) => _tag)))
        yield* agent.once
        told.push(on.world.calls.includes(`reopen ${pathOf("a")}`))
      }
      assert.deepStrictEqual(
        [plans, told],
        [
          [[], ["Reopen"]],
          [false, true],
        ],
      )
    }),
  )

  it.effect("looks at a log again as soon as it has been rotated, however long that took", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      on.world.openWriter(pathOf("a"), START)
      const source = on.world.source(() => [logOf("a")])
      const slow: Source = { ...source, reopen: (log) => Effect.delay(source.reopen(log), "50 millis") }
      const agent = yield* agentOf(on, () => [], {
        sources: [{ name: "slow", open: Effect.succeed(slow) }],
        policy: { maxSize: 10, maxFiles: 99, compression: "none" },
      })
      const running = yield* Effect.forkScoped(agent.run)
      yield* TestClock.adjust("2 seconds")
      // 20 bytes every 10 ms: twice the limit at each look.
      for (let at = 0; at < 300; at += 1) {
        on.world.write(pathOf("a"), text.encode("20 bytes of a line. "), START)
        yield* TestClock.adjust("10 millis")
      }
      // Two seconds of 50 ms rotations, each found done within 20 ms, after the onset.
      const rotations = types(on.events).filter((type) => type === "Rotated").length
      yield* stop(running)
      assert.isAtLeast(rotations, 20)
    }),
  )

  it.effect("with a limit of 0 rotates once each interval, and with a negative one never", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      for (const [maxSize, rotations] of [
        [0, 3],
        [-1, 0],
      ] as const) {
        const on = stage()
        on.world.openWriter(pathOf("a"), START)
        on.world.write(pathOf("a"), text.encode("more than ten bytes"), START)
        const agent = yield* agentOf(on, () => ["a"], { policy: { maxSize, maxFiles: 9, compression: "none" } })
        const running = yield* Effect.forkScoped(agent.run)
        yield* TestClock.adjust("25 seconds")
        yield* Fiber.interrupt(running)
        assert.strictEqual(types(on.events).filter((type) => type === "Rotated").length, rotations)
      }
    }),
  )

  it.effect("rotates one log while another's compression hangs, with one worker", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      for (const name of ["slow", "b"]) on.world.openWriter(pathOf(name), START)
      for (const stamp of ["20260101-000000", "20260102-000000"])
        on.world.put(`${pathOf("slow")}.${stamp}`, text.encode("x"))
      let begun = false
      const hanging: Codec = {
        ...plainCodec,
        // eslint-disable-next-line require-yield
        encode: async function* () {
          begun = true
          await new Promise(() => {})
        },
      }
      const agent = yield* agentOf(on, () => ["slow", "b"], { workers: 1, plugins: [bring(hanging)] })
      const running = yield* Effect.forkScoped(agent.run)
      yield* TestClock.adjust("1 second")
      yield* until("the compression has begun", () => begun)
      for (const name of ["slow", "b"]) on.world.write(pathOf(name), text.encode("more than ten bytes"), START)
      yield* TestClock.adjust("11 seconds")
      assert.deepStrictEqual(types(on.events, "b"), ["Scanned", "Scanned", "Rotated"])
      // The slow log itself goes on being rotated, too.
      assert.deepStrictEqual(types(on.events, "slow"), ["Scanned", "Scanned", "Rotated"])
      yield* stop(running)
    }),
  )

  it.effect(
    "rotates one log while another's runtime never answers to reopen, renames that one back, and tries again",
    () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(START)
        const on = stage()
        for (const name of ["stuck", "b"]) {
          on.world.openWriter(pathOf(name), START)
          on.world.write(pathOf(name), text.encode("more than ten bytes"), START)
        }
        const sources = (): ReadonlyArray<Source> => {
          const source = on.world.source(() => ["stuck", "b"].map(logOf))
          let stuck = true
          const never = Effect.suspend(() => {
            stuck = false
            return Effect.never
          })
          return [{ ...source, reopen: (log) => (log.pod === "stuck" && stuck ? never : source.reopen(log)) }]
        }
        const agent = yield* agentOf(on, () => [], {
          sources: sources().map((source) => ({ name: source.name, open: Effect.succeed(source) })),
        })
        const running = yield* Effect.forkScoped(agent.run)
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(types(on.events, "b"), ["Scanned", "Rotated"])
        yield* TestClock.adjust("60 seconds")
        // Then it is renamed back, and the next pass tries anew.
        assert.deepStrictEqual(types(on.events, "stuck"), ["Scanned", "Failed", "Rotated"])
        assert.deepStrictEqual(
          on.world.calls.filter((call) => call === `putBack ${pathOf("stuck")}`),
          [`putBack ${pathOf("stuck")}`],
        )
        assert.isTrue(on.world.writerIsHome(pathOf("stuck")))
        yield* stop(running)
      }),
  )

  it.effect("goes on removing and compressing for one log while a guard hangs for another, with one worker", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      for (const name of ["stuck", "b"]) {
        on.world.openWriter(pathOf(name), START)
        for (const day of [1, 2, 3, 4, 5]) on.world.put(`${pathOf(name)}.2026010${day}-000000`, text.encode("x"))
      }
      const asked: Array<string> = []
      const guard = definePlugin({
        name: "guard",
        api: 1,
        config: z.strictObject({}),
        setup: () =>
          Effect.succeed({
            beforeRemove: ({ log, segment }) =>
              Effect.suspend(() => {
                asked.push(`${log.pod} ${segment.stamp}`)
                return log.pod === "stuck" ? Effect.never : Effect.succeed({ _tag: "Allow" as const })
              }),
          }),
      })
      const agent = yield* agentOf(on, () => ["stuck", "b"], { workers: 1, plugins: [bring(plainCodec), guard()] })
      const running = yield* Effect.forkScoped(agent.run)
      yield* TestClock.adjust("1 second")
      yield* until("b is compressed", () => types(on.events, "b").filter((type) => type === "Compressed").length === 2)
      assert.deepStrictEqual(types(on.events, "b"), ["Scanned", "Removed", "Removed", "Compressed", "Compressed"])
      assert.deepStrictEqual(asked, ["stuck 20260101-000000", "b 20260101-000000", "b 20260102-000000"])
      // When the guard has had its time, the other segment of that log is not asked about, and what can be done is done.
      yield* TestClock.adjust("5 minutes")
      yield* until(
        "the stuck one is compressed",
        () => types(on.events, "stuck").filter((type) => type === "Compressed").length === 4,
      )
      // What a guard keeps is compressed like the segments that stay.
      assert.deepStrictEqual(types(on.events, "stuck"), [
        "Scanned",
        "Deferred",
        "Compressed",
        "Compressed",
        "Compressed",
        "Compressed",
      ])
      assert.strictEqual(asked.length, 3)
      yield* stop(running)
    }),
  )

  it.effect("compresses a segment that was too fresh for it, though nothing else happens any more", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      on.world.put(pathOf("a"), text.encode("x"))
      on.world.put(`${pathOf("a")}.20260102-000000`, text.encode("newest"))
      yield* TestClock.adjust("1 hour")
      on.world.put(`${pathOf("a")}.20260101-000000`, text.encode("late"), {
        modifiedMs: START + 3_600_000,
        nowMs: START,
      })
      const agent = yield* agentOf(on, () => ["a"])
      const running = yield* Effect.forkScoped(agent.run)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(types(on.events), ["Scanned"])
      yield* TestClock.adjust("10 seconds")
      yield* until("it is compressed", () => types(on.events).includes("Compressed"))
      yield* stop(running)
    }),
  )

  it.effect(
    "reports a source that is away once, asks it again later and later up to the interval, and goes on when it is back",
    () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(START)
        const on = stage()
        on.world.openWriter(pathOf("a"), START)
        on.world.write(pathOf("a"), text.encode("more than ten bytes"), START)
        on.world.faults = (operation) => (operation === "sourceList" ? "before" : null)
        const agent = yield* agentOf(on, () => ["a"])
        yield* Effect.forkScoped(agent.run)
        yield* TestClock.adjust("100 seconds")
        // After 0, 1, 3, 7 and 15 seconds, then every ten.
        assert.strictEqual(on.world.calls.length, 13)
        assert.deepStrictEqual(
          on.events.map(({ data, log, type }) => ({ type, log, data })),
          [
            {
              type: "Failed",
              log: { path: "world" },
              data: {
                step: "source",
                path: "world",
                reason: "Unavailable",
                message: "world list: a fault to order",
                hint: "none",
              },
            },
          ],
        )
        on.world.faults = () => null
        yield* TestClock.adjust("11 seconds")
        assert.deepStrictEqual(types(on.events), ["Failed", "Scanned", "Rotated"])
      }),
  )

  it.effect("goes on after a bug in one look, one list or one scan", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      on.world.openWriter(pathOf("a"), START)
      let bugs = 3
      const files = on.world.files()
      const buggy = (what: string): void => {
        bugs -= 1
        if (bugs >= 0) throw new Error(what)
      }
      const ports: AgentPorts = {
        ...on.ports,
        files: Layer.succeed(LogFiles, {
          ...files,
          glance: (active, into) => {
            buggy("glance")
            files.glance(active, into)
          },
          list: (active) => Effect.suspend(() => (buggy("list"), files.list(active))),
        }),
      }
      const source = on.world.source(() => [logOf("a")])
      let answers = 0
      // A third party's source may answer anything.
      const rubbish: Source["list"] = Effect.suspend(() =>
        (answers += 1) === 1 ? Effect.succeed({ logs: null, problems: [] } as never) : source.list,
      )
      const agent = yield* agentOf({ ...on, ports }, () => [], {
        sources: [{ name: "rubbish", open: Effect.succeed({ ...source, list: rubbish }) }],
      })
      yield* Effect.forkScoped(agent.run)
      yield* TestClock.adjust("42 seconds")
      on.world.write(pathOf("a"), text.encode("more than ten bytes"), START)
      yield* TestClock.adjust("1100 millis")
      assert.isBelow(bugs, 0)
      assert.deepStrictEqual(types(on.events), ["Scanned", "Scanned", "Rotated"])
    }),
  )

  it.effect("leaves a log alone once its source no longer lists it", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      const names = ["a", "b"]
      for (const name of names) on.world.openWriter(pathOf(name), START)
      const agent = yield* agentOf(on, () => names)
      yield* Effect.forkScoped(agent.run)
      yield* TestClock.adjust("5 seconds")
      names.pop()
      yield* TestClock.adjust("10 seconds")
      for (const name of ["a", "b"]) on.world.write(pathOf(name), text.encode("more than ten bytes"), START)
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(types(on.events, "b"), ["Scanned"])
      assert.deepStrictEqual(types(on.events, "a"), ["Scanned", "Scanned", "Rotated"])
    }),
  )

  it.effect("goes on rotating while the journal can't be written, and stores what waited when it can again", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      on.world.openWriter(pathOf("a"), START)
      const agent = yield* agentOf(on, () => ["a"])
      yield* Effect.forkScoped(agent.run)
      yield* TestClock.adjust("5 seconds")
      on.journal.fails = true
      on.world.write(pathOf("a"), text.encode("more than ten bytes"), START)
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(types(on.events), ["Scanned"])
      assert.deepStrictEqual(on.world.paths(), [pathOf("a"), `${pathOf("a")}.20260909-043316`])
      on.journal.fails = false
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(types(on.events), ["Scanned", "Scanned", "Failed", "Rotated"])
      assert.deepStrictEqual(
        on.events.map(({ position }) => position),
        [1, 2, 3, 4],
      )
      assert.deepStrictEqual(on.events[2]?.data, {
        step: "journal",
        path: "/var/lib/cordwood/journal.db",
        reason: "NoSpace",
        message: "append /journal: disk full",
        hint: "make room",
      })
    }),
  )

  it.effect("tells a journal that was begun anew what it has, though nothing has changed on the disk", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      const journal = makeMemoryJournal()
      on.world.openWriter(pathOf("idle"), START)
      on.world.openWriter(pathOf("busy"), START)
      const ports = { ...on.ports, journal: () => Layer.succeed(Journal, journal) }
      const agent = yield* agentOf({ ...on, ports }, () => ["idle", "busy"])
      const running = yield* Effect.forkDetach(agent.run)
      // Long enough for the idle log to be left alone until something changes.
      yield* TestClock.adjust("1 minute")
      journal.order({ _tag: "Replace" })
      on.world.write(pathOf("busy"), text.encode("0123456789"), START)
      yield* TestClock.adjust("1 minute")
      yield* stop(running)
      assert.deepStrictEqual(types(journal.stored(), "idle"), ["Scanned"])
    }),
  )

  it.effect("removes nothing that a journal which was begun anew meanwhile doesn't know of", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      const journal = makeMemoryJournal()
      const doomed = `${pathOf("a")}.20260101-000000`
      on.world.openWriter(pathOf("a"), START)
      for (const day of ["01", "02"]) on.world.put(`${pathOf("a")}.202601${day}-000000`, text.encode("x"))
      const asked: Array<string> = []
      const guard = definePlugin({
        name: "ship",
        api: 1,
        config: z.strictObject({}),
        setup: () =>
          Effect.succeed({
            events: { "ship.Asked": z.strictObject({ path: z.string() }) },
            beforeRemove: ({ record, segment: { path } }) =>
              Effect.gen(function* () {
                asked.push(path)
                if (asked.length === 1) journal.order({ _tag: "Replace" })
                yield* record({ type: "ship.Asked", data: { path } })
                return { _tag: "Allow" } as const
              }),
          }),
      })
      const ports = { ...on.ports, journal: () => Layer.succeed(Journal, journal) }
      const policy = { maxSize: 10, maxFiles: 2, compression: "none" }
      yield* Effect.scoped(
        Effect.gen(function* () {
          const agent = yield* agentOf({ ...on, ports }, () => ["a"], { policy, plugins: [guard()] })
          yield* agent.once
          assert.deepStrictEqual([asked, on.world.read(doomed)], [[doomed], text.encode("x")])
          yield* agent.once
        }),
      )
      assert.deepStrictEqual([asked, on.world.read(doomed)], [[doomed, doomed], undefined])
      assert.deepStrictEqual(types(journal.stored(), "a"), ["ship.Asked", "Scanned", "ship.Asked", "Removed"])
    }),
  )

  it.effect("finishes a rotation that is under way when it is stopped, and begins nothing more", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      on.world.openWriter(pathOf("a"), START)
      on.world.write(pathOf("a"), text.encode("more than ten bytes"), START)
      for (const stamp of ["20260101-000000", "20260102-000000"])
        on.world.put(`${pathOf("a")}.${stamp}`, text.encode("x"))
      const source = on.world.source(() => [logOf("a")])
      const slow: Source = { ...source, reopen: (log) => Effect.delay(source.reopen(log), "5 seconds") }
      const agent = yield* agentOf(on, () => [], { sources: [{ name: "slow", open: Effect.succeed(slow) }] })
      const running = yield* Effect.forkScoped(agent.run)
      yield* TestClock.adjust("1 second")
      assert.isFalse(on.world.writerIsHome(pathOf("a")))
      const stopped = yield* Effect.forkScoped(Fiber.interrupt(running))
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(stopped)
      assert.isTrue(on.world.writerIsHome(pathOf("a")))
      assert.deepStrictEqual(types(on.events), ["Scanned", "Rotated"])
    }),
  )
})

describe("one pass over all logs", () => {
  it.effect("reports what it did, and each log that failed, while the others go on", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const on = stage()
      for (const name of ["a", "b", "c"]) {
        on.world.openWriter(pathOf(name), START)
        on.world.write(pathOf(name), text.encode("more than ten bytes"), START)
      }
      on.world.faults = (operation, path) => (operation === "setAside" && path === pathOf("b") ? "before" : null)
      const agent = yield* agentOf(on, () => ["a", "b", "c"])
      assert.deepStrictEqual(yield* agent.once, {
        logs: 3,
        steps: { rotated: 2, compressed: 0, removed: 0, cleaned: 0 },
        deferred: 0,
        deferrals: [],
        observed: 0,
        problems: [
          {
            path: pathOf("b"),
            step: "rotate",
            reason: "Io",
            message: `setAside ${pathOf("b")}: a fault to order`,
            hint: "check the disk: the kernel's log says more",
          },
        ],
      })
    }),
  )

  it.effect("reports a log that its source refuses as often as it is asked, and records it once", () =>
    Effect.gen(function* () {
      const on = stage()
      const problem = new SourceError({
        source: "w",
        op: "list",
        target: "/x",
        reason: "Invalid",
        detail: "odd",
        hint: "none",
      })
      const source = { ...on.world.source(() => []), list: Effect.succeed({ logs: [], problems: [problem] }) }
      for (let run = 0; run < 2; run += 1) {
        const agent = yield* agentOf(on, () => [], { sources: [{ name: "w", open: Effect.succeed(source) }] })
        assert.strictEqual((yield* agent.once).problems.length, 1)
      }
      assert.deepStrictEqual(types(on.events), ["Failed"])
    }),
  )

  it.effect("says so when what it did could not be recorded", () =>
    Effect.gen(function* () {
      const on = stage()
      on.world.openWriter(pathOf("a"), START)
      on.journal.fails = true
      const agent = yield* agentOf(on, () => ["a"])
      assert.deepStrictEqual((yield* agent.once).problems, [
        {
          path: "/journal",
          step: "journal",
          reason: "NoSpace",
          message: "append /journal: disk full; what this pass did is not on record",
          hint: "make room",
        },
      ])
    }),
  )

  it.effect("refuses a compression that no plugin brings, before anything is touched", () =>
    Effect.gen(function* () {
      const on = stage()
      const agent = yield* agentOf(on, () => ["a"], { policy: { compression: "xz" } })
      const error = yield* Effect.flip(agent.once)
      assert.deepStrictEqual(
        [error.reason, error.message, error.hint],
        [
          "Config",
          'policy.compression: there is no codec "xz"',
          "write one of gzip, plain, none, or add the plugin that brings it",
        ],
      )
      assert.deepStrictEqual([on.world.calls, on.events], [[], []])
    }),
  )
})
