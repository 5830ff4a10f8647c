/**
 * The zstd codec (RFC 8878) on node:zlib. Streaming in both directions, on zlib's own threads, with a bounded part of the file in memory.
 * Must not touch files: it turns bytes into bytes.
 */
import { pipeline, type Transform } from "node:stream"
import { constants, createZstdCompress, createZstdDecompress } from "node:zlib"
import { type Codec, definePlugin, type PluginFactory } from "@cordwood/core"
import { Effect } from "effect"
import * as z from "zod"
import { cutAtFrames, MAX_WINDOW_LOG } from "./frames.ts"

/** What zstd works with at a time, in bytes, of its output. Smaller ones make it dearer; larger ones gain nothing. */
const CHUNK_BYTES = 256 * 1024
/** Measured: see the README. On logs it is the cheapest level, and smaller than the four after it. */
const DEFAULT_LEVEL = 1
/** What `zstd` offers without `--ultra`: the levels beyond take hundreds of MB. */
const MAX_LEVEL = 19
/** zstd's own least. */
const MIN_WINDOW_LOG = 10
/** What one of several workers compresses by itself: 1 MiB costs hardly any of the ratio, and each worker holds one. */
const FRAME_LOG = 20
const FRAME_BYTES = 2 ** FRAME_LOG
/** Each holds a frame and zstd's tables. All share libuv's threads, of which there are four unless UV_THREADPOOL_SIZE says otherwise. */
const MAX_WORKERS = 16

const Config = z
  .strictObject({
    level: z.int().min(1).max(MAX_LEVEL).default(DEFAULT_LEVEL).meta({
      description: "From 1, fast, to 19, small. On logs, 1 is smaller than 2 to 5 as well as faster.",
    }),
    windowLog: z.int().min(MIN_WINDOW_LOG).max(MAX_WINDOW_LOG).optional().meta({
      description:
        "How far back likenesses are looked for: 2 to this power, in bytes. The reader needs as much memory. By default, what zstd has for the level.",
    }),
    checksum: z.boolean().default(true).meta({
      description: "Whether each frame carries a checksum of its content, which every reader verifies.",
    }),
    workers: z.int().min(1).max(MAX_WORKERS).default(1).meta({
      description:
        "How many parts of one segment are compressed at a time. Above 1, the file is made of frames of 1 MiB.",
    }),
  })
  .refine(({ windowLog = 0, workers }) => workers === 1 || windowLog <= FRAME_LOG, {
    path: ["windowLog"],
    error: `must be at most ${FRAME_LOG} with several workers: each compresses 1 MiB by itself, so none can look back further; choose workers: 1 or a smaller windowLog`,
  })

/** `zstd()`, or `zstd({ level: 6 })`. The codec is called `zstd`, as it is in `policy.compression`, and its files end in `.zst`. */
export const zstd: PluginFactory<typeof Config> = definePlugin({
  name: "zstd",
  api: 1,
  config: Config,
  setup: (config) => Effect.succeed({ codecs: [codec(config)] }),
})

type Params = Readonly<Record<number, number | boolean>>

const codec = ({ checksum, level, windowLog, workers }: z.output<typeof Config>): Codec => {
  const params: Params = {
    [constants.ZSTD_c_compressionLevel]: level,
    [constants.ZSTD_c_checksumFlag]: checksum,
    ...(windowLog === undefined ? {} : { [constants.ZSTD_c_windowLog]: windowLog }),
  }
  return {
    id: "zstd",
    suffix: ".zst",
    encode: (input) => (workers === 1 ? encode(input, params) : encodeInFrames(input, params, workers)),
    decode,
  }
}

/**
 * One frame. Its header has no time and no name in it, so the same bytes give the same file, whatever the chunks: Node ends the frame when it ends the
 * stream, and once before if a chunk still waits then, so that an empty frame more may lie at the end. Here none ever waits.
 */
const encode = (input: AsyncIterable<Uint8Array>, params: Params): AsyncIterable<Uint8Array> => {
  const options = { chunkSize: CHUNK_BYTES, params, writableHighWaterMark: 1 }
  return through(() => createZstdCompress(options), withoutEmpty(input))
}
/** A chunk with nothing in it doesn't count as one that waits. */
async function* withoutEmpty(input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of input) if (chunk.length > 0) yield chunk
}

/**
 * Frames one after another, some of them compressed at a time. zstd's own workers (`ZSTD_c_nbWorkers`) can't be had: with them, Node's stream
 * fails (ERR_STREAM_PUSH_AFTER_EOF), and its `zstdCompress` makes nothing at all of more than a few MB, without an error.
 */
async function* encodeInFrames(
  input: AsyncIterable<Uint8Array>,
  params: Params,
  workers: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  // The oldest first.
  const underWay: Array<Promise<Uint8Array>> = []
  const oldest = async (): Promise<Uint8Array> => (await underWay.shift()) ?? new Uint8Array()
  try {
    for await (const part of partsOf(input)) {
      const frame = compress(part, params)
      // It is waited for below. Until then, its failing must not count as unheard.
      frame.catch(() => undefined)
      underWay.push(frame)
      if (underWay.length === workers) yield await oldest()
    }
    while (underWay.length > 0) yield await oldest()
  } finally {
    await Promise.allSettled(underWay)
  }
}
const compress = async (part: Uint8Array, params: Params): Promise<Uint8Array> => {
  const all: Array<Uint8Array> = []
  for await (const piece of encode(once(part), params)) all.push(piece)
  return Buffer.concat(all)
}
async function* once(part: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield part
}

/** What becomes a frame each; the last one is what is left. An empty input is one empty part, since a file has at least one frame. */
async function* partsOf(input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  let part = Buffer.allocUnsafeSlow(FRAME_BYTES)
  let filled = 0
  for await (const chunk of input) {
    for (let at = 0; at < chunk.length;) {
      if (filled === FRAME_BYTES) {
        yield part
        // The other one is still being compressed.
        part = Buffer.allocUnsafeSlow(FRAME_BYTES)
        filled = 0
      }
      const taken = chunk.subarray(at, at + FRAME_BYTES - filled)
      part.set(taken, filled)
      filled += taken.length
      at += taken.length
    }
  }
  yield part.subarray(0, filled)
}

/** Reads every frame, skippable ones and empty ones included, and fails on whatever is none. */
async function* decode(input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  let bytesFed = 0
  const counted = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const piece of cutAtFrames(input)) {
      bytesFed += piece.length
      yield piece
    }
  }
  const engine = createZstdDecompress({
    chunkSize: CHUNK_BYTES,
    params: { [constants.ZSTD_d_windowLogMax]: MAX_WINDOW_LOG },
  })
  yield* through(() => engine, counted())
  // Node drops in silence what it takes for the end; see `cutAtFrames`, after which there should be nothing of the kind.
  if (engine.bytesWritten !== bytesFed) {
    throw new Error(`only ${engine.bytesWritten} of ${bytesFed} bytes were taken for zstd`)
  }
}

/**
 * Sends bytes through a zlib stream. Reads no further ahead than a chunk or two of what the consumer has taken. Ends, in whichever way, only when the input
 * is closed and zlib's memory freed; the input's error is thrown as it is.
 */
async function* through(
  open: () => Transform,
  input: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  const engine = open()
  const released = new Promise<void>((resolve) => {
    // The error, if any, also ends the loop below, which is where it is thrown.
    pipeline(input, engine, () => resolve())
  })
  try {
    // However this loop is left, it destroys the engine.
    yield* engine
  } finally {
    await released
  }
}
