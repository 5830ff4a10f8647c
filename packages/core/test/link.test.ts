// How spans link to a rotation that is on record.
import { describe, expect, it } from "vitest"
import { linksTo, type Origin } from "@cordwood/core"

const origin: Origin = { eventId: "e1", traceId: "4bf92f3577b34da6a3ce929d0e0e4736", spanId: "00f067aa0ba902b7" }

describe("a link to a rotation", () => {
  it("names the rotation's event, and the span that it happened in as one from elsewhere", () => {
    const links = linksTo(origin).map(({ attributes, span }) => ({
      attributes,
      tag: span._tag,
      traceId: span.traceId,
      spanId: span.spanId,
      sampled: span.sampled,
    }))
    expect(links).toEqual([
      {
        attributes: { "cordwood.event.id": "e1", "cordwood.link": "rotated" },
        tag: "ExternalSpan",
        traceId: origin.traceId,
        spanId: origin.spanId,
        sampled: true,
      },
    ])
  })

  it.each([null, { ...origin, traceId: null }, { ...origin, spanId: null }])("is none for %j", (origin) => {
    expect(linksTo(origin)).toEqual([])
  })
})
