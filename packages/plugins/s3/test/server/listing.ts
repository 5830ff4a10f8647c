// The three listings, each page by page: ListObjectsV2, ListMultipartUploads, ListParts. Keys are ordered by their UTF-8 bytes, as S3 has them.
import { S3Error } from "./errors.ts"
import type { Bucket } from "./object.ts"
import type { Upload } from "./multipart.ts"
import { uriEncode } from "./signature.ts"
import { document, type XmlFields } from "./xml.ts"

type Query = ReadonlyMap<string, string>

const maxPage = 1000

const pageSize = (query: Query, name: string): number => {
  const text = query.get(name)
  if (text === undefined) return maxPage
  if (!/^\d{1,10}$/.test(text))
    throw new S3Error("InvalidArgument", `Provided ${name} not an integer or within integer range`)
  return Math.min(Number(text), maxPage)
}

const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b))

const encoder = (query: Query): ((key: string) => string) => {
  const type = query.get("encoding-type")
  if (type !== undefined && type !== "url")
    throw new S3Error("InvalidArgument", "Invalid Encoding Method specified in Request")
  return type === "url" ? (key) => key.split("/").map(uriEncode).join("/") : (key) => key
}

const checksumFields = (algorithms: ReadonlyArray<string>, type: string): XmlFields => ({
  ChecksumAlgorithm: algorithms[0]?.toUpperCase(),
  ChecksumType: type,
})

export const listObjects = (bucket: Bucket, query: Query): string => {
  const prefix = query.get("prefix") ?? ""
  const delimiter = query.get("delimiter") ?? ""
  const token = query.get("continuation-token")
  const startAfter = query.get("start-after")
  const limit = pageSize(query, "max-keys")
  const encode = encoder(query)
  let after = startAfter ?? ""
  if (token !== undefined) {
    const match = /^1-([A-Za-z0-9_-]*)$/.exec(token)
    if (match === null) throw new S3Error("InvalidArgument", "The continuation token provided is incorrect")
    after = Buffer.from(match[1] ?? "", "base64url").toString()
  }
  const contents: XmlFields[] = []
  const common: XmlFields[] = []
  let last = ""
  let truncated = false
  const keys = [...bucket.objects.keys()].filter((key) => key.startsWith(prefix)).sort(byBytes)
  for (const key of keys) {
    const object = bucket.objects.get(key)
    if (object === undefined) continue
    const cut = delimiter === "" ? -1 : key.indexOf(delimiter, prefix.length)
    const entry = cut === -1 ? key : key.slice(0, cut + delimiter.length)
    if (after !== "" && byBytes(entry, after) <= 0) continue
    if (entry === last) continue
    if (contents.length + common.length >= limit) {
      truncated = limit > 0
      break
    }
    last = entry
    if (cut !== -1) common.push({ Prefix: encode(entry) })
    else {
      contents.push({
        Key: encode(key),
        LastModified: object.lastModified.toISOString(),
        ETag: object.etag,
        ...checksumFields(Object.keys(object.checksums), object.checksumType),
        Size: object.size,
        StorageClass: object.storageClass,
      })
    }
  }
  return document("ListBucketResult", {
    Name: bucket.name,
    Prefix: encode(prefix),
    Delimiter: delimiter === "" ? undefined : encode(delimiter),
    StartAfter: startAfter === undefined ? undefined : encode(startAfter),
    EncodingType: query.get("encoding-type"),
    KeyCount: contents.length + common.length,
    MaxKeys: limit,
    IsTruncated: truncated,
    ContinuationToken: token,
    NextContinuationToken: truncated ? `1-${Buffer.from(last).toString("base64url")}` : undefined,
    Contents: contents,
    CommonPrefixes: common,
  })
}

export const listUploads = (bucket: Bucket, uploads: Iterable<Upload>, query: Query): string => {
  if (query.has("delimiter")) throw new S3Error("NotImplemented", "This test server lists uploads without a delimiter.")
  const prefix = query.get("prefix") ?? ""
  const keyMarker = query.get("key-marker") ?? ""
  const idMarker = query.get("upload-id-marker") ?? ""
  const limit = pageSize(query, "max-uploads")
  const encode = encoder(query)
  const later = (upload: Upload): boolean => {
    if (keyMarker === "") return true
    const order = byBytes(upload.key, keyMarker)
    return order > 0 || (order === 0 && idMarker !== "" && upload.uploadId > idMarker)
  }
  const found = [...uploads]
    .filter((upload) => upload.bucket === bucket.name && upload.key.startsWith(prefix) && later(upload))
    .sort((a, b) => byBytes(a.key, b.key) || (a.uploadId < b.uploadId ? -1 : 1))
  const page = found.slice(0, limit)
  const last = page.at(-1)
  const truncated = found.length > page.length && last !== undefined
  return document("ListMultipartUploadsResult", {
    Bucket: bucket.name,
    KeyMarker: encode(keyMarker),
    UploadIdMarker: idMarker,
    NextKeyMarker: truncated ? encode(last.key) : undefined,
    NextUploadIdMarker: truncated ? last.uploadId : undefined,
    Prefix: encode(prefix),
    EncodingType: query.get("encoding-type"),
    MaxUploads: limit,
    IsTruncated: truncated,
    Upload: page.map((upload) => ({
      Key: encode(upload.key),
      UploadId: upload.uploadId,
      StorageClass: upload.headers.storageClass,
      Initiated: upload.initiated.toISOString(),
      ...checksumFields(upload.algorithm === undefined ? [] : [upload.algorithm], upload.checksumType),
    })),
  })
}

export const listParts = (upload: Upload, query: Query): string => {
  const marker = Number(query.get("part-number-marker") ?? 0)
  const limit = pageSize(query, "max-parts")
  const found = [...upload.parts.values()]
    .filter((part) => part.partNumber > marker)
    .sort((a, b) => a.partNumber - b.partNumber)
  const page = found.slice(0, limit)
  const truncated = found.length > page.length
  return document("ListPartsResult", {
    Bucket: upload.bucket,
    Key: upload.key,
    UploadId: upload.uploadId,
    PartNumberMarker: marker,
    NextPartNumberMarker: page.at(-1)?.partNumber,
    MaxParts: limit,
    IsTruncated: truncated,
    StorageClass: upload.headers.storageClass,
    ...checksumFields(upload.algorithm === undefined ? [] : [upload.algorithm], upload.checksumType),
    Part: page.map((part) => ({
      PartNumber: part.partNumber,
      LastModified: upload.initiated.toISOString(),
      ETag: part.etag,
      Size: part.size,
      ...Object.fromEntries(
        Object.entries(part.checksums)
          .filter(([name]) => name === upload.algorithm)
          .map(([name, value]) => [`Checksum${name.toUpperCase()}`, value]),
      ),
    })),
  })
}
