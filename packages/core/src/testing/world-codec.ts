/**
 * Runs a file of a `World` through a codec, which may throw, hang, yield rubbish or too much: by the rules that hold on a real disk, so that a
 * codec that gets away with something here gets away with it there. Touches no disk.
 */
import { Data, Effect } from "effect"
import type { FileSeen } from "../log/snapshot.ts"
import type { Codec } from "../plugin/codec.ts"
import { type FileReason, LogFilesError } from "../port/log-files.ts"
import type { Inode } from "./world-disk.ts"

/** Bytes read at a time, as on a real disk. */
const CHUNK_BYTES = 256 * 1024
/** Pieces with nothing in them that are taken one after another. */
const MAX_EMPTY_PIECES = 10_000
/** After this many pieces others get their turn. */
const PIECES_PER_TURN = 64
/** An encoding larger than this is stopped: no format needs as much. */
const mostBytesFor = (bytes: number): number => 2 * bytes + 64 * 1024

/** A file that `op` reads. `seen` and `content` are as they were when it was opened. */
export interface OpenFile {
  readonly op: string
  readonly inode: Inode
  readonly seen: FileSeen
  readonly content: Uint8Array
}

export const failure = (op: string, path: string, reason: FileReason, detail: string): LogFilesError =>
  new LogFilesError({ op, path, reason, detail })

/** `broken`: what no bytes could make a working codec do. */
class Misbehaviour extends Data.TaggedError("Misbehaviour")<{ readonly broken: boolean; readonly detail: string }> {}
const broken = (detail: string): Misbehaviour => new Misbehaviour({ broken: true, detail })
const thrown = (cause: unknown): Misbehaviour =>
  cause instanceof Misbehaviour ? cause : new Misbehaviour({ broken: false, detail: String(cause) })

/** What has become of reading; `failed` whatever the codec made of it. */
interface Reading {
  bytes: number
  failed: LogFilesError | null
  stopped: boolean
}

async function* chunksOf({ content, inode, op, seen }: OpenFile, reading: Reading): AsyncGenerator<Uint8Array> {
  for (;;) {
    if (reading.stopped) throw new Error("reading has been stopped")
    if (inode.bytes.length !== seen.bytes) {
      reading.failed ??= failure(op, seen.path, "Changed", "its length changed while it was being read")
      throw reading.failed
    }
    if (reading.bytes === seen.bytes) return
    const chunk = content.slice(reading.bytes, reading.bytes + CHUNK_BYTES)
    reading.bytes += chunk.length
    yield chunk
  }
}

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null

const begin = (output: unknown): AsyncIterator<unknown> => {
  const make = isObject(output) ? (output as Partial<AsyncIterable<unknown>>)[Symbol.asyncIterator] : undefined
  const iterator: unknown = typeof make === "function" ? make.call(output) : null
  if (!isObject(iterator) || !("next" in iterator)) throw broken("it returned no stream of bytes")
  return iterator as AsyncIterator<unknown>
}
/** The next piece; null at the end. */
const pull = async (iterator: AsyncIterator<unknown>): Promise<Uint8Array | null> => {
  const result: unknown = await iterator.next()
  if (!isObject(result)) throw broken("its stream is none")
  if ("done" in result && result.done === true) return null
  const piece: unknown = "value" in result ? result.value : undefined
  // The codec may use its buffer again.
  if (piece instanceof Uint8Array) return piece.slice()
  throw broken(`it yielded something else than bytes (${typeof piece})`)
}

interface Output {
  readonly bytes: Uint8Array
  readonly bytesRead: number
  /** There was more than `atMostBytes`; `bytes` is where it was stopped. */
  readonly tooMuch: boolean
}

const through = (
  code: Codec["encode"],
  file: OpenFile,
  atMostBytes: number,
): Effect.Effect<Output, Misbehaviour | LogFilesError> =>
  Effect.suspend(() => {
    const reading: Reading = { bytes: 0, failed: null, stopped: false }
    const pieces: Array<Uint8Array> = []
    return Effect.acquireUseRelease(
      Effect.try({ try: () => begin(code(chunksOf(file, reading))), catch: thrown }),
      (iterator) =>
        Effect.gen(function* () {
          let bytes = 0
          let empty = 0
          for (let count = 1; bytes <= atMostBytes; count += 1) {
            const piece = yield* Effect.tryPromise({ try: () => pull(iterator), catch: thrown })
            if (piece === null) break
            pieces.push(piece)
            bytes += piece.length
            empty = piece.length === 0 ? empty + 1 : 0
            if (empty > MAX_EMPTY_PIECES) return yield* broken(`it yielded ${empty} pieces with nothing in them`)
            if (count % PIECES_PER_TURN === 0) yield* Effect.yieldNow
          }
          return { bytes: joined(pieces, bytes), bytesRead: reading.bytes, tooMuch: bytes > atMostBytes }
        }),
      (iterator) =>
        Effect.sync(() => {
          reading.stopped = true
          // Not waited for: it may be the very thing that hangs.
          void (async () => iterator.return?.())().catch(() => undefined)
        }),
    ).pipe(
      Effect.catch((error) => Effect.fail(reading.failed ?? error)),
      Effect.flatMap((output) => (reading.failed === null ? Effect.succeed(output) : Effect.fail(reading.failed))),
    )
  })

const joined = (pieces: ReadonlyArray<Uint8Array>, bytes: number): Uint8Array => {
  const whole = new Uint8Array(bytes)
  let at = 0
  for (const piece of pieces) {
    whole.set(piece, at)
    at += piece.length
  }
  return whole
}

const codecFailure = ({ op, seen }: OpenFile, codec: Codec, detail: string): LogFilesError =>
  failure(op, seen.path, "Codec", `the codec ${codec.id} failed: ${detail}`)

/** The whole file, encoded. */
export const encoded = (file: OpenFile, codec: Codec): Effect.Effect<Uint8Array, LogFilesError> =>
  Effect.gen(function* () {
    const { bytes: length } = file.seen
    const mostBytes = mostBytesFor(length)
    const output = yield* through((chunks) => codec.encode(chunks), file, mostBytes).pipe(
      Effect.catchTag("Misbehaviour", ({ detail }) => Effect.fail(codecFailure(file, codec, detail))),
    )
    if (output.tooMuch) return yield* codecFailure(file, codec, `it makes more than ${mostBytes} bytes of ${length}`)
    if (output.bytesRead !== length) {
      return yield* codecFailure(file, codec, `it ended after ${output.bytesRead} of ${length} bytes`)
    }
    if (output.bytes.length === 0 && length > 0) return yield* codecFailure(file, codec, "it made nothing")
    return output.bytes
  })

/** What the file decodes to; null if it doesn't, or if that is more than `atMostBytes`. */
export const decoded = (
  file: OpenFile,
  codec: Codec,
  atMostBytes: number,
): Effect.Effect<Uint8Array | null, LogFilesError> =>
  through((chunks) => codec.decode(chunks), file, atMostBytes).pipe(
    Effect.map(({ bytes, tooMuch }) => (tooMuch ? null : bytes)),
    Effect.catchTag("Misbehaviour", ({ broken, detail }) =>
      broken ? Effect.fail(codecFailure(file, codec, detail)) : Effect.succeed(null),
    ),
  )

/** The file piece by piece, decoded if there is a codec: what `LogFiles.read` gives. */
export async function* readThrough(
  open: () => OpenFile,
  codec: Codec | null,
): AsyncGenerator<Uint8Array, void, undefined> {
  const file = open()
  const reading: Reading = { bytes: 0, failed: null, stopped: false }
  if (codec === null) return yield* chunksOf(file, reading)
  let iterator: AsyncIterator<unknown> | null = null
  try {
    iterator = begin(codec.decode(chunksOf(file, reading)))
    for (let piece = await pull(iterator); piece !== null; piece = await pull(iterator)) yield piece
  } catch (cause) {
    throw reading.failed ?? codecFailure(file, codec, cause instanceof Misbehaviour ? cause.detail : String(cause))
  } finally {
    reading.stopped = true
    // Not waited for: it may be the very thing that hangs.
    void (async () => iterator?.return?.())().catch(() => undefined)
  }
}
