// A real disk for the tests of LogFiles: scratch directories, the suite's harness, mounts, and codecs. Asserts nothing.
import { execFileSync } from "node:child_process"
import fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Readable, type Transform } from "node:stream"
import { pipeline } from "node:stream/promises"
import { createGunzip, createGzip } from "node:zlib"
import type { Codec, FileSeen } from "@cordwood/core"
import type { LogFilesHarness } from "@cordwood/core/testing"
import { Effect } from "effect"

export const makeScratch = (): string => fs.realpathSync(fs.mkdtempSync(join(tmpdir(), "cordwood-log-files-")))
export const removeScratch = (path: string): void => fs.rmSync(path, { recursive: true, force: true })

const lstat = (path: string): fs.Stats | undefined => fs.lstatSync(path, { throwIfNoEntry: false })

export const harnessIn = (directory: string): LogFilesHarness => ({
  directory,
  write: (path, bytes, options = {}) =>
    Effect.sync(() => {
      fs.writeFileSync(path, bytes)
      fs.chmodSync(path, options.mode ?? 0o640)
      if (options.modifiedMs !== undefined) fs.utimesSync(path, options.modifiedMs / 1000, options.modifiedMs / 1000)
    }),
  append: (path, bytes) => Effect.sync(() => fs.appendFileSync(path, bytes)),
  read: (path) => Effect.sync(() => (lstat(path)?.isFile() === true ? new Uint8Array(fs.readFileSync(path)) : null)),
  unlink: (path) => Effect.sync(() => fs.unlinkSync(path)),
  rename: (from, to) => Effect.sync(() => fs.renameSync(from, to)),
  symlink: (target, path) => Effect.sync(() => fs.symlinkSync(target, path)),
  makeDirectory: (path) => Effect.sync(() => void fs.mkdirSync(path)),
  names: (path) => Effect.sync(() => fs.readdirSync(path).toSorted()),
  attributes: (path) =>
    Effect.sync(() => {
      const { mode, mtimeMs } = fs.lstatSync(path)
      return { mode: mode & 0o7777, modifiedMs: mtimeMs }
    }),
})

/** What lies in a directory: names, and the text of the files. */
export const contentsOf = (directory: string): Readonly<Record<string, string>> =>
  Object.fromEntries(
    fs
      .readdirSync(directory)
      .toSorted()
      .map((name) => {
        const stats = fs.lstatSync(join(directory, name))
        if (stats.isSymbolicLink()) return [name, `-> ${fs.readlinkSync(join(directory, name))}`]
        return [name, stats.isFile() ? fs.readFileSync(join(directory, name), "utf8") : "(no file)"]
      }),
  )

export const seenAt = (path: string): FileSeen => {
  const { dev, ino, mtimeNs, size } = fs.lstatSync(path, { bigint: true })
  return { path, bytes: Number(size), modifiedMs: Number(mtimeNs) / 1e6, identity: `${dev}:${ino}` }
}

/** Paths that this process holds open in a directory or below. */
export const openBelow = (directory: string): ReadonlyArray<string> =>
  fs.readdirSync("/proc/self/fd").flatMap((descriptor) => {
    try {
      const path = fs.readlinkSync(`/proc/self/fd/${descriptor}`)
      return path === directory || path.startsWith(`${directory}/`) ? [path] : []
    } catch {
      return []
    }
  })

/** Why a mount isn't possible here, or null. */
export const mountProblem = (): string | null => {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return "mounting needs root on Linux"
  const at = makeScratch()
  try {
    const mount = mountTmpfs(at, "size=64k")
    mount.unmount()
    return null
  } catch (cause) {
    return `mounting isn't permitted here: ${String(cause)}`
  } finally {
    removeScratch(at)
  }
}

const run = (command: string, args: ReadonlyArray<string>): void => {
  execFileSync(command, args, { stdio: ["ignore", "ignore", "pipe"] })
}
export interface Mounted {
  readonly remount: (options: string) => void
  readonly unmount: () => void
}
const mounted = (at: string): Mounted => ({
  remount: (options) => run("mount", ["-o", `remount,${options}`, at]),
  unmount: () => run("umount", [at]),
})
export const mountTmpfs = (at: string, options: string): Mounted => {
  run("mount", ["-t", "tmpfs", "-o", options, "cordwood-test", at])
  return mounted(at)
}
export const bindMount = (from: string, at: string): Mounted => {
  run("mount", ["--bind", from, at])
  return mounted(at)
}

/** Fills the file system that `path` is to lie on; returns how many bytes that took. */
export const fillUp = (path: string): number => {
  const descriptor = fs.openSync(path, "w")
  try {
    for (let bytes = 0; ;) {
      try {
        bytes += fs.writeSync(descriptor, Buffer.alloc(4096))
      } catch {
        return bytes
      }
    }
  } finally {
    fs.closeSync(descriptor)
  }
}

const through = async function* (input: AsyncIterable<Uint8Array>, stream: Transform): AsyncIterable<Uint8Array> {
  const finished = pipeline(Readable.from(input), stream)
  // Told of below, where somebody is waiting; here it must only not be unhandled.
  finished.catch(() => undefined)
  try {
    for await (const chunk of stream) yield chunk as Uint8Array
    await finished
  } finally {
    stream.destroy()
  }
}
/** The gzip format as any codec would make it of node:zlib; not the plugin. */
export const gzip: Codec = {
  id: "gzip",
  suffix: ".gz",
  encode: (input) => through(input, createGzip({ level: 1 })),
  decode: (input) => through(input, createGunzip()),
}
