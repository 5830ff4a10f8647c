/**
 * A plugin's tracer, made safe to run a pass under: effect calls it in the midst of everything, and what it throws would end the step. A span that
 * can't be made is replaced by one that nobody exports; what a span throws is dropped. Spans stay the plugin's own objects, as it may look for them.
 */
import { Context, type Fiber, Option, Tracer } from "effect"

type Options = Parameters<Tracer.Tracer["span"]>[0]
type Within = NonNullable<Tracer.Tracer["context"]>

/** What a span is asked to do. */
const ACTS = ["end", "attribute", "event", "addLinks"] as const
const EVALUATE = "~effect/Effect/evaluate"

/** `trouble` is told of everything that goes wrong; it must not throw. */
export const guardedTracer = (tracer: Tracer.Tracer, trouble: (what: unknown) => void): Tracer.Tracer => {
  // A tracer may hand out one and the same span for ever: it is made safe once.
  const safe = new WeakSet<object>()
  const span = (options: Options): Tracer.Span => {
    try {
      const made = tracer.span(options)
      if (!safe.has(made)) {
        demandSpan(made)
        makeSafe(made, trouble)
        safe.add(made)
      }
      return made
    } catch (error) {
      trouble(error)
      return unseen(options)
    }
  }
  const { context } = tracer
  return Tracer.make(
    context === undefined ? { span } : { span, context: safeContext(context.bind(tracer) as Within, trouble) },
  )
}

/** Ids that events can name: others would make them unreadable. */
const hasIds = ({ spanId, traceId }: Tracer.Span): boolean =>
  /^[0-9a-f]{32}$/.test(traceId) && /^[0-9a-f]{16}$/.test(spanId)

/** Effect's own span in place of the tracer's: in its parent's trace, unless that is none. Nobody exports it. */
const unseen = (options: Options): Tracer.Span => {
  const span = new Tracer.NativeSpan(options)
  return hasIds(span) ? span : new Tracer.NativeSpan({ ...options, parent: Option.none() })
}

/** Reads whatever is read of a span later, so that what can't be read is found now. */
const demandSpan = (made: Tracer.Span): void => {
  const { _tag, annotations, kind, parent, sampled, spanId, status, traceId } = made
  const known =
    _tag === "Span" &&
    typeof traceId === "string" &&
    typeof spanId === "string" &&
    hasIds(made) &&
    typeof sampled === "boolean" &&
    typeof kind === "string" &&
    typeof status._tag === "string" &&
    Context.isContext(annotations) &&
    Option.isOption(parent) &&
    ACTS.every((act) => typeof made[act] === "function")
  if (!known) throw new TypeError("it handed out something that is no span")
}

const makeSafe = (made: Tracer.Span, trouble: (what: unknown) => void): void => {
  for (const act of ACTS) {
    const method: unknown = made[act]
    const value = (...given: ReadonlyArray<unknown>): void => {
      try {
        Reflect.apply(method as () => void, made, given)
      } catch (error) {
        trouble(error)
      }
    }
    Object.defineProperty(made, act, { value, configurable: true, writable: true })
  }
}

/** Evaluates each piece just once, whatever the tracer's own `context` makes of it, and gives what the piece gave. */
const safeContext =
  (context: Within, trouble: (what: unknown) => void): Within =>
  <A>(primitive: Tracer.EffectPrimitive<A>, fiber: Fiber.Fiber<unknown, unknown>): A => {
    let outcome: { readonly value: A } | { readonly thrown: unknown } | undefined
    const once: Tracer.EffectPrimitive<A> = {
      [EVALUATE]: () => {
        if (outcome === undefined) {
          try {
            outcome = { value: primitive[EVALUATE](fiber) }
          } catch (error) {
            outcome = { thrown: error }
          }
        }
        if ("thrown" in outcome) throw outcome.thrown
        return outcome.value
      },
    }
    try {
      context(once, fiber)
    } catch (error) {
      if (outcome === undefined || !("thrown" in outcome) || outcome.thrown !== error) trouble(error)
    }
    if (outcome === undefined) return primitive[EVALUATE](fiber)
    if ("thrown" in outcome) throw outcome.thrown
    return outcome.value
  }
