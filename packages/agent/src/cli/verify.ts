/** `verify`: what is wrong with logs and journal, and, with `--repair`, what could be mended. A line for each finding, as soon as it is certain. */
import { type Finding, formatBytes, type Severity } from "@cordwood/core"
import { Effect } from "effect"
import { existsSync } from "node:fs"
import type { VerifyReport } from "../verify/report.ts"
import { agentOf } from "./agent-of.ts"
import { sayNoJournal } from "./events.ts"
import { FAILED } from "./exit-code.ts"
import { EndWith, failIfAny, sayProblem } from "./failure.ts"
import { sayNoLogs, sayProblems } from "./once.ts"
import { type Colors, colorsFor, columns, print, printJson, safe } from "./terminal.ts"
import { showProgress } from "./verify-progress.ts"

export interface VerifyInput {
  readonly config: string
  readonly json: boolean
  readonly repair: boolean
}

export const verify = ({ config: file, json, repair }: VerifyInput) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { agent, config } = yield* agentOf(file)
      const progress = yield* showProgress(process.stderr)
      // A table is as wide as its widest cell, so that it is printed at the end; a pipe gets each line at once.
      const asTable = !json && process.stdout.isTTY === true
      const found: Array<Finding> = []
      const report = yield* agent.verify({
        repair,
        onProgress: progress.show,
        onFinding: (finding) => {
          if (asTable) found.push(finding)
          else if (json) printJson(finding)
          else print(findingLine(finding))
        },
      })
      progress.end()
      const { problems } = report
      if (json) {
        for (const problem of problems) printJson({ problem })
        printJson({ summary: summaryJson(report) })
      } else {
        if (found.length > 0) print(findingTable(found, colorsFor(process.stdout)))
        print(summaryText(report, repair))
      }
      if (report.logs === 0 && problems.length === 0) sayNoLogs(config.options.sources.map(({ name }) => name))
      if (!existsSync(config.settings.journal.path)) {
        yield* sayNoJournal(config.settings.journal.path).pipe(
          Effect.catch(({ hint, message }) => Effect.sync(() => sayProblem(message, hint))),
        )
      }
      sayProblems(problems)
      yield* failIfAny(problems)
      const { damage, drift, leftover } = report.found
      if (damage + drift + leftover > report.repaired) return yield* Effect.fail(new EndWith(FAILED))
    }),
  )

const summaryJson = ({ findings: _, problems: __, ...summary }: VerifyReport) => summary

/** `damage /logs/0.log.20260909-043310.gz: undecodable: it doesn't …; it stays …`. */
export const findingLine = ({ hint, kind, message, path, repair, severity }: Finding): string =>
  safe(`${repair === "done" ? "repaired" : severity} ${path}: ${kind}: ${message}; ${hint}`)

const paint = (colors: Colors, severity: Severity, text: string): string => {
  switch (severity) {
    case "damage":
      return colors.red(text)
    case "drift":
      return colors.yellow(text)
    case "leftover":
      return colors.cyan(text)
  }
}

const findingTable = (found: ReadonlyArray<Finding>, colors: Colors): string =>
  columns(
    ["FOUND", "WHAT", "FILE", "DETAIL"],
    found.map(({ hint, kind, message, path, repair, severity }) => [
      repair === "done" ? colors.green("repaired") : paint(colors, severity, severity),
      kind,
      safe(path),
      safe(`${message}; ${hint}`),
    ]),
    colors,
    new Set(),
    { width: process.stdout.columns, lead: 3 },
  )

const counted = (count: number, one: string, many = `${one}s`): string =>
  `${count.toLocaleString("en-US")} ${count === 1 ? one : many}`

/** `3 logs, 12 segments (34.1 MiB) read, 1,234 events: 1 damaged, 2 drifted; 1 repaired`. */
export const summaryText = (
  { agent, bytes, events, found, logs, repaired, segments }: VerifyReport,
  repair: boolean,
): string => {
  const about = [
    counted(logs, "log"),
    `${counted(segments, "segment")} (${formatBytes(bytes)}) read`,
    events === null ? "no journal" : counted(events, "event"),
  ].join(", ")
  const kinds: ReadonlyArray<readonly [number, string]> = [
    [found.damage, "damage"],
    [found.drift, "drift"],
    [found.leftover, found.leftover === 1 ? "leftover" : "leftovers"],
  ]
  const what = kinds.filter(([count]) => count > 0).map(([count, name]) => `${count.toLocaleString("en-US")} ${name}`)
  const mended = repair && what.length > 0 ? `; ${repaired.toLocaleString("en-US")} repaired` : ""
  const beside = agent === null ? "" : ` (beside ${safe(agent)})`
  return `${about}${beside}: ${what.length === 0 ? "nothing found" : what.join(", ")}${mended}`
}
