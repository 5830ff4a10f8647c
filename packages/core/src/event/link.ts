/** A rotation that is on record, as spans link to it: also one of an agent that ran before. */
import { Context, Tracer } from "effect"
import type { Origin } from "./payload.ts"

/** No link where the rotation isn't known, or happened outside of any trace. */
export const linksTo = (origin: Origin | null): ReadonlyArray<Tracer.SpanLink> => {
  if (origin === null || origin.traceId === null || origin.spanId === null) return []
  const { spanId, traceId } = origin
  const span = Tracer.externalSpan({ spanId, traceId, sampled: true, annotations: Context.empty() })
  return [{ span, attributes: { "cordwood.event.id": origin.eventId, "cordwood.link": "rotated" } }]
}
