/**
 * A log's directory, held open while something is done in it. Where the kernel lets us (Linux, through /proc/self/fd), every act is
 * relative to the open directory, so that one swapped for a symbolic link between look and act leads nowhere else
 * (logrotten, CVE-2016-1247). Elsewhere plain paths must do, and only the directory itself is checked for being a link.
 * The directories above it may be links: /var/log is one on many hosts.
 */
import { closeSync, constants, fstatSync, fsync, lstatSync, openSync, statSync } from "node:fs"
import { directoryOf, type LogFilesError, nameOf } from "@cordwood/core"
import { Effect } from "effect"
import { codeOf, failure, failureOf } from "./failure.ts"

export interface OpenDirectory {
  readonly path: string
  readonly descriptor: number
  /** The path to give to the kernel for a name in this directory. */
  readonly at: (name: string) => string
}

const OPEN_DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW

const anchorOf = (descriptor: number): string => `/proc/self/fd/${descriptor}`

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
    const prefix = anchored ? anchorOf(descriptor) : path
    return { path, descriptor, at: (name) => `${prefix}/${name}` }
  } catch (cause) {
    const link = ["ENOTDIR", "ELOOP"].includes(codeOf(cause)) && isLink(path)
    if (!link) throw cause
    const detail = `${path} is a symbolic link, and none is followed; name the directory it leads to`
    throw failure(op, file, "NotRegular", detail)
  }
}

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
