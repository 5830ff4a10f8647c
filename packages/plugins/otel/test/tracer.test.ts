// Effect's tracer on the API: what every tracer must do, and what becomes of it in the user's own SDK.
import { tracerSuite } from "@cordwood/core/testing"
import { context, trace, type Tracer as OtelTracer } from "@opentelemetry/api"
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base"
import { AsyncLocalStorage } from "node:async_hooks"
import { Cause, Context, Data, Effect, Exit, Fiber, Tracer } from "effect"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { makeTracer, type TracerOptions } from "../src/tracer.ts"
import { traced, withOtel } from "./set-up.ts"

const ROLLOUT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

const sdk = () => {
  const exporter = new InMemorySpanExporter()
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
  return { exporter, provider }
}
const PLAIN = { rootLinks: [], rootAttributes: {}, ended: null, activates: false }
const bridge = (over: Partial<TracerOptions>) => {
  const { exporter, provider } = sdk()
  const troubles: Array<unknown> = []
  const own = provider.getTracer("test")
  const tracer = makeTracer({
    api: () => own,
    ...PLAIN,
    trouble: (error) => troubles.push(error),
    ...over,
  })
  const run = <A, E>(effect: Effect.Effect<A, E>) => Effect.runPromiseExit(Effect.withTracer(effect, tracer))
  return { exporter, tracer, troubles, run, spans: (): ReadonlyArray<ReadableSpan> => exporter.getFinishedSpans() }
}
const named = (spans: ReadonlyArray<ReadableSpan>, name: string): ReadableSpan =>
  spans.find((span) => span.name === name)!

beforeEach(() => {
  for (const name of Object.keys(process.env))
    if (name.startsWith("OTEL_") || name.startsWith("TRACE")) vi.stubEnv(name, undefined)
})
afterEach(() => {
  vi.unstubAllEnvs()
  trace.disable()
  context.disable()
})

describe("as any tracer, with an SDK that records, it", () => {
  const { tracer, troubles } = bridge({})
  for (const { name, run } of tracerSuite(tracer)) it(name, run)
  it("has the SDK throw at none of it", () => expect(troubles).toEqual([]))
})
describe("as any tracer, with no SDK, it", () => {
  for (const { name, run } of tracerSuite(bridge({ api: () => null }).tracer)) it(name, run)
})
describe("as any tracer, with spans as the API's active ones, it", () => {
  for (const { name, run } of tracerSuite(bridge({ activates: true }).tracer)) it(name, run)
})

const RUBBISH: ReadonlyArray<readonly [string, unknown]> = [
  ["nothing", undefined],
  ["null", null],
  ["a number", 7],
  ["a promise", Promise.resolve()],
  ["an object without a context", {}],
  ["a context that is null", { spanContext: () => null }],
  ["ids that are none", { spanContext: () => ({ traceId: 1, spanId: "x" }) }],
  [
    "a context that throws",
    {
      spanContext: () => {
        throw new Error("spanContext")
      },
    },
  ],
  [
    "a span that can do nothing",
    { spanContext: () => ({ traceId: "a".repeat(32), spanId: "b".repeat(16), traceFlags: 1 }) },
  ],
  ["a span whose every method throws", throwing()],
  ["a span that throws once it is used", { ...throwing(), isRecording: () => true }],
]
function throwing() {
  const no = (): never => {
    throw new Error("no")
  }
  const spanContext = () => ({ traceId: "a".repeat(32), spanId: "b".repeat(16), traceFlags: 1 })
  return {
    spanContext,
    isRecording: no,
    setAttribute: no,
    addEvent: no,
    addLinks: no,
    setStatus: no,
    recordException: no,
    end: no,
  }
}

describe.each(RUBBISH)("with an SDK that hands out %s, it", (_what, rubbish) => {
  const troubles: Array<unknown> = []
  const api = { startSpan: () => rubbish } as unknown as OtelTracer
  const options: TracerOptions = {
    api: () => api,
    ...PLAIN,
    trouble: (error) => troubles.push(error),
  }
  // Two spans of such an SDK may well have the same ids; all else still holds.
  const cases = tracerSuite(makeTracer(options)).filter(({ name }) => !/root a trace|child into|elsewhere/.test(name))
  for (const { name, run } of cases) it(name, run)
  it("says so", () => expect(troubles.length).toBeGreaterThan(0))
})
describe("with an API that throws, it", () => {
  const broken = (): never => {
    throw new Error("the API")
  }
  const options: TracerOptions = { ...PLAIN, api: broken, activates: true, trouble: () => {} }
  for (const { name, run } of tracerSuite(makeTracer(options))) it(name, run)
})

class Full extends Data.TaggedError("LogFilesError")<{ readonly reason: string }> {
  override get message(): string {
    return "the disk is full"
  }
}

describe("a span", () => {
  it("has its name, kind, attributes, events, links, times and parent", async () => {
    const { run, spans, troubles } = bridge({})
    await run(
      Effect.gen(function* () {
        yield* Effect.annotateCurrentSpan({ late: 2, nothing: undefined })
        const span = yield* Effect.currentSpan
        span.event("halfway", 1_700_000_000_123_456_789n, { bytes: 7 })
        yield* Effect.withSpan(Effect.void, "inner", { kind: "client" })
      }).pipe(
        Effect.withSpan("outer", {
          attributes: {
            text: "a",
            list: ["rotate", "compress"],
            mixed: [1, "b"],
            flag: true,
            big: 2n ** 60n,
            object: { a: 1 },
          },
          links: [
            {
              span: Tracer.externalSpan({
                traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
                spanId: "00f067aa0ba902b7",
                sampled: true,
                annotations: Context.empty(),
              }),
              attributes: { "cordwood.link": "rotated" },
            },
          ],
        }),
      ),
    )
    const outer = named(spans(), "outer")
    const inner = named(spans(), "inner")
    expect({
      attributes: outer.attributes,
      events: outer.events.map(({ attributes, name, time }) => ({ name, time, attributes })),
      links: outer.links,
      parent: outer.parentSpanContext,
      status: outer.status,
      kinds: [outer.kind, inner.kind],
    }).toEqual({
      attributes: {
        text: "a",
        list: ["rotate", "compress"],
        mixed: ["1", "b"],
        flag: true,
        big: "1152921504606846976",
        object: '{"a":1}',
        late: 2,
      },
      events: [{ name: "halfway", time: [1_700_000_000, 123_456_789], attributes: { bytes: 7 } }],
      links: [
        {
          context: {
            traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
            spanId: "00f067aa0ba902b7",
            traceFlags: 1,
            isRemote: true,
          },
          attributes: { "cordwood.link": "rotated" },
        },
      ],
      parent: undefined,
      status: { code: 0 },
      kinds: [0, 2],
    })
    expect(inner.parentSpanContext).toEqual(outer.spanContext())
    expect(inner.spanContext().traceId).toBe(outer.spanContext().traceId)
    const nanoseconds = ([seconds, rest]: readonly [number, number]) => BigInt(seconds) * 1_000_000_000n + BigInt(rest)
    const [began, ended] = [nanoseconds(outer.startTime), nanoseconds(outer.endTime)]
    expect(began <= nanoseconds(inner.startTime) && nanoseconds(inner.endTime) <= ended).toBe(true)
    expect(Math.abs(Number(ended / 1_000_000n) - Date.now())).toBeLessThan(60_000)
    expect(troubles).toEqual([])
  })

  it.each([
    [
      "a failure",
      Effect.fail(new Full({ reason: "NoSpace" })),
      { code: 2, message: "the disk is full" },
      { "error.type": "NoSpace" },
      ["LogFilesError"],
    ],
    [
      "a tagged failure",
      Effect.fail({ _tag: "Odd" }),
      { code: 2, message: '{"_tag":"Odd"}' },
      { "error.type": "Odd" },
      ["Error"],
    ],
    [
      "a defect",
      Effect.die(new TypeError("x is no function")),
      { code: 2, message: "x is no function" },
      { "error.type": "TypeError" },
      ["TypeError"],
    ],
    ["an interruption", Effect.interrupt, { code: 0 }, { "cordwood.interrupted": true }, []],
    ["a success", Effect.void, { code: 0 }, {}, []],
    [
      "a success with an error on record",
      Effect.annotateCurrentSpan({ "error.type": "NoName", "error.message": "all names are taken" }),
      { code: 2, message: "all names are taken" },
      { "error.type": "NoName", "error.message": "all names are taken" },
      [],
    ],
  ] as ReadonlyArray<readonly [string, Effect.Effect<void, unknown>, object, object, ReadonlyArray<string>]>)(
    "tells %s from another outcome",
    async (_what, effect, status, attributes, exceptions) => {
      const { run, spans } = bridge({})
      await run(Effect.withSpan(effect, "step"))
      const step = named(spans(), "step")
      expect({
        status: step.status,
        attributes: step.attributes,
        exceptions: step.events.map(({ attributes }) => attributes?.["exception.type"]),
      }).toEqual({ status, attributes, exceptions })
    },
  )

  it("tells every error of a cause, up to four", async () => {
    const { run, spans } = bridge({})
    const six = Array.from({ length: 6 }, (_, at) => Cause.fail(new Error(`error ${at}`)))
    await run(
      Effect.withSpan(
        Effect.failCause(six.reduce<Cause.Cause<Error>>((all, one) => Cause.combine(all, one), Cause.empty)),
        "step",
      ),
    )
    expect(named(spans(), "step").events.map(({ attributes }) => attributes?.["exception.message"])).toEqual([
      "error 0",
      "error 1",
      "error 2",
      "error 3",
    ])
  })

  it("may have children after its end, from other fibers, in its trace", async () => {
    const { run, spans } = bridge({})
    await run(
      Effect.gen(function* () {
        const pass = yield* Effect.makeSpan("pass")
        pass.end(2_000_000_000n, Exit.void)
        const late = Effect.withParentSpan(Effect.withSpan(Effect.yieldNow, "compress"), pass)
        yield* Fiber.join(yield* Effect.forkDetach(late))
      }),
    )
    expect(named(spans(), "compress").parentSpanContext).toEqual(named(spans(), "pass").spanContext())
  })

  it("below a span from elsewhere is its child", async () => {
    const { run, spans } = bridge({})
    const parent = Tracer.externalSpan({
      traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
      spanId: "00f067aa0ba902b7",
      sampled: true,
      annotations: Context.empty(),
    })
    await run(Effect.withSpan(Effect.void, "below", { parent }))
    expect(named(spans(), "below").parentSpanContext).toEqual({
      traceId: parent.traceId,
      spanId: parent.spanId,
      traceFlags: 1,
      isRemote: true,
    })
  })

  it("that effect's levels leave out isn't asked for, and its children are in no trace", async () => {
    const { run, spans } = bridge({})
    await run(Effect.withSpan(Effect.withSpan(Effect.void, "inner"), "outer", { sampled: false }))
    expect(spans()).toEqual([])
  })
})

describe("TRACEPARENT", () => {
  const spansOf = async (): Promise<{ readonly spans: ReadonlyArray<ReadableSpan>; readonly said: unknown }> => {
    const { exporter, provider } = sdk()
    trace.setGlobalTracerProvider(provider)
    const { said } = await withOtel({}, (contributions) =>
      traced(contributions, Effect.withSpan(Effect.withSpan(Effect.void, "step"), "pass")),
    )
    return { spans: exporter.getFinishedSpans(), said }
  }

  it("is linked from every span without a parent, with its state, and from no other", async () => {
    vi.stubEnv("TRACEPARENT", ROLLOUT)
    vi.stubEnv("TRACESTATE", "ci=1,b=2")
    const { said, spans } = await spansOf()
    expect(
      spans.map(({ links, name }) => [
        name,
        links.map(({ attributes, context: ids }) => ({ ...ids, traceState: ids.traceState?.serialize(), attributes })),
      ]),
    ).toEqual([
      ["step", []],
      [
        "pass",
        [
          {
            traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
            spanId: "00f067aa0ba902b7",
            traceFlags: 1,
            isRemote: true,
            traceState: "ci=1,b=2",
            attributes: { "cordwood.link": "rollout" },
          },
        ],
      ],
    ])
    expect(said).toEqual([])
  })

  it.each([
    ["rubbish"],
    ["00-00000000000000000000000000000000-00f067aa0ba902b7-01"],
    ["00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"],
    ["ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
    ["00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"],
    ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"],
  ])("that is %s is ignored, with one warning", async (traceparent) => {
    vi.stubEnv("TRACEPARENT", traceparent)
    const { said, spans } = await spansOf()
    expect(spans.flatMap(({ links }) => links)).toEqual([])
    expect(said).toEqual([
      {
        level: "Warn",
        message: "TRACEPARENT is no W3C trace context, and is ignored",
        hint: "write version-traceid-spanid-flags, such as 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
      },
    ])
  })

  it("of a later version is read as far as it is known", async () => {
    vi.stubEnv("TRACEPARENT", "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-more")
    const { spans } = await spansOf()
    expect(named(spans, "pass").links.map(({ context: ids }) => ids)).toEqual([
      { traceId: "4bf92f3577b34da6a3ce929d0e0e4736", spanId: "00f067aa0ba902b7", traceFlags: 0, isRemote: true },
    ])
  })
})

describe("the process's own SDK", () => {
  it("is told on every root which agent it was, as its resource is the program's", async () => {
    const { exporter, provider } = sdk()
    trace.setGlobalTracerProvider(provider)
    await withOtel({}, (contributions) =>
      traced(contributions, Effect.withSpan(Effect.withSpan(Effect.void, "step"), "pass", { attributes: { a: 1 } })),
    )
    expect(exporter.getFinishedSpans().map(({ attributes, name }) => [name, attributes])).toEqual([
      ["step", {}],
      ["pass", { "cordwood.version": "1.2.3", "cordwood.config.hash": "0123456789abcdef", a: 1 }],
    ])
  })

  it("gets the spans, also where it is registered after the plugin", async () => {
    const { exporter, provider } = sdk()
    await withOtel({}, async (contributions) => {
      await traced(contributions, Effect.withSpan(Effect.void, "before"))
      trace.setGlobalTracerProvider(provider)
      await traced(contributions, Effect.withSpan(Effect.void, "after"))
    })
    expect(exporter.getFinishedSpans().map(({ instrumentationScope, name }) => [name, instrumentationScope])).toEqual([
      ["after", { name: "@cordwood/plugin-otel", version: "1.2.3", schemaUrl: undefined }],
    ])
  })

  it("goes before the OTEL_* variables, which it reads itself", async () => {
    vi.stubEnv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    const { exporter, provider } = sdk()
    trace.setGlobalTracerProvider(provider)
    await withOtel({}, (contributions) => traced(contributions, Effect.withSpan(Effect.void, "pass")))
    expect(exporter.getFinishedSpans().map(({ name }) => name)).toEqual(["pass"])
  })

  it("finds the agent's spans active where it has a context manager, so that instrumentations put theirs below", async () => {
    const { exporter, provider } = sdk()
    trace.setGlobalTracerProvider(provider)
    const storage = new AsyncLocalStorage<typeof root>()
    const root = context.active()
    context.setGlobalContextManager({
      active: () => storage.getStore() ?? root,
      with: (given, run, self, ...args) => storage.run(given, () => run.call(self as never, ...args)),
      bind: (_given, target) => target,
      enable() {
        return this
      },
      disable() {
        return this
      },
    })
    const instrumented = trace.getTracer("http")
    await withOtel({}, (contributions) =>
      traced(
        contributions,
        Effect.withSpan(
          Effect.promise(async () => {
            await Promise.resolve()
            instrumented.startSpan("PUT").end()
          }),
          "beforeRemove",
        ),
      ),
    )
    const spans = exporter.getFinishedSpans()
    expect(named(spans, "PUT").parentSpanContext).toEqual(named(spans, "beforeRemove").spanContext())
  })

  it("whose context manager throws, or calls nothing, or calls twice, changes nothing of what a program gives", async () => {
    for (const manage of [
      () => {
        throw new Error("manager")
      },
      () => undefined,
      (run: () => unknown) => {
        run()
        throw new Error("after")
      },
    ]) {
      context.disable()
      let root = context.active()
      let broken = false
      context.setGlobalContextManager({
        active: () => root,
        with: (given, run, self, ...args) => {
          // Sound while the plugin looks whether there is one.
          if (broken) return manage(() => run.call(self as never, ...args)) as never
          const before = root
          root = given
          try {
            return run.call(self as never, ...args)
          } finally {
            root = before
          }
        },
        bind: (_given, target) => target,
        enable() {
          return this
        },
        disable() {
          return this
        },
      })
      trace.setGlobalTracerProvider(sdk().provider)
      await withOtel({}, async (contributions) => {
        broken = true
        let runs = 0
        const counted = Effect.sync(() => (runs += 1))
        expect(await traced(contributions, Effect.withSpan(counted, "once"))).toEqual(Exit.succeed(1))
        const failed = await traced(contributions, Effect.withSpan(Effect.fail("no"), "fails"))
        expect(
          Exit.isFailure(failed) && failed.cause.reasons.map((reason) => reason._tag === "Fail" && reason.error),
        ).toEqual(["no"])
      })
      trace.disable()
    }
  })

  it("that throws is told of once, and rotation never hears of it", async () => {
    trace.setGlobalTracerProvider({
      getTracer: () => ({
        startSpan: () => {
          throw new Error("exporter of somebody's own")
        },
        startActiveSpan: () => {
          throw new Error("unused")
        },
      }),
    })
    const { result, said } = await withOtel({}, (contributions) =>
      traced(
        contributions,
        Effect.forEach([1, 2, 3], (n) => Effect.withSpan(Effect.succeed(n), "pass")),
      ),
    )
    expect(result).toEqual(Exit.succeed([1, 2, 3]))
    expect(said).toEqual([
      {
        level: "Warn",
        message:
          "OpenTelemetry failed within this process: exporter of somebody's own; rotation goes on, telemetry is incomplete",
        hint: "see the SDK that the process has registered, its processors and exporters; this is said once",
      },
    ])
  })
})
