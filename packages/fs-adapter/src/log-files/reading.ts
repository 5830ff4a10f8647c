/** A file as the stream of bytes that codecs take, with an account of what was read. Never holds more than a chunk. */
import type { FileHandle } from "node:fs/promises"
import { closeSync, constants, fstatSync, openSync, promises } from "node:fs"
import { crc32 } from "node:zlib"
import type { FileSeen, LogFilesError } from "@cordwood/core"
import { Effect, type Scope } from "effect"
import { anchorOf, nameIn, O_PATH, type OpenDirectory } from "./directory.ts"
import { attempt, failure, failureOf } from "./failure.ts"
import { demandRegular, lookUp, regular, seenOf } from "./look.ts"

/** Bytes read at a time. Smaller chunks make compression two to four times dearer. */
export const CHUNK_BYTES = 256 * 1024

// O_NONBLOCK: a pipe, or a file that another process has a lease on, must not hold up the opening.
const OPEN_TO_READ = constants.O_RDONLY | constants.O_NONBLOCK

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

/**
 * Opens a regular file, and nothing else: to open a pipe wakes whoever waits at its other end, and to open a device may do anything (a watchdog
 * resets the machine). So the name is opened first without its file (O_PATH), looked at, and then what was looked at is opened, whatever
 * lies at the name by then.
 */
const openRegular = async (op: string, directory: OpenDirectory, path: string): Promise<FileHandle> => {
  const name = nameIn(op, directory, path)
  if (!directory.anchored) {
    // Looking before and after is all that plain paths allow.
    demandRegular(op, path, lookUp(directory, name))
    return promises.open(directory.at(name), OPEN_TO_READ | constants.O_NOFOLLOW)
  }
  const place = openSync(directory.at(name), O_PATH | constants.O_NOFOLLOW)
  try {
    regular(op, path, fstatSync(place, { bigint: true }))
    return await promises.open(anchorOf(place), OPEN_TO_READ)
  } finally {
    closeSync(place)
  }
}

/** Opens for reading what must be a regular file, until the scope ends. */
export const openToRead = (
  op: string,
  directory: OpenDirectory,
  path: string,
): Effect.Effect<OpenFile, LogFilesError, Scope.Scope> =>
  Effect.gen(function* () {
    const handle = yield* Effect.acquireRelease(
      attempt(op, path, () => openRegular(op, directory, path)),
      closeQuietly,
    )
    const stats = yield* attempt(op, path, () => statOf(handle))
    const seen = yield* Effect.try({ try: () => regular(op, path, stats), catch: failureOf(op, path) })
    return { handle, path, seen, stats }
  })

/** The file as it is now. */
export const lookAgain = (op: string, { handle, path }: OpenFile): Effect.Effect<FileSeen, LogFilesError> =>
  attempt(op, path, async () => seenOf(path, await statOf(handle)))

/**
 * Throws unless the file has just the one name that it was opened by. A name in a log's directory may be a link to any file of the same file system,
 * made by whoever may write there; what is copied or shipped from it could be what its maker may not read. Asked of the open file
 * before it is read, and of the name afterwards: a name that was taken away for the moment of the first question would have left its mark
 * in the time of the last change (ctime, which nobody can set).
 */
export const demandOneName = (op: string, { path, stats }: OpenFile): void => {
  if (stats.nlink > 1n)
    throw failure(op, path, "Linked", `it has ${stats.nlink} names, and another one may lie anywhere`)
}
export const demandOneNameStill = (op: string, directory: OpenDirectory, { path, stats }: OpenFile): void => {
  const now = lookUp(directory, nameIn(op, directory, path))
  demandRegular(op, path, now)
  if (now?.dev !== stats.dev || now.ino !== stats.ino || now.nlink !== 1n || now.ctimeNs !== stats.ctimeNs) {
    throw failure(op, path, "Changed", "its name, owner or permissions were changed while it was being read")
  }
}

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
