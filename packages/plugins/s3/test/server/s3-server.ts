// A strict S3 server for tests, on loopback: what the S3 documentation refuses, this refuses, and whatever can go wrong goes wrong to order.
// Real S3 is more lenient here and there; a client that passes here must not count on that. What it does not know (an operation, a query
// parameter, an x-amz- header) it answers with 501 NotImplemented rather than ignore it.
//
//   const s3 = await startS3Server({ accessKeyId, secretAccessKey, region: "eu-north-1", buckets: ["logs"] })
//   s3.faults.failNext({ kind: "status", status: 503, code: "SlowDown", match: { op: "PutObject", key: /\.zst$/ }, times: 2 })
//   … s3.objects("logs").get("a/b")?.body, s3.uploads("logs"), s3.requests, await s3.down(), await s3.up(), await s3.close()
//
// The parts: signature (SigV4) and chunked (aws-chunked); checksum; body (reading one, and holding it against what was said of it); object
// (headers, metadata, tags, encryption, lock); multipart; listing; faults; errors and xml. Here: routing, the operations, the connections.
// Path style only. Not here: versions, ACLs, copies, presigned URLs, SSE-C, several ranges, GET by part number, tagging as an operation.
import { createHash, randomBytes } from "node:crypto"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo, Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { announcedBytes, declaredChecksum, receiveBody, type DeclaredChecksum, type ReceivedBody } from "./body.ts"
import { checksumTypeFor, hasher, parseAlgorithm, type ChecksumName } from "./checksum.ts"
import { CutOff, S3Error } from "./errors.ts"
import { Faults, type FaultKind, type Operation, type Striking } from "./faults.ts"
import { listObjects, listParts, listUploads } from "./listing.ts"
import { checkPart, complete, type Upload } from "./multipart.ts"
import {
  checksumHeaders,
  describingHeaders,
  encryptionHeaders,
  maxKeyBytes,
  objectHeaders,
  requireIntegrityForLock,
  type Bucket,
  type Encryption,
  type ObjectHeaders,
  type StoredObject,
} from "./object.ts"
import { authenticate, type Authenticated, type Credentials } from "./signature.ts"
import { document, errorDocument, parseCompletedParts } from "./xml.ts"

export type { ChecksumName, ChecksumType } from "./checksum.ts"
export type { Fault, FaultKind, FaultMatch, FaultOrder, Operation } from "./faults.ts"
export type { Encryption, ObjectLock, StoredObject, StoredPart } from "./object.ts"
export type { Upload } from "./multipart.ts"

export interface S3ServerOptions {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
  readonly region: string
  readonly buckets: ReadonlyArray<string | { readonly name: string; readonly objectLock?: boolean }>
  /** Every answer is so late. */
  readonly latencyMs?: number
  /** Bodies are kept in memory (true), or only their sizes, SHA-256 and checksums (false); GetObject is 501 then. */
  readonly keepBodies?: boolean
  /** All bodies kept together; 2 GiB if not said. Beyond it uploads are answered with 500. */
  readonly maxKeptBytes?: number
  /** One PutObject or UploadPart; 5 GiB, as in S3. */
  readonly maxBodyBytes?: number
  /** A body that stops coming for so long is answered with RequestTimeout; 20 s, as in S3. */
  readonly idleTimeoutMs?: number
  /** The KMS keys that exist; any does if not said. */
  readonly kmsKeys?: ReadonlyArray<string>
  /** The account that owns the buckets, for x-amz-expected-bucket-owner. */
  readonly owner?: string
  readonly now?: () => number
}

export interface LoggedRequest {
  readonly op: Operation | undefined
  readonly method: string
  /** As it came over the wire, without the query. */
  readonly path: string
  readonly bucket: string | undefined
  readonly key: string | undefined
  readonly query: Readonly<Record<string, string>>
  /** By lower-case name, without authorization and x-amz-security-token. */
  readonly headers: Readonly<Record<string, string>>
  /** The fault that struck it. */
  readonly fault: FaultKind | undefined
  /** Undefined as long as it was not answered: cut off, reset, hanging, or still under way. */
  readonly status: number | undefined
  /** S3's error code, if it was refused. */
  readonly code: string | undefined
}

export interface S3Server {
  /** http://127.0.0.1:port, the same after down and up. */
  readonly endpoint: string
  readonly region: string
  readonly faults: Faults
  /** In the order they came; empty it with `requests.length = 0`. */
  readonly requests: LoggedRequest[]
  /** Live: what is there now, by key. */
  readonly objects: (bucket: string) => ReadonlyMap<string, StoredObject>
  /** Multipart uploads neither completed nor aborted. */
  readonly uploads: (bucket: string) => ReadonlyArray<Upload>
  /** Puts an object there as if another client had. */
  readonly place: (bucket: string, key: string, body: Buffer | string, headers?: Partial<ObjectHeaders>) => StoredObject
  /** Refuses connections, and ends those there are. */
  readonly down: () => Promise<void>
  /** Listens again on the same port. */
  readonly up: () => Promise<void>
  readonly close: () => Promise<void>
}

interface Reply {
  readonly status: number
  readonly headers: Record<string, string>
  readonly body: string | Buffer
}

interface Asked {
  readonly op: Operation
  readonly bucketName: string
  readonly key: string | undefined
  readonly query: ReadonlyMap<string, string>
}

const commonQuery = ["x-id"]
const queryOf: Record<Operation, ReadonlyArray<string>> = {
  PutObject: [],
  HeadObject: [],
  GetObject: [],
  DeleteObject: [],
  HeadBucket: [],
  CreateMultipartUpload: ["uploads"],
  UploadPart: ["uploadId", "partNumber"],
  CompleteMultipartUpload: ["uploadId"],
  AbortMultipartUpload: ["uploadId"],
  ListMultipartUploads: [
    "uploads",
    "prefix",
    "delimiter",
    "key-marker",
    "upload-id-marker",
    "max-uploads",
    "encoding-type",
  ],
  ListParts: ["uploadId", "part-number-marker", "max-parts"],
  ListObjectsV2: [
    "list-type",
    "prefix",
    "delimiter",
    "continuation-token",
    "start-after",
    "max-keys",
    "encoding-type",
    "fetch-owner",
  ],
}

const commonHeaders = ["content-sha256", "date", "security-token", "user-agent", "expected-bucket-owner"]
const describing = [
  "storage-class",
  "tagging",
  "server-side-encryption",
  "server-side-encryption-aws-kms-key-id",
  "server-side-encryption-context",
  "server-side-encryption-bucket-key-enabled",
  "object-lock-mode",
  "object-lock-retain-until-date",
  "object-lock-legal-hold",
]
const sentChecksum = ["sdk-checksum-algorithm", "trailer", "decoded-content-length"]
const headersOf: Record<Operation, ReadonlyArray<string>> = {
  PutObject: [...describing, ...sentChecksum],
  UploadPart: sentChecksum,
  CreateMultipartUpload: [...describing, "checksum-algorithm", "checksum-type"],
  CompleteMultipartUpload: ["checksum-type", "mp-object-size"],
  HeadObject: ["checksum-mode"],
  GetObject: ["checksum-mode"],
  DeleteObject: [],
  HeadBucket: [],
  AbortMultipartUpload: [],
  ListMultipartUploads: [],
  ListParts: [],
  ListObjectsV2: [],
}
const takesChecksumValue: ReadonlyArray<Operation> = ["PutObject", "UploadPart", "CompleteMultipartUpload"]
const takesMetadata: ReadonlyArray<Operation> = ["PutObject", "CreateMultipartUpload"]

const operationOf = (method: string, key: string | undefined, query: ReadonlyMap<string, string>): Operation => {
  if (key === undefined) {
    if (method === "HEAD") return "HeadBucket"
    if (method === "GET" && query.has("uploads")) return "ListMultipartUploads"
    if (method === "GET" && query.get("list-type") === "2") return "ListObjectsV2"
  } else {
    const upload = query.has("uploadId")
    if (method === "PUT") return upload || query.has("partNumber") ? "UploadPart" : "PutObject"
    if (method === "HEAD") return "HeadObject"
    if (method === "GET") return upload ? "ListParts" : "GetObject"
    if (method === "DELETE") return upload ? "AbortMultipartUpload" : "DeleteObject"
    if (method === "POST" && query.has("uploads")) return "CreateMultipartUpload"
    if (method === "POST" && upload) return "CompleteMultipartUpload"
  }
  throw new S3Error("NotImplemented", `This test server does not know what ${method} is asked for here.`)
}

const decode = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new S3Error("InvalidURI", "Couldn't parse the specified URI.")
  }
}

/** Refuses what this server would have to ignore. */
const refuseUnknown = (
  op: Operation,
  query: ReadonlyMap<string, string>,
  headers: ReadonlyMap<string, string>,
): void => {
  for (const name of query.keys()) {
    if (!commonQuery.includes(name) && !queryOf[op].includes(name)) {
      throw new S3Error("NotImplemented", `This test server does not hold the query parameter ${name} of ${op}.`)
    }
  }
  for (const header of headers.keys()) {
    if (!header.startsWith("x-amz-")) continue
    const name = header.slice("x-amz-".length)
    const known =
      commonHeaders.includes(name) ||
      headersOf[op].includes(name) ||
      (takesMetadata.includes(op) && name.startsWith("meta-")) ||
      (takesChecksumValue.includes(op) && name.startsWith("checksum-"))
    if (!known)
      throw new S3Error(
        "NotImplemented",
        `A header you provided implies functionality that is not implemented: ${header} of ${op}`,
      )
  }
}

const joinedHeaders = (request: IncomingMessage): Map<string, string> => {
  const headers = new Map<string, string>()
  for (let at = 0; at < request.rawHeaders.length; at += 2) {
    const name = (request.rawHeaders[at] ?? "").toLowerCase()
    const value = (request.rawHeaders[at + 1] ?? "").trim()
    const before = headers.get(name)
    headers.set(name, before === undefined ? value : `${before},${value}`)
  }
  return headers
}

const xmlReply = (body: string, headers: Record<string, string> = {}): Reply => ({
  status: 200,
  headers: { "content-type": "application/xml", ...headers },
  body,
})

const errorReply = (
  error: { status: number; code: string; message: string; details?: Readonly<Record<string, string>> },
  resource: string,
  requestId: string,
): Reply => ({
  status: error.status,
  headers: { "content-type": "application/xml" },
  body: errorDocument({
    Code: error.code,
    Message: error.message,
    ...error.details,
    Resource: resource,
    RequestId: requestId,
    HostId: "loopback",
  }),
})

/** One range, or undefined for the whole: S3 takes a malformed Range, or one of several ranges, as if it were not there. */
const rangeOf = (header: string | undefined, size: number): { from: number; to: number } | undefined => {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? "")
  if (match === null || (match[1] === "" && match[2] === "")) return undefined
  const [, first = "", last = ""] = match
  const from = first === "" ? Math.max(0, size - Number(last)) : Number(first)
  const to = first === "" || last === "" ? size - 1 : Math.min(Number(last), size - 1)
  if (first !== "" && last !== "" && Number(last) < from) return undefined
  if (from >= size || (first === "" && Number(last) === 0)) {
    throw new S3Error("InvalidRange", "The requested range is not satisfiable", {
      RangeRequested: header ?? "",
      ActualObjectSize: String(size),
    })
  }
  return { from, to }
}

const sameEtag = (a: string, b: string): boolean => a.replaceAll('"', "") === b.replaceAll('"', "")

/** Objects under SSE-KMS have ETags that are not the MD5 of their data (API reference, "ETag"). */
const etagFor = (sse: Encryption, md5: string): string =>
  `"${sse.algorithm === "AES256" ? md5 : createHash("md5").update(randomBytes(16)).digest("hex")}"`

export const startS3Server = async (options: S3ServerOptions): Promise<S3Server> => {
  const credentials: Credentials = options
  const keep = options.keepBodies ?? true
  const maxKeptBytes = options.maxKeptBytes ?? 2 * 1024 ** 3
  const now = options.now ?? Date.now
  const faults = new Faults()
  const requests: LoggedRequest[] = []
  const buckets = new Map<string, Bucket>()
  const uploads = new Map<string, Upload>()
  const sockets = new Set<Socket>()
  const ended = new AbortController()
  let requestCount = 0

  for (const one of options.buckets) {
    const { name, objectLock = false } = typeof one === "string" ? { name: one } : one
    buckets.set(name, { name, objectLock, objects: new Map() })
  }

  const bucketNamed = (name: string): Bucket => {
    const bucket = buckets.get(name)
    if (bucket === undefined)
      throw new S3Error("NoSuchBucket", "The specified bucket does not exist", { BucketName: name })
    return bucket
  }

  let underWayBytes = 0
  const keptBytes = (): number => {
    let bytes = underWayBytes
    for (const bucket of buckets.values())
      for (const object of bucket.objects.values()) bytes += object.body?.length ?? 0
    for (const upload of uploads.values()) for (const part of upload.parts.values()) bytes += part.body?.length ?? 0
    return bytes
  }

  const uploadOf = (asked: Asked): Upload => {
    const upload = uploads.get(asked.query.get("uploadId") ?? "")
    if (upload === undefined || upload.bucket !== asked.bucketName || upload.key !== asked.key) {
      throw new S3Error(
        "NoSuchUpload",
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
        { UploadId: asked.query.get("uploadId") ?? "" },
      )
    }
    return upload
  }

  /** If-None-Match: * and If-Match of a write. */
  const checkWrite = (headers: ReadonlyMap<string, string>, bucket: Bucket, key: string): void => {
    const failed = (condition: string) =>
      new S3Error("PreconditionFailed", "At least one of the pre-conditions you specified did not hold", {
        Condition: condition,
      })
    const ifNoneMatch = headers.get("if-none-match")
    const ifMatch = headers.get("if-match")
    if (ifNoneMatch !== undefined && ifNoneMatch !== "*") {
      throw new S3Error(
        "NotImplemented",
        "A header you provided implies functionality that is not implemented: If-None-Match other than *",
      )
    }
    const there = bucket.objects.get(key)
    if (ifNoneMatch !== undefined && there !== undefined) throw failed("If-None-Match")
    if (ifMatch !== undefined) {
      if (there === undefined) throw new S3Error("NoSuchKey", "The specified key does not exist.", { Key: key })
      if (!sameEtag(ifMatch, there.etag)) throw failed("If-Match")
    }
  }

  interface Context {
    readonly request: IncomingMessage
    readonly response: ServerResponse
    readonly headers: ReadonlyMap<string, string>
    readonly auth: Authenticated
    readonly asked: Asked
    readonly bucket: Bucket
    readonly key: string
    readonly striking: Striking | undefined
    readonly expectsContinue: boolean
  }

  const receive = async (
    context: Context,
    declared: DeclaredChecksum | undefined,
    also: ReadonlyArray<ChecksumName>,
    maxBytes: number,
    keepBody: boolean,
  ): Promise<ReceivedBody> => {
    const { headers, auth, request, response } = context
    const fault = context.striking?.fault
    const expected = announcedBytes(headers, auth.payload.kind === "chunked")
    let reserved = 0
    if (context.expectsContinue) response.writeContinue()
    try {
      return await receiveBody(request, {
        headers,
        auth,
        declared,
        also,
        maxBytes,
        keep: keepBody,
        reserve: (bytes) => {
          if (keptBytes() + bytes > maxKeptBytes) {
            throw new S3Error(
              "InternalError",
              `This test server keeps no more than ${maxKeptBytes} bytes; see keepBodies and maxKeptBytes.`,
            )
          }
          reserved = bytes
          underWayBytes += bytes
        },
        idleTimeoutMs: options.idleTimeoutMs ?? 20_000,
        resetAfterBytes: fault?.kind === "reset" && fault.when === "mid-body" ? Math.floor(expected / 2) : undefined,
        corrupt: fault?.kind === "corrupt",
      })
    } finally {
      underWayBytes -= reserved
    }
  }

  const beforeStore = async (context: Context): Promise<void> => {
    const fault = context.striking?.fault
    if (fault?.kind === "hold" && fault.when === "before-store") await context.striking?.released
  }

  const putObject = async (context: Context): Promise<Reply> => {
    const { headers, bucket, key } = context
    const described = objectHeaders(headers, bucket, now(), options.kmsKeys)
    const declared = declaredChecksum(headers)
    requireIntegrityForLock(headers, bucket.objectLock, declared !== undefined, "Put Object")
    checkWrite(headers, bucket, key)
    const body = await receive(
      context,
      declared,
      declared === undefined ? ["crc64nvme"] : [],
      options.maxBodyBytes ?? 5 * 1024 ** 3,
      keep,
    )
    await beforeStore(context)
    // Another one may have come meanwhile: the first to be stored wins.
    checkWrite(headers, bucket, key)
    const object: StoredObject = {
      ...described,
      size: body.size,
      body: body.bytes,
      sha256: body.sha256,
      checksums: body.checksums,
      checksumType: "FULL_OBJECT",
      etag: etagFor(described.sse, body.md5),
      lastModified: new Date(now()),
      parts: undefined,
    }
    bucket.objects.set(key, object)
    return {
      status: 200,
      headers: {
        etag: described.sse.algorithm === "AES256" ? `"${body.told.md5}"` : object.etag,
        ...encryptionHeaders(object.sse),
        ...checksumHeaders({ checksums: body.told.checksums, checksumType: "FULL_OBJECT" }),
      },
      body: "",
    }
  }

  const getObject = (context: Context, head: boolean): Reply => {
    const { headers, bucket, key } = context
    const object = bucket.objects.get(key)
    if (object === undefined) throw new S3Error("NoSuchKey", "The specified key does not exist.", { Key: key })
    const ifMatch = headers.get("if-match")
    const ifNoneMatch = headers.get("if-none-match")
    if (ifMatch !== undefined && ifMatch !== "*" && !sameEtag(ifMatch, object.etag)) {
      throw new S3Error("PreconditionFailed", "At least one of the pre-conditions you specified did not hold", {
        Condition: "If-Match",
      })
    }
    if (ifNoneMatch !== undefined && (ifNoneMatch === "*" || sameEtag(ifNoneMatch, object.etag))) {
      return { status: 304, headers: { etag: object.etag }, body: "" }
    }
    const mode = headers.get("x-amz-checksum-mode")
    if (mode !== undefined && mode.toUpperCase() !== "ENABLED")
      throw new S3Error("InvalidArgument", "The x-amz-checksum-mode header must be ENABLED.")
    const range = rangeOf(headers.get("range"), object.size)
    // The checksum is of the whole, so a range has none.
    const described = describingHeaders(object, mode !== undefined && range === undefined)
    const size = range === undefined ? object.size : range.to - range.from + 1
    const rangeHeader: Record<string, string> =
      range === undefined ? {} : { "content-range": `bytes ${range.from}-${range.to}/${object.size}` }
    const all = { ...described, ...rangeHeader, "content-length": String(size) }
    const status = range === undefined ? 200 : 206
    if (head) return { status, headers: all, body: "" }
    if (object.body === undefined)
      throw new S3Error("NotImplemented", "This test server was started with keepBodies: false.")
    return {
      status,
      headers: all,
      body: range === undefined ? object.body : object.body.subarray(range.from, range.to + 1),
    }
  }

  const createUpload = (context: Context): Reply => {
    const { headers, bucket, key } = context
    const described = objectHeaders(headers, bucket, now(), options.kmsKeys)
    const wished = headers.get("x-amz-checksum-algorithm")
    const wishedType = headers.get("x-amz-checksum-type")
    if (wished === undefined && wishedType !== undefined) {
      throw new S3Error(
        "InvalidRequest",
        "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
      )
    }
    const algorithm = wished === undefined ? undefined : parseAlgorithm("x-amz-checksum-algorithm", wished)
    const checksumType = checksumTypeFor(algorithm ?? "crc64nvme", wishedType)
    const uploadId = randomBytes(24).toString("base64url")
    uploads.set(uploadId, {
      uploadId,
      bucket: bucket.name,
      key,
      headers: described,
      algorithm,
      checksumType,
      initiated: new Date(now()),
      parts: new Map(),
    })
    return xmlReply(document("InitiateMultipartUploadResult", { Bucket: bucket.name, Key: key, UploadId: uploadId }), {
      ...encryptionHeaders(described.sse),
      ...(algorithm === undefined
        ? {}
        : { "x-amz-checksum-algorithm": algorithm.toUpperCase(), "x-amz-checksum-type": checksumType }),
    })
  }

  const uploadPart = async (context: Context): Promise<Reply> => {
    const { headers, asked, bucket } = context
    const upload = uploadOf(asked)
    const partNumber = Number(asked.query.get("partNumber") ?? Number.NaN)
    const declared = declaredChecksum(headers)
    checkPart(upload, partNumber, declared)
    requireIntegrityForLock(headers, bucket.objectLock, declared !== undefined, "Upload Part")
    const body = await receive(
      context,
      declared,
      [upload.algorithm ?? "crc64nvme"],
      options.maxBodyBytes ?? 5 * 1024 ** 3,
      keep,
    )
    await beforeStore(context)
    // It may have been aborted or completed meanwhile.
    uploadOf(asked)
    const etag = etagFor(upload.headers.sse, body.told.md5)
    upload.parts.set(partNumber, {
      partNumber,
      size: body.size,
      etag,
      sha256: body.sha256,
      checksums: body.checksums,
      told: body.told.checksums,
      body: body.bytes,
    })
    const told =
      declared === undefined ? {} : { [`x-amz-checksum-${declared.name}`]: body.told.checksums[declared.name] ?? "" }
    return { status: 200, headers: { etag, ...told, ...encryptionHeaders(upload.headers.sse) }, body: "" }
  }

  const completeUpload = async (context: Context): Promise<Reply> => {
    const { headers, asked, bucket, key } = context
    uploadOf(asked)
    const received = await receive(context, undefined, [], 4 * 1024 ** 2, true)
    const listed = parseCompletedParts((received.bytes ?? Buffer.alloc(0)).toString())
    await beforeStore(context)
    const upload = uploadOf(asked)
    const fault = context.striking?.fault
    if (fault?.kind === "error-in-200" && fault.took !== true) return embeddedError(fault)
    const done = complete(upload, listed, headers)
    checkWrite(headers, bucket, key)
    const body = keep ? Buffer.concat(done.parts.map((part) => part.body ?? Buffer.alloc(0))) : undefined
    const object: StoredObject = {
      ...upload.headers,
      size: done.size,
      body,
      sha256: body === undefined ? undefined : createHash("sha256").update(body).digest("hex"),
      checksums: done.checksums,
      checksumType: upload.checksumType,
      etag: done.etag,
      lastModified: new Date(now()),
      // Their bytes are in the object's body.
      parts: done.parts.map((part) => ({ ...part, body: undefined })),
    }
    bucket.objects.set(key, object)
    uploads.delete(upload.uploadId)
    if (fault?.kind === "error-in-200") return embeddedError(fault)
    const [[name, checksum] = ["", ""]] = Object.entries(done.checksums)
    return xmlReply(
      document("CompleteMultipartUploadResult", {
        Location: `http://${headers.get("host")}/${bucket.name}/${key}`,
        Bucket: bucket.name,
        Key: key,
        ETag: done.etag,
        [`Checksum${name.toUpperCase()}`]: checksum,
        ChecksumType: upload.checksumType,
      }),
      encryptionHeaders(object.sse),
    )
  }

  const embeddedError = (fault: Extract<FaultKind, { kind: "error-in-200" }>): Reply =>
    xmlReply(
      errorDocument({
        Code: fault.code,
        Message: fault.message ?? "We encountered an internal error. Please try again.",
      }),
    )

  const perform = async (context: Context): Promise<Reply> => {
    const { asked, bucket, key } = context
    switch (asked.op) {
      case "PutObject":
        return putObject(context)
      case "HeadObject":
        return getObject(context, true)
      case "GetObject":
        return getObject(context, false)
      case "DeleteObject":
        bucket.objects.delete(key)
        return { status: 204, headers: {}, body: "" }
      case "CreateMultipartUpload":
        return createUpload(context)
      case "UploadPart":
        return uploadPart(context)
      case "CompleteMultipartUpload":
        return completeUpload(context)
      case "AbortMultipartUpload":
        uploads.delete(uploadOf(asked).uploadId)
        return { status: 204, headers: {}, body: "" }
      case "ListMultipartUploads":
        return xmlReply(listUploads(bucket, uploads.values(), asked.query))
      case "ListParts":
        return xmlReply(listParts(uploadOf(asked), asked.query))
      case "ListObjectsV2":
        return xmlReply(listObjects(bucket, asked.query))
      case "HeadBucket":
        return { status: 200, headers: { "x-amz-bucket-region": options.region }, body: "" }
    }
  }

  type Log = { -readonly [K in keyof LoggedRequest]: LoggedRequest[K] }

  const answer = async (
    request: IncomingMessage,
    response: ServerResponse,
    expectsContinue: boolean,
  ): Promise<void> => {
    const requestId = String(++requestCount).padStart(16, "0")
    const method = request.method ?? ""
    const [rawPath = "", rawQuery = ""] = splitOnce(request.url ?? "", "?")
    const headers = joinedHeaders(request)
    const log: Log = {
      op: undefined,
      method,
      path: rawPath,
      bucket: undefined,
      key: undefined,
      query: {},
      headers: Object.fromEntries(
        [...headers].filter(([name]) => name !== "authorization" && name !== "x-amz-security-token"),
      ),
      fault: undefined,
      status: undefined,
      code: undefined,
    }
    requests.push(log)

    let striking: Striking | undefined
    let reply: Reply
    try {
      const path = decode(rawPath)
      const query =
        rawQuery === "" ? [] : rawQuery.split("&").map((pair) => splitOnce(pair, "=").map(decode) as [string, string])
      log.query = Object.fromEntries(query)
      const [bucketName, key] = splitOnce(path.slice(1), "/")
      log.bucket = bucketName
      log.key = key === "" ? undefined : key
      const byName = new Map(query)
      const op = operationOf(method, log.key, byName)
      log.op = op
      const auth = authenticate({ method, path, query, headers }, credentials, options.region, now())
      striking = faults.strike({
        op,
        key: log.key,
        partNumber: byName.has("partNumber") ? Number(byName.get("partNumber")) : undefined,
      })
      log.fault = striking?.fault
      const fault = striking?.fault
      if (fault?.kind === "reset" && fault.when === "before-body") {
        request.socket.resetAndDestroy()
        return
      }
      if (fault?.kind === "hang" && fault.when !== "after-store") return
      if (fault?.kind === "delay" && fault.when !== "after-store") await pause(fault.delayMs)
      if (fault?.kind === "hold" && (fault.when ?? "before") === "before") await striking?.released
      if (fault?.kind === "status") {
        log.code = fault.code
        const retryAfter: Record<string, string> =
          fault.retryAfterSeconds === undefined ? {} : { "retry-after": String(fault.retryAfterSeconds) }
        const told = errorReply(
          { status: fault.status, code: fault.code, message: fault.message ?? fault.code },
          path,
          requestId,
        )
        reply = { ...told, headers: { ...told.headers, ...retryAfter } }
      } else {
        refuseUnknown(op, byName, headers)
        const owner = headers.get("x-amz-expected-bucket-owner")
        if (owner !== undefined && owner !== (options.owner ?? "123456789012"))
          throw new S3Error("AccessDenied", "Access Denied")
        const bucket = bucketNamed(bucketName)
        if (Buffer.byteLength(log.key ?? "") > maxKeyBytes) {
          throw new S3Error("KeyTooLongError", "Your key is too long", {
            Size: String(Buffer.byteLength(log.key ?? "")),
            MaxSizeAllowed: String(maxKeyBytes),
          })
        }
        const asked: Asked = { op, bucketName, key: log.key, query: byName }
        reply = await perform({
          request,
          response,
          headers,
          auth,
          asked,
          bucket,
          key: log.key ?? "",
          striking,
          expectsContinue,
        })
      }
    } catch (error) {
      if (error instanceof CutOff) {
        request.socket.destroy()
        return
      }
      const known =
        error instanceof S3Error
          ? error
          : new S3Error("InternalError", `This test server is at fault: ${String(error)}`)
      log.code = known.code
      reply = errorReply(known, rawPath, requestId)
      // What is left of the body is not worth reading to its end.
      if (!request.complete) response.shouldKeepAlive = false
    }

    const fault = striking?.fault
    if (options.latencyMs !== undefined) await pause(options.latencyMs)
    if (fault?.kind === "delay" && fault.when === "after-store") await pause(fault.delayMs)
    if (fault?.kind === "hold" && fault.when === "after-store") await striking?.released
    if (fault?.kind === "hang" && fault.when === "after-store") return
    if (fault?.kind === "reset" && fault.when === "after-store") {
      request.socket.resetAndDestroy()
      return
    }
    log.status = reply.status
    await send(request, response, reply, requestId, fault)
  }

  const send = async (
    request: IncomingMessage,
    response: ServerResponse,
    reply: Reply,
    requestId: string,
    fault: FaultKind | undefined,
  ): Promise<void> => {
    const body = typeof reply.body === "string" ? Buffer.from(reply.body) : reply.body
    const headers: Record<string, string> = {
      "x-amz-request-id": requestId,
      "x-amz-id-2": "loopback",
      date: new Date(now()).toUTCString(),
      server: "AmazonS3",
      ...(reply.status === 204 || reply.status === 304 ? {} : { "content-length": String(body.length) }),
      ...reply.headers,
    }
    response.writeHead(reply.status, headers)
    if (request.method === "HEAD") {
      response.end()
    } else if (fault?.kind === "truncate") {
      response.write(body.subarray(0, Math.floor(body.length / 2)), () => request.socket.destroy())
    } else if (fault?.kind === "trickle") {
      const step = Math.max(1, Math.ceil(fault.bytesPerSecond / 20))
      for (let at = 0; at < body.length && !response.destroyed; at += step) {
        response.write(body.subarray(at, at + step))
        await pause((1000 * step) / fault.bytesPerSecond)
      }
      response.end()
    } else {
      response.end(body)
    }
    // The rest of a refused body is read and thrown away, so that the client gets to read the answer.
    request.resume()
  }

  const pause = async (ms: number): Promise<void> => {
    await sleep(ms, undefined, { signal: ended.signal }).catch(() => undefined)
  }

  const server = createServer({ requestTimeout: 0, keepAliveTimeout: 30_000, highWaterMark: 256 * 1024 })
  const onRequest = (expectsContinue: boolean) => (request: IncomingMessage, response: ServerResponse) => {
    request.on("error", () => undefined)
    response.on("error", () => undefined)
    answer(request, response, expectsContinue).catch((error: unknown) => {
      console.error("the S3 test server is at fault:", error)
      request.socket.destroy()
    })
  }
  server.on("request", onRequest(false))
  server.on("checkContinue", onRequest(true))
  server.on("connection", (socket) => {
    sockets.add(socket)
    socket.on("close", () => sockets.delete(socket))
    socket.on("error", () => undefined)
  })

  const listen = (port: number) =>
    new Promise<void>((resolve, reject) => {
      server.once("error", reject)
      server.listen(port, "127.0.0.1", () => {
        server.off("error", reject)
        resolve()
      })
    })
  await listen(0)
  const { port } = server.address() as AddressInfo

  const down = async (): Promise<void> => {
    if (!server.listening) return
    const closed = new Promise<void>((resolve) => server.close(() => resolve()))
    for (const socket of sockets) socket.destroy()
    await closed
  }

  const up = async (): Promise<void> => {
    if (server.listening) return
    // While down, the port may be the near end of somebody's connection for a moment.
    for (let tries = 0; ; tries++) {
      try {
        return await listen(port)
      } catch (error) {
        if (tries >= 50) throw error
        await sleep(100)
      }
    }
  }

  const place: S3Server["place"] = (bucketName, key, body, headers = {}) => {
    const bytes = Buffer.from(body)
    const crc = hasher("crc64nvme")
    crc.update(bytes)
    const object: StoredObject = {
      ...objectHeaders(new Map(), bucketNamed(bucketName), now(), undefined),
      ...headers,
      size: bytes.length,
      body: bytes,
      sha256: createHash("sha256").update(bytes).digest("hex"),
      checksums: { crc64nvme: crc.digest().toString("base64") },
      checksumType: "FULL_OBJECT",
      etag: `"${createHash("md5").update(bytes).digest("hex")}"`,
      lastModified: new Date(now()),
      parts: undefined,
    }
    bucketNamed(bucketName).objects.set(key, object)
    return object
  }

  return {
    endpoint: `http://127.0.0.1:${port}`,
    region: options.region,
    faults,
    requests,
    objects: (bucket) => bucketNamed(bucket).objects,
    uploads: (bucket) => [...uploads.values()].filter((upload) => upload.bucket === bucketNamed(bucket).name),
    place,
    down,
    up,
    close: async () => {
      faults.clear()
      ended.abort()
      await down()
    },
  }
}

const splitOnce = (text: string, separator: string): [string, string] => {
  const at = text.indexOf(separator)
  return at === -1 ? [text, ""] : [text.slice(0, at), text.slice(at + separator.length)]
}
