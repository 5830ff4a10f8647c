/** Events as log records, for those who want them beside their other logs. What is in them is the event, and nothing is decided here. */
import { ROOT_CONTEXT, trace, TraceFlags } from "@opentelemetry/api"
import type { Logger, LogRecord } from "@opentelemetry/api-logs"
import type { Envelope } from "@cordwood/core"
import { attributesOf, MAX_VALUE_LENGTH } from "./attribute.ts"

/** OpenTelemetry's severity numbers. */
const INFO = 9
const WARN = 13
const ERROR = 17
/** Levels of nesting in an event's data that are told, and fields or items on each. */
const MAX_DEPTH = 4
const MAX_FIELDS = 128

export const makeLogging =
  (logger: Logger): ((event: Envelope) => void) =>
  (event) =>
    logger.emit(logRecordOf(event))

/** `cordwood.rotated`, `cordwood.s3.shipped`: event names are lower-case, with dots. */
const eventNameOf = (type: string): string => `cordwood.${type.toLowerCase()}`

export const logRecordOf = (event: Envelope): LogRecord => {
  const { id, log, metadata, time, type } = event
  const { correlationId, mode, policy, spanId, traceId } = metadata
  const severity = severityOf(event)
  return {
    eventName: eventNameOf(type),
    timestamp: new Date(time),
    severityNumber: severity,
    severityText: severity === ERROR ? "ERROR" : severity === WARN ? "WARN" : "INFO",
    body: bodyOf(event.data, 0),
    attributes: attributesOf({
      "cordwood.event.id": id,
      "cordwood.event.type": type,
      "cordwood.pass.id": correlationId,
      "cordwood.policy.name": policy,
      "cordwood.policy.mode": mode,
      "log.file.path": log.path,
      "k8s.namespace.name": log.namespace,
      "k8s.pod.name": log.pod,
      "k8s.pod.uid": log.podUid,
      "k8s.container.name": log.container,
      "container.id": log.containerId,
      "error.type": event.type === "Failed" ? event.data.reason : undefined,
    }),
    ...(traceId === null || spanId === null
      ? {}
      : { context: trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags: TraceFlags.SAMPLED }) }),
  }
}

const severityOf = (event: Envelope): typeof INFO | typeof WARN | typeof ERROR => {
  if (event.type === "Failed") return ERROR
  const isLoss = event.type === "Removed" && (event.data.reason === "pressure" || event.data.reason === "missing")
  return isLoss || event.type === "Deferred" ? WARN : INFO
}

type Body = NonNullable<LogRecord["body"]> | null

/** What JSON can carry, bounded. */
const bodyOf = (value: unknown, depth: number): Body => {
  if (typeof value === "string") return value.slice(0, MAX_VALUE_LENGTH)
  if (typeof value === "number" || typeof value === "boolean") return value
  if (typeof value !== "object" || value === null) return null
  if (depth === MAX_DEPTH) return "…"
  if (Array.isArray(value)) return value.slice(0, MAX_FIELDS).map((item) => bodyOf(item, depth + 1))
  const fields = Object.entries(value).slice(0, MAX_FIELDS)
  return Object.fromEntries(fields.map(([key, field]) => [key, bodyOf(field, depth + 1)]))
}
