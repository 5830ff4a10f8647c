/**
 * Verifies every log against itself and against the journal: all segments are read to their end. Changes nothing (repair.ts does, if that is asked for),
 * and works beside a running agent, which goes on meanwhile: so nothing is told before a second look has found the same.
 */
import {
  type Circumstances,
  type Finding,
  type FindingKind,
  findingOf,
  formatStamp,
  type Glance,
  initialState,
  judge,
  type Labels,
  type Log,
  type LogFilesError,
  type Severity,
  type Source,
  SourceError,
} from "@cordwood/core"
import { journalKeeper } from "@cordwood/fs-adapter"
import { Clock, Effect } from "effect"
import type { Settings } from "../agent-options.ts"
import { notRegular, scan } from "../pass/pass.ts"
import type { Problem } from "../pass/report.ts"
import { type PassPorts, type Scan, watch, type Watched } from "../pass/watched.ts"
import { logsFrom } from "../source/logs-from.ts"
import { FilesRead } from "./files.ts"
import type { JournalVerified, OnRecord } from "./record.ts"
import { MAX_FINDINGS, type VerifyOptions, type VerifyProgress, type VerifyReport } from "./report.ts"
import type { Repair } from "./repair.ts"

export interface VerifyPorts extends Pick<PassPorts, "files" | "plugins" | "policyFor" | "codecLane"> {
  readonly sources: ReadonlyArray<Source>
  readonly settings: Settings
}

/** How soon logs that seem to be damaged or off the record are looked at again while an agent is at work on them: some seconds in all. */
const AGAIN_MS = [250, 500, 1_000, 2_000, 4_000]
/** Logs scanned at a time to learn how much there is to read. */
const COUNTING = 8
/** The kubelet's stamps are local time, which is up to 14 hours ahead. */
const DAY_MS = 24 * 60 * 60_000
const LAST_STAMP = "99991231-235959"

/** A log to verify. `source` is null where only the journal knows it. */
interface Listed {
  readonly log: Log
  readonly labels: Labels | undefined
  readonly source: Source | null
  readonly dormant: boolean
  /** Its container has ended. */
  readonly stopped: boolean
}
/** A log with findings that are still to be seen a second time. */
interface Suspect {
  readonly listed: Listed
  readonly files: FilesRead
  readonly found: ReadonlyArray<Finding>
}

/** What is wrong with the journal comes first; then log by log. With `mending`, the journal's lock is held. */
export const verifyAll = (
  ports: VerifyPorts,
  options: VerifyOptions,
  journal: JournalVerified,
  mending: Repair | null,
): Effect.Effect<VerifyReport> =>
  Effect.gen(function* () {
    const tally = new Tally(options)
    const walk: Walk = {
      ...ports,
      // What was set aside is no record any more.
      record: mending !== null && journal.corrupt ? null : journal.record,
      // This process's own lock is nobody's work in hand.
      agent: mending === null ? keeperOf(ports.settings.journal.path) : Effect.succeed(null),
    }
    const agent = yield* walk.agent
    for (const finding of journal.findings) tally.add(mending === null ? finding : mending.journal(finding))
    const { logs, problems } = yield* logsOf(walk)
    yield* count(walk, logs, tally)
    const suspects: Array<Suspect> = []
    for (const listed of logs) {
      const suspect = yield* verifyLog(walk, listed, tally)
      const found = suspect.found.length === 0 ? [] : yield* lookAgain(walk, suspect)
      if (mending !== null) {
        // A journal that was begun anew is told of every log.
        if (found.length > 0 || walk.record === null) {
          for (const finding of yield* mending.log(watchedOf(walk, listed), found)) tally.add(finding)
        }
      } else if (found.length > 0 && (yield* walk.agent) !== null) {
        for (const finding of found) if (CONTENT.has(finding.kind)) tally.add(finding)
        suspects.push({ ...suspect, found: found.filter(({ kind }) => !CONTENT.has(kind)) })
      } else for (const finding of found) tally.add(finding)
      tally.logDone()
    }
    for (const finding of yield* lasting(walk, suspects)) tally.add(finding)
    const trouble = mending === null ? [] : yield* mending.troubles
    return tally.report(agent, journal.events, [...problems, ...trouble])
  })

/** What is so for all logs. */
interface Walk extends VerifyPorts {
  readonly record: OnRecord | null
  /** Who is at work on the logs now. */
  readonly agent: Effect.Effect<string | null>
}

/** What of it is found again and again, while an agent has time to finish and record what it has in hand. */
const lasting = (walk: Walk, found: ReadonlyArray<Suspect>): Effect.Effect<ReadonlyArray<Finding>> =>
  Effect.gen(function* () {
    let suspects = found
    for (const waitMs of AGAIN_MS) {
      suspects = suspects.filter((suspect) => suspect.found.length > 0)
      if (suspects.length === 0) return []
      yield* Effect.sleep(waitMs)
      if (walk.record !== null) yield* walk.record.refresh
      suspects = yield* Effect.forEach(suspects, (suspect) =>
        Effect.map(lookAgain(walk, suspect), (still) => ({ ...suspect, found: still })),
      )
    }
    return suspects.flatMap((suspect) => suspect.found)
  })

/** What is read from a file that is still there needs no third look. */
const CONTENT: ReadonlySet<FindingKind> = new Set(["undecodable", "unreadable"])

/** Not knowing counts as nobody: the journal's own findings say what is wrong with it. */
const keeperOf = (path: string): Effect.Effect<string | null> => Effect.orElseSucceed(journalKeeper(path), () => null)

const watchedOf = ({ policyFor }: Walk, listed: Listed): Watched => {
  const { dormant, labels, log, source, stopped } = listed
  const state = { dormant, writer: stopped ? "stopped" : "running" } as const
  return watch(log, source ?? noSource(log), policyFor(log, labels), state)
}
const noSource = (log: Log): Source => ({
  name: "the journal",
  list: Effect.succeed({ logs: [], problems: [] }),
  reopen: () =>
    Effect.fail(
      new SourceError({
        source: "the journal",
        op: "reopen",
        target: log.path,
        reason: "NotFound",
        detail: "no source lists this log any more",
        hint: "nothing to do",
      }),
    ),
})

/** Every log of every source, then those that only the journal knows, as far as their directories are there. */
const logsOf = ({
  files,
  record,
  sources,
}: Walk): Effect.Effect<{ readonly logs: ReadonlyArray<Listed>; readonly problems: ReadonlyArray<Problem> }> =>
  Effect.gen(function* () {
    const logs = new Map<string, Listed>()
    const problems: Array<Problem> = []
    for (const source of sources) {
      const { list, problems: failed } = yield* logsFrom(source)
      problems.push(...failed)
      if (list === null) continue
      const { dormant, labels, stopped } = list
      for (const log of list.logs) {
        if (logs.has(log.path)) continue
        logs.set(log.path, {
          log,
          labels: labels?.get(log.path),
          source,
          dormant: dormant?.has(log.path) ?? false,
          stopped: stopped?.has(log.path) ?? false,
        })
      }
    }
    const glance: Glance = { bytes: -1, directoryChangedMs: -1 }
    for (const { log, state } of record?.states.values() ?? []) {
      // What was never scanned is no log: a socket, the journal itself.
      if (logs.has(log.path) || state.files === null) continue
      files.glance(log.path, glance)
      if (glance.directoryChangedMs < 0) continue
      logs.set(log.path, { log, labels: undefined, source: null, dormant: false, stopped: false })
    }
    return { logs: [...logs.values()], problems }
  })

/** How much there is to read. */
const count = (ports: Walk, logs: ReadonlyArray<Listed>, tally: Tally): Effect.Effect<void> =>
  Effect.forEach(
    logs,
    ({ log }) =>
      Effect.map(Effect.option(scan(ports, log)), (seen) => {
        if (seen._tag === "Some") tally.expect(seen.value)
      }),
    { concurrency: COUNTING, discard: true },
  )

const verifyLog = (walk: Walk, listed: Listed, tally: Tally): Effect.Effect<Suspect> =>
  Effect.gen(function* () {
    const seen = yield* Effect.result(look(walk, listed))
    if (seen._tag === "Failure") {
      return { listed, files: new FilesRead(), found: [unscanned(listed, seen.failure)] }
    }
    const files = yield* FilesRead.of(walk, seen.success, walk.settings.workers, tally.segmentDone)
    const found = judge(files.examined(seen.success), yield* circumstances(walk, listed))
    return { listed, files, found }
  })

/** Those of its findings that are still so. */
const lookAgain = (walk: Walk, { files, found, listed }: Suspect): Effect.Effect<ReadonlyArray<Finding>> =>
  Effect.gen(function* () {
    const seen = yield* Effect.result(look(walk, listed))
    const now =
      seen._tag === "Failure"
        ? [unscanned(listed, seen.failure)]
        : judge(files.examined(seen.success), yield* circumstances(walk, listed))
    const before = new Set(found.map(({ kind, path }) => `${kind} ${path}`))
    return now.filter(({ kind, path }) => before.has(`${kind} ${path}`))
  })

const look = (ports: Walk, { log }: Listed): Effect.Effect<Scan, LogFilesError> =>
  Effect.filterOrElse(
    scan(ports, log),
    ({ snapshot }) => snapshot.obstacle === null,
    ({ snapshot }) => notRegular(log.path, snapshot.obstacle ?? "other"),
  )

const unscanned = ({ log }: Listed, error: LogFilesError): Finding => {
  const kind = error.reason === "NotRegular" && error.path === log.path ? "not-regular" : "unreadable"
  return findingOf(kind, { path: log.path, log, message: error.message, hint: error.hint })
}

const circumstances = (
  { agent, policyFor, record }: Walk,
  { dormant, labels, log, source, stopped }: Listed,
): Effect.Effect<Circumstances> =>
  Effect.gen(function* () {
    const nowMs = yield* Clock.currentTimeMillis
    const { mode } = policyFor(log, labels)
    const state = record === null ? null : (record.states.get(log.path)?.state ?? initialState)
    const making = record?.makings.get(log.path)
    return {
      state,
      making,
      awaitsActive: source !== null && source.tells !== false && !dormant && !stopped,
      observed: mode === "observe",
      listed: source !== null,
      underWay: (yield* agent) !== null,
      isOurs: (stamp) =>
        !dormant || making?.rotated.has(stamp) === true || (state?.histories.get(stamp)?.rotated ?? null) !== null,
      now: formatStamp(nowMs) ?? LAST_STAMP,
      tomorrow: formatStamp(nowMs + DAY_MS) ?? LAST_STAMP,
    }
  })

/** What was found and done so far. */
class Tally {
  readonly #options: VerifyOptions
  readonly #findings: Array<Finding> = []
  readonly #found: Record<Severity, number> = { damage: 0, drift: 0, leftover: 0 }
  #repaired = 0
  #progress = { logs: 0, logsDone: 0, segments: 0, segmentsDone: 0, bytes: 0, bytesDone: 0 }

  constructor(options: VerifyOptions) {
    this.#options = options
  }
  expect({ snapshot: { segments } }: Scan): void {
    this.#advance({ logs: 1, segments: segments.length, bytes: sumOf(segments) })
  }
  readonly segmentDone = ({ bytes }: { readonly bytes: number }): void => {
    this.#advance({ segmentsDone: 1, bytesDone: bytes })
  }
  logDone(): void {
    this.#advance({ logsDone: 1 })
  }
  #advance(by: Partial<VerifyProgress>): void {
    for (const [key, more] of Object.entries(by)) this.#progress[key as keyof VerifyProgress] += more
    this.#options.onProgress?.({ ...this.#progress })
  }
  add(finding: Finding): void {
    this.#found[finding.severity] += 1
    if (finding.repair === "done") this.#repaired += 1
    if (this.#findings.length < MAX_FINDINGS) this.#findings.push(finding)
    this.#options.onFinding?.(finding)
  }
  report(agent: string | null, events: number | null, problems: ReadonlyArray<Problem>): VerifyReport {
    return {
      logs: this.#progress.logsDone,
      segments: this.#progress.segmentsDone,
      bytes: this.#progress.bytesDone,
      events,
      agent,
      found: { ...this.#found },
      repaired: this.#repaired,
      findings: this.#findings,
      problems,
    }
  }
}
const sumOf = (files: ReadonlyArray<{ readonly bytes: number }>): number =>
  files.reduce((sum, { bytes }) => sum + bytes, 0)
