/** What one pass puts on record: what it scanned, what it did, what failed. Says nothing twice, and decides nothing. */
import {
  Activity,
  type CoreFact,
  type Fact,
  failureKey,
  type Glance,
  type History,
  type Log,
  type LogState,
  missingOf,
  nameOf,
  NO_HISTORY,
  type Origin,
  pathOf,
  type PluginFact,
  type Snapshot,
  stampIn,
  type Step,
  stepName,
  TEMPORARY_SUFFIX,
} from "@cordwood/core"
import { Effect } from "effect"
import { factAttributes } from "./span.ts"
import type { PassPorts, Scan, Tally, Watched } from "./watched.ts"

/**
 * What a scan carries along of segments that are put off, or that fail, those that have waited longest first: after an outage of a day there may be thousands,
 * and every rotation stores a scan. A fold that begins there hears of the others when they are put off again.
 */
const MAX_CARRIED = 500
/** Characters that a scan carries along of what earlier events told of segments: an event is stored at a stretch, and no log is rotated meanwhile. */
const MAX_CARRIED_HISTORY = 4 * 1024 * 1024
/** What a scan names of more files than this isn't stored again with each rotation, if it is nothing new; see `#isToldOf`. */
const MAX_REPEATED = 1_000

/** What every error that reaches an operator carries. */
export interface Explained {
  readonly reason: string
  readonly message: string
  readonly hint: string
}

export class PassRecord {
  readonly ports: PassPorts
  readonly watched: Watched
  readonly tally: Tally
  readonly correlationId: string
  /** What failed last in this pass. */
  lastFailure: Explained | null = null
  #causationId: string | null = null
  /** What `filesIn` made of the last snapshot that it was asked of: of many files it is asked for several times a pass. */
  #files: { readonly of: Snapshot; readonly files: ReturnType<typeof filesIn> } | null = null

  constructor(ports: PassPorts, watched: Watched, tally: Tally) {
    this.ports = ports
    this.watched = watched
    this.tally = tally
    this.correlationId = ports.newId()
  }

  get log(): Log {
    return this.watched.log
  }
  /** What the events of the log add up to. */
  get state(): LogState {
    return this.ports.recorder.state(this.log.path)
  }
  /** What is known of the segment of that name. */
  historyOf(name: string): History {
    const stamp = stampIn(nameOf(this.log.path), name)
    return (stamp === null ? undefined : this.state.histories.get(stamp)) ?? NO_HISTORY
  }

  /**
   * Records what was scanned, if it is not what the events so far add up to, or if the pass is going to rotate. Not before a rotation that has
   * failed the same way before: a pass that has nothing new to tell tells nothing.
   */
  scanned(scan: Scan, rotates: boolean): Effect.Effect<void> {
    return Effect.suspend(() => {
      const failing = this.#isFailing("rotate") || this.#isFailing("reopen")
      if (!this.isNews(scan.snapshot) && (!rotates || failing || this.#isToldOf())) return Effect.void
      // While it only observes, another rotates, and what that removes is no loss.
      const missing = this.watched.applied.mode === "observe" ? [] : missingOf(this.state, this.log.path, scan.stamps)
      const { active } = scan.snapshot
      const activeBytes = active?.bytes ?? 0
      const segments = segmentsIn(scan.snapshot)
      const totalBytes = segments.reduce((sum, { bytes }) => sum + bytes, activeBytes)
      // First what is missing: whoever dies between the two events leaves it to the next one to tell, not to nobody.
      return Effect.andThen(
        Effect.forEach(missing, (fact) => this.#record(fact), { discard: true }),
        Effect.suspend(() => {
          const files = this.#withHistories(this.#filesIn(scan.snapshot))
          const data = { activeBytes, segments: segments.length, totalBytes, files, ...this.#carriedOn() }
          return Effect.map(this.#record({ type: "Scanned", data }), (id) => {
            this.#causationId = id
          })
        }),
      )
    })
  }

  /** What is put off and what fails goes along, too: both are told of once, and a fold begins with this event. */
  #carriedOn(): Pick<Extract<CoreFact, { type: "Scanned" }>["data"], "deferred" | "failing"> {
    const deferred = [...this.state.deferred].slice(0, MAX_CARRIED).map(([path, deferral]) => ({ path, ...deferral }))
    const failing = [...this.state.failing]
      .map(([key, failure]) => ({ step: Activity.parse(key.slice(0, key.indexOf(" "))), ...failure }))
      // A scan that came about ends these.
      .filter(({ step }) => step !== "scan" && step !== "reopen")
      .slice(0, MAX_CARRIED)
    return { ...(deferred.length === 0 ? {} : { deferred }), ...(failing.length === 0 ? {} : { failing }) }
  }

  /**
   * Whether the files need not be told of again: they are many, and a fold that begins with the latest scan has fewer events to go through than that
   * names files. Else a busy log beside a hundred thousand segments would, with megabytes at each rotation, push all others out of the journal.
   */
  #isToldOf(): boolean {
    const files = this.state.files?.size ?? 0
    return files > MAX_REPEATED && this.ports.recorder.sinceScan(this.log.path) < files
  }

  /**
   * What is known of each segment goes along, for those who read the journal from this event on; of the newest, which stay longest, if it is too much.
   * This agent knows the rest still, and the next one asks the guards again.
   */
  #withHistories(files: ReturnType<typeof filesIn>): Extract<CoreFact, { type: "Scanned" }>["data"]["files"] {
    const active = nameOf(this.log.path)
    const { histories } = this.state
    if (histories.size === 0) return [...files]
    let room = MAX_CARRIED_HISTORY
    return files
      .toReversed()
      .map((file) => {
        const stamp = file.name.endsWith(TEMPORARY_SUFFIX) ? null : stampIn(active, file.name)
        const history = stamp === null ? undefined : histories.get(stamp)
        if (history === undefined || room <= 0) return file
        room -= JSON.stringify(history).length
        return { ...file, history }
      })
      .toReversed()
  }

  /** Records what a policy in mode `observe` keeps from being done, if it is other than before. */
  planned(steps: ReadonlyArray<Step>): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.tally.observed += steps.length
      return this.wouldBeNews(steps) ? Effect.asVoid(this.#record({ type: "Planned", data: told(steps) })) : Effect.void
    })
  }
  wouldBeNews(steps: ReadonlyArray<Step>): boolean {
    const known = this.state.planned ?? []
    const now = told(steps).steps
    return (
      known.length !== now.length ||
      known.some(({ path, step }, at) => step !== now[at]?.step || path !== now[at]?.path)
    )
  }

  /** Whether the files are others than the events so far add up to, or an earlier failure is seen to be over. */
  isNews(snapshot: Snapshot): boolean {
    const { files } = this.state
    const found = this.#filesIn(snapshot)
    if (files === null || files.size !== found.length || found.some(({ name }) => !files.has(name))) return true
    // Nobody is to be told any more once the writer has ended.
    const isOver = snapshot.active !== null || this.watched.writer !== "running"
    return isOver && (this.#isFailing("scan") || this.#isFailing("reopen"))
  }

  #filesIn(snapshot: Snapshot): ReturnType<typeof filesIn> {
    if (this.#files?.of !== snapshot) this.#files = { of: snapshot, files: filesIn(snapshot) }
    return this.#files.files
  }

  #isFailing(step: Activity): boolean {
    return this.state.failing.has(failureKey(step, this.log.path))
  }

  #record(fact: Fact, causationId = this.#causationId): Effect.Effect<string> {
    const { mode, name: policy } = this.watched.applied
    const { correlationId } = this
    return this.ports.recorder.record(this.log, fact, { correlationId, causationId, policy, mode })
  }

  /** Records an event of a plugin about a segment; the rotation that made the segment is what led to it. */
  told(fact: PluginFact, rotated: Origin | null): Effect.Effect<void> {
    return Effect.suspend(() => Effect.asVoid(this.#record(fact, rotated?.eventId ?? this.#causationId)))
  }

  /** Records what was done, and says so on the step's span. */
  done(fact: CoreFact): Effect.Effect<void> {
    return Effect.andThen(
      Effect.annotateCurrentSpan(factAttributes(fact)),
      Effect.suspend(() => {
        this.ports.holdings.happened(this.log.path, fact)
        return this.#record(fact)
      }),
    )
  }

  /** Reports a failure; an event only if it is not the same as before. */
  failed(step: Activity, path: string, failure: Explained): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { hint, message, reason } = failure
      this.lastFailure = failure
      this.tally.problems.push({ path, step, reason, message, hint })
      const known = this.state.failing.get(failureKey(step, path))
      const fact: CoreFact = { type: "Failed", data: { step, path, reason, message, hint } }
      return known?.reason === reason ? Effect.annotateCurrentSpan(factAttributes(fact)) : this.done(fact)
    })
  }

  /** Reports that a step was put off; an event only if it is not for the same reason as before. */
  deferred(step: Activity, path: string, by: string, why: string, retryAfterMs: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.tally.deferred += 1
      this.tally.deferrals.add({ step, by, why, retryAfterMs })
      const known = this.state.deferred.get(path)
      const fact: CoreFact = { type: "Deferred", data: { step, path, by, why, retryAfterMs } }
      const same = known?.step === step && known.by === by && known.why === why
      return same ? Effect.annotateCurrentSpan(factAttributes(fact)) : this.done(fact)
    })
  }

  /** Bytes of a file now, or -1 if there is none. */
  bytesOf(path: string): number {
    const glance: Glance = { bytes: -1, directoryChangedMs: -1 }
    this.ports.files.glance(path, glance)
    return glance.bytes
  }
}

/** Without the second name of the active file, which a rotation that was cut off while it was undone leaves: no segment, and no loss once it is gone. */
const segmentsIn = ({ active, segments }: Snapshot): Snapshot["segments"] =>
  segments.filter(({ identity }) => identity !== active?.identity)

const filesIn = (snapshot: Snapshot): ReadonlyArray<{ name: string; bytes: number }> =>
  [
    ...segmentsIn(snapshot).map(({ bytes, name }) => ({ name, bytes })),
    ...snapshot.temporaries.map(({ bytes, path }) => ({ name: nameOf(path), bytes })),
  ].toSorted((a, b) => (a.name < b.name ? -1 : 1))

const told = (steps: ReadonlyArray<Step>) => ({
  steps: steps.map((step) => ({ step: stepName(step), path: pathOf(step) })),
})
