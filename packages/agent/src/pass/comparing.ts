/**
 * Reads two files side by side, each decoded if need be, and says what of one is in the other. Holds a piece of each; changes nothing. An error is one of
 * reading: that the first doesn't decode is an answer.
 */
import {
  type Codec,
  type Comparison,
  type FileSeen,
  LogFilesError,
  type LogFilesShape,
  messageOf,
} from "@cordwood/core"
import { Effect } from "effect"

export interface Stored {
  readonly file: FileSeen
  /** Null: it is read as it is. */
  readonly codec: Codec | null
}

/** Throws and ends as the iterable does; what is left of a piece is kept for the next time. */
class Cursor {
  readonly #pieces: AsyncIterator<Uint8Array>
  #rest: Uint8Array = new Uint8Array()
  constructor(pieces: AsyncIterable<Uint8Array>) {
    this.#pieces = pieces[Symbol.asyncIterator]()
  }
  /** At least one and at most `most` bytes; null at the end. */
  async next(most: number): Promise<Uint8Array | null> {
    while (this.#rest.length === 0) {
      const { done, value } = await this.#pieces.next()
      if (done === true) return null
      this.#rest = value
    }
    const part = this.#rest.subarray(0, most)
    this.#rest = this.#rest.subarray(part.length)
    return part
  }
  async close(): Promise<void> {
    await this.#pieces.return?.()
  }
}

/** The `a` of the comparison may be damaged, `b` may not. Goes through all of `a`, to learn whether it decodes. */
export const compare = (files: LogFilesShape, a: Stored, b: Stored): Effect.Effect<Comparison, LogFilesError> =>
  Effect.tryPromise({
    try: (signal) => comparing(files, a, b, signal),
    catch: (error) => errorOf(b.file.path, error),
  })

/** The port's error, whatever was thrown. */
export const errorOf = (path: string, error: unknown): LogFilesError =>
  error instanceof LogFilesError
    ? error
    : new LogFilesError({ op: "read", path, reason: "Other", detail: messageOf(error) })

const comparing = async (files: LogFilesShape, a: Stored, b: Stored, signal: AbortSignal): Promise<Comparison> => {
  const other = new Cursor(files.read(b.file, b.codec))
  let bytes = 0
  let relation: "Same" | "Beyond" | "Differ" = "Same"
  let at = 0
  let blank = false
  const take = async (piece: Uint8Array): Promise<void> => {
    bytes += piece.length
    for (let from = 0; from < piece.length && relation === "Same";) {
      const part = await other.next(piece.length - from)
      if (part === null) {
        relation = "Beyond"
        return
      }
      const differs = differenceOf(part, piece.subarray(from, from + part.length))
      if (differs >= 0) {
        relation = "Differ"
        blank = await isBlank(part.subarray(differs), other)
      }
      at += differs >= 0 ? differs : part.length
      from += part.length
    }
  }
  try {
    const broken = await goThrough(files, a, take, signal)
    if (relation !== "Same") return { relation, broken, bytes, at, blank }
    return { relation: (await other.next(1)) === null ? "Same" : "Within", broken, bytes, at, blank }
  } finally {
    await other.close()
  }
}

const isBlank = async (part: Uint8Array, rest: Cursor): Promise<boolean> => {
  for (let next: Uint8Array | null = part; next !== null; next = await rest.next(Infinity)) {
    if (next.some((byte) => byte !== 0)) return false
  }
  return true
}

/** Where two parts of the same length differ; -1 if they don't. */
const differenceOf = (a: Uint8Array, b: Uint8Array): number =>
  Buffer.compare(a, b) === 0 ? -1 : a.findIndex((byte, index) => byte !== b[index])

/** Gives every piece to `take`; returns why it doesn't decode to its end, or null. Throws what reading throws. */
export const goThrough = async (
  files: LogFilesShape,
  { codec, file }: Stored,
  take: (piece: Uint8Array) => Promise<void> | void,
  signal: AbortSignal,
): Promise<string | null> => {
  try {
    for await (const piece of files.read(file, codec)) {
      signal.throwIfAborted()
      await take(piece)
    }
    return null
  } catch (error) {
    if (codec === null || !(error instanceof LogFilesError) || error.reason !== "Codec" || error.path !== file.path) {
      throw error
    }
    return error.detail
  }
}
