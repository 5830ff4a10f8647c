/**
 * A node in memory: a disk of names and inodes, writers that hold an inode open, and a runtime that has them reopen. It fails and crashes to
 * order, so that tests and simulations can try every point of a pass. Time is the Clock's, so it can be virtual. Its disk passes the suite that
 * the real one passes.
 */
import { Clock, Effect } from "effect"
import { directoryOf, type Log } from "../log/log.ts"
import type { Entry } from "../log/snapshot.ts"
import { type FileReason, LogFilesError, type LogFilesShape } from "../port/log-files.ts"
import { type Source, SourceError } from "../port/source.ts"
import type { Faults, Operation } from "./fault.ts"
import { type Attributes, type Change, Disk, identityOf, type Inode } from "./world-disk.ts"
import { worldFiles } from "./world-files.ts"

/** What containerd gives a container's log. */
const FILE_MODE = 0o640

export interface FileOptions {
  readonly kind?: Entry["kind"]
  readonly mode?: number
  /** When its content last changed, 0 if not given. */
  readonly modifiedMs?: number
  /** When this happens; `modifiedMs` if not given. */
  readonly nowMs?: number
}

export class World {
  readonly #disk = new Disk()
  readonly #writers = new Map<string, Inode>()
  #incarnation = 1
  /** Every operation and source call so far, in order: `setAside /log/0.log`. A long simulation empties it now and then. */
  readonly calls: Array<string> = []
  faults: Faults = () => null
  /** What an operation fails with. */
  failReason: FileReason = "Io"
  /** How long an operation takes before it takes effect, milliseconds: then something else may come between. Nothing does if it is 0. */
  latencyMs: (operation: Operation, path: string) => number = () => 0

  /** Sets how many bytes the disk holds; 1 TiB at first. What is written beyond that is written nevertheless: `faults` make writing fail. */
  resize(bytes: number): void {
    this.#disk.capacityBytes = bytes
  }

  get freeBytes(): number {
    return this.#disk.freeBytes
  }
  /** Has `tell` told of every file that loses a name, by whomever. */
  onChange(tell: (change: Change) => void): void {
    this.#disk.changed = tell
  }

  /** Paths of everything but directories, sorted. */
  paths(): ReadonlyArray<string> {
    return this.#disk.paths().filter((path) => this.#disk.at(path)?.kind !== "directory")
  }
  /** Names of everything in a directory, sorted. */
  namesIn(directory: string): ReadonlyArray<string> {
    return this.#disk.namesIn(directory)
  }
  /** The bytes of a regular file; undefined if there is none. */
  read(path: string): Uint8Array | undefined {
    const inode = this.#disk.at(path)
    return inode?.kind === "file" ? inode.bytes.slice() : undefined
  }
  identityOf(path: string): string | undefined {
    const inode = this.#disk.at(path)
    return inode && identityOf(inode)
  }
  attributesOf(path: string): Attributes | undefined {
    const inode = this.#disk.at(path)
    return inode && { kind: inode.kind, mode: inode.mode, modifiedMs: inode.modifiedMs }
  }

  /** Makes or replaces a file, by a new inode; and the directories above it. A symbolic link's bytes are its target. */
  put(path: string, bytes: Uint8Array, options: FileOptions = {}): void {
    const { kind = "file", mode = FILE_MODE, modifiedMs = 0, nowMs = modifiedMs } = options
    this.#disk.create(path, bytes.slice(), { kind, mode, modifiedMs }, nowMs)
  }
  /** Puts other bytes into a file that is there, as `>` does. */
  rewrite(path: string, bytes: Uint8Array, options: Pick<FileOptions, "mode" | "modifiedMs"> = {}): void {
    const inode = this.#there(path)
    inode.bytes = bytes.slice()
    inode.mode = options.mode ?? inode.mode
    inode.modifiedMs = options.modifiedMs ?? 0
  }
  /** Appends to a file that is there, as `>>` does. */
  append(path: string, bytes: Uint8Array, nowMs = 0): void {
    appendTo(this.#there(path), bytes, nowMs)
  }
  /** Takes a name away, as `rm` does; a writer goes on with the inode. */
  unlink(path: string, nowMs = 0): void {
    this.#there(path)
    this.#disk.unlink(path, nowMs)
  }
  /** Renames, as `mv` does: over whatever has the name. */
  rename(from: string, to: string, nowMs = 0): void {
    this.#there(from)
    this.#disk.move(from, to, nowMs)
  }
  /** Takes a directory away with all that is in it, as `rm -r` does; it doesn't come back. */
  removeDirectory(path: string, nowMs = 0): void {
    for (const name of this.#disk.namesIn(path)) {
      const inner = `${path}/${name}`
      if (this.#disk.at(inner)?.kind === "directory") this.removeDirectory(inner, nowMs)
      else this.#disk.unlink(inner, nowMs)
    }
    this.#disk.unlink(path, nowMs)
    this.#disk.syncDirectory(directoryOf(path))
  }
  /** Makes all that is on the disk durable, as the kernel does by itself now and then. */
  sync(): void {
    this.#disk.syncAll()
  }
  /** How many of a file's bytes a power cut leaves at the least: under this name, and under whichever one it has by then. */
  durableBytes(path: string): { readonly here: number; readonly anywhere: number } {
    const bytes = this.#disk.at(path)?.synced.length ?? 0
    return { here: this.#disk.isDurable(path) ? bytes : 0, anywhere: this.#disk.survives(path) ? bytes : 0 }
  }
  /**
   * Ends the agent, and all writers, and leaves of the disk what a power cut may leave: what was synced, and of the rest what is chosen. `choose` is
   * given the number of ways, and says which, from 0.
   */
  cutPower(choose: (below: number) => number): void {
    this.crash()
    this.#writers.clear()
    this.#disk.cutPower(choose)
  }
  /** A second name for a file. */
  link(from: string, to: string, nowMs = 0): void {
    this.#disk.link(this.#there(from), to, nowMs)
  }

  /** Has the log's writer open its path: the file that is there, or a new one. */
  openWriter(path: string, nowMs = 0): void {
    if (this.#disk.at(path) === undefined) this.put(path, new Uint8Array(), { modifiedMs: nowMs })
    this.#writers.set(path, this.#there(path))
  }
  /** Appends to whatever file the log's writer holds, whatever that is called by now. */
  write(path: string, bytes: Uint8Array, nowMs = 0): void {
    const inode = this.#writers.get(path)
    if (inode === undefined) throw new Error(`no writer at ${path}`)
    appendTo(inode, bytes, nowMs)
  }
  /** Whether the writer holds the file that has the log's name. */
  writerIsHome(path: string): boolean {
    return this.#writers.get(path) === this.#disk.at(path)
  }

  /** Ends the agent that runs now, as SIGKILL does: its operations never return. Ports made afterwards belong to the next one. */
  crash(): void {
    this.#incarnation += 1
  }
  /** Counts the agents that have run here, from 1. */
  get incarnation(): number {
    return this.#incarnation
  }

  #there(path: string): Inode {
    const inode = this.#disk.at(path)
    if (inode === undefined || inode.kind === "directory") throw new Error(`no file at ${path}`)
    return inode
  }

  /** An operation of the agent of this incarnation, with its fault. */
  #operate<A, E>(
    incarnation: number,
    operation: Operation,
    path: string,
    refusal: () => E,
    act: (nowMs: number) => Effect.Effect<A, E>,
  ): Effect.Effect<A, E> {
    const begun = Effect.suspend(() => {
      const waitMs = incarnation === this.#incarnation ? this.latencyMs(operation, path) : 0
      return waitMs > 0 ? Effect.andThen(Effect.sleep(waitMs), Clock.currentTimeMillis) : Clock.currentTimeMillis
    })
    return Effect.flatMap(begun, (nowMs) => {
      if (incarnation !== this.#incarnation) return Effect.never
      this.calls.push(`${operation} ${path}`)
      const fault = this.faults(operation, path)
      if (fault === "before") return Effect.fail(refusal())
      if (fault === "crash-before") {
        this.crash()
        return Effect.never
      }
      return Effect.flatMap(Effect.exit(act(nowMs)), (exit) => {
        // It may have died meanwhile, while a codec was at work.
        if (incarnation !== this.#incarnation) return Effect.never
        if (fault === "crash-after") this.crash()
        if (fault === "crash-after" || fault === "hang") return Effect.never
        return fault === "after" && exit._tag === "Success" ? Effect.fail(refusal()) : exit
      })
    })
  }

  /** The file system port of the agent that runs now. */
  files(): LogFilesShape {
    const incarnation = this.#incarnation
    return worldFiles({
      disk: this.#disk,
      isAlive: () => incarnation === this.#incarnation,
      operate: (operation, path, act) => {
        const [op = operation] = operation.split(".")
        const refusal = (): LogFilesError =>
          new LogFilesError({ op, path, reason: this.failReason, detail: "a fault to order" })
        return this.#operate(incarnation, operation, path, refusal, act)
      },
    })
  }

  /** An act of the agent that runs now, beside the port, with its fault: for programs that go their own way. */
  act<A>(operation: Operation, path: string, does: (nowMs: number) => A): Effect.Effect<A, LogFilesError> {
    const refusal = (): LogFilesError =>
      new LogFilesError({ op: operation, path, reason: this.failReason, detail: "a fault to order" })
    return this.#operate(this.#incarnation, operation, path, refusal, (nowMs) => Effect.sync(() => does(nowMs)))
  }

  /** A source of these logs, whose writers reopen when told; at once, if `reopen` doesn't say otherwise. */
  source(
    logs: () => ReadonlyArray<Log>,
    reopen: (path: string, nowMs: number) => void = (path, nowMs) => this.openWriter(path, nowMs),
  ): Source {
    const incarnation = this.#incarnation
    const refused = (op: "list" | "reopen", target: string) => (): SourceError =>
      new SourceError({ source: "world", op, target, reason: "Unavailable", detail: "a fault to order", hint: "none" })
    return {
      name: "world",
      list: this.#operate(incarnation, "sourceList", "world", refused("list", "world"), () =>
        Effect.sync(() => ({ logs: logs(), problems: [] })),
      ),
      reopen: ({ path }) =>
        this.#operate(incarnation, "reopen", path, refused("reopen", path), (nowMs) =>
          Effect.sync(() => {
            reopen(path, nowMs)
            return "told" as const
          }),
        ),
    }
  }
}

const appendTo = (inode: Inode, bytes: Uint8Array, nowMs: number): void => {
  const grown = new Uint8Array(inode.bytes.length + bytes.length)
  grown.set(inode.bytes)
  grown.set(bytes, inode.bytes.length)
  inode.bytes = grown
  inode.modifiedMs = nowMs
}
