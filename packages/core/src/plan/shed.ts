/**
 * Which segments must go for limits that logs share: the bytes of a container and of a pod, and the free space of a file system. Pure and total: no
 * clock, no I/O; whoever calls it asks how much is free, and plans the removals. An active file is never named here.
 */
import { attemptIn } from "../log/family.ts"
import { directoryOf, type Log, nameOf } from "../log/log.ts"
import type { Stamp } from "../log/name.ts"
import type { AppliedPolicy, PressureLimits } from "../log/policy.ts"
import type { Writer } from "./plan.ts"

/** A segment on disk. Plain, compressed or both, it is the same one. */
export interface HeldSegment {
  readonly stamp: Stamp
  readonly bytes: number
  /** The guards have let it go: it is shipped, say. */
  readonly cleared: boolean
  /** It must stay for now whoever wants it gone: a guard keeps it, or it could not be removed. */
  readonly kept: boolean
}
/** What one log holds on disk. */
export interface Holding extends Shares {
  readonly path: string
  readonly writer: Writer
  /** Bytes of what doesn't go for the sake of another log: the active file, what its writer may hold still, and what is not the agent's to remove. */
  readonly fixedBytes: number
  /** How many files that is; the one that a writer is about to make counts. */
  readonly fixedFiles: number
  /** Oldest first. */
  readonly segments: ReadonlyArray<HeldSegment>
  readonly maxTotal: AppliedPolicy["maxTotal"]
}
/** What a log shares its limits with. */
export interface Shares {
  /** Key of the logs of one container name in a pod: one for each time that it was started. */
  readonly container: string
  /** Key of the logs of a pod. All logs of a container are of one pod. */
  readonly pod: string
  /** How often the container had been restarted when the log began. */
  readonly attempt: number
}
/** A segment that must go. */
export interface Shed extends Pick<HeldSegment, "stamp" | "bytes" | "kept"> {
  readonly path: string
}

/** `<namespace>_<pod>_<uid>`, as the kubelet names the directory of a pod's logs (`BuildPodLogsDirectory`). */
const POD_DIRECTORY = /^[^_]+_[^_]+_[^_]+$/

/** By what the source knows of the log; else by the kubelet's names; a log that has neither shares its limits with no other. */
export const sharesOf = ({ container, path, podUid }: Log): Shares => {
  const attempt = attemptIn(nameOf(path))
  const directory = directoryOf(path)
  const alone = attempt === null ? path : directory
  const above = directoryOf(directory)
  return {
    container: podUid === undefined || container === undefined ? alone : `${podUid}/${container}`,
    pod: podUid ?? (attempt !== null && POD_DIRECTORY.test(nameOf(above)) ? above : alone),
    attempt: attempt ?? 0,
  }
}

/**
 * What goes so that every container, and then every pod, is within its `maxTotal`. Of a container: the logs of those that have ended, the earliest
 * first, then the one that runs; of each the oldest segment first. Of a pod: what its largest container would lose next, again and again.
 * Where several limits are given for one container or pod, the lowest counts. What is kept for now counts as gone: it is why the limit is
 * exceeded, and younger segments need not go in its place. Of several containers and pods that are beyond their own, the first by key comes first.
 */
export const overBudget = (holdings: Iterable<Holding>): ReadonlyArray<Shed> =>
  inOrder(Map.groupBy(holdings, ({ pod }) => pod)).flatMap(([, logs]) => {
    const containers = inOrder(Map.groupBy(logs, ({ container }) => container)).map(([key, family]) =>
      withinContainer(key, family),
    )
    const total = containers.reduce((sum, { bytes }) => sum + bytes, 0)
    const next = largestFirst(containers.flatMap(({ bytes, key, queue }) => turns(key, queue, bytes)))
    const limit = lowest(logs.map(({ maxTotal }) => maxTotal.pod))
    return [...containers.flatMap(({ going }) => going), ...enough(next, total - limit, ({ bytes }) => bytes)]
  })
/**
 * What of a pod's line goes now: what is of its first log, and what is kept for now, so that its guards are asked again. The other logs wait until
 * that is gone: what goes side by side goes in no order, and the last of it may turn out to be needless.
 */
export const inTurn = (line: ReadonlyArray<Shed>): ReadonlyArray<Shed> => {
  const first = line.find(({ kept }) => !kept)
  return line.filter(({ kept, path }) => kept || path === first?.path)
}

interface Family {
  readonly key: string
  readonly going: ReadonlyArray<Shed>
  /** What would go next, in order, and the bytes that are left without `going`. */
  readonly queue: ReadonlyArray<Shed>
  readonly bytes: number
}
const withinContainer = (key: string, family: ReadonlyArray<Holding>): Family => {
  const queue = family
    .toSorted(byTurn)
    .flatMap(({ path, segments }) => segments.map(({ bytes, kept, stamp }): Shed => ({ path, stamp, bytes, kept })))
  const total = sumOf(queue) + family.reduce((sum, { fixedBytes }) => sum + fixedBytes, 0)
  const limit = lowest(family.map(({ maxTotal }) => maxTotal.container))
  const going = enough(queue, total - limit, ({ bytes }) => bytes)
  return { key, going, queue: queue.slice(going.length), bytes: total - sumOf(going) }
}
const byTurn = (a: Holding, b: Holding): number =>
  Number(a.writer === "running") - Number(b.writer === "running") || a.attempt - b.attempt || compare(a.path, b.path)
const lowest = (limits: ReadonlyArray<number | undefined>): number =>
  Math.min(Infinity, ...limits.filter((limit) => limit !== undefined))

/** Whether a file system must be relieved. Once it must, it must until `targetFree`: else the next line would be too much again. */
export const isPressing = (
  freeBytes: number,
  already: boolean,
  { minFree, targetFree = minFree }: PressureLimits,
): boolean => freeBytes < (already ? targetFree : minFree)

/** What goes; how many of the bytes that were asked for can't be had; and how many more there would be if nothing were kept. */
export interface Relief {
  readonly sheds: ReadonlyArray<Shed>
  readonly missingBytes: number
  readonly keptBytes: number
}
/**
 * What goes so that as many bytes become free on the one file system that the logs are on. First what guards have let go, the oldest of all logs
 * first; then the oldest segment of the log that holds most bytes in segments, again and again. Of each log the newest `keepFiles` files
 * stay. What is kept for now is named, so that its guards are asked, but frees nothing: what comes after it goes in its place.
 */
export const underPressure = (holdings: Iterable<Holding>, bytes: number, keepFiles: number): Relief => {
  const shipped: Array<Candidate> = []
  const others: Array<Turn> = []
  for (const { fixedFiles, path, segments } of holdings) {
    const rest: Array<Candidate> = []
    const mayGo = Math.min(segments.length, segments.length + fixedFiles - keepFiles)
    for (const [at, { bytes, cleared, kept, stamp }] of segments.entries()) {
      if (at < mayGo && cleared) shipped.push({ path, stamp, bytes, kept })
      // What stays is in the line, too: it counts for how much the log holds.
      else rest.push({ path, stamp, bytes, kept, stays: at >= mayGo })
    }
    // Not as arguments of one call: a stack has no room for a hundred thousand.
    for (const turn of turns(path, rest, sumOf(rest))) others.push(turn)
  }
  shipped.sort((a, b) => compare(a.stamp, b.stamp) || compare(a.path, b.path))
  const freed = shipped.reduce((sum, candidate) => sum + freedBy(candidate), 0)
  // Ten thousand logs are not sorted for nothing.
  const next = freed >= bytes ? [] : largestFirst(others).filter(({ stays }) => stays !== true)
  const sheds = enough([...shipped, ...next], bytes, freedBy)
  const keptBytes = sumOf(sheds.filter(({ kept }) => kept))
  return {
    sheds: sheds.map(({ bytes, kept, path, stamp }) => ({ path, stamp, bytes, kept })),
    missingBytes: Math.max(0, bytes - (sumOf(sheds) - keptBytes)),
    keptBytes,
  }
}
const freedBy = ({ bytes, kept }: Shed): number => (kept ? 0 : bytes)

interface Candidate extends Shed {
  readonly stays?: boolean
}
/** A segment whose turn comes when nothing holds more than `heldBytes`. */
interface Turn {
  readonly key: string
  readonly heldBytes: number
  readonly candidate: Candidate
}
/** What `key` would lose, in order, with how much it holds by then. */
const turns = (key: string, queue: ReadonlyArray<Candidate>, bytes: number): ReadonlyArray<Turn> => {
  let heldBytes = bytes
  return queue.map((candidate) => {
    const turn = { key, heldBytes, candidate }
    heldBytes -= candidate.bytes
    return turn
  })
}
/**
 * Takes from whichever holds most, again and again. What one holds never grows while it loses, so that sorting by it comes to the same, and
 * doesn't go through ten thousand logs for each segment.
 */
const largestFirst = (all: ReadonlyArray<Turn>): ReadonlyArray<Candidate> =>
  all.toSorted((a, b) => b.heldBytes - a.heldBytes || compare(a.key, b.key)).map(({ candidate }) => candidate)

/** The first of a line that free as many bytes; all of it if they don't. */
const enough = (line: ReadonlyArray<Shed>, bytes: number, freed: (shed: Shed) => number): ReadonlyArray<Shed> => {
  let missing = bytes
  let count = 0
  for (const shed of line) {
    if (missing <= 0) break
    missing -= freed(shed)
    count += 1
  }
  return line.slice(0, count)
}

const sumOf = (sheds: ReadonlyArray<Pick<Shed, "bytes">>): number => sheds.reduce((sum, { bytes }) => sum + bytes, 0)
/** The same line whoever was looked at last. */
const inOrder = <V>(groups: ReadonlyMap<string, V>): ReadonlyArray<readonly [string, V]> =>
  [...groups].toSorted(([a], [b]) => compare(a, b))
const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
