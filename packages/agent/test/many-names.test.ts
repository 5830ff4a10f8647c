// A log with very many segments: what an agent has to go through grows with their number, and not with its square.
import { assert, describe, it } from "@effect/vitest"
import {
  type Configured,
  type CoreFact,
  definePlugin,
  type Entry,
  LogFiles,
  LogFilesError,
  type LogFilesShape,
  nameOf,
  type Verdict,
} from "@cordwood/core"
import { Effect, Exit, Layer } from "effect"
import * as z from "zod"
import type { AgentShape } from "../src/agent.ts"
import type { AgentOptions } from "../src/agent-options.ts"
import { agentOf, pathOf, type Stage, stage, START, text, types } from "./stage.ts"
import { workOf } from "./work.ts"

const LOG = pathOf("a")
const stampOf = (second: number): string =>
  new Date(Date.UTC(2020, 0, 1) + second * 1_000).toISOString().slice(0, 19).replaceAll(/[-:]/g, "").replace("T", "-")

/** A directory that answers every question at the same cost, however many names are in it. `refuses`: nothing can be removed. */
const directoryOf = (segments: number, { refuses = false, suffix = "" } = {}) => {
  const names = Array.from({ length: segments }, (_, at) => `${nameOf(LOG)}.${stampOf(at)}`)
  const all = suffix === "" ? names : names.flatMap((name) => [name, name + suffix])
  const entries = new Map<string, Entry>()
  const add = (name: string): void => {
    const path = LOG.replace(nameOf(LOG), name)
    entries.set(path, { name, path, bytes: 1, modifiedMs: 0, identity: `1:${entries.size}`, kind: "file" })
  }
  for (const name of [nameOf(LOG), ...all]) add(name)
  const unused = () => Effect.die(new Error("nothing of this is to be done here"))
  const files: LogFilesShape = {
    glance: (_, into) => {
      into.bytes = 1
      into.directoryChangedMs = 0
    },
    list: () => Effect.sync(() => ({ entries: [...entries.values()], takenAtMs: Date.UTC(2026, 0, 1) })),
    remove: ({ bytes, path }) => {
      const detail = "the file system is read-only"
      if (refuses) return new LogFilesError({ op: "remove", path, reason: "ReadOnly", detail })
      entries.delete(path)
      return Effect.succeed(bytes)
    },
    free: () => Effect.succeed(0),
    read: async function* () {
      yield new Uint8Array(1)
    },
    setAside: unused,
    putBack: unused,
    compress: unused,
    matches: () => Effect.succeed(true),
  }
  return { files, add: (second: number) => add(`${nameOf(LOG)}.${stampOf(second)}`) }
}

const guard = (verdict: Verdict): Configured =>
  definePlugin({
    name: "ship",
    api: 1,
    config: z.strictObject({}),
    setup: () => Effect.succeed({ beforeRemove: () => Effect.succeed(verdict), guard: { early: true } }),
  })()
const recording: Configured = definePlugin({
  name: "ship",
  api: 1,
  config: z.strictObject({}),
  setup: () =>
    Effect.succeed({
      events: { "ship.Shipped": z.strictObject({ path: z.string() }) },
      beforeRemove: ({ record, segment }) =>
        Effect.as(record({ type: "ship.Shipped", data: { path: segment.path } }), { _tag: "Allow" } as const),
    }),
})()

interface Case {
  readonly title: string
  readonly options: Partial<AgentOptions>
  readonly directory?: { readonly refuses?: boolean; readonly suffix?: string }
  readonly act?: (agent: AgentShape) => Effect.Effect<unknown, unknown>
  /** What happens to each segment, as the journal tells it. */
  readonly tells: string | null
}
const MANY = 100_000
const AWAY: Verdict = { _tag: "Defer", why: "the other side is away", retryAfterMs: 60_000 }
const policy = { maxSize: 10, maxFiles: 4, compression: "none" } as const
const CASES: ReadonlyArray<Case> = [
  { title: "that all go for maxFiles", options: { policy }, tells: "Removed" },
  {
    title: "of which none can be removed",
    options: { policy },
    directory: { refuses: true },
    tells: "Failed",
  },
  {
    title: "that guards keep, with a limit for what waits",
    options: {
      policy: { ...policy, deferred: { onPressure: "drop", maxSize: "1Gi" } },
      plugins: [guard(AWAY)],
    },
    tells: "Deferred",
  },
  {
    title: "that go once a plugin has told of each",
    options: { policy, plugins: [recording] },
    tells: "ship.Shipped",
  },
  {
    title: "that are beyond a budget",
    options: { policy: { ...policy, maxFiles: MANY, maxTotal: { container: 5 } } },
    tells: "Removed",
  },
  {
    title: "that are beyond a budget, and can't be removed",
    options: { policy: { ...policy, maxFiles: MANY, maxTotal: { container: 5 } } },
    directory: { refuses: true },
    tells: "Failed",
  },
  {
    title: "that go for a full disk",
    options: { policy: { ...policy, maxFiles: MANY, pressure: { minFree: "1Gi", keepFiles: 2 } } },
    tells: "Removed",
  },
  {
    title: "that would go for a full disk, and can't",
    options: { policy: { ...policy, maxFiles: MANY, pressure: { minFree: "1Gi", keepFiles: 2 } } },
    directory: { refuses: true },
    tells: "Failed",
  },
  {
    title: "that lie there beside their compressed twins",
    options: { policy: { ...policy, maxFiles: MANY } },
    directory: { suffix: ".gz" },
    tells: "Cleaned",
  },
  {
    title: "that are only planned for",
    options: { policy: { ...policy, maxTotal: { container: 5 } } },
    act: ({ plan }) => plan,
    tells: null,
  },
  {
    title: "that are verified",
    options: { policy },
    act: ({ verify }) => verify(),
    tells: null,
  },
  {
    title: "that are verified beside their compressed twins",
    options: { policy },
    directory: { suffix: ".gz" },
    act: ({ verify }) => verify(),
    tells: null,
  },
]

/** Enough for the work of a square to show beside all other. */
const NAMES = 2_000
/** Twice as many names are twice the work; with a root of their number at each, as `withChange` has it, 2.8 times; with all of them, four times. */
const AT_MOST = 3

describe("twice as many segments", { timeout: 120_000 }, () => {
  it.effect.each(CASES)("$title are no more than thrice the work", ({ act, directory = {}, options, tells }) =>
    Effect.gen(function* () {
      const workFor = (names: number) =>
        Effect.promise(async () => {
          const on = stage()
          const { files } = directoryOf(names, directory)
          const ports = { ...on.ports, files: Layer.succeed(LogFiles, files) }
          const passed = Effect.scoped(
            Effect.flatMap(
              agentOf({ ...on, ports }, () => ["a"], options),
              act ?? (({ once }) => once),
            ),
          )
          const { value, work } = await workOf(() => Effect.runPromiseExit(passed))
          assert.isTrue(Exit.isSuccess(value), JSON.stringify(value))
          const told = types(on.events).filter((type) => type === tells).length
          assert.isAtLeast(told, tells === null ? 0 : names - 4)
          return work
        })
      const once = yield* workFor(NAMES)
      const twice = yield* workFor(NAMES * 2)
      assert.isBelow(twice / once, AT_MOST, `${once} and ${twice} elements were gone through`)
    }),
  )
})

const scansIn = ({ events }: Stage) =>
  events.flatMap(({ data, type }) =>
    type === "Scanned" ? [data as Extract<CoreFact, { readonly type: "Scanned" }>["data"]] : [],
  )

describe("what a scan stores", { timeout: 120_000 }, () => {
  const rotating = { ...policy, maxFiles: MANY }
  const rotations = (segments: number, options: Partial<AgentOptions>) =>
    Effect.gen(function* () {
      const on = stage()
      for (let second = 0; second < segments; second += 1) on.world.put(`${LOG}.${stampOf(second)}`, new Uint8Array(1))
      on.world.openWriter(LOG, START)
      const agent = yield* agentOf(on, () => ["a"], options)
      for (let pass = 0; pass < 3; pass += 1) {
        on.world.write(LOG, text.encode("twelve bytes"), START)
        yield* agent.once
      }
      return types(on.events).filter((type) => type !== "Removed")
    })

  it.effect("is all of its files at each rotation, as long as they are few", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(
        yield* rotations(5, { policy: rotating }),
        Array.from({ length: 3 }, () => ["Scanned", "Rotated"]).flat(),
      )
    }),
  )

  it.effect("is not all of them again and again, where they are many", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* rotations(1_010, { policy: rotating }), [
        "Scanned",
        ...Array.from({ length: 3 }, () => "Rotated"),
      ])
    }),
  )

  it.effect("is all of them once as many events have come since: a fold has no more to go through than that", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* rotations(2_100, { policy: { ...policy, maxFiles: 1_020 } }), [
        "Scanned",
        "Rotated",
        "Scanned",
        "Rotated",
        "Rotated",
      ])
    }),
  )

  /** The second scan of an agent that has had to do with each of the segments, and found one more. */
  const secondScan = (segments: number, options: Partial<AgentOptions>, directory?: { readonly refuses?: boolean }) =>
    Effect.gen(function* () {
      const on = stage()
      const { add, files } = directoryOf(segments, directory)
      const ports = { ...on.ports, files: Layer.succeed(LogFiles, files) }
      const agent = yield* agentOf({ ...on, ports }, () => ["a"], options)
      yield* agent.once
      add(segments)
      yield* agent.once
      return scansIn(on)[1]
    })

  it.effect("is what fails of a bounded number of segments, those that have failed longest", () =>
    Effect.gen(function* () {
      const scan = yield* secondScan(600, { policy }, { refuses: true })
      assert.deepStrictEqual(
        scan?.failing?.map(({ path }) => path),
        Array.from({ length: 500 }, (_, second) => `${LOG}.${stampOf(second)}`),
      )
    }),
  )

  it.effect("is no more of what plugins told than an event may hold, and that of the newest segments", () =>
    Effect.gen(function* () {
      const telling: Configured = definePlugin({
        name: "ship",
        api: 1,
        config: z.strictObject({}),
        setup: () =>
          Effect.succeed({
            events: { "ship.Told": z.strictObject({ path: z.string(), text: z.string() }) },
            beforeRemove: ({ record, segment }) =>
              Effect.as(record({ type: "ship.Told", data: { path: segment.path, text: "x".repeat(16_000) } }), AWAY),
          }),
      })()
      const scan = yield* secondScan(300, { policy: { ...policy, maxFiles: 2 }, plugins: [telling] })
      const withHistory = scan?.files.filter(({ history }) => history !== undefined).map(({ name }) => name)
      const known = Array.from({ length: 299 }, (_, second) => `${nameOf(LOG)}.${stampOf(second)}`)
      const most = (4 * 1024 * 1024) / 16_000
      assert.isAtMost(withHistory?.length ?? 0, Math.ceil(most))
      assert.deepStrictEqual(withHistory, known.slice(-(withHistory?.length ?? 0)))
      assert.isAbove(withHistory?.length ?? 0, most * 0.9)
    }),
  )
})
