/** What a source lists now, with what went wrong as problems of a report: for commands, which ask once and go on with the other sources. Keeps nothing. */
import type { Logs, Source } from "@cordwood/core"
import { Effect } from "effect"
import type { Problem } from "../pass/report.ts"

/** Never fails. `list` is null where the source could not be asked. */
export const logsFrom = (
  source: Source,
): Effect.Effect<{ readonly list: Logs | null; readonly problems: ReadonlyArray<Problem> }> =>
  Effect.map(Effect.result(source.list), (answer) => {
    const errors = answer._tag === "Failure" ? [answer.failure] : answer.success.problems
    const problems = errors.map(({ hint, message, reason, target }) => ({
      path: target,
      step: "source",
      reason,
      message,
      hint,
    }))
    return { list: answer._tag === "Failure" ? null : answer.success, problems }
  })
