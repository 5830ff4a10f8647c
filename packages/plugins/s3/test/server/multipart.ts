// Multipart uploads: what is kept between CreateMultipartUpload and its end, and the rules by which parts become an object (API reference of
// UploadPart and CompleteMultipartUpload; "Multipart upload limits" and "Checking object integrity" in the User Guide).
import { createHash } from "node:crypto"
import { combineCrcs, compositeChecksum, parseChecksum, type ChecksumName, type ChecksumType } from "./checksum.ts"
import type { DeclaredChecksum } from "./body.ts"
import { S3Error } from "./errors.ts"
import type { ObjectHeaders, StoredPart } from "./object.ts"
import type { CompletedPart } from "./xml.ts"

export const minPartBytes = 5 * 1024 * 1024
export const maxPartNumber = 10_000

export interface Upload {
  readonly uploadId: string
  readonly bucket: string
  readonly key: string
  readonly headers: ObjectHeaders
  /** Undefined where the client named none: S3 then computes CRC64NVME of the full object. */
  readonly algorithm: ChecksumName | undefined
  readonly checksumType: ChecksumType
  readonly initiated: Date
  readonly parts: Map<number, StoredPart>
}

/** Before the body of a part is read: its number, and whether its checksum is of the kind the upload was created with. */
export const checkPart = (upload: Upload, partNumber: number, declared: DeclaredChecksum | undefined): void => {
  if (!Number.isInteger(partNumber) || partNumber < 1 || partNumber > maxPartNumber) {
    throw new S3Error("InvalidArgument", `Part number must be an integer between 1 and ${maxPartNumber}, inclusive`, {
      ArgumentName: "partNumber",
    })
  }
  const expected = upload.algorithm ?? "null"
  const actual = declared?.name ?? "null"
  // A composite checksum is made of those that came with the parts; a full-object one S3 makes of the bytes.
  const mayLack = upload.algorithm === undefined || upload.checksumType === "FULL_OBJECT"
  if (expected !== actual && !(declared === undefined && mayLack)) {
    throw new S3Error(
      "InvalidRequest",
      `Checksum Type mismatch occurred, expected checksum Type: ${expected}, actual checksum Type: ${actual}`,
    )
  }
}

const invalidPart = (part: CompletedPart) =>
  new S3Error(
    "InvalidPart",
    "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.",
    { PartNumber: String(part.partNumber), ETag: part.etag },
  )

export interface Completion {
  readonly parts: ReadonlyArray<StoredPart>
  readonly size: number
  readonly etag: string
  readonly checksums: Partial<Record<ChecksumName, string>>
}

const unquoted = (etag: string): string => etag.replace(/^"(.*)"$/, "$1")

/** Everything that CompleteMultipartUpload is refused for, but its preconditions. */
export const complete = (
  upload: Upload,
  listed: ReadonlyArray<CompletedPart>,
  headers: ReadonlyMap<string, string>,
): Completion => {
  const claimedType = headers.get("x-amz-checksum-type")
  if (claimedType !== undefined && claimedType !== upload.checksumType) {
    throw new S3Error(
      "BadDigest",
      `The upload was created with the ${upload.checksumType} checksum type, not with ${claimedType}.`,
    )
  }
  const parts = listed.map((one, index) => {
    const before = listed[index - 1]
    if (before !== undefined && one.partNumber <= before.partNumber) {
      throw new S3Error(
        "InvalidPartOrder",
        "The list of parts was not in ascending order. Parts must be ordered by part number.",
      )
    }
    const part = upload.parts.get(one.partNumber)
    if (part === undefined || unquoted(one.etag) !== unquoted(part.etag)) throw invalidPart(one)
    for (const [name, value] of Object.entries(one.checksums)) {
      if (part.told[name as ChecksumName] !== value) throw invalidPart(one)
    }
    if (
      upload.algorithm !== undefined &&
      upload.checksumType === "COMPOSITE" &&
      one.checksums[upload.algorithm] === undefined
    ) {
      throw new S3Error(
        "InvalidRequest",
        `The upload was created using a ${upload.algorithm} checksum. The complete request must include the checksum for each part. It was missing for part ${one.partNumber} in the request.`,
      )
    }
    return part
  })
  for (const part of parts.slice(0, -1)) {
    if (part.size < minPartBytes) {
      throw new S3Error("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size", {
        ProposedSize: String(part.size),
        MinSizeAllowed: String(minPartBytes),
        PartNumber: String(part.partNumber),
      })
    }
  }
  // "…part numbers must be consecutive and begin with 1; otherwise S3 generates HTTP 500" (User Guide, on additional checksums).
  if (upload.algorithm !== undefined && parts.some((part, index) => part.partNumber !== index + 1)) {
    throw new S3Error(
      "InternalError",
      "Multipart uploads with additional checksums need consecutive part numbers that begin with 1.",
    )
  }
  const size = parts.reduce((sum, part) => sum + part.size, 0)
  const claimedSize = headers.get("x-amz-mp-object-size")
  if (claimedSize !== undefined && claimedSize !== String(size)) {
    throw new S3Error(
      "InvalidRequest",
      `The provided 'x-amz-mp-object-size' header value ${claimedSize} does not match what was computed: ${size}`,
    )
  }
  const name = upload.algorithm ?? "crc64nvme"
  const partChecksums = parts.map((part) => ({ size: part.size, checksum: part.checksums[name] ?? "" }))
  const checksum =
    upload.checksumType === "COMPOSITE"
      ? compositeChecksum(
          name,
          partChecksums.map((part) => part.checksum),
        )
      : combineCrcs(name as "crc32" | "crc32c" | "crc64nvme", partChecksums)
  for (const [header, value] of headers) {
    const claimed = /^x-amz-checksum-(crc32|crc32c|crc64nvme|sha1|sha256)$/.exec(header)?.[1] as
      | ChecksumName
      | undefined
    if (claimed === undefined) continue
    parseChecksum(claimed, value.replace(/-\d+$/, ""))
    // Of a composite one the number of parts may be left off.
    if (claimed !== name || (value !== checksum && value !== checksum.replace(/-\d+$/, ""))) {
      throw new S3Error("BadDigest", `The ${claimed} you specified did not match the calculated checksum.`)
    }
  }
  const md5 = createHash("md5")
  for (const part of parts) md5.update(Buffer.from(unquoted(part.etag), "hex"))
  return { parts, size, etag: `"${md5.digest("hex")}-${parts.length}"`, checksums: { [name]: checksum } }
}
