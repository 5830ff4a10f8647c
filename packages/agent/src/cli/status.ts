/** `status`: every log as it is on disk now, with what the journal knows of it. Reads both; writes nothing. */
import {
  type Decoded,
  type Deferral,
  evolve,
  type Failure,
  formatBytes,
  formatDuration,
  initialState,
  type Log,
  type LogState,
  nameOf,
} from "@cordwood/core"
import { sqliteJournalReader } from "@cordwood/fs-adapter"
import { Clock, Effect } from "effect"
import { existsSync } from "node:fs"
import type { Settings } from "../agent-options.ts"
import type { PlannedLog } from "../pass/report.ts"
import { agentOf } from "./agent-of.ts"
import { noJournal } from "./events.ts"
import { labelOf } from "./event-text.ts"
import { sayProblem, SomeFailed } from "./failure.ts"
import { sayNoLogs, sayProblems } from "./once.ts"
import { type Colors, colorsFor, columns, print, printJson, safe, say } from "./terminal.ts"

export const status = ({ config: file, json }: { readonly config: string; readonly json: boolean }) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { agent, config } = yield* agentOf(file)
      const { logs, problems } = yield* agent.plan
      const { journal, policy } = config.settings
      const states = yield* statesIn(journal.path)
      const rows = [
        ...logs.map((planned) => statusOf(planned, policy, states.get(planned.log.path))),
        ...strays(states, logs, policy),
      ]
      if (json) for (const row of rows) printJson(row)
      else if (rows.length > 0) print(statusTable(rows, yield* Clock.currentTimeMillis))
      if (logs.length === 0 && problems.length === 0) sayNoLogs(config.options.sources.map(({ name }) => name))
      if (!existsSync(journal.path)) say(noJournal(journal.path))
      sayProblems(problems)
      if (problems.length > 0) return yield* Effect.fail(new SomeFailed())
    }),
  )

interface Known {
  readonly log: Log
  readonly state: LogState
}

/** What the journal says of every log, by path. Without a journal, or with one that can't be read, nothing is known, and the disk is shown nevertheless. */
const statesIn = (path: string): Effect.Effect<ReadonlyMap<string, Known>> => {
  if (!existsSync(path)) return Effect.succeed(new Map())
  return sqliteJournalReader({ path }).replay.pipe(
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
  readonly limits: { readonly maxSize: number; readonly maxFiles: number; readonly compression: string }
  readonly lastRotatedAt: string | null
  readonly deferred: ReadonlyArray<Deferral & { readonly path: string }>
  readonly failing: ReadonlyArray<Failure & { readonly step: string }>
}

const knownOf = ({
  deferred,
  failing,
  lastRotatedAt,
}: LogState): Pick<LogStatus, "deferred" | "failing" | "lastRotatedAt"> => ({
  lastRotatedAt,
  deferred: [...deferred].map(([path, deferral]) => ({ path, ...deferral })),
  failing: [...failing].map(([key, failure]) => ({ step: key.slice(0, key.indexOf(" ")), ...failure })),
})

const statusOf = (planned: PlannedLog, policy: Settings["policy"], known: Known | undefined): LogStatus => {
  const { activeBytes, files, log, totalBytes } = planned
  return { log, files, activeBytes, totalBytes, limits: policy, ...knownOf(known?.state ?? initialState) }
}

/** What an event about the agent itself is about; a container that is gone is nobody's concern any more. */
const AGENT_STEPS: ReadonlySet<string> = new Set(["source", "journal", "plugin"])

/** What fails and is no log: a source's socket, the journal. */
const strays = (
  states: ReadonlyMap<string, Known>,
  logs: ReadonlyArray<PlannedLog>,
  policy: Settings["policy"],
): ReadonlyArray<LogStatus> => {
  const listed = new Set(logs.map(({ log }) => log.path))
  return [...states.values()].flatMap(({ log, state }) => {
    const known = knownOf(state)
    const failing = known.failing.filter(({ step }) => AGENT_STEPS.has(step))
    if (listed.has(log.path) || failing.length === 0) return []
    return [{ log, files: null, activeBytes: null, totalBytes: null, limits: policy, ...known, failing }]
  })
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
  return columns(heads, lines, colors, new Set([1, 2, 3]))
}

const activeText = ({ activeBytes, files, limits }: LogStatus): string => {
  if (files === null) return ""
  if (activeBytes === null) return "missing"
  return limits.maxSize < 0
    ? `${formatBytes(activeBytes)}, no limit`
    : `${formatBytes(activeBytes)} of ${formatBytes(limits.maxSize)}`
}

const stateTexts = ({ deferred, failing }: LogStatus, nowMs: number, colors: Colors): ReadonlyArray<string> => {
  const texts = [
    ...failing.map(({ hint, message, since, step }) =>
      colors.red(safe(`${step} fails for ${ago(since, nowMs)}: ${message}; ${hint}`)),
    ),
    ...deferred.map(({ by, path, since, step, why }) =>
      colors.yellow(safe(`${step} ${nameOf(path)} deferred for ${ago(since, nowMs)} by ${by}: ${why}`)),
    ),
  ]
  return texts.length === 0 ? [colors.green("ok")] : texts
}

/** A clock that was set back must not make a negative time. */
const ago = (iso: string, nowMs: number): string => formatDuration(Math.max(0, nowMs - Date.parse(iso)))
