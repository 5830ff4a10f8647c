/** Gives files other names, and never one that is taken. Reads and writes no contents. */
import { constants, promises } from "node:fs"
import { type FileSeen, type LogFilesError } from "@cordwood/core"
import { type Effect } from "effect"
import { nameIn, type OpenDirectory, syncDirectory } from "./directory.ts"
import { attempt, codeOf, failure, failureOf } from "./failure.ts"
import { demandSame, fileAt, lookUp, seenOf } from "./look.ts"

/** Makes a file that wasn't there. Nothing that lies at the name, a link included, is ever opened. */
export const CREATE = constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW
/** Nobody but its owner may read a file that isn't finished. */
export const PRIVATE = 0o600

/** Makes an empty file of this name: from then on the name is ours. */
const reserve = async (directory: OpenDirectory, name: string, path: string): Promise<FileSeen> => {
  const handle = await promises.open(directory.at(name), CREATE | constants.O_WRONLY, PRIVATE)
  const placeholder = await handle.stat({ bigint: true }).then(
    (stats) => seenOf(path, stats),
    async (cause: unknown) => {
      await handle.close()
      throw cause
    },
  )
  await handle.close().catch(async (cause: unknown) => {
    await discardEmpty(directory, name, placeholder)
    throw cause
  })
  return placeholder
}

const isStill = (directory: OpenDirectory, name: string, file: FileSeen): boolean => {
  const now = lookUp(directory, name)
  return now !== undefined && seenOf(file.path, now).identity === file.identity
}

/** Removes a file that we have made, if it still is that very one. Failing is harmless: then it is a leftover for the next pass. */
export const discard = async (directory: OpenDirectory, name: string, file: FileSeen): Promise<void> => {
  try {
    if (isStill(directory, name, file)) await promises.unlink(directory.at(name))
  } catch {
    // What can't be removed now is found by the next scan.
  }
}

/** A placeholder that somebody wrote into is theirs. So is one that was replaced: a new file may well get the number of the old one. */
const isStillEmpty = (directory: OpenDirectory, name: string, placeholder: FileSeen): boolean =>
  isStill(directory, name, placeholder) && lookUp(directory, name)?.size === 0n

const discardEmpty = async (directory: OpenDirectory, name: string, placeholder: FileSeen): Promise<void> => {
  try {
    if (isStillEmpty(directory, name, placeholder)) await promises.unlink(directory.at(name))
  } catch {
    // An empty segment, at worst.
  }
}

/**
 * Renames `file` to `to` if nothing lies there: an empty file is made first, which fails if the name is taken, and renamed
 * over. A rename, and not a link and an unlink: those who tail the file follow a rename. Not durable before the directory is synced.
 */
export const moveTo = async (op: string, directory: OpenDirectory, file: FileSeen, to: string): Promise<void> => {
  const fromName = nameIn(op, directory, file.path)
  const toName = nameIn(op, directory, to)
  const placeholder = await reserve(directory, toName, to).catch((cause: unknown) => {
    throw failureOf(op, to)(cause)
  })
  try {
    // Both names as late as can be: what comes between here and the rename is noticed after it.
    demandSame(op, fileAt(op, directory, fromName), file, false)
    if (!isStillEmpty(directory, toName, placeholder)) {
      throw failure(op, to, "Exists", "another program took the name while it was being reserved")
    }
    await promises.rename(directory.at(fromName), directory.at(toName))
  } catch (cause) {
    // A network file system may have done what it says it couldn't.
    if (wasDone(directory, toName, file)) return
    await discardEmpty(directory, toName, placeholder)
    throw failureOf(op, file.path)(cause)
  }
  if (isStill(directory, toName, file)) return
  const undone = await takeBack(directory, toName, fromName)
  const where = undone ? "it has its name again" : `it lies at ${to}`
  throw failure(op, file.path, "Changed", `another file had taken its place and was renamed instead; ${where}`)
}

const wasDone = (directory: OpenDirectory, name: string, file: FileSeen): boolean => {
  try {
    return isStill(directory, name, file)
  } catch {
    return false
  }
}

const takeBack = async (directory: OpenDirectory, from: string, to: string): Promise<boolean> => {
  try {
    await promises.link(directory.at(from), directory.at(to))
    await promises.unlink(directory.at(from))
    return true
  } catch {
    return false
  }
}

/**
 * `LogFiles.setAside`. When the rename succeeds and the syncing fails, this fails, says so, and leaves the file under its new name:
 * undoing would be one more act on a disk that fails, and the next pass finds the active file missing and has its writer reopen.
 */
export const setAside = (directory: OpenDirectory, active: FileSeen, to: string): Effect.Effect<void, LogFilesError> =>
  attempt("setAside", active.path, async () => {
    demandSame("setAside", fileAt("setAside", directory, nameIn("setAside", directory, active.path)), active, false)
    await moveTo("setAside", directory, active, to)
    await syncDirectory(directory).catch((cause: unknown) => {
      throw failureOf("setAside", active.path, `it lies at ${to} by now`)(cause)
    })
  })

/** What link(2) says on a file system that has no hard links. EPERM can also mean what it says. */
const NO_LINKS: ReadonlyArray<string> = ["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"]

/**
 * `LogFiles.putBack`. A link first, which fails if the writer has made a new active file, and then no more than one name too many is
 * ever left. Without hard links there is no way that can't overwrite what the writer has just begun, so the segment stays.
 */
export const putBack = (
  directory: OpenDirectory,
  segment: string,
  active: string,
): Effect.Effect<void, LogFilesError> =>
  attempt("putBack", segment, async () => {
    const from = nameIn("putBack", directory, segment)
    const to = nameIn("putBack", directory, active)
    const file = fileAt("putBack", directory, from)
    try {
      await promises.link(directory.at(from), directory.at(to))
    } catch (cause) {
      // Both names are the same file already: an earlier attempt was cut off here.
      if (!isStill(directory, to, file)) {
        const state = NO_LINKS.includes(codeOf(cause))
          ? "it stays where it is: its file system may have no hard links"
          : ""
        throw failureOf("putBack", codeOf(cause) === "EEXIST" ? active : segment, state)(cause)
      }
    }
    const both = `it lies under both names, ${active} too`
    if (!isStill(directory, to, file) || !isStill(directory, from, file)) {
      throw failure("putBack", segment, "Changed", "another file took its place while it was being put back")
    }
    try {
      await syncDirectory(directory)
      await promises.unlink(directory.at(from))
    } catch (cause) {
      throw failureOf("putBack", segment, both)(cause)
    }
    await syncDirectory(directory).catch((cause: unknown) => {
      throw failureOf("putBack", segment, `it lies at ${active} by now`)(cause)
    })
  })

/**
 * `LogFiles.remove`. Once the name is gone this succeeds, even if syncing then fails: the worst of that is a file that comes back after a
 * power cut and is removed again, while an error would leave bytes gone that no event tells of. Where the bytes are kept
 * elsewhere, `compress` and `matches` have made that durable before.
 */
export const remove = (
  directory: OpenDirectory,
  file: FileSeen,
  { unchanged }: { readonly unchanged: boolean },
): Effect.Effect<number, LogFilesError> =>
  attempt("remove", file.path, async () => {
    const name = nameIn("remove", directory, file.path)
    const now = fileAt("remove", directory, name)
    demandSame("remove", now, file, unchanged)
    await promises.unlink(directory.at(name))
    await syncDirectory(directory).catch(() => undefined)
    return now.bytes
  })
