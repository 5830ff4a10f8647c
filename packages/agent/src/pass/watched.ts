/** A log under watch: what a pass needs to know of it, and what is remembered from pass to pass. */
import type { Codec, Composed, Limits, Log, LogFilesShape, Snapshot, Source } from "@cordwood/core"
import { Semaphore } from "effect"
import type { Recorder } from "../record/recorder.ts"
import type { Problem } from "./report.ts"

export interface PassPorts {
  readonly files: LogFilesShape
  readonly recorder: Recorder
  readonly plugins: Composed
  readonly limits: Limits
  readonly newId: () => string
  /** True once the agent is to end: no further step is begun. */
  readonly stopping: () => boolean
  /** As many permits as segments may be compressed or verified at a time. */
  readonly codecLane: Semaphore.Semaphore
}

/** A step on a file that is put off: until when (monotonic milliseconds), and how long it was put off for. */
export interface Pause {
  readonly untilMs: number
  readonly waitMs: number
}

export interface Watched {
  readonly log: Log
  readonly source: Source
  /** By path. */
  readonly pauses: Map<string, Pause>
  /**
   * Held by whoever changes which files there are and records it, and by whoever looks which there are and records that: so that a scan never
   * sees half of such a change, nor is recorded after one that came later.
   */
  readonly books: Semaphore.Semaphore
}
export const watch = (log: Log, source: Source): Watched => ({
  log,
  source,
  pauses: new Map(),
  books: Semaphore.makeUnsafe(1),
})

/** What a pass came to, added up while it goes on. */
export interface Tally {
  rotated: number
  compressed: number
  removed: number
  cleaned: number
  deferred: number
  readonly problems: Array<Problem>
}
export const newTally = (): Tally => ({ rotated: 0, compressed: 0, removed: 0, cleaned: 0, deferred: 0, problems: [] })

/** What one scan saw, and the names in it that look like a segment's, ours or not. */
export interface Scan {
  readonly snapshot: Snapshot
  readonly stamps: ReadonlySet<string>
}

export const codecOf = (plugins: Composed, id: string | null): Codec | undefined =>
  plugins.codecs.find((codec) => codec.id === id)
