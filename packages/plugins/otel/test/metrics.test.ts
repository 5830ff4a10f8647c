// From events, and spans that ended, to points as a collector has them.
import type { Envelope } from "@cordwood/core"
import { metrics } from "@opentelemetry/api"
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics"
import { Effect } from "effect"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { type Collector, startCollector } from "./collector.ts"
import { eventOf, observed, traced, withOtel } from "./set-up.ts"

let collector: Collector
beforeEach(async () => {
  for (const name of Object.keys(process.env)) if (/^(OTEL_|TRACE)/.test(name)) vi.stubEnv(name, undefined)
  collector = await startCollector()
})
afterEach(async () => {
  vi.unstubAllEnvs()
  metrics.disable()
  await collector.close()
})

const PATH = "/var/log/pods/web_shop_1/app/0.log"
const SEGMENT = `${PATH}.20260909-043310`
const MiB = 2 ** 20
const observing = { policy: "rollout", mode: "observe" } as const
const under = (event: Envelope, over: object): Envelope => ({ ...event, metadata: { ...event.metadata, ...over } })

const STORY: ReadonlyArray<Envelope> = [
  eventOf({ type: "Scanned", data: { activeBytes: 1, segments: 0, totalBytes: 1, files: [] } }),
  eventOf({ type: "Rotated", data: { from: PATH, to: SEGMENT, bytes: 10 * MiB, maxSize: 10 * MiB, reopened: true } }),
  eventOf({ type: "Rotated", data: { from: PATH, to: SEGMENT, bytes: 15 * MiB, maxSize: 10 * MiB, reopened: true } }),
  // An older event, which didn't say what the limit was; and a limit of 0, over which nothing is a multiple.
  eventOf({ type: "Rotated", data: { from: PATH, to: SEGMENT, bytes: 100, reopened: false } }),
  eventOf({ type: "Rotated", data: { from: PATH, to: SEGMENT, bytes: 100, maxSize: 0, reopened: false } }),
  eventOf({
    type: "Compressed",
    data: { from: SEGMENT, to: `${SEGMENT}.gz`, codec: "gzip", bytesIn: 1_000, bytesOut: 100, durationMs: 40 },
  }),
  eventOf({
    type: "Compressed",
    data: { from: SEGMENT, to: `${SEGMENT}.zst`, codec: "zstd", bytesIn: 2_000, bytesOut: 300, durationMs: 2_000 },
  }),
  eventOf({ type: "Removed", data: { path: SEGMENT, bytes: 70, reason: "max-files" } }),
  eventOf({ type: "Removed", data: { path: SEGMENT, bytes: 30, reason: "max-files" } }),
  eventOf({ type: "Removed", data: { path: SEGMENT, bytes: 5, reason: "pressure" } }),
  eventOf({ type: "Cleaned", data: { path: `${SEGMENT}.tmp`, bytes: 9, reason: "temporary" } }),
  eventOf({ type: "Deferred", data: { step: "remove", path: SEGMENT, by: "s3", why: "403", retryAfterMs: 1 } }),
  eventOf({
    type: "Failed",
    data: { step: "compress", path: SEGMENT, reason: "NoSpace", message: "full", hint: "make room" },
  }),
  under(
    eventOf({
      type: "Planned",
      data: {
        steps: [
          { step: "remove", path: SEGMENT },
          { step: "rotate", path: PATH },
          { step: "remove", path: SEGMENT },
        ],
      },
    }),
    observing,
  ),
  eventOf({ type: "s3.Shipped", data: { path: SEGMENT, bytes: 64 } }),
  eventOf({ type: "s3.Aborted", data: { path: SEGMENT, bytes: "many" } }),
  // About the agent itself: no policy.
  under(
    eventOf({
      type: "Failed",
      data: { step: "journal", path: "/j", reason: "NoSpace", message: "full", hint: "make room" },
    }),
    { policy: undefined, mode: undefined },
  ),
]

const CANARY = { "cordwood.policy.name": "canary", "cordwood.policy.mode": "enforce" }
const OBSERVED = { "cordwood.policy.name": "rollout", "cordwood.policy.mode": "observe" }
const sum = (name: string, unit: string, value: number, attributes: object = {}, base: object = CANARY) => ({
  name,
  unit,
  kind: "sum",
  temporality: "AGGREGATION_TEMPORALITY_CUMULATIVE",
  attributes: { ...base, ...attributes },
  value,
})
const histogram = (
  name: string,
  unit: string,
  value: number,
  buckets: Readonly<Record<string, number>>,
  attributes: object = {},
) => ({
  ...sum(name, unit, value, attributes),
  kind: "histogram",
  count: Object.values(buckets).reduce((all, one) => all + one, 0),
  buckets,
})

describe("a story of events", () => {
  it("comes to these points, and no others", async () => {
    await withOtel({ endpoint: collector.url }, (contributions) => observed(contributions, STORY))
    expect(collector.points).toEqual([
      sum("cordwood.rotations", "{rotation}", 2, { "cordwood.reopened": true }),
      sum("cordwood.rotations", "{rotation}", 2, { "cordwood.reopened": false }),
      histogram("cordwood.rotation.size", "By", 25 * MiB + 200, {
        [0.25 * MiB]: 2,
        [10 * MiB]: 1,
        [16 * MiB]: 1,
      }),
      histogram("cordwood.rotation.overshoot", "1", 2.5, { 1: 1, 1.5: 1 }),
      sum("cordwood.compressions", "{segment}", 1, { "cordwood.codec": "gzip" }),
      sum("cordwood.compressions", "{segment}", 1, { "cordwood.codec": "zstd" }),
      sum("cordwood.compression.input", "By", 1_000, { "cordwood.codec": "gzip" }),
      sum("cordwood.compression.input", "By", 2_000, { "cordwood.codec": "zstd" }),
      sum("cordwood.compression.output", "By", 100, { "cordwood.codec": "gzip" }),
      sum("cordwood.compression.output", "By", 300, { "cordwood.codec": "zstd" }),
      histogram("cordwood.compression.duration", "s", 0.04, { 0.05: 1 }, { "cordwood.codec": "gzip" }),
      histogram("cordwood.compression.duration", "s", 2, { 2.5: 1 }, { "cordwood.codec": "zstd" }),
      sum("cordwood.removals", "{segment}", 2, { "cordwood.reason": "max-files" }),
      sum("cordwood.removals", "{segment}", 1, { "cordwood.reason": "pressure" }),
      sum("cordwood.removal.size", "By", 100, { "cordwood.reason": "max-files" }),
      sum("cordwood.removal.size", "By", 5, { "cordwood.reason": "pressure" }),
      sum("cordwood.cleanings", "{file}", 1, { "cordwood.reason": "temporary" }),
      sum("cordwood.cleaning.size", "By", 9, { "cordwood.reason": "temporary" }),
      sum("cordwood.deferrals", "{deferral}", 1, { "cordwood.step": "remove", "cordwood.deferred.by": "s3" }),
      sum("cordwood.failures", "{failure}", 1, { "cordwood.step": "compress", "error.type": "NoSpace" }),
      sum("cordwood.failures", "{failure}", 1, { "cordwood.step": "journal", "error.type": "NoSpace" }, {}),
      sum("cordwood.planned", "{step}", 2, { "cordwood.step": "remove" }, OBSERVED),
      sum("cordwood.planned", "{step}", 1, { "cordwood.step": "rotate" }, OBSERVED),
      sum("cordwood.plugin.events", "{event}", 1, { "cordwood.event.type": "s3.Shipped" }),
      sum("cordwood.plugin.events", "{event}", 1, { "cordwood.event.type": "s3.Aborted" }),
      sum("cordwood.plugin.event.size", "By", 64, { "cordwood.event.type": "s3.Shipped" }),
    ])
  })

  it("is told apart by namespace where that is wished", async () => {
    await withOtel({ endpoint: collector.url, metrics: { perNamespace: true } }, (contributions) =>
      observed(contributions, STORY.slice(1, 2)),
    )
    expect(collector.points[0]).toEqual(
      sum("cordwood.rotations", "{rotation}", 1, { "cordwood.reopened": true, "k8s.namespace.name": "web" }),
    )
  })

  it("is told in differences where a variable asks for that", async () => {
    vi.stubEnv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta")
    await withOtel({ endpoint: collector.url }, (contributions) => observed(contributions, STORY))
    expect(new Set(collector.points.map(({ temporality }) => temporality))).toEqual(
      new Set(["AGGREGATION_TEMPORALITY_DELTA"]),
    )
  })

  it("comes to nothing with metrics off", async () => {
    await withOtel({ endpoint: collector.url, metrics: { enabled: false } }, async (contributions) => {
      expect(contributions.observe).toBe(undefined)
    })
    expect(collector.points).toEqual([])
  })
})

describe("spans that ended", () => {
  const about = { "log.file.path": PATH, "k8s.namespace.name": "web", ...CANARY }
  const span = (name: string, attributes: Record<string, unknown> = about) =>
    Effect.withSpan(Effect.void, name, { attributes })

  it("are timed by pass, by step and by guard, with what went wrong; others are not", async () => {
    await withOtel({ endpoint: collector.url }, (contributions) =>
      traced(
        contributions,
        Effect.all([
          span("cordwood.pass"),
          span("cordwood.rotate"),
          span("cordwood.compress", { ...about, "error.type": "NoSpace" }),
          Effect.ignore(Effect.withSpan(Effect.fail({ reason: "ReadOnly" }), "cordwood.remove", { attributes: about })),
          span("plugin.beforeRemove", {
            "cordwood.plugin": "s3",
            "cordwood.occasion": "removal",
            "log.file.path": PATH,
          }),
          span("cordwood.drain"),
          span("PUT"),
        ]),
      ),
    )
    expect(
      collector.points.map(({ attributes, count, kind, name, unit }) => ({ name, unit, kind, count, attributes })),
    ).toEqual([
      { name: "cordwood.pass.duration", unit: "s", kind: "histogram", count: 1, attributes: CANARY },
      ...[
        { "cordwood.step": "rotate" },
        { "cordwood.step": "compress", "error.type": "NoSpace" },
        { "cordwood.step": "remove", "error.type": "ReadOnly" },
      ].map((attributes) => ({
        name: "cordwood.step.duration",
        unit: "s",
        kind: "histogram",
        count: 1,
        attributes: { ...CANARY, ...attributes },
      })),
      {
        name: "cordwood.guard.duration",
        unit: "s",
        kind: "histogram",
        count: 1,
        attributes: { "cordwood.plugin": "s3", "cordwood.occasion": "removal" },
      },
    ])
  })
})

describe("the process's own meter", () => {
  const provider = () => {
    const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
    return { exporter, own: new MeterProvider({ readers: [new PeriodicExportingMetricReader({ exporter })] }) }
  }
  const names = (exporter: InMemoryMetricExporter): ReadonlyArray<string> =>
    exporter
      .getMetrics()
      .flatMap(({ scopeMetrics }) => scopeMetrics)
      .flatMap(({ metrics }) => metrics.map(({ descriptor }) => descriptor.name))

  it("counts, also where it is registered after the plugin", async () => {
    const { exporter, own } = provider()
    await withOtel({}, async (contributions) => {
      await observed(contributions, STORY.slice(0, 3))
      metrics.setGlobalMeterProvider(own)
      await observed(contributions, STORY.slice(7, 8))
    })
    await own.forceFlush()
    expect(names(exporter)).toEqual(["cordwood.removals", "cordwood.removal.size"])
    await own.shutdown()
  })

  it("that throws at everything changes nothing", async () => {
    metrics.setGlobalMeterProvider({
      getMeter: () => {
        throw new Error("no meter")
      },
    })
    const { said } = await withOtel({}, (contributions) => observed(contributions, STORY))
    expect(said).toEqual([
      {
        level: "Warn",
        message: "OpenTelemetry failed within this process: no meter; rotation goes on, telemetry is incomplete",
        hint: "see the SDK that the process has registered, its processors and exporters; this is said once",
      },
    ])
  })
})
