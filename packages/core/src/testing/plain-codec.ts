/** A codec for tests whose files can be read by eye. Compresses nothing, and holds a whole file when it decodes: for short ones only. */
import type { Codec } from "../plugin/codec.ts"

const MARK = 0x50
/** A length as four bytes, the highest first. */
const LENGTH_BYTES = 4

/** Every byte after a mark, then the length. What is cut off or bent doesn't decode. */
export const plainCodec: Codec = {
  id: "plain",
  suffix: ".plain",
  encode: async function* (input) {
    let length = 0
    yield Uint8Array.of(MARK)
    for await (const chunk of input) {
      length += chunk.length
      yield chunk
    }
    yield Uint8Array.of(length >>> 24, length >>> 16, length >>> 8, length)
  },
  decode: async function* (input) {
    const bytes: Array<number> = []
    for await (const chunk of input) for (const byte of chunk) bytes.push(byte)
    const length = bytes.slice(-LENGTH_BYTES).reduce((sum, byte) => sum * 256 + byte, 0)
    if (bytes[0] !== MARK || length !== bytes.length - 1 - LENGTH_BYTES) throw new Error("cut off")
    yield Uint8Array.from(bytes.slice(1, -LENGTH_BYTES))
  },
}
