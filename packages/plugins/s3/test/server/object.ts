// What is kept of an object beside its bytes, read from the headers of PutObject and CreateMultipartUpload and told by HeadObject and
// GetObject: metadata, content headers, tags, encryption, object lock, storage class. Each limit is the API reference's.
import { S3Error } from "./errors.ts"
import type { ChecksumName, ChecksumType } from "./checksum.ts"

export interface Encryption {
  readonly algorithm: "AES256" | "aws:kms" | "aws:kms:dsse"
  readonly kmsKeyId?: string
  readonly bucketKeyEnabled?: boolean
  /** Base64 of JSON, as sent. */
  readonly context?: string
}

export interface ObjectLock {
  readonly mode?: "GOVERNANCE" | "COMPLIANCE"
  /** As sent. */
  readonly retainUntil?: string
  readonly legalHold?: "ON" | "OFF"
}

export interface StoredPart {
  readonly partNumber: number
  readonly size: number
  /** With its quotes. */
  readonly etag: string
  /** Hex. */
  readonly sha256: string
  /** Of what is stored. */
  readonly checksums: Partial<Record<ChecksumName, string>>
  /** What the reply to UploadPart told, which the client has to say again at the end. */
  readonly told: Partial<Record<ChecksumName, string>>
  readonly body: Buffer | undefined
}

/** What the headers of the request that began the object said. */
export interface ObjectHeaders {
  readonly metadata: Readonly<Record<string, string>>
  readonly contentType: string
  readonly contentEncoding: string | undefined
  readonly cacheControl: string | undefined
  readonly contentDisposition: string | undefined
  readonly contentLanguage: string | undefined
  readonly tags: Readonly<Record<string, string>>
  readonly sse: Encryption
  readonly objectLock: ObjectLock | undefined
  readonly storageClass: string
}

export interface StoredObject extends ObjectHeaders {
  readonly size: number
  /** Undefined where the server was started with keepBodies: false. */
  readonly body: Buffer | undefined
  /** Hex; undefined for a multipart object whose body is not kept. */
  readonly sha256: string | undefined
  readonly checksums: Partial<Record<ChecksumName, string>>
  readonly checksumType: ChecksumType
  /** With its quotes. Not the MD5 where SSE-KMS is used, nor for multipart. */
  readonly etag: string
  readonly lastModified: Date
  /** Undefined for one made by PutObject. */
  readonly parts: ReadonlyArray<StoredPart> | undefined
}

export interface Bucket {
  readonly name: string
  readonly objectLock: boolean
  readonly objects: Map<string, StoredObject>
}

export const maxKeyBytes = 1024
export const maxMetadataBytes = 2048
export const maxTags = 10

type Headers = ReadonlyMap<string, string>

const storageClasses = [
  "STANDARD",
  "REDUCED_REDUNDANCY",
  "STANDARD_IA",
  "ONEZONE_IA",
  "INTELLIGENT_TIERING",
  "GLACIER",
  "DEEP_ARCHIVE",
  "GLACIER_IR",
]

const metadataOf = (headers: Headers): Record<string, string> => {
  const metadata: Record<string, string> = {}
  let bytes = 0
  for (const [header, value] of headers) {
    if (!header.startsWith("x-amz-meta-")) continue
    const name = header.slice("x-amz-meta-".length)
    bytes += Buffer.byteLength(name) + Buffer.byteLength(value)
    metadata[name] = value
  }
  if (bytes > maxMetadataBytes) {
    throw new S3Error("MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size", {
      Size: String(bytes),
      MaxSizeAllowed: String(maxMetadataBytes),
    })
  }
  return metadata
}

const tagsOf = (headers: Headers): Record<string, string> => {
  const text = headers.get("x-amz-tagging")
  if (text === undefined || text === "") return {}
  const tags = new Map<string, string>()
  const invalid = (message: string) => new S3Error("InvalidTag", message)
  for (const pair of text.split("&")) {
    const equals = pair.indexOf("=")
    let name: string
    let value: string
    try {
      const decode = (part: string) => decodeURIComponent(part.replaceAll("+", " "))
      name = decode(equals === -1 ? pair : pair.slice(0, equals))
      value = equals === -1 ? "" : decode(pair.slice(equals + 1))
    } catch {
      throw new S3Error(
        "InvalidArgument",
        "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.",
      )
    }
    if (tags.has(name)) {
      throw new S3Error(
        "InvalidArgument",
        "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.",
      )
    }
    if (name.length === 0 || name.length > 128) throw invalid("The TagKey you have provided is invalid")
    if (value.length > 256) throw invalid("The TagValue you have provided is invalid")
    // Letters, spaces and numbers representable in UTF-8, and + - = . _ : / @ (User Guide, "Categorizing your storage using tags").
    if (!/^[\p{L}\p{Z}\p{N}+\-=._:/@]*$/u.test(name)) throw invalid("The TagKey you have provided is invalid")
    if (!/^[\p{L}\p{Z}\p{N}+\-=._:/@]*$/u.test(value)) throw invalid("The TagValue you have provided is invalid")
    if (name.toLowerCase().startsWith("aws:")) throw invalid("System tags cannot be added/updated by requester")
    tags.set(name, value)
  }
  if (tags.size > maxTags) throw invalid(`Object tags cannot be greater than ${maxTags}`)
  return Object.fromEntries(tags)
}

const encryptionOf = (headers: Headers, kmsKeys: ReadonlyArray<string> | undefined): Encryption => {
  const algorithm = headers.get("x-amz-server-side-encryption")
  const kmsKeyId = headers.get("x-amz-server-side-encryption-aws-kms-key-id")
  const context = headers.get("x-amz-server-side-encryption-context")
  const bucketKey = headers.get("x-amz-server-side-encryption-bucket-key-enabled")
  if (algorithm !== undefined && algorithm !== "AES256" && algorithm !== "aws:kms" && algorithm !== "aws:kms:dsse") {
    throw new S3Error("InvalidArgument", "The encryption method specified is not supported", {
      ArgumentName: "x-amz-server-side-encryption",
    })
  }
  const kms = algorithm === "aws:kms" || algorithm === "aws:kms:dsse"
  if (!kms && (kmsKeyId !== undefined || context !== undefined)) {
    throw new S3Error(
      "InvalidArgument",
      "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms",
    )
  }
  if (kmsKeyId !== undefined && kmsKeys !== undefined && !kmsKeys.includes(kmsKeyId)) {
    throw new S3Error("KMS.NotFoundException", "Invalid keyId")
  }
  if (context !== undefined) {
    try {
      JSON.parse(Buffer.from(context, "base64").toString())
    } catch {
      throw new S3Error(
        "InvalidArgument",
        "The header 'x-amz-server-side-encryption-context' shall be Base64-encoded JSON.",
      )
    }
  }
  return {
    algorithm: algorithm ?? "AES256",
    ...(kms ? { kmsKeyId: kmsKeyId ?? "alias/aws/s3" } : {}),
    ...(bucketKey === undefined ? {} : { bucketKeyEnabled: bucketKey === "true" }),
    ...(context === undefined ? {} : { context }),
  }
}

const objectLockOf = (headers: Headers, bucket: Bucket, nowMs: number): ObjectLock | undefined => {
  const mode = headers.get("x-amz-object-lock-mode")
  const retainUntil = headers.get("x-amz-object-lock-retain-until-date")
  const legalHold = headers.get("x-amz-object-lock-legal-hold")
  if (mode === undefined && retainUntil === undefined && legalHold === undefined) return undefined
  if (!bucket.objectLock) throw new S3Error("InvalidRequest", "Bucket is missing Object Lock Configuration")
  if ((mode === undefined) !== (retainUntil === undefined)) {
    throw new S3Error(
      "InvalidArgument",
      "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied",
    )
  }
  if (mode !== undefined && mode !== "GOVERNANCE" && mode !== "COMPLIANCE")
    throw new S3Error("InvalidArgument", "Unknown wormMode directive.")
  if (legalHold !== undefined && legalHold !== "ON" && legalHold !== "OFF") {
    throw new S3Error("InvalidArgument", "Legal Hold must be either of 'ON' or 'OFF'")
  }
  if (retainUntil !== undefined) {
    const until = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/.test(retainUntil) ? Date.parse(retainUntil) : Number.NaN
    if (Number.isNaN(until))
      throw new S3Error("InvalidArgument", "The retain until date must be provided in ISO 8601 format")
    if (until <= nowMs) throw new S3Error("InvalidArgument", "The retain until date must be in the future!")
  }
  return {
    ...(mode === undefined ? {} : { mode }),
    ...(retainUntil === undefined ? {} : { retainUntil }),
    ...(legalHold === undefined ? {} : { legalHold }),
  }
}

/** An upload with a lock (or into a bucket that has it) must say what its bytes are, so that nothing wrong is locked (API reference, PutObject, Content-MD5). */
export const requireIntegrityForLock = (
  headers: Headers,
  locked: boolean,
  hasChecksum: boolean,
  request: string,
): void => {
  if (locked && !hasChecksum && !headers.has("content-md5")) {
    throw new S3Error(
      "InvalidRequest",
      `Content-MD5 OR x-amz-checksum- HTTP header is required for ${request} requests with Object Lock parameters`,
    )
  }
}

export const objectHeaders = (
  headers: Headers,
  bucket: Bucket,
  nowMs: number,
  kmsKeys: ReadonlyArray<string> | undefined,
): ObjectHeaders => {
  const storageClass = headers.get("x-amz-storage-class") ?? "STANDARD"
  if (!storageClasses.includes(storageClass))
    throw new S3Error("InvalidStorageClass", "The storage class you specified is not valid")
  // aws-chunked is how the body came, not what it is: S3 takes it off.
  const encoding = (headers.get("content-encoding") ?? "")
    .split(",")
    .map((one) => one.trim())
    .filter((one) => one !== "" && one !== "aws-chunked")
    .join(",")
  return {
    metadata: metadataOf(headers),
    contentType: headers.get("content-type") ?? "binary/octet-stream",
    contentEncoding: encoding === "" ? undefined : encoding,
    cacheControl: headers.get("cache-control"),
    contentDisposition: headers.get("content-disposition"),
    contentLanguage: headers.get("content-language"),
    tags: tagsOf(headers),
    sse: encryptionOf(headers, kmsKeys),
    objectLock: objectLockOf(headers, bucket, nowMs),
    storageClass,
  }
}

export const encryptionHeaders = (sse: Encryption): Record<string, string> => ({
  "x-amz-server-side-encryption": sse.algorithm,
  ...(sse.kmsKeyId === undefined ? {} : { "x-amz-server-side-encryption-aws-kms-key-id": sse.kmsKeyId }),
  ...(sse.bucketKeyEnabled === undefined
    ? {}
    : { "x-amz-server-side-encryption-bucket-key-enabled": String(sse.bucketKeyEnabled) }),
  ...(sse.context === undefined ? {} : { "x-amz-server-side-encryption-context": sse.context }),
})

export const checksumHeaders = (object: Pick<StoredObject, "checksums" | "checksumType">): Record<string, string> => ({
  ...Object.fromEntries(Object.entries(object.checksums).map(([name, value]) => [`x-amz-checksum-${name}`, value])),
  "x-amz-checksum-type": object.checksumType,
})

/** Of HeadObject and GetObject; checksums only where x-amz-checksum-mode: ENABLED asked for them. */
export const describingHeaders = (object: StoredObject, withChecksums: boolean): Record<string, string> => {
  const optional: Record<string, string | undefined> = {
    "content-encoding": object.contentEncoding,
    "cache-control": object.cacheControl,
    "content-disposition": object.contentDisposition,
    "content-language": object.contentLanguage,
    "x-amz-object-lock-mode": object.objectLock?.mode,
    "x-amz-object-lock-retain-until-date": object.objectLock?.retainUntil,
    "x-amz-object-lock-legal-hold": object.objectLock?.legalHold,
    "x-amz-storage-class": object.storageClass === "STANDARD" ? undefined : object.storageClass,
    "x-amz-tagging-count": Object.keys(object.tags).length === 0 ? undefined : String(Object.keys(object.tags).length),
  }
  return {
    "accept-ranges": "bytes",
    "content-type": object.contentType,
    etag: object.etag,
    "last-modified": object.lastModified.toUTCString(),
    ...Object.fromEntries(Object.entries(optional).filter((one): one is [string, string] => one[1] !== undefined)),
    ...encryptionHeaders(object.sse),
    ...Object.fromEntries(Object.entries(object.metadata).map(([name, value]) => [`x-amz-meta-${name}`, value])),
    ...(withChecksums ? checksumHeaders(object) : {}),
  }
}
