// How several plugins become one, and how little any of them can break.
import { Cause, Deferred, Effect, Exit, Fiber, Tracer } from "effect"
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
  GUARD_LIMIT_MS,
  GUARD_RETRY_MS,
  PluginError,
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

const doomed: Doomed = {
  log: { path: "/logs/0.log" },
  segment: givenSnapshot({ files: { "0.log.20260909-043310": 12 } }).segments[0]!,
  correlationId: "pass",
}
const allow: Verdict = { _tag: "Allow" }
const guard = (plugin: string, answer: Effect.Effect<unknown, PluginError>): Contributed =>
  of(plugin, { beforeRemove: () => answer as Effect.Effect<Verdict, PluginError> })
const ask = (...all: ReadonlyArray<Contributed>) => Effect.flatMap(compose(all), ({ mayRemove }) => mayRemove(doomed))

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
      const expected: Omit<Composed, "mayRemove"> = {
        codecs: [gz, zst],
        guarded: false,
        observers: [
          { plugin: "s3", observe: first },
          { plugin: "otel", observe: second },
        ],
        events: { "s3.Shipped": shipped, "s3.Failed": failed },
        tracer,
      }
      const { mayRemove, ...rest } = composed
      assert.deepStrictEqual(rest, expected)
      assert.deepStrictEqual(yield* mayRemove(doomed), { _tag: "Allow" })
    }),
  )

  it.effect("may be none", () =>
    Effect.gen(function* () {
      const { mayRemove, ...rest } = yield* compose([])
      assert.deepStrictEqual(rest, { codecs: [], guarded: false, observers: [], events: {}, tracer: null })
      assert.deepStrictEqual(yield* mayRemove(doomed), { _tag: "Allow" })
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
      const { guarded, mayRemove } = yield* compose([
        noting("a", allow),
        of("no guard", {}),
        noting("b", { _tag: "Defer", why: "busy", retryAfterMs: 1_500.4 }),
        noting("c", { _tag: "Defer", why: "never asked", retryAfterMs: 1 }),
      ])
      const ruling = yield* mayRemove(doomed)
      assert.deepStrictEqual(ruling, { _tag: "Defer", by: "b", why: "busy", retryAfterMs: 1_500 })
      assert.deepStrictEqual(asked, [
        ["a", doomed],
        ["b", doomed],
      ])
      assert.isTrue(guarded)
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
      assert.deepStrictEqual(ruling, { _tag: "Defer", by: "s3", why, retryAfterMs: GUARD_RETRY_MS })
    }),
  )

  it.effect.each([
    [{ _tag: "Defer" }, "undefined", GUARD_RETRY_MS],
    [{ _tag: "Defer", why: 7, retryAfterMs: "soon" }, "7", GUARD_RETRY_MS],
    [{ _tag: "Defer", why: "x", retryAfterMs: -1 }, "x", GUARD_RETRY_MS],
    [{ _tag: "Defer", why: "x", retryAfterMs: Number.NaN }, "x", GUARD_RETRY_MS],
    [{ _tag: "Defer", why: "x", retryAfterMs: Infinity }, "x", GUARD_RETRY_MS],
    [{ _tag: "Defer", why: "x", retryAfterMs: 0 }, "x", 0],
  ] as const)("keep the file when one defers with rubbish in it: %j", ([answer, why, retryAfterMs]) =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* ask(guard("s3", Effect.succeed(answer))), {
        _tag: "Defer",
        by: "s3",
        why,
        retryAfterMs,
      })
    }),
  )

  it.effect("keep the file when the answer itself throws as it is read", () =>
    Effect.gen(function* () {
      const trap = new Proxy({ _tag: "Defer" }, { get: () => assert.fail("do not touch") })
      const ruling = yield* ask(guard("s3", Effect.succeed(trap)))
      assert.deepStrictEqual(ruling, { _tag: "Defer", by: "s3", why: "do not touch", retryAfterMs: GUARD_RETRY_MS })
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
      assert.deepStrictEqual(yield* Fiber.join(fiber), {
        _tag: "Defer",
        by: "s3",
        why: "no answer within 5 minutes",
        retryAfterMs: GUARD_RETRY_MS,
      })
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
