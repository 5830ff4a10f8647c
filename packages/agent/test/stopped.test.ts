/** The whole agent over logs whose containers have ended, on virtual time: crash loops, leftovers, and what becomes of them. */
import { assert, describe, it } from "@effect/vitest"
import {
  type Configured,
  definePlugin,
  Journal,
  type Log,
  nameOf,
  type Source,
  type Unstored,
  type Verdict,
} from "@cordwood/core"
import { plainCodec } from "@cordwood/core/testing"
import { Clock, Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import * as z from "zod"
import type { AgentPorts } from "../src/agent.ts"
import { agentOf, bring, disk, settle, type Stage, stage, START, stop, text, types, until } from "./stage.ts"

const HOME = "/pods/shop_web_u1/app"
const pathOf = (number: number): string => `${HOME}/${number}.log`
const STAMP = "20260101-000000"
/** One interval for a container that has ended to be listed as such, two for what is surplus to become a segment and go. */
const SETTLED = "35 seconds"

type State = "running" | "ended" | "forgotten"
/** A container that was started again and again, as a runtime lists it; one that it has forgotten is found by its log alone. */
class Container {
  readonly #on: Stage
  readonly #states = new Map<number, State>()
  /** What each life has written. */
  readonly written = new Map<number, string>()
  readonly source: Source

  constructor(on: Stage) {
    this.#on = on
    const source = on.world.source(() => this.#logs())
    const list = Effect.map(source.list, (listed) => ({
      ...listed,
      stopped: new Set([...this.#states].flatMap(([number, state]) => (state === "running" ? [] : [pathOf(number)]))),
    }))
    this.source = { ...source, list }
  }
  /** As the source does, only those of which a file is left. */
  #logs(): ReadonlyArray<Log> {
    const there = new Set(this.#on.world.namesIn(HOME).map((name) => name.split(".").slice(0, 2).join(".")))
    return [...this.#states].flatMap(([number, state]): ReadonlyArray<Log> => {
      const log = { path: pathOf(number), namespace: "shop", pod: "web", podUid: "u1", container: "app" }
      if (state !== "running" && !there.has(nameOf(log.path))) return []
      return [state === "forgotten" ? log : { ...log, containerId: `id-${number}` }]
    })
  }

  is(number: number, state: State): void {
    this.#states.set(number, state)
  }
  start(number: number): Effect.Effect<void> {
    return Effect.map(Clock.currentTimeMillis, (nowMs) => {
      this.#on.world.openWriter(pathOf(number), nowMs)
      this.is(number, "running")
    })
  }
  write(number: number, line: string): Effect.Effect<void> {
    return Effect.map(Clock.currentTimeMillis, (nowMs) => {
      this.#on.world.write(pathOf(number), text.encode(line), nowMs)
      this.written.set(number, (this.written.get(number) ?? "") + line)
    })
  }
}
const leave = ({ world }: Stage, files: Readonly<Record<string, string>>): void => {
  for (const [name, content] of Object.entries(files)) world.put(`${HOME}/${name}`, text.encode(content))
}
const on = (container: Container, policy: object = {}, plugins: ReadonlyArray<Configured> = []) => ({
  sources: [{ name: "world", open: Effect.succeed(container.source) }],
  policy: { maxSize: 10, maxFiles: 4, compression: "none", ...policy },
  plugins: [bring(plainCodec), ...plugins],
})
const namesOn = (place: Stage): ReadonlyArray<string> => place.world.namesIn(HOME)
const eventsOf = ({ events }: Stage, number: number) => events.filter(({ log }) => log.path === pathOf(number))
const reopened = ({ world }: Stage): ReadonlyArray<string> =>
  world.calls.filter((call) => call.startsWith("reopen ")).map((call) => nameOf(call))

describe("a crash loop", () => {
  it.effect.each([
    { keepStopped: 0, restarts: 12 },
    { keepStopped: 1, restarts: 50 },
    { keepStopped: 3, restarts: 12 },
  ])(
    "of $restarts restarts leaves the logs of the last $keepStopped that ended, and every byte is there or was removed by a limit",
    ({ keepStopped, restarts }) =>
      Effect.gen(function* () {
        yield* TestClock.setTime(START)
        const place = stage()
        const container = new Container(place)
        const agent = yield* agentOf(place, () => [], on(container, { keepStopped }))
        const running = yield* Effect.forkScoped(agent.run)
        for (let number = 0; number < restarts; number += 1) {
          yield* container.start(number)
          for (let line = 0; line < 1 + (number % 7); line += 1) {
            yield* container.write(number, `life ${number} line ${line}.`)
            yield* TestClock.adjust("3 seconds")
          }
          yield* TestClock.adjust(SETTLED)
          const families = new Set(namesOn(place).map((name) => Number.parseInt(name, 10)))
          const kept = Array.from({ length: number + 1 }, (_, at) => at).slice(-1 - keepStopped)
          assert.deepStrictEqual(
            [...families].toSorted((a, b) => a - b),
            kept,
          )
          container.is(number, "ended")
          // The runtime forgets the older ones.
          if (number > 1) container.is(number - 2, "forgotten")
        }
        yield* TestClock.adjust(SETTLED)
        yield* stop(running)
        for (const [number, written] of container.written) {
          const files = Object.entries(disk(place)).filter(([path]) => path.startsWith(pathOf(number)))
          // The active file comes last in reading order, and first by name.
          const [active, ...segments] = files.map(([path, content]) => ({ path, content }))
          const inOrder =
            active?.path === pathOf(number) ? [...segments, active] : files.map(([, content]) => ({ content }))
          const left = inOrder.map(({ content }) => content).join("")
          const removed = eventsOf(place, number).flatMap(({ data, type }) =>
            type === "Removed" ? [(data as { bytes: number }).bytes] : [],
          )
          const gone = removed.reduce((sum, bytes) => sum + bytes, 0)
          assert.deepStrictEqual(left, written.slice(gone), `life ${number}`)
        }
        const reasons = new Set(
          place.events.flatMap(({ data, type }) => (type === "Removed" ? [(data as { reason: string }).reason] : [])),
        )
        assert.deepStrictEqual(reasons, new Set(["budget", "max-files"]))
        assert.deepStrictEqual(
          [types(place.events).includes("Failed"), types(place.events).includes("Deferred")],
          [false, false],
        )
      }),
    60_000,
  )
})

describe("what a container that has ended leaves", () => {
  it.effect("is compressed without a rotation, all of it, and its own file is left as it is", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const place = stage()
      const container = new Container(place)
      leave(place, { "0.log": "far more than ten bytes", [`0.log.${STAMP}`]: "one", "0.log.20260101-000001": "two" })
      container.is(0, "ended")
      const agent = yield* agentOf(place, () => [], on(container, { compression: "plain" }))
      yield* Effect.forkScoped(agent.run)
      yield* TestClock.adjust("1 second")
      yield* until(
        "both are compressed",
        () => types(place.events).filter((type) => type === "Compressed").length === 2,
      )
      assert.deepStrictEqual(
        [namesOn(place), disk(place)[pathOf(0)], reopened(place)],
        [["0.log", "0.log.20260101-000000.plain", "0.log.20260101-000001.plain"], "far more than ten bytes", []],
      )
      // Nor is it a reason to look again and again.
      yield* TestClock.adjust("20 seconds")
      yield* settle(place)
      const scans = (): number => place.world.calls.filter((call) => call === `list ${pathOf(0)}`).length
      const settled = scans()
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual(scans() - settled, 0)
    }),
  )

  it.effect("is compressed once it has ended, with what is known of it, and looked at no more than it must be", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const place = stage()
      const container = new Container(place)
      yield* container.start(0)
      const agent = yield* agentOf(place, () => [], on(container, { compression: "plain" }))
      yield* Effect.forkScoped(agent.run)
      yield* TestClock.adjust("2 seconds")
      yield* container.write(0, "more than ten bytes")
      yield* TestClock.adjust("30 seconds")
      const scans = (): number => place.world.calls.filter((call) => call === `list ${pathOf(0)}`).length
      assert.deepStrictEqual(types(place.events), ["Scanned", "Scanned", "Rotated"])
      container.is(0, "ended")
      yield* TestClock.adjust("10 seconds")
      yield* until("it is compressed", () => types(place.events).includes("Compressed"))
      container.is(0, "forgotten")
      yield* TestClock.adjust("20 seconds")
      yield* settle(place)
      const settled = scans()
      yield* TestClock.adjust("5 minutes")
      assert.deepStrictEqual(
        [scans() - settled, types(place.events), reopened(place)],
        [0, ["Scanned", "Scanned", "Rotated", "Compressed"], ["0.log"]],
      )
    }),
  )

  it.effect("is planned for anew if it ended while what was planned for it as a running one was being stored", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const place = stage()
      const container = new Container(place)
      leave(place, { "0.log": "" })
      place.world.openWriter(pathOf(0))
      container.is(0, "running")
      const delay = { millis: 0 }
      const journal: AgentPorts["journal"] = (settings, decode) =>
        Layer.provide(
          Layer.effect(
            Journal,
            Effect.map(Effect.service(Journal), (inner) => ({
              ...inner,
              append: (events: ReadonlyArray<Unstored>) =>
                Effect.suspend(() => Effect.delay(inner.append(events), delay.millis)),
            })),
          ),
          place.ports.journal(settings, decode),
        )
      const ports = { ...place.ports, journal }
      const agent = yield* agentOf({ ...place, ports }, () => [], on(container, { mode: "observe" }))
      yield* Effect.forkScoped(agent.run)
      yield* TestClock.adjust("15 seconds")
      delay.millis = 12_000
      yield* container.write(0, "more than ten bytes")
      yield* TestClock.adjust("2 seconds")
      container.is(0, "ended")
      yield* TestClock.adjust("20 seconds")
      delay.millis = 0
      yield* TestClock.adjust("1 minute")
      const planned = eventsOf(place, 0).flatMap(({ data, type }) => (type === "Planned" ? [data] : []))
      assert.deepStrictEqual(planned, [{ steps: [{ step: "rotate", path: pathOf(0) }] }, { steps: [] }])
    }),
  )

  it.effect("goes on under its path with the next container that has it, who is the one to be told", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const place = stage()
      const container = new Container(place)
      leave(place, { "0.log": "said before. " })
      container.is(0, "forgotten")
      const told: Array<string | undefined> = []
      const source: Source = {
        ...container.source,
        reopen: (log) => {
          told.push(log.containerId)
          return container.source.reopen(log)
        },
      }
      const agent = yield* agentOf(place, () => [], {
        ...on(container),
        sources: [{ name: "world", open: Effect.succeed(source) }],
      })
      yield* Effect.forkScoped(agent.run)
      yield* TestClock.adjust("15 seconds")
      yield* container.start(0)
      yield* container.write(0, "and now this")
      yield* TestClock.adjust("15 seconds")
      assert.deepStrictEqual(
        [told, Object.values(disk(place)).toSorted()],
        [["id-0"], ["", "said before. and now this"]],
      )
    }),
  )

  it.effect("may be taken away by the kubelet, file by file or with its directory: it is told of, and no failure", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const place = stage()
      const container = new Container(place)
      leave(place, { "0.log": "last words", [`0.log.${STAMP}`]: "closed", "1.log": "" })
      container.is(0, "ended")
      container.is(1, "running")
      const agent = yield* agentOf(place, () => [], on(container))
      yield* Effect.forkScoped(agent.run)
      yield* TestClock.adjust("15 seconds")
      place.world.unlink(`${pathOf(0)}.${STAMP}`, START + 15_000)
      yield* TestClock.adjust("10 seconds")
      place.world.unlink(pathOf(0), START + 25_000)
      yield* TestClock.adjust("20 seconds")
      assert.deepStrictEqual(
        eventsOf(place, 0).map(({ data, type }) => [type, type === "Removed" ? data : null]),
        [
          ["Scanned", null],
          ["Removed", { path: `${pathOf(0)}.${STAMP}`, bytes: 6, reason: "missing" }],
          ["Scanned", null],
        ],
      )
      assert.deepStrictEqual(reopened(place), [])
    }),
  )

  it.effect("fails nothing where its directory is gone before its source knows, in a plan as little as in a pass", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const place = stage()
      const container = new Container(place)
      const log = { path: pathOf(0), podUid: "u1", container: "app" }
      const list = Effect.succeed({ logs: [log], stopped: new Set([log.path]), problems: [] })
      const agent = yield* agentOf(place, () => [], {
        ...on(container),
        sources: [{ name: "late", open: Effect.succeed({ ...container.source, list }) }],
      })
      const { problems } = yield* agent.once
      assert.deepStrictEqual([problems, yield* agent.plan, place.events], [[], { logs: [], problems: [] }, []])
    }),
  )
})

describe("what is surplus", () => {
  /** Keeps segments until it is told otherwise; wants to be asked early if told so. */
  const keeper = (early: boolean) => {
    const state = { allows: false, asked: new Set<string>() }
    const plugin = definePlugin({
      name: "keeper",
      api: 1,
      config: z.strictObject({}),
      setup: () =>
        Effect.succeed({
          guard: { early },
          beforeRemove: ({ segment }: { readonly segment: { readonly path: string } }): Effect.Effect<Verdict> =>
            Effect.sync(() => {
              state.asked.add(nameOf(segment.path))
              return state.allows ? { _tag: "Allow" } : { _tag: "Defer", why: "not yet", retryAfterMs: 5_000 }
            }),
        }),
    })()
    return { state, plugin }
  }

  it.effect("stays as long as a guard keeps it, compressed meanwhile, and goes once it may", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const place = stage()
      const container = new Container(place)
      leave(place, { "0.log": "last words of the first", [`0.log.${STAMP}`]: "its first words", "1.log": "the second" })
      for (const number of [0, 1]) container.is(number, "ended")
      const { plugin, state } = keeper(false)
      const agent = yield* agentOf(place, () => [], on(container, { compression: "plain" }, [plugin]))
      yield* Effect.forkScoped(agent.run)
      for (let round = 0; round < 6; round += 1) {
        yield* TestClock.adjust("10 seconds")
        yield* settle(place)
      }
      assert.deepStrictEqual(namesOn(place), [`0.log.${STAMP}.plain`, "0.log.20260909-043310.plain", "1.log"])
      state.allows = true
      yield* TestClock.adjust("30 seconds")
      yield* until("it is gone", () => namesOn(place).length === 1)
      assert.deepStrictEqual(disk(place), { [pathOf(1)]: "the second" })
      assert.deepStrictEqual(
        eventsOf(place, 0).flatMap(({ data, type }) => (type === "Removed" ? [data] : [])),
        [
          { path: `${pathOf(0)}.${STAMP}.plain`, bytes: 20, reason: "budget" },
          { path: `${pathOf(0)}.20260909-043310.plain`, bytes: 28, reason: "budget" },
        ],
      )
    }),
  )

  it.effect("goes also if it was too fresh when it was first looked at", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const place = stage()
      const container = new Container(place)
      leave(place, { "1.log": "two" })
      place.world.put(pathOf(0), text.encode("one"), { modifiedMs: START, nowMs: 0 })
      for (const number of [0, 1]) container.is(number, "ended")
      const agent = yield* agentOf(place, () => [], on(container))
      yield* Effect.forkScoped(agent.run)
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(namesOn(place), ["0.log", "1.log"])
      yield* TestClock.adjust(SETTLED)
      assert.deepStrictEqual(namesOn(place), ["1.log"])
    }),
  )

  it.effect("or kept is not offered anew when the runtime has forgotten whose it was", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const place = stage()
      const container = new Container(place)
      leave(place, { "0.log": "", [`0.log.${STAMP}`]: "closed" })
      container.is(0, "running")
      const { plugin, state } = keeper(true)
      state.allows = true
      const agent = yield* agentOf(place, () => [], on(container, {}, [plugin]))
      yield* Effect.forkScoped(agent.run)
      const asked: Array<number> = []
      for (const now of ["running", "ended", "forgotten"] as const) {
        container.is(0, now)
        yield* TestClock.adjust("20 seconds")
        asked.push(state.asked.size)
        state.asked.clear()
      }
      assert.deepStrictEqual(asked, [1, 0, 0])
    }),
  )

  it.effect("and all else that has ended is offered to guards early, and drained, but for the file that is kept", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const place = stage()
      const container = new Container(place)
      leave(place, { [`0.log.${STAMP}`]: "one", "1.log": "two", "1.log.20260101-000001": "three" })
      for (const number of [0, 1]) container.is(number, "forgotten")
      const early = keeper(true)
      const agent = yield* agentOf(place, () => [], on(container, {}, [early.plugin]))
      yield* agent.once
      assert.deepStrictEqual(early.state.asked, new Set([`0.log.${STAMP}`, "1.log.20260101-000001"]))
      const { asked, waiting } = yield* agent.drain
      assert.deepStrictEqual(
        [asked, waiting.map(({ path }) => nameOf(path))],
        [2, [`0.log.${STAMP}`, "1.log.20260101-000001"]],
      )
    }),
  )

  it.effect("is what each log's own policy says, and is not touched where that only observes", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const place = stage()
      const container = new Container(place)
      leave(place, { "0.log": "a", "1.log": "b", "2.log": "c", "3.log": "d" })
      for (const number of [0, 1, 2, 3]) container.is(number, "ended")
      const overrides = [
        { name: "precious", match: { path: "*/1.log" }, keepStopped: 3 },
        { name: "watched", match: { path: "*/0.log" }, mode: "observe" },
      ]
      const agent = yield* agentOf(place, () => [], on(container, { overrides }))
      const { logs } = yield* agent.plan
      assert.deepStrictEqual(
        logs.map(({ log, steps, writer }) => [nameOf(log.path), writer, steps.map(({ _tag }) => _tag)]),
        [
          ["0.log", "surplus", ["Rotate"]],
          ["1.log", "stopped", []],
          ["2.log", "surplus", ["Rotate"]],
          ["3.log", "stopped", []],
        ],
      )
      for (let round = 0; round < 3; round += 1) yield* agent.once
      assert.deepStrictEqual(namesOn(place), ["0.log", "1.log", "3.log"])
      assert.deepStrictEqual(types(eventsOf(place, 0)), ["Scanned", "Planned"])
      assert.deepStrictEqual(eventsOf(place, 0)[1]?.data, { steps: [{ step: "rotate", path: pathOf(0) }] })
    }),
  )

  it.effect("is not removed while a runtime still writes to it, and is once it has come to rest", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const place = stage()
      const container = new Container(place)
      leave(place, { [`0.log.${STAMP}`]: "one", "1.log": "two" })
      for (const number of [0, 1]) container.is(number, "ended")
      const agent = yield* agentOf(place, () => [], on(container))
      let appends = 0
      place.world.faults = (operation, path) => {
        // Between the look and the act.
        if (operation === "remove" && (appends += 1) === 1) place.world.append(path, text.encode(" and more"), START)
        return null
      }
      yield* Effect.forkScoped(agent.run)
      yield* TestClock.adjust("9500 millis")
      assert.strictEqual(disk(place)[`${pathOf(0)}.${STAMP}`], "one and more")
      place.world.append(`${pathOf(0)}.${STAMP}`, text.encode(" and the last"), START + 9_500)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(disk(place)[`${pathOf(0)}.${STAMP}`], "one and more and the last")
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(disk(place), { [pathOf(1)]: "two" })
    }),
  )

  it.effect("is found anew by an agent that was killed before it was told of the file that it set aside", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const place = stage()
      const container = new Container(place)
      leave(place, { "0.log": "one", "1.log": "two" })
      for (const number of [0, 1]) container.is(number, "ended")
      place.world.faults = (operation) => (operation.startsWith("setAside") ? "crash-after" : null)
      const killed = yield* agentOf(place, () => [], on(container))
      yield* Effect.forkDetach(killed.once)
      yield* TestClock.adjust("1 second")
      place.world.faults = () => null
      assert.deepStrictEqual(namesOn(place), ["0.log.20260909-043310", "1.log"])
      const next = new Container(place)
      for (const number of [0, 1]) next.is(number, "forgotten")
      const agent = yield* agentOf(place, () => [], on(next))
      yield* agent.once
      assert.deepStrictEqual(disk(place), { [pathOf(1)]: "two" })
    }),
  )
})
