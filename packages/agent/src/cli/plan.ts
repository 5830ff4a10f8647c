/** `plan`: what a pass would do now, log by log, in order. */
import { type Codec, DEFAULT_POLICY, formatBytes, nameOf, pathOf, type Step, stepName } from "@cordwood/core"
import { Effect } from "effect"
import type { PlannedLog } from "../pass/report.ts"
import { agentOf } from "./agent-of.ts"
import { labelOf } from "./event-text.ts"
import { STEPS_AHEAD } from "./exit-code.ts"
import { EndWith, failIfAny } from "./failure.ts"
import { sayNoLogs, sayProblems } from "./once.ts"
import { colorsFor, columns, print, printJson, safe } from "./terminal.ts"

export interface PlanInput {
  readonly config: string
  readonly json: boolean
  readonly detailedExitcode: boolean
}

export const plan = ({ config: file, detailedExitcode, json }: PlanInput) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { agent, config } = yield* agentOf(file)
      const { logs, problems } = yield* agent.plan
      if (json) {
        for (const planned of logs) printJson(plannedJson(planned))
        for (const problem of problems) printJson({ problem })
      } else if (logs.length > 0) print(planTable(logs))
      if (logs.length === 0 && problems.length === 0) sayNoLogs(config.options.sources.map(({ name }) => name))
      sayProblems(problems)
      yield* failIfAny(problems)
      if (detailedExitcode && logs.some(({ mode, steps }) => mode === "enforce" && steps.length > 0))
        return yield* Effect.fail(new EndWith(STEPS_AHEAD))
    }),
  )

/** A step as programs read it: the file it is about, and what it makes of it. Sizes are bytes. */
export interface StepJson {
  readonly step: string
  readonly path: string
  readonly to?: string
  readonly codec?: Codec["id"]
  readonly reason?: string
  readonly bytes?: number
}
export const stepJson = (step: Step): StepJson => {
  const about = { step: stepName(step), path: pathOf(step) }
  switch (step._tag) {
    case "Clean":
      return { ...about, reason: step.reason, bytes: step.file.bytes }
    case "Remove":
      return { ...about, reason: step.reason, bytes: step.segment.bytes }
    case "Compress":
      return { ...about, to: step.to, codec: step.codec, bytes: step.segment.bytes }
    case "Rotate":
      return { ...about, to: step.to, bytes: step.file.bytes }
    case "Reopen":
      return { ...about, reason: "missing" }
    case "Refuse":
      return { ...about, reason: step.message }
    case "Offer":
      return { ...about, bytes: step.segment.bytes }
  }
}

const plannedJson = ({ activeBytes, files, log, mode, policy, steps, totalBytes, writer }: PlannedLog) => ({
  log,
  writer,
  policy,
  mode,
  activeBytes,
  files,
  totalBytes,
  steps: steps.map(stepJson),
})

const planTable = (logs: ReadonlyArray<PlannedLog>): string => {
  const colors = colorsFor(process.stdout)
  // A line of a pipe says all by itself; a person sees which lines belong together.
  const repeat = process.stdout.isTTY !== true
  const rows = logs.flatMap(({ files, log, mode, policy, steps, totalBytes, writer }) => {
    const notes = [
      ...(policy === DEFAULT_POLICY && mode === "enforce" ? [] : [policy]),
      ...(mode === "observe" ? ["observed only"] : []),
      ...(writer === "running" ? [] : [writer]),
    ]
    const noted = notes.length === 0 ? "" : ` (${notes.join(", ")})`
    const about = [safe(labelOf(log) + noted), String(files), formatBytes(totalBytes)]
    const lines = steps.length === 0 ? [[colors.dim("nothing to do")]] : steps.map(stepCells)
    return lines.map((cells, index) => [...(index === 0 || repeat ? about : ["", "", ""]), ...cells])
  })
  return columns(
    ["LOG", "FILES", "SIZE", "STEP", "FILE", "BYTES", "DETAIL"],
    rows.map(filled),
    colors,
    new Set([1, 2, 5]),
    { width: process.stdout.columns, lead: 3 },
  )
}
const filled = (cells: ReadonlyArray<string>): ReadonlyArray<string> => [...cells, "", "", ""].slice(0, 7)

const stepCells = (step: Step): ReadonlyArray<string> => {
  const { bytes, path, reason, step: name, to } = stepJson(step)
  const detail = to === undefined ? (reason ?? "") : `to ${nameOf(to)}`
  return [name, safe(nameOf(path)), bytes === undefined ? "" : formatBytes(bytes), safe(detail)]
}
