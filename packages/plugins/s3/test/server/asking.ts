// Asks an S3 server: with the AWS SDK, and in raw HTTP where the SDK would not say what is to be said. Tells outcomes as short as they can be
// compared whole: "200", "412 PreconditionFailed". The SDK signs in both cases; no code is shared with the servers.
import { request as httpRequest, type ClientRequest, type IncomingMessage } from "node:http"
import { connect } from "node:net"
import { S3Client, type S3ClientConfig } from "@aws-sdk/client-s3"

export interface Access {
  readonly endpoint: string
  readonly region: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

/** Tries once, and adds no checksum that was not asked for. */
export const clientOf = (access: Access, more: S3ClientConfig = {}): S3Client =>
  new S3Client({
    endpoint: access.endpoint,
    region: access.region,
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId: access.accessKeyId, secretAccessKey: access.secretAccessKey },
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    ...more,
  })

/** "200" if it went well, else the status and S3's error code (of a HEAD, which has none, what the SDK makes of the status). */
export const outcome = (sent: Promise<{ $metadata: { httpStatusCode?: number | undefined } }>): Promise<string> =>
  sent.then(
    (reply) => String(reply.$metadata.httpStatusCode),
    (error: { name?: string; $metadata?: { httpStatusCode?: number } }) => {
      if (error.$metadata?.httpStatusCode === undefined) throw error
      return `${error.$metadata.httpStatusCode} ${error.name}`
    },
  )

export interface Said {
  readonly method: "PUT" | "GET" | "HEAD" | "POST" | "DELETE"
  /** The bucket and the key, not encoded. */
  readonly path: string
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Buffer | string
  /** False: no content-length, and the body in HTTP's chunks. */
  readonly lengthTold?: false
  readonly signedAt?: Date
  readonly access: Access
  /** Headers as they go out; those signed if not said. */
  readonly altered?: (headers: Record<string, string>) => Record<string, string | undefined>
}

export interface Heard {
  readonly status: number
  /** S3's error code. */
  readonly code: string | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
}

export interface Signed {
  readonly method: string
  readonly host: string
  readonly port: number
  /** With the query, encoded. */
  readonly target: string
  readonly headers: Readonly<Record<string, string>>
}

const encoded = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)

/** Signed by the SDK; a body's SHA-256 is made by it too, unless x-amz-content-sha256 is given. */
export const sign = async (said: Said): Promise<Signed> => {
  const { hostname, port } = new URL(said.access.endpoint)
  const client = clientOf(said.access)
  const signer = await client.config.signer({
    schemeId: "aws.auth#sigv4",
    signingName: "s3",
    signingRegion: said.access.region,
  } as never)
  const path = said.path.split("/").map(encoded).join("/")
  const body = Buffer.from(said.body ?? "")
  const signed = await signer.sign(
    {
      method: said.method,
      protocol: "http:",
      hostname,
      port: Number(port),
      path,
      query: { ...said.query },
      headers: {
        host: `${hostname}:${port}`,
        ...(said.lengthTold !== false && (body.length > 0 || said.method === "PUT")
          ? { "content-length": String(body.length) }
          : {}),
        ...said.headers,
      },
      body,
    } as never,
    { signingDate: said.signedAt ?? new Date() },
  )
  client.destroy()
  const headers: Record<string, string> = {}
  const altered = said.altered?.({ ...signed.headers }) ?? signed.headers
  for (const [name, value] of Object.entries(altered)) if (value !== undefined) headers[name] = value
  if (said.lengthTold === false) headers["transfer-encoding"] = "chunked"
  const query = Object.entries(said.query ?? {}).map(([name, value]) => `${encoded(name)}=${encoded(value)}`)
  return {
    method: said.method,
    host: hostname,
    port: Number(port),
    target: query.length === 0 ? path : `${path}?${query.join("&")}`,
    headers,
  }
}

export const open = (signed: Signed): ClientRequest =>
  httpRequest({
    host: signed.host,
    port: signed.port,
    method: signed.method,
    path: signed.target,
    headers: signed.headers,
    agent: false,
    setHost: false,
  })

export const replyOf = (request: ClientRequest): Promise<IncomingMessage> =>
  new Promise((resolve, reject) => {
    request.once("response", resolve)
    request.once("error", reject)
  })

export const heard = async (reply: IncomingMessage): Promise<Heard> => {
  const pieces: Buffer[] = []
  for await (const piece of reply) pieces.push(piece as Buffer)
  const body = Buffer.concat(pieces)
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(reply.headers)) headers[name] = String(value)
  const code = (reply.statusCode ?? 0) < 300 ? undefined : /<Code>([^<]*)<\/Code>/.exec(body.toString())?.[1]
  return { status: reply.statusCode ?? 0, code, headers, body }
}

export const raw = async (said: Said): Promise<Heard> => {
  const request = open(await sign(said))
  const reply = replyOf(request)
  request.end(said.body ?? "")
  return heard(await reply)
}

export const rawOutcome = async (said: Said): Promise<string> => {
  const { status, code } = await raw(said)
  return code === undefined ? String(status) : `${status} ${code}`
}

/** Sends the head and a part of the body, then the end of the stream, and waits until the server, having seen it, ends it too. */
export const cutOff = async (said: Said, sentBytes: number): Promise<void> => {
  const signed = await sign(said)
  const socket = connect(signed.port, signed.host)
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()))
  socket.on("error", () => undefined)
  socket.resume()
  const head = [
    `${signed.method} ${signed.target} HTTP/1.1`,
    ...Object.entries(signed.headers).map(([name, value]) => `${name}: ${value}`),
  ]
  socket.end(
    Buffer.concat([Buffer.from(`${head.join("\r\n")}\r\n\r\n`), Buffer.from(said.body ?? "").subarray(0, sentBytes)]),
  )
  await closed
}
