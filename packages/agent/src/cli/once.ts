/** `once`: one pass over every log. */
import { formatDuration } from "@cordwood/core"
import { Effect } from "effect"
import type { DrainReport, PassReport, Problem } from "../pass/report.ts"
import { agentOf } from "./agent-of.ts"
import { FAILED } from "./exit-code.ts"
import { countedSteps } from "./event-text.ts"
import { EndWith, failIfAny, isLeftAlone, sayProblem } from "./failure.ts"
import { survivingStrays } from "./stray.ts"
import { print, printJson, safe, say } from "./terminal.ts"

export interface OnceInput {
  readonly config: string
  readonly json: boolean
  readonly drain: boolean
}

export const once = ({ config: file, drain, json }: OnceInput) =>
  Effect.scoped(
    Effect.gen(function* () {
      yield* survivingStrays
      const { agent, config } = yield* agentOf(file)
      const drained = drain ? yield* agent.drain : null
      const report = drained ?? (yield* agent.once)
      if (json) printJson(report)
      else print(drained === null ? summary(report) : `${summary(report)}; ${drainSummary(drained)}`)
      if (report.logs === 0 && report.problems.length === 0) sayNoLogs(config.options.sources.map(({ name }) => name))
      sayProblems(report.problems)
      if (drained === null) sayDeferrals(report)
      const waiting = drained?.waiting ?? []
      for (const { by, path, why } of waiting) sayProblem(`${path} waits for ${by}: ${why}`, WAITING_HINT)
      const unasked = drained?.unasked ?? []
      for (const { path, policy } of unasked) {
        sayProblem(`${path} was not asked about: policy ${policy} only observes`, UNASKED_HINT)
      }
      yield* failIfAny(report.problems)
      // Whoever drains is to know that all is away; what was not asked about is not.
      if (waiting.length + unasked.length > 0) return yield* Effect.fail(new EndWith(FAILED))
    }),
  )

const WAITING_HINT = "nothing was lost; mend what it waits for and drain again"

const UNASKED_HINT =
  "it is not drained: see that whoever rotates it keeps it, or let the policy enforce and drain again"

const drainSummary = ({ asked, unasked, waiting }: DrainReport): string => {
  if (asked + unasked.length === 0) return "nothing to drain: no closed segment, or no plugin that keeps any"
  const parts = asked === 0 ? [] : [`${asked - waiting.length} of ${asked} closed segments drained`]
  if (unasked.length === 1) parts.push("1 closed segment is under a policy that only observes; it was not asked about")
  if (unasked.length > 1)
    parts.push(`${unasked.length} closed segments are under a policy that only observes; none was asked about`)
  return parts.join("; ")
}

/** `3 logs: 1 rotated, 2 compressed, 1 removed`. */
const summary = ({ deferred, logs, observed, problems, steps }: PassReport): string => {
  const counts: ReadonlyArray<readonly [number, string]> = [
    [steps.rotated, "rotated"],
    [steps.compressed, "compressed"],
    [steps.removed, "removed"],
    [steps.cleaned, "cleaned"],
    [deferred, "deferred"],
    [observed, "observed only"],
    [problems.filter((problem) => !isLeftAlone(problem)).length, "failed"],
    [problems.filter(isLeftAlone).length, "left alone"],
  ]
  const done = counts.filter(([count]) => count > 0).map(([count, what]) => `${count} ${what}`)
  return `${logs} ${logs === 1 ? "log" : "logs"}: ${done.length === 0 ? "nothing to do" : done.join(", ")}`
}

/** Each failure with what to do about it. */
export const sayProblems = (problems: ReadonlyArray<Problem>): void => {
  for (const { hint, message, path, step } of problems) {
    sayProblem(message.includes(path) ? `${step}: ${message}` : `${step} ${path}: ${message}`, hint)
  }
}

/** Each reason for which steps were put off, once. Nothing failed: a command that ends here has done what could be done. */
const sayDeferrals = ({ deferrals, deferred }: PassReport): void => {
  for (const { by, count, retryAfterMs, step, why } of deferrals) {
    const soon = retryAfterMs === 0 ? "" : ` in ${formatDuration(retryAfterMs)}`
    sayProblem(
      `${countedSteps(step, count)} deferred by ${by}: ${why}`,
      `tried again${soon} by run, or by the next once`,
    )
  }
  const unasked = deferred - deferrals.reduce((sum, { count }) => sum + count, 0)
  if (unasked > 0) {
    const hint = "a plugin that gives no answer is asked about no other segment of the log meanwhile"
    sayProblem(`${unasked} more deferred, unasked`, hint)
  }
}

/** An empty list is easily taken for a healthy one. */
export const sayNoLogs = (sources: ReadonlyArray<string>): void => {
  say(`cordwood: no logs were found by ${safe(sources.join(", "))}`)
}
