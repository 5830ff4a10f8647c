// What S3's documentation says, as questions with the answers that it gives: asked of the strict server and of one that nobody here wrote.
// Where a server is known to differ, its table of differences says how and why, and that is asserted in the answer's place: none is skipped,
// and one that no longer differs fails. Knows no server's inside.
import { createHash } from "node:crypto"
import { Readable } from "node:stream"
import { crc32 } from "node:zlib"
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  PutObjectCommand,
  UploadPartCommand,
  type ChecksumAlgorithm,
  type ChecksumType,
  type S3Client,
} from "@aws-sdk/client-s3"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { clientOf, cutOff, outcome, raw, rawOutcome, type Access, type Said } from "./asking.ts"

export interface S3UnderTest extends Access {
  readonly bucket: string
  /** With object lock. */
  readonly lockedBucket: string
  /** Known to the server. */
  readonly kmsKeyId: string
  readonly down: () => Promise<void>
  readonly up: () => Promise<void>
  readonly close: () => Promise<void>
}

/** A server, with what a question needs; the key is the question's own. */
interface Asked {
  readonly s3: S3UnderTest
  readonly client: S3Client
  readonly at: { readonly Bucket: string; readonly Key: string }
  /** In the bucket with object lock. */
  readonly locked: { readonly Bucket: string; readonly Key: string }
  /** To sign and send by hand; beside it only what matters. */
  readonly put: Said & { readonly method: "PUT" }
}

interface Question {
  readonly ask: (asked: Asked) => Promise<unknown>
  readonly says: unknown
  /** Not while others are asked. */
  readonly alone?: true
}

export interface Difference {
  readonly does: unknown
  readonly because: string
}

const body = "123456789"
// The check values of the CRC catalogue (reveng.sourceforge.io), of these nine digits; the others from node:crypto.
const sums = {
  CRC32: Buffer.from("cbf43926", "hex").toString("base64"),
  CRC32C: Buffer.from("e3069283", "hex").toString("base64"),
  CRC64NVME: Buffer.from("ae8b14860a799888", "hex").toString("base64"),
  SHA1: createHash("sha1").update(body).digest("base64"),
  SHA256: createHash("sha256").update(body).digest("base64"),
} as const
const algorithms = Object.keys(sums) as ReadonlyArray<keyof typeof sums>
/** Well-formed, of the right length, and of other bytes. */
const wrong = (sum: string): string => {
  const bytes = Buffer.from(sum, "base64")
  bytes.writeUInt8(bytes.readUInt8(0) ^ 1)
  return bytes.toString("base64")
}
const md5 = (bytes: string | Uint8Array, as: "hex" | "base64" = "hex"): string =>
  createHash("md5").update(bytes).digest(as)
const sha256 = (bytes: string | Uint8Array): Buffer => createHash("sha256").update(bytes).digest()

const mebibyte = 1024 * 1024
const minPartBytes = 5 * mebibyte
const part = (fill: string, bytes: number = minPartBytes): Buffer => Buffer.alloc(bytes, fill)

/** What of the object can be seen: its bytes (or their MD5, where they are many), or that it is not there. */
const seen = async ({ client }: Asked, at: Asked["at"]): Promise<string> =>
  client.send(new GetObjectCommand(at)).then(
    async (reply) => {
      const bytes = Buffer.from((await reply.Body?.transformToByteArray()) ?? [])
      return bytes.length > 64 ? `${bytes.length} ${md5(bytes)}` : bytes.toString()
    },
    (error: { name: string }) => error.name,
  )
const large = (...pieces: ReadonlyArray<Buffer>): string => {
  const all = Buffer.concat(pieces)
  return `${all.length} ${md5(all)}`
}

const put = (asked: Asked, more: object = {}): Promise<string> =>
  outcome(asked.client.send(new PutObjectCommand({ ...asked.at, Body: body, ...more })))

const begin = async (asked: Asked, more: object = {}): Promise<string> => {
  const { UploadId } = await asked.client.send(new CreateMultipartUploadCommand({ ...asked.at, ...more }))
  if (UploadId === undefined) throw new Error("CreateMultipartUpload told no UploadId")
  return UploadId
}
const upload = async (asked: Asked, UploadId: string, PartNumber: number, Body: Buffer | string, more: object = {}) => {
  const { $metadata: _metadata, ...told } = await asked.client.send(
    new UploadPartCommand({ ...asked.at, UploadId, PartNumber, Body, ...more }),
  )
  return { PartNumber, ...told }
}
const uploadDigits = (asked: Asked, UploadId: string, PartNumber: number, more: object = {}) =>
  asked.client.send(new UploadPartCommand({ ...asked.at, UploadId, PartNumber, Body: body, ...more }))
const complete = (asked: Asked, UploadId: string, Parts: ReadonlyArray<object>, more: object = {}) =>
  asked.client.send(
    new CompleteMultipartUploadCommand({ ...asked.at, UploadId, MultipartUpload: { Parts: [...Parts] }, ...more }),
  )
const abort = (asked: Asked, UploadId: string): Promise<string> =>
  outcome(asked.client.send(new AbortMultipartUploadCommand({ ...asked.at, UploadId })))

/** An upload of three parts, the last of them short, with checksums of a kind; what was told of it, with each checksum named by its field. */
const checkedUpload = async (asked: Asked, algorithm: ChecksumAlgorithm, type: ChecksumType, more: object = {}) => {
  const uploadId = await begin(asked, { ChecksumAlgorithm: algorithm, ChecksumType: type })
  const pieces = [part("a"), part("b"), Buffer.from("the rest")]
  const parts = []
  for (const [index, piece] of pieces.entries()) {
    parts.push(await upload(asked, uploadId, index + 1, piece, { ChecksumAlgorithm: algorithm }))
  }
  const done = await complete(asked, uploadId, parts, { ChecksumType: type, ...more })
  const head = await asked.client.send(new HeadObjectCommand({ ...asked.at, ChecksumMode: "ENABLED" }))
  const field = `Checksum${algorithm}` as "ChecksumCRC32"
  return { done: done[field], head: head[field], type: head.ChecksumType, whole: await seen(asked, asked.at) }
}
const wholeOfChecked = large(part("a"), part("b"), Buffer.from("the rest"))
const composite = (name: "SHA256" | "CRC32"): string => {
  const sums = [part("a"), part("b"), Buffer.from("the rest")].map((piece) => {
    if (name === "SHA256") return sha256(piece)
    const sum = Buffer.alloc(4)
    sum.writeUInt32BE(crc32(piece))
    return sum
  })
  const all = Buffer.concat(sums)
  if (name === "SHA256") return `${sha256(all).toString("base64")}-3`
  const sum = Buffer.alloc(4)
  sum.writeUInt32BE(crc32(all))
  return `${sum.toString("base64")}-3`
}
const crc32OfChecked = (): string => {
  const sum = Buffer.alloc(4)
  sum.writeUInt32BE(crc32(Buffer.concat([part("a"), part("b"), Buffer.from("the rest")])))
  return sum.toString("base64")
}

/** aws-chunked as the lines say, not signed by chunk, with the body's checksum to come behind. */
const chunked = (asked: Asked, text: string, decodedBytes: number): Said => ({
  ...asked.put,
  headers: {
    "content-encoding": "aws-chunked",
    "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "x-amz-decoded-content-length": String(decodedBytes),
    "x-amz-trailer": "x-amz-checksum-crc32",
  },
  body: text,
})

/** aws-chunked with one trailing checksum, not signed by chunk. */
const trailed = (asked: Asked, algorithm: string, line: string, bytes: string = body): Said => ({
  ...asked.put,
  headers: {
    "content-encoding": "aws-chunked",
    "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "x-amz-decoded-content-length": String(bytes.length),
    "x-amz-trailer": `x-amz-checksum-${algorithm.toLowerCase()}`,
  },
  body: `${bytes.length.toString(16)}\r\n${bytes}\r\n0\r\n${line}\r\n`,
})

const byAlgorithm = async (one: (algorithm: keyof typeof sums) => Promise<unknown>): Promise<Record<string, unknown>> =>
  Object.fromEntries(await Promise.all(algorithms.map(async (algorithm) => [algorithm, await one(algorithm)] as const)))
const each = (says: (algorithm: keyof typeof sums) => unknown): Record<string, unknown> =>
  Object.fromEntries(algorithms.map((algorithm) => [algorithm, says(algorithm)]))
const under = (asked: Asked, name: string): Asked => {
  const key = `${asked.at.Key}/${name}`
  return {
    ...asked,
    at: { ...asked.at, Key: key },
    locked: { ...asked.locked, Key: key },
    put: { ...asked.put, path: `/${asked.at.Bucket}/${key}` },
  }
}

/** How many of those at once got through, and with which outcomes the others did not. */
const race = (outcomes: ReadonlyArray<string>) => ({
  won: outcomes.filter((one) => one === "200").length,
  lost: outcomes
    .filter((one) => one !== "200")
    .every((one) => one === "412 PreconditionFailed" || one === "409 ConditionalRequestConflict"),
})

const retrieve = async (asked: Asked, range: string | undefined, bytes: string = "0123456789") => {
  await put(asked, { Body: bytes })
  const reply = await raw({
    method: "GET",
    path: asked.put.path,
    access: asked.s3,
    headers: range === undefined ? {} : { range },
  })
  const said = reply.status < 300 ? reply.body.toString() : reply.code
  return [reply.status, said, reply.headers["content-range"]]
}

const hourMs = 3_600_000

const tags = (count: number): string => Array.from({ length: count }, (_, index) => `tag${index}=${index}`).join("&")

const lock = (asked: Asked, headers: Record<string, string>): Said => ({
  ...asked.put,
  path: `/${asked.locked.Bucket}/${asked.locked.Key}`,
  body,
  headers: {
    "x-amz-object-lock-mode": "GOVERNANCE",
    "x-amz-object-lock-retain-until-date": new Date(Date.now() + hourMs).toISOString(),
    ...headers,
  },
})

const questions = {
  // "Authenticating Requests: Using the Authorization Header"; "Error responses".
  "refuses what is not signed": {
    ask: async (asked) => {
      const answer = await rawOutcome({
        ...asked.put,
        body,
        altered: ({ authorization: _authorization, ...headers }) => headers,
      })
      return [answer, await seen(asked, asked.at)]
    },
    says: ["403 AccessDenied", "NoSuchKey"],
  },
  "refuses a signature that is another": {
    ask: async (asked) => {
      const altered = (headers: Record<string, string>) => ({
        ...headers,
        authorization: headers["authorization"]?.replace(/.$/, (digit) => (digit === "0" ? "1" : "0")),
      })
      return [await rawOutcome({ ...asked.put, body, altered }), await seen(asked, asked.at)]
    },
    says: ["403 SignatureDoesNotMatch", "NoSuchKey"],
  },
  "refuses a wrong secret": {
    ask: async (asked) => {
      const client = clientOf({ ...asked.s3, secretAccessKey: "of somebody else" })
      return [
        await outcome(client.send(new PutObjectCommand({ ...asked.at, Body: body }))),
        await seen(asked, asked.at),
      ]
    },
    says: ["403 SignatureDoesNotMatch", "NoSuchKey"],
  },
  "refuses an access key that nobody has": {
    ask: async (asked) => {
      const client = clientOf({ ...asked.s3, accessKeyId: "NOBODYS" })
      return outcome(client.send(new PutObjectCommand({ ...asked.at, Body: body })))
    },
    says: "403 InvalidAccessKeyId",
  },
  "refuses a clock that is an hour late": {
    ask: (asked) => rawOutcome({ ...asked.put, body, signedAt: new Date(Date.now() - hourMs) }),
    says: "403 RequestTimeTooSkewed",
  },
  "refuses a clock that is an hour early": {
    ask: (asked) => rawOutcome({ ...asked.put, body, signedAt: new Date(Date.now() + hourMs) }),
    says: "403 RequestTimeTooSkewed",
  },
  "takes a clock that is ten minutes off": {
    ask: (asked) => rawOutcome({ ...asked.put, body, signedAt: new Date(Date.now() - hourMs / 6) }),
    says: "200",
  },
  "refuses a signature for another region": {
    ask: (asked) => rawOutcome({ ...asked.put, body, access: { ...asked.s3, region: "ap-south-2" } }),
    says: "400 AuthorizationHeaderMalformed",
  },
  "refuses a signed header that was changed": {
    ask: (asked) =>
      rawOutcome({
        ...asked.put,
        body,
        headers: { "x-amz-meta-of": "one" },
        altered: (headers) => ({ ...headers, "x-amz-meta-of": "another" }),
      }),
    says: "403 SignatureDoesNotMatch",
  },
  "refuses an x-amz- header that was added unsigned": {
    ask: (asked) =>
      rawOutcome({ ...asked.put, body, altered: (headers) => ({ ...headers, "x-amz-meta-of": "another" }) }),
    says: "403 AccessDenied",
  },
  "refuses a request without x-amz-content-sha256": {
    ask: (asked) =>
      rawOutcome({
        ...asked.put,
        body,
        altered: ({ "x-amz-content-sha256": _sha256, ...headers }) => ({
          ...headers,
          authorization: headers["authorization"]?.replace("x-amz-content-sha256;", ""),
        }),
      }),
    says: "400 InvalidRequest",
  },
  "refuses a body other than x-amz-content-sha256 says, and stores none of it": {
    ask: async (asked) => {
      const headers = { "x-amz-content-sha256": sha256("another").toString("hex") }
      return [await rawOutcome({ ...asked.put, body, headers }), await seen(asked, asked.at)]
    },
    says: ["400 XAmzContentSHA256Mismatch", "NoSuchKey"],
  },
  "refuses a bucket that is not there": {
    ask: async (asked) => [
      await outcome(asked.client.send(new HeadBucketCommand({ Bucket: asked.at.Bucket }))),
      await outcome(asked.client.send(new PutObjectCommand({ ...asked.at, Bucket: "not-there", Body: body }))),
    ],
    says: ["200", "404 NoSuchBucket"],
  },

  // "Checking object integrity".
  "keeps and tells the checksum that came in a header": {
    ask: (asked) =>
      byAlgorithm(async (algorithm) => {
        const one = under(asked, algorithm)
        const field = `Checksum${algorithm}` as "ChecksumCRC32"
        const told = await one.client.send(new PutObjectCommand({ ...one.at, Body: body, [field]: sums[algorithm] }))
        const head = await one.client.send(new HeadObjectCommand({ ...one.at, ChecksumMode: "ENABLED" }))
        return [told[field], head[field], head.ChecksumType]
      }),
    says: each((algorithm) => [sums[algorithm], sums[algorithm], "FULL_OBJECT"]),
  },
  "refuses a body of which the checksum in a header is not, and stores none of it": {
    ask: (asked) =>
      byAlgorithm(async (algorithm) => {
        const one = under(asked, algorithm)
        return [await put(one, { [`Checksum${algorithm}`]: wrong(sums[algorithm]) }), await seen(one, one.at)]
      }),
    says: each(() => ["400 BadDigest", "NoSuchKey"]),
  },
  "refuses a checksum that is none": {
    ask: (asked) => byAlgorithm((algorithm) => put(under(asked, algorithm), { [`Checksum${algorithm}`]: "AAAA" })),
    says: each(() => "400 InvalidRequest"),
  },
  "takes the checksum that the SDK makes by itself": {
    ask: async (asked) => {
      const client = clientOf(asked.s3, { requestChecksumCalculation: "WHEN_SUPPORTED" })
      const told = await client.send(new PutObjectCommand({ ...asked.at, Body: body }))
      return [told.ChecksumCRC32, await seen(asked, asked.at)]
    },
    says: [sums.CRC32, body],
  },
  "keeps and tells the checksum that came in a trailer": {
    ask: (asked) =>
      byAlgorithm(async (algorithm) => {
        const one = under(asked, algorithm)
        const line = `x-amz-checksum-${algorithm.toLowerCase()}:${sums[algorithm]}\r\n`
        const answer = await rawOutcome(trailed(one, algorithm, line))
        if (answer !== "200") return answer
        const head = await one.client.send(new HeadObjectCommand({ ...one.at, ChecksumMode: "ENABLED" }))
        return [await seen(one, one.at), head[`Checksum${algorithm}` as "ChecksumCRC32"], head.ContentEncoding]
      }),
    says: each((algorithm) => [body, sums[algorithm], undefined]),
  },
  "refuses a body of which the checksum in a trailer is not, and stores none of it": {
    ask: (asked) =>
      byAlgorithm(async (algorithm) => {
        const one = under(asked, algorithm)
        const line = `x-amz-checksum-${algorithm.toLowerCase()}:${wrong(sums[algorithm])}\r\n`
        return [await rawOutcome(trailed(one, algorithm, line)), await seen(one, one.at)]
      }),
    says: each(() => ["400 BadDigest", "NoSuchKey"]),
  },
  "refuses a trailer that was announced and did not come": {
    ask: async (asked) => [await rawOutcome(trailed(asked, "CRC32", "")), await seen(asked, asked.at)],
    says: ["400 MalformedTrailerError", "NoSuchKey"],
  },
  "refuses a body in chunks of which the last one did not come": {
    ask: async (asked) => [
      await rawOutcome(chunked(under(asked, "all"), `9\r\n${body}\r\n`, 9)),
      await rawOutcome(chunked(under(asked, "some"), `9\r\n${body.slice(0, 5)}`, 9)),
      await rawOutcome(
        chunked(
          under(asked, "short"),
          `5\r\n${body.slice(0, 5)}\r\n0\r\nx-amz-checksum-crc32:${sums.CRC32}\r\n\r\n`,
          9,
        ),
      ),
      await seen(asked, under(asked, "all").at),
    ],
    says: ["400 IncompleteBody", "400 IncompleteBody", "400 IncompleteBody", "NoSuchKey"],
  },
  "refuses chunks of less than 8 KiB, but for the last": {
    ask: (asked) =>
      rawOutcome(chunked(asked, `5\r\n12345\r\n4\r\n6789\r\n0\r\nx-amz-checksum-crc32:${sums.CRC32}\r\n\r\n`, 9)),
    says: "403 InvalidChunkSizeError",
  },
  "takes a body of unknown checksum from the SDK's stream, with the checksum behind it": {
    ask: async (asked) => {
      const Body = Readable.from([Buffer.from(body)])
      const answer = await put(asked, { Body, ContentLength: body.length, ChecksumAlgorithm: "CRC32" })
      return [answer, await seen(asked, asked.at)]
    },
    says: ["200", body],
  },
  "refuses two checksums at once": {
    ask: (asked) =>
      rawOutcome({
        ...asked.put,
        body,
        headers: { "x-amz-checksum-crc32": sums.CRC32, "x-amz-checksum-sha256": sums.SHA256 },
      }),
    says: "400 InvalidRequest",
  },
  "refuses an announced checksum that is not there": {
    ask: (asked) => rawOutcome({ ...asked.put, body, headers: { "x-amz-sdk-checksum-algorithm": "CRC32" } }),
    says: "400 InvalidRequest",
  },
  "makes a CRC64NVME where no checksum came": {
    ask: async (asked) => {
      await put(asked)
      const head = await asked.client.send(new HeadObjectCommand({ ...asked.at, ChecksumMode: "ENABLED" }))
      return [head.ChecksumCRC64NVME, head.ChecksumType]
    },
    says: [sums.CRC64NVME, "FULL_OBJECT"],
  },
  "tells a checksum only where ChecksumMode asks for it": {
    ask: async (asked) => {
      await put(asked, { ChecksumCRC32: sums.CRC32 })
      const head = await asked.client.send(new HeadObjectCommand(asked.at))
      return [head.ChecksumCRC32, head.ChecksumType, head.ContentLength, head.ETag]
    },
    says: [undefined, undefined, body.length, `"${md5(body)}"`],
  },
  "takes a right Content-MD5": {
    ask: (asked) => put(asked, { ContentMD5: md5(body, "base64") }),
    says: "200",
  },
  "refuses a body of which Content-MD5 is not, and stores none of it": {
    ask: async (asked) => [await put(asked, { ContentMD5: md5("another", "base64") }), await seen(asked, asked.at)],
    says: ["400 BadDigest", "NoSuchKey"],
  },
  "refuses a Content-MD5 that is none": {
    ask: (asked) => put(asked, { ContentMD5: "AAAA" }),
    says: "400 InvalidDigest",
  },

  // "Conditional writes".
  "writes with If-None-Match: * only where nothing is": {
    ask: async (asked) => [
      await put(asked, { IfNoneMatch: "*" }),
      await put(asked, { IfNoneMatch: "*", Body: "another" }),
      await seen(asked, asked.at),
    ],
    says: ["200", "412 PreconditionFailed", body],
  },
  "lets one of several through that write at once with If-None-Match: *": {
    ask: async (asked) => {
      const bodies = ["one", "two", "three", "four", "five", "six"]
      const outcomes = await Promise.all(bodies.map((Body) => put(asked, { IfNoneMatch: "*", Body })))
      return { ...race(outcomes), winnersIsThere: (await seen(asked, asked.at)) === bodies[outcomes.indexOf("200")] }
    },
    says: { won: 1, lost: true, winnersIsThere: true },
  },
  "writes with If-Match only over what it names": {
    ask: async (asked) => {
      const missing = await put(asked, { IfMatch: `"${md5(body)}"` })
      await put(asked)
      const other = await put(asked, { IfMatch: `"${md5("another")}"`, Body: "third" })
      const same = await put(asked, { IfMatch: `"${md5(body)}"`, Body: "third" })
      return [missing, other, same, await seen(asked, asked.at)]
    },
    says: ["404 NoSuchKey", "412 PreconditionFailed", "200", "third"],
  },
  "overwrites where nothing was said": {
    ask: async (asked) => [await put(asked), await put(asked, { Body: "another" }), await seen(asked, asked.at)],
    says: ["200", "200", "another"],
  },
  "completes with If-None-Match: * only where nothing is, and keeps the upload": {
    ask: async (asked) => {
      const uploadId = await begin(asked)
      const parts = [await upload(asked, uploadId, 1, "of parts")]
      await put(asked)
      const refused = await outcome(complete(asked, uploadId, parts, { IfNoneMatch: "*" }))
      return [refused, await seen(asked, asked.at), await abort(asked, uploadId)]
    },
    says: ["412 PreconditionFailed", body, "204"],
  },
  "lets one of several through that complete at once with If-None-Match: *": {
    ask: async (asked) => {
      const bodies = ["one", "two", "three", "four"]
      const uploads = await Promise.all(
        bodies.map(async (piece) => {
          const uploadId = await begin(asked)
          return { uploadId, parts: [await upload(asked, uploadId, 1, piece)] }
        }),
      )
      const outcomes = await Promise.all(
        uploads.map(({ uploadId, parts }) => outcome(complete(asked, uploadId, parts, { IfNoneMatch: "*" }))),
      )
      return { ...race(outcomes), winnersIsThere: (await seen(asked, asked.at)) === bodies[outcomes.indexOf("200")] }
    },
    says: { won: 1, lost: true, winnersIsThere: true },
  },

  // "Uploading and copying objects using multipart upload"; "Amazon S3 multipart upload limits".
  "makes one object of parts that came out of order, visible only when complete": {
    ask: async (asked) => {
      const uploadId = await begin(asked, { Metadata: { of: "parts" }, ContentType: "text/plain" })
      const third = await upload(asked, uploadId, 3, "the rest")
      const first = await upload(asked, uploadId, 1, part("a"))
      const second = await upload(asked, uploadId, 2, part("b", minPartBytes + 1))
      const before = await seen(asked, asked.at)
      await complete(asked, uploadId, [first, second, third])
      const head = await asked.client.send(new HeadObjectCommand(asked.at))
      return [before, await seen(asked, asked.at), head.ETag, head.Metadata, head.ContentType]
    },
    says: [
      "NoSuchKey",
      large(part("a"), part("b", minPartBytes + 1), Buffer.from("the rest")),
      `"${createHash("md5")
        .update(md5(part("a")), "hex")
        .update(md5(part("b", minPartBytes + 1)), "hex")
        .update(md5("the rest"), "hex")
        .digest("hex")}-3"`,
      { of: "parts" },
      "text/plain",
    ],
  },
  "tells the object's ETag when it is complete": {
    ask: async (asked) => {
      const uploadId = await begin(asked)
      const parts = [await upload(asked, uploadId, 1, body)]
      return (await complete(asked, uploadId, parts)).ETag
    },
    says: `"${createHash("md5").update(md5(body), "hex").digest("hex")}-1"`,
  },
  "takes the last of two parts of one number": {
    ask: async (asked) => {
      const uploadId = await begin(asked)
      const first = await upload(asked, uploadId, 1, "first")
      const again = await upload(asked, uploadId, 1, "again")
      return [
        await outcome(complete(asked, uploadId, [first])),
        await outcome(complete(asked, uploadId, [again])),
        await seen(asked, asked.at),
      ]
    },
    says: ["400 InvalidPart", "200", "again"],
  },
  "leaves out parts that are not listed": {
    ask: async (asked) => {
      const uploadId = await begin(asked)
      await upload(asked, uploadId, 1, "not this")
      const second = await upload(asked, uploadId, 2, "but this")
      return [await outcome(complete(asked, uploadId, [second])), await seen(asked, asked.at)]
    },
    says: ["200", "but this"],
  },
  "refuses parts in the wrong order": {
    ask: async (asked) => {
      const uploadId = await begin(asked)
      const first = await upload(asked, uploadId, 1, part("a"))
      const second = await upload(asked, uploadId, 2, part("b"))
      return [await outcome(complete(asked, uploadId, [second, first])), await seen(asked, asked.at)]
    },
    says: ["400 InvalidPartOrder", "NoSuchKey"],
  },
  "refuses a part of less than 5 MiB that is not the last": {
    ask: async (asked) => {
      const uploadId = await begin(asked)
      const first = await upload(asked, uploadId, 1, part("a", minPartBytes - 1))
      const second = await upload(asked, uploadId, 2, "the rest")
      return [await outcome(complete(asked, uploadId, [first, second])), await seen(asked, asked.at)]
    },
    says: ["400 EntityTooSmall", "NoSuchKey"],
  },
  "refuses a part that was never uploaded": {
    ask: async (asked) => {
      const uploadId = await begin(asked)
      const first = await upload(asked, uploadId, 1, body)
      return [
        await outcome(complete(asked, uploadId, [{ ...first, PartNumber: 2 }])),
        await outcome(complete(asked, uploadId, [{ ...first, ETag: `"${md5("another")}"` }])),
        await seen(asked, asked.at),
      ]
    },
    says: ["400 InvalidPart", "400 InvalidPart", "NoSuchKey"],
  },
  "refuses a part number outside of 1 to 10,000": {
    ask: async (asked) => {
      const uploadId = await begin(asked)
      const numbered = (PartNumber: number) => outcome(uploadDigits(asked, uploadId, PartNumber))
      return [await numbered(0), await numbered(1), await numbered(10_000), await numbered(10_001)]
    },
    says: ["400 InvalidArgument", "200", "200", "400 InvalidArgument"],
  },
  "refuses a list of no parts": {
    ask: async (asked) => {
      const uploadId = await begin(asked)
      await upload(asked, uploadId, 1, body)
      return [
        await rawOutcome({
          method: "POST",
          path: asked.put.path,
          query: { uploadId },
          access: asked.s3,
          body: "<CompleteMultipartUpload></CompleteMultipartUpload>",
        }),
        await rawOutcome({
          method: "POST",
          path: asked.put.path,
          query: { uploadId },
          access: asked.s3,
          body: "<Complete",
        }),
      ]
    },
    says: ["400 MalformedXML", "400 MalformedXML"],
  },
  "knows no upload that never was, nor one that is over": {
    ask: async (asked) => {
      const never = outcome(complete(asked, "never-was", [{ PartNumber: 1, ETag: md5(body) }]))
      const aborted = await begin(asked)
      const done = await abort(asked, aborted)
      return [
        await never,
        done,
        await abort(asked, aborted),
        await outcome(uploadDigits(asked, aborted, 1)),
        await outcome(asked.client.send(new ListPartsCommand({ ...asked.at, UploadId: aborted }))),
      ]
    },
    says: ["404 NoSuchUpload", "204", "404 NoSuchUpload", "404 NoSuchUpload", "404 NoSuchUpload"],
  },
  "knows an upload no more that was completed": {
    ask: async (asked) => {
      const uploadId = await begin(asked)
      const parts = [await upload(asked, uploadId, 1, body)]
      await complete(asked, uploadId, parts)
      return [await outcome(complete(asked, uploadId, parts)), await abort(asked, uploadId)]
    },
    says: ["404 NoSuchUpload", "404 NoSuchUpload"],
  },
  "lists uploads page by page, until they are completed or aborted": {
    ask: async (asked) => {
      const [a, b, c] = ["a", "b", "c"].map((name) => under(asked, name)) as [Asked, Asked, Asked]
      const ids = [await begin(a), await begin(b), await begin(c)]
      const page = async (KeyMarker?: string, UploadIdMarker?: string) => {
        const listed = await asked.client.send(
          new ListMultipartUploadsCommand({
            Bucket: asked.at.Bucket,
            Prefix: `${asked.at.Key}/`,
            MaxUploads: 2,
            KeyMarker,
            UploadIdMarker,
          }),
        )
        const found = (listed.Uploads ?? []).map(({ Key, UploadId }) => [Key, ids.indexOf(UploadId ?? "")])
        return {
          found,
          truncated: listed.IsTruncated,
          next: [listed.NextKeyMarker, listed.NextUploadIdMarker] as const,
        }
      }
      const first = await page()
      const second = await page(...first.next)
      await abort(a, ids[0]!)
      await complete(b, ids[1]!, [await upload(b, ids[1]!, 1, body)])
      const left = await page()
      await abort(c, ids[2]!)
      const none = await page()
      const short = ({ found, truncated }: { found: unknown; truncated: unknown }) => [found, truncated]
      return [short(first), short(second), short(left), short(none)].map((one) =>
        JSON.parse(JSON.stringify(one).replaceAll(asked.at.Key, "")),
      )
    },
    says: [
      [
        [
          ["/a", 0],
          ["/b", 1],
        ],
        true,
      ],
      [[["/c", 2]], false],
      [[["/c", 2]], false],
      [[], false],
    ],
  },
  "lists parts page by page": {
    ask: async (asked) => {
      const uploadId = await begin(asked)
      for (const number of [7, 1, 3]) await upload(asked, uploadId, number, `part ${number}`)
      const page = async (PartNumberMarker?: string) => {
        const listed = await asked.client.send(
          new ListPartsCommand({ ...asked.at, UploadId: uploadId, MaxParts: 2, PartNumberMarker }),
        )
        const found = (listed.Parts ?? []).map(({ PartNumber, Size, ETag }) => [PartNumber, Size, ETag])
        return { found, truncated: listed.IsTruncated, next: listed.NextPartNumberMarker }
      }
      const first = await page()
      const second = await page(first.next)
      return [first.found, first.truncated, second.found, second.truncated]
    },
    says: [
      [
        [1, 6, `"${md5("part 1")}"`],
        [3, 6, `"${md5("part 3")}"`],
      ],
      true,
      [[7, 6, `"${md5("part 7")}"`]],
      false,
    ],
  },
  "makes one CRC of the whole object from those of the parts (FULL_OBJECT)": {
    ask: (asked) => checkedUpload(asked, "CRC32", "FULL_OBJECT", { ChecksumCRC32: crc32OfChecked() }),
    says: { done: crc32OfChecked(), head: crc32OfChecked(), type: "FULL_OBJECT", whole: wholeOfChecked },
  },
  "makes a checksum of the parts' checksums (COMPOSITE, of CRC32)": {
    ask: (asked) => checkedUpload(asked, "CRC32", "COMPOSITE"),
    says: { done: composite("CRC32"), head: composite("CRC32"), type: "COMPOSITE", whole: wholeOfChecked },
  },
  "makes a checksum of the parts' checksums (COMPOSITE, of SHA256)": {
    ask: (asked) => checkedUpload(asked, "SHA256", "COMPOSITE"),
    says: { done: composite("SHA256"), head: composite("SHA256"), type: "COMPOSITE", whole: wholeOfChecked },
  },
  "asks for each part's checksum again to make one of them (COMPOSITE)": {
    ask: async (asked) => {
      const uploadId = await begin(asked, { ChecksumAlgorithm: "SHA256" })
      const { ChecksumSHA256, ...first } = await upload(asked, uploadId, 1, body, { ChecksumAlgorithm: "SHA256" })
      return [
        await outcome(complete(asked, uploadId, [first])),
        await outcome(complete(asked, uploadId, [{ ...first, ChecksumSHA256: wrong(sums.SHA256) }])),
        await outcome(complete(asked, uploadId, [{ ...first, ChecksumSHA256 }])),
      ]
    },
    says: ["400 InvalidRequest", "400 InvalidPart", "200"],
  },
  "makes checksums of parts only where their numbers are consecutive from 1 on": {
    ask: async (asked) => {
      const uploadId = await begin(asked, { ChecksumAlgorithm: "CRC32" })
      const second = await upload(asked, uploadId, 2, body, { ChecksumAlgorithm: "CRC32" })
      return outcome(complete(asked, uploadId, [second]))
    },
    says: "500 InternalError",
  },
  "refuses to complete with a checksum that the whole does not have": {
    ask: async (asked) => {
      const uploadId = await begin(asked, { ChecksumAlgorithm: "CRC32", ChecksumType: "FULL_OBJECT" })
      const parts = [await upload(asked, uploadId, 1, body, { ChecksumAlgorithm: "CRC32" })]
      return [
        await outcome(complete(asked, uploadId, parts, { ChecksumCRC32: wrong(sums.CRC32) })),
        await seen(asked, asked.at),
        await outcome(complete(asked, uploadId, parts, { ChecksumCRC32: sums.CRC32 })),
      ]
    },
    says: ["400 BadDigest", "NoSuchKey", "200"],
  },
  "refuses to complete with a size that the whole does not have": {
    ask: async (asked) => {
      const uploadId = await begin(asked)
      const parts = [await upload(asked, uploadId, 1, body)]
      return [
        await outcome(complete(asked, uploadId, parts, { MpuObjectSize: body.length + 1 })),
        await seen(asked, asked.at),
      ]
    },
    says: ["400 InvalidRequest", "NoSuchKey"],
  },
  "refuses a part's wrong checksum, and does not take the part": {
    ask: async (asked) => {
      const uploadId = await begin(asked, { ChecksumAlgorithm: "CRC32C" })
      const refused = await outcome(uploadDigits(asked, uploadId, 1, { ChecksumCRC32C: wrong(sums.CRC32C) }))
      const listed = await asked.client.send(new ListPartsCommand({ ...asked.at, UploadId: uploadId }))
      return [refused, (listed.Parts ?? []).length]
    },
    says: ["400 BadDigest", 0],
  },
  "refuses a part whose checksum is of another algorithm than the upload's": {
    ask: async (asked) => {
      const uploadId = await begin(asked, { ChecksumAlgorithm: "SHA256" })
      return outcome(uploadDigits(asked, uploadId, 1, { ChecksumCRC32: sums.CRC32 }))
    },
    says: "400 InvalidRequest",
  },
  "knows no full-object SHA and no composite CRC64NVME": {
    ask: async (asked) => {
      const kind = (ChecksumAlgorithm: ChecksumAlgorithm, ChecksumType: ChecksumType) =>
        outcome(asked.client.send(new CreateMultipartUploadCommand({ ...asked.at, ChecksumAlgorithm, ChecksumType })))
      return [await kind("SHA256", "FULL_OBJECT"), await kind("CRC64NVME", "COMPOSITE")]
    },
    says: ["400 InvalidRequest", "400 InvalidRequest"],
  },

  // "GetObject"; "HeadObject".
  "gives the whole": {
    ask: (asked) => retrieve(asked, undefined),
    says: [200, "0123456789", undefined],
  },
  "gives the first bytes": { ask: (asked) => retrieve(asked, "bytes=0-3"), says: [206, "0123", "bytes 0-3/10"] },
  "gives bytes from the middle": { ask: (asked) => retrieve(asked, "bytes=4-4"), says: [206, "4", "bytes 4-4/10"] },
  "gives all from a byte on": { ask: (asked) => retrieve(asked, "bytes=7-"), says: [206, "789", "bytes 7-9/10"] },
  "gives the last bytes": { ask: (asked) => retrieve(asked, "bytes=-2"), says: [206, "89", "bytes 8-9/10"] },
  "gives what there is of a range that goes beyond the end": {
    ask: (asked) => retrieve(asked, "bytes=8-99"),
    says: [206, "89", "bytes 8-9/10"],
  },
  "gives what there is of the last bytes, if more are asked for": {
    ask: (asked) => retrieve(asked, "bytes=-99"),
    says: [206, "0123456789", "bytes 0-9/10"],
  },
  "refuses a range beyond the end": {
    ask: async (asked) => (await retrieve(asked, "bytes=10-")).slice(0, 2),
    says: [416, "InvalidRange"],
  },
  "refuses a range of nothing": {
    ask: async (asked) => (await retrieve(asked, "bytes=0-", "")).slice(0, 2),
    says: [416, "InvalidRange"],
  },
  "gives the whole for a range that is none": {
    ask: (asked) => retrieve(asked, "lines=1-2"),
    says: [200, "0123456789", undefined],
  },
  "tells nothing of what is not there": {
    ask: async (asked) => [
      await outcome(asked.client.send(new HeadObjectCommand(asked.at))),
      await outcome(asked.client.send(new GetObjectCommand(asked.at))),
    ],
    says: ["404 NotFound", "404 NoSuchKey"],
  },
  "gives only what If-Match names, and not what If-None-Match names": {
    ask: async (asked) => {
      await put(asked)
      const get = (more: object) => outcome(asked.client.send(new GetObjectCommand({ ...asked.at, ...more })))
      return [
        await get({ IfMatch: `"${md5(body)}"` }),
        await get({ IfMatch: `"${md5("another")}"` }),
        (await get({ IfNoneMatch: `"${md5(body)}"` })).slice(0, 3),
        await get({ IfNoneMatch: `"${md5("another")}"` }),
      ]
    },
    says: ["200", "412 PreconditionFailed", "304", "200"],
  },
  "deletes what is there, and is content where nothing is": {
    ask: async (asked) => {
      await put(asked)
      const remove = () => outcome(asked.client.send(new DeleteObjectCommand(asked.at)))
      return [await remove(), await seen(asked, asked.at), await remove()]
    },
    says: ["204", "NoSuchKey", "204"],
  },
  "keeps an object of no bytes": {
    ask: async (asked) => {
      await put(asked, { Body: "" })
      const head = await asked.client.send(new HeadObjectCommand(asked.at))
      return [head.ContentLength, head.ETag]
    },
    says: [0, `"${md5("")}"`],
  },
  "keeps the headers that describe the content": {
    ask: async (asked) => {
      const described = {
        ContentType: "text/plain; charset=utf-8",
        ContentEncoding: "zstd",
        CacheControl: "no-store",
        ContentDisposition: "attachment",
        ContentLanguage: "en",
        Metadata: { first: "1", "second-one": "two words" },
      }
      await put(asked, described)
      const head = await asked.client.send(new HeadObjectCommand(asked.at))
      return Object.fromEntries(Object.keys(described).map((name) => [name, head[name as keyof typeof described]]))
    },
    says: {
      ContentType: "text/plain; charset=utf-8",
      ContentEncoding: "zstd",
      CacheControl: "no-store",
      ContentDisposition: "attachment",
      ContentLanguage: "en",
      Metadata: { first: "1", "second-one": "two words" },
    },
  },

  // "Working with object metadata"; "Categorizing your storage using tags"; "Naming Amazon S3 objects".
  "takes 2 KB of metadata, names and values together": {
    ask: (asked) => put(asked, { Metadata: { name: "v".repeat(2048 - 4) } }),
    says: "200",
  },
  "refuses more than 2 KB of metadata": {
    ask: async (asked) => [
      await put(asked, { Metadata: { name: "v".repeat(1024), more: "v".repeat(1017) } }),
      await seen(asked, asked.at),
    ],
    says: ["400 MetadataTooLarge", "NoSuchKey"],
  },
  "takes ten tags, and tells their number": {
    ask: async (asked) => {
      const answer = await put(asked, { Tagging: tags(10) })
      return [answer, (await asked.client.send(new GetObjectCommand(asked.at))).TagCount]
    },
    says: ["200", 10],
  },
  "refuses eleven tags": {
    ask: async (asked) => [await put(asked, { Tagging: tags(11) }), await seen(asked, asked.at)],
    says: ["400 InvalidTag", "NoSuchKey"],
  },
  "refuses a tag whose name is longer than 128, or whose value is longer than 256": {
    ask: async (asked) => [
      await put(under(asked, "both"), { Tagging: `${"n".repeat(128)}=${"v".repeat(256)}` }),
      await put(under(asked, "name"), { Tagging: `${"n".repeat(129)}=v` }),
      await put(under(asked, "value"), { Tagging: `n=${"v".repeat(257)}` }),
    ],
    says: ["200", "400 InvalidTag", "400 InvalidTag"],
  },
  "refuses one tag twice": {
    ask: (asked) => put(asked, { Tagging: "one=1&one=2" }),
    says: "400 InvalidArgument",
  },
  "takes a key of 1024 bytes": {
    ask: (asked) => put({ ...asked, at: { ...asked.at, Key: "k".repeat(1024) } }),
    says: "200",
  },
  "refuses a key of 1025 bytes, and counts bytes rather than characters": {
    ask: async (asked) => [
      await put({ ...asked, at: { ...asked.at, Key: "k".repeat(1025) } }),
      await put({ ...asked, at: { ...asked.at, Key: "ü".repeat(513) } }),
    ],
    says: ["400 KeyTooLongError", "400 KeyTooLongError"],
  },
  "knows odd keys by their names": {
    ask: async (asked) => {
      const names = ["a b", "a+b", "a%20b", "a//b", "ü/日本", "😀", "a&b=c;d?e#f", "'!()*~", '<>"\\']
      for (const name of names) await put(under(asked, name), { Body: name })
      const listed = await asked.client.send(
        new ListObjectsV2Command({ Bucket: asked.at.Bucket, Prefix: `${asked.at.Key}/` }),
      )
      const there = await Promise.all(names.map((name) => seen(asked, under(asked, name).at)))
      const keys = (listed.Contents ?? []).map(({ Key }) => Key?.slice(asked.at.Key.length + 1))
      return [
        there.map((one, index) => one === names[index]),
        keys.length,
        names.filter((name) => !keys.includes(name)),
      ]
    },
    says: [Array.from({ length: 9 }, () => true), 9, []],
  },
  "lists in the order of the keys' bytes, page by page, and by folder": {
    ask: async (asked) => {
      const names = ["b/1", "b/2", "a", "B", "￼", "😀"]
      for (const name of names) await put(under(asked, name))
      const list = async (more: object) => {
        const listed = await asked.client.send(
          new ListObjectsV2Command({ Bucket: asked.at.Bucket, Prefix: `${asked.at.Key}/`, ...more }),
        )
        const own = (key: string | undefined) => key?.slice(asked.at.Key.length + 1)
        return {
          keys: (listed.Contents ?? []).map(({ Key }) => own(Key)),
          folders: (listed.CommonPrefixes ?? []).map(({ Prefix }) => own(Prefix)),
          next: listed.NextContinuationToken,
        }
      }
      const first = await list({ MaxKeys: 4 })
      const second = await list({ MaxKeys: 4, ContinuationToken: first.next })
      const folders = await list({ Delimiter: "/" })
      return [first.keys, second.keys, second.next, folders.keys, folders.folders]
    },
    says: [["B", "a", "b/1", "b/2"], ["￼", "😀"], undefined, ["B", "a", "￼", "😀"], ["b/"]],
  },

  // "Using server-side encryption with AWS KMS keys".
  "encrypts with a key of KMS, and tells which": {
    ask: async (asked) => {
      const told = await asked.client.send(
        new PutObjectCommand({
          ...asked.at,
          Body: body,
          ServerSideEncryption: "aws:kms",
          SSEKMSKeyId: asked.s3.kmsKeyId,
        }),
      )
      const head = await asked.client.send(new HeadObjectCommand(asked.at))
      const kept = [told, head].map(({ ServerSideEncryption, SSEKMSKeyId }) => [
        ServerSideEncryption,
        SSEKMSKeyId === asked.s3.kmsKeyId,
      ])
      return [...kept, await seen(asked, asked.at), head.ETag === told.ETag]
    },
    says: [["aws:kms", true], ["aws:kms", true], body, true],
  },
  "has no MD5 for an ETag where KMS encrypts": {
    ask: async (asked) => {
      await put(asked, { ServerSideEncryption: "aws:kms", SSEKMSKeyId: asked.s3.kmsKeyId })
      return (await asked.client.send(new HeadObjectCommand(asked.at))).ETag === `"${md5(body)}"`
    },
    says: false,
  },
  "refuses a key that KMS does not know": {
    ask: async (asked) => [
      await put(asked, { ServerSideEncryption: "aws:kms", SSEKMSKeyId: "nobodys" }),
      await seen(asked, asked.at),
    ],
    says: ["400 KMS.NotFoundException", "NoSuchKey"],
  },
  "refuses a key of KMS without aws:kms": {
    ask: (asked) => put(asked, { SSEKMSKeyId: asked.s3.kmsKeyId }),
    says: "400 InvalidArgument",
  },
  "refuses an encryption that there is none of": {
    ask: (asked) => put(asked, { ServerSideEncryption: "rot13" as never }),
    says: "400 InvalidArgument",
  },
  "encrypts a multipart upload as it was begun": {
    ask: async (asked) => {
      const uploadId = await begin(asked, { ServerSideEncryption: "aws:kms", SSEKMSKeyId: asked.s3.kmsKeyId })
      const parts = [await upload(asked, uploadId, 1, body)]
      await complete(asked, uploadId, parts)
      const head = await asked.client.send(new HeadObjectCommand(asked.at))
      return [head.ServerSideEncryption, head.SSEKMSKeyId === asked.s3.kmsKeyId, await seen(asked, asked.at)]
    },
    says: ["aws:kms", true, body],
  },

  // "Locking objects with Object Lock".
  "locks an object, and tells until when": {
    ask: async (asked) => {
      const until = new Date(Math.ceil(Date.now() / 1000) * 1000 + hourMs)
      const kept = {
        ObjectLockMode: "GOVERNANCE" as const,
        ObjectLockRetainUntilDate: until,
        ObjectLockLegalHoldStatus: "ON" as const,
      }
      const answer = await put({ ...asked, at: asked.locked }, { ...kept, ContentMD5: md5(body, "base64") })
      const head = await asked.client.send(new HeadObjectCommand(asked.locked))
      return [
        answer,
        head.ObjectLockMode,
        head.ObjectLockRetainUntilDate?.getTime() === until.getTime(),
        head.ObjectLockLegalHoldStatus,
      ]
    },
    says: ["200", "GOVERNANCE", true, "ON"],
  },
  "refuses to lock what came with neither Content-MD5 nor a checksum": {
    ask: async (asked) => [await rawOutcome(lock(asked, {})), await seen(asked, asked.locked)],
    says: ["400 InvalidRequest", "NoSuchKey"],
  },
  "locks what came with a checksum": {
    ask: (asked) => rawOutcome(lock(asked, { "x-amz-checksum-crc32": sums.CRC32 })),
    says: "200",
  },
  "refuses to lock in a bucket that has no object lock": {
    ask: async (asked) => [
      await rawOutcome({ ...lock(asked, { "content-md5": md5(body, "base64") }), path: asked.put.path }),
      await seen(asked, asked.at),
    ],
    says: ["400 InvalidRequest", "NoSuchKey"],
  },
  "refuses a lock until a time that has passed": {
    ask: (asked) =>
      rawOutcome(
        lock(asked, {
          "content-md5": md5(body, "base64"),
          "x-amz-object-lock-retain-until-date": new Date(Date.now() - hourMs).toISOString(),
        }),
      ),
    says: "400 InvalidArgument",
  },
  "refuses half a lock": {
    ask: (asked) =>
      rawOutcome({
        ...asked.put,
        path: `/${asked.locked.Bucket}/${asked.locked.Key}`,
        body,
        headers: { "x-amz-object-lock-mode": "COMPLIANCE", "content-md5": md5(body, "base64") },
      }),
    says: "400 InvalidArgument",
  },

  // "PutObject": "Amazon S3 never adds partial objects; if you receive a success response, Amazon S3 added the entire object to the bucket."
  "never shows an upload that was cut off": {
    ask: async (asked) => {
      await cutOff({ ...asked.put, body: part("a", mebibyte) }, mebibyte - 1)
      await cutOff({ ...asked.put, body: part("a", mebibyte) }, 0)
      return seen(asked, asked.at)
    },
    says: "NoSuchKey",
  },
  "keeps what was there when an upload over it is cut off": {
    ask: async (asked) => {
      await put(asked)
      await cutOff({ ...asked.put, body: part("a", mebibyte) }, mebibyte / 2)
      return seen(asked, asked.at)
    },
    says: body,
  },
  "never lists a part that was cut off": {
    ask: async (asked) => {
      const uploadId = await begin(asked)
      const query = { uploadId, partNumber: "1" }
      await cutOff({ ...asked.put, query, body: part("a", mebibyte) }, mebibyte - 1)
      const listed = await asked.client.send(new ListPartsCommand({ ...asked.at, UploadId: uploadId }))
      return listed.Parts ?? []
    },
    says: [],
  },
  "never completes what was cut off while completing": {
    ask: async (asked) => {
      const uploadId = await begin(asked)
      const first = await upload(asked, uploadId, 1, body)
      const list = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${md5(body)}</ETag></Part></CompleteMultipartUpload>`
      await cutOff({ method: "POST", path: asked.put.path, query: { uploadId }, access: asked.s3, body: list }, 60)
      return [
        await seen(asked, asked.at),
        await outcome(complete(asked, uploadId, [first])),
        await seen(asked, asked.at),
      ]
    },
    says: ["NoSuchKey", "200", body],
  },
  "refuses a body whose length was not told": {
    ask: (asked) =>
      rawOutcome({
        ...asked.put,
        body,
        lengthTold: false,
        headers: { "x-amz-content-sha256": "UNSIGNED-PAYLOAD" },
      }),
    says: "411 MissingContentLength",
  },
  "is gone while it is down, and has everything when it is up again": {
    ask: async (asked) => {
      await put(asked)
      const uploadId = await begin(under(asked, "parts"))
      const parts = [await upload(under(asked, "parts"), uploadId, 1, "of parts")]
      await asked.s3.down()
      // Of the connections that the others left open, the client does not know yet that they are dead.
      const fresh = { ...asked, client: clientOf(asked.s3) }
      const refused = await outcome(fresh.client.send(new GetObjectCommand(asked.at))).then(
        (answer) => answer,
        (error: { code?: string }) => error.code,
      )
      await asked.s3.up()
      const completed = await outcome(complete(under(fresh, "parts"), uploadId, parts))
      return [refused, await seen(fresh, asked.at), completed, await seen(fresh, under(asked, "parts").at)]
    },
    says: ["ECONNREFUSED", body, "200", "of parts"],
    alone: true,
  },
} satisfies Record<string, Question>

export type Differences = Partial<Record<keyof typeof questions, Difference>>

/** `start` says what is missing where the server can't be had; its questions are skipped then, with that as the reason. */
export const s3Suite = (
  name: string,
  start: () => Promise<S3UnderTest | { readonly missing: string }>,
  differences: Differences = {},
): void => {
  describe(name, () => {
    let started: S3UnderTest | { readonly missing: string } | undefined
    let client: S3Client | undefined
    beforeAll(async () => {
      started = await start()
      if ("missing" in started) console.warn(`skipped: ${started.missing}`)
      else client = clientOf(started)
    })
    afterAll(async () => {
      client?.destroy()
      if (started !== undefined && !("missing" in started)) await started.close()
    })

    for (const [index, [title, question]] of Object.entries<Question>(questions).entries()) {
      const difference = differences[title as keyof typeof questions]
      const ask = question.alone === true ? it : it.concurrent
      ask(difference === undefined ? title : `does not: ${title} (${difference.because})`, async ({ skip }) => {
        if (started === undefined) throw new Error("not started")
        if ("missing" in started) return skip(started.missing)
        if (client === undefined) throw new Error("no client")
        const key = `question-${index}`
        const answer = await question.ask({
          s3: started,
          client,
          at: { Bucket: started.bucket, Key: key },
          locked: { Bucket: started.lockedBucket, Key: key },
          put: { method: "PUT", path: `/${started.bucket}/${key}`, access: started },
        })
        if (difference !== undefined) expect(difference.does).not.toEqual(question.says)
        expect(answer).toEqual(difference === undefined ? question.says : difference.does)
      })
    }
  })
}
