/** A plugin's tracer, with its failures kept to itself: nothing fails, or is stored wrong, for being traced. Decides nothing about where spans go. */
import { Option, Tracer } from "effect"

const METHODS = ["end", "attribute", "event", "addLinks"] as const
type Methods = { -readonly [M in (typeof METHODS)[number]]: (...given: ReadonlyArray<unknown>) => void }

/**
 * In place of a span that can't be made, or whose ids events couldn't name, there is one of effect's own, which nobody sees. A span stays the object
 * that the tracer made, as that looks for its own kind among parents and links.
 */
export const sheltered = (tracer: Tracer.Tracer): Tracer.Tracer => {
  const { context } = tracer
  return Tracer.make({
    span: (options) => {
      try {
        return shelteredSpan(tracer.span(options))
      } catch {
        return unseen(options)
      }
    },
    ...(typeof context === "function" && { context: (primitive, fiber) => context.call(tracer, primitive, fiber) }),
  } as Tracer.Tracer)
}

const hasIds = ({ spanId, traceId }: Tracer.Span): boolean =>
  /^[0-9a-f]{32}$/.test(traceId) && /^[0-9a-f]{16}$/.test(spanId)

/** In its parent's trace, unless that is none. */
const unseen = (options: Parameters<Tracer.Tracer["span"]>[0]): Tracer.Span => {
  const span = new Tracer.NativeSpan(options)
  return hasIds(span) ? span : new Tracer.NativeSpan({ ...options, parent: Option.none() })
}

const shelteredSpan = (span: Tracer.Span): Tracer.Span => {
  if (!hasIds(span)) throw new TypeError("its ids are no span's")
  const methods = span as unknown as Methods
  for (const name of METHODS) {
    const act = methods[name].bind(span)
    methods[name] = (...given) => {
      try {
        act(...given)
      } catch {
        // Who is traced is not to blame.
      }
    }
  }
  return span
}
