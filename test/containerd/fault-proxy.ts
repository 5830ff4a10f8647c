/**
 * A socket in front of containerd's that can be told to break one CRI call. Everything else goes through byte for byte, streams
 * and unknown methods too: it forwards HTTP/2 and knows no message.
 */
import { rmSync } from "node:fs"
import { connect, constants, createServer } from "node:http2"
import type { ClientHttp2Session, Http2Server, IncomingHttpHeaders, ServerHttp2Stream } from "node:http2"
import { createConnection } from "node:net"

/** How a call is broken. gRPC's own words: what is answered, and whether the runtime has done what was asked. */
export type Fault =
  /** The runtime never hears of it; the caller gets an error. */
  | "refused"
  /** The runtime does it; the caller gets an error all the same. */
  | "reply-lost"
  /** The runtime never hears of it and the caller never hears back. */
  | "silence"

const { HTTP2_HEADER_PATH, NGHTTP2_CANCEL, NGHTTP2_NO_ERROR } = constants
const GRPC_UNAVAILABLE = "14"
const BROKEN = {
  ":status": 200,
  "content-type": "application/grpc",
  "grpc-status": GRPC_UNAVAILABLE,
  "grpc-message": "broken on purpose by the test",
}

/** HTTP/2's own headers and those of the connection belong to one hop and aren't forwarded as trailers. */
const withoutPseudo = (headers: IncomingHttpHeaders) =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith(":")))

export class FaultProxy {
  readonly socket: string
  private readonly server: Http2Server
  private readonly upstream: string
  private readonly faults = new Map<string, Fault>()
  private readonly broken = new Map<string, number>()
  private readonly sessions = new Set<{ destroy: () => void }>()

  private constructor(socket: string, upstream: string) {
    this.socket = socket
    this.upstream = upstream
    this.server = createServer()
    this.server.on("session", (session) => {
      this.sessions.add(session)
      session.on("error", () => undefined)
      const onward = connect("http://containerd", { createConnection: () => createConnection(this.upstream) })
      this.sessions.add(onward)
      onward.on("error", () => session.destroy())
      onward.on("close", () => session.destroy())
      session.on("close", () => onward.destroy())
      session.on("stream", (stream, headers) => this.handle(onward, stream, headers))
    })
  }

  static async start(socket: string, upstream: string): Promise<FaultProxy> {
    const proxy = new FaultProxy(socket, upstream)
    await new Promise<void>((resolve, reject) => {
      proxy.server.once("error", reject)
      proxy.server.listen(socket, resolve)
    })
    return proxy
  }

  /** From now on, until mended. `method` as CRI names it: "ReopenContainerLog". */
  break(method: string, fault: Fault): void {
    this.faults.set(method, fault)
  }
  mend(method: string): void {
    this.faults.delete(method)
  }
  /** Calls that were broken so far. */
  timesBroken(method: string): number {
    return this.broken.get(method) ?? 0
  }

  async close(): Promise<void> {
    for (const session of this.sessions) session.destroy()
    await new Promise<void>((resolve) => this.server.close(() => resolve()))
    rmSync(this.socket, { force: true })
  }

  private handle(onward: ClientHttp2Session, stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    stream.on("error", () => undefined)
    const method = String(headers[HTTP2_HEADER_PATH]).replace(/^.*\//, "")
    const fault = this.faults.get(method)
    if (fault !== undefined) this.broken.set(method, this.timesBroken(method) + 1)
    if (fault === "silence") {
      stream.resume()
      return
    }
    if (fault === "refused") {
      stream.resume()
      stream.respond(BROKEN, { endStream: true })
      return
    }
    const call = onward.request(headers)
    stream.pipe(call)
    stream.on("close", () => {
      if (!call.closed) call.close(NGHTTP2_CANCEL)
    })
    call.on("error", () => stream.close(NGHTTP2_CANCEL))
    if (fault === "reply-lost") {
      call.resume()
      call.on("close", () => stream.respond(BROKEN, { endStream: true }))
      return
    }
    let trailers: IncomingHttpHeaders = {}
    call.on("trailers", (received) => {
      trailers = received
    })
    call.on("response", (response, flags) => {
      const endStream = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0
      stream.respond(response, { endStream, waitForTrailers: !endStream })
      if (endStream) return
      stream.on("wantTrailers", () => {
        if (!stream.destroyed) stream.sendTrailers(withoutPseudo(trailers))
      })
      call.pipe(stream)
    })
    call.on("close", () => {
      if (!stream.headersSent && !stream.destroyed) stream.close(NGHTTP2_NO_ERROR)
    })
  }
}
