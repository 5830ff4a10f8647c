/**
 * What every tracer that a plugin brings must do, as a list of cases that any test framework can run. Knows nothing of where spans go: what a tracer
 * records is its own to test; here is what those who are traced rely on. Needs no framework and no `node:`.
 */
import { Cause, Context, Effect, Exit, Fiber, Option, Tracer } from "effect"

/** Fails by rejecting, with a sentence. `name` is a sentence, too: a test's title. */
export interface TracerCase {
  readonly name: string
  readonly run: () => Promise<void>
}

const DEPTH = 500
const ABOVE = Tracer.externalSpan({
  traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
  spanId: "00f067aa0ba902b7",
  sampled: true,
  annotations: Context.empty(),
})
const NOWHERE = Tracer.externalSpan({ traceId: "", spanId: "rubbish", sampled: true, annotations: Context.empty() })

/** `tracerSuite(tracer).forEach(({ name, run }) => it(name, run))` */
export const tracerSuite = (tracer: Tracer.Tracer): ReadonlyArray<TracerCase> => {
  const traced = <A, E>(effect: Effect.Effect<A, E>): Promise<Exit.Exit<A, E>> =>
    Effect.runPromiseExit(Effect.withTracer(effect, tracer))
  const start = (name: string, given: Partial<Parameters<Tracer.Tracer["span"]>[0]> = {}): Tracer.Span =>
    tracer.span({
      name,
      parent: Option.none(),
      annotations: Context.empty(),
      links: [],
      startTime: 1_000_000_000n,
      kind: "internal",
      root: false,
      sampled: true,
      ...given,
    })
  return [
    {
      name: "makes spans that say what they were made with, and whose ids are OpenTelemetry's: hexadecimal, or all zeros where nobody traces",
      run: async () => {
        for (const kind of ["internal", "server", "client", "producer", "consumer"] as const) {
          const span = start("one", { kind, parent: Option.some(ABOVE) })
          check(span._tag === "Span" && span.name === "one" && span.kind === kind, "a span doesn't say what it is")
          check(Option.getOrNull(span.parent) === ABOVE, "a span doesn't say what its parent is")
          check(span.status._tag === "Started", "a span that has begun doesn't say so")
          checkIds(span)
          span.end(2_000_000_000n, Exit.void)
          check(span.status._tag === "Ended", "a span that has ended doesn't say so")
        }
      },
    },
    {
      name: "puts a child into its parent's trace, with an id of its own, also once the parent has ended, and from another fiber",
      run: async () => {
        const parent = start("parent")
        const child = start("child", { parent: Option.some(parent), sampled: parent.sampled })
        checkWithin(child, parent)
        parent.end(2_000_000_000n, Exit.void)
        checkWithin(start("late", { parent: Option.some(parent), sampled: parent.sampled }), parent)
        const exit = await traced(
          Effect.gen(function* () {
            const span = yield* Effect.makeSpan("parent")
            const inFiber = yield* Effect.forkChild(Effect.withParentSpan(Effect.makeSpan("child"), span))
            return { span, child: yield* Fiber.join(inFiber) }
          }),
        )
        check(Exit.isSuccess(exit), "a program with two fibers failed")
        if (Exit.isSuccess(exit)) checkWithin(exit.value.child, exit.value.span)
      },
    },
    {
      name: "goes on with the trace of a span from elsewhere, and takes a parent whose ids are rubbish for none",
      run: async () => {
        const span = start("below", { parent: Option.some(ABOVE) })
        check(isNowhere(span) || span.traceId === ABOVE.traceId, "a child of an external span is in another trace")
        const other = start("astray", { parent: Option.some(NOWHERE) })
        checkIds(other)
        other.end(2_000_000_000n, Exit.void)
      },
    },
    {
      name: "gives a root a trace of its own",
      run: async () => {
        const [one, two] = [start("one", { root: true }), start("two", { root: true })]
        check(isNowhere(one) || one.traceId !== two.traceId, "two roots are in one trace")
      },
    },
    {
      name: "takes any attribute, event and link, before its end and after, and throws at none",
      run: async () => {
        const span = start("hostile")
        const all = (): void => {
          for (const [at, value] of hostile().entries()) {
            span.attribute(`value.${at}`, value)
            span.event(`event ${at}`, BigInt(at), { value })
            span.addLinks([{ span: ABOVE, attributes: { value } }])
          }
          span.attribute("", "no name")
          span.event("without attributes", 0n)
          span.addLinks([
            { span: NOWHERE, attributes: {} },
            { span, attributes: {} },
          ])
        }
        all()
        span.end(2_000_000_000n, Exit.void)
        all()
      },
    },
    {
      name: "ends with any outcome, at any time, and more than once",
      run: async () => {
        const outcomes: ReadonlyArray<Exit.Exit<unknown, unknown>> = [
          Exit.void,
          Exit.succeed({ any: "value" }),
          Exit.fail(new Error("expected")),
          Exit.fail(null),
          Exit.fail({ _tag: "Odd", message: 7, stack: {} }),
          Exit.die("a defect"),
          Exit.interrupt(1),
          Exit.failCause(Cause.combine(Cause.fail("one"), Cause.die(new Error("two")))),
        ]
        for (const outcome of outcomes) {
          for (const endTime of [0n, 1n, 5_000_000_000n]) {
            const span = start("outcome")
            span.end(endTime, outcome)
            span.end(endTime, Exit.void)
            check(span.status._tag === "Ended" && span.status.exit === outcome, "a span lost its first outcome")
          }
        }
      },
    },
    {
      name: "changes nothing of what a program gives: a value, a failure, a defect or an interruption",
      run: async () => {
        const within = <A, E>(effect: Effect.Effect<A, E>) => traced(Effect.withSpan(effect, "program"))
        checkSame(await within(Effect.succeed(7)), Exit.succeed(7))
        checkSame(await within(Effect.delay(Effect.succeed("later"), 1)), Exit.succeed("later"))
        const failure = await within(Effect.fail("no"))
        check(Exit.isFailure(failure) && Cause.squash(failure.cause) === "no", "a failure came out as another")
        const defect = new Error("defect")
        const died = await within(Effect.die(defect))
        check(Exit.isFailure(died) && Cause.squash(died.cause) === defect, "a defect came out as another")
        const stopped = await within(Effect.interrupt)
        check(
          Exit.isFailure(stopped) && Cause.hasInterruptsOnly(stopped.cause),
          "an interruption came out as something else",
        )
      },
    },
    {
      name: `takes spans that are nested ${DEPTH} deep, and as many side by side`,
      run: async () => {
        let nested: Effect.Effect<number> = Effect.succeed(0)
        for (let depth = 0; depth < DEPTH; depth += 1) {
          nested = Effect.withSpan(
            Effect.map(nested, (count) => count + 1),
            `level ${depth}`,
          )
        }
        checkSame(await traced(nested), Exit.succeed(DEPTH))
        const beside = Effect.forEach(Array.from({ length: DEPTH }), () => Effect.withSpan(Effect.yieldNow, "beside"), {
          concurrency: "unbounded",
          discard: true,
        })
        check(Exit.isSuccess(await traced(beside)), "spans side by side failed")
      },
    },
    {
      name: "takes a span that effect has decided not to sample, and its children",
      run: async () => {
        const span = start("unsampled", { sampled: false })
        checkIds(span)
        const child = start("child", { parent: Option.some(span), sampled: span.sampled })
        checkIds(child)
        for (const ended of [child, span]) {
          ended.attribute("a", 1)
          ended.end(2_000_000_000n, Exit.void)
        }
      },
    },
  ]
}

/** Values that a careless caller may hand over. */
const hostile = (): ReadonlyArray<unknown> => {
  const cyclic: Record<string, unknown> = {}
  cyclic["self"] = cyclic
  const throwing = {
    get field(): never {
      throw new Error("a getter")
    },
    toJSON: () => {
      throw new Error("toJSON")
    },
    toString: () => {
      throw new Error("toString")
    },
  }
  const revoked = Proxy.revocable({}, {})
  revoked.revoke()
  const list = [undefined, null, Number.NaN, -0, Number.POSITIVE_INFINITY, 2n ** 70n, "", "x".repeat(100_000), "\ud800"]
  const objects = [cyclic, throwing, revoked.proxy, new Date(Number.NaN), Object.create(null), () => 1, Symbol("s")]
  return [...list, ...objects, [], [1, "two", null], [cyclic, throwing], Array.from({ length: 10_000 }, () => 1)]
}

const isNowhere = ({ spanId, traceId }: Tracer.Span): boolean => /^0{32}$/.test(traceId) && /^0{16}$/.test(spanId)

const checkIds = (span: Tracer.Span): void =>
  check(
    isNowhere(span) || (/^(?!0+$)[0-9a-f]{32}$/.test(span.traceId) && /^(?!0+$)[0-9a-f]{16}$/.test(span.spanId)),
    `${span.traceId} and ${span.spanId} are not OpenTelemetry's ids`,
  )

const checkWithin = (child: Tracer.Span, parent: Tracer.Span): void => {
  checkIds(child)
  check(child.traceId === parent.traceId, "a child is in another trace than its parent")
  check(isNowhere(child) || child.spanId !== parent.spanId, "a child has its parent's id")
}

const checkSame = <A, E>(found: Exit.Exit<A, E>, wanted: Exit.Exit<A, E>): void => {
  const same = Exit.isSuccess(found) && Exit.isSuccess(wanted) && found.value === wanted.value
  check(same, `a program gave ${String(found)} where it gives ${String(wanted)} untraced`)
}

const check = (holds: boolean, sentence: string): void => {
  if (!holds) throw new Error(sentence)
}
