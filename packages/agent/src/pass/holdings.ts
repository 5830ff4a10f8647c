/**
 * What every log holds on disk now, and what of it must go for limits that logs share. Fed by scans, and by what steps did since; asks neither the
 * disk nor a guard, and removes nothing: what is to go is for the next pass over its log to take.
 */
import {
  type CoreFact,
  type HeldSegment,
  type Holding,
  inTurn,
  mayHoldNewest,
  nameOf,
  overBudget,
  type PressureLimits,
  type Relief,
  type Segment,
  type Shares,
  type Shed,
  sharesOf,
  SETTLE_MS,
  type Snapshot,
  type Stamp,
  stampIn,
  underPressure,
  type Writer,
} from "@cordwood/core"
import type { Watched } from "./watched.ts"

interface Held {
  readonly watched: Watched
  readonly shares: Shares
  readonly fileSystem: string
  readonly writer: Writer
  /** Files that are none of `segments`, and bytes of those of them that are there, the active one aside. */
  readonly fixedFiles: number
  readonly fixedBytes: number
  activeBytes: number
  /** Oldest first. `writtenMs`: when its writer, who may hold it still, last wrote to it; -Infinity: nobody does; null: not looked at yet. */
  segments: ReadonlyArray<Pick<Segment, "stamp" | "bytes"> & { readonly writtenMs: number | null }>
  /** What must go. */
  budget: ReadonlySet<Stamp>
  pressure: ReadonlySet<Stamp>
  /** What a pass was begun for. */
  begun: Sheds
}
const NONE: ReadonlySet<Stamp> = new Set()
/** What must go of a log, and for which limit. */
type Sheds = ReadonlyMap<Stamp, "budget" | "pressure">
const NOTHING: Sheds = new Map()

/** Whether a segment must stay for now, though it is to go; see `HeldSegment`. */
export type IsKept = (watched: Watched, stamp: Stamp) => boolean
/** What is so at this time, milliseconds since 1970. */
export interface Now {
  readonly timeMs: number
  readonly isKept: IsKept
}

export class Holdings {
  readonly pressure: PressureLimits | undefined
  /** False: no policy has a limit that logs share, so that nothing is remembered. */
  readonly used: boolean
  readonly #held = new Map<string, Held>()
  readonly #pods = new Map<string, Set<Held>>()
  readonly #fileSystems = new Map<string, Set<Held>>()
  /** Pods of which something has changed since they were weighed. */
  readonly #changed = new Set<string>()
  /** Since when pods are beyond a budget, in monotonic milliseconds. */
  readonly #beyond = new Map<string, number>()
  /** Logs that have something to go which no pass was begun for. */
  readonly #due = new Set<string>()
  /** Since when a guard is being asked, by the log's path. */
  readonly #asking = new Map<string, number>()

  constructor({ budgets, pressure }: { readonly budgets: boolean; readonly pressure: PressureLimits | undefined }) {
    this.pressure = pressure
    this.used = budgets || pressure !== undefined
  }

  /** Takes in a scan. `isOurs` tells segments that may be removed from those that another program may have made. */
  put(watched: Watched, snapshot: Snapshot, writer: Writer, isOurs: (segment: Segment) => boolean): void {
    if (!this.used) return
    const { active, log, segments } = snapshot
    const before = this.#held.get(log.path)
    this.forget(log.path)
    const first = active ?? segments[0]
    if (first === undefined) return
    // A rotation that was cut off left the active file under two names.
    const closed = segments.filter(({ identity }) => identity !== active?.identity)
    const mayGo = watched.applied.maxSize < 0 ? [] : closed.filter(isOurs)
    const others = closed.filter((segment) => !mayGo.includes(segment))
    const held: Held = {
      watched,
      shares: before?.shares ?? sharesOf(log),
      fileSystem: fileSystemOf(first.identity),
      writer,
      fixedFiles: others.length + (active !== null || writer === "running" ? 1 : 0),
      fixedBytes: others.reduce((sum, { bytes }) => sum + bytes, 0),
      activeBytes: active?.bytes ?? 0,
      segments: [...Map.groupBy(mayGo, ({ stamp }) => stamp)].map(([stamp, files]) => ({
        stamp,
        bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
        writtenMs: Math.max(
          -Infinity,
          ...files.flatMap(({ modifiedMs, suffix }) => (suffix === "" ? [modifiedMs] : [])),
        ),
      })),
      budget: before?.budget ?? NONE,
      pressure: before?.pressure ?? NONE,
      begun: before?.begun ?? NOTHING,
    }
    this.#held.set(log.path, held)
    addTo(this.#pods, held.shares.pod, held)
    addTo(this.#fileSystems, held.fileSystem, held)
    this.#changed.add(held.shares.pod)
    this.#tell(held)
  }
  /** Drops a log that is gone, or can't be looked at. */
  forget(path: string): void {
    const held = this.#held.get(path)
    if (held === undefined) return
    this.#held.delete(path)
    this.#due.delete(path)
    removeFrom(this.#pods, held.shares.pod, held)
    removeFrom(this.#fileSystems, held.fileSystem, held)
    this.#changed.add(held.shares.pod)
  }
  /** Takes in what a step did. */
  happened(path: string, { data, type }: CoreFact): void {
    const held = this.#held.get(path)
    if (held === undefined) return
    const stampOf = (file: string): Stamp | null => stampIn(nameOf(path), nameOf(file))
    if (type === "Rotated") {
      const stamp = stampOf(data.to)
      held.activeBytes = 0
      // Of a rotation that was cut off the scan has seen the segment already.
      const others = held.segments.filter((segment) => segment.stamp !== stamp)
      const writtenMs = held.writer === "running" ? null : -Infinity
      if (stamp !== null) held.segments = [...others, { stamp, bytes: data.bytes, writtenMs }]
    } else if (type === "Removed") {
      held.segments = held.segments.filter(({ stamp }) => stamp !== stampOf(data.path))
    } else if (type === "Compressed") {
      const packed = stampOf(data.from)
      held.segments = held.segments.map((segment) =>
        segment.stamp === packed ? { ...segment, bytes: data.bytesOut } : segment,
      )
    } else return
    this.#changed.add(held.shares.pod)
  }
  /** Takes in the size of an active file; negative: there is none. */
  grew(path: string, bytes: number): void {
    const held = this.#held.get(path)
    const activeBytes = Math.max(0, bytes)
    if (held === undefined || held.activeBytes === activeBytes) return
    held.activeBytes = activeBytes
    this.#changed.add(held.shares.pod)
  }

  /** What must go of a log, and for which limit; for both, it is the budget. */
  shedOf(path: string): Sheds {
    const held = this.#held.get(path)
    return held === undefined ? NOTHING : shedsOf(held)
  }
  isShedding(path: string): boolean {
    const held = this.#held.get(path)
    return held !== undefined && isShedding(held)
  }
  /** Logs that want a pass: something is to go that was not when their last one was begun for it. */
  due(): ReadonlyArray<string> {
    return [...this.#due]
  }
  begun(path: string): void {
    this.#due.delete(path)
    const held = this.#held.get(path)
    if (held !== undefined) held.begun = shedsOf(held)
  }

  /** A guard is being asked about a segment of the log since then; null: no longer. */
  asks(path: string, sinceMs: number | null): void {
    if (sinceMs === null) this.#asking.delete(path)
    else this.#asking.set(path, sinceMs)
  }
  askedSinceMs(path: string): number | undefined {
    return this.#asking.get(path)
  }

  /** Says what must go of the pods that have been beyond a budget for as long: all of it, or, as nothing is to go before its turn, what comes first. */
  weigh(nowMs: number, patienceMs: number, now: Now, turn: "all" | "first"): void {
    const pods = new Set([...this.#changed, ...this.#beyond.keys()])
    this.#changed.clear()
    for (const pod of pods) {
      const logs = this.#pods.get(pod) ?? new Set<Held>()
      const sheds = beyondBudget(logs, now, turn)
      if (sheds.length === 0) this.#beyond.delete(pod)
      const sinceMs = this.#beyond.get(pod) ?? nowMs
      if (sheds.length > 0) this.#beyond.set(pod, sinceMs)
      const stamps = byLog(sheds.length > 0 && nowMs - sinceMs >= patienceMs ? sheds : [])
      for (const held of logs) {
        held.budget = stamps.get(held.watched.log.path) ?? NONE
        this.#tell(held)
      }
    }
  }

  /** Whether a budget wants a segment gone now, and none before it that may go. If not, a pass must begin for it anew once it does. */
  hasTurn(path: string, stamp: Stamp, now: Now): boolean {
    const held = this.#held.get(path)
    if (held === undefined) return false
    const logs = this.#pods.get(held.shares.pod) ?? new Set<Held>()
    const line = beyondBudget(logs, now, "first")
    const first = line.find(({ kept }) => !kept)
    if (line.some((shed) => shed.path === path && shed.stamp === stamp && (shed.kept || shed === first))) return true
    held.begun = new Map([...held.begun].filter(([begun]) => begun !== stamp))
    this.#tell(held)
    return false
  }

  /** The file systems that logs are on, by a key, with paths of the logs. */
  get fileSystems(): ReadonlyMap<string, Iterable<string>> {
    return new Map([...this.#fileSystems].map(([key, logs]) => [key, pathsOf(logs)]))
  }
  fileSystemOf(path: string): string {
    return this.#held.get(path)?.fileSystem ?? ""
  }
  /** Says what must go for as many bytes to become free on a file system. What is only observed frees none, so that it isn't counted. */
  relieve(fileSystem: string, bytes: number, now: Now): Relief {
    const keepFiles = this.pressure?.keepFiles ?? Infinity
    const logs = this.#fileSystems.get(fileSystem) ?? new Set<Held>()
    let relief: Relief = { sheds: [], missingBytes: bytes, keptBytes: 0 }
    const sheds = asEach(
      logs,
      (holdings, enforced) => {
        const found = underPressure(holdings, bytes, keepFiles)
        if (enforced) relief = found
        return found.sheds
      },
      now,
    )
    const stamps = byLog(sheds)
    for (const held of logs) {
      held.pressure = stamps.get(held.watched.log.path) ?? NONE
      this.#tell(held)
    }
    return relief
  }
  /** Nothing more must go of a file system. */
  ease(fileSystem: string): void {
    for (const held of this.#fileSystems.get(fileSystem) ?? []) {
      held.pressure = NONE
      this.#tell(held)
    }
  }
  /** Has passes begin again over the logs of a file system that have anything to go. */
  urge(fileSystem: string): void {
    for (const held of this.#fileSystems.get(fileSystem) ?? []) {
      held.begun = NOTHING
      this.#tell(held)
    }
  }

  /** Whether a log is due, and what it was for that is no more. */
  #tell(held: Held): void {
    const { path } = held.watched.log
    const wanted = shedsOf(held)
    const begun = [...held.begun].filter(([stamp, reason]) => wanted.get(stamp) === reason)
    // Where nothing is touched a pass says so, too, when there is no more that would go.
    const isOver = isObserved(held) && begun.length < held.begun.size
    if (!isObserved(held) && begun.length < held.begun.size) held.begun = new Map(begun)
    if (begun.length < wanted.size || isOver) this.#due.add(path)
    else this.#due.delete(path)
  }
}

const shedsOf = ({ budget, pressure }: Held): Sheds => {
  if (budget.size + pressure.size === 0) return NOTHING
  const sheds = new Map<Stamp, "budget" | "pressure">()
  for (const stamp of pressure) sheds.set(stamp, "pressure")
  for (const stamp of budget) sheds.set(stamp, "budget")
  return sheds
}
const isShedding = ({ budget, pressure }: Held): boolean => budget.size > 0 || pressure.size > 0

/** Files of one device share its free space. */
const fileSystemOf = (identity: string): string => identity.slice(0, identity.lastIndexOf(":"))

const isObserved = ({ watched }: Held): boolean => watched.applied.mode === "observe"

/** What goes of the logs of a pod for its budgets. Where nothing is touched nothing has a turn. */
const beyondBudget = (logs: ReadonlySet<Held>, now: Now, turn: "all" | "first"): ReadonlyArray<Shed> =>
  asEach(
    logs,
    (holdings, enforced) => (enforced && turn === "first" ? inTurn(overBudget(holdings)) : overBudget(holdings)),
    now,
  )

/**
 * What goes of logs of which some are only observed: of those that aren't, as if those that are could lose nothing; of those that are, as if
 * they all were enforced.
 */
const asEach = (
  logs: ReadonlySet<Held>,
  choose: (holdings: ReadonlyArray<Holding>, enforced: boolean) => ReadonlyArray<Shed>,
  now: Now,
): ReadonlyArray<Shed> => {
  const all = [...logs]
  const observed = new Set(all.filter(isObserved).map(({ watched }) => watched.log.path))
  const enforced = choose(
    all.map((held) => holdingOf(held, now, isObserved(held))),
    true,
  )
  if (observed.size === 0) return enforced
  const would = choose(
    all.map((held) => holdingOf(held, now, false)),
    false,
  )
  return [...enforced, ...would.filter(({ path }) => observed.has(path))]
}

const holdingOf = (held: Held, { isKept, timeMs }: Now, stays: boolean): Holding => {
  const { activeBytes, segments, shares, watched, writer } = held
  const { applied, cleared, log } = watched
  const last = mayHoldNewest(writer, activeBytes)
    ? segments.findLast(({ writtenMs }) => writtenMs !== -Infinity)
    : undefined
  const staying = stays ? segments : segments.filter((segment) => segment === last)
  return {
    path: log.path,
    ...shares,
    writer,
    fixedBytes: held.fixedBytes + activeBytes + staying.reduce((sum, { bytes }) => sum + bytes, 0),
    fixedFiles: held.fixedFiles + staying.length,
    maxTotal: applied.maxTotal,
    segments: (stays ? [] : segments.filter((segment) => segment !== last)).map(
      ({ bytes, stamp, writtenMs }): HeldSegment => ({
        stamp,
        bytes,
        cleared: cleared.has(stamp),
        kept: writtenMs === null || Math.abs(timeMs - writtenMs) < SETTLE_MS || isKept(watched, stamp),
      }),
    ),
  }
}

const byLog = (sheds: ReadonlyArray<Shed>): ReadonlyMap<string, ReadonlySet<Stamp>> => {
  const logs = Map.groupBy(sheds, ({ path }) => path)
  return new Map([...logs].map(([path, some]) => [path, new Set(some.map(({ stamp }) => stamp))]))
}

function* pathsOf(logs: ReadonlySet<Held>): Generator<string, void, undefined> {
  for (const { watched } of logs) yield watched.log.path
}

const addTo = <V>(groups: Map<string, Set<V>>, key: string, value: V): void => {
  const group = groups.get(key)
  if (group === undefined) groups.set(key, new Set([value]))
  else group.add(value)
}
const removeFrom = <V>(groups: Map<string, Set<V>>, key: string, value: V): void => {
  const group = groups.get(key)
  group?.delete(value)
  if (group?.size === 0) groups.delete(key)
}
