/**
 * What every log holds on disk now, and what of it must go for limits that logs share. Fed by scans, and by what steps did since; asks neither the
 * disk nor a guard, and removes nothing: what is to go is for the next pass over its log to take.
 */
import {
  type CoreFact,
  formatRotatedName,
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
  /**
   * By stamp, oldest first, and changed in place, as there may be a hundred thousand. `writtenMs`: when its writer, who may hold it still, last
   * wrote to it; -Infinity: nobody does; null: not looked at yet.
   */
  readonly segments: Map<Stamp, HeldFiles>
  /** What must go. */
  budget: ReadonlySet<Stamp>
  pressure: ReadonlySet<Stamp>
  /** What a pass was begun for. */
  begun: Map<Stamp, "budget" | "pressure">
  /** What didn't go when it had its turn: those after it don't wait for it. */
  readonly stuck: Set<Stamp>
}
type HeldFiles = Pick<Segment, "stamp" | "bytes"> & { readonly writtenMs: number | null }
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
  /** Of each pod what has its turn now, unless something has changed since that was found. */
  readonly #turns = new Map<string, Turn>()
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
    const isUnlimited = watched.applied.maxSize < 0
    const mayGo: Array<Segment> = []
    const others: Array<Segment> = []
    for (const segment of closed) (!isUnlimited && isOurs(segment) ? mayGo : others).push(segment)
    const ours = heldOf(mayGo)
    const held: Held = {
      watched,
      shares: before?.shares ?? sharesOf(log),
      fileSystem: fileSystemOf(first.identity),
      writer,
      fixedFiles: others.length + (active !== null || writer === "running" ? 1 : 0),
      fixedBytes: others.reduce((sum, { bytes }) => sum + bytes, 0),
      activeBytes: active?.bytes ?? 0,
      segments: ours,
      budget: before?.budget ?? NONE,
      pressure: before?.pressure ?? NONE,
      begun: before?.begun ?? new Map(),
      stuck: new Set([...(before?.stuck ?? NONE)].filter((stamp) => ours.has(stamp))),
    }
    this.#held.set(log.path, held)
    addTo(this.#pods, held.shares.pod, held)
    addTo(this.#fileSystems, held.fileSystem, held)
    this.#change(held)
    this.#spare(held)
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
    this.#change(held)
  }
  /** Takes in what a step did. */
  happened(path: string, { data, type }: CoreFact): void {
    const held = this.#held.get(path)
    if (held === undefined) return
    const stampOf = (file: string): Stamp | null => stampIn(nameOf(path), nameOf(file))
    if (type === "Rotated") {
      const stamp = stampOf(data.to)
      held.activeBytes = 0
      if (stamp !== null) {
        // Of a rotation that was cut off the scan has seen the segment already.
        held.segments.delete(stamp)
        held.segments.set(stamp, { stamp, bytes: data.bytes, writtenMs: held.writer === "running" ? null : -Infinity })
      }
    } else if (type === "Removed") {
      const stamp = stampOf(data.path)
      if (stamp !== null) {
        held.segments.delete(stamp)
        held.stuck.delete(stamp)
      }
      const turn = this.#turns.get(held.shares.pod)
      // What comes after it is what it was: nothing is found out anew for each of a hundred thousand.
      const isExpected = turn !== undefined && stamp !== null && isNext(turn, path, stamp)
      if (isExpected) turn.at += 1
      if (!isExpected || turn.at === turn.line.length) this.#turns.delete(held.shares.pod)
      this.#changed.add(held.shares.pod)
      return
    } else if (type === "Compressed") {
      const stamp = stampOf(data.from)
      const segment = stamp === null ? undefined : held.segments.get(stamp)
      if (segment !== undefined) held.segments.set(segment.stamp, { ...segment, bytes: data.bytesOut })
    } else if (type === "Cleaned" && data.reason === "temporary") {
      // A name that a rotation had reserved before it was cut off. What was being compressed has another name, and counts for nothing.
      const stamp = stampOf(data.path)
      if (stamp === null || formatRotatedName(nameOf(path), stamp) !== nameOf(data.path)) return
      held.segments.delete(stamp)
      this.#spare(held)
    } else return
    this.#change(held)
  }
  /** Takes in the size of an active file; negative: there is none. */
  grew(path: string, bytes: number): void {
    const held = this.#held.get(path)
    const activeBytes = Math.max(0, bytes)
    if (held === undefined || held.activeBytes === activeBytes) return
    const before = held.activeBytes
    held.activeBytes = activeBytes
    // What had its turn has it still: there is only more to go.
    if (before > 0 && activeBytes > before) this.#changed.add(held.shares.pod)
    else this.#change(held)
  }

  /** What must go of a log, and for which limit; for both, it is the budget. */
  shedOf(path: string): Sheds {
    const held = this.#held.get(path)
    return held === undefined ? NOTHING : shedsOf(held)
  }
  /** Whether a segment is to go still, for whichever limit. */
  isDoomed(path: string, stamp: Stamp): boolean {
    const held = this.#held.get(path)
    return held !== undefined && isToGo(held, stamp)
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
    if (held !== undefined) held.begun = new Map(shedsOf(held))
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
    // What is kept may have changed with time.
    this.#turns.clear()
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

  /** Whether a budget wants a segment gone now, and none before it that may go. If not, its log is due as long as it is to go. */
  hasTurn(path: string, stamp: Stamp, now: Now): boolean {
    const held = this.#held.get(path)
    if (held === undefined) return false
    const turn = this.#turn(held, now)
    if (isNext(turn, path, stamp) || turn.kept.get(path)?.has(stamp) === true) return true
    if (held.begun.delete(stamp) && isToGo(held, stamp)) this.#due.add(path)
    return false
  }
  /** It had its turn, and is still there: whatever the reason, those after it don't wait for it. */
  passed(path: string, stamp: Stamp, now: Now): void {
    const held = this.#held.get(path)
    if (held === undefined || !held.segments.has(stamp)) return
    const turn = this.#turn(held, now)
    if (!isNext(turn, path, stamp)) return
    held.stuck.add(stamp)
    turn.at += 1
    if (turn.at === turn.line.length) this.#change(held)
  }
  #turn(held: Held, now: Now): Turn {
    const { pod } = held.shares
    const turn = this.#turns.get(pod) ?? turnOf(beyondBudget(this.#pods.get(pod) ?? new Set<Held>(), now, "first"))
    this.#turns.set(pod, turn)
    return turn
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
      held.begun = new Map()
      this.#tell(held)
    }
  }

  /** There may be fewer files than when it was said what must go for pressure, and the newest `keepFiles` of them stay. */
  #spare(held: Held): void {
    if (held.pressure.size === 0) return
    const mayGo = held.segments.size + held.fixedFiles - (this.pressure?.keepFiles ?? Infinity)
    const going = new Set<Stamp>()
    let at = 0
    for (const stamp of held.segments.keys()) {
      if (at >= mayGo) break
      at += 1
      if (held.pressure.has(stamp)) going.add(stamp)
    }
    held.pressure = going
  }
  #change({ shares: { pod } }: Held): void {
    this.#changed.add(pod)
    this.#turns.delete(pod)
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

/** What goes of a pod before the other logs' turn: in this order, from `at` on, and whenever its guards let it go. */
interface Turn {
  readonly line: ReadonlyArray<Shed>
  at: number
  readonly kept: ReadonlyMap<string, ReadonlySet<Stamp>>
}
const turnOf = (sheds: ReadonlyArray<Shed>): Turn => ({
  line: sheds.filter(({ kept }) => !kept),
  at: 0,
  kept: byLog(sheds.filter(({ kept }) => kept)),
})
const isNext = ({ at, line }: Turn, path: string, stamp: Stamp): boolean =>
  line[at]?.path === path && line[at].stamp === stamp

const isToGo = ({ budget, pressure }: Held, stamp: Stamp): boolean => budget.has(stamp) || pressure.has(stamp)
const isShedding = ({ budget, pressure }: Held): boolean => budget.size > 0 || pressure.size > 0

/** A plain segment beside its compressed twin is the same one. */
const heldOf = (files: ReadonlyArray<Segment>): Map<Stamp, HeldFiles> => {
  const segments = new Map<Stamp, HeldFiles>()
  for (const { bytes, modifiedMs, stamp, suffix } of files) {
    const before = segments.get(stamp)
    segments.set(stamp, {
      stamp,
      bytes: bytes + (before?.bytes ?? 0),
      writtenMs: Math.max(before?.writtenMs ?? -Infinity, suffix === "" ? modifiedMs : -Infinity),
    })
  }
  return segments
}

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
  const all = [...segments.values()]
  const last = mayHoldNewest(writer, activeBytes) ? all.findLast(({ writtenMs }) => writtenMs !== -Infinity) : undefined
  const staying = stays ? all : all.filter((segment) => segment === last)
  return {
    path: log.path,
    ...shares,
    writer,
    fixedBytes: held.fixedBytes + activeBytes + staying.reduce((sum, { bytes }) => sum + bytes, 0),
    fixedFiles: held.fixedFiles + staying.length,
    maxTotal: applied.maxTotal,
    segments: (stays ? [] : all.filter((segment) => segment !== last)).map(
      ({ bytes, stamp, writtenMs }): HeldSegment => ({
        stamp,
        bytes,
        cleared: cleared.has(stamp),
        kept:
          writtenMs === null ||
          Math.abs(timeMs - writtenMs) < SETTLE_MS ||
          held.stuck.has(stamp) ||
          isKept(watched, stamp),
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
