// A plugin's tracer may do anything: nothing fails for being traced.
import { Cause, Context, Effect, Exit, Option, Tracer } from "effect"
import { describe, expect, it } from "vitest"
import { tracerSuite } from "@cordwood/core/testing"
import { guardedTracer } from "../../src/plugin/guarded-tracer.ts"

const composed = (tracer: Tracer.Tracer): Tracer.Tracer => guardedTracer(tracer, () => undefined)
const fails = (): never => {
  throw new Error("the tracer is broken")
}
const spanWith = (over: Partial<Tracer.Span>): Tracer.Tracer =>
  Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      // Its ids are getters, which can't be assigned.
      for (const [name, value] of Object.entries(over)) Object.defineProperty(span, name, { value, writable: true })
      return span
    },
  })

/** Makes spans, annotates them, adds events and links, and ends them: with a value, a failure and a defect. */
const traced = async (tracer: Tracer.Tracer) => {
  const link = { span: new Tracer.NativeSpan({ ...OPTIONS, name: "linked" }), attributes: {} }
  const busy = Effect.gen(function* () {
    yield* Effect.annotateCurrentSpan("a", 1)
    const span = yield* Effect.currentSpan
    span.addLinks([link])
    span.event("happened", 1n)
    return { ids: [span.traceId, span.spanId], value: yield* Effect.withSpan(Effect.succeed(7), "inner") }
  })
  const run = <A, E>(effect: Effect.Effect<A, E>) =>
    Effect.runPromiseExit(Effect.withTracer(Effect.withSpan(effect, "outer"), tracer))
  const [value, failure, defect] = [await run(busy), await run(Effect.fail("no")), await run(Effect.die("bug"))]
  return {
    value: Exit.isSuccess(value) ? value.value.value : String(value),
    ids: Exit.isSuccess(value) ? value.value.ids : [],
    failure: Exit.isFailure(failure) ? Cause.squash(failure.cause) : null,
    defect: Exit.isFailure(defect) ? Cause.squash(defect.cause) : null,
  }
}
const OPTIONS: Parameters<Tracer.Tracer["span"]>[0] = {
  name: "",
  parent: Option.none(),
  annotations: Context.empty(),
  links: [],
  startTime: 0n,
  kind: "internal",
  root: true,
  sampled: true,
}

describe("a tracer that is as it must be", () => {
  for (const { name, run } of tracerSuite(composed(spanWith({})))) it(name, run)

  it("is called with what it would be called with, and its spans stay its own", () => {
    class Own extends Tracer.NativeSpan {}
    const tracer = composed(Tracer.make({ span: (options) => new Own(options) }))
    const span = tracer.span({ ...OPTIONS, name: "one" })
    span.attribute("a", 1)
    span.end(5n, Exit.void)
    expect(span).toBeInstanceOf(Own)
    expect({ name: span.name, attributes: [...span.attributes], status: span.status._tag }).toEqual({
      name: "one",
      attributes: [["a", 1]],
      status: "Ended",
    })
  })

  it("evaluates in its context, if it has one", async () => {
    let seen = 0
    const tracer: Tracer.Tracer = {
      span: (options) => new Tracer.NativeSpan(options),
      context: (primitive, fiber) => {
        seen += 1
        return primitive["~effect/Effect/evaluate"](fiber)
      },
    }
    expect((await traced(composed(tracer))).value).toBe(7)
    expect(seen).toBeGreaterThan(0)
  })
})

describe("what is traced goes on as it would untraced", () => {
  const broken: ReadonlyArray<readonly [string, Tracer.Tracer]> = [
    ["throws", Tracer.make({ span: fails })],
    ["makes nothing", Tracer.make({ span: () => undefined as unknown as Tracer.Span })],
    ["makes spans without methods", Tracer.make({ span: () => ({}) as Tracer.Span })],
    [
      "makes spans that can't be changed",
      Tracer.make({ span: (options) => Object.freeze(new Tracer.NativeSpan(options)) }),
    ],
    ["makes spans whose end throws", spanWith({ end: fails })],
    ["makes spans whose attribute throws", spanWith({ attribute: fails })],
    ["makes spans whose event throws", spanWith({ event: fails })],
    ["makes spans whose addLinks throws", spanWith({ addLinks: fails })],
    ["makes ids of nothing", spanWith({ traceId: undefined as unknown as string, spanId: "" })],
    ["makes ids of its own kind", spanWith({ traceId: "trace-1", spanId: "span-1" })],
  ]
  it.each(broken)("when the tracer %s", async (_what, tracer) => {
    expect(await traced(composed(tracer))).toEqual({
      value: 7,
      ids: [expect.stringMatching(/^[0-9a-f]{32}$/), expect.stringMatching(/^[0-9a-f]{16}$/)],
      failure: "no",
      defect: "bug",
    })
  })
})
