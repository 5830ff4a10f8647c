/**
 * Where the frames of a zstd file begin and end (RFC 8878, 3.1), told from their headers alone. Decompresses nothing, and holds no more than a header.
 *
 * Node's own stream reads on after a frame only if a chunk ends with it; what follows within the chunk is dropped without an error
 * (nodejs/node#64741). Cut as it is here, it reads all.
 */

/** The largest window that is read: what `zstd -d` takes without being told `--long`, and zstd's own limit. This much memory one file may cost. */
export const MAX_WINDOW_LOG = 27

const MAGIC = 0xfd2fb528
/** The last digit is free. */
const SKIPPABLE_MAGIC = 0x184d2a50
const CHECKSUM_BYTES = 4
const MIB = 2 ** 20

/** A part of a frame, so many bytes long, and what comes after it; null: the frame ends there. Only of a `kept` one are the bytes shown. */
interface Part {
  readonly bytes: number
  readonly kept: boolean
  readonly next: (bytes: DataView) => Part | null
}
const kept = (bytes: number, next: Part["next"]): Part => ({ bytes, kept: true, next })
const passed = (bytes: number, after: Part | null): Part | null =>
  bytes === 0 ? after : { bytes, kept: false, next: () => after }

const magic: Part = kept(4, (bytes) => {
  const number = bytes.getUint32(0, true)
  if (number === MAGIC) return descriptor
  if ((number & ~0xf) >>> 0 === SKIPPABLE_MAGIC) return kept(4, (size) => passed(size.getUint32(0, true), null))
  throw new Error("no zstd frame begins here")
})

/** By the two bits that the descriptor has for each. */
const DICTIONARY_ID_BYTES = [0, 1, 2, 4]
const CONTENT_SIZE_BYTES = [0, 2, 4, 8]

const descriptor: Part = kept(1, (byte) => {
  const flags = byte.getUint8(0)
  const isSingleSegment = (flags & 0x20) !== 0
  const hasChecksum = (flags & 0x04) !== 0
  const windowBytes = isSingleSegment ? 0 : 1
  const dictionaryBytes = DICTIONARY_ID_BYTES[flags & 3] ?? 0
  const sizeBytes = CONTENT_SIZE_BYTES[flags >>> 6] || (isSingleSegment ? 1 : 0)
  return kept(windowBytes + dictionaryBytes + sizeBytes, (header) => {
    // A frame that is one segment has to be held whole.
    const window = isSingleSegment ? contentSize(header, dictionaryBytes, sizeBytes) : windowSize(header.getUint8(0))
    if (window > 2 ** MAX_WINDOW_LOG) {
      const [needed, most] = [window, 2 ** MAX_WINDOW_LOG].map((bytes) => `${Math.ceil(bytes / MIB)} MiB`)
      throw new Error(
        `a frame needs a window of ${needed}, and at most ${most} are read; \`zstd -d --long=31\` unpacks it`,
      )
    }
    return block(hasChecksum)
  })
})

const windowSize = (byte: number): number => 2 ** (10 + (byte >>> 3)) * (1 + (byte & 7) / 8)
const contentSize = (header: DataView, at: number, bytes: number): number => {
  if (bytes === 1) return header.getUint8(at)
  if (bytes === 2) return header.getUint16(at, true) + 256
  return bytes === 4 ? header.getUint32(at, true) : Number(header.getBigUint64(at, true))
}

const BLOCK_HEADER_BYTES = 3
const RUN = 1
const block = (hasChecksum: boolean): Part =>
  kept(BLOCK_HEADER_BYTES, (bytes) => {
    const header = bytes.getUint16(0, true) + bytes.getUint8(2) * 0x1_00_00
    const isLast = (header & 1) !== 0
    // A run is one byte, however often it is repeated.
    const size = ((header >>> 1) & 3) === RUN ? 1 : header >>> 3
    return passed(size, isLast ? passed(hasChecksum ? CHECKSUM_BYTES : 0, null) : block(hasChecksum))
  })

/** Magic and descriptor apart, a header is 13 bytes at most. */
const MOST_KEPT_BYTES = 16

/** The same bytes, in pieces none of which reaches beyond the end of a frame. Throws on what is no frame, and on one that is cut off. */
export async function* cutAtFrames(input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  const seen = new Uint8Array(MOST_KEPT_BYTES)
  const view = new DataView(seen.buffer)
  let part = magic
  let bytesOfPart = 0
  let bytesBefore = 0
  let frameAt = 0
  for await (const chunk of input) {
    let sent = 0
    for (let at = 0; at < chunk.length;) {
      const taken = Math.min(part.bytes - bytesOfPart, chunk.length - at)
      if (part.kept) seen.set(chunk.subarray(at, at + taken), bytesOfPart)
      at += taken
      bytesOfPart += taken
      if (bytesOfPart < part.bytes) break
      const next = nextOf(part, view, frameAt)
      bytesOfPart = 0
      part = next ?? magic
      if (next !== null) continue
      yield chunk.subarray(sent, at)
      sent = at
      frameAt = bytesBefore + at
    }
    if (sent < chunk.length) yield chunk.subarray(sent)
    bytesBefore += chunk.length
  }
  if (part !== magic || bytesOfPart > 0 || frameAt === 0) {
    throw new Error(`at byte ${frameAt}: the frame that begins here is cut off`)
  }
}

const nextOf = (part: Part, view: DataView, frameAt: number): Part | null => {
  try {
    return part.next(view)
  } catch (error) {
    throw new Error(`at byte ${frameAt}: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
}
