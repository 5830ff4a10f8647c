// @ts-check
/**
 * A codec for Cordwood as anybody may write and publish one: brotli (RFC 7932), from node:zlib. Plain JavaScript, since Node strips no types
 * from what is installed. Must not touch files: it turns bytes into bytes.
 */
import { pipeline } from "node:stream"
import { constants, createBrotliCompress, createBrotliDecompress } from "node:zlib"
import { definePlugin } from "@cordwood/core"
import { Effect } from "effect"
import * as z from "zod"

/** What zlib works with at a time. */
const CHUNK_BYTES = 256 * 1024
/** A window of 512 KiB: brotli holds at least as much before anything comes out, and by default 4 MiB. */
const WINDOW_LOG = 19

export const brotli = definePlugin({
  name: "brotli",
  api: 1,
  // Below 2, what comes out depends on how the input is cut into chunks.
  config: z.strictObject({
    quality: z.int().min(2).max(11).default(4).meta({ description: "From 2, fast, to 11, small." }),
  }),
  setup: ({ quality }) => Effect.succeed({ codecs: [codec(quality)] }),
})

/** @returns {import("@cordwood/core").Codec} */
const codec = (/** @type {number} */ quality) => ({
  id: "brotli",
  suffix: ".br",
  encode: (input) => {
    const params = {
      [constants.BROTLI_PARAM_QUALITY]: quality,
      [constants.BROTLI_PARAM_MODE]: constants.BROTLI_MODE_TEXT,
      [constants.BROTLI_PARAM_LGWIN]: WINDOW_LOG,
    }
    return through(() => createBrotliCompress({ chunkSize: CHUNK_BYTES, params }), input)
  },
  decode,
})

/**
 * Node stops at the end of the stream, and drops what follows without a word; brotli knows no second one.
 * @param {AsyncIterable<Uint8Array>} input
 */
async function* decode(input) {
  let bytesFed = 0
  const counted = async function* () {
    for await (const chunk of input) {
      bytesFed += chunk.length
      yield chunk
    }
  }
  const engine = createBrotliDecompress({ chunkSize: CHUNK_BYTES })
  yield* through(() => engine, counted())
  if (engine.bytesWritten !== bytesFed)
    throw new Error(`something follows the end, from byte ${engine.bytesWritten} on`)
}

/**
 * Ends, in whichever way, only when the input is closed and zlib's memory freed.
 * @param {() => import("node:stream").Transform} open
 * @param {AsyncIterable<Uint8Array>} input
 * @returns {AsyncGenerator<Uint8Array, void, undefined>}
 */
async function* through(open, input) {
  const engine = open()
  const released = new Promise((resolve) => {
    // The error, if any, also ends the loop below, which is where it is thrown.
    pipeline(input, engine, () => resolve(undefined))
  })
  try {
    yield* engine
  } finally {
    await released
  }
}
