/**
 * Given, when, then for the two pure functions, `plan` and `evolve`: a directory as a table of names in, steps as lines of text out; events in, a state out.
 * Needs no test framework: what isn't as expected throws, with both sides in it.
 */
import type { Envelope, Unstored } from "../event/envelope.ts"
import { CORE_VERSION, type Fact, type History } from "../event/payload.ts"
import { besideOf, type Log, nameOf } from "../log/log.ts"
import type { Stamp } from "../log/name.ts"
import { Policy, type PolicyInput } from "../log/policy.ts"
import { type Entry, type FileSeen, type KnownCodec, type Snapshot, snapshotOf } from "../log/snapshot.ts"
import { type Deferral, evolve, type Failure, initialState, type LogState } from "../plan/evolve.ts"
import { type Limits, limitsOf, plan } from "../plan/plan.ts"
import type { Step } from "../plan/step.ts"

/** The file system's time of every scan that doesn't say otherwise: 2026-09-09T04:33:10Z. */
export const SCANNED_AT_MS: number = Date.UTC(2026, 8, 9, 4, 33, 10)
/** How long ago a file was last written that doesn't say otherwise: long enough to have settled. */
const AGE_MS = 3_600_000
const CODECS: ReadonlyArray<KnownCodec> = [
  { id: "gzip", suffix: ".gz" },
  { id: "zstd", suffix: ".zst" },
]

/** One file of the table. A bare number is its size in bytes. */
export type GivenFile =
  | number
  | {
      readonly bytes?: number
      /** How long before the scan it was last written, in milliseconds; an hour if not given. */
      readonly agoMs?: number
      readonly kind?: Entry["kind"]
      /** Name of the file that this is another name for. */
      readonly sameAs?: string
    }
/** What lies there, under which policy. Names that the log's own name doesn't begin may be given too; no listing would show them. */
export interface Situation {
  readonly files: Readonly<Record<string, GivenFile>>
  /** `/logs/0.log` if not given. */
  readonly log?: string
  /** What isn't given is as in `Policy`, but for `maxSize`, which is 10 bytes. */
  readonly policy?: PolicyInput
  /** gzip and zstd if not given. */
  readonly codecs?: ReadonlyArray<KnownCodec>
  readonly scannedAtMs?: number
  /** What guards have to say, see `Limits`; nothing if not given. */
  readonly guards?: Partial<Pick<Limits, "guarded" | "cleared">>
  /** Whether the log's container has ended, see `Limits`; it runs if not given. */
  readonly writer?: Limits["writer"]
  /** Segments that other limits than the log's own want gone, by name, and why. */
  readonly shed?: Readonly<Record<string, "budget" | "pressure">>
}

/** The snapshot of a situation. */
export const givenSnapshot = ({
  codecs = CODECS,
  files,
  log = "/logs/0.log",
  scannedAtMs = SCANNED_AT_MS,
}: Situation): Snapshot => {
  const entries = Object.entries(files).flatMap(([name, file]): ReadonlyArray<Entry> => {
    if (name !== nameOf(log) && !name.startsWith(`${nameOf(log)}.`)) return []
    const {
      agoMs = AGE_MS,
      bytes = 0,
      kind = "file",
      sameAs = name,
    } = typeof file === "number" ? { bytes: file } : file
    return [
      { name, path: besideOf(log, name), bytes, kind, modifiedMs: scannedAtMs - agoMs, identity: `inode of ${sameAs}` },
    ]
  })
  return snapshotOf({ path: log }, { entries, takenAtMs: scannedAtMs }, codecs)
}

/**
 * `given({ files: { "0.log": 12 } }).whenPlanned("20260909-043310").thenSteps("Rotate 0.log to 0.log.20260909-043310")`
 */
export const given = (situation: Situation) => ({
  whenPlanned: (now: Stamp) => {
    const { codecs = CODECS, policy = {} } = situation
    const limits = limitsOf(Policy.parse({ maxSize: 10, ...policy }), codecs)
    if (limits === undefined) throw new Error(`no codec ${policy.compression} is given`)
    const snapshot = givenSnapshot(situation)
    const { guards, shed = {}, writer = "running" } = situation
    const stamps = snapshot.segments.flatMap(({ name, stamp }) => {
      const reason = shed[name]
      return reason === undefined ? [] : [[stamp, reason] as const]
    })
    const steps = plan({ ...limits, ...guards, writer, shed: new Map(stamps) }, snapshot, now)
    for (const file of steps.flatMap(filesOf)) checkShown(snapshot, file)
    const namesAfter = Object.keys(filesAfter(situation, steps)).toSorted()
    return {
      steps,
      /** The steps as text, in order. */
      lines: steps.map(tellStep),
      /** Throws unless these are all the steps, in this order; see `tellStep` for how they are written. */
      thenSteps: (...expected: ReadonlyArray<string>): void => checkSame(steps.map(tellStep), expected),
      /** The names in the directory after every step has been done, sorted. */
      namesAfter,
      /** Throws unless `namesAfter` are these. */
      thenNames: (...expected: ReadonlyArray<string>): void => checkSame(namesAfter, expected),
      /** The situation after every step has been done; `laterMs` after the first one. The rotated file keeps the time it was written at. */
      andDone: (laterMs = AGE_MS) => given(situationAfter(situation, steps, laterMs)),
    }
  },
})

/** A step in one line, with names for paths: all that it says but sizes and times. */
export const tellStep = (step: Step): string => {
  switch (step._tag) {
    case "Clean": {
      if (step.reason === "temporary") return `Clean ${nameOf(step.file.path)}, temporary`
      return `Clean ${step.file.name}, superseded by ${step.twin === "active" ? "the active file" : step.twin.name}`
    }
    case "Remove":
      return `Remove ${step.segment.name}, ${step.reason}`
    case "Compress":
      return `Compress ${step.segment.name} to ${nameOf(step.to)}, ${step.codec}`
    case "Offer":
      return `Offer ${step.segment.name}`
    case "Rotate":
      return `Rotate ${nameOf(step.file.path)} to ${nameOf(step.to)}${step.tells ? "" : ", telling nobody"}`
    case "Reopen":
      return `Reopen ${nameOf(step.path)}${step.interrupted === null ? "" : `, after ${step.interrupted.name}`}`
    case "Refuse":
      return `Refuse ${nameOf(step.path)}: ${step.message}; ${step.hint}`
  }
}

/** Every file that a step holds. */
const filesOf = (step: Step): ReadonlyArray<FileSeen> => {
  switch (step._tag) {
    case "Clean":
      return step.reason === "superseded" && step.twin !== "active" ? [step.file, step.twin] : [step.file]
    case "Remove":
    case "Compress":
    case "Offer":
      return [step.segment]
    case "Rotate":
      return [step.file]
    case "Reopen":
      return step.interrupted === null ? [] : [step.interrupted]
    case "Refuse":
      return []
  }
}

/** A plan may only mention files as it was shown them: passes act on their sizes and identities. */
const checkShown = ({ active, segments, temporaries }: Snapshot, file: FileSeen): void => {
  const shown = [active, ...segments, ...temporaries].some((seen) => seen === file)
  if (!shown) throw new Error(`a step holds ${file.path} as the snapshot does not`)
}

const filesAfter = ({ files }: Situation, steps: ReadonlyArray<Step>): Readonly<Record<string, GivenFile>> => {
  const left = new Map(Object.entries(files))
  for (const step of steps) {
    switch (step._tag) {
      case "Clean":
        left.delete(nameOf(step.file.path))
        break
      case "Remove":
        left.delete(step.segment.name)
        break
      case "Compress":
        // A guarded segment may have been removed by an earlier step.
        if (!left.has(step.segment.name)) break
        left.set(nameOf(step.to), left.get(step.segment.name) ?? 0)
        left.delete(step.segment.name)
        break
      case "Rotate":
        left.set(nameOf(step.to), left.get(nameOf(step.file.path)) ?? 0)
        if (step.tells) left.set(nameOf(step.file.path), 0)
        else left.delete(nameOf(step.file.path))
        break
      case "Reopen":
        left.set(nameOf(step.path), 0)
        break
      case "Offer":
      case "Refuse":
        break
    }
  }
  return Object.fromEntries(left)
}

const situationAfter = (situation: Situation, steps: ReadonlyArray<Step>, laterMs: number): Situation => {
  const older = Object.entries(filesAfter(situation, steps)).map(([name, file]): readonly [string, GivenFile] => {
    const row = typeof file === "number" ? { bytes: file } : file
    return [name, { ...row, agoMs: (row.agoMs ?? AGE_MS) + laterMs }]
  })
  return {
    ...situation,
    files: Object.fromEntries(older),
    scannedAtMs: (situation.scannedAtMs ?? SCANNED_AT_MS) + laterMs,
  }
}

/** A state with plain objects and sorted arrays in place of maps and sets. */
export interface PlainState {
  /** Bytes by name. */
  readonly files: Readonly<Record<string, number>> | null
  /** By stamp. */
  readonly histories: Readonly<Record<Stamp, History>>
  readonly lastRotatedAt: string | null
  readonly lastSegment: string | null
  readonly deferred: Readonly<Record<string, Deferral>>
  readonly failing: Readonly<Record<string, Failure>>
  readonly planned: LogState["planned"]
}
export const plainState = ({
  deferred,
  failing,
  files,
  histories,
  lastRotatedAt,
  lastSegment,
  planned,
}: LogState): PlainState => ({
  files: files === null ? null : Object.fromEntries(files),
  histories: Object.fromEntries(histories),
  lastRotatedAt,
  lastSegment,
  deferred: Object.fromEntries(deferred),
  failing: Object.fromEntries(failing),
  planned,
})

/** The time of the first event of `givenEvents`; each further one is a second later. */
export const FIRST_EVENT_AT: string = new Date(SCANNED_AT_MS).toISOString()
/** The envelope of the event at this place, starting with 0, of a pass that other tests need no more of. */
export const envelopeOf = (fact: Fact, at = 0, log: Log = { path: "/logs/0.log" }): Envelope => {
  const event: Unstored = {
    ...fact,
    id: `00000000-0000-4000-8000-${String(at + 1).padStart(12, "0")}`,
    time: new Date(SCANNED_AT_MS + at * 1_000).toISOString(),
    version: CORE_VERSION,
    log,
    metadata: { correlationId: "pass", causationId: null, traceId: null, spanId: null },
  }
  return { ...event, position: at + 1 }
}

/** `givenEvents({ type: "Scanned", … }, { type: "Rotated", … }).thenState({ files: { … }, … })`; `whenToo` adds what happens next. */
export const givenEvents = (...facts: ReadonlyArray<Fact>) => {
  const state = facts.map((fact, at) => envelopeOf(fact, at)).reduce(evolve, initialState)
  return {
    state,
    whenToo: (...more: ReadonlyArray<Fact>) => givenEvents(...facts, ...more),
    /** Throws unless this is the whole state. */
    thenState: (expected: PlainState): void => checkSame(plainState(state), expected),
  }
}

/** What test frameworks show as a difference. */
class Mismatch extends Error {
  override readonly name = "AssertionError"
  readonly actual: unknown
  readonly expected: unknown
  constructor(message: string, actual: unknown, expected: unknown) {
    super(message)
    this.actual = actual
    this.expected = expected
  }
}
const checkSame = (actual: unknown, expected: unknown): void => {
  const [got, wanted] = [canonical(actual), canonical(expected)]
  if (got !== wanted) throw new Mismatch(`expected\n${wanted}\nbut got\n${got}`, actual, expected)
}
/** JSON with sorted keys. */
const canonical = (value: unknown): string =>
  JSON.stringify(
    value,
    (_key, part: unknown) =>
      typeof part === "object" && part !== null && !Array.isArray(part)
        ? Object.fromEntries(Object.entries(part).toSorted(([a], [b]) => (a < b ? -1 : 1)))
        : part,
    2,
  )
