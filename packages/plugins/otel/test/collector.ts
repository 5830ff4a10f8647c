// A collector on the loopback that takes OTLP over HTTP, decodes it by the public schema, and misbehaves to order.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo, Socket } from "node:net"
import { gunzipSync } from "node:zlib"
import {
  decodeRequest,
  pointsIn,
  type ReceivedPoint,
  type ReceivedRecord,
  type ReceivedSpan,
  recordsIn,
  type Signal,
  spansIn,
} from "./otlp-schema.ts"

export interface Collected {
  readonly path: string
  readonly headers: IncomingMessage["headers"]
  readonly bytes: number
}
export interface Collector {
  readonly url: string
  readonly port: number
  readonly requests: Array<Collected>
  readonly spans: Array<ReceivedSpan>
  /** Of each metric and set of attributes, the last. */
  readonly points: Array<ReceivedPoint>
  readonly records: Array<ReceivedRecord>
  /** What is answered instead of 200. */
  answer: ((response: ServerResponse) => void) | null
  readonly close: () => Promise<void>
}

const SIGNALS: Readonly<Record<string, Signal>> = {
  "/v1/traces": "traces",
  "/v1/metrics": "metrics",
  "/v1/logs": "logs",
}

export const startCollector = async (port = 0): Promise<Collector> => {
  const sockets = new Set<Socket>()
  const server = createServer((request, response) => {
    const chunks: Array<Buffer> = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      const raw = Buffer.concat(chunks)
      const { headers, url = "" } = request
      collector.requests.push({ path: url, headers, bytes: raw.length })
      if (collector.answer !== null) return collector.answer(response)
      const signal = SIGNALS[url]
      if (signal === undefined) return void response.writeHead(404).end()
      try {
        const body = headers["content-encoding"] === "gzip" ? gunzipSync(raw) : raw
        const decoded = decodeRequest(signal, headers["content-type"] ?? "", body)
        collector.spans.push(...(signal === "traces" ? spansIn(decoded) : []))
        collector.points.push(...(signal === "metrics" ? pointsIn(decoded) : []))
        collector.records.push(...(signal === "logs" ? recordsIn(decoded) : []))
        response
          .writeHead(200, { "Content-Type": headers["content-type"] ?? "" })
          .end(headers["content-type"] === "application/json" ? "{}" : "")
      } catch (error) {
        // As a real one: what the schema doesn't have is the client's mistake. Tests see it as spans that are missing.
        response.writeHead(400).end(String(error))
      }
    })
  })
  server.on("connection", (socket) => {
    sockets.add(socket)
    socket.on("close", () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve))
  const { port: bound } = server.address() as AddressInfo
  const collector: Collector = {
    url: `http://127.0.0.1:${bound}`,
    port: bound,
    requests: [],
    spans: [],
    points: [],
    records: [],
    answer: null,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const socket of sockets) socket.destroy()
      }),
  }
  return collector
}

/** A port that nobody listens on. */
export const deadPort = async (): Promise<number> => {
  const { close, port } = await startCollector()
  await close()
  return port
}

const DEADLINE_MS = 10_000
export const until = async (holds: () => boolean, what: string): Promise<void> => {
  const deadline = performance.now() + DEADLINE_MS
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`still not after ${DEADLINE_MS / 1_000} s: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
