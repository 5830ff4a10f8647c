/**
 * Getting bytes to S3: in one request, or in parts. Holds at most so many parts in memory as there are `buffers`, over all segments. A
 * multipart upload that isn't completed is aborted, whatever ended it. Doesn't look at what lies there, and proves nothing: see ship.ts.
 */
import { crc32 } from "node:zlib"
import { Data, Effect, type Semaphore, Stream } from "effect"
import type { NewObject, Part, PartReceipt, Replaces, S3 } from "./client.ts"
import type { S3Failure } from "./failure.ts"
import { crcText, type Digest, md5Hash } from "./reading.ts"

/** S3's most for one upload. Beyond partSize × this, parts are larger than partSize. */
const MAX_PARTS = 10_000
/** An abort that S3 doesn't answer isn't waited for longer: a guard that is stopped has five seconds. The next try aborts what is left. */
const ABORT_LIMIT_MS = 4_000

/** What was read is not what was read before: the file is being written to, or a codec gives other bytes each time. */
export class SourceChanged extends Error {
  constructor() {
    super("its bytes are not those that were read before")
    this.name = "SourceChanged"
  }
}

/** What reading a source threw. */
export class ReadFailure extends Data.TaggedError("ReadFailure")<{ readonly error: unknown }> {}

export interface Source {
  /** The bytes to be stored; each call reads from the beginning. */
  readonly open: () => AsyncIterable<Uint8Array>
  readonly stored: Digest
}

/** All of a source in one buffer; throws `SourceChanged` if it isn't what it was. */
export const readWhole = async ({ open, stored }: Source, signal: AbortSignal): Promise<Uint8Array> => {
  const body = Buffer.allocUnsafe(stored.bytes)
  let at = 0
  for await (const chunk of open()) {
    signal.throwIfAborted()
    if (at + chunk.length > body.length) throw new SourceChanged()
    body.set(chunk, at)
    at += chunk.length
  }
  if (at !== body.length || crcText(crc32(body)) !== stored.crc32) throw new SourceChanged()
  return body
}

const md5Of = (bytes: Uint8Array): string | null => md5Hash()?.update(bytes).digest("hex") ?? null

/** Cuts a source into parts of one size, the last one shorter. `next` is null at the end. */
const cutter = (source: AsyncIterable<Uint8Array>, bytes: number, partBytes: number) => {
  const iterator = source[Symbol.asyncIterator]()
  let rest: Uint8Array = new Uint8Array()
  let left = bytes
  let crc = 0
  let number = 0
  const next = async (md5: boolean, signal: AbortSignal): Promise<Part | null> => {
    if (left === 0) {
      if (rest.length > 0 || (await iterator.next()).done !== true) throw new SourceChanged()
      return null
    }
    const body = Buffer.allocUnsafe(Math.min(partBytes, left))
    let at = 0
    while (at < body.length) {
      signal.throwIfAborted()
      if (rest.length === 0) {
        const { done, value } = await iterator.next()
        if (done === true) throw new SourceChanged()
        rest = value
      }
      const piece = rest.subarray(0, body.length - at)
      body.set(piece, at)
      at += piece.length
      rest = rest.subarray(piece.length)
    }
    left -= at
    crc = crc32(body, crc)
    number += 1
    return { number, body, crc32: crcText(crc32(body)), md5: md5 ? md5Of(body) : null }
  }
  // Not waited for: a read that hangs would hang here, too.
  const close = (): void => void iterator.return?.()?.catch(() => undefined)
  return { next, crc32: () => crcText(crc), close }
}

export interface Multipart<E> {
  readonly object: NewObject
  readonly source: Source
  readonly partSize: number
  readonly concurrency: number
  /** Whether parts are sent with their MD5, for servers that know no other checksum. */
  readonly md5: boolean
  readonly buffers: Semaphore.Semaphore
  readonly replaces: Replaces
  /** Told of the upload as soon as there is one. */
  readonly began: (uploadId: string) => Effect.Effect<void, E>
}

/** Ends with the ETag that the object should have where ETags are made of MD5s; null if that isn't known. */
export const uploadInParts = <E>(
  s3: S3,
  multipart: Multipart<E>,
): Effect.Effect<string | null, E | S3Failure | ReadFailure> => {
  const { began, object, replaces } = multipart
  const { key } = object
  return Effect.scoped(
    Effect.gen(function* () {
      yield* abortLeftBehind(s3, key)
      const { tries, uploadId } = yield* Effect.acquireRelease(
        s3.createUpload(object),
        ({ uploadId }, exit) =>
          exit._tag === "Success"
            ? Effect.void
            : s3.abortUpload(key, uploadId).pipe(Effect.timeout(ABORT_LIMIT_MS), Effect.ignore),
        // An agent that stops doesn't wait for S3 to say the id: what that leaves behind, the next try aborts.
        { interruptible: true },
      )
      yield* began(uploadId)
      const parts = yield* sendParts(s3, multipart, uploadId)
      yield* s3.completeUpload(object, uploadId, parts, replaces)
      if (tries > 1) yield* Effect.ignore(abortLeftBehind(s3, key))
      return etagOf(parts)
    }),
  )
}

/** Uploads to this key that a crash left behind. Not being allowed to list or abort them keeps nothing from being shipped. */
const abortLeftBehind = (s3: S3, key: string): Effect.Effect<void, S3Failure> =>
  s3.uploadsTo(key).pipe(
    Effect.flatMap((ids) => Effect.forEach(ids, (id) => s3.abortUpload(key, id), { discard: true })),
    Effect.catchIf(
      ({ kind }) => kind === "setup" || kind === "rejected",
      (failure) => Effect.logDebug(`uploads left behind can't be aborted: ${failure.message}`),
    ),
  )

const etagOf = (parts: ReadonlyArray<PartReceipt>): string | null => {
  const hash = md5Hash()
  for (const { md5 } of parts) {
    if (md5 === null) return null
    hash?.update(md5, "hex")
  }
  return hash === null ? null : `"${hash.digest("hex")}-${parts.length}"`
}

const sendParts = <E>(
  s3: S3,
  { buffers, concurrency, md5, object, partSize, source }: Multipart<E>,
  uploadId: string,
): Effect.Effect<ReadonlyArray<PartReceipt>, S3Failure | ReadFailure> => {
  const { bytes, crc32 } = source.stored
  const partBytes = Math.max(partSize, Math.ceil(bytes / MAX_PARTS))
  return Effect.acquireUseRelease(
    Effect.sync(() => ({ cut: cutter(source.open(), bytes, partBytes), held: { count: 0 } })),
    ({ cut, held }) => {
      // A buffer is taken before its part is read, and given back once it is sent.
      const take = Effect.uninterruptibleMask((restore) =>
        Effect.andThen(
          restore(buffers.take(1)),
          Effect.sync(() => void (held.count += 1)),
        ),
      )
      const give = Effect.suspend(() => {
        held.count -= 1
        return buffers.release(1)
      })
      const read = Effect.tryPromise({
        try: (signal) => cut.next(md5, signal),
        catch: (error) => new ReadFailure({ error }),
      })
      return Stream.unfold(0, (sent: number) =>
        Effect.map(Effect.andThen(take, read), (part) => (part === null ? undefined : ([part, sent + 1] as const))),
      ).pipe(
        Stream.mapEffect((part) => Effect.ensuring(s3.uploadPart(object.key, uploadId, part), give), { concurrency }),
        Stream.runCollect,
        Effect.flatMap((parts) =>
          cut.crc32() === crc32 ? Effect.succeed(parts) : Effect.fail(new ReadFailure({ error: new SourceChanged() })),
        ),
      )
    },
    ({ cut, held }) => Effect.andThen(buffers.release(held.count), Effect.sync(cut.close)),
  )
}
