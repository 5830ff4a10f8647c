/**
 * An OpenTelemetry SDK of the plugin's own, which exports by OTLP. Registered nowhere: what else runs in the process keeps its own. Imported only
 * when there is something to export, as it takes memory and packages that are optional.
 */
import { randomUUID } from "node:crypto"
import { hostname } from "node:os"
import type { Meter, Tracer } from "@opentelemetry/api"
import type { Logger } from "@opentelemetry/api-logs"
import {
  JsonLogsSerializer,
  JsonMetricsSerializer,
  JsonTraceSerializer,
  ProtobufLogsSerializer,
  ProtobufMetricsSerializer,
  ProtobufTraceSerializer,
} from "@opentelemetry/otlp-transformer"
import { defaultResource, envDetector, type Resource, resourceFromAttributes } from "@opentelemetry/resources"
import {
  BasicTracerProvider,
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
} from "@opentelemetry/sdk-trace-base"
import type { Host } from "@cordwood/core"
import type { Config } from "./config.ts"
import { Connection } from "./connection.ts"
import type { Environment, Target, Telemetry } from "./environment.ts"
import { OtlpExporter } from "./otlp-exporter.ts"
import type { Voice } from "./voice.ts"

/** What is left is sent for this long when the agent stops. Within a pod's grace, and no longer than anybody watches. */
const FLUSH_LIMIT_MS = 3_000
/** The scope of everything this plugin emits. */
const SCOPE = "@cordwood/plugin-otel"

export interface Sdk {
  readonly tracer: Tracer | null
  readonly meter: Meter | null
  readonly logger: Logger | null
  /** Sends what is left, for a few seconds at most, then leaves nothing open. Never rejects. */
  readonly close: () => Promise<void>
}

export const startSdk = async (
  config: Config,
  telemetry: Extract<Telemetry, { readonly exporter: "otlp" }>,
  host: Host,
  env: Environment,
  voice: Voice,
): Promise<Sdk> => {
  const resource = resourceOf(config, host, env, voice)
  const connections: Array<Connection> = []
  const shutdowns: Array<() => Promise<void>> = []
  const connect = (target: Target): Connection => {
    const connection = new Connection(target)
    connections.push(connection)
    return connection
  }
  const { logs, metrics, traces } = telemetry

  let tracer: Tracer | null = null
  if (traces !== null) {
    const serializer = traces.protocol === "http/json" ? JsonTraceSerializer : ProtobufTraceSerializer
    const exporter = new OtlpExporter(traces, connect(traces), serializer, voice)
    const { sample } = config
    const provider = new BasicTracerProvider({
      resource,
      // The processor reads OTEL_BSP_*, the provider OTEL_TRACES_SAMPLER and the limits.
      spanProcessors: [new BatchSpanProcessor(exporter)],
      ...(sample === undefined
        ? {}
        : { sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(sample) }) }),
    })
    tracer = provider.getTracer(SCOPE, host.version)
    shutdowns.push(() => provider.shutdown())
  }

  let meter: Meter | null = null
  if (metrics !== null) {
    const { MeterProvider, PeriodicExportingMetricReader } = await import("@opentelemetry/sdk-metrics")
    const { exportTimeoutMs, intervalMs } = metrics
    const serializer = metrics.protocol === "http/json" ? JsonMetricsSerializer : ProtobufMetricsSerializer
    const otlp = new OtlpExporter(metrics, connect(metrics), serializer, voice)
    const temporality = await temporalityOf(env, voice)
    const exporter = Object.assign(otlp, { selectAggregationTemporality: temporality })
    const reader = new PeriodicExportingMetricReader({
      exporter,
      exportIntervalMillis: intervalMs,
      exportTimeoutMillis: exportTimeoutMs,
    })
    const provider = new MeterProvider({ resource, readers: [reader] })
    meter = provider.getMeter(SCOPE, host.version)
    shutdowns.push(() => provider.shutdown())
  }

  let logger: Logger | null = null
  if (logs !== null) {
    const { BatchLogRecordProcessor, LoggerProvider } = await import("@opentelemetry/sdk-logs")
    const serializer = logs.protocol === "http/json" ? JsonLogsSerializer : ProtobufLogsSerializer
    const exporter = new OtlpExporter(logs, connect(logs), serializer, voice)
    const provider = new LoggerProvider({ resource, processors: [new BatchLogRecordProcessor({ exporter })] })
    logger = provider.getLogger(SCOPE, host.version)
    shutdowns.push(() => provider.shutdown())
  }

  return {
    tracer,
    meter,
    logger,
    close: async () => {
      for (const connection of connections) connection.hurry()
      let timer: NodeJS.Timeout | undefined
      const limit = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, FLUSH_LIMIT_MS)
      })
      const settled = Promise.allSettled(shutdowns.map((shutdown) => shutdown()))
      await Promise.race([settled, limit])
      clearTimeout(timer)
      // What is cut off is answered at once, so that every processor ends its own timers.
      for (const connection of connections) connection.close()
      await settled
    },
  }
}

/** What is known by itself, then what the environment says, then the file. */
const resourceOf = (config: Config, host: Host, env: Environment, voice: Voice): Resource => {
  const { attributes = {} } = envDetector.detect()
  if ((env["OTEL_RESOURCE_ATTRIBUTES"]?.trim() ?? "") !== "" && Object.keys(attributes).length === 0) {
    voice.warn(
      "OTEL_RESOURCE_ATTRIBUTES can't be read, and all of it is ignored",
      "write key=value,key=value, with commas and equals signs in values percent-encoded",
    )
  }
  const node = env["NODE_NAME"]?.trim() ?? ""
  return defaultResource()
    .merge(
      resourceFromAttributes({
        "service.name": "cordwood",
        "service.version": host.version,
        "service.instance.id": randomUUID(),
        "host.name": hostname(),
        "cordwood.config.hash": host.configHash,
        ...(node === "" ? {} : { "k8s.node.name": node }),
      }),
    )
    .merge(resourceFromAttributes(attributes))
    .merge(
      resourceFromAttributes({
        ...config.resource,
        ...(config.serviceName === undefined ? {} : { "service.name": config.serviceName }),
        ...(config.environment === undefined ? {} : { "deployment.environment.name": config.environment }),
      }),
    )
}

/** Cumulative if not asked otherwise. `lowmemory` is `delta` for all that this plugin has: counters and histograms. */
const temporalityOf = async (env: Environment, voice: Voice) => {
  const { AggregationTemporality, InstrumentType } = await import("@opentelemetry/sdk-metrics")
  const name = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
  const asked = env[name]?.trim().toLowerCase() || "cumulative"
  if (!["cumulative", "delta", "lowmemory"].includes(asked)) {
    voice.warn(`${name} is ${JSON.stringify(asked)}; cumulative is taken`, "write cumulative, delta or lowmemory")
  }
  const isDelta = asked === "delta" || asked === "lowmemory"
  return (kind: (typeof InstrumentType)[keyof typeof InstrumentType]) =>
    isDelta && (kind === InstrumentType.COUNTER || kind === InstrumentType.HISTOGRAM)
      ? AggregationTemporality.DELTA
      : AggregationTemporality.CUMULATIVE
}
