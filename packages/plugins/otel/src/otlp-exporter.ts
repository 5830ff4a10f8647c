/** One exporter for every signal: what an SDK hands over, serialized and sent. Says once that it can't be delivered, and once that it can again. */
import type { ISerializer } from "@opentelemetry/otlp-transformer"
import { formatDuration } from "@cordwood/core"
import type { Connection, Sent } from "./connection.ts"
import type { Target } from "./environment.ts"
import { messageOf, type Voice } from "./voice.ts"

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
  }
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
    const sending = this.#send(items).then((sent) => {
      this.#underWay.delete(sending)
      this.#note(sent)
      done(sent.ok ? { code: 0 } : { code: 1, error: new Error(sent.why) })
    })
    this.#underWay.add(sending)
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
    let answer: Answer
    try {
      answer = this.#serializer.deserializeResponse(body)
    } catch {
      // Some answer "ok" in words. The status is what counts.
      return
    }
    const {
      errorMessage = "",
      rejectedDataPoints = 0,
      rejectedLogRecords = 0,
      rejectedSpans = 0,
    } = answer.partialSuccess ?? {}
    const rejected = Number(rejectedSpans) + Number(rejectedDataPoints) + Number(rejectedLogRecords)
    if (!(rejected > 0)) return
    this.#saidRejected = true
    this.#voice.warn(
      `the collector at ${this.#connection.address} refused ${rejected} of the ${this.#target.signal} that it was sent: ${errorMessage.slice(0, 500)}`,
      "see the collector's limits; this is said once",
    )
  }
}
