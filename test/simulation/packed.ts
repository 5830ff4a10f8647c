/**
 * A codec that halves the records of a simulation and carries everything else along as it is. What is cut off, bent, or longer than it should
 * be doesn't decode. Holds a whole file: for short ones only.
 */
import type { Codec } from "@cordwood/core"
import { RECORD_BYTES } from "./records.ts"

const MARK = 0x4b
/** The mark; how many bytes come before the records; how many records; how many bytes come after them: one byte, and four each; a checksum. */
const HEAD_BYTES = 13
const CHECK_BYTES = 4
const NEWLINE = 0x0a
const ZERO = 0x30

const checksumOf = (bytes: Uint8Array, upTo: number): number => {
  let sum = 0x811c9dc5
  for (let at = 0; at < upTo; at += 1) sum = Math.imul(sum ^ (bytes[at] ?? 0), 0x01000193)
  return sum >>> 0
}

const isRecord = (bytes: Uint8Array, at: number): boolean => {
  for (let digit = 1; digit < RECORD_BYTES - 1; digit += 1) {
    const value = (bytes[at + digit] ?? 0) - ZERO
    if (value < 0 || value > 9) return false
  }
  return at + RECORD_BYTES <= bytes.length && bytes[at + RECORD_BYTES - 1] === NEWLINE
}

export const pack = (raw: Uint8Array): Uint8Array => {
  const first = raw.indexOf(NEWLINE)
  const before = first === RECORD_BYTES - 1 ? 0 : first + 1
  let records = 0
  while (isRecord(raw, before + records * RECORD_BYTES)) records += 1
  const after = before + records * RECORD_BYTES
  const packed = new Uint8Array(HEAD_BYTES + before + records * 4 + raw.length - after + CHECK_BYTES)
  const view = new DataView(packed.buffer)
  packed[0] = MARK
  view.setUint32(1, before)
  view.setUint32(5, records)
  view.setUint32(9, raw.length - after)
  packed.set(raw.subarray(0, before), HEAD_BYTES)
  let at = HEAD_BYTES + before
  for (let record = 0; record < records; record += 1) {
    const from = before + record * RECORD_BYTES
    let number = 0
    for (let digit = 1; digit < RECORD_BYTES - 1; digit += 1) number = number * 10 + ((raw[from + digit] ?? 0) - ZERO)
    view.setUint32(at, ((raw[from] ?? 0) << 24) | number)
    at += 4
  }
  packed.set(raw.subarray(after), at)
  view.setUint32(packed.length - CHECK_BYTES, checksumOf(packed, packed.length - CHECK_BYTES))
  return packed
}

export const unpack = (packed: Uint8Array): Uint8Array => {
  if (packed.length < HEAD_BYTES + CHECK_BYTES || packed[0] !== MARK) throw new Error("no packed file")
  const view = new DataView(packed.buffer, packed.byteOffset, packed.length)
  const [before, records, after] = [view.getUint32(1), view.getUint32(5), view.getUint32(9)]
  const end = packed.length - CHECK_BYTES
  if (HEAD_BYTES + before + records * 4 + after !== end) throw new Error("cut off")
  if (view.getUint32(end) !== checksumOf(packed, end)) throw new Error("bent")
  const raw = new Uint8Array(before + records * RECORD_BYTES + after)
  raw.set(packed.subarray(HEAD_BYTES, HEAD_BYTES + before))
  let from = HEAD_BYTES + before
  for (let at = before; at < before + records * RECORD_BYTES; at += RECORD_BYTES) {
    const word = view.getUint32(from)
    raw[at] = word >>> 24
    let number = word & 0xffffff
    for (let digit = RECORD_BYTES - 2; digit > 0; digit -= 1) {
      raw[at + digit] = ZERO + (number % 10)
      number = Math.floor(number / 10)
    }
    raw[at + RECORD_BYTES - 1] = NEWLINE
    from += 4
  }
  raw.set(packed.subarray(from, end), before + records * RECORD_BYTES)
  return raw
}

const gathered = async (input: AsyncIterable<Uint8Array>): Promise<Uint8Array> => {
  const pieces: Array<Uint8Array> = []
  for await (const piece of input) pieces.push(piece)
  return pieces.length === 1 ? (pieces[0] as Uint8Array) : Buffer.concat(pieces)
}

export const packed: Codec = {
  id: "packed",
  suffix: ".packed",
  encode: async function* (input) {
    yield pack(await gathered(input))
  },
  decode: async function* (input) {
    yield unpack(await gathered(input))
  },
}
