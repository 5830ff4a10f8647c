/** What one pass puts on record: what it scanned, what it did, what failed. Says nothing twice, and decides nothing. */
import {
  type Activity,
  besideOf,
  type CoreFact,
  failureKey,
  type Glance,
  type Log,
  nameOf,
  type Snapshot,
  stampIn,
  TEMPORARY_SUFFIX,
} from "@cordwood/core"
import { Effect } from "effect"
import type { PassPorts, Scan, Tally, Watched } from "./watched.ts"

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

  constructor(ports: PassPorts, watched: Watched, tally: Tally) {
    this.ports = ports
    this.watched = watched
    this.tally = tally
    this.correlationId = ports.newId()
  }

  get log(): Log {
    return this.watched.log
  }

  /**
   * Records what was scanned, if it is not what the events so far add up to, or if the pass is going to rotate. Not before a rotation that has
   * failed the same way before: a pass that has nothing new to tell tells nothing.
   */
  scanned(scan: Scan, rotates: boolean): Effect.Effect<void> {
    return Effect.suspend(() => {
      const missing = this.#missing(scan)
      const failing = this.#isFailing("rotate") || this.#isFailing("reopen")
      if (!this.#isNews(scan.snapshot) && (!rotates || failing)) return Effect.void
      const { active, segments } = scan.snapshot
      const activeBytes = active?.bytes ?? 0
      const totalBytes = segments.reduce((sum, { bytes }) => sum + bytes, activeBytes)
      const data = { activeBytes, segments: segments.length, totalBytes, files: filesIn(scan.snapshot) }
      return Effect.flatMap(this.#record({ type: "Scanned", data }), (id) => {
        this.#causationId = id
        return Effect.forEach(missing, (fact) => this.#record(fact), { discard: true })
      })
    })
  }

  #isNews(snapshot: Snapshot): boolean {
    const { files } = this.ports.recorder.state(this.log.path)
    const found = filesIn(snapshot)
    if (files === null || files.size !== found.length || found.some(({ name }) => !files.has(name))) return true
    return snapshot.active !== null && (this.#isFailing("scan") || this.#isFailing("reopen"))
  }

  #isFailing(step: Activity): boolean {
    return this.ports.recorder.state(this.log.path).failing.has(failureKey(step, this.log.path))
  }

  /** Segments that events told of, and that are neither there nor on record as removed. Any file of the same stamp stands for them. */
  #missing({ stamps }: Scan): ReadonlyArray<CoreFact> {
    const { files } = this.ports.recorder.state(this.log.path)
    const active = nameOf(this.log.path)
    return [...(files ?? [])].flatMap(([name, bytes]): ReadonlyArray<CoreFact> => {
      const stamp = stampIn(active, name)
      if (stamp === null || stamps.has(stamp) || name.endsWith(TEMPORARY_SUFFIX)) return []
      return [{ type: "Removed", data: { path: besideOf(this.log.path, name), bytes, reason: "missing" } }]
    })
  }

  #record(fact: CoreFact): Effect.Effect<string> {
    const cause = { correlationId: this.correlationId, causationId: this.#causationId }
    return this.ports.recorder.record(this.log, fact, cause)
  }

  /** Records what was done. */
  done(fact: CoreFact): Effect.Effect<void> {
    return Effect.suspend(() => Effect.asVoid(this.#record(fact)))
  }

  /** Reports a failure; an event only if it is not the same as before. */
  failed(step: Activity, path: string, failure: Explained): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { hint, message, reason } = failure
      this.lastFailure = failure
      this.tally.problems.push({ path, step, reason, message, hint })
      const known = this.ports.recorder.state(this.log.path).failing.get(failureKey(step, path))
      if (known?.reason === reason) return Effect.void
      return this.done({ type: "Failed", data: { step, path, reason, message, hint } })
    })
  }

  /** Reports that a step was put off; an event only if it is not for the same reason as before. */
  deferred(step: Activity, path: string, by: string, why: string, retryAfterMs: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.tally.deferred += 1
      const known = this.ports.recorder.state(this.log.path).deferred.get(path)
      if (known?.step === step && known.by === by && known.why === why) return Effect.void
      return this.done({ type: "Deferred", data: { step, path, by, why, retryAfterMs } })
    })
  }

  /** Bytes of a file now, or -1 if there is none. */
  bytesOf(path: string): number {
    const glance: Glance = { bytes: -1, directoryChangedMs: -1 }
    this.ports.files.glance(path, glance)
    return glance.bytes
  }
}

const filesIn = (snapshot: Snapshot): Array<{ name: string; bytes: number }> =>
  [...snapshot.segments, ...snapshot.temporaries]
    .map(({ bytes, path }) => ({ name: nameOf(path), bytes }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
