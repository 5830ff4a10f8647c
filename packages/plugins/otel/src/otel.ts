/**
 * The plugin: a tracer for what the agent and its plugins do, and metrics and log records of what has happened. Puts the parts together; whatever goes
 * wrong in them, or behind them, rotation doesn't notice.
 */
import {
  type Attributes,
  context,
  createContextKey,
  createNoopMeter,
  type Link,
  type Meter,
  metrics,
  ROOT_CONTEXT,
  trace,
  type Tracer,
} from "@opentelemetry/api"
import { definePlugin, type Envelope, type Host, PluginError, type PluginFactory } from "@cordwood/core"
import { Effect, type Scope } from "effect"
import { Config } from "./config.ts"
import { EnvironmentProblem, readEnvironment, type Reading, type Telemetry } from "./environment.ts"
import { makeLogging } from "./logs.ts"
import { makeMetrics, type Metrics } from "./metrics.ts"
import type { Sdk } from "./sdk.ts"
import { type EndedSpan, makeTracer } from "./tracer.ts"
import { readTraceparent } from "./traceparent.ts"
import { makeVoice, messageOf, type Voice } from "./voice.ts"

const SCOPE = "@cordwood/plugin-otel"
/** Different troubles that are told, each once: an SDK that throws does so with every span. */
const MAX_TROUBLES = 8

/** `otel()` with the process's own SDK, if it has one, or `otel({ endpoint: "http://127.0.0.1:4318" })`. */
export const otel: PluginFactory<typeof Config> = definePlugin({
  name: "otel",
  api: 1,
  config: Config,
  setup: (config, host) =>
    Effect.gen(function* () {
      const voice = yield* makeVoice
      const trouble = makeTrouble(voice)
      const { telemetry, warnings } = yield* read(config, host, trouble)
      for (const warning of warnings) voice.warn(warning, "mend the variable, or say it in the plugin's settings")
      if (telemetry.exporter === "none") return {}
      const isGlobal = telemetry.exporter === "global"
      const sinks = isGlobal
        ? yield* globalSinks(config, telemetry.logs, host, trouble)
        : yield* ownSinks(config, telemetry, host, voice)
      const { logging, metrics, tracer } = sinks
      const observe = (event: Envelope): Effect.Effect<void> =>
        Effect.sync(() => {
          attempt(trouble, () => metrics?.()?.count(event))
          attempt(trouble, () => logging?.(event))
        })
      const options = {
        api: tracer ?? (() => null),
        rootLinks: rolloutLinks(voice),
        // An SDK of the plugin's own has them on its resource, where they belong.
        rootAttributes: isGlobal ? runAttributes(host) : {},
        ended: metrics === null ? null : (span: EndedSpan) => metrics()?.time(span),
        activates: isGlobal && hasContextManager(trouble),
        trouble,
      }
      return {
        ...(tracer === null && metrics === null ? {} : { tracer: makeTracer(options) }),
        ...(metrics === null && logging === null ? {} : { observe }),
      }
    }),
})

/** Which agent it was, for those whose resource is another program's. */
const runAttributes = ({ configHash, version }: Host): Attributes => ({
  "cordwood.version": version,
  "cordwood.config.hash": configHash,
})

interface Sinks {
  /** The API's tracer now; null as long as there is no SDK. */
  readonly tracer: (() => Tracer | null) | null
  /** The same of metrics; null itself if they aren't wanted. */
  readonly metrics: (() => Metrics | null) | null
  readonly logging: ((event: Envelope) => void) | null
}
type Trouble = (error: unknown) => void

const attempt = (trouble: Trouble, call: () => void): void => {
  try {
    call()
  } catch (error) {
    trouble(error)
  }
}

const makeTrouble = (voice: Voice): Trouble => {
  const told = new Set<string>()
  return (error) => {
    const message = messageOf(error)
    if (told.size >= MAX_TROUBLES || told.has(message)) return
    told.add(message)
    voice.warn(
      `OpenTelemetry failed within this process: ${message}; rotation goes on, telemetry is incomplete`,
      "see the SDK that the process has registered, its processors and exporters; this is said once",
    )
  }
}

const read = (config: Config, host: Host, trouble: Trouble): Effect.Effect<Reading, PluginError> =>
  Effect.try({
    try: () => readEnvironment(config, process.env, globalTracer(host, trouble)() !== null),
    catch: (error) => {
      const hint =
        error instanceof EnvironmentProblem
          ? "mend the environment variable; what the plugin's settings say goes before it"
          : "this is a bug; please report it"
      return new PluginError({ plugin: "otel", slot: "config", detail: messageOf(error), hint })
    },
  })

/** Asks for the registered SDK's tracer until there is one: an SDK may be registered late. Asks the API for nothing else. */
const globalTracer = ({ version }: Host, trouble: Trouble): (() => Tracer | null) => {
  let found: Tracer | null = null
  const find = (): void => {
    const provider = trace.getTracerProvider()
    // The API's proxy stands for the SDK, and says whether there is one.
    if (!("getDelegateTracer" in provider) || typeof provider.getDelegateTracer !== "function") {
      found = provider.getTracer(SCOPE, version)
      return
    }
    const delegate: unknown = provider.getDelegateTracer(SCOPE, version)
    if (isTracer(delegate)) found = delegate
  }
  return () => {
    if (found === null) attempt(trouble, find)
    return found
  }
}
const isTracer = (tracer: unknown): tracer is Tracer =>
  typeof tracer === "object" && tracer !== null && "startSpan" in tracer && typeof tracer.startSpan === "function"

/** Makes what is wanted of the registered SDK's meter once there is one. The API has nothing that stands for a meter to come. */
const globalMetrics = (config: Config, { version }: Host, trouble: Trouble): (() => Metrics | null) => {
  let made: Metrics | null = null
  const find = (): void => {
    const meter: Meter = metrics.getMeter(SCOPE, version)
    if (meter !== createNoopMeter()) made = makeMetrics(meter, config.metrics)
  }
  return () => {
    if (made === null) attempt(trouble, find)
    return made
  }
}

/** The process's SDK is used as it is: its exporters, its resource, its sampling. */
const globalSinks = (config: Config, logs: boolean, host: Host, trouble: Trouble): Effect.Effect<Sinks, PluginError> =>
  Effect.gen(function* () {
    const api = logs ? (yield* optional(() => import("@opentelemetry/api-logs"))).logs : null
    return {
      tracer: globalTracer(host, trouble),
      metrics: config.metrics.enabled ? globalMetrics(config, host, trouble) : null,
      logging: api === null ? null : makeLogging(api.getLogger(SCOPE, host.version)),
    }
  })

const ownSinks = (
  config: Config,
  telemetry: Extract<Telemetry, { readonly exporter: "otlp" }>,
  host: Host,
  voice: Voice,
): Effect.Effect<Sinks, PluginError, Scope.Scope> =>
  Effect.gen(function* () {
    const sdk: Sdk = yield* Effect.acquireRelease(
      optional(async () => {
        const { startSdk } = await import("./sdk.ts")
        return startSdk(config, telemetry, host, voice)
      }),
      ({ close }) => Effect.promise(close),
    )
    const { logger, meter, tracer } = sdk
    const counted = meter === null ? null : makeMetrics(meter, config.metrics)
    return {
      tracer: tracer === null ? null : () => tracer,
      metrics: counted === null ? null : () => counted,
      logging: logger === null ? null : makeLogging(logger),
    }
  })

/** What needs packages that may be left out. */
const optional = <A>(load: () => Promise<A>): Effect.Effect<A, PluginError> =>
  Effect.tryPromise({
    try: load,
    catch: (error) => {
      const missing = /Cannot find (?:package|module) '(@opentelemetry\/[\w-]+)/.exec(messageOf(error))?.[1]
      return new PluginError({
        plugin: "otel",
        slot: "setup",
        detail:
          missing === undefined
            ? `telemetry can't be set up: ${messageOf(error)}`
            : `telemetry was asked for, but ${missing} is not installed`,
        hint:
          missing === undefined
            ? "see the plugin's settings and the OTEL_* variables"
            : "npm install @cordwood/plugin-otel without --omit=optional, or register an SDK of your own and write exporter: global",
      })
    },
  })

/** Only one that keeps what it is given can make a span the active one. */
const hasContextManager = (trouble: Trouble): boolean => {
  const key = createContextKey("cordwood")
  let kept = false
  attempt(trouble, () =>
    context.with(ROOT_CONTEXT.setValue(key, true), () => {
      kept = context.active().getValue(key) === true
    }),
  )
  return kept
}

/** The rollout that started this agent, as its pipeline handed it down. */
const rolloutLinks = (voice: Voice): ReadonlyArray<Link> => {
  const traceparent = process.env["TRACEPARENT"]?.trim() ?? ""
  if (traceparent === "") return []
  const rollout = readTraceparent(traceparent, process.env["TRACESTATE"]?.trim())
  if (rollout !== null) return [{ context: rollout, attributes: { "cordwood.link": "rollout" } }]
  voice.warn(
    "TRACEPARENT is no W3C trace context, and is ignored",
    "write version-traceid-spanid-flags, such as 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
  )
  return []
}
