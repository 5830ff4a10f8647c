/**
 * OTLP over HTTP: sends one signal's requests, tries again as the OTLP specification says, and can be closed at once, with whatever is under way. The
 * SDK's own transport can't: its tries go on for seconds after it was shut down. Never throws; knows nothing of what it sends.
 */
import { request as requestHttp, Agent as HttpAgent, type IncomingMessage } from "node:http"
import { request as requestHttps, Agent as HttpsAgent } from "node:https"
import { promisify } from "node:util"
import { gzip } from "node:zlib"
import type { Target } from "./environment.ts"
import { inOneLine, messageOf } from "./voice.ts"

const compress = promisify(gzip)

const FIRST_BACKOFF_MS = 1_000
const LAST_BACKOFF_MS = 5_000
const BACKOFF_FACTOR = 1.5
/** A collector that says "at once", again and again, is not taken at its word. */
const LEAST_WAIT_MS = 100
/** A collector's answer is a few bytes; a longer one is somebody else's. */
const MAX_ANSWER_BYTES = 64 * 1024
/** What the specification names as worth another try. */
const RETRYABLE: ReadonlySet<number> = new Set([429, 502, 503, 504])
/** Sockets kept open between two exports, at most. */
const MAX_IDLE_SOCKETS = 1

export type Sent = { readonly ok: true; readonly body: Buffer } | { readonly ok: false; readonly why: string }
/** `again`: another try may help, after so many milliseconds; null: after the usual ones. */
type Attempt = Sent & { readonly again?: { readonly afterMs: number | null } }
interface Payload {
  readonly bytes: Uint8Array
  readonly headers: Readonly<Record<string, string>>
}

export class Connection {
  readonly #target: Target
  readonly #url: URL
  readonly #agent: HttpAgent
  /** Ends everything under way. */
  readonly #cancels = new Set<() => void>()
  #state: "open" | "last" | "closed" = "open"

  constructor(target: Target) {
    this.#target = target
    this.#url = new URL(target.url)
    const options = { keepAlive: true, maxFreeSockets: MAX_IDLE_SOCKETS }
    this.#agent =
      this.#url.protocol === "https:" ? new HttpsAgent({ ...options, ...target.tls }) : new HttpAgent(options)
  }

  /** Where to, without what may be secret in it. */
  get address(): string {
    return `${this.#url.origin}${this.#url.pathname}`
  }

  /** Sends a request, again if need be, for as long as its target allows. */
  async send(body: Uint8Array, contentType: string): Promise<Sent> {
    const deadline = performance.now() + this.#target.timeoutMs
    const payload = await this.#payloadOf(body, contentType)
    let backoffMs = FIRST_BACKOFF_MS
    for (;;) {
      const sent = await this.#post(payload, deadline - performance.now())
      if (sent.ok || sent.again === undefined || this.#state !== "open") return sent
      // Up to a fifth more or less, so that a fleet doesn't come back as one.
      const waitMs = Math.max(LEAST_WAIT_MS, sent.again.afterMs ?? backoffMs * (0.8 + Math.random() * 0.4))
      if (performance.now() + waitMs > deadline) return sent
      await this.#pause(waitMs)
      if (this.#state !== "open") return sent
      backoffMs = Math.min(LAST_BACKOFF_MS, backoffMs * BACKOFF_FACTOR)
    }
  }

  /** From now on nothing is tried twice, and nobody waits to try again. */
  hurry(): void {
    if (this.#state !== "open") return
    this.#state = "last"
    for (const wake of this.#pauses) wake()
  }

  /** Ends what is under way. */
  close(): void {
    this.#state = "closed"
    for (const wake of this.#pauses) wake()
    for (const cancel of this.#cancels) cancel()
    this.#agent.destroy()
  }

  readonly #pauses = new Set<() => void>()
  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer)
        this.#pauses.delete(wake)
        resolve()
      }
      // Telemetry that can't be delivered is no reason for a process to live on.
      const timer = setTimeout(wake, ms).unref()
      this.#pauses.add(wake)
    })
  }

  async #payloadOf(body: Uint8Array, contentType: string): Promise<Payload> {
    const headers = { ...this.#target.headers, "user-agent": "cordwood-plugin-otel", "content-type": contentType }
    if (this.#target.compression === "none") return { bytes: body, headers }
    return { bytes: await compress(body), headers: { ...headers, "content-encoding": "gzip" } }
  }

  #post(payload: Payload, limitMs: number): Promise<Attempt> {
    if (this.#state === "closed") return Promise.resolve({ ok: false, why: "the agent stopped before it was sent" })
    return new Promise((resolve) => {
      const request = (this.#url.protocol === "https:" ? requestHttps : requestHttp)(this.#url, {
        method: "POST",
        agent: this.#agent,
        headers: { ...payload.headers, "content-length": payload.bytes.byteLength },
      })
      const end = (attempt: Attempt): void => {
        clearTimeout(timer)
        this.#cancels.delete(cancel)
        resolve(attempt)
        request.destroy()
      }
      const cancel = (): void => end({ ok: false, why: "the agent stopped before it was answered" })
      const timer = setTimeout(
        () => end({ ok: false, why: "no answer in time", again: { afterMs: null } }),
        Math.max(1, limitMs),
      )
      this.#cancels.add(cancel)
      request.on("error", (error) => {
        // The collector closed a connection just as it was used again: nothing was read from it, and a new one will do.
        if (request.reusedSocket && "code" in error && error.code === "ECONNRESET" && this.#cancels.delete(cancel)) {
          clearTimeout(timer)
          resolve(this.#post(payload, limitMs))
        } else end({ ok: false, why: messageOf(error), again: { afterMs: null } })
      })
      request.on("response", (response) => answerOf(response).then(end))
      request.end(payload.bytes)
    })
  }
}

const answerOf = async (response: IncomingMessage): Promise<Attempt> => {
  const { statusCode: status = 0, statusMessage = "" } = response
  const chunks: Array<Buffer> = []
  let length = 0
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      length += chunk.length
      if (length > MAX_ANSWER_BYTES) return { ok: false, why: `an answer of more than ${MAX_ANSWER_BYTES} bytes` }
      chunks.push(chunk)
    }
  } catch (error) {
    // What was sent has arrived; only the answer to it was cut off.
    if (status < 200 || status > 299) return { ok: false, why: messageOf(error), again: { afterMs: null } }
  }
  if (status >= 200 && status <= 299) return { ok: true, body: Buffer.concat(chunks) }
  const why = inOneLine(`it answered ${status} ${statusMessage}`.trim())
  return RETRYABLE.has(status) ? { ok: false, why, again: { afterMs: retryAfterOf(response) } } : { ok: false, why }
}

/** Milliseconds; the header has seconds or a date. */
const retryAfterOf = ({ headers }: IncomingMessage): number | null => {
  const text = headers["retry-after"]
  if (text === undefined) return null
  const seconds = Number(text)
  const ms = Number.isFinite(seconds) ? seconds * 1_000 : Date.parse(text) - Date.now()
  // A date that has passed meanwhile, or for another clock, means now.
  return Number.isFinite(ms) ? Math.max(0, ms) : null
}
