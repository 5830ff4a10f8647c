/** What one pass over a segment's bytes finds out: length, digests, lines, the first and last time. Incremental: holds a bounded part of the bytes. */
import { createHash, type Hash } from "node:crypto"
import { crc32 } from "node:zlib"

/** Hexadecimal digits, but `crc32`, which is base64 as S3 writes it. `md5` is null where it wasn't asked for or may not be used. */
export interface Digest {
  readonly bytes: number
  readonly sha256: string
  readonly crc32: string
  readonly md5: string | null
}
export interface Lines {
  readonly lines: number
  /** ISO 8601, UTC, with as many digits as the log has; null where the line doesn't begin with a time, as the CRI's do. */
  readonly firstTimestamp: string | null
  readonly lastTimestamp: string | null
}
/** Takes bytes one chunk after another, and keeps none of them. */
export interface Sink<A> {
  readonly update: (chunk: Uint8Array) => void
  readonly done: () => A
}

/** Null where the machine forbids it (FIPS). */
export const md5Hash = (): Hash | null => {
  try {
    return createHash("md5")
  } catch {
    return null
  }
}

export const digestSink = (options: { readonly md5: boolean }): Sink<Digest> => {
  const sha256 = createHash("sha256")
  const md5 = options.md5 ? md5Hash() : null
  let bytes = 0
  let crc = 0
  return {
    update: (chunk) => {
      bytes += chunk.length
      sha256.update(chunk)
      crc = crc32(chunk, crc)
      md5?.update(chunk)
    },
    done: () => ({ bytes, sha256: sha256.digest("hex"), crc32: crcText(crc), md5: md5?.digest("hex") ?? null }),
  }
}

/** A CRC32 as S3 writes it: four bytes, the highest first, in base64. */
export const crcText = (crc: number): string => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(crc)
  return bytes.toString("base64")
}

const NEWLINE = 0x0a
/** A time with nanoseconds and an offset has 35 characters. */
const HEAD_BYTES = 40
const NOTHING: Uint8Array = new Uint8Array()

export const linesSink = (): Sink<Lines> => {
  let newlines = 0
  let first: Uint8Array | null = null
  /** Beginnings of the line that is under way, and of the one before it. */
  let open = NOTHING
  let closed = NOTHING
  const grown = (head: Uint8Array, chunk: Uint8Array, from: number, to: number): Uint8Array =>
    head.length >= HEAD_BYTES || from >= to
      ? head
      : Buffer.concat([head, chunk.subarray(from, Math.min(to, from + HEAD_BYTES - head.length))])
  return {
    update: (chunk) => {
      const end = chunk.indexOf(NEWLINE)
      if (end === -1) {
        open = grown(open, chunk, 0, chunk.length)
        return
      }
      for (let at = end; at < chunk.length; at += 1) if (chunk[at] === NEWLINE) newlines += 1
      closed = grown(open, chunk, 0, end)
      first ??= closed
      const last = chunk.lastIndexOf(NEWLINE)
      if (last > end) closed = grown(NOTHING, chunk, chunk.lastIndexOf(NEWLINE, last - 1) + 1, last)
      open = grown(NOTHING, chunk, last + 1, chunk.length)
    },
    done: () => ({
      lines: newlines + (open.length > 0 ? 1 : 0),
      firstTimestamp: timestampOf(first ?? open),
      lastTimestamp: timestampOf(open.length > 0 ? open : closed),
    }),
  }
}

const TIMESTAMP = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:\d\d)(?: |$)/

/** RFC 3339 with nanoseconds, as the CRI writes it in the node's own time zone, in UTC. */
const timestampOf = (head: Uint8Array): string | null => {
  const match = TIMESTAMP.exec(Buffer.from(head).toString("latin1"))
  if (match === null) return null
  const [, seconds = "", fraction = "", zone = ""] = match
  const at = Date.parse(seconds + zone)
  return Number.isNaN(at) ? null : `${new Date(at).toISOString().slice(0, "YYYY-MM-DDTHH:MM:SS".length)}${fraction}Z`
}

/** Sends every chunk to the sinks, in turn, until the bytes end or `signal` says stop. What the source throws is thrown. */
export const readInto = async (
  source: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
  ...sinks: ReadonlyArray<Pick<Sink<unknown>, "update">>
): Promise<void> => {
  for await (const chunk of source) {
    signal.throwIfAborted()
    for (const sink of sinks) sink.update(chunk)
  }
}
