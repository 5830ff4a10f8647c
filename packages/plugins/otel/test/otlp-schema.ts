// Decodes OTLP by the public schema (schema/*.proto: its names, numbers and types), protobuf and JSON alike. Uses nothing of any exporter.
import { readdirSync, readFileSync } from "node:fs"
import protobuf from "protobufjs"

const root = new protobuf.Root()
const folder = new URL("schema/", import.meta.url)
// All of them are read into one root: none imports another.
for (const name of readdirSync(folder).filter((name) => name.endsWith(".proto"))) {
  protobuf.parse(readFileSync(new URL(name, folder), "utf8"), root, { keepCase: false })
}
root.resolveAll()

export type Signal = "traces" | "metrics" | "logs"
const REQUESTS: Readonly<Record<Signal, string>> = {
  traces: "trace.v1.ExportTraceServiceRequest",
  metrics: "metrics.v1.ExportMetricsServiceRequest",
  logs: "logs.v1.ExportLogsServiceRequest",
}

type Json = Readonly<Record<string, unknown>>
const AS_OBJECT: protobuf.IConversionOptions = {
  longs: String,
  enums: String,
  bytes: String,
  defaults: false,
  arrays: true,
}

/** A request as plain data: bytes in base64, 64-bit numbers as text, enums by name. Throws at what the schema doesn't have. */
export const decodeRequest = (signal: Signal, contentType: string, body: Buffer): Json => {
  const type = root.lookupType(`opentelemetry.proto.collector.${REQUESTS[signal]}`)
  const message =
    contentType === "application/json"
      ? type.fromObject(jsonMapped(JSON.parse(body.toString("utf8")), type) as Json)
      : type.decode(body)
  return toPlain(type.toObject(message, AS_OBJECT)) as Json
}

/** OTLP's JSON is protobuf's, but with ids in hexadecimal; and every name in it must be the schema's. */
const jsonMapped = (value: unknown, type: protobuf.Type): unknown => {
  if (typeof value !== "object" || value === null) throw new Error(`${type.fullName} is ${JSON.stringify(value)}`)
  return Object.fromEntries(
    Object.entries(value).map(([key, field]) => {
      const known = type.fields[key]
      if (known === undefined) throw new Error(`${type.fullName} has no field ${key}`)
      const map = (one: unknown): unknown => {
        if (known.type === "bytes") return Buffer.from(String(one), "hex").toString("base64")
        return known.resolvedType instanceof protobuf.Type ? jsonMapped(one, known.resolvedType) : one
      }
      return [key, known.repeated ? (field as ReadonlyArray<unknown>).map(map) : map(field)]
    }),
  )
}

const toPlain = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

interface KeyValue {
  readonly key: string
  readonly value: Json
}
/** `[{ key, value: { stringValue } }]` as `{ key: value }`. */
export const attributesIn = (list: unknown): Json =>
  Object.fromEntries(((list ?? []) as ReadonlyArray<KeyValue>).map(({ key, value }) => [key, valueIn(value)]))
const valueIn = (value: Json): unknown => {
  const [kind, content] = Object.entries(value ?? {})[0] ?? []
  if (kind === "arrayValue") return ((content as Json)["values"] as ReadonlyArray<Json>).map(valueIn)
  if (kind === "kvlistValue") return attributesIn((content as Json)["values"])
  return kind === "intValue" ? Number(content) : content
}

export interface ReceivedSpan {
  readonly name: string
  readonly kind: string
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string
  readonly startTimeUnixNano: string
  readonly endTimeUnixNano: string
  readonly attributes: Json
  readonly events: ReadonlyArray<{ readonly name: string; readonly attributes: Json }>
  readonly links: ReadonlyArray<{
    readonly traceId: string
    readonly spanId: string
    readonly attributes: Json
    readonly traceState: string
  }>
  readonly status: { readonly code: string; readonly message: string }
  readonly resource: Json
  readonly scope: Json
}
/** In hexadecimal, as people and events have them. */
const idIn = (bytes: unknown): string => Buffer.from(String(bytes ?? ""), "base64").toString("hex")
const each = (value: unknown): ReadonlyArray<Json> => (value ?? []) as ReadonlyArray<Json>

export const spansIn = (request: Json): ReadonlyArray<ReceivedSpan> =>
  each(request["resourceSpans"]).flatMap((group) =>
    each(group["scopeSpans"]).flatMap((scoped) =>
      each(scoped["spans"]).map((span) => ({
        name: String(span["name"]),
        kind: String(span["kind"]),
        traceId: idIn(span["traceId"]),
        spanId: idIn(span["spanId"]),
        parentSpanId: idIn(span["parentSpanId"]),
        startTimeUnixNano: String(span["startTimeUnixNano"]),
        endTimeUnixNano: String(span["endTimeUnixNano"]),
        attributes: attributesIn(span["attributes"]),
        events: each(span["events"]).map(({ attributes, name }) => ({
          name: String(name),
          attributes: attributesIn(attributes),
        })),
        links: each(span["links"]).map(({ attributes, spanId, traceId, traceState }) => ({
          traceId: idIn(traceId),
          spanId: idIn(spanId),
          traceState: String(traceState ?? ""),
          attributes: attributesIn(attributes),
        })),
        status: {
          code: String((span["status"] as Json | undefined)?.["code"] ?? "STATUS_CODE_UNSET"),
          message: String((span["status"] as Json | undefined)?.["message"] ?? ""),
        },
        resource: attributesIn((group["resource"] as Json)["attributes"]),
        scope: scoped["scope"] as Json,
      })),
    ),
  )

export interface ReceivedPoint {
  readonly name: string
  readonly unit: string
  readonly kind: "sum" | "histogram"
  readonly temporality: string
  readonly attributes: Json
  /** Of a sum; of a histogram, the sum of what was recorded. */
  readonly value: number
  readonly count?: number
  /** Of a histogram: how many are in each bucket that isn't empty, by its upper bound. */
  readonly buckets?: Readonly<Record<string, number>>
}
export const pointsIn = (request: Json): ReadonlyArray<ReceivedPoint> =>
  each(request["resourceMetrics"]).flatMap((group) =>
    each(group["scopeMetrics"]).flatMap((scoped) =>
      each(scoped["metrics"]).flatMap((metric) => {
        const kind = metric["sum"] === undefined ? "histogram" : "sum"
        const data = metric[kind] as Json
        return each(data["dataPoints"]).map(
          (point) =>
            ({
              name: String(metric["name"]),
              unit: String(metric["unit"]),
              kind,
              temporality: String(data["aggregationTemporality"]),
              attributes: attributesIn(point["attributes"]),
              value: Number(kind === "sum" ? (point["asInt"] ?? point["asDouble"]) : point["sum"]),
              ...(kind === "histogram" ? { count: Number(point["count"]), buckets: bucketsIn(point) } : {}),
            }) as const,
        )
      }),
    ),
  )

const bucketsIn = (point: Json): Readonly<Record<string, number>> => {
  const bounds = (point["explicitBounds"] ?? []) as ReadonlyArray<number>
  const counts = (point["bucketCounts"] ?? []) as ReadonlyArray<string>
  return Object.fromEntries(
    counts.flatMap((count, at) => (Number(count) === 0 ? [] : [[String(bounds[at] ?? "more"), Number(count)]])),
  )
}

export interface ReceivedRecord {
  readonly eventName: string
  readonly timeUnixNano: string
  readonly severityText: string
  readonly severityNumber: string
  readonly traceId: string
  readonly spanId: string
  readonly body: unknown
  readonly attributes: Json
}
export const recordsIn = (request: Json): ReadonlyArray<ReceivedRecord> =>
  each(request["resourceLogs"]).flatMap((group) =>
    each(group["scopeLogs"]).flatMap((scoped) =>
      each(scoped["logRecords"]).map((record) => ({
        eventName: String(record["eventName"]),
        timeUnixNano: String(record["timeUnixNano"]),
        severityText: String(record["severityText"]),
        severityNumber: String(record["severityNumber"]),
        traceId: idIn(record["traceId"]),
        spanId: idIn(record["spanId"]),
        body: valueIn(record["body"] as Json),
        attributes: attributesIn(record["attributes"]),
      })),
    ),
  )
