/** The plugin's own events: one schema each. Stored events are read back by them, so fields are added, and never change their meaning. */
import * as z from "zod"

const hex64 = z.string().regex(/^[0-9a-f]{64}$/)
const bytes = z.int().min(0)
const timestamp = z.string().nullable()

/** A segment lies in S3, proven. `sha256` and `bytes` are of the object; `rawSha256` and `rawBytes` of the log's bytes as they were written. */
export const Shipped = z.object({
  path: z.string().min(1),
  bucket: z.string(),
  key: z.string(),
  bytes,
  sha256: hex64,
  etag: z.string(),
  rawBytes: bytes,
  rawSha256: hex64,
  lines: bytes,
  firstTimestamp: timestamp,
  lastTimestamp: timestamp,
  /** What the server says of the object, `sha256:…` or `crc32:…` in base64; null where it keeps no checksum. */
  checksum: z.string().nullable(),
  /** By what it was proven: the server's checksum, its ETag, or by reading the object back. */
  proof: z.enum(["checksum", "etag", "read-back"]),
  versionId: z.string().optional(),
  /** Key of an earlier object that holds a beginning of this one: the segment grew after it was shipped. */
  supersedes: z.string().optional(),
  durationMs: z.number().min(0),
})
export type Shipped = z.infer<typeof Shipped>

/** A multipart upload was begun; what comes next tells how it ended, or, after a crash, what to abort. */
export const UploadBegan = z.object({
  path: z.string().min(1),
  bucket: z.string(),
  key: z.string(),
  uploadId: z.string(),
})
export type UploadBegan = z.infer<typeof UploadBegan>

/** Something else lies at the segment's key. Both are as they were. */
export const Conflict = z.object({
  path: z.string().min(1),
  bucket: z.string(),
  key: z.string(),
  rawSha256: hex64,
  /** What the other one's metadata say; null if nothing. */
  foundRawSha256: z.string().nullable(),
  etag: z.string(),
})
export type Conflict = z.infer<typeof Conflict>

export const EVENTS = { "s3.Shipped": Shipped, "s3.UploadBegan": UploadBegan, "s3.Conflict": Conflict } as const
