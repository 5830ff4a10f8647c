/**
 * A log's directory, held open while something is done in it. Where the kernel lets us (Linux, through /proc/self/fd), every act is
 * relative to the open directory, so that one swapped for a symbolic link between look and act leads nowhere else
 * (logrotten, CVE-2016-1247). Elsewhere plain paths must do, and only the directory itself is checked for being a link.
 * The directories above it may be links, as /var/log is one on many hosts; see `demandOwnWay` for whose.
 */
import {
  type BigIntStats,
  closeSync,
  constants,
  fstatSync,
  fsync,
  lstatSync,
  openSync,
  readlinkSync,
  statSync,
} from "node:fs"
import { directoryOf, type LogFilesError, nameOf } from "@cordwood/core"
import { Effect } from "effect"
import { codeOf, failure, failureOf } from "./failure.ts"

export interface OpenDirectory {
  readonly path: string
  readonly descriptor: number
  /** Whether `at` leads into the open directory itself, whatever lies at its path by now. */
  readonly anchored: boolean
  /** The path to give to the kernel for a name in this directory. */
  readonly at: (name: string) => string
}

const OPEN_DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW

/** Linux's, which Node doesn't name: what is opened is the name alone. Neither does it read, nor wake a pipe's other end, nor ask for more rights. */
export const O_PATH = 0o10000000

/** What the kernel takes for the file that is open. */
export const anchorOf = (descriptor: number): string => `/proc/self/fd/${descriptor}`

/** Whether `/proc/self/fd/<n>/` leads into the directory that is open as `n`: not where there is no /proc. */
export const canAnchor = (): boolean => {
  if (process.platform !== "linux") return false
  let descriptor = -1
  try {
    descriptor = openSync("/", OPEN_DIRECTORY)
    const open = fstatSync(descriptor)
    const reached = statSync(`${anchorOf(descriptor)}/.`)
    return open.dev === reached.dev && open.ino === reached.ino
  } catch {
    return false
  } finally {
    if (descriptor !== -1) closeSync(descriptor)
  }
}

const open = (op: string, file: string, anchored: boolean): OpenDirectory => {
  const path = directoryOf(file)
  if (!path.startsWith("/")) throw failure(op, file, "Other", "not an absolute path")
  try {
    const descriptor = openSync(path, OPEN_DIRECTORY)
    try {
      if (anchored) demandOwnWay(op, file, path, descriptor)
    } catch (cause) {
      closeSync(descriptor)
      throw cause
    }
    const prefix = anchored ? anchorOf(descriptor) : path
    return { path, descriptor, anchored, at: (name) => `${prefix}/${name}` }
  } catch (cause) {
    const link = ["ENOTDIR", "ELOOP"].includes(codeOf(cause)) && isLink(path)
    if (!link) throw cause
    const detail = `${path} is a symbolic link, and none is followed; name the directory it leads to`
    throw failure(op, file, "NotRegular", detail)
  }
}

/** As many as Linux follows. */
const MAX_LINKS = 40

/**
 * Throws if a link above the directory may be a trap. Root's links, and this process's own, are followed; those of another user only to a directory
 * of the same user's, where they could do by themselves whatever is done there (systemd's rule for paths that others may change,
 * CHASE_SAFE). So nobody whose directories a pattern names can point one of them at what isn't theirs, also between look and act.
 * Whoever is root in a container that may write above the log directories can: their links are root's.
 */
const demandOwnWay = (op: string, file: string, path: string, descriptor: number): void => {
  // What the kernel calls the directory: the path itself where there was no link on the way, which is nearly always.
  if (readlinkSync(anchorOf(descriptor)) === path) return
  const opened = fstatSync(descriptor, { bigint: true })
  const { owners, stats } = follow(op, file, path)
  // What was checked must be what was opened.
  if (stats.dev !== opened.dev || stats.ino !== opened.ino) {
    throw failure(op, file, "Changed", `${path} was replaced while it was being opened`)
  }
  const own = BigInt(process.geteuid?.() ?? 0)
  for (const owner of owners) {
    if (owner === 0n || owner === own || owner === stats.uid) continue
    const detail = `${path} leads through a symbolic link of user ${owner} to a directory of user ${stats.uid}; such a link is followed only to what is its owner's`
    throw failure(op, file, "NotRegular", detail)
  }
}

/** Goes a path part by part, as the kernel would, and tells the owners of the links on it and where it ends. */
const follow = (
  op: string,
  file: string,
  path: string,
): { readonly owners: ReadonlySet<bigint>; readonly stats: BigIntStats } => {
  const owners = new Set<bigint>()
  let parts = partsOf(path)
  let links = 0
  let at = openSync("/", O_PATH)
  try {
    for (let part = parts.shift(); part !== undefined; part = parts.shift()) {
      const place = `${anchorOf(at)}/${part}`
      const next = openSync(place, O_PATH | constants.O_NOFOLLOW)
      const stats = fstatSync(next, { bigint: true })
      if (!stats.isSymbolicLink()) {
        closeSync(at)
        at = next
        continue
      }
      closeSync(next)
      const target = targetOf(place, stats)
      if (target === null) {
        throw failure(op, file, "Changed", `a symbolic link on the way to ${path} was replaced meanwhile`)
      }
      links += 1
      if (links > MAX_LINKS) throw failure(op, file, "NotRegular", `more than ${MAX_LINKS} links lead to ${path}`)
      owners.add(stats.uid)
      parts = [...partsOf(target), ...parts]
      if (target.startsWith("/")) {
        closeSync(at)
        at = openSync("/", O_PATH)
      }
    }
    return { owners, stats: fstatSync(at, { bigint: true }) }
  } finally {
    closeSync(at)
  }
}
/** Where the very link leads that was looked at; null if another one lies there by now, or none. */
const targetOf = (place: string, { ctimeNs, dev, ino }: BigIntStats): string | null => {
  try {
    const target = readlinkSync(place)
    const after = lstatSync(place, { bigint: true })
    return after.dev === dev && after.ino === ino && after.ctimeNs === ctimeNs ? target : null
  } catch {
    return null
  }
}
const partsOf = (path: string): Array<string> => path.split("/").filter((part) => part !== "" && part !== ".")

const isLink = (path: string): boolean => {
  try {
    return lstatSync(path).isSymbolicLink()
  } catch {
    return false
  }
}

/** Holds the directory of `file` open for the time of `use`. */
export const withDirectory = <A>(
  op: string,
  file: string,
  anchored: boolean,
  use: (directory: OpenDirectory) => Effect.Effect<A, LogFilesError>,
): Effect.Effect<A, LogFilesError> =>
  Effect.acquireUseRelease(
    Effect.try({ try: () => open(op, file, anchored), catch: failureOf(op, file) }),
    use,
    ({ descriptor }) => Effect.sync(() => closeSync(descriptor)),
  )

/** The name of a path that must lie in this very directory; throws the port's error if it doesn't. */
export const nameIn = (op: string, directory: OpenDirectory, path: string): string => {
  const name = nameOf(path)
  if (directoryOf(path) !== directory.path || ["", ".", ".."].includes(name)) {
    throw failure(
      op,
      path,
      "Other",
      `not a file in ${directory.path}, and nothing outside a log's directory is touched`,
    )
  }
  return name
}

/** What fsync says where a file system knows no syncing of directories. */
const NO_DIRECTORY_SYNC: ReadonlyArray<string> = ["EINVAL", "ENOSYS", "ENOTSUP", "EOPNOTSUPP"]

/** Makes the names in the directory durable. */
export const syncDirectory = ({ descriptor }: OpenDirectory): Promise<void> =>
  new Promise((resolve, reject) => {
    fsync(descriptor, (cause) => {
      if (cause === null || NO_DIRECTORY_SYNC.includes(codeOf(cause))) resolve()
      else reject(cause)
    })
  })
