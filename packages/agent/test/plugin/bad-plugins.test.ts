/** Plugins that do wrong whatever a plugin can do wrong: one clear error each, and logs rotate as if the plugin weren't there. */
import { assert, describe, it } from "@effect/vitest"
import {
  type Codec,
  type Configured,
  type Contributions,
  definePlugin,
  type Envelope,
  type PluginError,
} from "@cordwood/core"
import { plainCodec } from "@cordwood/core/testing"
import { Context, Effect, Fiber, Option, type Scope, Tracer } from "effect"
import { TestClock } from "effect/testing"
import * as z from "zod"
import type { AgentOptions } from "../../src/agent-options.ts"
import { agentOf, bring, disk, factsOf, logged, pathOf, settle, stage, START, stop, text, until } from "../stage.ts"

/** Whatever a third party's JavaScript may return. */
const rubbish = (value: unknown): never => value as never
const bug = (): never => {
  throw new Error("a bug")
}
const untellable = {
  get message(): string {
    return bug()
  },
  toString: bug,
}
const bad = (contributions: Contributions): Configured =>
  definePlugin({ name: "bad", api: 1, config: z.strictObject({}), setup: () => Effect.succeed(contributions) })()

const SEGMENTS = ["20260101-000000", "20260102-000000", "20260103-000000", "20260104-000000"]

interface Outcome {
  readonly files: Readonly<Record<string, string>>
  readonly facts: ReadonlyArray<unknown>
  readonly lines: ReadonlyArray<string>
}

/** A node with a log that has segments to remove and to compress, and fills up three times; what comes of it. */
const story = (plugins: ReadonlyArray<Configured>, policy: AgentOptions["policy"] = {}): Effect.Effect<Outcome> =>
  Effect.gen(function* () {
    yield* TestClock.setTime(START)
    const on = stage()
    on.world.openWriter(pathOf("a"), START)
    for (const stamp of SEGMENTS) on.world.put(`${pathOf("a")}.${stamp}`, text.encode(`old ${stamp}`))
    const { lines } = yield* logged(
      Effect.scoped(
        Effect.gen(function* () {
          const agent = yield* agentOf(on, () => ["a"], {
            policy: { maxSize: 10, maxFiles: 4, compression: "plain", ...policy },
            plugins: [bring(plainCodec), ...plugins],
          })
          const running = yield* Effect.forkDetach(agent.run)
          for (const line of ["first line, long", "second line, long", "third line, long"]) {
            yield* TestClock.adjust("1 second")
            yield* settle(on)
            on.world.write(pathOf("a"), text.encode(line), START)
            yield* TestClock.adjust("9 seconds")
            yield* settle(on)
          }
          yield* stop(running)
          yield* settle(on)
        }),
      ).pipe(closing),
    )
    return { files: disk(on), facts: factsOf(on.events), lines }
  }).pipe(Effect.scoped, Effect.provide(TestClock.layer()))

/** Lets the time pass that an agent gives its plugins to end. */
const closing = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkDetach(effect)
    for (let turn = 0; turn < 10_000 && fiber.pollUnsafe() === undefined; turn += 1) {
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      if (turn > 2_000 && turn % 100 === 0) yield* TestClock.adjust("1 second")
    }
    return yield* Fiber.join(fiber)
  })

const rotations = ({ facts }: Outcome): ReadonlyArray<unknown> =>
  facts.filter((fact) => (fact as readonly [string])[0] === "Rotated")
const named = (facts: ReadonlyArray<unknown>, type: string): ReadonlyArray<unknown> =>
  facts.flatMap((fact) =>
    (fact as readonly [string, unknown])[0] === type ? [(fact as readonly [string, unknown])[1]] : [],
  )

describe("without a bad plugin", () => {
  it.live("the story has rotations, removals and compressions in it, and nothing to warn of", () =>
    Effect.gen(function* () {
      const outcome = yield* story([])
      assert.deepStrictEqual(
        outcome.facts.map((fact) => (fact as readonly [string])[0]),
        [
          ["Scanned", "Removed", "Compressed", "Compressed"],
          ["Scanned", "Rotated", "Removed", "Compressed"],
          ["Scanned", "Rotated", "Removed", "Compressed"],
          ["Scanned", "Rotated", "Removed", "Compressed"],
        ].flat(),
      )
      assert.deepStrictEqual(outcome.lines, [])
    }),
  )
})

describe("an observer", () => {
  const cases: ReadonlyArray<readonly [string, NonNullable<Contributions["observe"]>, string | null]> = [
    ["that throws", bug, "a bug"],
    ["that fails", () => Effect.fail(rubbish(new Error("no"))), "no"],
    ["that dies", () => Effect.die(new Error("dead")), "dead"],
    ["that interrupts itself", () => Effect.interrupt, null],
    ["that fails with what can't be told", () => Effect.fail(rubbish(untellable)), "an error that can't be told"],
    [
      "that returns a promise",
      () => rubbish(Promise.resolve()),
      "observe returned no Effect; wrap a promise in Effect.tryPromise",
    ],
    [
      "that returns nothing",
      () => rubbish(undefined),
      "observe returned no Effect; wrap a promise in Effect.tryPromise",
    ],
    [
      "that goes on with something that is no effect",
      () => Effect.flatMap(Effect.void, () => rubbish(7)),
      "Fiber.runLoop: Not a valid effect: 7",
    ],
  ]
  it.live.each(cases)("%s changes nothing, and is told of", ([, observe, message]) =>
    Effect.gen(function* () {
      const [alone, beside] = [yield* story([]), yield* story([bad({ observe })])]
      assert.deepStrictEqual([beside.files, beside.facts], [alone.files, alone.facts])
      assert.strictEqual(beside.lines.length, alone.facts.length)
      if (message !== null)
        assert.deepStrictEqual([...new Set(beside.lines)], [`warn: plugin bad, observe: ${message}`])
    }),
  )
  it.live.each<readonly [string, Effect.Effect<void>]>([
    ["that hangs", Effect.never],
    ["that hangs and won't be interrupted", Effect.uninterruptible(Effect.never)],
    ["that is slow", Effect.sleep("9 seconds")],
  ])("%s changes nothing", ([, observe]) =>
    Effect.gen(function* () {
      const [alone, beside] = [yield* story([]), yield* story([bad({ observe: () => observe })])]
      assert.deepStrictEqual([beside.files, beside.facts], [alone.files, alone.facts])
    }),
  )
  it.live("is told of every event of a single pass, the last ones included, however quickly that ends", () =>
    Effect.gen(function* () {
      const on = stage()
      for (const name of ["a", "b"]) {
        on.world.openWriter(pathOf(name), START)
        on.world.write(pathOf(name), text.encode("more than ten bytes"), START)
      }
      const told: Array<Envelope> = []
      const observe = (event: Envelope): Effect.Effect<void> =>
        Effect.delay(
          Effect.sync(() => void told.push(event)),
          1,
        )
      yield* Effect.scoped(
        Effect.flatMap(
          agentOf(on, () => ["a", "b"], { plugins: [bring(plainCodec), bad({ observe })] }),
          ({ once }) => once,
        ),
      )
      assert.isAbove(on.events.length, 3)
      assert.deepStrictEqual(told, on.events)
    }),
  )
})

describe("a tracer", () => {
  const span = (change: (span: Tracer.NativeSpan) => unknown): Tracer.Tracer =>
    Tracer.make({ span: (options) => change(new Tracer.NativeSpan(options)) as Tracer.Span })
  const failing = new Set(["end", "attribute", "event", "addLinks"])
  const one = new Tracer.NativeSpan({
    name: "one",
    parent: Option.none(),
    annotations: Context.empty(),
    links: [],
    startTime: 0n,
    kind: "internal",
    sampled: true,
  })
  const cases: ReadonlyArray<readonly [string, Tracer.Tracer, string | null]> = [
    ["that throws at every span", rubbish({ span: bug }), "a bug"],
    [
      "whose spans throw at each call",
      span((made) => Object.assign(made, Object.fromEntries([...failing].map((act) => [act, bug])))),
      "a bug",
    ],
    ["that hands out nothing", span(() => undefined), null],
    ["that hands out something else", span(() => ({ traceId: 7 })), "it handed out something that is no span"],
    ["whose spans can't be read", span((made) => Object.defineProperty(made, "traceId", { get: bug })), "a bug"],
    [
      "whose spans lack something",
      span((made) => Object.assign(made, { annotations: undefined })),
      "it handed out something that is no span",
    ],
    ["whose spans are frozen", span((made) => Object.freeze(made)), null],
    ["that hands out the same span for ever", span(() => one), ""],
    ["whose context throws", Tracer.make({ span: (options) => new Tracer.NativeSpan(options), context: bug }), "a bug"],
    [
      "whose context runs nothing",
      Tracer.make({ span: (options) => new Tracer.NativeSpan(options), context: () => rubbish(undefined) }),
      "",
    ],
    [
      "whose context runs everything twice, and returns something else",
      Tracer.make({
        span: (options) => new Tracer.NativeSpan(options),
        context: (primitive, fiber) => {
          primitive["~effect/Effect/evaluate"](fiber)
          primitive["~effect/Effect/evaluate"](fiber)
          return rubbish("something else")
        },
      }),
      "",
    ],
  ]
  it.live.each(cases)("%s changes nothing, and is told of once", ([, tracer, message]) =>
    Effect.gen(function* () {
      const [alone, beside] = [yield* story([]), yield* story([bad({ tracer })])]
      assert.deepStrictEqual([beside.files, beside.facts], [alone.files, alone.facts])
      const end = "; rotation goes on, spans may be missing, and this is not told again"
      if (message === null) {
        assert.strictEqual(beside.lines.length, 1)
        assert.isTrue(beside.lines[0]?.startsWith("warn: plugin bad, tracer: ") && beside.lines[0].endsWith(end))
      } else assert.deepStrictEqual(beside.lines, message === "" ? [] : [`warn: plugin bad, tracer: ${message}${end}`])
    }),
  )
})

describe("a guard", () => {
  const SOON = 1_000
  const cases: ReadonlyArray<readonly [string, NonNullable<Contributions["beforeRemove"]>, string]> = [
    ["throws", bug, "a bug"],
    ["fails", () => Effect.fail(rubbish(new Error("no"))), "no"],
    ["dies", () => Effect.die(new Error("dead")), "dead"],
    ["interrupts itself", () => Effect.interrupt, "All fibers interrupted without error"],
    ["hangs", () => Effect.never, "no answer within 1s"],
    ["hangs and won't be interrupted", () => Effect.uninterruptible(Effect.never), "no answer within 1s"],
    ["answers with rubbish", () => Effect.succeed(rubbish({ _tag: "Perhaps" })), "it answered neither Allow nor Defer"],
    ["answers with nothing", () => Effect.succeed(rubbish(undefined)), "it answered neither Allow nor Defer"],
    [
      "answers with a promise",
      () => rubbish(Promise.resolve({ _tag: "Allow" })),
      "beforeRemove returned no Effect; wrap a promise in Effect.tryPromise",
    ],
    [
      "goes on with something that is no effect",
      () => Effect.flatMap(Effect.void, () => rubbish(null)),
      "Fiber.runLoop: Not a valid effect: null",
    ],
  ]
  it.live.each(cases)("that %s keeps every segment, says why, and logs rotate as before", ([, beforeRemove, why]) =>
    Effect.gen(function* () {
      const alone = yield* story([])
      const beside = yield* story([bad({ beforeRemove, guard: { limitMs: SOON } })])
      assert.deepStrictEqual(rotations(beside), rotations(alone))
      assert.deepStrictEqual(named(beside.facts, "Removed"), [])
      assert.deepStrictEqual(named(beside.facts, "Failed"), [])
      for (const deferred of named(beside.facts, "Deferred")) {
        assert.deepStrictEqual(
          { ...(deferred as object), path: "" },
          { step: "remove", path: "", by: "bad", why, retryAfterMs: 60_000 },
        )
      }
      assert.isAbove(named(beside.facts, "Deferred").length, 0)
      // All that there was and all that was written.
      const kept = Object.values(beside.files).map((held) => (held.startsWith("P") ? held.slice(1, -4) : held))
      assert.deepStrictEqual(kept.toSorted(), [
        "",
        "first line, long",
        ...SEGMENTS.map((stamp) => `old ${stamp}`),
        "second line, long",
        "third line, long",
      ])
    }),
  )
})

describe("a codec", () => {
  async function* of(...pieces: ReadonlyArray<unknown>): AsyncGenerator<Uint8Array> {
    for (const piece of pieces) yield piece as Uint8Array
  }
  const codec = (encode: Codec["encode"], decode: Codec["decode"] = encode): Configured =>
    bad({ codecs: [{ id: "bad", suffix: ".bad", encode, decode }] })
  const cases: ReadonlyArray<readonly [string, Configured]> = [
    ["throws", codec(bug)],
    [
      "fails on the way",
      codec(async function* (input) {
        for await (const chunk of input) {
          yield chunk
          bug()
        }
      }),
    ],
    ["returns nothing", codec(() => rubbish(undefined))],
    ["returns something else than bytes", codec(() => of("text"))],
    ["writes what doesn't decode to what it was given", codec(() => of(new Uint8Array([1, 2, 3])))],
    ["writes nothing", codec(() => of())],
    ["can't read what it wrote", codec((input) => input, bug)],
  ]
  it.live.each(cases)("that %s leaves segments plain, says so, and nothing else changes", ([, plugin]) =>
    Effect.gen(function* () {
      const alone = yield* story([], { compression: "none" })
      const beside = yield* story([plugin], { compression: "bad" })
      assert.deepStrictEqual(beside.files, alone.files)
      const reasons = named(beside.facts, "Failed").map((failed) => {
        const { reason, step } = failed as { readonly step: string; readonly reason: string }
        return `${step} ${reason}`
      })
      assert.isAbove(reasons.length, 0)
      for (const reason of reasons) assert.include(["compress Codec", "compress Corrupt"], reason)
      assert.deepStrictEqual(
        beside.facts.filter((fact) => !["Failed", "Scanned"].includes((fact as readonly [string])[0])),
        alone.facts.filter((fact) => (fact as readonly [string])[0] !== "Scanned"),
      )
    }),
  )
  it.live("that hangs leaves rotation as it is", () =>
    Effect.gen(function* () {
      const hanging = codec(() => ({ [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }) }))
      const alone = yield* story([], { compression: "none" })
      const beside = yield* story([hanging], { compression: "bad" })
      assert.deepStrictEqual(rotations(beside), rotations(alone))
    }),
  )
})

describe("what a plugin opened", () => {
  const opening = (opened: Effect.Effect<unknown, never, Scope.Scope>, name = "bad"): Configured =>
    definePlugin({ name, api: 1, config: z.strictObject({}), setup: () => Effect.as(opened, {}) })()
  const onceWith = (plugins: ReadonlyArray<Configured>) =>
    logged(
      Effect.gen(function* () {
        const on = stage()
        on.world.openWriter(pathOf("a"), START)
        on.world.write(pathOf("a"), text.encode("more than ten bytes"), START)
        const running = yield* Effect.forkDetach(
          Effect.scoped(
            Effect.flatMap(
              agentOf(on, () => ["a"], { plugins: [bring(plainCodec), ...plugins] }),
              ({ once }) => once,
            ),
          ),
        )
        yield* until("the pass is over", () => on.events.some(({ type }) => type === "Rotated"))
        yield* TestClock.adjust("6 seconds")
        return (yield* Fiber.join(running)).steps.rotated
      }),
    )
  it.effect("is closed when the agent ends, the last first", () =>
    Effect.gen(function* () {
      const closed: Array<string> = []
      const listener = (name: string) => Effect.addFinalizer(() => Effect.sync(() => void closed.push(name)))
      const plugins = [opening(Effect.andThen(listener("a"), listener("b"))), opening(listener("c"), "second")]
      const { lines, value } = yield* onceWith(plugins)
      assert.deepStrictEqual([value, closed, lines], [1, ["c", "b", "a"], []])
    }),
  )
  it.effect("and fails to close is told of, and holds up nobody", () =>
    Effect.gen(function* () {
      const closed: Array<string> = []
      const { lines, value } = yield* onceWith([
        opening(
          Effect.addFinalizer(() => Effect.sync(() => void closed.push("other"))),
          "other",
        ),
        opening(Effect.addFinalizer(() => Effect.die(new Error("stuck lid")))),
      ])
      assert.deepStrictEqual([value, closed, lines], [1, ["other"], ["warn: plugin bad failed to close: stuck lid"]])
    }),
  )
  it.effect("and fails to close with what can't be told holds up nobody either", () =>
    Effect.gen(function* () {
      const { lines, value } = yield* onceWith([opening(Effect.addFinalizer(() => Effect.die(untellable)))])
      assert.deepStrictEqual([value, lines], [1, ["warn: plugin bad failed to close: an error that can't be told"]])
    }),
  )
  it.effect("and never closes is given up after five seconds", () =>
    Effect.gen(function* () {
      const { lines, value } = yield* onceWith([opening(Effect.addFinalizer(() => Effect.never))])
      assert.deepStrictEqual([value, lines], [1, ["warn: plugin bad was not closed within 5 s; it is left as it is"]])
    }),
  )
  it.effect("is closed, too, when another plugin can't be set up", () =>
    Effect.gen(function* () {
      const closed: Array<string> = []
      const on = stage()
      const plugins = [
        opening(Effect.addFinalizer(() => Effect.sync(() => void closed.push("first")))),
        definePlugin({ name: "second", api: 1, config: z.strictObject({}), setup: bug })(),
      ]
      const error = yield* Effect.scoped(
        Effect.flatMap(
          agentOf(on, () => ["a"], { policy: {}, plugins }),
          ({ once }) => Effect.flip(once),
        ),
      )
      assert.deepStrictEqual([error.message, closed], ["plugin second, setup: a bug", ["first"]])
    }),
  )
})

describe("a plugin that can't be set up stops the start, with one clear error and nothing touched:", () => {
  type SetUp = () => Effect.Effect<Contributions, PluginError>
  const broken = (setup: SetUp, { api = 1, config = {} } = {}): Configured => ({
    ...definePlugin({ name: "broken", api: api as 1, config: z.strictObject({ level: z.int().optional() }), setup })(),
    config,
  })
  const bringing = (contributions: unknown): Configured => broken(() => Effect.succeed(rubbish(contributions)))
  const noSchema: Configured = { ...broken(() => Effect.succeed({})) }
  const cases: ReadonlyArray<readonly [string, Configured, string]> = [
    [
      "made for a newer api",
      broken(() => Effect.never, { api: 2 }),
      "plugin broken, load: it is made for plugin api 2, this agent has 1",
    ],
    [
      "given a setting it doesn't know",
      broken(() => Effect.never, { config: { levle: 3 } }),
      'plugin broken, config: ✖ Unrecognized key: "levle"',
    ],
    [
      "with a schema that is none",
      { ...noSchema, plugin: { ...noSchema.plugin, config: rubbish({}) } },
      "plugin broken, config: its schema failed: plugin.config.safeParse is not a function",
    ],
    ["throwing at set-up", broken(bug), "plugin broken, setup: a bug"],
    ["failing at set-up", broken(() => Effect.fail(rubbish(new Error("no")))), "plugin broken, setup: no"],
    ["dying at set-up", broken(() => Effect.die(new Error("dead"))), "plugin broken, setup: dead"],
    [
      "interrupting itself",
      broken(() => Effect.interrupt),
      "plugin broken, setup: All fibers interrupted without error",
    ],
    ["never ready", broken(() => Effect.never), "plugin broken, setup: not ready within 30 s"],
    [
      "never ready, and not to be interrupted",
      broken(() => Effect.uninterruptible(Effect.never)),
      "plugin broken, setup: not ready within 30 s",
    ],
    [
      "set up by a promise",
      broken(() => rubbish(Promise.resolve({}))),
      "plugin broken, setup: its setup returned no Effect; wrap a promise in Effect.tryPromise",
    ],
    [
      "going on with something that is no effect",
      broken(() => Effect.flatMap(Effect.void, () => rubbish({}))),
      "plugin broken, setup: Fiber.runLoop: Not a valid effect: [object Object]",
    ],
    ["bringing nothing", bringing(undefined), "plugin broken, setup: its setup returned no contributions"],
    [
      "bringing what can't be read",
      bringing(Object.defineProperty({}, "codecs", { get: bug, enumerable: true })),
      "plugin broken, setup: what its setup returned can't be read: a bug",
    ],
    [
      "bringing a guard under a wrong name",
      bringing({ beforeRemoval: () => Effect.succeed({ _tag: "Allow" }) }),
      'plugin broken, setup: there is no slot "beforeRemoval"; write one of codecs, beforeRemove, guard, observe, events, tracer',
    ],
    [
      "bringing a guard that can't be asked",
      bringing({ beforeRemove: "yes" }),
      "plugin broken, beforeRemove: ✖ must be a function\n  → at beforeRemove",
    ],
    [
      "whose guard's limit is no number",
      bringing({ beforeRemove: () => Effect.never, guard: { limitMs: "5" } }),
      "plugin broken, beforeRemove: guard.limitMs is 5, not more than 0 and at most 60 minutes",
    ],
    [
      "bringing codecs that are no list",
      bringing({ codecs: 5 }),
      "plugin broken, codecs: ✖ Invalid input: expected array, received number\n  → at codecs",
    ],
    [
      "bringing half a codec",
      bringing({ codecs: [{ id: "half", suffix: ".half", encode: () => {} }] }),
      "plugin broken, codecs: ✖ must be a function\n  → at codecs[0].decode",
    ],
    [
      "bringing a codec that is there already",
      bringing({ codecs: [{ ...plainCodec, id: "gzip" }] }),
      "plugin broken, codecs: the plugin gzip brings a codec gzip already",
    ],
    [
      "bringing an observer that can't be told",
      bringing({ observe: {} }),
      "plugin broken, observe: ✖ must be a function\n  → at observe",
    ],
    [
      "bringing events without schemas",
      bringing({ events: { "broken.Done": {} } }),
      'plugin broken, events: ✖ must be a zod schema\n  → at events["broken.Done"]',
    ],
    [
      "bringing a tracer that is none",
      bringing({ tracer: {} }),
      "plugin broken, tracer: ✖ must be a tracer of effect's: it has no function span\n  → at tracer",
    ],
  ]
  it.effect.each(cases)("%s", ([, plugin, message]) =>
    Effect.gen(function* () {
      const on = stage()
      const agent = yield* agentOf(on, () => ["a"], { policy: {}, plugins: [plugin] })
      const failing = yield* Effect.forkScoped(Effect.flip(agent.once))
      yield* TestClock.adjust("31 seconds")
      const error = yield* Fiber.join(failing)
      assert.deepStrictEqual([error.reason, error.message], ["Plugin", message])
      assert.isString(error.hint)
      assert.deepStrictEqual([on.world.calls, on.events], [[], []])
    }),
  )
})
