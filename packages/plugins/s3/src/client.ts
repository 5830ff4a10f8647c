/**
 * S3 as shipping needs it, over the AWS SDK: each call once, with its span, its failures classified, its limits set. Decides nothing about segments.
 * The SDK is loaded when this is set up, so that nobody else pays for it.
 */
import type * as Sdk from "@aws-sdk/client-s3"
import { Effect, type Scope } from "effect"
import type { Config } from "./config.ts"
import { classify, type Place, placeOf, S3Failure } from "./failure.ts"
import { RAW_SHA256 } from "./metadata.ts"
import type { Digest } from "./reading.ts"

/** An object as HeadObject tells of it. */
export interface Head {
  readonly bytes: number
  readonly etag: string
  readonly versionId: string | null
  /** Of the whole object, base64; null where the server tells none. */
  readonly sha256: string | null
  readonly crc32: string | null
  /** Whether the ETag is made of MD5s: not with SSE-KMS. */
  readonly etagIsMd5: boolean
  /** What the metadata say of the log's bytes; null: nothing. */
  readonly rawSha256: string | null
}
/** What an object is to be. */
export interface NewObject {
  readonly key: string
  readonly contentType: string
  readonly metadata: Readonly<Record<string, string>>
  readonly stored: Digest
  /** For object lock. */
  readonly nowMs: number
}
/** Null: the key must be free. Else: the object of this ETag is replaced. */
export type Replaces = string | null
export interface Part {
  readonly number: number
  readonly body: Uint8Array
  /** Base64. */
  readonly crc32: string
  readonly md5: string | null
}
export interface PartReceipt {
  readonly number: number
  readonly etag: string
  readonly crc32: string
  readonly md5: string | null
}

export interface S3 {
  readonly place: Place
  readonly bucket: string
  /** Null: no such object. A key that may be free: where listing isn't allowed, S3 says 403 of those. */
  readonly head: (key: string) => Effect.Effect<Head | null, S3Failure>
  readonly put: (object: NewObject, body: Uint8Array, replaces: Replaces) => Effect.Effect<void, S3Failure>
  /** `tries` more than one: of an earlier one nobody heard, and it may have begun an upload. */
  readonly createUpload: (
    object: NewObject,
  ) => Effect.Effect<{ readonly uploadId: string; readonly tries: number }, S3Failure>
  readonly uploadPart: (key: string, uploadId: string, part: Part) => Effect.Effect<PartReceipt, S3Failure>
  readonly completeUpload: (
    object: NewObject,
    uploadId: string,
    parts: ReadonlyArray<PartReceipt>,
    replaces: Replaces,
  ) => Effect.Effect<void, S3Failure>
  /** Succeeds if there is none. */
  readonly abortUpload: (key: string, uploadId: string) => Effect.Effect<void, S3Failure>
  /** Ids of the uploads to this very key that nobody completed. */
  readonly uploadsTo: (key: string) => Effect.Effect<ReadonlyArray<string>, S3Failure>
  /** Reads the object of this ETag; `consume` is given its bytes. */
  readonly read: <A>(
    key: string,
    etag: string,
    consume: (bytes: AsyncIterable<Uint8Array>, signal: AbortSignal) => Promise<A>,
  ) => Effect.Effect<A, S3Failure>
}

/** Where no other is said, and the server is not AWS's. */
const DEFAULT_REGION = "us-east-1"
/** Uploads to one key that were left behind; more is somebody's mistake. */
const MAX_PAGES = 10
const DAY_MS = 86_400_000

export const connect = (config: Config): Effect.Effect<S3, S3Failure, Scope.Scope> =>
  Effect.gen(function* () {
    const { bucket, endpoint } = config
    const place = placeOf(bucket, endpoint ?? config.region ?? "AWS")
    const asFailure =
      (op: string, scrub: (text: string) => string = () => "") =>
      (thrown: unknown): S3Failure =>
        thrown instanceof S3Failure ? thrown : classify(op, place, thrown, scrub)
    const sdk = yield* Effect.tryPromise({ try: () => import("@aws-sdk/client-s3"), catch: asFailure("import") })
    const client = yield* Effect.acquireRelease(
      Effect.tryPromise({ try: () => makeClient(sdk, config), catch: asFailure("connect") }),
      (client) => Effect.sync(() => client.destroy()),
    )

    /** One call: interrupted with the effect, and never longer than the requests it is made of may take together. */
    const call = <A>(
      op: string,
      key: string,
      send: (signal: AbortSignal) => Promise<A>,
      attributes: Readonly<Record<string, string | number>> = {},
    ): Effect.Effect<A, S3Failure> =>
      Effect.tryPromise({ try: async (signal) => await send(signal), catch: (thrown) => thrown }).pipe(
        Effect.catch((thrown) =>
          Effect.flatMap(scrubber(client), (scrub) => Effect.fail(asFailure(op, scrub)(thrown))),
        ),
        Effect.timeoutOrElse({
          duration: config.attempts * config.requestTimeout,
          orElse: () => Effect.fail(asFailure(op)({ name: "TimeoutError" })),
        }),
        Effect.withSpan(
          `S3.${op}`,
          {
            kind: "client",
            attributes: {
              "rpc.system": "aws-api",
              "rpc.service": "S3",
              "rpc.method": op,
              "aws.s3.bucket": bucket,
              "aws.s3.key": key,
              ...attributes,
            },
          },
          { captureStackTrace: false },
        ),
      )

    const described = ({ contentType, key, metadata, nowMs }: NewObject) => ({
      Bucket: bucket,
      Key: key,
      ContentType: contentType,
      Metadata: { ...metadata },
      ...chosen(config, nowMs),
    })
    // Without its quotes, as AWS's examples of conditional writes have it: some servers (radosgw) take them for a part of the ETag.
    const condition = (replaces: Replaces) =>
      replaces === null ? { IfNoneMatch: "*" } : { IfMatch: replaces.replaceAll('"', "") }

    return {
      place,
      bucket,
      head: (key) =>
        call("HeadObject", key, async (abortSignal) => {
          try {
            return headOf(
              await client.send(new sdk.HeadObjectCommand({ Bucket: bucket, Key: key, ChecksumMode: "ENABLED" }), {
                abortSignal,
              }),
            )
          } catch (error) {
            // The answer to HEAD has no body, so that a missing bucket looks the same: the upload will tell.
            if (statusOf(error) === 404) return null
            throw error
          }
        }),
      put: (object, body, replaces) =>
        call("PutObject", object.key, async (abortSignal) => {
          const { md5, sha256 } = object.stored
          const command = new sdk.PutObjectCommand({
            ...described(object),
            ...condition(replaces),
            Body: body,
            ContentLength: body.length,
            ChecksumSHA256: base64(sha256),
            ...(md5 === null ? {} : { ContentMD5: base64(md5) }),
          })
          // What the signature covers is known: the SDK need not hash the body once more.
          command.middlewareStack.add(
            (next) => (args) => {
              const { headers } = args.request as { readonly headers: Record<string, string> }
              headers["x-amz-content-sha256"] = sha256
              return next(args)
            },
            { step: "build", name: "cordwoodPayloadHash" },
          )
          await client.send(command, { abortSignal })
        }),
      createUpload: (object) =>
        call("CreateMultipartUpload", object.key, async (abortSignal) => {
          const { $metadata, UploadId } = await client.send(
            new sdk.CreateMultipartUploadCommand({
              ...described(object),
              ChecksumAlgorithm: "CRC32",
              ChecksumType: "FULL_OBJECT",
            }),
            { abortSignal },
          )
          if (UploadId === undefined) throw new TypeError("no upload id")
          return { uploadId: UploadId, tries: $metadata.attempts ?? 1 }
        }),
      uploadPart: (key, uploadId, { body, crc32, md5, number }) =>
        call(
          "UploadPart",
          key,
          async (abortSignal) => {
            const { ETag } = await client.send(
              new sdk.UploadPartCommand({
                Bucket: bucket,
                Key: key,
                UploadId: uploadId,
                PartNumber: number,
                Body: body,
                ContentLength: body.length,
                ChecksumCRC32: crc32,
                ...(md5 === null ? {} : { ContentMD5: base64(md5) }),
              }),
              { abortSignal },
            )
            return { number, etag: ETag ?? "", crc32, md5 }
          },
          { "aws.s3.upload_id": uploadId, "aws.s3.part_number": number },
        ),
      completeUpload: (object, uploadId, parts, replaces) =>
        call(
          "CompleteMultipartUpload",
          object.key,
          async (abortSignal) => {
            await client.send(
              new sdk.CompleteMultipartUploadCommand({
                Bucket: bucket,
                Key: object.key,
                UploadId: uploadId,
                ...condition(replaces),
                ChecksumCRC32: object.stored.crc32,
                ChecksumType: "FULL_OBJECT",
                MpuObjectSize: object.stored.bytes,
                MultipartUpload: {
                  Parts: parts.map(({ crc32, etag, number }) => ({
                    PartNumber: number,
                    ETag: etag,
                    ChecksumCRC32: crc32,
                  })),
                },
              }),
              { abortSignal },
            )
          },
          { "aws.s3.upload_id": uploadId },
        ),
      abortUpload: (key, uploadId) =>
        call(
          "AbortMultipartUpload",
          key,
          async (abortSignal) => {
            await client.send(new sdk.AbortMultipartUploadCommand({ Bucket: bucket, Key: key, UploadId: uploadId }), {
              abortSignal,
            })
          },
          { "aws.s3.upload_id": uploadId },
        ).pipe(
          Effect.catchIf(
            ({ kind }) => kind === "gone",
            () => Effect.void,
          ),
        ),
      uploadsTo: (key) =>
        call("ListMultipartUploads", key, async (abortSignal) => {
          const found: Array<string> = []
          let marker: { readonly KeyMarker?: string; readonly UploadIdMarker?: string } = {}
          for (let page = 0; page < MAX_PAGES; page += 1) {
            const listed: Sdk.ListMultipartUploadsCommandOutput = await client.send(
              new sdk.ListMultipartUploadsCommand({ Bucket: bucket, Prefix: key, ...marker }),
              { abortSignal },
            )
            for (const { Key, UploadId } of listed.Uploads ?? [])
              if (Key === key && UploadId !== undefined) found.push(UploadId)
            if (listed.IsTruncated !== true) break
            marker = {
              ...(listed.NextKeyMarker === undefined ? {} : { KeyMarker: listed.NextKeyMarker }),
              ...(listed.NextUploadIdMarker === undefined ? {} : { UploadIdMarker: listed.NextUploadIdMarker }),
            }
          }
          return found
        }),
      read: (key, etag, consume) =>
        call("GetObject", key, async (abortSignal) => {
          const { Body } = await client.send(new sdk.GetObjectCommand({ Bucket: bucket, Key: key, IfMatch: etag }), {
            abortSignal,
          })
          if (Body === undefined) throw new TypeError("no body")
          // In Node the body is a Readable.
          return await consume(Body as unknown as AsyncIterable<Uint8Array>, abortSignal)
        }),
    } satisfies S3
  })

/** Settings that are the same for every object. */
const chosen = ({ objectLock, sse, storageClass, tags }: Config, nowMs: number) => ({
  ...(storageClass === undefined ? {} : { StorageClass: storageClass }),
  ...(sse === undefined
    ? {}
    : sse === "AES256"
      ? { ServerSideEncryption: "AES256" as const }
      : {
          ServerSideEncryption: "aws:kms" as const,
          SSEKMSKeyId: sse.kmsKeyId,
          ...(sse.bucketKey === undefined ? {} : { BucketKeyEnabled: sse.bucketKey }),
        }),
  ...(tags === undefined
    ? {}
    : {
        Tagging: Object.entries(tags)
          .map((pair) => pair.map(encodeURIComponent).join("="))
          .join("&"),
      }),
  ...(objectLock?.mode === undefined
    ? {}
    : {
        ObjectLockMode: objectLock.mode,
        ObjectLockRetainUntilDate:
          objectLock.retainUntil === undefined
            ? new Date(nowMs + (objectLock.days ?? 0) * DAY_MS)
            : new Date(objectLock.retainUntil),
      }),
  ...(objectLock?.legalHold === undefined
    ? {}
    : { ObjectLockLegalHoldStatus: objectLock.legalHold ? ("ON" as const) : ("OFF" as const) }),
})

const base64 = (hex: string): string => Buffer.from(hex, "hex").toString("base64")

const headOf = (head: Sdk.HeadObjectCommandOutput): Head => {
  // "…-3": a checksum of the parts' checksums, which says nothing about the whole.
  const whole = (checksum: string | undefined): string | null =>
    checksum === undefined || checksum.includes("-") || head.ChecksumType === "COMPOSITE" ? null : checksum
  return {
    bytes: head.ContentLength ?? -1,
    etag: head.ETag ?? "",
    versionId: head.VersionId ?? null,
    sha256: whole(head.ChecksumSHA256),
    crc32: whole(head.ChecksumCRC32),
    etagIsMd5: head.ServerSideEncryption === undefined || head.ServerSideEncryption === "AES256",
    rawSha256: head.Metadata?.[RAW_SHA256] ?? null,
  }
}

const statusOf = (error: unknown): number | undefined =>
  (error as { readonly $metadata?: { readonly httpStatusCode?: number } } | null)?.$metadata?.httpStatusCode

/** Takes the credentials, as they are at the moment, out of a text. */
const scrubber = (client: Sdk.S3Client): Effect.Effect<(text: string) => string> =>
  Effect.promise(async () => {
    try {
      const { accessKeyId, secretAccessKey, sessionToken } = await client.config.credentials()
      const secrets = [accessKeyId, secretAccessKey, sessionToken].filter(
        (secret) => secret !== undefined && secret !== "",
      )
      return (text: string) => secrets.reduce((rest: string, secret) => rest.replaceAll(secret ?? "", "…"), text)
    } catch {
      // Without credentials nothing was signed.
      return (text: string) => text
    }
  })

const makeClient = async (sdk: typeof Sdk, config: Config): Promise<Sdk.S3Client> => {
  const { attempts, connectTimeout, endpoint, forcePathStyle, idleTimeout, region, requestTimeout } = config
  const make = (region: string | undefined) =>
    new sdk.S3Client({
      ...(region === undefined ? {} : { region }),
      ...(endpoint === undefined ? {} : { endpoint }),
      forcePathStyle,
      // Standard: exponential backoff with full jitter, out of a budget that all calls share.
      retryMode: "standard",
      maxAttempts: attempts,
      // Checksums are said explicitly, and compared here.
      requestChecksumCalculation: "WHEN_REQUIRED",
      responseChecksumValidation: "WHEN_REQUIRED",
      // Whether a key is taken was asked before; waiting for "100 Continue" would cost a connection of its own each time.
      expectContinueHeader: false,
      requestHandler: {
        connectionTimeout: connectTimeout,
        socketTimeout: idleTimeout,
        requestTimeout,
        throwOnRequestTimeout: true,
      },
    })
  const client = make(region)
  if (region !== undefined || endpoint === undefined) {
    // Fails now, rather than with every segment, where no region is known.
    await client.config.region()
    return client
  }
  try {
    await client.config.region()
    return client
  } catch {
    client.destroy()
    return make(DEFAULT_REGION)
  }
}
