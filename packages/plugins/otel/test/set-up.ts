// The plugin as the host sets it up, and what it says meanwhile; and events to observe.
import type { Contributions, Envelope, Host, PluginError } from "@cordwood/core"
import { Effect, Exit, Logger, References } from "effect"
import type * as z from "zod"
import { otel } from "../src/index.ts"

export const HOST: Host = { version: "1.2.3", configHash: "0123456789abcdef" }

export interface Said {
  readonly level: string
  readonly message: string
  readonly hint: unknown
}

/** Uses the plugin in a scope, as the agent does, and gives what came of it and what was said. */
export const withOtel = async <A>(
  config: z.input<typeof otel.config>,
  use: (contributions: Contributions, said: ReadonlyArray<Said>) => Promise<A>,
): Promise<{ readonly result: A; readonly said: ReadonlyArray<Said> }> => {
  const said: Array<Said> = []
  const exit = await Effect.runPromiseExit(
    Effect.scoped(
      Effect.flatMap(otel.setup(otel.config.parse(config), HOST), (contributions) =>
        Effect.promise(() => use(contributions, said)),
      ),
    ).pipe(Effect.provide(listening(said))),
  )
  return { result: Exit.isSuccess(exit) ? exit.value : await Promise.reject(causeOf(exit)), said }
}
const causeOf = (exit: Exit.Failure<unknown, PluginError>): unknown => {
  const reason = exit.cause.reasons[0]
  return reason?._tag === "Fail" ? reason.error : reason?._tag === "Die" ? reason.defect : exit.cause
}

const listening = (said: Array<Said>) =>
  Logger.layer([
    Logger.make(({ fiber, logLevel, message }) => {
      const { hint } = fiber.getRef(References.CurrentLogAnnotations)
      said.push({ level: logLevel, message: String(Array.isArray(message) ? message.join(" ") : message), hint })
    }),
  ])

/** Runs a program with the plugin's tracer. */
export const traced = <A, E>(contributions: Contributions, effect: Effect.Effect<A, E>): Promise<Exit.Exit<A, E>> => {
  const { tracer } = contributions
  if (tracer === undefined) throw new Error("the plugin brings no tracer")
  return Effect.runPromiseExit(Effect.withTracer(effect, tracer))
}

export const observed = async (contributions: Contributions, events: ReadonlyArray<Envelope>): Promise<void> => {
  for (const event of events) await Effect.runPromise(contributions.observe?.(event) ?? Effect.void)
}

let position = 0
/** An event as the journal would store it. */
export const eventOf = (
  fact: Pick<Envelope, "type"> & { readonly data: unknown },
  over: Partial<Envelope> = {},
): Envelope =>
  ({
    id: `00000000-0000-4000-8000-${String((position += 1)).padStart(12, "0")}`,
    position,
    time: "2026-09-09T04:33:10.000Z",
    version: 1,
    log: {
      path: "/var/log/pods/web_shop_1/app/0.log",
      namespace: "web",
      pod: "shop",
      podUid: "1",
      container: "app",
      containerId: "c1",
    },
    metadata: {
      correlationId: "11111111-1111-4111-8111-111111111111",
      causationId: null,
      traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
      spanId: "00f067aa0ba902b7",
      policy: "canary",
      mode: "enforce",
    },
    ...fact,
    ...over,
  }) as Envelope
