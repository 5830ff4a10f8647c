// The tracer suite itself: a right tracer passes every case, and each wrong one fails the case that is about it.
import { Exit, Option, Tracer } from "effect"
import { describe, expect, it } from "vitest"
import { tracerSuite } from "@cordwood/core/testing"

type Options = Parameters<Tracer.Tracer["span"]>[0]
type Given = Partial<Record<keyof Tracer.Span, unknown>>

/** Effect's own, but for a parent whose ids are none's. */
const right = (options: Options): Tracer.NativeSpan => {
  const isNone = Option.isSome(options.parent) && !/^[0-9a-f]{32}$/.test(options.parent.value.traceId)
  return new Tracer.NativeSpan(isNone ? { ...options, parent: Option.none() } : options)
}
const tracerOf = (change: (span: Tracer.NativeSpan, options: Options) => Given): Tracer.Tracer =>
  Tracer.make({
    span: (options) => {
      const span = right(options)
      // Its ids are getters, which can't be assigned.
      for (const [name, value] of Object.entries(change(span, options))) Object.defineProperty(span, name, { value })
      return span
    },
  })

const failing = async (tracer: Tracer.Tracer): Promise<ReadonlyArray<string>> => {
  const names: Array<string> = []
  for (const { name, run } of tracerSuite(tracer)) await run().catch(() => names.push(name))
  return names
}

describe("the tracer suite", () => {
  for (const { name, run } of tracerSuite(tracerOf(() => ({})))) it(`passes one that ${name}`, run)

  it("has a name of its own for every case", () => {
    const names = tracerSuite(tracerOf(() => ({}))).map(({ name }) => name)
    expect(new Set(names).size).toBe(names.length)
  })

  const zeros = { traceId: "0".repeat(32), spanId: "0".repeat(16) }
  it("passes one that traces nothing, and says so by ids of zeros", async () => {
    expect(await failing(tracerOf(() => zeros))).toEqual([])
  })

  const json = (value: unknown): string =>
    JSON.stringify(value, (_key, part: unknown) => (typeof part === "bigint" ? String(part) : part))
  const wrong: ReadonlyArray<readonly [what: string, tracer: Tracer.Tracer, where: string]> = [
    ["gives spans the wrong name", tracerOf(() => ({ name: "span" })), "makes spans that say what they were made with"],
    ["forgets the kind", tracerOf(() => ({ kind: "internal" })), "makes spans that say what they were made with"],
    [
      "forgets the parent",
      tracerOf(() => ({ parent: Option.none() })),
      "makes spans that say what they were made with",
    ],
    ["never ends", tracerOf(() => ({ end: () => undefined })), "makes spans that say what they were made with"],
    [
      "has ids in capitals",
      tracerOf(({ traceId }) => ({ traceId: traceId.toUpperCase() })),
      "makes spans that say what they were made with",
    ],
    [
      "has one id for all spans",
      tracerOf(() => ({ spanId: "00f067aa0ba902b7" })),
      "puts a child into its parent's trace",
    ],
    [
      "begins a trace for every span",
      tracerOf(() => ({ traceId: `${crypto.randomUUID()}`.replaceAll("-", "") })),
      "puts a child into its parent's trace",
    ],
    [
      "goes on with no trace from elsewhere",
      tracerOf((span, { parent }) =>
        Option.isSome(parent) && parent.value._tag === "ExternalSpan"
          ? { traceId: "1".repeat(32) }
          : { traceId: span.traceId },
      ),
      "goes on with the trace of a span from elsewhere",
    ],
    [
      "takes over rubbish from elsewhere",
      Tracer.make({ span: (options) => new Tracer.NativeSpan(options) }),
      "goes on with the trace of a span from elsewhere",
    ],
    [
      "has one trace for everything",
      tracerOf(() => ({ traceId: "4bf92f3577b34da6a3ce929d0e0e4736" })),
      "gives a root a trace of its own",
    ],
    [
      "tells attributes as JSON",
      tracerOf(() => ({ attribute: (_key: string, value: unknown) => void json(value) })),
      "takes any attribute, event and link",
    ],
    [
      "tells events as text",
      tracerOf(() => ({
        event: (_name: string, _at: bigint, all?: object) => void `${Object.values(all ?? {}).join()}`,
      })),
      "takes any attribute, event and link",
    ],
    [
      "takes no attribute once it has ended",
      tracerOf((span) => ({
        attribute: () => {
          if (span.status._tag === "Ended") throw new Error("ended")
        },
      })),
      "takes any attribute, event and link",
    ],
    [
      "reads every failure's message",
      tracerOf((span) => {
        const end = span.end.bind(span)
        return {
          end: (at: bigint, exit: Exit.Exit<unknown, unknown>) => {
            end(at, exit)
            if (Exit.isFailure(exit))
              for (const reason of exit.cause.reasons)
                if (reason._tag === "Fail") void (reason.error as Error).message.length
          },
        }
      }),
      "ends with any outcome",
    ],
    [
      "ends once only",
      tracerOf((span) => {
        const end = span.end.bind(span)
        return {
          end: (at: bigint, exit: Exit.Exit<unknown, unknown>) => {
            if (span.status._tag === "Ended") throw new Error("twice")
            end(at, exit)
          },
        }
      }),
      "ends with any outcome",
    ],
    [
      "throws where a program fails",
      tracerOf(() => ({
        end: (_at: bigint, exit: Exit.Exit<unknown, unknown>) => {
          if (Exit.isFailure(exit)) throw new Error("failed")
        },
      })),
      "changes nothing of what a program gives",
    ],
    [
      "follows parents up to the top, and no further than a hundred",
      tracerOf((_span, options) => {
        let depth = 0
        for (let { parent } = options; Option.isSome(parent) && parent.value._tag === "Span"; { parent } = parent.value)
          depth += 1
        if (depth > 100) throw new Error("too deep")
        return {}
      }),
      "takes spans that are nested",
    ],
    [
      "makes nothing of what isn't sampled",
      Tracer.make({ span: (options) => (options.sampled ? right(options) : (undefined as unknown as Tracer.Span)) }),
      "takes a span that effect has decided not to sample",
    ],
  ]
  it.each(wrong)("fails one that %s", async (_what, tracer, where) => {
    expect((await failing(tracer)).filter((name) => name.startsWith(where))).toHaveLength(1)
  })
})
