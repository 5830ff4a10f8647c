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
import { defaultResource, type Resource, resourceFromAttributes } from "@opentelemetry/resources"
import {
  AlwaysOnSampler,
  BasicTracerProvider,
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
} from "@opentelemetry/sdk-trace-base"
import type { Host } from "@cordwood/core"
import type { Config } from "./config.ts"
import { Connection } from "./connection.ts"
import type { Batching, Target, Telemetry, Temporality } from "./environment.ts"
import { OtlpExporter } from "./otlp-exporter.ts"
import type { Voice } from "./voice.ts"

/** What is left is sent for this long when the agent stops. Within a pod's grace, and no longer than anybody watches. */
const FLUSH_LIMIT_MS = 3_000
/** Then nothing is under way any more; a processor that has not noticed by then never will. */
const SETTLE_LIMIT_MS = 500
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
  voice: Voice,
): Promise<Sdk> => {
  const resource = resourceOf(config, telemetry.resource, host)
  const connections: Array<Connection> = []
  const exporters: Array<{ readonly forceFlush: () => Promise<void> }> = []
  const shutdowns: Array<() => Promise<void>> = []
  const exporterTo = <Items>(target: Target, serializer: Serializer<Items>): OtlpExporter<Items> => {
    const connection = new Connection(target)
    const exporter = new OtlpExporter(target, connection, serializer, voice)
    connections.push(connection)
    exporters.push(exporter)
    return exporter
  }
  const { logs, metrics, traces } = telemetry

  let tracer: Tracer | null = null
  if (traces !== null) {
    const serializer = traces.protocol === "http/json" ? JsonTraceSerializer : ProtobufTraceSerializer
    const { batching, sample } = traces
    const provider = new BasicTracerProvider({
      resource,
      spanProcessors: [new BatchSpanProcessor(exporterTo(traces, serializer), batchConfig(batching))],
      // A ratio of 1 leaves out one trace in four billion.
      sampler: new ParentBasedSampler({
        root: sample === 1 ? new AlwaysOnSampler() : new TraceIdRatioBasedSampler(sample),
      }),
    })
    tracer = provider.getTracer(SCOPE, host.version)
    shutdowns.push(() => provider.shutdown())
  }

  let meter: Meter | null = null
  if (metrics !== null) {
    const { MeterProvider, PeriodicExportingMetricReader } = await import("@opentelemetry/sdk-metrics")
    const { exportTimeoutMs, intervalMs, temporality } = metrics
    const serializer = metrics.protocol === "http/json" ? JsonMetricsSerializer : ProtobufMetricsSerializer
    const selectAggregationTemporality = await selectorOf(temporality)
    const reader = new PeriodicExportingMetricReader({
      exporter: Object.assign(exporterTo(metrics, serializer), { selectAggregationTemporality }),
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
    const exporter = exporterTo(logs, serializer)
    const processor = new BatchLogRecordProcessor({ exporter, ...batchConfig(logs.batching) })
    const provider = new LoggerProvider({ resource, processors: [processor] })
    logger = provider.getLogger(SCOPE, host.version)
    shutdowns.push(() => provider.shutdown())
  }

  return {
    tracer,
    meter,
    logger,
    close: async () => {
      for (const connection of connections) connection.hurry()
      // A processor whose last batch failed doesn't wait for the one before.
      const settled = Promise.allSettled(shutdowns.map((shutdown) => shutdown())).then(() =>
        Promise.allSettled(exporters.map((exporter) => exporter.forceFlush())),
      )
      await within(settled, FLUSH_LIMIT_MS)
      // What is cut off is answered at once, so that every processor ends its own timers.
      for (const connection of connections) connection.close()
      await within(settled, SETTLE_LIMIT_MS)
    },
  }
}

/** Waits for a promise that never rejects, but no longer than that. */
const within = async (settled: Promise<unknown>, limitMs: number): Promise<void> => {
  let timer: NodeJS.Timeout | undefined
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, limitMs)
  })
  await Promise.race([settled, limit])
  clearTimeout(timer)
}

type Serializer<Items> = ConstructorParameters<typeof OtlpExporter<Items>>[2]

const batchConfig = ({ delayMs, maxBatch, maxQueue, timeoutMs }: Batching) => ({
  maxQueueSize: maxQueue,
  maxExportBatchSize: maxBatch,
  scheduledDelayMillis: delayMs,
  exportTimeoutMillis: timeoutMs,
})

/** What is known by itself, then what the environment says, then the file. */
const resourceOf = (config: Config, environment: Readonly<Record<string, string>>, host: Host): Resource =>
  defaultResource().merge(
    resourceFromAttributes({
      "service.name": "cordwood",
      "service.version": host.version,
      "service.instance.id": randomUUID(),
      "host.name": hostname(),
      "cordwood.config.hash": host.configHash,
      ...environment,
      ...config.resource,
      ...(config.serviceName === undefined ? {} : { "service.name": config.serviceName }),
      ...(config.environment === undefined ? {} : { "deployment.environment.name": config.environment }),
    }),
  )

const selectorOf = async (temporality: Temporality) => {
  const { AggregationTemporality, InstrumentType } = await import("@opentelemetry/sdk-metrics")
  return (kind: (typeof InstrumentType)[keyof typeof InstrumentType]) =>
    temporality === "delta" && (kind === InstrumentType.COUNTER || kind === InstrumentType.HISTOGRAM)
      ? AggregationTemporality.DELTA
      : AggregationTemporality.CUMULATIVE
}
