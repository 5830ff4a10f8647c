/**
 * Runs a file through a codec, which is somebody else's code: it may throw, hang, yield rubbish or too much. Whatever it does, this ends
 * with a result, an error, or when interrupted; and asks for no more than one piece at a time.
 */
import { crc32 } from "node:zlib"
import { Data, Effect } from "effect"
import type { Codec, LogFilesError } from "@cordwood/core"
import { failure, textOf } from "./failure.ts"
import { type OpenFile, type Reading, reading } from "./reading.ts"

/** A codec that did not do what it should. `broken`: what no data could make a working codec do. */
class CodecFailure extends Data.TaggedError("CodecFailure")<{ readonly broken: boolean; readonly detail: string }> {}

const rejected = (cause: unknown): CodecFailure =>
  cause instanceof CodecFailure ? cause : new CodecFailure({ broken: false, detail: textOf(cause) })
const broken = (detail: string): CodecFailure => new CodecFailure({ broken: true, detail })

/** Pieces with nothing in them that are taken one after another, before a codec counts as one that never gets anywhere. */
const MAX_EMPTY_PIECES = 10_000
/** After this many pieces others get their turn: small pieces come without any waiting in between. */
const PIECES_PER_TURN = 64

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null
/** Also for one made in another realm, which `instanceof` would refuse. */
const isBytes = (value: unknown): value is Uint8Array => Object.prototype.toString.call(value) === "[object Uint8Array]"

type Transform = Codec["encode"]

const begin = (transform: Transform, input: Reading): AsyncIterator<unknown> => {
  const output: unknown = transform(input.chunks)
  const streaming = isObject(output) ? (output as Partial<AsyncIterable<unknown>>)[Symbol.asyncIterator] : undefined
  const iterator: unknown = typeof streaming === "function" ? streaming.call(output) : null
  if (!isObject(iterator) || !("next" in iterator)) throw broken("it returned no stream of bytes")
  return iterator as AsyncIterator<unknown>
}

/** The next piece; null at the end. */
const pull = async (iterator: AsyncIterator<unknown>): Promise<Uint8Array | null> => {
  const result: unknown = await iterator.next()
  if (!isObject(result)) throw broken("its stream is none")
  if ("done" in result && result.done === true) return null
  const piece: unknown = "value" in result ? result.value : undefined
  if (!isBytes(piece)) throw broken(`it yielded something else than bytes (${typeof piece})`)
  return piece
}

/** Tells the codec that no more is wanted. Not waited for: it may be the very thing that hangs. */
const finish = (iterator: AsyncIterator<unknown>, input: Reading): void => {
  input.stop()
  void (async () => iterator.return?.())().catch(() => undefined)
}

/** Gives every piece to `take`, until that says `false`, or there is none. */
const transform = (
  through: Transform,
  input: Reading,
  take: (piece: Uint8Array) => Effect.Effect<boolean, LogFilesError>,
): Effect.Effect<void, CodecFailure | LogFilesError> =>
  Effect.acquireUseRelease(
    Effect.try({ try: () => begin(through, input), catch: rejected }),
    (iterator) =>
      Effect.gen(function* () {
        let empty = 0
        for (let count = 1; ; count++) {
          const piece = yield* Effect.tryPromise({ try: () => pull(iterator), catch: rejected })
          if (piece === null) return
          empty = piece.length === 0 ? empty + 1 : 0
          if (empty > MAX_EMPTY_PIECES) return yield* broken(`it yielded ${empty} pieces with nothing in them`)
          if (!(yield* take(piece))) return
          if (count % PIECES_PER_TURN === 0) yield* Effect.yieldNow
        }
      }),
    (iterator) => Effect.sync(() => finish(iterator, input)),
  ).pipe(
    // An error of reading reaches the codec first, which may hide it, or wrap it in one of its own.
    Effect.catch((error) => Effect.fail(input.failure() ?? error)),
    Effect.flatMap(() => {
      const failed = input.failure()
      return failed === null ? Effect.void : Effect.fail(failed)
    }),
  )

/** Length and CRC-32 of what a file holds, or of what it decodes to. */
export interface Digest {
  readonly bytes: number
  readonly crc32: number
}

const codecError = (op: string, path: string, codec: Codec, detail: string): LogFilesError =>
  failure(op, path, "Codec", `the codec ${codec.id} failed: ${detail}`)

/** Encodes the whole file; says what went in. */
export const encode = (
  op: string,
  file: OpenFile,
  codec: Codec,
  take: (piece: Uint8Array) => Effect.Effect<void, LogFilesError>,
): Effect.Effect<Digest, LogFilesError> =>
  Effect.gen(function* () {
    const input = reading(op, file)
    yield* transform(
      (chunks) => codec.encode(chunks),
      input,
      (piece) => Effect.as(take(piece), true),
    ).pipe(Effect.catchTag("CodecFailure", ({ detail }) => Effect.fail(codecError(op, file.path, codec, detail))))
    if (input.bytes() !== file.seen.bytes) {
      const detail = `it ended after ${input.bytes()} of ${file.seen.bytes} bytes`
      return yield* Effect.fail(codecError(op, file.path, codec, detail))
    }
    return { bytes: input.bytes(), crc32: input.crc32() }
  })

export type Decoded = (Digest & { readonly decoded: true }) | { readonly decoded: false; readonly why: string }

/** What the file decodes to, counted and not kept. Stops as soon as that is more than `atMostBytes`, whatever the file claims. */
export const decode = (
  op: string,
  file: OpenFile,
  codec: Codec,
  atMostBytes: number,
): Effect.Effect<Decoded, LogFilesError> =>
  Effect.gen(function* () {
    let bytes = 0
    let checksum = 0
    const take = (piece: Uint8Array): Effect.Effect<boolean> =>
      Effect.sync(() => {
        bytes += piece.length
        checksum = crc32(piece, checksum)
        return bytes <= atMostBytes
      })
    const failed = yield* transform((chunks) => codec.decode(chunks), reading(op, file), take).pipe(
      Effect.as(null),
      Effect.catchTag("CodecFailure", (failed) => Effect.succeed(failed)),
    )
    if (failed?.broken === true) return yield* codecError(op, file.path, codec, failed.detail)
    if (failed !== null) return { decoded: false, why: failed.detail }
    if (bytes > atMostBytes) return { decoded: false, why: `it decodes to more than ${atMostBytes} bytes` }
    return { decoded: true, bytes, crc32: checksum }
  })

/** What the file holds as it is. */
export const digest = (op: string, file: OpenFile): Effect.Effect<Digest, LogFilesError> =>
  Effect.suspend(() => {
    const input = reading(op, file)
    return transform(
      (chunks) => chunks,
      input,
      () => Effect.succeed(true),
    ).pipe(
      Effect.catchTag("CodecFailure", ({ detail }) => failure(op, file.path, "Other", detail)),
      Effect.map(() => ({ bytes: input.bytes(), crc32: input.crc32() })),
    )
  })

/** What the file holds, or decodes to, piece by piece. Throws the port's error; whoever stops early stops the codec, too. */
export async function* pieces(
  op: string,
  file: OpenFile,
  codec: Codec | null,
): AsyncGenerator<Uint8Array, void, undefined> {
  const input = reading(op, file)
  let iterator: AsyncIterator<unknown> | null = null
  let empty = 0
  try {
    iterator = begin((chunks) => (codec === null ? chunks : codec.decode(chunks)), input)
    for (let piece = await pull(iterator); piece !== null; piece = await pull(iterator)) {
      empty = piece.length === 0 ? empty + 1 : 0
      if (empty > MAX_EMPTY_PIECES) throw broken(`it yielded ${empty} pieces with nothing in them`)
      if (piece.length > 0) yield piece
    }
  } catch (cause) {
    const said = rejected(cause).detail
    throw (
      input.failure() ??
      (codec === null ? failure(op, file.path, "Other", said) : codecError(op, file.path, codec, said))
    )
  } finally {
    if (iterator !== null) finish(iterator, input)
  }
  // A codec may have hidden it.
  const failed = input.failure()
  if (failed !== null) throw failed
  // What comes after the first member, say: whoever ships what was read would ship a part.
  if (codec !== null && input.bytes() !== file.seen.bytes) {
    throw codecError(op, file.path, codec, `it ended after ${input.bytes()} of ${file.seen.bytes} bytes`)
  }
}
