/** A collector that takes everything and keeps nothing, in a process of its own, so that its work isn't counted. Says its port to its parent. */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"

/** Sent to the parent: first the port, then, whenever it asks, what came in since it last asked. */
export type SinkReport = { readonly port: number } | { readonly requests: number; readonly bytes: number }

let requests = 0
let bytes = 0
const server = createServer((request, response) => {
  requests += 1
  request.on("data", (chunk: Buffer) => (bytes += chunk.length))
  request.on("end", () => response.writeHead(200).end())
})
server.listen(0, "127.0.0.1", () => {
  process.send?.({ port: (server.address() as AddressInfo).port } satisfies SinkReport)
})
process.on("message", () => {
  process.send?.({ requests, bytes } satisfies SinkReport)
  requests = 0
  bytes = 0
})
process.on("disconnect", () => process.exit())
