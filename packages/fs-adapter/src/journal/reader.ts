/**
 * A journal as another process reads it, while its agent writes or when there is none. Opens the file for one read and closes
 * it again, so that it never keeps a replaced journal open or the agent's log of writes from being emptied. Writes nothing.
 */
import { existsSync } from "node:fs"
import { pathToFileURL } from "node:url"
import { resolve } from "node:path"
import { Effect } from "effect"
import type { DatabaseSync } from "node:sqlite"
import { type Decoded, type DecodeOptions, JournalError, type JournalQuery, type JournalShape } from "@cordwood/core"
import { isConnectionLost, journalError, Refusal } from "./failure.ts"
import { lookForDirectory, lstatOrNull } from "./place.ts"
import { readEvents, replayEvents } from "./rows.ts"
import { isEmpty } from "./schema.ts"
import { openDatabase } from "./sqlite.ts"

export interface JournalReaderOptions {
  readonly path: string
  /** What is needed to read plugins' events. */
  readonly decode?: DecodeOptions
}
/** To follow a journal, read with `after` the last position seen; positions go on rising when a journal is begun anew. */
export type JournalReader = Pick<JournalShape, "read" | "replay">

export const sqliteJournalReader = (options: JournalReaderOptions): JournalReader => {
  const path = resolve(options.path)
  const decode = options.decode ?? {}
  return {
    read: (query: JournalQuery) => reading(path, "read", (db) => readEvents(db, query, decode)),
    replay: reading(path, "replay", (db) => replayEvents(db, decode)),
  }
}

/**
 * Why there can be no journal at `path` before somebody does something about it, as far as looking tells; null where there is one, or an agent
 * would begin one. Touches nothing.
 */
export const journalObstacle = (path: string): JournalError | null => {
  const absolute = resolve(path)
  try {
    if (existsSync(absolute)) return null
    lookForDirectory(absolute)
    // That there is none is seen only by who may look.
    lstatOrNull(absolute)
    return null
  } catch (error) {
    return readerError("look for", absolute, error)
  }
}

/** Who reads is not the agent, and must not be told to change the agent's rights. */
export const readerError = (op: string, path: string, error: unknown): JournalError => {
  const failure = journalError(op, path, error)
  return failure.reason === "Denied" ? new JournalError({ ...failure, hint: DENIED }) : failure
}
const DENIED = "The journal is for the agent's user alone: run this as that user, such as root."

const reading = (
  path: string,
  op: string,
  use: (db: DatabaseSync) => ReadonlyArray<Decoded>,
): Effect.Effect<ReadonlyArray<Decoded>, JournalError> =>
  Effect.try({
    try: () => {
      try {
        return withDatabase(path, use)
      } catch (error) {
        if (!isConnectionLost(error) || lstatOrNull(`${path}-wal`) === null) throw error
        // An agent may have started meanwhile.
        return withDatabase(path, use)
      }
    },
    catch: (error) => readerError(op, path, error),
  })

const NO_JOURNAL = "Is journal.path right, and has an agent run on this machine?"

/**
 * Opens the journal to read it; whoever does closes it. An agent that has it open keeps a log of writes beside it. Without one nobody writes, and the
 * file can be read as it is, with neither locks nor companions: from a directory, or a file system, that can't be written. Then it isn't `locked`.
 */
export const openToRead = (path: string): { readonly db: DatabaseSync; readonly locked: boolean } => {
  const seen = lstatOrNull(path)
  if (seen === null) throw new Refusal("Other", "there is no journal", NO_JOURNAL)
  if (!seen.isFile()) throw new Refusal("Other", "this is no regular file", NO_JOURNAL)
  const locked = lstatOrNull(`${path}-wal`) !== null
  const still = pathToFileURL(path)
  still.searchParams.set("immutable", "1")
  return { db: openDatabase(locked ? path : still, true), locked }
}

/** Throws if the database holds no journal. */
export const demandBegun = (db: DatabaseSync): void => {
  if (isEmpty(db)) throw new Refusal("Other", "no agent has begun this journal yet", NO_JOURNAL)
}

const withDatabase = <A>(path: string, use: (db: DatabaseSync) => A): A => {
  const { db } = openToRead(path)
  try {
    demandBegun(db)
    return use(db)
  } finally {
    db.close()
  }
}
