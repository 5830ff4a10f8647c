// How several plugins become one, and how little any of them can break.
import { Cause, Deferred, Effect, Exit, Fiber, Option, Tracer } from "effect"
import { TestClock } from "effect/testing"
import { assert, describe, it } from "@effect/vitest"
import * as z from "zod"
import {
  type Codec,
  compose,
  type Composed,
  type Contributed,
  type Contributions,
  type Doomed,
  GUARD_LIMIT_MAX_MS,
  GUARD_LIMIT_MS,
  GUARD_RETRY_MAX_MS,
  GUARD_RETRY_MS,
  GUARD_STOP_MS,
  MAX_FACT,
  NO_HISTORY,
  PluginError,
  type PluginFact,
  type Question,
  type Ruling,
  type Verdict,
} from "@cordwood/core"
import { givenSnapshot } from "@cordwood/core/testing"

const identity = (input: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> => input
const codec = (id: string, suffix: string): Codec => ({
  id,
  suffix: suffix as Codec["suffix"],
  encode: identity,
  decode: identity,
})
const of = (plugin: string, contributions: Contributions): Contributed => ({ plugin, contributions })

const segment = givenSnapshot({ files: { "0.log.20260909-043310": 12 } }).segments[0]!
const path = "/logs/0.log.20260909-043310"
const bytesOf = async function* (text: string): AsyncGenerator<Uint8Array, void, undefined> {
  yield new TextEncoder().encode(text)
}
const question: Question = {
  log: { path: "/logs/0.log" },
  segment,
  occasion: "removal",
  correlationId: "pass",
  history: NO_HISTORY,
  codecs: [codec("gzip", ".gz")],
  stored: () => bytesOf("stored"),
  raw: () => bytesOf("raw"),
  record: () => Effect.die("nothing is recorded here"),
}
const allow: Verdict = { _tag: "Allow" }
const guard = (plugin: string, answer: Effect.Effect<unknown, PluginError>): Contributed =>
  of(plugin, { beforeRemove: () => answer as Effect.Effect<Verdict, PluginError> })
const askAbout = (about: Partial<Question>, ...all: ReadonlyArray<Contributed>) =>
  Effect.flatMap(compose(all), ({ ask }) => ask({ ...question, ...about }))
const ask = (...all: ReadonlyArray<Contributed>) => askAbout({}, ...all)
/** The ruling when a guard went wrong. */
const kept = (why: string, timedOut = false): Ruling => ({
  _tag: "Defer",
  by: "s3",
  why,
  retryAfterMs: GUARD_RETRY_MS,
  timedOut,
})

/** What starting with these plugins fails with. */
const refusal = (...all: ReadonlyArray<Contributed>) =>
  Effect.map(Effect.flip(compose(all)), ({ detail, plugin, slot }) => ({ plugin, slot, detail }))

describe("several plugins", () => {
  it.effect("bring their codecs, observers and events together, in list order", () =>
    Effect.gen(function* () {
      const [gz, zst] = [codec("gzip", ".gz"), codec("zstd", ".zst")]
      const [first, second] = [() => Effect.void, () => Effect.void]
      const [shipped, failed] = [z.strictObject({ key: z.string() }), z.strictObject({})]
      const tracer = Tracer.make({ span: () => assert.fail("no span is made here") })
      const composed = yield* compose([
        of("gzip", { codecs: [gz] }),
        of("s3", { observe: first, events: { "s3.Shipped": shipped, "s3.Failed": failed } }),
        of("nothing", {}),
        of("otel", { observe: second, tracer, codecs: [zst] }),
      ])
      const expected: Omit<Composed, "ask"> = {
        codecs: [gz, zst],
        guarded: false,
        early: false,
        observers: [
          { plugin: "s3", observe: first },
          { plugin: "otel", observe: second },
        ],
        events: { "s3.Shipped": shipped, "s3.Failed": failed },
        tracer,
      }
      const { ask, ...rest } = composed
      assert.deepStrictEqual(rest, expected)
      assert.deepStrictEqual(yield* ask(question), { _tag: "Allow" })
    }),
  )

  it.effect("may be none", () =>
    Effect.gen(function* () {
      const { ask, ...rest } = yield* compose([])
      assert.deepStrictEqual(rest, {
        codecs: [],
        guarded: false,
        early: false,
        observers: [],
        events: {},
        tracer: null,
      })
      assert.deepStrictEqual(yield* ask(question), { _tag: "Allow" })
    }),
  )

  it.effect.each([
    ["the same id", codec("gzip", ".pigz"), "the plugin gzip brings a codec gzip already"],
    ["the same suffix", codec("pigz", ".gz"), "the plugin gzip brings a codec .gz already"],
    [
      "the id that stands for no compression",
      codec("none", ".n"),
      '"none" can\'t be a codec\'s id: lower-case letters, digits and dashes, and not "none"',
    ],
    [
      "an id with blanks",
      codec("g zip", ".g"),
      '"g zip" can\'t be a codec\'s id: lower-case letters, digits and dashes, and not "none"',
    ],
    [
      "an empty id",
      codec("", ".g"),
      '"" can\'t be a codec\'s id: lower-case letters, digits and dashes, and not "none"',
    ],
    [
      "the suffix of temporary files",
      codec("tmp", ".tmp"),
      '".tmp" can\'t be a codec\'s suffix: a dot, then letters and digits, and not ".tmp"',
    ],
    [
      "no dot",
      codec("zstd", "zst"),
      '"zst" can\'t be a codec\'s suffix: a dot, then letters and digits, and not ".tmp"',
    ],
    [
      "two dots",
      codec("zstd", ".tar.zst"),
      '".tar.zst" can\'t be a codec\'s suffix: a dot, then letters and digits, and not ".tmp"',
    ],
    [
      "a slash",
      codec("zstd", "./x"),
      '"./x" can\'t be a codec\'s suffix: a dot, then letters and digits, and not ".tmp"',
    ],
    [
      "a newline",
      codec("zstd", ".zst\n"),
      '".zst\\n" can\'t be a codec\'s suffix: a dot, then letters and digits, and not ".tmp"',
    ],
    [
      "an empty suffix",
      codec("zstd", ""),
      '"" can\'t be a codec\'s suffix: a dot, then letters and digits, and not ".tmp"',
    ],
  ] as const)("are refused when a second codec has %s", ([, second, detail]) =>
    Effect.gen(function* () {
      const found = yield* refusal(of("gzip", { codecs: [codec("gzip", ".gz")] }), of("other", { codecs: [second] }))
      assert.deepStrictEqual(found, { plugin: "other", slot: "codecs", detail })
    }),
  )

  it.effect("are refused when one brings an event that doesn't begin with its name", () =>
    Effect.gen(function* () {
      const schema = z.unknown()
      assert.deepStrictEqual(yield* refusal(of("s3", { events: { "s4.Shipped": schema } })), {
        plugin: "s3",
        slot: "events",
        detail: 'the type s4.Shipped doesn\'t begin with "s3."',
      })
      assert.strictEqual((yield* refusal(of("s3", { events: { Removed: schema } }))).slot, "events")
      assert.strictEqual((yield* refusal(of("s3", { events: { s3Shipped: schema } }))).slot, "events")
    }),
  )

  it.effect("are refused when two bring a tracer, with a message that a person can act on", () =>
    Effect.gen(function* () {
      const tracer = Tracer.make({ span: () => assert.fail("no span is made here") })
      const error = yield* Effect.flip(compose([of("otel", { tracer }), of("zipkin", { tracer })]))
      assert.deepStrictEqual(
        { message: error.message, hint: error.hint },
        {
          message: "plugin zipkin, tracer: the plugin otel brings a tracer already",
          hint: "mend the plugin, or remove it (or the other one that is named) from the list of plugins",
        },
      )
    }),
  )
})

describe("guards", () => {
  it.effect("are asked in list order, with what is about to go, and the first Defer wins", () =>
    Effect.gen(function* () {
      const asked: Array<readonly [string, Doomed]> = []
      const noting = (plugin: string, verdict: Verdict): Contributed =>
        of(plugin, {
          beforeRemove: (about) => {
            asked.push([plugin, about])
            return Effect.succeed(verdict)
          },
        })
      const { ask, guarded } = yield* compose([
        noting("a", allow),
        of("no guard", {}),
        noting("b", { _tag: "Defer", why: "busy", retryAfterMs: 1_500.4 }),
        noting("c", { _tag: "Defer", why: "never asked", retryAfterMs: 1 }),
      ])
      const ruling = yield* ask(question)
      assert.deepStrictEqual(ruling, { _tag: "Defer", by: "b", why: "busy", retryAfterMs: 1_500, timedOut: false })
      assert.isTrue(guarded)
      const { codecs, correlationId, log, occasion } = question
      const about = { codecs, correlationId, log, occasion, segment, rotated: null, told: null }
      assert.deepStrictEqual(
        asked.map(([plugin, { raw: _raw, record: _record, stored: _stored, ...rest }]) => [plugin, rest]),
        [
          ["a", about],
          ["b", about],
        ],
      )
    }),
  )

  it.effect("let a file go when all of them allow it", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* ask(guard("a", Effect.succeed(allow)), guard("b", Effect.succeed(allow))), {
        _tag: "Allow",
      })
    }),
  )

  const broken: ReadonlyArray<readonly [string, Contributed, string]> = [
    [
      "fails",
      guard("s3", Effect.fail(new PluginError({ plugin: "s3", slot: "beforeRemove", detail: "403", hint: "" }))),
      "plugin s3, beforeRemove: 403",
    ],
    ["dies", guard("s3", Effect.die(new Error("a bug"))), "a bug"],
    ["dies with something that is no error", guard("s3", Effect.die("a bug")), "a bug"],
    [
      "throws before it has an effect",
      of("s3", {
        beforeRemove: () => {
          throw new Error("a bug")
        },
      }),
      "a bug",
    ],
    ["interrupts itself", guard("s3", Effect.interrupt), "All fibers interrupted without error"],
    [
      "dies with an error that can't be told",
      guard(
        "s3",
        Effect.die(
          new Proxy(new Error("hidden"), {
            get: () => {
              throw new Error("do not touch")
            },
          }),
        ),
      ),
      "an error that can't be told",
    ],
    ["fails at length", guard("s3", Effect.die("x".repeat(100_000))), `${"x".repeat(1_000)}…`],
    [
      "answers with a promise",
      of("s3", { beforeRemove: (async () => allow) as unknown as NonNullable<Contributions["beforeRemove"]> }),
      "beforeRemove returned no Effect; wrap a promise in Effect.tryPromise",
    ],
    ["answers nothing", guard("s3", Effect.succeed(undefined)), "it answered neither Allow nor Defer"],
    ["answers null", guard("s3", Effect.succeed(null)), "it answered neither Allow nor Defer"],
    ["answers true", guard("s3", Effect.succeed(true)), "it answered neither Allow nor Defer"],
    ["answers a word", guard("s3", Effect.succeed("Allow")), "it answered neither Allow nor Defer"],
    [
      "answers with a tag nobody knows",
      guard("s3", Effect.succeed({ _tag: "allow" })),
      "it answered neither Allow nor Defer",
    ],
  ]
  it.effect.each(broken)("keep the file when one %s", ([, contributed, why]) =>
    Effect.gen(function* () {
      const ruling = yield* ask(contributed, guard("after it", Effect.succeed(allow)))
      assert.deepStrictEqual(ruling, kept(why))
    }),
  )

  it.effect.each([
    [{ _tag: "Defer" }, "undefined", GUARD_RETRY_MS],
    [{ _tag: "Defer", why: 7, retryAfterMs: "soon" }, "7", GUARD_RETRY_MS],
    [{ _tag: "Defer", why: "x", retryAfterMs: -1 }, "x", GUARD_RETRY_MS],
    [{ _tag: "Defer", why: "x", retryAfterMs: Number.NaN }, "x", GUARD_RETRY_MS],
    [{ _tag: "Defer", why: "x", retryAfterMs: Infinity }, "x", GUARD_RETRY_MS],
    [{ _tag: "Defer", why: "x", retryAfterMs: 1e300 }, "x", GUARD_RETRY_MAX_MS],
    [{ _tag: "Defer", why: "x", retryAfterMs: 0 }, "x", 0],
    [{ _tag: "Defer", why: "x".repeat(1_001), retryAfterMs: 0 }, `${"x".repeat(1_000)}…`, 0],
  ] as const)("keep the file when one defers with rubbish in it: %j", ([answer, why, retryAfterMs]) =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* ask(guard("s3", Effect.succeed(answer))), {
        _tag: "Defer",
        by: "s3",
        why,
        retryAfterMs,
        timedOut: false,
      })
    }),
  )

  it.effect("keep the file when the answer itself throws as it is read", () =>
    Effect.gen(function* () {
      const trap = new Proxy({ _tag: "Defer" }, { get: () => assert.fail("do not touch") })
      const ruling = yield* ask(guard("s3", Effect.succeed(trap)))
      assert.deepStrictEqual(ruling, kept("do not touch"))
    }),
  )

  it.effect("keep the file when one gives no answer in time, and stop it", () =>
    Effect.gen(function* () {
      const stopped = yield* Deferred.make<string>()
      const hanging = guard(
        "s3",
        Effect.onInterrupt(Effect.never, () => Deferred.succeed(stopped, "it was stopped")),
      )
      const fiber = yield* Effect.forkChild(ask(hanging))
      yield* TestClock.adjust(GUARD_LIMIT_MS - 1)
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* Fiber.join(fiber), kept("no answer within 5m", true))
      assert.strictEqual(yield* Deferred.await(stopped), "it was stopped")
    }),
  )

  it.effect("are stopped with the pass that asks, which takes it for no answer at all", () =>
    Effect.gen(function* () {
      const begun = yield* Deferred.make<void>()
      const fiber = yield* Effect.forkChild(
        ask(guard("s3", Effect.andThen(Deferred.succeed(begun, undefined), Effect.never))),
      )
      yield* Deferred.await(begun)
      yield* Fiber.interrupt(fiber)
      const exit = yield* Fiber.await(fiber)
      assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
    }),
  )
})

describe("a guard", () => {
  const asked = (options: Contributions["guard"], occasion: Doomed["occasion"]) =>
    Effect.gen(function* () {
      const occasions: Array<Doomed["occasion"]> = []
      const contributed = of("s3", {
        beforeRemove: (doomed) => Effect.sync(() => (occasions.push(doomed.occasion), allow)),
        ...(options && { guard: options }),
      })
      const { ask, early, guarded } = yield* compose([contributed, guard("other", Effect.succeed(allow))])
      const ruling = yield* ask({ ...question, occasion })
      return { occasions, early, guarded, ruling }
    })

  it.effect.each([
    [undefined, "removal", ["removal"], false],
    [undefined, "drain", ["drain"], false],
    [undefined, "closed", [], false],
    [{ early: false }, "closed", [], false],
    [{ early: true }, "closed", ["closed"], true],
    [{ early: true }, "removal", ["removal"], true],
    [{ early: true }, "drain", ["drain"], true],
  ] as const)("with %j is asked about a segment on the occasion %s: %j", ([options, occasion, occasions, early]) =>
    Effect.gen(function* () {
      const found = yield* asked(options, occasion)
      assert.deepStrictEqual(found, { occasions: [...occasions], early, guarded: true, ruling: { _tag: "Allow" } })
    }),
  )

  it.effect("that doesn't want to be asked early can't keep a merely closed segment from being let go", () =>
    Effect.gen(function* () {
      const defers = guard("late", Effect.succeed({ _tag: "Defer", why: "no", retryAfterMs: 1 }))
      const allows = of("early", { beforeRemove: () => Effect.succeed(allow), guard: { early: true } })
      const { ask } = yield* compose([defers, allows])
      assert.strictEqual((yield* ask({ ...question, occasion: "closed" }))._tag, "Allow")
      assert.strictEqual((yield* ask({ ...question, occasion: "drain" }))._tag, "Defer")
    }),
  )

  it.effect("gets as long for an answer as it asked for", () =>
    Effect.gen(function* () {
      const slow = of("s3", { beforeRemove: () => Effect.never, guard: { limitMs: GUARD_LIMIT_MAX_MS } })
      const fiber = yield* Effect.forkChild(ask(slow))
      yield* TestClock.adjust(GUARD_LIMIT_MAX_MS - 1)
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* Fiber.join(fiber), kept("no answer within 1h", true))
    }),
  )

  it.effect.each([0, -1, GUARD_LIMIT_MAX_MS + 1, Number.NaN, Infinity, "5m"])(
    "can't ask for %s milliseconds",
    (limitMs) =>
      Effect.gen(function* () {
        const bad = of("s3", { beforeRemove: () => Effect.succeed(allow), guard: { limitMs: limitMs as number } })
        assert.deepStrictEqual(yield* refusal(bad), {
          plugin: "s3",
          slot: "beforeRemove",
          detail: `guard.limitMs is ${limitMs}, not more than 0 and at most 60 minutes`,
        })
      }),
  )

  it.effect("that can't be interrupted holds up the next one no longer than it takes to stop it", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(ask(guard("s3", Effect.uninterruptible(Effect.never))))
      yield* TestClock.adjust(GUARD_LIMIT_MS + GUARD_STOP_MS - 1)
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* Fiber.join(fiber), kept("no answer within 5m", true))
    }),
  )

  it.effect("that can't be interrupted holds up the end of its pass no longer than that", () =>
    Effect.gen(function* () {
      const begun = yield* Deferred.make<void>()
      const stuck = Effect.uninterruptible(Effect.andThen(Deferred.succeed(begun, undefined), Effect.never))
      const fiber = yield* Effect.forkChild(ask(guard("s3", stuck)))
      yield* Deferred.await(begun)
      const ending = yield* Effect.forkChild(Fiber.interrupt(fiber))
      yield* TestClock.adjust(GUARD_STOP_MS)
      yield* Fiber.join(ending)
      const exit = yield* Fiber.await(fiber)
      assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
    }),
  )

  it.effect("is asked in a span of its own that links to the rotation, which may lie before a restart", () =>
    Effect.gen(function* () {
      const spans: Array<Tracer.Span> = []
      const tracer = Tracer.make({
        span: (options) => {
          const span = new Tracer.NativeSpan(options)
          spans.push(span)
          return span
        },
      })
      const rotated = { eventId: "e1", traceId: "4bf92f3577b34da6a3ce929d0e0e4736", spanId: "00f067aa0ba902b7" }
      const within: Array<string | undefined> = []
      const noting = Effect.map(Effect.currentSpan, ({ name }) => (within.push(name), allow))
      yield* askAbout({ history: { rotated, told: [] } }, guard("s3", Effect.orDie(noting))).pipe(
        Effect.withTracer(tracer),
      )
      assert.deepStrictEqual(within, ["plugin.beforeRemove"])
      assert.deepStrictEqual(
        spans.map(({ attributes, links, name, status }) => ({
          name,
          attributes: Object.fromEntries(attributes),
          links: links.map(({ attributes, span: { spanId, traceId } }) => ({ attributes, spanId, traceId })),
          status: status._tag,
        })),
        [
          {
            name: "plugin.beforeRemove",
            attributes: { "cordwood.plugin": "s3", "cordwood.occasion": "removal", "log.file.path": path },
            links: [
              {
                attributes: { "cordwood.event.id": "e1", "cordwood.link": "rotated" },
                spanId: rotated.spanId,
                traceId: rotated.traceId,
              },
            ],
            status: "Ended",
          },
        ],
      )
    }),
  )

  it.effect("is told of the rotation and of what it recorded last itself, not of what others did", () =>
    Effect.gen(function* () {
      const rotated = { eventId: "e1", traceId: null, spanId: null }
      const told: Array<PluginFact> = [
        { type: "s3.Begun", data: { path } },
        { type: "s3x.Shipped", data: { path } },
        { type: "s3.Shipped", data: { path, key: "a" } },
        { type: "scan.Clean", data: { path } },
      ]
      const seen: Array<readonly [string, Doomed["rotated"], Doomed["told"]]> = []
      const noting = (plugin: string): Contributed =>
        of(plugin, {
          beforeRemove: ({ rotated, told }) => Effect.sync(() => (seen.push([plugin, rotated, told]), allow)),
        })
      yield* askAbout({ history: { rotated, told } }, noting("s3"), noting("s"), noting("scan"))
      assert.deepStrictEqual(seen, [
        ["s3", rotated, told[2]!],
        ["s", rotated, null],
        ["scan", rotated, told[3]!],
      ])
    }),
  )
})

describe("what a guard reads", () => {
  const collect = async (chunks: AsyncIterable<Uint8Array>): Promise<string> => {
    let text = ""
    for await (const chunk of chunks) text += new TextDecoder().decode(chunk)
    return text
  }

  it.effect("is the segment as it lies on disk, and as it was written, each time from its beginning", () =>
    Effect.gen(function* () {
      const found: Array<string> = []
      yield* ask(
        of("s3", {
          beforeRemove: ({ raw, stored }) =>
            Effect.promise(async () => {
              for (const read of [stored, raw, stored]) found.push(await collect(read()))
              return allow
            }),
        }),
      )
      assert.deepStrictEqual(found, ["stored", "raw", "stored"])
    }),
  )

  it.effect("fails as the file system says", () =>
    Effect.gen(function* () {
      const changed = new Error("it grows")
      const failing = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
        yield Uint8Array.of(1)
        throw changed
      }
      let thrown: unknown
      const ruling = yield* askAbout(
        { stored: failing },
        of("s3", {
          beforeRemove: ({ stored }) =>
            Effect.promise(async () => {
              await collect(stored()).catch((error: unknown) => {
                thrown = error
                throw error
              })
              return allow
            }),
        }),
      )
      assert.strictEqual(thrown, changed)
      assert.deepStrictEqual(ruling, kept("it grows"))
    }),
  )

  it.effect("is closed once it has answered, whatever it leaves open, and can't be read any more", () =>
    Effect.gen(function* () {
      const closed = yield* Deferred.make<string>()
      const endless = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
        try {
          for (;;) yield Uint8Array.of(1)
        } finally {
          Deferred.doneUnsafe(closed, Effect.succeed("closed"))
        }
      }
      let leaked: Doomed | undefined
      const leaking = of("s3", {
        beforeRemove: (doomed) =>
          Effect.promise(async () => {
            leaked = doomed
            await doomed.stored()[Symbol.asyncIterator]().next()
            return allow
          }),
      })
      assert.deepStrictEqual(yield* askAbout({ stored: endless }, leaking), { _tag: "Allow" })
      assert.strictEqual(yield* Deferred.await(closed), "closed")
      const late = yield* Effect.flip(Effect.tryPromise({ try: () => collect(leaked!.raw()), catch: String }))
      assert.strictEqual(late, `Error: ${path} is read after the answer`)
      const error = yield* Effect.flip(leaked!.record({ type: "s3.Shipped", data: {} }))
      assert.strictEqual(error.message, "plugin s3, events: s3.Shipped comes after the answer")
    }),
  )

  it.effect("is closed when it fails, and when it is too slow", () =>
    Effect.gen(function* () {
      for (const end of [Effect.die("a bug"), Effect.never]) {
        const closed = yield* Deferred.make<void>()
        const begun = yield* Deferred.make<void>()
        const endless = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
          try {
            for (;;) yield Uint8Array.of(1)
          } finally {
            Deferred.doneUnsafe(closed, Effect.void)
          }
        }
        const leaking = of("s3", {
          beforeRemove: ({ stored }) =>
            Effect.promise(() => stored()[Symbol.asyncIterator]().next()).pipe(
              Effect.andThen(Deferred.succeed(begun, undefined)),
              Effect.andThen(end),
            ),
        })
        const fiber = yield* Effect.forkChild(askAbout({ stored: endless }, leaking))
        yield* Deferred.await(begun)
        yield* TestClock.adjust(GUARD_LIMIT_MS)
        assert.strictEqual((yield* Fiber.join(fiber))._tag, "Defer")
        yield* Deferred.await(closed)
      }
    }),
  )
})

describe("what a guard records", () => {
  const Shipped = z.strictObject({ path: z.string(), key: z.string(), tries: z.int().default(1) })
  const schemas = {
    "s3.Shipped": Shipped,
    "s3.Bad": z.unknown(),
    "s3.At": z.date(),
    "s3.Count": z.bigint(),
    "s3.Length": z.string().transform((text) => text.length),
    "s3.Slow": z.string().refine(async () => true),
  }
  /** What comes of recording a fact, and what the journal would get. */
  const recording = (fact: PluginFact, record?: Question["record"]) =>
    Effect.gen(function* () {
      const stored: Array<PluginFact> = []
      let failed: PluginError | undefined
      yield* askAbout(
        { record: record ?? ((fact) => Effect.sync(() => void stored.push(fact))) },
        of("s3", {
          events: schemas,
          beforeRemove: ({ record }) =>
            record(fact).pipe(
              Effect.catch((error) => Effect.sync(() => void (failed = error))),
              Effect.as(allow),
            ),
        }),
      )
      return { stored, failed: failed === undefined ? null : { slot: failed.slot, detail: failed.detail } }
    })

  it.effect("is what its schema makes of it", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* recording({ type: "s3.Shipped", data: { path, key: "a/b" } }), {
        stored: [{ type: "s3.Shipped", data: { path, key: "a/b", tries: 1 } }],
        failed: null,
      })
    }),
  )

  const cyclic: Record<string, unknown> = {}
  cyclic["self"] = cyclic
  it.effect.each([
    ["s3.Unknown", { path }, '"s3.Unknown" is none of its events'],
    ["s4.Shipped", { path, key: "k" }, '"s4.Shipped" is none of its events'],
    ["Removed", { path }, '"Removed" is none of its events'],
    ["toString", { path }, '"toString" is none of its events'],
    ["__proto__", { path }, '"__proto__" is none of its events'],
    [
      "s3.Shipped",
      { path, kee: 1 },
      's3.Shipped ✖ Unrecognized key: "kee"\n✖ Invalid input: expected string, received undefined\n  → at key',
    ],
    ["s3.Shipped", null, "s3.Shipped ✖ Invalid input: expected object, received null"],
    [
      "s3.Shipped",
      { path: "/logs/0.log.20260909-043311", key: "k" },
      `s3.Shipped is about "/logs/0.log.20260909-043311", and the question about "${path}"`,
    ],
    [
      "s3.Shipped",
      { path, key: "k".repeat(MAX_FACT) },
      `s3.Shipped has ${MAX_FACT + 57} characters of data; at most ${MAX_FACT} are kept`,
    ],
    ["s3.Bad", undefined, "s3.Bad has data that JSON has no form for"],
    ["s3.Bad", () => 1, "s3.Bad has data that JSON has no form for"],
    ["s3.Count", 7n, "s3.Count can't be told as JSON: Do not know how to serialize a BigInt"],
    ["s3.At", new Date(0), "s3.At can't be read back from JSON: ✖ Invalid input: expected date, received string"],
    ["s3.Length", "seven", "s3.Length can't be read back from JSON: ✖ Invalid input: expected string, received number"],
  ] as const)("is refused where it should be, with a message that says what is wrong: %s, %#", ([type, data, detail]) =>
    Effect.gen(function* () {
      const found = yield* recording({ type: type as PluginFact["type"], data })
      assert.deepStrictEqual(found, { stored: [], failed: { slot: "events", detail } })
    }),
  )

  it.effect("is refused where it, or its schema, throws", () =>
    Effect.gen(function* () {
      for (const [type, data] of [
        ["s3.Bad", cyclic],
        ["s3.Slow", "x"],
      ] as const) {
        const { failed, stored } = yield* recording({ type, data })
        assert.deepStrictEqual({ stored, slot: failed?.slot }, { stored: [], slot: "events" })
        assert.include(failed?.detail, `${type} can't be told as JSON: `)
      }
    }),
  )

  it.effect("may name no file at all", () =>
    Effect.gen(function* () {
      const { failed, stored } = yield* recording({ type: "s3.Bad", data: { path: 7 } })
      assert.deepStrictEqual({ failed, stored }, { failed: null, stored: [{ type: "s3.Bad", data: { path: 7 } }] })
    }),
  )

  it.effect("is a copy, so that it can't change once it is stored", () =>
    Effect.gen(function* () {
      const data = { path, list: [1] }
      const { stored } = yield* recording({ type: "s3.Bad", data })
      data.list.push(2)
      assert.deepStrictEqual(stored, [{ type: "s3.Bad", data: { path, list: [1] } }])
    }),
  )

  it.effect("keeps the file when it can't be recorded and the guard leaves it at that", () =>
    Effect.gen(function* () {
      const careless = of("s3", {
        beforeRemove: ({ record }) => Effect.as(record({ type: "s3.Shipped", data: {} }), allow),
      })
      assert.deepStrictEqual(yield* ask(careless), kept('plugin s3, events: "s3.Shipped" is none of its events'))
    }),
  )
})

describe("contributions that no compiler has seen", () => {
  it.effect.each([
    [
      { beforeremove: () => allow },
      "setup",
      'there is no slot "beforeremove"; write one of codecs, beforeRemove, guard, observe, events, tracer',
    ],
    [
      { toString: (): string => "" },
      "setup",
      'there is no slot "toString"; write one of codecs, beforeRemove, guard, observe, events, tracer',
    ],
    [
      { codec: [], observer: 1, guard: { erly: true } },
      "beforeRemove",
      '✖ there are no slots "codec", "observer"; write one of codecs, beforeRemove, guard, observe, events, tracer\n✖ there is no setting "erly"; write one of early, limitMs\n  → at guard',
    ],
    [{ beforeRemove: true }, "beforeRemove", "✖ must be a function\n  → at beforeRemove"],
    [{ beforeRemove: null }, "beforeRemove", "✖ must be a function\n  → at beforeRemove"],
    [{ guard: 300 }, "beforeRemove", "✖ Invalid input: expected object, received number\n  → at guard"],
    [{ observe: "all" }, "observe", "✖ must be a function\n  → at observe"],
    [{ codecs: {} }, "codecs", "✖ Invalid input: expected array, received object\n  → at codecs"],
    [{ codecs: [null] }, "codecs", "✖ Invalid input: expected object, received null\n  → at codecs[0]"],
    [
      { codecs: [{ id: "x", suffix: ".x" }] },
      "codecs",
      "✖ must be a function\n  → at codecs[0].encode\n✖ must be a function\n  → at codecs[0].decode",
    ],
    [
      { codecs: [{ suffix: ".x", encode: identity, decode: identity }] },
      "codecs",
      "✖ Invalid input: expected string, received undefined\n  → at codecs[0].id",
    ],
    [{ events: { "s3.Shipped": {} } }, "events", '✖ must be a zod schema\n  → at events["s3.Shipped"]'],
    [{ events: [] }, "events", "✖ Invalid input: expected record, received array\n  → at events"],
    [
      { events: { "s3.": z.unknown() } },
      "events",
      "the type s3. isn't <plugin>.<Name>: lower-case letters, digits and dashes, a dot, then letters and digits",
    ],
    [
      { events: { "s3.a.b": z.unknown() } },
      "events",
      "the type s3.a.b isn't <plugin>.<Name>: lower-case letters, digits and dashes, a dot, then letters and digits",
    ],
    [{ tracer: {} }, "tracer", "✖ must be a tracer of effect's: it has no function span\n  → at tracer"],
    [{ codecs: undefined, beforeRemove: undefined }, null, ""],
  ] as const)("are refused if they are wrong: %j", ([contributions, slot, detail]) =>
    Effect.gen(function* () {
      const failed = yield* Effect.option(refusal(of("s3", contributions as unknown as Contributions)))
      assert.deepStrictEqual(Option.getOrNull(failed), slot === null ? null : { plugin: "s3", slot, detail })
    }),
  )

  it.effect("are refused if a plugin of that name brought some already", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* refusal(of("s3", {}), of("s3", {})), {
        plugin: "s3",
        slot: "setup",
        detail: "there is another plugin of this name",
      })
    }),
  )
})
