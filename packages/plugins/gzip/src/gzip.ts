/**
 * The gzip codec (RFC 1952) on node:zlib. Streaming in both directions, on zlib's own threads, with a bounded part of the file in memory.
 * Must not touch files: it turns bytes into bytes.
 */
import { pipeline, type Transform } from "node:stream"
import { createGunzip, createGzip } from "node:zlib"
import { type Codec, definePlugin, type PluginFactory } from "@cordwood/core"
import { Effect } from "effect"
import * as z from "zod"

/** What zlib works with at a time, in bytes, of its output. Measured: see the README. */
const CHUNK_BYTES = 256 * 1024
/** Measured, too: with reading back included, it costs what the kubelet's gzip spends on compressing alone. */
const DEFAULT_LEVEL = 3

const Config = z.strictObject({
  level: z.int().min(1).max(9).default(DEFAULT_LEVEL).meta({
    description:
      "From 1, fast, to 9, small. The default, 3, leaves the CPU to the containers; 5 is about the kubelet's ratio.",
  }),
})

/** `gzip()`, or `gzip({ level: 6 })`. The codec is called `gzip`, as it is in `policy.compression`, and its files end in `.gz`. */
export const gzip: PluginFactory<typeof Config> = definePlugin({
  name: "gzip",
  api: 1,
  config: Config,
  setup: ({ level }) => Effect.succeed({ codecs: [codec(level)] }),
})

const codec = (level: number): Codec => ({
  id: "gzip",
  suffix: ".gz",
  encode: (input) => encode(input, level),
  decode,
})

/** The header zlib writes has no time and no name in it, so the same bytes give the same file. */
const encode = (input: AsyncIterable<Uint8Array>, level: number): AsyncIterable<Uint8Array> =>
  through(() => createGzip({ level, chunkSize: CHUNK_BYTES }), input)

/**
 * Reads every member. Node stops at a zero byte after a member, and drops in silence whatever follows it, be it another member; a tail of zeros
 * is just what a power cut leaves. So, as with Go's reader, which the kubelet uses, what is no member fails.
 */
async function* decode(input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  let bytesFed = 0
  const counted = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const chunk of input) {
      bytesFed += chunk.length
      yield chunk
    }
  }
  const gunzip = createGunzip({ chunkSize: CHUNK_BYTES })
  yield* through(() => gunzip, counted())
  // What zlib took in is what belonged to members.
  if (gunzip.bytesWritten !== bytesFed) {
    throw new Error(`bytes that are no gzip follow the last member, from byte ${gunzip.bytesWritten} on`)
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
