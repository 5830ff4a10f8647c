/** A file as the stream of bytes that codecs take, with an account of what was read. Never holds more than a chunk. */
import type { FileHandle } from "node:fs/promises"
import { constants, promises } from "node:fs"
import { crc32 } from "node:zlib"
import type { FileSeen, LogFilesError } from "@cordwood/core"
import { Effect, type Scope } from "effect"
import { nameIn, type OpenDirectory } from "./directory.ts"
import { attempt, failure, failureOf } from "./failure.ts"
import { regular, seenOf } from "./look.ts"

/** Bytes read at a time. Smaller chunks make compression two to four times dearer. */
export const CHUNK_BYTES = 256 * 1024

// O_NONBLOCK: a named pipe put in the file's place must not hold up the opening until somebody writes to it.
const OPEN_TO_READ = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

/** An open regular file, and what it was like when it was opened. */
export interface OpenFile {
  readonly handle: FileHandle
  readonly path: string
  readonly seen: FileSeen
  /** Mode, owner and times, for a file that is to be like it. */
  readonly stats: Awaited<ReturnType<typeof statOf>>
}

const statOf = (handle: FileHandle) => handle.stat({ bigint: true })

/** Closes; waits for reads and writes under way. What was read is in hand, so an error here means nothing. */
export const closeQuietly = (handle: FileHandle): Effect.Effect<void> =>
  Effect.promise(() => handle.close().catch(() => undefined))

/** Opens for reading what must be a regular file, until the scope ends. */
export const openToRead = (
  op: string,
  directory: OpenDirectory,
  path: string,
): Effect.Effect<OpenFile, LogFilesError, Scope.Scope> =>
  Effect.gen(function* () {
    const handle = yield* Effect.acquireRelease(
      attempt(op, path, async () => promises.open(directory.at(nameIn(op, directory, path)), OPEN_TO_READ)),
      closeQuietly,
    )
    const stats = yield* attempt(op, path, () => statOf(handle))
    const seen = yield* Effect.try({ try: () => regular(op, path, stats), catch: failureOf(op, path) })
    return { handle, path, seen, stats }
  })

/** The file as it is now. */
export const lookAgain = (op: string, { handle, path }: OpenFile): Effect.Effect<FileSeen, LogFilesError> =>
  attempt(op, path, async () => seenOf(path, await statOf(handle)))

export interface Reading {
  /** To be gone through once. */
  readonly chunks: AsyncIterable<Uint8Array>
  /** What was read so far. */
  readonly bytes: () => number
  readonly crc32: () => number
  /** What went wrong with reading, whatever a codec made of it. */
  readonly failure: () => LogFilesError | null
  /** No more reads: whoever asks for more gets an error. */
  readonly stop: () => void
}

/** Reads the file from its beginning to the size it had when opened; more or less than that is an error. */
export const reading = (op: string, { handle, path, seen }: OpenFile): Reading => {
  let bytes = 0
  let checksum = 0
  let failed: LogFilesError | null = null
  let stopped = false
  const fail = (cause: unknown): LogFilesError => (failed ??= failureOf(op, path)(cause))
  const next = async (): Promise<Uint8Array | null> => {
    if (stopped) throw new Error("reading has been stopped")
    // A buffer of its own for each chunk, since a codec may keep it; one byte more than there should be, to notice growth.
    const buffer = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, seen.bytes - bytes + 1))
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, bytes).catch((cause: unknown) => {
      throw fail(cause)
    })
    if (bytes + bytesRead > seen.bytes) throw fail(failure(op, path, "Changed", "it grew while it was being read"))
    if (bytesRead === 0 && bytes < seen.bytes) {
      throw fail(failure(op, path, "Changed", `it ended after ${bytes} of ${seen.bytes} bytes while it was being read`))
    }
    const chunk = new Uint8Array(buffer.buffer, buffer.byteOffset, bytesRead)
    bytes += bytesRead
    checksum = crc32(chunk, checksum)
    return bytesRead === 0 ? null : chunk
  }
  async function* chunks(): AsyncGenerator<Uint8Array> {
    for (let chunk = await next(); chunk !== null; chunk = await next()) yield chunk
  }
  return {
    chunks: chunks(),
    bytes: () => bytes,
    crc32: () => checksum,
    failure: () => failed,
    stop: () => {
      stopped = true
    },
  }
}
