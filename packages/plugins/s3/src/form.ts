/**
 * The bytes of a segment as they are to be stored: as they lie on disk, or compressed on the way. Reads and measures; what can't be read as it should is a
 * reason to keep the file. Knows nothing of S3.
 */
import { type Codec, type Doomed, LogFilesError, NO_COMPRESSION } from "@cordwood/core"
import { Data, Effect } from "effect"
import type { Config } from "./config.ts"
import { type Digest, digestSink, type Lines, linesSink, readInto } from "./reading.ts"
import { SourceChanged } from "./upload.ts"

/** The segment stays, for a reason of its own. */
export class Kept extends Data.TaggedError("Kept")<{ readonly why: string; readonly retryAfterMs: number }> {}
/** The file can't be read as it should. */
const UNREADABLE_RETRY_MS = 60_000

/** How a segment is stored: as it lies, or compressed on the way. */
export interface Form {
  readonly suffix: string
  readonly codec: string | null
  readonly open: () => AsyncIterable<Uint8Array>
  /** Null: what is stored is what was written. */
  readonly decode: Codec["decode"] | null
  readonly encodes: boolean
}
/** `body`: all of it, where it was worth keeping. */
export interface Packed {
  readonly stored: Digest
  readonly body: Uint8Array | null
}
/** A segment as it was written. */
export type Raw = Digest & Lines
export const formOf = (config: Config, { codecs, raw, segment, stored }: Doomed): Effect.Effect<Form, Kept> => {
  const { codec: codecId, suffix } = segment
  if (codecId !== null) {
    const codec = codecs.find(({ id }) => id === codecId)
    return Effect.succeed({ suffix, codec: codecId, open: stored, decode: codec?.decode ?? null, encodes: false })
  }
  if (config.compress === NO_COMPRESSION) {
    return Effect.succeed({ suffix: "", codec: null, open: stored, decode: null, encodes: false })
  }
  const codec = codecs.find(({ id }) => id === config.compress)
  return codec === undefined
    ? Effect.fail(
        new Kept({
          why: `there is no codec ${config.compress}, which is to compress segments on their way to S3; add its plugin, or mend compress`,
          retryAfterMs: UNREADABLE_RETRY_MS,
        }),
      )
    : Effect.succeed({
        suffix: codec.suffix,
        codec: codec.id,
        open: () => codec.encode(raw()),
        decode: codec.decode,
        encodes: true,
      })
}

/** What reading throws, as the reason why the file stays. */
export const reading = <A>(read: (signal: AbortSignal) => Promise<A>): Effect.Effect<A, Kept> =>
  Effect.tryPromise({ try: read, catch: unreadable })
export const unreadable = (error: unknown): Kept => {
  const why =
    error instanceof LogFilesError
      ? `it can't be read, ${error.detail}: ${error.hint}`
      : error instanceof SourceChanged
        ? "its bytes are not the same each time they are read: it is being written to, or its codec isn't deterministic"
        : `it can't be read or compressed: ${error instanceof Error ? error.message : String(error)}`
  return new Kept({ why, retryAfterMs: UNREADABLE_RETRY_MS })
}

export const measure = (config: Config, doomed: Doomed): Effect.Effect<Raw, Kept> =>
  reading(async (signal) => {
    // What goes in parts has an MD5 for each.
    const digest = digestSink({ md5: wantsMd5(config) && doomed.segment.bytes <= config.partSize })
    const lines = linesSink()
    await readInto(doomed.raw(), signal, digest, lines)
    return { ...digest.done(), ...lines.done() }
  })

/** AWS's own S3 keeps real checksums; of other servers some know nothing but MD5. */
export const wantsMd5 = ({ endpoint }: Config): boolean => endpoint !== undefined

/** What is to be stored, known before it is sent, and proven to decode to what was written. */
export const pack = (config: Config, form: Form, raw: Raw): Effect.Effect<Packed, Kept> => {
  if (form.codec === null) return Effect.succeed({ stored: raw, body: null })
  return reading(async (signal) => {
    const digest = digestSink({ md5: wantsMd5(config) })
    const { decode } = form
    if (!form.encodes || decode === null) {
      await readInto(form.open(), signal, digest)
      return { stored: digest.done(), body: null }
    }
    // Compressing is dear: what fits into one request is kept.
    const kept = Buffer.allocUnsafe(Math.min(config.partSize, raw.bytes + SMALL_GROWTH_BYTES))
    let bytes = 0
    const tapped = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
      for await (const chunk of form.open()) {
        digest.update(chunk)
        if (bytes + chunk.length <= kept.length) kept.set(chunk, bytes)
        bytes += chunk.length
        yield chunk
      }
    }
    const back = digestSink({ md5: false })
    await readInto(decode(tapped()), signal, back)
    if (back.done().sha256 !== raw.sha256) throw new Error(`what ${form.codec} wrote doesn't decode to the segment`)
    return { stored: digest.done(), body: bytes <= kept.length ? kept.subarray(0, bytes) : null }
  })
}
/** What a codec's frame adds to bytes that don't get smaller. */
const SMALL_GROWTH_BYTES = 64 * 1024
