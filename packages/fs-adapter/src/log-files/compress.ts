/**
 * Makes a compressed twin of a segment, and proves that one is. Never changes or removes the original: that is the caller's next step.
 *
 * A new file gets the security label that its directory gives (for container logs, the right one): Node can't set `security.selinux`,
 * nor copy access control lists.
 */
import { type BigIntStats, constants, promises } from "node:fs"
import type { FileHandle } from "node:fs/promises"
import {
  type Codec,
  type Compression,
  type FileSeen,
  type LogFilesError,
  TEMPORARY_SUFFIX,
  besideOf,
  nameOf,
} from "@cordwood/core"
import { Effect, type Scope } from "effect"
import { nameIn, type OpenDirectory, syncDirectory } from "./directory.ts"
import { attempt, codeOf, failure, failureOf } from "./failure.ts"
import { demandSame, lookUp, seenOf } from "./look.ts"
import { CREATE, discard, moveTo, PRIVATE } from "./move.ts"
import { CHUNK_BYTES, closeQuietly, demandOneName, demandOneNameStill, lookAgain, openToRead } from "./reading.ts"
import { decode, digest, encode } from "./transcoding.ts"

/**
 * An encoding larger than this is stopped: no format needs as much for any input, and a codec that never ends must not fill the disk. A twin
 * that is larger is none.
 */
export const mostBytesFor = (bytes: number): number => 2 * bytes + 64 * 1024

const PERMISSIONS = 0o777n

/**
 * The mode of a twin. With the original's owner and group it is the original's. Without them, group and others get only what
 * every one of owner, group and others had: whoever those are now, they could read the original.
 */
export const modeFor = (original: bigint, ownerKept: boolean): number => {
  const mode = Number(original & PERMISSIONS)
  if (ownerKept) return mode
  const everybody = (mode >> 6) & (mode >> 3) & mode & 0o7
  return (mode & 0o700) | (everybody << 3) | everybody
}

/** What chown(2) says when this process may not, or the user namespace doesn't know the owner. */
const NOT_OURS_TO_GIVE: ReadonlyArray<string> = ["EPERM", "EACCES", "EINVAL", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"]
const NANOSECONDS = 1_000_000_000n
/** What utimes takes. A double holds the seconds of these centuries to a quarter of a microsecond. */
const secondsOf = (nanoseconds: bigint): number =>
  Number(nanoseconds / NANOSECONDS) + Number(nanoseconds % NANOSECONDS) / Number(NANOSECONDS)

/** By descriptor, never by name (CVE-2011-1098). The owner first, since until then nobody else may read. */
const takeAfter = async (handle: FileHandle, original: BigIntStats): Promise<void> => {
  const own = await handle.stat({ bigint: true })
  let ownerKept = own.uid === original.uid && own.gid === original.gid
  if (!ownerKept) {
    try {
      await handle.chown(Number(original.uid), Number(original.gid))
      ownerKept = true
    } catch (cause) {
      if (!NOT_OURS_TO_GIVE.includes(codeOf(cause))) throw cause
    }
  }
  await handle.chmod(modeFor(original.mode, ownerKept))
  await handle.utimes(secondsOf(original.atimeNs), secondsOf(original.mtimeNs))
}

/** Gathers small pieces, and writes whole chunks at explicit positions, so that a short write is simply carried on. */
class Output {
  bytes = 0
  readonly #buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES)
  #used = 0
  readonly #handle: FileHandle
  constructor(handle: FileHandle) {
    this.#handle = handle
  }
  /** Whether it fitted without writing. */
  keep(piece: Uint8Array): boolean {
    if (piece.length > this.#buffer.length - this.#used) return false
    this.#buffer.set(piece, this.#used)
    this.#used += piece.length
    this.bytes += piece.length
    return true
  }
  async write(piece: Uint8Array): Promise<void> {
    for (let from = 0; from < piece.length;) {
      const part = piece.subarray(from, from + this.#buffer.length - this.#used)
      this.keep(part)
      from += part.length
      if (this.#used === this.#buffer.length) await this.flush()
    }
  }
  async flush(): Promise<void> {
    const start = this.bytes - this.#used
    for (let from = 0; from < this.#used;) {
      const { bytesWritten } = await this.#handle.write(this.#buffer, from, this.#used - from, start + from)
      if (bytesWritten === 0) throw new Error("nothing was written, and no error was given")
      from += bytesWritten
    }
    this.#used = 0
  }
}

interface Temporary {
  readonly handle: FileHandle
  readonly path: string
  readonly name: string
  readonly seen: FileSeen
}

/** The file that is written to. It is gone when the scope ends, unless it has another name by then. */
const openTemporary = (directory: OpenDirectory, path: string): Effect.Effect<Temporary, LogFilesError, Scope.Scope> =>
  Effect.acquireRelease(
    attempt("compress", path, async () => {
      const name = nameIn("compress", directory, path)
      const handle = await promises.open(directory.at(name), CREATE | constants.O_WRONLY, PRIVATE)
      try {
        return { handle, path, name, seen: seenOf(path, await handle.stat({ bigint: true })) }
      } catch (cause) {
        await handle.close()
        throw cause
      }
    }),
    ({ handle, name, seen }) =>
      Effect.andThen(
        closeQuietly(handle),
        Effect.promise(() => discard(directory, name, seen)),
      ),
  )

/** `LogFiles.compress`. */
export const compress = (
  directory: OpenDirectory,
  segment: FileSeen,
  to: string,
  codec: Codec,
): Effect.Effect<Compression, LogFilesError> =>
  Effect.gen(function* () {
    const check = (run: () => void): Effect.Effect<void, LogFilesError> =>
      Effect.try({ try: run, catch: failureOf("compress", segment.path) })

    const source = yield* openToRead("compress", directory, segment.path)
    yield* check(() => {
      demandSame("compress", source.seen, segment, true)
      demandOneName("compress", source)
      // Checked again when it counts; now it saves the work.
      if (lookUp(directory, nameIn("compress", directory, to)) !== undefined) {
        throw failure("compress", to, "Exists", "EEXIST: file already exists")
      }
    })
    // One that lies there already is not touched: it may be another rotator's. A pass removes leftovers before it compresses.
    const temporary = yield* openTemporary(directory, besideOf(segment.path, nameOf(segment.path) + TEMPORARY_SUFFIX))

    const output = new Output(temporary.handle)
    const mostBytes = mostBytesFor(source.seen.bytes)
    const original = yield* encode("compress", source, codec, (piece) => {
      if (output.bytes + piece.length > mostBytes) {
        const detail = `the codec ${codec.id} failed: it makes more than ${mostBytes} bytes of ${source.seen.bytes}`
        return Effect.fail(failure("compress", segment.path, "Codec", detail))
      }
      return output.keep(piece) ? Effect.void : attempt("compress", temporary.path, () => output.write(piece))
    })
    if (output.bytes === 0 && original.bytes > 0) {
      return yield* failure("compress", segment.path, "Codec", `the codec ${codec.id} failed: it made nothing`)
    }
    yield* attempt("compress", temporary.path, async () => {
      await output.flush()
      await takeAfter(temporary.handle, source.stats)
      await temporary.handle.sync()
      await temporary.handle.close()
    })

    const written = yield* openToRead("compress", directory, temporary.path)
    yield* check(() => demandSame("compress", written.seen, temporary.seen, false))
    const decoded = yield* decode("compress", written, codec, original.bytes)
    const proven = decoded.decoded && decoded.bytes === original.bytes && decoded.crc32 === original.crc32
    if (!proven) {
      const why = decoded.decoded ? `${decoded.bytes} bytes, not the same ones` : decoded.why
      const detail = `what the codec ${codec.id} made of its ${original.bytes} bytes doesn't decode to them: ${why}`
      return yield* failure("compress", segment.path, "Corrupt", detail)
    }

    const seen = yield* lookAgain("compress", source)
    yield* check(() => {
      demandSame("compress", seen, source.seen, true)
      demandOneNameStill("compress", directory, source)
    })
    yield* attempt("compress", segment.path, async () => {
      // Nobody else may have synced the original. A power cut that left it shorter than a twin that is durable would make the twin the wrong one of
      // the two, and the twin is what goes then.
      await source.handle.sync()
      await moveTo("compress", directory, temporary.seen, to)
      await syncDirectory(directory).catch((cause: unknown) => {
        throw failureOf("compress", segment.path, `the finished file lies at ${to}`)(cause)
      })
    })
    return { source: seen, bytesIn: original.bytes, bytesOut: output.bytes }
  }).pipe(Effect.scoped)

/**
 * `LogFiles.matches`. Whoever made the twin may never have synced it (the kubelet doesn't), and on the strength of this answer the
 * original goes: so before it is `true`, the twin is durable.
 */
export const matches = (
  directory: OpenDirectory,
  twin: FileSeen,
  original: FileSeen,
  codec: Codec,
): Effect.Effect<boolean, LogFilesError> =>
  Effect.gen(function* () {
    const packed = yield* openToRead("matches", directory, twin.path)
    const plain = yield* openToRead("matches", directory, original.path)
    const check = (run: () => void): Effect.Effect<void, LogFilesError> =>
      Effect.try({ try: run, catch: failureOf("matches", original.path) })
    yield* check(() => {
      demandSame("matches", packed.seen, twin, false)
      demandSame("matches", plain.seen, original, false)
      // A file can't be proof of itself.
      if (packed.seen.identity === plain.seen.identity) {
        throw failure("matches", twin.path, "Changed", `it is the same file as ${original.path}`)
      }
      // Root gives a twin its original's owner: in a directory for everybody, one of the two was laid there to have the other removed.
      if (process.geteuid?.() === 0 && packed.stats.uid !== plain.stats.uid) {
        const detail = `it belongs to user ${packed.stats.uid}, and what it should be a twin of to user ${plain.stats.uid}; one of them was put there, and neither is taken for a leftover`
        throw failure("matches", twin.path, "Disputed", detail)
      }
      // The answer would tell whoever made both names whether a file that they may not read holds what they guess.
      demandOneName("matches", plain)
    })
    // A name of a file from elsewhere, which others may change, and which isn't to be read here: no proof, whatever it holds.
    if (packed.stats.nlink > 1n) return false
    // A bomb is told by what it decodes to; this tells one that decodes to little or nothing, for hours.
    if (packed.seen.bytes > mostBytesFor(plain.seen.bytes)) return false
    const decoded = yield* decode("matches", packed, codec, plain.seen.bytes)
    if (!decoded.decoded || decoded.bytes !== plain.seen.bytes) return false
    const { crc32 } = yield* digest("matches", plain)
    const seen = yield* lookAgain("matches", plain)
    yield* check(() => {
      demandSame("matches", seen, plain.seen, true)
      demandOneNameStill("matches", directory, plain)
    })
    if (crc32 !== decoded.crc32) return false
    yield* attempt("matches", twin.path, async () => {
      await packed.handle.sync()
      await syncDirectory(directory)
    })
    return true
  }).pipe(Effect.scoped)
