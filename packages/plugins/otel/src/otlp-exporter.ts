/** One exporter for every signal: what an SDK hands over, serialized and sent. Says once that it can't be delivered, and once that it can again. */
import type { ISerializer } from "@opentelemetry/otlp-transformer"
import { formatDuration } from "@cordwood/core"
import type { Connection, Sent } from "./connection.ts"
import type { Target } from "./environment.ts"
import { inOneLine, messageOf, type Voice } from "./voice.ts"

/** What the specification has gRPC collectors listen on; an HTTP client meets a reset there. */
const GRPC_PORT = "4317"

/** As the SDK's `ExportResult`: 0 is success, 1 failure. */
interface Result {
  readonly code: 0 | 1
  readonly error?: Error
}
/** What collectors answer where they took in a part only. */
interface Answer {
  readonly partialSuccess?: {
    readonly rejectedSpans?: number
    readonly rejectedDataPoints?: number
    readonly rejectedLogRecords?: number
    readonly errorMessage?: string
  } | null
}

export class OtlpExporter<Items> {
  readonly #target: Target
  readonly #connection: Connection
  readonly #serializer: ISerializer<Items, Answer>
  readonly #voice: Voice
  readonly #underWay = new Set<Promise<void>>()
  #outage: { readonly sinceMs: number; lost: number } | null = null
  #saidRejected = false

  constructor(target: Target, connection: Connection, serializer: ISerializer<Items, Answer>, voice: Voice) {
    this.#target = target
    this.#connection = connection
    this.#serializer = serializer
    this.#voice = voice
  }

  export(items: Items, done: (result: Result) => void): void {
    const sending = this.#deliver(items, done).finally(() => this.#underWay.delete(sending))
    this.#underWay.add(sending)
  }

  async #deliver(items: Items, done: (result: Result) => void): Promise<void> {
    const sent = await this.#send(items)
    this.#note(sent)
    done(sent.ok ? { code: 0 } : { code: 1, error: new Error(sent.why) })
  }

  async forceFlush(): Promise<void> {
    await Promise.all(this.#underWay)
  }

  async shutdown(): Promise<void> {
    await this.forceFlush()
    this.#connection.close()
  }

  async #send(items: Items): Promise<Sent> {
    try {
      const body = this.#serializer.serializeRequest(items)
      if (body === undefined) return { ok: false, why: "it could not be serialized" }
      const type = this.#target.protocol === "http/json" ? "application/json" : "application/x-protobuf"
      return await this.#connection.send(body, type)
    } catch (error) {
      return { ok: false, why: messageOf(error) }
    }
  }

  #note(sent: Sent): void {
    const { signal } = this.#target
    const { address } = this.#connection
    if (!sent.ok) {
      if (this.#outage === null) {
        this.#outage = { sinceMs: performance.now(), lost: 0 }
        const grpc = new URL(this.#target.url).port === GRPC_PORT
        this.#voice.warn(
          `${signal} can't be delivered to ${address}: ${sent.why}; rotation goes on, and ${signal} are lost until they can`,
          grpc
            ? `port ${GRPC_PORT} is usually gRPC's: this plugin speaks HTTP, for which collectors have port 4318`
            : "see whether the collector is up and takes OTLP over HTTP at this address",
        )
      }
      this.#outage.lost += 1
      return
    }
    if (this.#outage !== null) {
      const { lost, sinceMs } = this.#outage
      this.#outage = null
      this.#voice.info(
        `${signal} are delivered to ${address} again after ${formatDuration(performance.now() - sinceMs)}; ${lost} of their batches were lost`,
      )
    }
    this.#noteRejected(sent.body)
  }

  #noteRejected(body: Buffer): void {
    if (body.length === 0 || this.#saidRejected) return
    const refusal = this.#refusalIn(body)
    if (refusal === null) return
    this.#saidRejected = true
    this.#voice.warn(
      `the collector at ${this.#connection.address} refused ${refusal.count} of the ${this.#target.signal} that it was sent: ${inOneLine(refusal.message)}`,
      "see the collector's limits; this is said once",
    )
  }

  /** Null as well for an answer that is none: some say "ok" in words. The status is what counts. */
  #refusalIn(body: Buffer): { readonly count: number; readonly message: string } | null {
    try {
      const { errorMessage, rejectedDataPoints, rejectedLogRecords, rejectedSpans } =
        this.#serializer.deserializeResponse(body)?.partialSuccess ?? {}
      const count = Number(rejectedSpans ?? rejectedDataPoints ?? rejectedLogRecords ?? 0)
      return count > 0 ? { count, message: String(errorMessage ?? "") } : null
    } catch {
      return null
    }
  }
}
