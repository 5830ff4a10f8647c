/**
 * Calls to a container runtime: gRPC on a unix socket. Every call ends by its deadline, every reply has a limit, and a lost connection
 * comes back by itself. Knows nothing of logs. Loaded only when a source is opened, as gRPC costs memory and start-up time.
 */
import type { SourceReason } from "@cordwood/core"
import { Client, credentials, status } from "@grpc/grpc-js"
import { Data, Effect } from "effect"
import protobuf from "protobufjs/light.js"
import { MESSAGES, type Calls, type Method } from "./messages.ts"

/** The kubelet's limit (`maxMsgSize` in pkg/kubelet/cri/remote): CVE-2022-1708 was a reply without one. */
export const MAX_REPLY_BYTES = 16 * 1024 * 1024
/** A runtime that was restarted is to be seen again at once… */
const RECONNECT_AFTER_MS = 200
/** …and, however long it was away, within the default interval. */
const RECONNECT_AT_MOST_MS = 5_000
/** A peer's words in an error are cut here. */
const MAX_DETAIL_CHARS = 500

/** A call that came to nothing. */
export class CallFailure extends Data.TaggedError("CallFailure")<{
  readonly method: Method
  readonly reason: SourceReason
  readonly detail: string
  /** The system's error code when there was no connection: ENOENT, ECONNREFUSED, EACCES… */
  readonly errno: string | null
  /** The peer speaks gRPC, but not this method of CRI v1. */
  readonly unimplemented: boolean
}> {}

export interface RuntimeClient {
  readonly call: <M extends Method>(
    method: M,
    request: Calls[M]["request"],
  ) => Effect.Effect<Calls[M]["response"], CallFailure>
  readonly close: () => void
}

const messages = protobuf.Root.fromJSON(MESSAGES)
/** Longs as text, as 64 bits don't fit a number; every field is there, so that readers need no defaults of their own. */
const AS_OBJECT = { longs: String, defaults: true } as const

/** One line of a peer's text, without its control characters. */
const oneLine = (text: string): string => {
  const line = text.replaceAll(/\p{Cc}+/gu, " ").trim()
  return line.length > MAX_DETAIL_CHARS ? `${line.slice(0, MAX_DETAIL_CHARS)}…` : line
}

/** grpc-js wraps the reason why there is no connection, and adds the time of day to some; `null` for any other text. */
const connectionTrouble = (details: string): string | null => {
  const match = /^No connection established\. Last error: (?:Error: )?(.*?)\. Resolution note:/s.exec(details)
  return match === null ? null : (match[1] ?? "").replace(/ \(\d{4}-\d\d-\d\dT[\d:.]+Z\)$/, "")
}

const GONE = /not found|no such (container|sandbox)|(is|container) not running/i

/** What a gRPC status means to the agent. grpc-js makes some of them itself, without a peer; those are told by their texts. */
const readFailure = (method: Method, code: number, details: string, timeoutMs: number): CallFailure => {
  const failure = (reason: SourceReason, detail: string): CallFailure =>
    new CallFailure({ method, reason, detail: oneLine(detail), errno: null, unimplemented: false })
  const trouble = connectionTrouble(details)
  if (trouble !== null) {
    const errno = /^connect (E[A-Z]+) /.exec(trouble)?.[1] ?? null
    return errno === null
      ? failure("Invalid", `what answers there doesn't speak gRPC: ${trouble}`)
      : // Without the socket, which whoever calls names already.
        new CallFailure({ method, reason: "Unavailable", detail: `connect ${errno}`, errno, unimplemented: false })
  }
  // Some web server; grpc-js makes a gRPC status of its answer.
  if (details.startsWith("Received HTTP status code")) return failure("Invalid", details)
  switch (code) {
    case status.UNAVAILABLE:
      return failure("Unavailable", details)
    case status.DEADLINE_EXCEEDED:
      return failure("DeadlineExceeded", `no answer to ${method} within ${timeoutMs} ms`)
    case status.NOT_FOUND:
      return failure("NotFound", details)
    case status.UNIMPLEMENTED:
      return new CallFailure({ method, reason: "Refused", detail: oneLine(details), errno: null, unimplemented: true })
    case status.UNKNOWN:
    case status.FAILED_PRECONDITION:
      // containerd says that a container is not running with the status UNKNOWN.
      return failure(GONE.test(details) ? "NotFound" : "Refused", details)
    case status.RESOURCE_EXHAUSTED:
      return /^Received message (that decompresses to a size )?larger than/.test(details)
        ? failure("Invalid", `the answer to ${method} is larger than ${MAX_REPLY_BYTES} bytes`)
        : failure("Refused", details)
    case status.INTERNAL:
      return /^(Response message parsing error|Received RST_STREAM|No response)/.test(details)
        ? failure("Invalid", details)
        : failure("Refused", details)
    default:
      return failure("Refused", details)
  }
}

/** A client of the runtime at `socketPath`. Connects with the first call. */
export const runtimeClient = (socketPath: string, timeoutMs: number): RuntimeClient => {
  const connect = (): Client =>
    new Client(`unix://${socketPath}`, credentials.createInsecure(), {
      "grpc.max_receive_message_length": MAX_REPLY_BYTES,
      "grpc.initial_reconnect_backoff_ms": RECONNECT_AFTER_MS,
      "grpc.max_reconnect_backoff_ms": RECONNECT_AT_MOST_MS,
      // A connection of its own: without this, clients of one address share it, and its back-off, with those of a closed source.
      "grpc.use_local_subchannel_pool": 1,
      // The next pass is the retry. gRPC's own would ask a runtime that is starting several times within one deadline.
      "grpc.enable_retries": 0,
      "grpc.service_config_disable_resolution": 1,
      "grpc.enable_http_proxy": 0,
      "grpc.enable_channelz": 0,
    })
  let current: Client | null = null
  let closed = false

  /** A peer that took the connection and says nothing holds it for ever; the next call gets a new one. Calls under way go on. */
  const abandon = (client: Client): void => {
    if (current !== client) return
    current = null
    client.close()
  }

  const call = <M extends Method>(
    method: M,
    request: Calls[M]["request"],
  ): Effect.Effect<Calls[M]["response"], CallFailure> =>
    Effect.callback<Calls[M]["response"], CallFailure>((resume) => {
      if (closed) return resume(Effect.fail(readFailure(method, status.CANCELLED, "the source is closed", timeoutMs)))
      const client = (current ??= connect())
      const requestType = messages.lookupType(`${method}Request`)
      const responseType = messages.lookupType(`${method}Response`)
      const underWay = client.makeUnaryRequest(
        `/runtime.v1.RuntimeService/${method}`,
        (message: Calls[M]["request"]) => Buffer.from(requestType.encode(requestType.fromObject(message)).finish()),
        (bytes) => responseType.toObject(responseType.decode(bytes), AS_OBJECT) as Calls[M]["response"],
        request,
        { deadline: Date.now() + timeoutMs },
        (error, response) => {
          if (error === null && response !== undefined) return resume(Effect.succeed(response))
          if (error?.code === status.DEADLINE_EXCEEDED) abandon(client)
          const code = error?.code ?? status.INTERNAL
          resume(Effect.fail(readFailure(method, code, error?.details ?? "No response", timeoutMs)))
        },
      )
      return Effect.sync(() => underWay.cancel())
    }).pipe(
      Effect.withSpan(`cri.${method}`, {
        kind: "client",
        attributes: {
          "rpc.system": "grpc",
          "rpc.service": "runtime.v1.RuntimeService",
          "rpc.method": method,
          "server.address": socketPath,
        },
      }),
    )

  return {
    call,
    close: () => {
      closed = true
      current?.close()
      current = null
    },
  }
}
