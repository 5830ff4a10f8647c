/** Reads W3C Trace Context as a rollout hands it down: `TRACEPARENT` and `TRACESTATE` of the environment. Reads no environment itself. */
import { createTraceState, type SpanContext } from "@opentelemetry/api"

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/
const SAMPLED = 0x01

/** Null if it is none: a wrong one must not join things that don't belong together. */
export const readTraceparent = (traceparent: string, tracestate: string | undefined): SpanContext | null => {
  const [, version, traceId, spanId, flags, rest] = TRACEPARENT.exec(traceparent.trim()) ?? []
  if (version === undefined || traceId === undefined || spanId === undefined || flags === undefined) return null
  // Version 00 has four fields; a later one may have more, and is read as 00.
  if (version === "ff" || (version === "00" && rest !== undefined)) return null
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return null
  const context = { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & SAMPLED, isRemote: true }
  return tracestate === undefined || tracestate === ""
    ? context
    : { ...context, traceState: createTraceState(tracestate) }
}
