/** A log under watch: what a pass needs to know of it, and what is remembered from pass to pass. */
import {
  type AppliedPolicy,
  type Codec,
  type Composed,
  type DeferredLimits,
  type FileSeen,
  type Labels,
  type Limits,
  type Log,
  type LogFilesShape,
  type Logs,
  type Segment,
  type Snapshot,
  type Source,
  type Stamp,
  surplusAmong,
  type Writer,
} from "@cordwood/core"
import { Semaphore } from "effect"
import type { Holdings } from "./holdings.ts"
import type { Recorder } from "../record/recorder.ts"
import type { DeferredFor, Problem } from "./report.ts"

/** The policy that a log is under, with what `plan` makes of it. */
export interface Applied extends AppliedPolicy {
  readonly limits: Limits
}

export interface PassPorts {
  readonly files: LogFilesShape
  readonly recorder: Recorder
  readonly plugins: Composed
  readonly policyFor: (log: Log, labels: Labels | undefined) => Applied
  readonly deferred: DeferredLimits
  /** What every log holds, and what of it must go for limits that logs share. */
  readonly holdings: Holdings
  /** Segments that guards keep beyond what retention allows. */
  readonly waiting: Waiting
  /** What was dropped, and isn't told of as free yet. */
  readonly freeing: Freeing
  /** Held while it is decided that something must give way, and done: else several logs would each make room for the same bytes. */
  readonly pressureLane: Semaphore.Semaphore
  readonly newId: () => string
  /** True once the agent is to end: no further step is begun. */
  readonly stopping: () => boolean
  /** As many permits as segments may be compressed or verified at a time. */
  readonly codecLane: Semaphore.Semaphore
}

/**
 * The bytes of what waits, by stamp, by the log's path: plain or compressed, a segment is the same one, and counts once, with what it takes on
 * disk now.
 */
export class Waiting {
  readonly #bytes = new Map<string, Map<Stamp, number>>()
  #sum = 0

  add(path: string, { bytes, stamp }: Pick<Segment, "bytes" | "stamp">): void {
    const segments = this.#bytes.get(path) ?? new Map<Stamp, number>()
    this.#sum += bytes - (segments.get(stamp) ?? 0)
    this.#bytes.set(path, segments.set(stamp, bytes))
  }
  /** It has another size now, if it waits. */
  resize(path: string, stamp: Stamp, bytes: number): void {
    if (this.#bytes.get(path)?.has(stamp) === true) this.add(path, { bytes, stamp })
  }
  remove(path: string, stamp: Stamp): void {
    const segments = this.#bytes.get(path)
    this.#sum -= segments?.get(stamp) ?? 0
    segments?.delete(stamp)
    if (segments?.size === 0) this.#bytes.delete(path)
  }
  /** Drops all of a log but these. */
  retain(path: string, stamps: ReadonlySet<Stamp>): void {
    for (const stamp of this.#bytes.get(path)?.keys() ?? []) if (!stamps.has(stamp)) this.remove(path, stamp)
  }
  /** Drops a log. */
  forget(path: string): void {
    this.retain(path, NO_STAMPS)
  }
  /** Of all logs together. Asked for before every removal that a guard may hold up. */
  get bytes(): number {
    return this.#sum
  }
}

const NO_STAMPS: ReadonlySet<Stamp> = new Set()

/** btrfs frees what was removed when it commits, every 30 s by default; what isn't free by then is held open by somebody. */
const FREEING_MS = 35_000

/**
 * Bytes of files that were removed to make room, and that the file system doesn't tell of yet: some free in the background (XFS), or at their next
 * commit (btrfs). Without it, all that waits would be dropped before the first of it is seen to have helped.
 */
export class Freeing {
  /** By file system. */
  readonly #lastFree = new Map<string, number>()
  readonly #owed = new Map<string, { readonly fromFree: number; readonly bytes: number; readonly untilMs: number }>()

  /** After what was found free, with what is still owed. Half of it seen counts as all of it: others write meanwhile. */
  withOwed(free: number, nowMs: number, fileSystem: string): number {
    this.#lastFree.set(fileSystem, free)
    const owed = this.#owed.get(fileSystem)
    if (owed === undefined) return free
    if (nowMs < owed.untilMs && free < owed.fromFree + owed.bytes / 2) return free + owed.bytes
    this.#owed.delete(fileSystem)
    return free
  }
  began(bytes: number, nowMs: number, fileSystem: string): void {
    const { bytes: before, fromFree } = this.#owed.get(fileSystem) ?? {
      bytes: 0,
      fromFree: this.#lastFree.get(fileSystem) ?? 0,
    }
    this.#owed.set(fileSystem, { fromFree, bytes: before + bytes, untilMs: nowMs + FREEING_MS })
  }
}

/** A step on a file that is put off: until when (monotonic milliseconds), and how long it was put off for. */
export interface Pause {
  readonly untilMs: number
  readonly waitMs: number
}

export interface Watched {
  readonly log: Log
  readonly source: Source
  readonly applied: Applied
  /** Its file is missing and isn't waited for; see `Logs`. */
  dormant: boolean
  /** Whether its container has ended, and whether it is kept then; see `Limits`. */
  writer: Writer
  /** By path. */
  readonly pauses: Map<string, Pause>
  /** Segments that the guards who are asked early have let go, as they were then. */
  readonly cleared: Map<Stamp, FileSeen>
  /** Segments that lie there plain and compressed, neither of them the other's leftover: each counts, and goes, by itself. */
  readonly disputed: Set<Stamp>
  /**
   * Held by whoever changes which files there are and records it, and by whoever looks which there are and records that: so that a scan never
   * sees half of such a change, nor is recorded after one that came later.
   */
  readonly books: Semaphore.Semaphore
}
export const watch = (
  log: Log,
  source: Source,
  applied: Applied,
  { dormant = false, writer = "running" }: Partial<Pick<Watched, "dormant" | "writer">> = {},
): Watched => ({
  log,
  source,
  applied,
  dormant,
  writer,
  pauses: new Map(),
  cleared: new Map(),
  disputed: new Set(),
  books: Semaphore.makeUnsafe(1),
})

/** Who writes each of the logs that a source lists: by what it says of them, and by what the policy of each keeps. */
export const writersOf = (
  { logs, stopped }: Pick<Logs, "logs" | "stopped">,
  policyOf: (log: Log) => Pick<AppliedPolicy, "keepStopped">,
): ((path: string) => Writer) => {
  if (stopped === undefined || stopped.size === 0) return () => "running"
  const ended = logs.filter(({ path }) => stopped.has(path))
  const surplus = surplusAmong(ended.map((log) => ({ log, keepStopped: policyOf(log).keepStopped })))
  return (path) => (surplus.has(path) ? "surplus" : stopped.has(path) ? "stopped" : "running")
}

/** What bounds the log as of now. */
export const limitsNow = (
  { holdings, plugins }: Pick<PassPorts, "holdings" | "plugins">,
  { applied, cleared, log, writer }: Watched,
): Limits => ({
  ...applied.limits,
  writer,
  shed: holdings.shedOf(log.path),
  guarded: plugins.guarded,
  cleared: plugins.early ? cleared : null,
})

/** Why steps were put off: a reason counts up, so that thousands of segments that wait for the same take no more room than one. */
export class Deferrals {
  readonly #byReason = new Map<string, DeferredFor>()

  add({ by, retryAfterMs, step, why }: Omit<DeferredFor, "count">): void {
    const key = JSON.stringify([step, by, why])
    const { count, retryAfterMs: soonest } = this.#byReason.get(key) ?? { count: 0, retryAfterMs }
    this.#byReason.set(key, { step, by, why, count: count + 1, retryAfterMs: Math.min(soonest, retryAfterMs) })
  }
  get all(): ReadonlyArray<DeferredFor> {
    return [...this.#byReason.values()]
  }
}

/** What a pass came to, added up while it goes on. */
export interface Tally {
  rotated: number
  compressed: number
  removed: number
  cleaned: number
  deferred: number
  readonly deferrals: Deferrals
  /** Steps that a policy in mode `observe` kept from being taken. */
  observed: number
  readonly problems: Array<Problem>
}
export const newTally = (): Tally => ({
  rotated: 0,
  compressed: 0,
  removed: 0,
  cleaned: 0,
  deferred: 0,
  deferrals: new Deferrals(),
  observed: 0,
  problems: [],
})

/** What one scan saw, and the stamps in names that look like a segment's, ours or not. */
export interface Scan {
  readonly snapshot: Snapshot
  readonly stamps: ReadonlySet<string>
}

export const codecOf = (plugins: Composed, id: string | null): Codec | undefined =>
  plugins.codecs.find((codec) => codec.id === id)
