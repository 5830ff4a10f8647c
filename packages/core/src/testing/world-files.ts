/**
 * `LogFiles` over the disk of a `World`. Goes the way the real one goes, act by act and sync by sync, so that a crash or a power cut leaves here what
 * it leaves there.
 */
import { Clock, Effect, type Scope } from "effect"
import { directoryOf, nameOf } from "../log/log.ts"
import { TEMPORARY_SUFFIX } from "../log/name.ts"
import type { Entry, FileSeen } from "../log/snapshot.ts"
import type { Codec } from "../plugin/codec.ts"
import { type Compression, LogFilesError, type LogFilesShape } from "../port/log-files.ts"
import type { Operation } from "./fault.ts"
import { decoded, encoded, failure, type OpenFile, readThrough } from "./world-codec.ts"
import { type Disk, type Inode, seenOf } from "./world-disk.ts"

/** What the world lends to the port of one agent. */
export interface Lent {
  readonly disk: Disk
  /** Does `act`, with the fault that is ordered for it. */
  readonly operate: <A>(
    operation: Operation,
    path: string,
    act: (nowMs: number) => Effect.Effect<A, LogFilesError>,
  ) => Effect.Effect<A, LogFilesError>
  /** False once the agent is dead: then it doesn't even tidy up. */
  readonly isAlive: () => boolean
}

/** Nobody but its owner may read a file that isn't finished. */
const PRIVATE = 0o600
const NOTHING = new Uint8Array()

/** What throws the port's error, as an effect that fails with it. Anything else that is thrown is a defect. */
const attempt = <A>(run: () => A): Effect.Effect<A, LogFilesError> =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(run())
    } catch (error) {
      return error instanceof LogFilesError ? Effect.fail(error) : Effect.die(error)
    }
  })

const demandSame = (op: string, now: FileSeen, seen: FileSeen, unchanged: boolean): void => {
  if (now.identity !== seen.identity) throw failure(op, now.path, "Changed", "another file lies there by now")
  if (unchanged && (now.bytes !== seen.bytes || now.modifiedMs !== seen.modifiedMs)) {
    throw failure(op, now.path, "Changed", "it was written to since it was looked at")
  }
}

const isEqual = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, at) => byte === b[at])

const exists = (op: string, path: string): LogFilesError => failure(op, path, "Exists", "EEXIST: file already exists")

export const worldFiles = ({ disk, isAlive, operate }: Lent): LogFilesShape => {
  /** One act, and all of it at once. */
  const act = <A>(operation: Operation, path: string, run: (nowMs: number) => A): Effect.Effect<A, LogFilesError> =>
    operate(operation, path, (nowMs) => attempt(() => run(nowMs)))

  const demandDirectory = (op: string, path: string): string => {
    const directory = directoryOf(path)
    const kind = disk.at(directory)?.kind
    if (kind === "symlink") throw failure(op, path, "NotRegular", `${directory} is a symbolic link`)
    if (kind !== "directory") throw failure(op, path, "NotFound", `ENOENT: no directory ${directory}`)
    return directory
  }
  const demandBeside = (op: string, path: string, to: string): void => {
    if (directoryOf(to) !== directoryOf(path)) {
      throw failure(
        op,
        to,
        "Other",
        `not a file in ${directoryOf(path)}, and nothing outside a log's directory is touched`,
      )
    }
  }
  const fileAt = (op: string, path: string): Inode => {
    demandDirectory(op, path)
    const inode = disk.at(path)
    if (inode === undefined) throw failure(op, path, "NotFound", "ENOENT: no such file")
    if (inode.kind !== "file") throw failure(op, path, "NotRegular", `not a regular file: a ${inode.kind}`)
    return inode
  }
  const open = (op: string, file: FileSeen, unchanged: boolean): OpenFile => {
    const inode = fileAt(op, file.path)
    const seen = seenOf(file.path, inode)
    demandSame(op, seen, file, unchanged)
    return { op, inode, seen, content: inode.bytes }
  }
  /** Makes a file that wasn't there. */
  const createNew = (op: string, path: string, nowMs: number): Inode => {
    if (disk.at(path) !== undefined) throw exists(op, path)
    return disk.create(path, NOTHING, { kind: "file", mode: PRIVATE, modifiedMs: nowMs }, nowMs)
  }
  const syncDirectory = (operation: Operation, path: string): Effect.Effect<void, LogFilesError> =>
    act(operation, path, () => disk.syncDirectory(directoryOf(path)))
  const isStillEmpty = (path: string, inode: Inode): boolean => disk.at(path) === inode && inode.bytes.length === 0
  /** Takes away what was made in vain; a dead agent doesn't. */
  const discard = (path: string, isOurs: () => boolean): Effect.Effect<void> =>
    Effect.map(Clock.currentTimeMillis, (nowMs) => {
      if (isAlive() && isOurs()) disk.unlink(path, nowMs)
    })

  const temporaryFor = (path: string, nowMs: number): Effect.Effect<Inode, LogFilesError, Scope.Scope> =>
    Effect.acquireRelease(
      attempt(() => createNew("compress", path, nowMs)),
      (inode) => discard(path, () => disk.at(path) === inode),
    )

  const compress = (
    segment: FileSeen,
    to: string,
    codec: Codec,
    startedMs: number,
  ): Effect.Effect<Compression, LogFilesError> =>
    Effect.gen(function* () {
      const temporary = segment.path + TEMPORARY_SUFFIX
      const source = yield* attempt(() => {
        const file = open("compress", segment, true)
        demandBeside("compress", segment.path, to)
        if (disk.at(to) !== undefined) throw exists("compress", to)
        return file
      })
      const inode = yield* temporaryFor(temporary, startedMs)
      const output = yield* encoded(source, codec)
      yield* act("compress.write", temporary, (nowMs) => {
        inode.bytes = output.slice(0, output.length / 2)
        inode.modifiedMs = nowMs
      })
      inode.bytes = output
      inode.mode = source.inode.mode
      inode.modifiedMs = source.inode.modifiedMs
      yield* act("compress.sync", temporary, () => {
        inode.synced = inode.bytes
      })

      const written = yield* attempt(() => open("compress", seenOf(temporary, inode), true))
      const back = yield* decoded(written, codec, source.seen.bytes)
      if (back === null || !isEqual(back, source.content)) {
        const detail = `what the codec ${codec.id} made of it doesn't decode to its ${source.seen.bytes} bytes`
        return yield* failure("compress", segment.path, "Corrupt", detail)
      }
      const seen = seenOf(segment.path, source.inode)
      yield* attempt(() => demandSame("compress", seen, source.seen, true))
      yield* act("compress.source", segment.path, () => {
        source.inode.synced = source.inode.bytes
      })
      yield* act("compress.rename", to, (nowMs) => {
        if (disk.at(to) !== undefined) throw exists("compress", to)
        open("compress", written.seen, false)
        disk.move(temporary, to, nowMs)
      })
      yield* syncDirectory("compress.renamed", to)
      return { source: seen, bytesIn: seen.bytes, bytesOut: output.length }
    }).pipe(Effect.scoped)

  return {
    glance: (active, into) => {
      const directory = disk.at(directoryOf(active))
      const file = disk.at(active)
      const isThere = directory?.kind === "directory"
      into.directoryChangedMs = isThere ? directory.modifiedMs : -1
      into.bytes = isThere && file?.kind === "file" ? file.bytes.length : -1
    },
    list: (active) =>
      act("list", active, (takenAtMs) => {
        const directory = demandDirectory("list", active)
        const own = nameOf(active)
        const entries = disk.namesIn(directory).flatMap((name): ReadonlyArray<Entry> => {
          const path = `${directory === "/" ? "" : directory}/${name}`
          const inode = name === own || name.startsWith(`${own}.`) ? disk.at(path) : undefined
          return inode === undefined ? [] : [{ name, kind: inode.kind, ...seenOf(path, inode) }]
        })
        return { entries, takenAtMs }
      }),
    setAside: (active, to) =>
      operate("setAside", active.path, (startedMs) =>
        Effect.gen(function* () {
          const placeholder = yield* attempt(() => {
            open("setAside", active, false)
            demandBeside("setAside", active.path, to)
            return createNew("setAside", to, startedMs)
          })
          yield* act("setAside.reserved", to, (nowMs) => {
            open("setAside", active, false)
            if (!isStillEmpty(to, placeholder)) throw exists("setAside", to)
            disk.move(active.path, to, nowMs)
          }).pipe(Effect.tapError(() => discard(to, () => isStillEmpty(to, placeholder))))
          yield* syncDirectory("setAside.sync", to)
        }),
      ),
    putBack: (segment, active) =>
      operate("putBack", active, (startedMs) =>
        Effect.gen(function* () {
          const inode = yield* attempt(() => {
            const inode = fileAt("putBack", segment)
            demandBeside("putBack", segment, active)
            const there = disk.at(active)
            // Both names are the same file already if an earlier attempt was cut off.
            if (there !== undefined && there !== inode) throw exists("putBack", active)
            disk.link(inode, active, startedMs)
            return inode
          })
          yield* syncDirectory("putBack.sync", active)
          yield* act("putBack.linked", segment, (nowMs) => {
            if (disk.at(segment) !== inode || disk.at(active) !== inode) {
              throw failure("putBack", segment, "Changed", "another file took its place while it was being put back")
            }
            disk.unlink(segment, nowMs)
          })
          yield* syncDirectory("putBack.synced", active)
        }),
      ),
    remove: (file, { unchanged }) =>
      operate("remove", file.path, (nowMs) =>
        Effect.gen(function* () {
          const bytes = yield* attempt(() => {
            const { seen } = open("remove", file, unchanged)
            disk.unlink(file.path, nowMs)
            return seen.bytes
          })
          yield* Effect.ignore(syncDirectory("remove.sync", file.path))
          return bytes
        }),
      ),
    compress: (segment, to, codec) =>
      operate("compress", segment.path, (startedMs) => compress(segment, to, codec, startedMs)),
    matches: (twin, original, codec) =>
      operate("matches", twin.path, () =>
        Effect.gen(function* () {
          const [packed, plain] = yield* attempt(() => {
            const files = [open("matches", twin, false), open("matches", original, false)] as const
            // A file can't be proof of itself.
            if (files[0].inode === files[1].inode) {
              throw failure("matches", twin.path, "Changed", `it is the same file as ${original.path}`)
            }
            return files
          })
          const back = yield* decoded(packed, codec, plain.seen.bytes)
          if (back?.length !== plain.seen.bytes) return false
          yield* attempt(() => demandSame("matches", seenOf(original.path, plain.inode), plain.seen, true))
          if (!isEqual(back, plain.content)) return false
          yield* act("matches.sync", twin.path, () => {
            packed.inode.synced = packed.inode.bytes
            disk.syncDirectory(directoryOf(twin.path))
          })
          return true
        }),
      ),
    read: (file, codec) => readThrough(() => open("read", file, true), codec),
    free: (active) => act("free", active, () => disk.freeBytes),
  }
}
