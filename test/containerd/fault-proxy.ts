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
  /** The runtime does it; the caller never hears back. */
  | "reply-kept"
  /** The runtime does it; the caller's connection breaks before the reply, with every other call on it. */
  | "connection-lost"
  /** The runtime does it when the caller has given up waiting. */
  | "late"
  /** The runtime never hears of it and the caller never hears back. */
  | "silence"

/** A call that came and waits for the test to say what becomes of it. */
export interface HeldCall {
  /** Hands it to the runtime, whether or not its caller is still there; back when the runtime has done it. The caller never hears. */
  readonly forward: () => Promise<void>
}

interface Hold {
  readonly method: string
  readonly containerId: string
  readonly take: (call: HeldCall) => void
}

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
  private readonly holds: Array<Hold> = []
  private readonly underWay = new Set<Promise<void>>()
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
      session.on("stream", (stream, headers) => this.handle(session, onward, stream, headers))
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

  /** Holds the next call of this method for this container: it comes to whoever waits for this, and goes no further by itself. */
  hold(method: string, containerId: string): Promise<HeldCall> {
    return new Promise((take) => this.holds.push({ method, containerId, take }))
  }

  async close(): Promise<void> {
    for (const session of this.sessions) session.destroy()
    await new Promise<void>((resolve) => this.server.close(() => resolve()))
    rmSync(this.socket, { force: true })
  }

  private handle(
    session: { destroy: () => void },
    onward: ClientHttp2Session,
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
  ): void {
    stream.on("error", () => undefined)
    const method = String(headers[HTTP2_HEADER_PATH]).replace(/^.*\//, "")
    if (this.holds.some((hold) => hold.method === method)) {
      void bodyOf(stream).then((body) => {
        // The id is 64 hexadecimal digits: nothing else in a request looks like it.
        const at = this.holds.findIndex((hold) => hold.method === method && body.includes(hold.containerId))
        const [hold] = at === -1 ? [] : this.holds.splice(at, 1)
        if (hold === undefined) this.pass(onward, stream, headers, body)
        else hold.take({ forward: () => this.forward(headers, body) })
      })
      return
    }
    const fault = this.faults.get(method)
    if (fault !== undefined) this.broken.set(method, this.timesBroken(method) + 1)
    switch (fault) {
      case undefined:
        this.pass(onward, stream, headers)
        return
      case "silence":
        stream.resume()
        return
      case "refused":
        stream.resume()
        stream.respond(BROKEN, { endStream: true })
        return
      case "late":
        void bodyOf(stream).then((body) => stream.on("close", () => void this.forward(headers, body)))
        return
      case "reply-lost":
      case "reply-kept":
      case "connection-lost":
        void bodyOf(stream)
          .then((body) => this.forward(headers, body))
          .then(() => {
            // Others of its calls may be on their way to the runtime: they are to be done, too, before their caller gives them up.
            if (fault === "connection-lost") void this.idle().then(() => session.destroy())
            else if (fault === "reply-lost" && !stream.destroyed) stream.respond(BROKEN, { endStream: true })
          })
    }
  }

  /** Back at a moment when no call is on its way to the runtime. */
  private async idle(): Promise<void> {
    while (this.underWay.size > 0) await Promise.all(this.underWay)
  }

  private forward(headers: IncomingHttpHeaders, body: Buffer): Promise<void> {
    const call = this.forwarded(headers, body).finally(() => this.underWay.delete(call))
    this.underWay.add(call)
    return call
  }

  /** On a connection of its own, so that it outlives the caller's. */
  private async forwarded(headers: IncomingHttpHeaders, body: Buffer): Promise<void> {
    const session = connect("http://containerd", { createConnection: () => createConnection(this.upstream) })
    this.sessions.add(session)
    session.on("error", () => undefined)
    const call = session.request(headers)
    call.on("error", () => undefined)
    call.resume()
    call.end(body)
    await new Promise<void>((resolve) => call.once("close", resolve))
    session.destroy()
    this.sessions.delete(session)
  }

  /** `body`: what was read of the request already, all of it. */
  private pass(
    onward: ClientHttp2Session,
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    body?: Buffer,
  ): void {
    const call = onward.request(headers)
    if (body === undefined) stream.pipe(call)
    else call.end(body)
    stream.on("close", () => {
      if (!call.closed) call.close(NGHTTP2_CANCEL)
    })
    call.on("error", () => stream.close(NGHTTP2_CANCEL))
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

/** The whole request, once it has come. The stream stays as it is: a caller is still to be answered on it. */
const bodyOf = (stream: ServerHttp2Stream): Promise<Buffer> =>
  new Promise((resolve) => {
    const chunks: Array<Buffer> = []
    stream.on("data", (chunk: Buffer) => chunks.push(chunk))
    stream.once("end", () => resolve(Buffer.concat(chunks)))
  })
