/** `status`: every log as it is on disk now, with what the journal knows of it. Reads both; writes nothing. */
import {
  DEFAULT_POLICY,
  type Decoded,
  type DecodeOptions,
  type Deferral,
  evolve,
  type Failure,
  formatBytes,
  formatDuration,
  initialState,
  type Log,
  type LogState,
  type Mode,
  nameOf,
  type Writer,
} from "@cordwood/core"
import { sqliteJournalReader } from "@cordwood/fs-adapter"
import { Clock, Effect } from "effect"
import { existsSync } from "node:fs"
import type { Settings } from "../agent-options.ts"
import type { PlannedLog, PlanReport, Problem } from "../pass/report.ts"
import { agentOf } from "./agent-of.ts"
import { sayNoJournal } from "./events.ts"
import { countedSteps, labelOf } from "./event-text.ts"
import { failIfAny, isLeftAlone, sayProblem } from "./failure.ts"
import { sayNoLogs, sayProblems } from "./once.ts"
import { type Colors, colorsFor, columns, print, printJson, safe } from "./terminal.ts"

export const status = ({ config: file, json }: { readonly config: string; readonly json: boolean }) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { agent, config } = yield* agentOf(file)
      const planned = yield* agent.plan
      const { logs, problems } = planned
      const { journal, policy } = config.settings
      const rows = statusRows(planned, yield* statesIn(journal.path, yield* agent.decoding), policy)
      if (json) for (const row of rows) printJson(row)
      else if (rows.length > 0) print(statusTable(rows, yield* Clock.currentTimeMillis))
      if (logs.length === 0 && problems.length === 0) sayNoLogs(config.options.sources.map(({ name }) => name))
      if (!existsSync(journal.path)) {
        // The disk has been shown nevertheless.
        yield* sayNoJournal(journal.path).pipe(
          Effect.catch(({ hint, message }) => Effect.sync(() => sayProblem(message, hint))),
        )
      }
      // The table has them in it already.
      if (json) sayProblems(problems)
      yield* failIfAny(problems)
    }),
  )

/** What the journal knows of a log. */
export interface Known {
  readonly log: Log
  readonly state: LogState
}

/** What the journal says of every log, by path. Without a journal, or with one that can't be read, nothing is known, and the disk is shown nevertheless. */
const statesIn = (path: string, decode: DecodeOptions): Effect.Effect<ReadonlyMap<string, Known>> => {
  if (!existsSync(path)) return Effect.succeed(new Map())
  return sqliteJournalReader({ path, decode }).replay.pipe(
    Effect.map(fold),
    Effect.catch((error) =>
      Effect.sync(() => {
        sayProblem(error.message, error.hint)
        return new Map()
      }),
    ),
  )
}

const fold = (events: ReadonlyArray<Decoded>): ReadonlyMap<string, Known> => {
  const states = new Map<string, Known>()
  for (const decoded of events) {
    if (decoded._tag !== "Known") continue
    const { log } = decoded.event
    states.set(log.path, { log, state: evolve(states.get(log.path)?.state ?? initialState, decoded.event) })
  }
  return states
}

/** A log's status as programs read it. Sizes are bytes, times ISO 8601 UTC; null where nothing is known. */
export interface LogStatus {
  readonly log: Log
  readonly files: number | null
  readonly activeBytes: number | null
  readonly totalBytes: number | null
  /** Null where it is no log's row; so are `policy` and `mode`. */
  readonly writer: Writer | null
  readonly policy: string | null
  readonly mode: Mode | null
  readonly limits: PlannedLog["limits"]
  readonly lastRotatedAt: string | null
  readonly deferred: ReadonlyArray<Deferral & { readonly path: string }>
  readonly failing: ReadonlyArray<Failing>
}
/** `since`: null where nothing tells when it began. */
interface Failing extends Omit<Failure, "since"> {
  readonly step: string
  readonly since: string | null
}

/**
 * Failures that no event ends. Whether a source answers is seen by asking it, and a journal that can be read up to such an event has got over
 * it: the event was stored.
 */
const NEVER_ENDED: ReadonlySet<string> = new Set(["source", "journal"])

/**
 * A row for every log, and one for whatever else fails now: a source's socket, a log that can't be read. What can be seen now counts; the
 * journal tells of what only a pass would show. A container that is gone is nobody's concern any more.
 */
export const statusRows = (
  { logs, problems }: PlanReport,
  states: ReadonlyMap<string, Known>,
  { compression, maxFiles, maxSize }: Settings["policy"],
): ReadonlyArray<LogStatus> => {
  const limits = { maxSize, maxFiles, compression }
  const problemsAt = Map.groupBy(problems, ({ path }) => path)
  type Seen = Pick<LogStatus, "files" | "activeBytes" | "totalBytes" | "writer" | "policy" | "mode" | "limits">
  const row = (log: Log, seen: Seen): LogStatus => {
    const { deferred, failing, lastRotatedAt } = states.get(log.path)?.state ?? initialState
    return {
      log,
      ...seen,
      lastRotatedAt,
      deferred: [...deferred].map(([path, deferral]) => ({ path, ...deferral })),
      failing: failingOf(failing, problemsAt.get(log.path) ?? [], seen.writer),
    }
  }
  const listed = new Set(logs.map(({ log }) => log.path))
  const others = [...problemsAt.keys()].filter((path) => !listed.has(path))
  return [
    ...logs.map(({ activeBytes, files, limits, log, mode, policy, totalBytes, writer }: PlannedLog) =>
      row(log, { files, activeBytes, totalBytes, writer, policy, mode, limits }),
    ),
    ...others.map((path) =>
      row(states.get(path)?.log ?? { path }, {
        files: null,
        activeBytes: null,
        totalBytes: null,
        writer: null,
        policy: null,
        mode: null,
        limits,
      }),
    ),
  ]
}

/** What a log whose container has ended needs no more, so that nothing ends the failure. */
const OF_A_WRITER: ReadonlySet<string> = new Set(["rotate", "reopen"])

const failingOf = (
  stored: LogState["failing"],
  problems: ReadonlyArray<Problem>,
  writer: Writer | null,
): ReadonlyArray<Failing> => {
  const known = [...stored]
    .map(([key, failure]) => ({ step: key.slice(0, key.indexOf(" ")), ...failure }))
    .filter(({ step }) => !NEVER_ENDED.has(step) && !(writer === "stopped" && OF_A_WRITER.has(step)))
  const isOf = (problem: Problem) => (failure: Failing) =>
    failure.step === problem.step && failure.path === problem.path
  const now = problems.map((problem): Failing => {
    const { hint, message, path, reason, step } = problem
    return { step, path, reason, message, hint, since: known.find(isOf(problem))?.since ?? null }
  })
  return [...now, ...known.filter((failure) => !problems.some((problem) => isOf(problem)(failure)))]
}

const statusTable = (rows: ReadonlyArray<LogStatus>, nowMs: number): string => {
  const colors = colorsFor(process.stdout)
  const repeat = process.stdout.isTTY !== true
  const heads = ["LOG", "FILES", "SIZE", "ACTIVE", "LAST ROTATION", "STATE"]
  const lines = rows.flatMap((row) => {
    const about = [
      safe(labelOf(row.log)),
      row.files === null ? "" : `${row.files} of ${row.limits.maxFiles}`,
      row.totalBytes === null ? "" : formatBytes(row.totalBytes),
      activeText(row),
      row.files === null ? "" : row.lastRotatedAt === null ? "never" : `${ago(row.lastRotatedAt, nowMs)} ago`,
    ]
    return stateTexts(row, nowMs, colors).map((state, index) => [
      ...(index === 0 || repeat ? about : about.map(() => "")),
      state,
    ])
  })
  return columns(heads, lines, colors, new Set([1, 2, 3]), { width: process.stdout.columns, lead: 1 })
}

const activeText = ({ activeBytes, files, limits, writer }: LogStatus): string => {
  if (files === null) return ""
  if (writer === "stopped" || writer === "surplus") return activeBytes === null ? "" : formatBytes(activeBytes)
  if (activeBytes === null) return "missing"
  return limits.maxSize < 0
    ? `${formatBytes(activeBytes)}, no limit`
    : `${formatBytes(activeBytes)} of ${formatBytes(limits.maxSize)}`
}

const stateTexts = (
  { deferred, failing, mode, policy, writer }: LogStatus,
  nowMs: number,
  colors: Colors,
): ReadonlyArray<string> => {
  const texts = [
    ...failing.map((failure) => {
      const { hint, message, since, step } = failure
      if (isLeftAlone(failure)) return colors.yellow(safe(`left alone: ${message}; ${hint}`))
      return colors.red(safe(`${step} fails${since === null ? "" : ` for ${ago(since, nowMs)}`}: ${message}; ${hint}`))
    }),
    ...deferralTexts(deferred, nowMs).map((text) => colors.yellow(safe(text))),
  ]
  if (writer === "stopped" || writer === "surplus") texts.unshift(colors.dim(writer))
  if (mode === "observe") texts.unshift(colors.yellow(safe(`observed only, by ${policy ?? DEFAULT_POLICY}`)))
  return texts.length === 0 ? [colors.green("ok")] : texts
}

/** A line for each reason: during an outage every segment waits for the same. */
export const deferralTexts = (deferred: LogStatus["deferred"], nowMs: number): ReadonlyArray<string> => {
  const groups = Map.groupBy(deferred, ({ by, step, why }) => JSON.stringify([step, by, why]))
  return [...groups.values()].flatMap((group) => {
    const [first] = group.toSorted((a, b) => Date.parse(a.since) - Date.parse(b.since))
    if (first === undefined) return []
    const { by, path, since, step, why } = first
    const what = group.length === 1 ? `${step} ${nameOf(path)}` : countedSteps(step, group.length)
    const longest = group.length === 1 ? "" : " (the oldest)"
    return [`${what} deferred for ${ago(since, nowMs)}${longest} by ${by}: ${why}`]
  })
}

/** A clock that was set back must not make a negative time. */
const ago = (iso: string, nowMs: number): string => formatDuration(Math.max(0, nowMs - Date.parse(iso)))
