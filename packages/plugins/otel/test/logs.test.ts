// From events to log records, as a collector has them.
import type { Envelope } from "@cordwood/core"
import { logs } from "@opentelemetry/api-logs"
import { InMemoryLogRecordExporter, LoggerProvider, SimpleLogRecordProcessor } from "@opentelemetry/sdk-logs"
import { afterEach, beforeEach, expect, it, vi } from "vitest"
import { type Collector, startCollector } from "./collector.ts"
import { eventOf, observed, withOtel } from "./set-up.ts"

let collector: Collector
beforeEach(async () => {
  for (const name of Object.keys(process.env)) if (/^(OTEL_|TRACE)/.test(name)) vi.stubEnv(name, undefined)
  collector = await startCollector()
})
afterEach(async () => {
  vi.unstubAllEnvs()
  logs.disable()
  await collector.close()
})

const received = async (events: ReadonlyArray<Envelope>) => {
  await withOtel({ endpoint: collector.url, logs: true, metrics: { enabled: false } }, (contributions) =>
    observed(contributions, events),
  )
  return collector.records
}

const ROTATED = eventOf({ type: "Rotated", data: { from: "/a", to: "/a.1", bytes: 7, maxSize: 5, reopened: true } })
const record = (event: Envelope, over: object) => ({
  timeUnixNano: `${BigInt(Date.parse(event.time)) * 1_000_000n}`,
  severityText: "INFO",
  severityNumber: "SEVERITY_NUMBER_INFO",
  traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
  spanId: "00f067aa0ba902b7",
  body: event.data,
  ...over,
  attributes: {
    "cordwood.event.id": event.id,
    "cordwood.event.type": event.type,
    "cordwood.pass.id": "11111111-1111-4111-8111-111111111111",
    "cordwood.policy.name": "canary",
    "cordwood.policy.mode": "enforce",
    "log.file.path": "/var/log/pods/web_shop_1/app/0.log",
    "k8s.namespace.name": "web",
    "k8s.pod.name": "shop",
    "k8s.pod.uid": "1",
    "k8s.container.name": "app",
    "container.id": "c1",
    ...("attributes" in over ? (over.attributes as object) : {}),
  },
})

it("an event is a record: its data is the body, its span the context, and what went wrong is louder", async () => {
  const removed = (reason: string) => eventOf({ type: "Removed", data: { path: "/a.1", bytes: 7, reason } })
  const failed = eventOf({
    type: "Failed",
    data: { step: "compress", path: "/a.1", reason: "NoSpace", message: "full", hint: "make room" },
  })
  const deferred = eventOf({
    type: "Deferred",
    data: { step: "remove", path: "/a.1", by: "s3", why: "403", retryAfterMs: 5 },
  })
  const shipped = eventOf({ type: "s3.Shipped", data: { path: "/a.1", parts: [1, 2], etag: null } })
  const [normal, pressed, missing] = ["max-files", "pressure", "missing"].map(removed) as [Envelope, Envelope, Envelope]
  const warn = { severityText: "WARN", severityNumber: "SEVERITY_NUMBER_WARN" }
  expect(await received([ROTATED, normal, pressed, missing, deferred, failed, shipped])).toEqual([
    record(ROTATED, { eventName: "cordwood.rotated" }),
    record(normal, { eventName: "cordwood.removed" }),
    record(pressed, { eventName: "cordwood.removed", ...warn }),
    record(missing, { eventName: "cordwood.removed", ...warn }),
    record(deferred, { eventName: "cordwood.deferred", ...warn }),
    record(failed, {
      eventName: "cordwood.failed",
      severityText: "ERROR",
      severityNumber: "SEVERITY_NUMBER_ERROR",
      attributes: { "error.type": "NoSpace" },
    }),
    record(shipped, { eventName: "cordwood.s3.shipped", body: { path: "/a.1", parts: [1, 2] } }),
  ])
})

it("an event outside of any span, and about no pod, says no more than it knows", async () => {
  const event: Envelope = {
    ...ROTATED,
    log: { path: "/var/log/nginx/access.log" },
    metadata: { correlationId: "p1", causationId: null, traceId: null, spanId: null },
  }
  const [only] = await received([event])
  expect({ traceId: only?.traceId, spanId: only?.spanId, attributes: only?.attributes }).toEqual({
    traceId: "",
    spanId: "",
    attributes: {
      "cordwood.event.id": event.id,
      "cordwood.event.type": "Rotated",
      "cordwood.pass.id": "p1",
      "log.file.path": "/var/log/nginx/access.log",
    },
  })
})

it("data without end or bottom is cut, and what can't be said is empty", async () => {
  const cyclic: Record<string, unknown> = { fine: true, not: undefined, nor: () => 1 }
  cyclic["self"] = cyclic
  const [only] = await received([
    eventOf({
      type: "s3.Odd",
      data: {
        cyclic,
        text: "x".repeat(10_000),
        list: Array.from({ length: 1_000 }, () => 1),
        wide: Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`k${n}`, n])),
      },
    }),
  ])
  const { wide, ...body } = only!.body as { readonly wide: object }
  expect({ ...body, wide: Object.keys(wide).length }).toEqual({
    cyclic: { fine: true, self: { fine: true, self: { fine: true, self: "…" } } },
    text: "x".repeat(4_096),
    list: Array.from({ length: 128 }, () => 1),
    wide: 128,
  })
})

it("the process's own logger gets them, also where it is registered after the plugin", async () => {
  const exporter = new InMemoryLogRecordExporter()
  const provider = new LoggerProvider({ processors: [new SimpleLogRecordProcessor({ exporter })] })
  await withOtel({ logs: true }, async (contributions) => {
    logs.setGlobalLoggerProvider(provider)
    await observed(contributions, [ROTATED])
  })
  await provider.forceFlush()
  expect(exporter.getFinishedLogRecords().map(({ eventName }) => eventName)).toEqual(["cordwood.rotated"])
  await provider.shutdown()
})
