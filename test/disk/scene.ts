/** Logs in the midst of their lives, as a pass finds them, and what must be there of each when all is done. */
import { mkdirSync, utimesSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { expect } from "vitest"
import { account } from "./account.ts"
import { eventsIn } from "./agent.ts"
import type { Settings } from "./agent.ts"
import { LINE_BYTES, linesOf } from "./numbered-line.ts"

/** Lines of each segment. */
const SEGMENT_LINES = 64
/** Lines of the active file, with which it is full. */
export const ACTIVE_LINES = 1024
/** Longer than any writer may still be at a segment. */
const AGO_S = 2 * 60 * 60

/** What lies there of one segment: files, by what follows the stamp in their names. */
type Pieces = (content: Buffer) => Readonly<Record<string, Buffer>>
const plain: Pieces = (content) => ({ "": content })

interface Kind {
  readonly name: string
  /** Oldest first. */
  readonly segments: ReadonlyArray<Pieces>
  readonly maxFiles: number
  /** Segments that retention removes when the log is rotated once. */
  readonly tooMany: number
}

/** One of each thing that a pass does: a segment too many, an archive beside its original, a temporary file, a damaged archive, and a full active file. */
export const EVERYTHING: Kind = {
  name: "app.log",
  segments: [
    plain,
    (content) => ({ "": content, ".gz": gzipSync(content) }),
    (content) => ({ "": content, ".tmp": gzipSync(content).subarray(0, 100) }),
    (content) => ({ "": content, ".gz": gzipSync(content).subarray(0, -9) }),
  ],
  maxFiles: 5,
  tooMany: 1,
}

/**
 * Nothing to remove and nothing to clean away, so that a pass needs room before it makes any. The name is so long that a block of 1 KiB has no
 * room for the names of one file more.
 */
export const NOTHING_TO_GIVE: Kind = {
  name: `${"a".repeat(196)}.log`,
  segments: [plain, plain, plain],
  maxFiles: 6,
  tooMany: 0,
}

export interface Scene {
  readonly kind: Kind
  /** The active file. */
  readonly log: string
  readonly settings: Settings
  /** The last line that is there. */
  readonly lines: number
}

const segmentOf = (log: string, index: number): string => `${log}.2026010${index + 1}-000000`

/** Makes the log in `logs`, and says how the agent is to be set. */
export const sceneIn = (
  kind: Kind,
  { journalFolder, logs, pidFile }: { readonly logs: string; readonly journalFolder: string; readonly pidFile: string },
): Scene => {
  mkdirSync(logs, { recursive: true })
  const log = join(logs, kind.name)
  const thenS = Date.now() / 1000 - AGO_S
  kind.segments.forEach((pieces, index) => {
    const content = Buffer.from(linesOf(index * SEGMENT_LINES + 1, (index + 1) * SEGMENT_LINES))
    for (const [suffix, bytes] of Object.entries(pieces(content))) {
      const path = segmentOf(log, index) + suffix
      writeFileSync(path, bytes, { mode: 0o640 })
      utimesSync(path, thenS, thenS)
    }
  })
  const before = kind.segments.length * SEGMENT_LINES
  const lines = before + ACTIVE_LINES
  writeFileSync(log, linesOf(before + 1, lines), { mode: 0o640 })
  return {
    kind,
    log,
    lines,
    settings: {
      include: join(logs, "*.log"),
      journal: join(journalFolder, "journal.db"),
      policy: { maxSize: ACTIVE_LINES * LINE_BYTES, maxFiles: kind.maxFiles },
      pidFile,
    },
  }
}

/** The paths of which the journal says that they were removed. */
const removedIn = (journal: string): ReadonlyArray<unknown> =>
  eventsIn(journal).flatMap(({ data, type }) => (type === "Removed" ? [data["path"]] : []))

/**
 * What must be so when the passes are over and the writer, which has written up to line `last`, is held: every line is on disk but those of
 * segments that retention had no room for; all segments but the newest are archives; nothing is left over.
 */
export const expectAllThere = ({ kind, log }: Scene, last: number): void => {
  const { segments, ...found } = account(log)
  const kept = kind.segments.length - kind.tooMany
  expect({ ...found, archived: segments.map(({ compressed }) => compressed) }).toEqual({
    first: kind.tooMany * SEGMENT_LINES + 1,
    last,
    begun: 0,
    faults: [],
    leftovers: [],
    archived: [...Array<boolean>(kept).fill(true), false],
  })
}

/** The same, and events tell of what was removed, once each. */
export const expectAllAccounted = (scene: Scene, last: number): void => {
  expectAllThere(scene, last)
  const { kind, log, settings } = scene
  const tooMany = Array.from({ length: kind.tooMany }, (_, index) => segmentOf(log, index))
  expect(removedIn(settings.journal)).toEqual(tooMany)
}
