/**
 * The disk of a `World`: names, and the inodes they lead to. Does at once whatever it is told, checks no rule of the port's, and follows no link. Every
 * change of a name or a file goes through here, so that this is where it would be told what survives a power cut and what doesn't.
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
  mode: number
  modifiedMs: number
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
  /** The names in each directory, by the directory's path. */
  readonly #names = new Map<string, Set<string>>()
  #lastId = 0
  capacityBytes: number = DISK_BYTES

  constructor() {
    this.#give("/", NOTHING, { kind: "directory", mode: DIRECTORY_MODE, modifiedMs: 0 })
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
    return [...(this.#names.get(directory) ?? [])].toSorted()
  }

  /** A new file; whatever has the name loses it. Directories above it are made as needed. */
  create(path: string, bytes: Uint8Array, attributes: Attributes, nowMs: number): Inode {
    this.#enter(path, nowMs)
    return this.#give(path, bytes, attributes)
  }
  link(inode: Inode, path: string, nowMs: number): void {
    this.#enter(path, nowMs)
    this.#inodes.set(path, inode)
  }
  unlink(path: string, nowMs: number): void {
    const directory = directoryOf(path)
    this.#inodes.delete(path)
    this.#names.get(directory)?.delete(nameOf(path))
    this.#touch(directory, nowMs)
  }

  #give(path: string, bytes: Uint8Array, attributes: Attributes): Inode {
    this.#lastId += 1
    const inode: Inode = { id: this.#lastId, bytes, ...attributes }
    this.#inodes.set(path, inode)
    if (inode.kind === "directory") this.#names.set(path, new Set())
    return inode
  }
  #enter(path: string, nowMs: number): void {
    const directory = directoryOf(path)
    if (!this.#inodes.has(directory)) {
      this.create(directory, NOTHING, { kind: "directory", mode: DIRECTORY_MODE, modifiedMs: nowMs }, nowMs)
    }
    const names = this.#names.get(directory)
    if (names === undefined) throw new Error(`${directory} is no directory`)
    names.add(nameOf(path))
    this.#touch(directory, nowMs)
  }
  #touch(directory: string, nowMs: number): void {
    const inode = this.#inodes.get(directory)
    if (inode !== undefined) inode.modifiedMs = nowMs
  }
}
