/** What is written beside each object, so that it says by itself what it is: `x-amz-meta-cordwood-…`. Pure. Within S3's 2 KB, and safe in a header. */
import type { Log, Stamp } from "@cordwood/core"
import type { Digest, Lines } from "./reading.ts"

/** S3's limit is 2048 bytes of names and values together. */
const MAX_BYTES = 2_000
const MAX_VALUE_BYTES = 256
const MAX_PATH_BYTES = 512
export const RAW_SHA256 = "cordwood-raw-sha256"

export interface Described {
  readonly log: Log
  readonly node: string
  readonly stamp: Stamp
  readonly codec: string | null
  readonly raw: Digest & Lines
  readonly stored: Digest
  readonly supersedes: string | null
}

/** Printable ASCII without a space, the rest percent-encoded; cut, not in the middle of an escape. */
const headerSafe = (value: string, limit: number): string => {
  const encoded = value
    .toWellFormed()
    .replaceAll(/[^\u0021-\u0024\u0026-\u007e]/gu, (character) =>
      [...Buffer.from(character)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(""),
    )
  return encoded.length <= limit ? encoded : encoded.slice(0, limit).replace(/%.?$/, "")
}

/** In order of weight: what doesn't fit is left out from the end. */
export const metadataOf = ({ codec, log, node, raw, stamp, stored, supersedes }: Described): Record<string, string> => {
  const wanted: ReadonlyArray<readonly [string, string | number | null | undefined]> = [
    [RAW_SHA256, raw.sha256],
    ["cordwood-raw-bytes", raw.bytes],
    ["cordwood-sha256", stored.sha256],
    ["cordwood-crc32", stored.crc32],
    ["cordwood-codec", codec],
    ["cordwood-lines", raw.lines],
    ["cordwood-first", raw.firstTimestamp],
    ["cordwood-last", raw.lastTimestamp],
    ["cordwood-stamp", stamp],
    ["cordwood-path", log.path],
    ["cordwood-node", node],
    ["cordwood-namespace", log.namespace],
    ["cordwood-pod", log.pod],
    ["cordwood-pod-uid", log.podUid],
    ["cordwood-container", log.container],
    ["cordwood-container-id", log.containerId],
    ["cordwood-supersedes", supersedes],
  ]
  const metadata: Record<string, string> = {}
  let bytes = 0
  for (const [name, value] of wanted) {
    if (value === null || value === undefined || value === "") continue
    const text = headerSafe(String(value), name === "cordwood-path" ? MAX_PATH_BYTES : MAX_VALUE_BYTES)
    if (bytes + name.length + text.length > MAX_BYTES) break
    bytes += name.length + text.length
    metadata[name] = text
  }
  return metadata
}
