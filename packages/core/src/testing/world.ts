/**
 * A node in memory: a disk of names and inodes, writers that hold an inode open, and a runtime that has them reopen. It fails and crashes to
 * order, so that tests and simulations can try every point of a pass. Time is the Clock's, so it can be virtual.
 */
import { Clock, Effect } from "effect"
import type { Codec } from "../plugin/codec.ts"
import { directoryOf, type Log, nameOf } from "../log/log.ts"
import { TEMPORARY_SUFFIX } from "../log/name.ts"
import type { Entry, FileSeen } from "../log/snapshot.ts"
import { type FileReason, type Glance, LogFilesError, type LogFilesShape } from "../port/log-files.ts"
import { type Source, SourceError } from "../port/source.ts"

/**
 * What happens at an operation. `before` and `after`: it fails, without or with its effect. `crash-…`: the agent is dead from then on, before or
 * after the effect; no operation of that incarnation ever returns. `hang`: takes effect, but never answers.
 */
export type Fault = "before" | "after" | "crash-before" | "crash-after" | "hang" | null
export type Operation =
  | "list"
  | "setAside"
  | "putBack"
  | "remove"
  | "compress"
  | "compress.write"
  | "compress.rename"
  | "matches"
  | "reopen"
  | "sourceList"
/** Asked before every operation; `path` is what it is about. */
export type Faults = (operation: Operation, path: string) => Fault

interface Inode {
  readonly id: number
  kind: Entry["kind"]
  bytes: Uint8Array
  modifiedMs: number
}

export class World {
  readonly #names = new Map<string, Inode>()
  readonly #changed = new Map<string, number>()
  readonly #writers = new Map<string, Inode>()
  #lastInode = 0
  #incarnation = 1
  /** Every operation and source call so far, in order: `setAside /log/0.log`. */
  readonly calls: Array<string> = []
  faults: Faults = () => null
  /** What an operation fails with. */
  failReason: FileReason = "Io"

  /** Paths of all files, sorted. */
  paths(): ReadonlyArray<string> {
    return [...this.#names.keys()].toSorted()
  }
  /** The bytes of a file; undefined if there is none. */
  read(path: string): Uint8Array | undefined {
    return this.#names.get(path)?.bytes.slice()
  }
  identityOf(path: string): string | undefined {
    const inode = this.#names.get(path)
    return inode === undefined ? undefined : `1:${inode.id}`
  }
  /** Makes or replaces a file, by a new inode. */
  put(path: string, bytes: Uint8Array, options: { readonly modifiedMs?: number; readonly kind?: Entry["kind"] } = {}): void {
    const { kind = "file", modifiedMs = 0 } = options
    this.#lastInode += 1
    this.#names.set(path, { id: this.#lastInode, kind, bytes, modifiedMs })
    this.#touch(path, modifiedMs)
  }
  /** Takes a name away, as `rm` does; a writer goes on with the inode. */
  unlink(path: string, nowMs = 0): void {
    this.#names.delete(path)
    this.#touch(path, nowMs)
  }
  /** A second name for a file. */
  link(from: string, to: string): void {
    const inode = this.#names.get(from)
    if (inode !== undefined) this.#names.set(to, inode)
  }
  /** Has the log's writer open its path: the file that is there, or a new one. */
  openWriter(path: string, nowMs = 0): void {
    if (!this.#names.has(path)) this.put(path, new Uint8Array(), { modifiedMs: nowMs })
    const inode = this.#names.get(path)
    if (inode !== undefined) this.#writers.set(path, inode)
  }
  /** Appends to whatever file the log's writer holds, whatever that is called by now. */
  write(path: string, bytes: Uint8Array, nowMs = 0): void {
    const inode = this.#writers.get(path)
    if (inode === undefined) throw new Error(`no writer at ${path}`)
    const grown = new Uint8Array(inode.bytes.length + bytes.length)
    grown.set(inode.bytes)
    grown.set(bytes, inode.bytes.length)
    inode.bytes = grown
    inode.modifiedMs = nowMs
  }
  /** Whether the writer holds the file that has the log's name. */
  writerIsHome(path: string): boolean {
    return this.#writers.get(path) === this.#names.get(path)
  }
  /** Ends the agent that runs now, as SIGKILL does: its operations never return. Ports made afterwards belong to the next one. */
  crash(): void {
    this.#incarnation += 1
  }
  /** Counts the agents that have crashed here, from 1. */
  get incarnation(): number {
    return this.#incarnation
  }

  #touch(path: string, nowMs: number): void {
    this.#changed.set(directoryOf(path), nowMs)
  }

  /** An operation with its fault. The effect takes place at once, or not at all. */
  #operate<A, E>(incarnation: number, operation: Operation, path: string, fail: () => E, act: (nowMs: number) => A): Effect.Effect<A, E> {
    return Effect.flatMap(Clock.currentTimeMillis, (nowMs) => {
      if (incarnation !== this.#incarnation) return Effect.never
      this.calls.push(`${operation} ${path}`)
      const fault = this.faults(operation, path)
      if (fault === "before") return Effect.fail(fail())
      if (fault === "crash-before") {
        this.crash()
        return Effect.never
      }
      const result = Effect.try({ try: () => act(nowMs), catch: (error) => error as E })
      if (fault === null) return result
      return Effect.flatMap(Effect.exit(result), (exit) => {
        if (fault === "crash-after") this.crash()
        if (fault !== "after") return Effect.never
        return exit._tag === "Failure" ? exit : Effect.fail(fail())
      })
    })
  }

  #seen(file: FileSeen, op: string): Inode {
    const inode = this.#names.get(file.path)
    if (inode === undefined) throw failure(op, file.path, "NotFound", "ENOENT: no such file")
    if (inode.kind !== "file") throw failure(op, file.path, "NotRegular", `it is a ${inode.kind}`)
    if (`1:${inode.id}` !== file.identity) throw failure(op, file.path, "Changed", "it is another file than the one that was seen")
    return inode
  }

  /** The file system port of the agent that runs now. */
  files(): LogFilesShape {
    const incarnation = this.#incarnation
    const operate = <A>(op: Operation, path: string, act: (nowMs: number) => A): Effect.Effect<A, LogFilesError> =>
      this.#operate(incarnation, op, path, () => failure(op, path, this.failReason, "a fault to order"), act)
    return {
      glance: (active: string, into: Glance): void => {
        const inode = this.#names.get(active)
        into.bytes = inode === undefined ? -1 : inode.bytes.length
        into.directoryChangedMs = this.#changed.get(directoryOf(active)) ?? -1
      },
      list: (active) =>
        operate("list", active, (takenAtMs) => {
          const directory = directoryOf(active)
          if (!this.#changed.has(directory)) throw failure("list", directory, "NotFound", "ENOENT: no such directory")
          const prefix = `${nameOf(active)}.`
          const entries = [...this.#names].flatMap(([path, inode]): ReadonlyArray<Entry> => {
            const name = nameOf(path)
            if (directoryOf(path) !== directory || (path !== active && !name.startsWith(prefix))) return []
            return [{ name, kind: inode.kind, ...seen(path, inode) }]
          })
          return { entries, takenAtMs }
        }),
      setAside: (active, to) =>
        operate("setAside", active.path, (nowMs) => {
          if (this.#names.has(to)) throw failure("setAside", to, "Exists", "EEXIST: the name is taken")
          const inode = this.#seen(active, "setAside")
          this.#names.delete(active.path)
          this.#names.set(to, inode)
          this.#touch(to, nowMs)
        }),
      putBack: (segment, active) =>
        operate("putBack", active, (nowMs) => {
          const inode = this.#names.get(segment)
          if (inode === undefined) throw failure("putBack", segment, "NotFound", "ENOENT: no such file")
          if (this.#names.has(active)) throw failure("putBack", active, "Exists", "EEXIST: the name is taken")
          this.#names.set(active, inode)
          this.#names.delete(segment)
          this.#touch(active, nowMs)
        }),
      remove: (file, { unchanged }) =>
        operate("remove", file.path, (nowMs) => {
          const inode = this.#seen(file, "remove")
          if (unchanged && inode.bytes.length !== file.bytes) throw failure("remove", file.path, "Changed", "it has grown")
          this.unlink(file.path, nowMs)
          return inode.bytes.length
        }),
      compress: (segment, to, codec) => {
        const temporary = segment.path + TEMPORARY_SUFFIX
        return Effect.gen({ self: this }, function* () {
          const inode = yield* operate("compress", segment.path, () => this.#seen(segment, "compress"))
          const original = inode.bytes.slice()
          const source = seen(segment.path, inode)
          // Half of it first, so that a crash here leaves what a crash leaves.
          const written = yield* through(codec.encode, original, "compress", segment.path)
          yield* operate("compress.write", temporary, (nowMs) => this.put(temporary, written.slice(0, written.length / 2), { modifiedMs: nowMs }))
          const decoded = yield* through(codec.decode, written, "compress", segment.path)
          if (!equal(decoded, original)) return yield* failure("compress", to, "Corrupt", "it doesn't decode to its original")
          if (inode.bytes.length !== original.length) return yield* failure("compress", segment.path, "Changed", "it has grown")
          yield* operate("compress.rename", to, (nowMs) => {
            if (this.#names.has(to)) throw failure("compress", to, "Exists", "EEXIST: the name is taken")
            this.put(to, written, { modifiedMs: inode.modifiedMs })
            this.unlink(temporary, nowMs)
          })
          return { source, bytesIn: original.length, bytesOut: written.length }
        }).pipe(Effect.tapError(() => Effect.sync(() => this.unlink(temporary))))
      },
      matches: (twin, original, codec) =>
        Effect.gen({ self: this }, function* () {
          const [left, right] = yield* operate("matches", twin.path, () => [this.#seen(twin, "matches"), this.#seen(original, "matches")] as const)
          const decoded = yield* Effect.result(through(codec.decode, left.bytes, "matches", twin.path))
          return decoded._tag === "Success" && equal(decoded.success, right.bytes)
        }),
    }
  }

  /** A source of these logs, whose writers reopen when told. */
  source(logs: () => ReadonlyArray<Log>): Source {
    const incarnation = this.#incarnation
    const refused = (op: "list" | "reopen", target: string): SourceError =>
      new SourceError({ source: "world", op, target, reason: "Unavailable", detail: "a fault to order", hint: "none" })
    return {
      name: "world",
      list: this.#operate(incarnation, "sourceList", "world", () => refused("list", "world"), () => ({ logs: logs(), problems: [] })),
      reopen: ({ path }) =>
        this.#operate(incarnation, "reopen", path, () => refused("reopen", path), (nowMs) => {
          this.openWriter(path, nowMs)
          return "told" as const
        }),
    }
  }
}

const failure = (op: string, path: string, reason: FileReason, detail: string): LogFilesError =>
  new LogFilesError({ op, path, reason, detail })

const seen = (path: string, inode: Inode): FileSeen => ({
  path,
  bytes: inode.bytes.length,
  modifiedMs: inode.modifiedMs,
  identity: `1:${inode.id}`,
})

const equal = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && a.every((byte, at) => byte === b[at])

const through = (
  code: Codec["encode"],
  bytes: Uint8Array,
  op: string,
  path: string,
): Effect.Effect<Uint8Array, LogFilesError> =>
  Effect.tryPromise({
    try: async () => {
      const chunks: Array<Uint8Array> = []
      for await (const chunk of code(once(bytes))) chunks.push(chunk)
      const joined = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0))
      let at = 0
      for (const chunk of chunks) {
        joined.set(chunk, at)
        at += chunk.length
      }
      return joined
    },
    catch: (error) => failure(op, path, "Codec", String(error)),
  })
async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

/** A codec for tests, in plain text: every byte after a mark, then the length. What is cut off or bent doesn't decode. */
export const plainCodec: Codec = {
  id: "plain",
  suffix: ".plain",
  encode: async function* (input) {
    let length = 0
    yield Uint8Array.of(MARK)
    for await (const chunk of input) {
      length += chunk.length
      yield chunk
    }
    yield Uint8Array.of(length >>> 24, length >>> 16, length >>> 8, length)
  },
  decode: async function* (input) {
    const chunks: Array<number> = []
    for await (const chunk of input) chunks.push(...chunk)
    const length = chunks.slice(-4).reduce((sum, byte) => sum * 256 + byte, 0)
    if (chunks[0] !== MARK || length !== chunks.length - 5) throw new Error("cut off")
    yield Uint8Array.from(chunks.slice(1, -4))
  },
}
const MARK = 0x50
