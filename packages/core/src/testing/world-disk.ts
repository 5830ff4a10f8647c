/**
 * The disk of a `World`: names, and the inodes they lead to. Does at once whatever it is told, checks no rule of the port's, and follows no link. Every
 * change of a name goes through here, so that this is where it is known what survives a power cut: what was synced does, by file and by directory;
 * of everything else any part may, in any order.
 */
import { directoryOf, nameOf } from "../log/log.ts"
import type { Entry, FileSeen } from "../log/snapshot.ts"

/** What is known of a file beside its bytes. */
export interface Attributes {
  readonly kind: Entry["kind"]
  /** Permissions. */
  readonly mode: number
  /** Milliseconds since 1970; of a directory, when a name in it last changed. */
  readonly modifiedMs: number
}
/** A file, whatever it is called. `bytes` are replaced and never changed in place, so that they can be held without a copy. */
export interface Inode {
  readonly id: number
  readonly kind: Entry["kind"]
  bytes: Uint8Array
  /** The bytes that a power cut leaves whatever happens: those of the last sync. */
  synced: Uint8Array
  mode: number
  modifiedMs: number
}

/** What became of a name. `lost`: the file that had it and has it no more, if another took its place or the name was taken away. */
export interface Change {
  readonly path: string
  readonly lost: Inode
  /** Null: the name is gone. */
  readonly by: Inode | null
  /** How many bytes of it a power cut just before would have left at the least. */
  readonly durableBytes: number
}
/** A change of names that isn't durable yet: all of it survives a power cut, or nothing. */
type Pending = ReadonlyArray<{ readonly name: string; readonly inode: Inode | null }>
interface Directory {
  readonly names: Set<string>
  readonly durable: Map<string, Inode>
  pending: Array<Pending>
}

const DIRECTORY_MODE = 0o755
const NOTHING = new Uint8Array()
/** 1 TiB. */
const DISK_BYTES = 2 ** 40

export const identityOf = ({ id }: Inode): string => `1:${id}`

export const seenOf = (path: string, inode: Inode): FileSeen => ({
  path,
  bytes: inode.bytes.length,
  modifiedMs: inode.modifiedMs,
  identity: identityOf(inode),
})

export class Disk {
  readonly #inodes = new Map<string, Inode>()
  /** By path. */
  readonly #directories = new Map<string, Directory>()
  #lastId = 0
  capacityBytes: number = DISK_BYTES
  /** Told of every file that loses a name, once it has. */
  changed: (change: Change) => void = () => undefined

  constructor() {
    this.#name("/", this.#make(NOTHING, { kind: "directory", mode: DIRECTORY_MODE, modifiedMs: 0 }))
  }

  at(path: string): Inode | undefined {
    return this.#inodes.get(path)
  }
  get freeBytes(): number {
    const used = [...new Set(this.#inodes.values())].reduce((sum, { bytes }) => sum + bytes.length, 0)
    return Math.max(0, this.capacityBytes - used)
  }
  /** All paths, sorted, directories among them. */
  paths(): ReadonlyArray<string> {
    return [...this.#inodes.keys()].toSorted()
  }
  /** The names in a directory, sorted; none if there is no directory. */
  namesIn(directory: string): ReadonlyArray<string> {
    return [...(this.#directories.get(directory)?.names ?? [])].toSorted()
  }

  /** A new file; whatever has the name loses it. Directories above it are made as needed. */
  create(path: string, bytes: Uint8Array, attributes: Attributes, nowMs: number): Inode {
    this.#enter(path, nowMs)
    const inode = this.#make(bytes, attributes)
    this.#name(path, inode)
    this.#pend(directoryOf(path), [{ name: nameOf(path), inode }])
    return inode
  }
  link(inode: Inode, path: string, nowMs: number): void {
    this.#enter(path, nowMs)
    this.#name(path, inode)
    this.#pend(directoryOf(path), [{ name: nameOf(path), inode }])
  }
  unlink(path: string, nowMs: number): void {
    this.#unname(path, nowMs)
    this.#pend(directoryOf(path), [{ name: nameOf(path), inode: null }])
  }
  /** A rename: within one directory, a power cut leaves both of what it does or nothing. Whatever has the new name loses it. */
  move(from: string, to: string, nowMs: number): void {
    const inode = this.#inodes.get(from)
    if (inode === undefined) throw new Error(`nothing at ${from}`)
    this.#enter(to, nowMs)
    this.#unname(from, nowMs, false)
    this.#name(to, inode)
    const changes = [
      { name: nameOf(from), inode: null },
      { name: nameOf(to), inode },
    ]
    if (directoryOf(from) === directoryOf(to)) return this.#pend(directoryOf(from), changes)
    this.#pend(directoryOf(from), changes.slice(0, 1))
    this.#pend(directoryOf(to), changes.slice(1))
  }

  /** The names in a directory are durable. */
  syncDirectory(path: string): void {
    const directory = this.#directories.get(path)
    if (directory === undefined) return
    for (const change of directory.pending) applyTo(directory.durable, change)
    directory.pending = []
  }
  /** As the kernel does by itself, now and then: everything is durable. */
  syncAll(): void {
    for (const path of this.#directories.keys()) this.syncDirectory(path)
    for (const inode of this.#inodes.values()) inode.synced = inode.bytes
  }
  /**
   * What a power cut leaves. `choose` is asked for a whole number from 0 up to, and not including, its argument: of each change of names that isn't
   * durable whether it survives (1), of each file how many of the bytes that were appended since its last sync do.
   */
  cutPower(choose: (below: number) => number): void {
    for (const [path, directory] of this.#directories) {
      // Changes of one name keep their order, as it is one entry on the disk; those of others may overtake them.
      const undone = new Set<string>()
      for (const change of directory.pending) {
        if (choose(2) === 1 && !change.some(({ name }) => undone.has(name))) applyTo(directory.durable, change)
        else for (const { name } of change) undone.add(name)
      }
      directory.pending = []
      for (const name of directory.names) if (!directory.durable.has(name)) this.#inodes.delete(pathIn(path, name))
      directory.names.clear()
      for (const [name, inode] of directory.durable) {
        directory.names.add(name)
        this.#inodes.set(pathIn(path, name), inode)
      }
    }
    for (const inode of new Set(this.#inodes.values())) {
      if (inode.bytes !== inode.synced) {
        const { length } = inode.synced
        const isAppended = inode.bytes.length >= length && inode.synced.every((byte, at) => byte === inode.bytes[at])
        inode.bytes = isAppended ? inode.bytes.slice(0, length + choose(inode.bytes.length - length + 1)) : inode.synced
      }
      inode.synced = inode.bytes
    }
  }
  /** Whether the name leads to its file whatever a power cut leaves. */
  isDurable(path: string): boolean {
    const directory = this.#directories.get(directoryOf(path))
    const inode = this.#inodes.get(path)
    const name = nameOf(path)
    return (
      inode !== undefined &&
      directory?.durable.get(name) === inode &&
      !directory.pending.some((changes) => changes.some((change) => change.name === name))
    )
  }
  /** Whether the file at the path has some name in its directory whatever a power cut leaves: a rename takes none away. */
  survives(path: string): boolean {
    const directory = this.#directories.get(directoryOf(path))
    const inode = this.#inodes.get(path)
    if (directory === undefined || inode === undefined) return false
    return [...directory.durable].some(
      ([name, held]) =>
        held === inode &&
        directory.pending.every(
          (changes) =>
            !changes.some((change) => change.name === name) || changes.some((change) => change.inode === inode),
        ),
    )
  }

  #make(bytes: Uint8Array, attributes: Attributes): Inode {
    this.#lastId += 1
    return { id: this.#lastId, bytes, synced: NOTHING, ...attributes }
  }
  #name(path: string, inode: Inode): void {
    const lost = this.#inodes.get(path)
    const durableBytes = lost !== undefined && this.survives(path) ? lost.synced.length : 0
    this.#inodes.set(path, inode)
    if (inode.kind === "directory") {
      this.#directories.set(path, { names: new Set(), durable: new Map(), pending: [] })
    }
    if (lost !== undefined && lost !== inode) this.changed({ path, lost, by: inode, durableBytes })
  }
  #unname(path: string, nowMs: number, isTold = true): void {
    const directory = directoryOf(path)
    const lost = this.#inodes.get(path)
    const durableBytes = lost !== undefined && this.survives(path) ? lost.synced.length : 0
    this.#inodes.delete(path)
    this.#directories.get(directory)?.names.delete(nameOf(path))
    this.#touch(directory, nowMs)
    if (isTold && lost !== undefined) this.changed({ path, lost, by: null, durableBytes })
  }
  #enter(path: string, nowMs: number): void {
    const directory = directoryOf(path)
    if (!this.#inodes.has(directory)) {
      this.create(directory, NOTHING, { kind: "directory", mode: DIRECTORY_MODE, modifiedMs: nowMs }, nowMs)
      // Who made it made it long ago, as far as power cuts go.
      this.syncDirectory(directoryOf(directory))
    }
    const entered = this.#directories.get(directory)
    if (entered === undefined) throw new Error(`${directory} is no directory`)
    entered.names.add(nameOf(path))
    this.#touch(directory, nowMs)
  }
  #pend(path: string, change: Pending): void {
    this.#directories.get(path)?.pending.push(change)
  }
  #touch(directory: string, nowMs: number): void {
    const inode = this.#inodes.get(directory)
    if (inode !== undefined) inode.modifiedMs = nowMs
  }
}

const pathIn = (directory: string, name: string): string => `${directory === "/" ? "" : directory}/${name}`

const applyTo = (names: Map<string, Inode>, change: Pending): void => {
  for (const { inode, name } of change) {
    if (inode === null) names.delete(name)
    else names.set(name, inode)
  }
}
