// The checksums that S3 verifies and keeps, and how those of parts become one of the object ("Checking object integrity" in the S3 User Guide).
// Written from the definitions (Rocksoft parameters and polynomial arithmetic), not from the client's code, so that a mistake there shows here.
// S3 knows more algorithms by now (MD5, SHA512, XXHASH…); this server answers NotImplemented to them.
import { createHash } from "node:crypto"
import { crc32 } from "node:zlib"
import { S3Error } from "./errors.ts"

export const checksumNames = ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"] as const
/** The last word of the header: x-amz-checksum-crc32 and so on. */
export type ChecksumName = (typeof checksumNames)[number]
export type ChecksumType = "FULL_OBJECT" | "COMPOSITE"

export interface Hasher {
  update(bytes: Uint8Array): void
  digest(): Buffer
}

/** Tk[b]: the register after byte b and k zero bytes, for eight bytes at a step. Low and high halves, since numbers hold 53 bits. */
const sliceTables = (polyLow: number, polyHigh: number): { low: Uint32Array; high: Uint32Array } => {
  const low = new Uint32Array(8 * 256)
  const high = new Uint32Array(8 * 256)
  for (let byte = 0; byte < 256; byte++) {
    let l = byte
    let h = 0
    for (let bit = 0; bit < 8; bit++) {
      const odd = l & 1
      l = (l >>> 1) | ((h & 1) << 31)
      h >>>= 1
      if (odd) {
        l ^= polyLow
        h ^= polyHigh
      }
    }
    low[byte] = l
    high[byte] = h
  }
  for (let slice = 1; slice < 8; slice++) {
    for (let byte = 0; byte < 256; byte++) {
      const l = low[(slice - 1) * 256 + byte]!
      const h = high[(slice - 1) * 256 + byte]!
      const at = l & 255
      low[slice * 256 + byte] = ((l >>> 8) | (h << 24)) ^ low[at]!
      high[slice * 256 + byte] = (h >>> 8) ^ high[at]!
    }
  }
  return { low, high }
}

// A 32-bit register is a 64-bit one whose high half stays zero: one routine does both.
const crc32cTables = sliceTables(0x82f63b78, 0)
const crc64Tables = sliceTables(0xac4bc9b5, 0x9a6c9329)

const reflectedCrc = (tables: { low: Uint32Array; high: Uint32Array }, bits: 32 | 64): Hasher => {
  const { low, high } = tables
  let l = -1
  let h = bits === 64 ? -1 : 0
  return {
    update: (bytes) => {
      let at = 0
      for (const end = bytes.length - 7; at < end; at += 8) {
        l ^= bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
        h ^= bytes[at + 4]! | (bytes[at + 5]! << 8) | (bytes[at + 6]! << 16) | (bytes[at + 7]! << 24)
        const a = 1792 + (l & 255)
        const b = 1536 + ((l >>> 8) & 255)
        const c = 1280 + ((l >>> 16) & 255)
        const d = 1024 + (l >>> 24)
        const e = 768 + (h & 255)
        const f = 512 + ((h >>> 8) & 255)
        const g = 256 + ((h >>> 16) & 255)
        const i = h >>> 24
        l = low[a]! ^ low[b]! ^ low[c]! ^ low[d]! ^ low[e]! ^ low[f]! ^ low[g]! ^ low[i]!
        h = high[a]! ^ high[b]! ^ high[c]! ^ high[d]! ^ high[e]! ^ high[f]! ^ high[g]! ^ high[i]!
      }
      for (; at < bytes.length; at++) {
        const index = (l ^ bytes[at]!) & 255
        l = ((l >>> 8) | (h << 24)) ^ low[index]!
        h = (h >>> 8) ^ high[index]!
      }
    },
    digest: () => {
      const digest = Buffer.alloc(bits / 8)
      digest.writeUInt32BE(~l >>> 0, digest.length - 4)
      if (bits === 64) digest.writeUInt32BE(~h >>> 0, 0)
      return digest
    },
  }
}

const zlibCrc32 = (): Hasher => {
  let value = 0
  return {
    update: (bytes) => {
      value = crc32(bytes, value)
    },
    digest: () => {
      const digest = Buffer.alloc(4)
      digest.writeUInt32BE(value)
      return digest
    },
  }
}

const nodeHash = (name: string): Hasher => {
  const hash = createHash(name)
  return {
    update: (bytes) => {
      hash.update(bytes)
    },
    digest: () => hash.digest(),
  }
}

export const hasher = (name: ChecksumName | "md5"): Hasher => {
  switch (name) {
    case "crc32":
      return zlibCrc32()
    case "crc32c":
      return reflectedCrc(crc32cTables, 32)
    case "crc64nvme":
      return reflectedCrc(crc64Tables, 64)
    default:
      return nodeHash(name)
  }
}

export const checksumOf = (name: ChecksumName | "md5", bytes: Uint8Array): string => {
  const hash = hasher(name)
  hash.update(bytes)
  return hash.digest().toString("base64")
}

const digestBytes: Record<ChecksumName, number> = { crc32: 4, crc32c: 4, crc64nvme: 8, sha1: 20, sha256: 32 }

/** Base64 of the right length, or the error S3 gives for a value that can't be a checksum of that kind. */
export const parseChecksum = (name: ChecksumName, value: string): string => {
  const bytes = Buffer.from(value, "base64")
  if (bytes.length !== digestBytes[name] || bytes.toString("base64") !== value) {
    throw new S3Error("InvalidRequest", `Value for x-amz-checksum-${name} header is invalid.`)
  }
  return value
}

/** From x-amz-checksum-algorithm, x-amz-sdk-checksum-algorithm: SHA256 → sha256. */
export const parseAlgorithm = (header: string, value: string): ChecksumName => {
  const name = checksumNames.find((one) => one.toUpperCase() === value.toUpperCase())
  if (name !== undefined) return name
  if (/^(MD5|SHA512|XXHASH(3|64|128))$/i.test(value)) {
    throw new S3Error("NotImplemented", `This test server does not hold the checksum algorithm ${value}.`)
  }
  throw new S3Error(
    "InvalidRequest",
    `Checksum algorithm provided is unsupported. Please try again with any of the valid types. (${header})`,
  )
}

/**
 * Which type of checksum a multipart upload has: CRC64NVME is always of the full object, the SHAs always composite, CRC32 and CRC32C as
 * wished and composite if nothing was said (User Guide, "Checksum types for multipart uploads").
 */
export const checksumTypeFor = (name: ChecksumName, wished: string | undefined): ChecksumType => {
  if (wished !== undefined && wished !== "FULL_OBJECT" && wished !== "COMPOSITE") {
    throw new S3Error("InvalidRequest", "Value for x-amz-checksum-type header is invalid.")
  }
  const type = wished ?? (name === "crc64nvme" ? "FULL_OBJECT" : "COMPOSITE")
  const possible = name === "crc64nvme" ? type === "FULL_OBJECT" : name.startsWith("crc") || type === "COMPOSITE"
  if (!possible) {
    throw new S3Error("InvalidRequest", `The ${type} checksum type cannot be used with the ${name} checksum algorithm.`)
  }
  return type
}

/** The checksum of checksums, with the number of parts behind a dash. */
export const compositeChecksum = (name: ChecksumName, parts: ReadonlyArray<string>): string =>
  `${checksumOf(name, Buffer.concat(parts.map((part) => Buffer.from(part, "base64"))))}-${parts.length}`

// Reflected: the highest bit is x^0.
const multiply = (a: bigint, b: bigint, polynomial: bigint, bits: bigint): bigint => {
  let product = 0n
  let factor = b
  for (let bit = bits - 1n; bit >= 0n; bit--) {
    if ((a >> bit) & 1n) product ^= factor
    factor = factor & 1n ? (factor >> 1n) ^ polynomial : factor >> 1n
  }
  return product
}

const polynomials = { crc32: 0xedb88320n, crc32c: 0x82f63b78n, crc64nvme: 0x9a6c9329ac4bc9b5n } as const

/**
 * The CRC of the whole from the CRCs and sizes of its parts, so that no body need be kept: crc(AB) = crc(A)·x^(8·|B|) + crc(B).
 * Only CRCs can be put together like this, which is why S3 has no full-object SHA for multipart uploads.
 */
export const combineCrcs = (
  name: "crc32" | "crc32c" | "crc64nvme",
  parts: ReadonlyArray<{ readonly checksum: string; readonly size: number }>,
): string => {
  const polynomial = polynomials[name]
  const bytes = digestBytes[name]
  const bits = BigInt(bytes * 8)
  const one = 1n << (bits - 1n)
  let whole = 0n
  for (const part of parts) {
    let shift = one
    let square = one >> 1n
    for (let exponent = BigInt(part.size) * 8n; exponent > 0n; exponent >>= 1n) {
      if (exponent & 1n) shift = multiply(shift, square, polynomial, bits)
      square = multiply(square, square, polynomial, bits)
    }
    whole =
      multiply(whole, shift, polynomial, bits) ^ BigInt(`0x${Buffer.from(part.checksum, "base64").toString("hex")}`)
  }
  return Buffer.from(whole.toString(16).padStart(bytes * 2, "0"), "hex").toString("base64")
}
