/** What a pass does about what a scan saw. Pure and total: no clock, no I/O, no Effect. */
import { besideOf, nameOf } from "../log/log.ts"
import { formatRotatedName, nextStamp, type Stamp } from "../log/name.ts"
import { type AppliedPolicy, NO_COMPRESSION } from "../log/policy.ts"
import type { FileSeen, KnownCodec, Segment, Snapshot } from "../log/snapshot.ts"
import type { Step } from "./step.ts"
import { twinsIn } from "./twin.ts"

/** What bounds a log now: `policy` with the codec its `compression` names (null: segments stay plain), and what guards have to say. */
export interface Limits {
  readonly maxSize: number
  readonly maxFiles: number
  readonly codec: KnownCodec | null
  /** Guards may keep a segment that would be removed: it is compressed, then, like those that stay. */
  readonly guarded: boolean
  /** Segments that the guards who are asked early have let go; null: no guard wants to be asked early. */
  readonly cleared: Pick<ReadonlySet<Stamp>, "has"> | null
  readonly writer: Writer
  /** Segments that must go for the sake of limits that other logs share, and which: `policy.maxTotal` or `policy.pressure`. */
  readonly shed: ReadonlyMap<Stamp, "budget" | "pressure">
}
/** `stopped`: the log's container has ended. `surplus`: and it is none of those whose logs `policy.keepStopped` keeps. */
export type Writer = "running" | "stopped" | "surplus"
/** Puts the codec in place of its id. Undefined: no codec of that id is known. */
export const limitsOf = (
  { compression, maxFiles, maxSize }: Pick<AppliedPolicy, "compression" | "maxFiles" | "maxSize">,
  codecs: ReadonlyArray<KnownCodec>,
): Limits | undefined => {
  const codec = compression === NO_COMPRESSION ? null : codecs.find(({ id }) => id === compression)
  return codec === undefined
    ? undefined
    : { maxSize, maxFiles, codec, guarded: false, cleared: null, writer: "running", shed: new Map() }
}

/**
 * A plain segment that was written to this recently may still be in its writer's hands: a writer that is told to reopen by
 * a signal does so in its own time. Such a segment is compressed on a later pass.
 */
export const SETTLE_MS = 1_000

/**
 * The ordered steps of one pass. `now` is the UTC stamp of this moment, the only thing taken from outside.
 *
 * The rules are the kubelet's (`rotateLog`: clean, remove, compress, rotate), with three differences. Rotation comes first, so that
 * a busy writer never waits for slow work; upkeep is planned on every pass, not just when the active file is full, so
 * that what failed is tried again; and only names that parse as a rotated file of this log are ever mentioned.
 */
export const plan = (limits: Limits, snapshot: Snapshot, now: Stamp): ReadonlyArray<Step> => {
  if (limits.maxSize < 0 || snapshot.obstacle !== null) return []
  const rotation = rotationSteps(limits, snapshot, now)
  const rotates = rotation.some((step) => step._tag === "Rotate")
  const { cleaning, kept } = leftovers(snapshot, rotates && limits.maxSize > 0)
  const excess = kept.slice(0, Math.max(0, kept.length - roomFor(limits, snapshot, rotates)))
  const rest = kept.slice(excess.length)
  const held = mayHoldNewest(limits.writer, snapshot.active?.bytes ?? 0) ? newestPlain(snapshot)?.stamp : undefined
  const shed = rest.flatMap((segment) => {
    const reason = limits.writer === "surplus" ? "budget" : limits.shed.get(segment.stamp)
    // Unlike what maxFiles has no room for, it may be the newest one.
    if (reason === undefined || !isAtRest(segment, snapshot.takenAtMs) || segment.stamp === held) return []
    return [{ segment, reason }]
  })
  const going = new Set(shed.map(({ segment }) => segment))
  const staying = rest.filter((segment) => !going.has(segment))
  // The newest segment stays plain until the next rotation, for tailers that still read it (kubelet's rule). Of a container that has ended there is none.
  const resting = rotates || limits.writer !== "running" ? staying : staying.slice(0, -1)
  const packed = limits.guarded ? [...excess, ...going, ...resting] : resting
  return [
    ...rotation,
    ...cleaning,
    ...excess.map((segment): Step => ({ _tag: "Remove", segment, reason: "max-files" })),
    ...shed.map(({ reason, segment }): Step => ({ _tag: "Remove", segment, reason })),
    ...(limits.codec === null ? [] : compressing(limits.codec, packed, snapshot.takenAtMs)),
    ...offering(limits, staying, snapshot.takenAtMs),
  ]
}

/**
 * Whether the newest segment may be what a writer is going to write to, however long that has been silent: until there is a byte in the active file
 * nothing proves that it has reopened. It isn't removed for the sake of other logs, then.
 */
export const mayHoldNewest = (writer: Writer, activeBytes: number): boolean => writer === "running" && activeBytes === 0

/** Segments that fit beside the active file, and the segment that this very pass makes of it. */
const roomFor = ({ maxFiles, writer }: Limits, { active }: Snapshot, rotates: boolean): number =>
  maxFiles - (rotates ? 2 : writer === "running" || active !== null ? 1 : 0)

const rotationSteps = (limits: Limits, snapshot: Snapshot, now: Stamp): ReadonlyArray<Step> => {
  const { active, log, newestStamp, segments } = snapshot
  const ended = limits.writer !== "running"
  if (active === null && ended) return []
  // A missing active file means that an earlier pass stopped between rename and reopen, or that somebody took it away.
  if (active === null) return [{ _tag: "Reopen", path: log.path, interrupted: segments.findLast(isPlain) ?? null }]
  const undone = segments.filter((segment) => segment.identity === active.identity)
  const steps = undone.map((file): Step => ({ _tag: "Clean", reason: "superseded", file, twin: "active" }))
  // The file of a container that has ended is left to those who read it (`kubectl logs --previous`), until it is surplus: then it goes as a segment.
  const isDue = ended
    ? limits.writer === "surplus" && hasSettled(active, snapshot.takenAtMs)
    : active.bytes >= limits.maxSize
  if (!isDue) return steps
  const stamp = nextStamp(now, newestStamp)
  if (stamp === null) {
    const message = `no later name than ${formatRotatedName(nameOf(log.path), newestStamp ?? "")} can be made for the next segment`
    return [
      ...steps,
      {
        _tag: "Refuse",
        path: log.path,
        message,
        hint: "move the file whose stamp lies at the end of the calendar out of the log's directory",
      },
    ]
  }
  const to = besideOf(log.path, formatRotatedName(nameOf(log.path), stamp))
  return [...steps, { _tag: "Rotate", file: active, to, tells: !ended }]
}

const isPlain = (segment: Segment): boolean => segment.suffix === ""
const newestPlain = ({ active, segments }: Snapshot): Segment | undefined =>
  segments.findLast((segment) => isPlain(segment) && segment.identity !== active?.identity)

/**
 * Splits the segments into leftovers, with the steps that clear them away, and those that count. `rotates`: an active file that is not empty. If the
 * newest segment is, it is but a name, reserved by a rotation that was cut off before its rename; it must not take the place of a segment.
 */
const leftovers = (
  snapshot: Snapshot,
  rotates: boolean,
): { readonly cleaning: ReadonlyArray<Step>; readonly kept: ReadonlyArray<Segment> } => {
  const twins = twinsIn(snapshot.segments)
  const cleaning: Array<Step> = snapshot.temporaries.map((file) => ({ _tag: "Clean", reason: "temporary", file }))
  const kept: Array<Segment> = []
  const newest = snapshot.segments.at(-1)
  const reserved = rotates && newest !== undefined && isPlain(newest) && newest.bytes === 0 ? newest : null
  for (const segment of snapshot.segments) {
    if (segment.identity === snapshot.active?.identity) continue
    const twin = isPlain(segment) ? twins.get(segment.stamp) : undefined
    if (twin !== undefined) cleaning.push({ _tag: "Clean", reason: "superseded", file: segment, twin })
    else if (segment === reserved) cleaning.push({ _tag: "Clean", reason: "temporary", file: segment })
    else kept.push(segment)
  }
  return { cleaning, kept }
}

/** A compressed segment, or a plain one that nobody writes to any more. */
const isAtRest = (segment: Segment, takenAtMs: number): boolean => !isPlain(segment) || hasSettled(segment, takenAtMs)
const hasSettled = ({ modifiedMs }: FileSeen, takenAtMs: number): boolean =>
  Math.abs(takenAtMs - modifiedMs) >= SETTLE_MS

/** Oldest first. The newest one, too: it stays plain for tailers, but it is closed. */
const offering = ({ cleared }: Limits, segments: ReadonlyArray<Segment>, takenAtMs: number): ReadonlyArray<Step> =>
  cleared === null
    ? []
    : segments
        .filter((segment) => !cleared.has(segment.stamp) && isAtRest(segment, takenAtMs))
        .map((segment) => ({ _tag: "Offer", segment }))

const compressing = (codec: KnownCodec, segments: ReadonlyArray<Segment>, takenAtMs: number): ReadonlyArray<Step> =>
  segments
    .filter((segment) => isPlain(segment) && isAtRest(segment, takenAtMs))
    .map((segment) => ({ _tag: "Compress", segment, to: segment.path + codec.suffix, codec: codec.id }))
