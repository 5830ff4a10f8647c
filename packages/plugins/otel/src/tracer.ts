/**
 * Effect's tracer on `@opentelemetry/api`. Whatever the API, an SDK or an exporter behind it throws or hands out, what is traced never notices:
 * the span is then one that records nothing. Must not import an SDK.
 */
import {
  context as contextApi,
  type Attributes,
  type Context,
  type HrTime,
  type Link,
  type Span as OtelSpan,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  trace,
  TraceFlags,
  type Tracer as OtelTracer,
} from "@opentelemetry/api"
import { Cause, Exit, type Fiber, Option, Tracer } from "effect"
import { attributesOf, attributeValueOf, MAX_VALUE_LENGTH } from "./attribute.ts"

/** What OpenTelemetry calls invalid, and what an event's metadata leaves out. */
const NO_TRACE_ID = "0".repeat(32)
const NO_SPAN_ID = "0".repeat(16)
/** Errors of one cause that are recorded on a span: the first says what went wrong, and a hundredth says nothing new. */
const MAX_EXCEPTIONS = 4
const NANOSECONDS = 1_000_000_000n

const KINDS: Readonly<Record<Tracer.SpanKind, SpanKind>> = {
  internal: SpanKind.INTERNAL,
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
}

export interface TracerOptions {
  /** The API's tracer; null as long as there is no SDK, and then nothing is asked of the API. */
  readonly api: () => OtelTracer | null
  /** Every span without a parent gets these links and attributes. */
  readonly rootLinks: ReadonlyArray<Link>
  readonly rootAttributes: Attributes
  /** Told of every span that ended, recorded or not. */
  readonly ended: ((span: EndedSpan) => void) | null
  /** Whether code that a span runs finds the span as the API's active one, as instrumentations of other libraries look for it. */
  readonly activates: boolean
  /** Told of what the API throws. Must not throw itself. */
  readonly trouble: (error: unknown) => void
}

/** What a span came to, for those who measure. `errorType`: null if nothing went wrong, or it was interrupted. */
export interface EndedSpan {
  readonly name: string
  readonly seconds: number
  readonly attributes: ReadonlyMap<string, unknown>
  readonly errorType: string | null
}

type SpanOptions = Parameters<Tracer.Tracer["span"]>[0]

export const makeTracer = (options: TracerOptions): Tracer.Tracer =>
  Tracer.make({
    span: (span) => start(span, options),
    ...(options.activates ? { context: (primitive, fiber) => within(primitive, fiber, options) } : {}),
  })

/** What a call to somebody else's code gives, or undefined if it throws. */
const attempt = <A>(trouble: TracerOptions["trouble"], call: () => A): A | undefined => {
  try {
    return call()
  } catch (error) {
    trouble(error)
    return undefined
  }
}

const start = (span: SpanOptions, options: TracerOptions): BridgedSpan => {
  const { api, ended, rootAttributes, rootLinks, trouble } = options
  const parent = span.root ? undefined : Option.getOrUndefined(span.parent)
  // Effect hands down that a parent isn't sampled. Where it decided so itself, by a level, the API isn't asked.
  const isLeftOut = !span.sampled && (parent?.sampled !== false || (parent instanceof BridgedSpan && parent.isLeftOut))
  if (isLeftOut) return new BridgedSpan(span, { isLeftOut, ended, trouble })
  const made = attempt(trouble, () => {
    const tracer = api()
    if (tracer === null) return null
    const around = contextApi.active()
    const above = parent === undefined ? null : contextOf(parent, around)
    const links = span.links.map(linkOf)
    const started: unknown = tracer.startSpan(
      span.name,
      {
        kind: KINDS[span.kind],
        links: above === null ? [...rootLinks, ...links] : links,
        root: above === null,
        ...(above === null ? { attributes: rootAttributes } : {}),
        ...(span.startTime === 0n ? {} : { startTime: timeOf(span.startTime) }),
      },
      above ?? trace.deleteSpan(around),
    )
    if (!isOtelSpan(started)) throw new Error("the OpenTelemetry API handed out something that is no span")
    const ids = started.spanContext()
    if (!hasIds(ids)) throw new Error("the OpenTelemetry API handed out a span without ids")
    return { span: started, ids, context: options.activates ? trace.setSpan(around, started) : null }
  })
  return new BridgedSpan(span, { ...made, isLeftOut, ended, trouble })
}

/** The API's context below a span of effect's; null if it leads nowhere. */
const contextOf = (parent: Tracer.AnySpan, around: Context): Context | null => {
  if (parent instanceof BridgedSpan && parent.otel !== null) {
    return isValid(parent) ? trace.setSpan(around, parent.otel) : null
  }
  return isValid(parent) ? trace.setSpanContext(around, spanContextOf(parent)) : null
}

const isValid = ({ spanId, traceId }: Tracer.AnySpan): boolean =>
  /^(?!0+$)[0-9a-f]{32}$/.test(traceId) && /^(?!0+$)[0-9a-f]{16}$/.test(spanId)

const spanContextOf = (span: Tracer.AnySpan): SpanContext => ({
  traceId: span.traceId,
  spanId: span.spanId,
  traceFlags: span.sampled ? TraceFlags.SAMPLED : TraceFlags.NONE,
  ...(span._tag === "ExternalSpan" ? { isRemote: true } : {}),
})

const linkOf = ({ attributes, span }: Tracer.SpanLink): Link => {
  const ids = span instanceof BridgedSpan && span.otel !== null ? span.otel.spanContext() : spanContextOf(span)
  return { context: ids, attributes: attributesOf(attributes) }
}

const timeOf = (nanoseconds: bigint): HrTime => [Number(nanoseconds / NANOSECONDS), Number(nanoseconds % NANOSECONDS)]

const isOtelSpan = (span: unknown): span is OtelSpan =>
  typeof span === "object" && span !== null && "spanContext" in span && typeof span.spanContext === "function"

const hasIds = (ids: unknown): ids is SpanContext => {
  if (typeof ids !== "object" || ids === null) return false
  const { spanId, traceId } = ids as Partial<Record<keyof SpanContext, unknown>>
  return (
    typeof traceId === "string" &&
    typeof spanId === "string" &&
    /^[0-9a-f]{32}$/.test(traceId) &&
    /^[0-9a-f]{16}$/.test(spanId)
  )
}

interface Behind {
  readonly span?: OtelSpan
  readonly ids?: SpanContext
  readonly context?: Context | null
  readonly isLeftOut: boolean
  readonly ended: TracerOptions["ended"]
  readonly trouble: TracerOptions["trouble"]
}

/** Without an API's span behind it, it records nothing and has no valid ids, but is a span of effect's all the same. */
class BridgedSpan implements Tracer.Span {
  readonly _tag = "Span"
  readonly name: string
  readonly traceId: string
  readonly spanId: string
  readonly sampled: boolean
  readonly kind: Tracer.SpanKind
  readonly parent: Option.Option<Tracer.AnySpan>
  readonly annotations: Tracer.Span["annotations"]
  readonly otel: OtelSpan | null
  /** With this span as the API's active one. */
  readonly context: Context | null
  /** By effect, not by the API. */
  readonly isLeftOut: boolean
  readonly attributes = new Map<string, unknown>()
  status: Tracer.SpanStatus
  #links: Array<Tracer.SpanLink>
  #recording: boolean
  readonly #ended: TracerOptions["ended"]
  readonly #trouble: TracerOptions["trouble"]

  constructor(options: SpanOptions, { context = null, ended, ids, isLeftOut, span, trouble }: Behind) {
    this.name = options.name
    this.kind = options.kind
    this.parent = options.parent
    this.annotations = options.annotations
    this.status = { _tag: "Started", startTime: options.startTime }
    this.#links = options.links
    this.#ended = ended
    this.#trouble = trouble
    this.otel = span ?? null
    this.context = context
    this.isLeftOut = isLeftOut
    this.traceId = ids?.traceId ?? NO_TRACE_ID
    this.spanId = ids?.spanId ?? NO_SPAN_ID
    this.#recording = attempt(trouble, () => span?.isRecording()) === true
    this.sampled = this.#recording || ((ids?.traceFlags ?? 0) & TraceFlags.SAMPLED) !== 0
  }

  get links(): ReadonlyArray<Tracer.SpanLink> {
    return this.#links
  }

  attribute(key: string, value: unknown): void {
    this.attributes.set(key, value)
    this.#record((span) => {
      const known = attributeValueOf(value)
      if (known !== undefined) span.setAttribute(key, known)
    })
  }

  event(name: string, startTime: bigint, attributes?: Record<string, unknown>): void {
    this.#record((span) =>
      span.addEvent(name, attributesOf(attributes), startTime === 0n ? undefined : timeOf(startTime)),
    )
  }

  addLinks(links: ReadonlyArray<Tracer.SpanLink>): void {
    this.#links = [...this.#links, ...links]
    this.#record((span) => span.addLinks(links.map(linkOf)))
  }

  end(endTime: bigint, exit: Exit.Exit<unknown, unknown>): void {
    if (this.status._tag === "Ended") return
    const { startTime } = this.status
    this.status = { _tag: "Ended", startTime, endTime, exit }
    const known = this.attributes.get("error.type")
    const errorType = typeof known === "string" ? known : errorTypeIn(exit)
    this.#record((span) => this.#conclude(span, exit, errorType))
    // Ended even if its outcome could not be told, so that it isn't held for good.
    this.#record((span) => span.end(endTime === 0n ? undefined : timeOf(endTime)))
    this.#recording = false
    const { attributes, name } = this
    const seconds = Math.max(0, Number(endTime - startTime)) / Number(NANOSECONDS)
    attempt(this.#trouble, () => this.#ended?.({ name, seconds, attributes, errorType }))
  }

  #conclude(span: OtelSpan, exit: Exit.Exit<unknown, unknown>, errorType: string | null): void {
    if (Exit.isSuccess(exit)) {
      // A step that fails is recorded and the pass goes on: its span then says so by this attribute.
      if (errorType !== null) span.setStatus(failed(this.attributes.get("error.message")))
      return
    }
    const { cause } = exit
    if (Cause.hasInterruptsOnly(cause)) {
      span.setAttribute("cordwood.interrupted", true)
      return
    }
    const errors = Cause.prettyErrors(cause)
    for (const { message, name, stack } of errors.slice(0, MAX_EXCEPTIONS)) {
      span.recordException({ name, message: cut(message), ...(stack === undefined ? {} : { stack: cut(stack) }) })
    }
    if (errorType !== null) span.setAttribute("error.type", errorType)
    span.setStatus(failed(errors[0]?.message))
  }

  #record(use: (span: OtelSpan) => unknown): void {
    const { otel } = this
    if (otel !== null && this.#recording) attempt(this.#trouble, () => use(otel))
  }
}

const failed = (message: unknown): Parameters<OtelSpan["setStatus"]>[0] => ({
  code: SpanStatusCode.ERROR,
  ...(typeof message === "string" ? { message: cut(message) } : {}),
})
const cut = (text: string): string => text.slice(0, MAX_VALUE_LENGTH)

/** Null where nothing failed: a program that is told to stop is no error. */
const errorTypeIn = (exit: Exit.Exit<unknown, unknown>): string | null =>
  Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause) ? null : errorTypeOf(Cause.squash(exit.cause))

/** A word with few values, as the convention asks: our errors' own `reason`, or else what the error is called. */
const errorTypeOf = (error: unknown): string => {
  const { _tag, name, reason } = (typeof error === "object" && error !== null ? error : {}) as Readonly<
    Record<"_tag" | "name" | "reason", unknown>
  >
  const word = [reason, _tag, name].find((word) => typeof word === "string" && /^[A-Za-z][\w.-]{0,63}$/.test(word))
  return typeof word === "string" ? word : "_OTHER"
}

const EVALUATE = "~effect/Effect/evaluate"

/** Runs a piece of a program with its span as the API's active one. The piece runs once, whatever a context manager makes of it. */
const within = <A>(
  primitive: Tracer.EffectPrimitive<A>,
  fiber: Fiber.Fiber<unknown, unknown>,
  { trouble }: TracerOptions,
): A => {
  const { span } = fiber.cache
  if (!(span instanceof BridgedSpan) || span.context === null) return primitive[EVALUATE](fiber)
  let ran: { readonly value: A } | { readonly thrown: unknown } | undefined
  const run = (): void => {
    try {
      ran = { value: primitive[EVALUATE](fiber) }
    } catch (error) {
      ran = { thrown: error }
    }
  }
  const { context } = span
  attempt(trouble, () => contextApi.with(context, run))
  if (ran === undefined) return primitive[EVALUATE](fiber)
  if ("thrown" in ran) throw ran.thrown
  return ran.value
}
