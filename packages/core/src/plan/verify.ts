/**
 * What is wrong with a log: its files, as they were read to their end, against each other and against what events told of them. Pure and total:
 * no clock, no I/O, no Effect; whoever reads the files and looks again before a finding is believed is elsewhere.
 */
import type { Envelope } from "../event/envelope.ts"
import { isCoreType, type CoreFact } from "../event/payload.ts"
import { besideOf, type Log, nameOf } from "../log/log.ts"
import { nextStamp, type Stamp, stampIn, TEMPORARY_SUFFIX } from "../log/name.ts"
import type { FileSeen, Segment, Snapshot } from "../log/snapshot.ts"
import { formatBytes } from "../unit/quantity.ts"
import type { LogState } from "./evolve.ts"
import { type Comparison, twinsIn, verdictOf } from "./twin.ts"

/**
 * `damage`: bytes are gone, can't be read, or can't be trusted. `drift`: disk and journal tell different things, and nothing is lost. `leftover`: what an
 * interrupted pass left behind; its bytes are kept elsewhere.
 */
export type Severity = "damage" | "drift" | "leftover"

/** What is wrong, and how bad that is. */
export const SEVERITIES = {
  /** A compressed segment doesn't decode to its end. */
  undecodable: "damage",
  /** A file, or a directory, can't be read. */
  unreadable: "damage",
  /** A segment holds less, or something else, than the events say it was given. */
  altered: "damage",
  /** A plain segment and its compressed twin both hold bytes that the other doesn't. */
  conflict: "damage",
  /** A segment that is on record is gone. */
  missing: "damage",
  /** The active file is missing, and its writer has to be told. */
  "active-missing": "damage",
  /** A name and the time of what it holds don't go together. */
  "out-of-order": "damage",
  /** What lies at the log's path is no regular file. */
  "not-regular": "damage",
  /** A file, or all of a log, that no event tells of. */
  unrecorded: "drift",
  /** A stamp that lies ahead of the clock. */
  "ahead-of-time": "drift",
  temporary: "leftover",
  superseded: "leftover",
  /** A compressed twin that holds less than its plain original. */
  "invalid-twin": "leftover",
  /** The active file has a segment's name, too. */
  "second-name": "leftover",
  /** The journal's file is damaged. */
  "journal-corrupt": "damage",
  "journal-missing": "damage",
  /** A row of the journal isn't what was stored. */
  "journal-row": "damage",
  /** What the journal keeps beside its events to find them doesn't fit them. */
  "journal-index": "damage",
  "journal-unreadable": "damage",
} as const satisfies Record<string, Severity>
export type FindingKind = keyof typeof SEVERITIES

/**
 * One thing that is wrong. `path` is a file, a log or the journal; `log` is null where it is about no log. `repair`: whether it can be mended without
 * losing a byte, and whether it was.
 */
export interface Finding {
  readonly kind: FindingKind
  readonly severity: Severity
  readonly path: string
  readonly log: Log | null
  readonly message: string
  readonly hint: string
  readonly repair: "none" | "possible" | "done" | "failed"
}
export const findingOf = (
  kind: FindingKind,
  about: Pick<Finding, "path" | "log" | "message" | "hint">,
  repair: Finding["repair"] = "none",
): Finding => ({ kind, severity: SEVERITIES[kind], ...about, repair })

/** What reading a segment to its end came to. `bytes`: what it decodes to, or did before it failed. */
export type Reading =
  | { readonly _tag: "Whole"; readonly bytes: number }
  | { readonly _tag: "Broken"; readonly bytes: number; readonly why: string }
  | { readonly _tag: "Unread"; readonly message: string; readonly hint: string }

/** What the events tell of how the segments of a log came to be, beyond what a fold keeps. */
export interface Making {
  readonly rotated: Map<Stamp, { readonly bytes: number; readonly atMs: number }>
  /** By name. */
  readonly compressed: Map<string, { readonly bytesIn: number; readonly bytesOut: number }>
}

/** Adds an event, in order, to what is known by the log's path. Takes no more room than there are segments on record. */
export const remember = (makings: Map<string, Making>, event: Envelope): void => {
  if (!isCoreType(event.type)) return
  const fact = event as CoreFact
  if (!["Rotated", "Compressed", "Removed", "Cleaned"].includes(fact.type)) return
  const active = event.log.path
  const making = makings.get(active) ?? { rotated: new Map(), compressed: new Map() }
  makings.set(active, making)
  const stampOf = (path: string): Stamp | null => stampIn(nameOf(active), nameOf(path))
  switch (fact.type) {
    case "Rotated": {
      const stamp = stampOf(fact.data.to)
      if (stamp !== null) making.rotated.set(stamp, { bytes: fact.data.bytes, atMs: Date.parse(event.time) })
      return
    }
    case "Compressed": {
      const { bytesIn, bytesOut, to } = fact.data
      making.compressed.set(nameOf(to), { bytesIn, bytesOut })
      return
    }
    case "Removed":
    case "Cleaned": {
      const stamp = stampOf(fact.data.path)
      making.compressed.delete(nameOf(fact.data.path))
      if (fact.type === "Removed" && stamp !== null) making.rotated.delete(stamp)
      return
    }
    default:
      return
  }
}

/** `proven`: all its bytes were found in the segment that it was made of. `lone`: there is no such segment. */
export type TemporaryProof = "empty" | "proven" | "unproven" | "lone"

/** What was found of one log. Everything by path but `stamps`. */
export interface Examined {
  readonly snapshot: Snapshot
  /** The stamps in all names that look like a segment's of this log, ours or not. */
  readonly stamps: ReadonlySet<Stamp>
  readonly readings: ReadonlyMap<string, Reading>
  /** Of each plain segment with its compressed twin. `a` is the twin. */
  readonly twins: ReadonlyMap<string, Comparison>
  /** What is known of half-written files. */
  readonly temporaries: ReadonlyMap<string, TemporaryProof>
}
/** What is to be known of a log beside its files. */
export interface Circumstances {
  /** What the events add up to; null: there is no journal to be asked. */
  readonly state: LogState | null
  readonly making: Making | undefined
  /** A writer is to be told if the active file is missing. */
  readonly awaitsActive: boolean
  /** Nothing of it is touched, and another program rotates it. */
  readonly observed: boolean
  /** A source lists it, so that a pass will come by. */
  readonly listed: boolean
  /** An agent is at work: what looks like a leftover is what it has in hand. */
  readonly underWay: boolean
  /** Whether a leftover of this stamp may go: not where only a name tells that it is ours. */
  readonly isOurs: (stamp: Stamp) => boolean
  /** Now, as a stamp, and a day from now: the kubelet's stamps are local time. */
  readonly now: Stamp
  readonly tomorrow: Stamp
}

/** A writer has its new file from the reopening on, and the event is stored once that was answered: after a minute at the latest, twice over. */
const ORDER_SLACK_MS = 2 * 60_000

/** All that is wrong with a log, in order of the paths. */
export const judge = (examined: Examined, circumstances: Circumstances): ReadonlyArray<Finding> =>
  [
    ...activeFindings(examined, circumstances),
    ...leftoverFindings(examined, circumstances),
    ...segmentFindings(examined, circumstances),
    ...recordFindings(examined, circumstances),
    ...stampFindings(examined, circumstances),
  ].toSorted((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0))

const activeFindings = (
  { snapshot: { active, log, segments } }: Examined,
  { awaitsActive }: Circumstances,
): ReadonlyArray<Finding> =>
  active === null && awaitsActive
    ? [
        findingOf("active-missing", {
          path: log.path,
          log,
          message:
            segments.length === 0 ? "the active file is missing" : "the active file is missing; its segments are there",
          hint: "a pass has the writer reopen it: cordwood once, or cordwood run",
        }),
      ]
    : []

const isPlain = ({ suffix }: Segment): boolean => suffix === ""
/** The twin of a plain segment. */
const twinOf = (segment: Segment, compressed: ReadonlyMap<Stamp, Segment>): Segment | undefined =>
  isPlain(segment) ? compressed.get(segment.stamp) : undefined
const isActive = ({ identity }: FileSeen, { active }: Snapshot): boolean => active?.identity === identity

const NEXT_PASS = "the next pass removes it; so does --repair"
/** What is left of a leftover that may not be removed for other reasons than its bytes. */
const notOursHint = ({ observed }: Circumstances): string =>
  observed
    ? "the log's policy only observes, so that this is for whoever rotates it"
    : "nothing but the name tells that it is this log's: it is left alone"

const leftoverFindings = (examined: Examined, circumstances: Circumstances): ReadonlyArray<Finding> => {
  const { snapshot, temporaries, twins } = examined
  const { log } = snapshot
  const active = nameOf(log.path)
  const { isOurs, listed, observed, underWay } = circumstances
  const found: Array<Finding> = []
  const mayGo = (stamp: Stamp): boolean => !observed && isOurs(stamp)
  const leftover = (kind: FindingKind, path: string, stamp: Stamp, message: string): void => {
    if (underWay) return
    const may = mayGo(stamp)
    const hint = may ? (listed ? NEXT_PASS : "--repair removes it") : notOursHint(circumstances)
    found.push(findingOf(kind, { path, log, message, hint }, may ? "possible" : "none"))
  }
  for (const { path } of snapshot.temporaries) {
    const stamp = stampIn(active, nameOf(path)) ?? ""
    const proof = temporaries.get(path)
    if (proof === undefined) continue
    if (proof === "proven" || proof === "empty") {
      const rest = proof === "empty" ? "it is empty" : "its segment is there"
      leftover("temporary", path, stamp, `a file that was being written when a pass was cut off; ${rest}`)
    } else if (!underWay) {
      const message =
        proof === "lone"
          ? "a file that was being written when a pass was cut off, and the segment that it was made of is not there"
          : "a file that was being written when a pass was cut off, and what it holds isn't what its segment does"
      const hint = `look into it, and copy it away if its bytes are needed${listed ? ": the next pass removes it" : ""}`
      found.push(findingOf("temporary", { path, log, message, hint }))
    }
  }
  const compressed = twinsIn(snapshot.segments)
  for (const segment of snapshot.segments) {
    const { path, stamp } = segment
    if (isActive(segment, snapshot)) {
      leftover("second-name", path, stamp, "it is the active file under a second name, from a rotation that was undone")
      continue
    }
    const twin = twinOf(segment, compressed)
    const compared = twins.get(path)
    if (twin === undefined || compared === undefined) continue
    const { at, broken, bytes, relation } = compared
    switch (verdictOf(compared)) {
      case "plain-goes":
        leftover(
          "superseded",
          path,
          stamp,
          relation === "Same"
            ? `${nameOf(twin.path)} holds all of its bytes`
            : `it was cut to ${segment.bytes} bytes; ${nameOf(twin.path)} holds these and ${bytes - segment.bytes} more`,
        )
        break
      case "twin-goes":
        leftover("invalid-twin", twin.path, stamp, `${held(compared)}, and ${nameOf(path)} holds these and more`)
        break
      case "torn-twin-goes": {
        if (twin.bytes === 0) {
          leftover("invalid-twin", twin.path, stamp, `it is empty, and ${nameOf(path)} is there`)
          break
        }
        if (underWay) break
        const out = bytes === 0 ? "nothing comes out" : `what comes out differs from ${nameOf(path)} from byte ${at} on`
        const message = `it doesn't decode (${broken ?? ""}), and ${out}`
        const hint = `${nameOf(path)} counts${listed ? ", and the next pass removes this one" : ""}; copy it away first if it is to be looked into`
        found.push(findingOf("invalid-twin", { path: twin.path, log, message, hint }))
        break
      }
      case "strange-twin-goes":
        found.push(
          findingOf("conflict", {
            path: twin.path,
            log,
            message: `it decodes, and differs from ${nameOf(path)} beside it from byte ${at} on`,
            hint: `${nameOf(path)} counts${listed ? ", and the next pass removes this one" : ""}; copy it away first if it is to be looked into`,
          }),
        )
        break
      case "both-stay":
        found.push(
          findingOf("conflict", {
            path: twin.path,
            log,
            message:
              relation === "Beyond"
                ? `it doesn't decode to its end (${broken ?? ""}), and yet holds more than ${nameOf(path)} beside it`
                : `it decodes, and differs from ${nameOf(path)} beside it from byte ${at} on`,
            hint: "neither is removed: compare the two (zcat, cmp) and move one of them away",
          }),
        )
    }
  }
  return found
}
const held = ({ broken, bytes }: Comparison): string =>
  broken === null ? `it decodes to ${bytes} bytes` : `it doesn't decode after ${bytes} bytes (${broken})`

/** The paths of plain segments and their twins, where the two could be compared: they are told of together. */
const pairedIn = ({ snapshot, twins }: Examined): ReadonlySet<string> => {
  const compressed = twinsIn(snapshot.segments)
  return new Set(
    snapshot.segments.flatMap((segment) => {
      const twin = twins.has(segment.path) ? twinOf(segment, compressed) : undefined
      return twin === undefined ? [] : [segment.path, twin.path]
    }),
  )
}

/** What came of reading the segments; of a pair that could be compared, the one that stays, which was read to its end for that. */
const remaining = (examined: Examined): ReadonlyMap<string, Reading> => {
  const { readings, snapshot, twins } = examined
  const paired = pairedIn(examined)
  const left = new Map([...readings].filter(([path]) => !paired.has(path)))
  const compressed = twinsIn(snapshot.segments)
  for (const segment of snapshot.segments) {
    const compared = twins.get(segment.path)
    const twin = twinOf(segment, compressed)
    if (compared === undefined || twin === undefined) continue
    const verdict = verdictOf(compared)
    if (verdict === "plain-goes") left.set(twin.path, { _tag: "Whole", bytes: compared.bytes })
    else if (verdict !== "both-stay") left.set(segment.path, { _tag: "Whole", bytes: segment.bytes })
  }
  return left
}

/** What is on record of a segment that a plugin has told of, such as where it was shipped to. */
const elsewhere = (segment: Segment, { state }: Circumstances): string => {
  const told = state?.histories.get(segment.stamp)?.told ?? []
  return told.length === 0 ? "" : `; ${told.map(({ type }) => type).join(", ")} is on record for it (cordwood events)`
}

const segmentFindings = (examined: Examined, circumstances: Circumstances): ReadonlyArray<Finding> => {
  const { snapshot } = examined
  const { log } = snapshot
  const { making, state } = circumstances
  const readings = remaining(examined)
  return snapshot.segments.flatMap((segment): ReadonlyArray<Finding> => {
    const reading = readings.get(segment.path)
    if (reading === undefined || isActive(segment, snapshot)) return []
    const about = (kind: FindingKind, message: string, hint: string): ReadonlyArray<Finding> => [
      findingOf(kind, { path: segment.path, log, message, hint: `${hint}${elsewhere(segment, circumstances)}` }),
    ]
    if (reading._tag === "Unread") return about("unreadable", reading.message, reading.hint)
    if (reading._tag === "Broken") {
      const message = `it doesn't decode after ${reading.bytes} bytes: ${reading.why}`
      return about("undecodable", message, "it stays as it is: fetch a copy, or save what decodes (zcat, zstdcat)")
    }
    const rotated = making?.rotated.get(segment.stamp)
    const compressed = making?.compressed.get(segment.name)
    const recorded = state?.files?.get(segment.name)
    if (isPlain(segment)) {
      // It may have grown since, as its writer went on until it reopened; it can't have shrunk.
      const most = Math.max(rotated?.bytes ?? 0, recorded ?? 0)
      if (segment.bytes < most) return about("altered", lacks(segment.bytes, most), ALTERED_HINT)
      return []
    }
    if (compressed !== undefined && reading.bytes !== compressed.bytesIn) {
      const message = `it decodes to ${reading.bytes} bytes, and was made of ${compressed.bytesIn}`
      return about("altered", message, ALTERED_HINT)
    }
    if (compressed === undefined && rotated !== undefined && reading.bytes < rotated.bytes) {
      return about("altered", lacks(reading.bytes, rotated.bytes), ALTERED_HINT)
    }
    const expected = compressed?.bytesOut ?? recorded
    if (expected !== undefined && segment.bytes !== expected) {
      const message = `it takes ${segment.bytes} bytes, and took ${expected} when that was recorded`
      return about("altered", message, ALTERED_HINT)
    }
    return []
  })
}
const ALTERED_HINT = "another program has changed, cut or replaced it, or the disk has: it stays as it is"
const lacks = (bytes: number, recorded: number): string =>
  `it holds ${bytes} bytes, and ${recorded} are on record: ${formatBytes(recorded - bytes)} are gone`

const RECORDING = "the next pass puts it on record; so does --repair"
const recordFindings = (examined: Examined, circumstances: Circumstances): ReadonlyArray<Finding> => {
  const { snapshot, stamps } = examined
  const { listed, observed, state, underWay } = circumstances
  const { log } = snapshot
  if (state === null) return []
  const hint = listed ? RECORDING : "--repair puts it on record"
  if (state.files === null) {
    if (snapshot.segments.length === 0) return []
    const message = `no event tells of this log's ${snapshot.segments.length} segments`
    return [findingOf("unrecorded", { path: log.path, log, message, hint }, "possible")]
  }
  const { files } = state
  const found: Array<Finding> = []
  const paired = pairedIn(examined)
  for (const segment of snapshot.segments) {
    // What is told of as a leftover needs no record.
    if (files.has(segment.name) || isActive(segment, snapshot) || paired.has(segment.path)) continue
    const message = "no event tells of it: it was made while no agent could record it, or by another program"
    found.push(findingOf("unrecorded", { path: segment.path, log, message, hint }, "possible"))
  }
  // While an agent only observes, another rotates, and what that removes is no loss. Of a log that is gone, nothing is missing.
  const isGone = !listed && snapshot.active === null && stamps.size === 0
  if (observed || isGone) return found
  for (const [name, bytes] of files) {
    const stamp = stampIn(nameOf(log.path), name)
    if (stamp === null || stamps.has(stamp) || name.endsWith(TEMPORARY_SUFFIX)) continue
    found.push(
      findingOf(
        "missing",
        {
          path: besideOf(log.path, name),
          log,
          message: `it is gone, and no event says that it was removed; it held ${bytes} bytes`,
          hint: `${underWay ? "the agent's next pass" : listed ? "the next pass, or --repair," : "--repair"} puts the loss on record; the disk's owner may know who removed it`,
        },
        "possible",
      ),
    )
  }
  return found
}

const stampFindings = (examined: Examined, circumstances: Circumstances): ReadonlyArray<Finding> => {
  const { snapshot } = examined
  const { making, tomorrow } = circumstances
  const { log, newestStamp } = snapshot
  const found: Array<Finding> = []
  if (newestStamp !== null && newestStamp > tomorrow) {
    const message = `the stamp ${newestStamp} lies ahead of the clock`
    const hint =
      nextStamp(circumstances.now, newestStamp) === null
        ? "no later name can be made, so that the log isn't rotated: move the file away"
        : "the next segments are named a second after it, each: move the file away if it isn't this log's"
    const named = snapshot.segments.find(({ stamp }) => stamp === newestStamp)?.path
    const path = named ?? besideOf(log.path, `${nameOf(log.path)}.${newestStamp}`)
    found.push(findingOf("ahead-of-time", { path, log, message, hint }))
  }
  // A twin has its original's times.
  const dated = snapshot.segments.flatMap((segment, index) => {
    const rotated = making?.rotated.get(segment.stamp)
    const isTwin = snapshot.segments[index - 1]?.stamp === segment.stamp
    return rotated === undefined || isTwin || isActive(segment, snapshot) ? [] : [{ ...segment, atMs: rotated.atMs }]
  })
  for (const [index, { atMs, modifiedMs, path }] of dated.entries()) {
    const before = dated[index - 1]
    // The clock may have been set back between the two: then their times say nothing.
    if (before === undefined || before.atMs > atMs || modifiedMs >= before.atMs - ORDER_SLACK_MS) continue
    const message = `it was last written to at ${iso(modifiedMs)}, before ${before.name} was cut off at ${iso(before.atMs)}, and yet comes after it`
    const hint = "names may have been swapped, or a file put back from a copy: compare the times in their lines"
    found.push(findingOf("out-of-order", { path, log, message, hint }))
  }
  return found
}
/** A file's time may be anything. */
const iso = (ms: number): string => (Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : `${ms} ms`)
