/**
 * Small file systems of a test's own, on a file or in memory, and what befalls them: filled up, remounted, copied as a power cut would
 * leave them. Each is unmounted and removed when its test ends, whatever became of the test.
 */
import { execFileSync } from "node:child_process"
import {
  closeSync,
  constants,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  realpathSync,
  rmSync,
  statfsSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"
import { onTestFinished } from "vitest"

/** Room for every test here; no image may take more of the machine's own disk. */
const MAX_IMAGE_KIB = 64 * 1024
/** A copy of an image that the kernel goes on writing to is none; it is never busy for long. */
const COPIES_AT_MOST = 50

const run = (program: string, ...rest: ReadonlyArray<string>): string =>
  execFileSync(program, rest, { stdio: ["ignore", "pipe", "pipe"], encoding: "utf8" })

/** A folder that is gone when the test is over. */
export const scratchFolder = (): string => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "cordwood-disk-")))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }))
  return folder
}

export interface ImageOptions {
  readonly kib: number
  readonly blockBytes?: 1024 | 4096
  readonly inodes?: number
  /** Of mount. */
  readonly options?: ReadonlyArray<string>
}

export class Disk {
  /** Where it is mounted. */
  readonly at: string
  readonly blockBytes: number
  #mounted = true
  readonly #unmountAtExit = (): void => this.unmount()

  private constructor(at: string) {
    this.at = at
    this.blockBytes = statfsSync(at).bsize
    // Also where the test's process is stopped half way.
    process.once("exit", this.#unmountAtExit)
    onTestFinished(() => this.unmount())
  }

  static #mount(scratch: string, ...rest: ReadonlyArray<string>): Disk {
    return Disk.#mountAt(mkdtempSync(join(scratch, "mounted-")), ...rest)
  }
  static #mountAt(at: string, ...rest: ReadonlyArray<string>): Disk {
    run("mount", ...rest, at)
    return new Disk(at)
  }

  /** In memory. */
  static tmpfs(scratch: string, kib: number): Disk {
    return Disk.#mount(scratch, "-t", "tmpfs", "-o", `size=${kib}k,mode=0755`, "cordwood-test")
  }

  /** A new file system on a file, `image`, through a loop device. */
  static ext4(
    scratch: string,
    { blockBytes = 4096, inodes, kib, options = [] }: ImageOptions,
  ): Disk & { readonly image: string } {
    if (kib > MAX_IMAGE_KIB) throw new Error(`an image of ${kib} KiB is larger than ${MAX_IMAGE_KIB}`)
    const image = join(mkdtempSync(join(scratch, "image-")), "disk.img")
    writeFileSync(image, "")
    truncateSync(image, kib * 1024)
    const count = inodes === undefined ? [] : ["-N", String(inodes)]
    // No share of the disk for root alone: these tests are root. No lazy work: what the kernel writes is what was asked of it.
    const setting = ["-m", "0", "-b", String(blockBytes), "-E", "lazy_itable_init=0,lazy_journal_init=0"]
    run("mkfs.ext4", "-q", "-F", ...setting, ...count, image)
    const disk = Disk.#mount(scratch, "-t", "ext4", "-o", ["loop", ...options].join(","), image)
    return Object.assign(disk, { image })
  }

  /** The file system that is on an image already, at a folder where another was; mounting replays its journal. */
  static ofImage(image: string, at: string): Disk {
    return Disk.#mountAt(at, "-t", "ext4", "-o", "loop", image)
  }

  /** A second way in to a folder of this disk, with options of its own. */
  bound(scratch: string, folder: string): Disk {
    return Disk.#mount(scratch, "--bind", folder)
  }

  folder(name: string): string {
    const path = join(this.at, name)
    mkdirSync(path, { recursive: true })
    return path
  }

  remount(options: string): void {
    run("mount", "-o", `remount,${options}`, this.at)
  }

  unmount(): void {
    process.removeListener("exit", this.#unmountAtExit)
    if (!this.#mounted) return
    this.#mounted = false
    try {
      run("umount", this.at)
    } catch {
      // A process of a test that failed may still be in it. The loop device goes with the mount.
      run("umount", "--lazy", this.at)
    }
  }

  freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.at)
    return bavail * bsize
  }

  /** Takes all room but so much. What it returns gives it back. */
  fill(leaveBytes: number): () => void {
    const path = join(this.at, "filler")
    const file = openSync(path, constants.O_CREAT | constants.O_WRONLY, 0o600)
    let bytes = 0
    try {
      for (const piece of [Buffer.alloc(64 * 1024), Buffer.alloc(512)]) {
        for (;;) {
          let written = 0
          try {
            written = writeSync(file, piece, 0, piece.length, bytes)
          } catch (error) {
            if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error
          }
          bytes += written
          if (written < piece.length) break
        }
      }
      ftruncateSync(file, Math.max(0, bytes - leaveBytes))
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    return () => rmSync(path)
  }
}

/** Makes files until there is no inode left for one more. What it returns removes them. */
export const useUpInodes = (disk: Disk): (() => void) => {
  const folder = disk.folder("inodes")
  try {
    for (let count = 0; ; count++) writeFileSync(join(folder, String(count)), "")
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error
  }
  return () => rmSync(folder, { recursive: true })
}

/** Has the file system hand all that it has to its device. */
export const syncAll = ({ at }: Disk): void => void run("sync", "--file-system", at)

/** Writes that the loop device of an image has taken so far, and those under way. */
const writesOf = (image: string): string => {
  const loop = run("losetup", "--noheadings", "--output", "NAME", "--associated", image).trim()
  const stat = readFileSync(`/sys/block/${basename(loop)}/stat`, "utf8")
    .trim()
    .split(/\s+/)
  // The kernel's Documentation/block/stat.rst: writes, sectors written, in flight, discards, flushes.
  return [4, 6, 8, 11, 15].map((field) => stat[field]).join(" ")
}

/**
 * An image as a power cut leaves it: just the blocks that its file system has handed to the device by now, in whatever order it did. Null if they
 * are those of `last`. The file must not exist.
 */
export const copyAtPowerCut = (image: string, to: string, last: string | null): string | null => {
  for (let copies = 0; copies < COPIES_AT_MOST; copies++) {
    const before = writesOf(image)
    if (before === last) return null
    // Most of it was never written.
    run("cp", "--sparse=always", image, to)
    if (writesOf(image) === before) return before
  }
  throw new Error(`${image} was never at rest`)
}
