/** What a pass does about what a scan saw. Pure and total: no clock, no I/O, no Effect. */
import { besideOf, nameOf } from "../log/log.ts"
import { formatRotatedName, nextStamp, type Stamp } from "../log/name.ts"
import { NO_COMPRESSION, type Policy } from "../log/policy.ts"
import type { KnownCodec, Segment, Snapshot } from "../log/snapshot.ts"
import type { Step } from "./step.ts"

/** `policy` with the codec its `compression` names; null: segments stay plain. */
export interface Limits {
  readonly maxSize: number
  readonly maxFiles: number
  readonly codec: KnownCodec | null
}
/** Puts the codec in place of its id. Undefined: no codec of that id is known. */
export const limitsOf = (policy: Policy, codecs: ReadonlyArray<KnownCodec>): Limits | undefined => {
  const codec = policy.compression === NO_COMPRESSION ? null : codecs.find(({ id }) => id === policy.compression)
  return codec === undefined ? undefined : { maxSize: policy.maxSize, maxFiles: policy.maxFiles, codec }
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
  const { cleaning, kept } = leftovers(snapshot)
  // Besides the active file, and the segment that this very pass makes of it.
  const room = limits.maxFiles - (rotates ? 2 : 1)
  const excess = kept.slice(0, Math.max(0, kept.length - room))
  const staying = kept.slice(excess.length)
  // The newest segment stays plain until the next rotation, for tailers that still read it (kubelet's rule).
  const resting = rotates ? staying : staying.slice(0, -1)
  return [
    ...rotation,
    ...cleaning,
    ...excess.map((segment): Step => ({ _tag: "Remove", segment, reason: "max-files" })),
    ...(limits.codec === null ? [] : compressing(limits.codec, resting, snapshot.takenAtMs)),
  ]
}

const rotationSteps = (limits: Limits, snapshot: Snapshot, now: Stamp): ReadonlyArray<Step> => {
  const { active, log, newestStamp, segments } = snapshot
  // A missing active file means that an earlier pass stopped between rename and reopen, or that somebody took it away.
  if (active === null) return [{ _tag: "Reopen", path: log.path, interrupted: segments.findLast(isPlain) ?? null }]
  const undone = segments.filter((segment) => segment.identity === active.identity)
  const steps = undone.map((file): Step => ({ _tag: "Clean", reason: "superseded", file, twin: "active" }))
  if (active.bytes < limits.maxSize) return steps
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
  return [...steps, { _tag: "Rotate", file: active, to }]
}

const isPlain = (segment: Segment): boolean => segment.suffix === ""

/** Splits the segments into leftovers, with the steps that clear them away, and those that count. */
const leftovers = (
  snapshot: Snapshot,
): { readonly cleaning: ReadonlyArray<Step>; readonly kept: ReadonlyArray<Segment> } => {
  const twins = new Map<Stamp, Segment>()
  for (const segment of snapshot.segments) if (!isPlain(segment)) twins.set(segment.stamp, segment)
  const cleaning: Array<Step> = snapshot.temporaries.map((file) => ({ _tag: "Clean", reason: "temporary", file }))
  const kept: Array<Segment> = []
  for (const segment of snapshot.segments) {
    if (segment.identity === snapshot.active?.identity) continue
    const twin = isPlain(segment) ? twins.get(segment.stamp) : undefined
    if (twin === undefined) kept.push(segment)
    else cleaning.push({ _tag: "Clean", reason: "superseded", file: segment, twin })
  }
  return { cleaning, kept }
}

const compressing = (codec: KnownCodec, segments: ReadonlyArray<Segment>, takenAtMs: number): ReadonlyArray<Step> =>
  segments
    .filter((segment) => isPlain(segment) && Math.abs(takenAtMs - segment.modifiedMs) >= SETTLE_MS)
    .map((segment) => ({ _tag: "Compress", segment, to: segment.path + codec.suffix, codec: codec.id }))
