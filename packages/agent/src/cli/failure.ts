/** The end of a command: what is said of it on standard error, and its exit code. */
import type { SourceReason } from "@cordwood/core"
import { Cause, Effect, Exit } from "effect"
import { CliError } from "effect/cli"
import type { ConfigError } from "../config/config-error.ts"
import type { Problem } from "../pass/report.ts"
import { CONFIG, DONE, FAILED, USAGE } from "./exit-code.ts"
import { colorsFor, safe, say } from "./terminal.ts"

/** The work is done as far as it could be, and some of it failed; all that has been said already. */
export class SomeFailed {
  readonly _tag = "SomeFailed"
}
/** Whether a problem is told of but makes no command fail: a name beside the logs that a pattern matches. */
export const isLeftAlone = ({ reason, step }: Pick<Problem, "reason" | "step">): boolean =>
  step === "source" && reason === ("LeftAlone" satisfies SourceReason)
/** Fails if a log failed, or a source. */
export const failIfAny = (problems: ReadonlyArray<Problem>): Effect.Effect<void, SomeFailed> =>
  problems.every(isLeftAlone) ? Effect.void : Effect.fail(new SomeFailed())

/** Ends with a code that isn't failure: `plan --detailed-exitcode`. */
export class EndWith {
  readonly _tag = "EndWith"
  readonly code: number
  constructor(code: number) {
    this.code = code
  }
}

interface Tagged {
  readonly _tag?: unknown
  readonly message?: unknown
  readonly hint?: unknown
  readonly reason?: unknown
}

/** Says why a command ended, if there is something to say, and returns its exit code. `interrupted`: the code of the signal. */
export const report = (exit: Exit.Exit<unknown, unknown>, interrupted: number): number => {
  if (Exit.isSuccess(exit)) return DONE
  if (Cause.hasInterruptsOnly(exit.cause)) return interrupted
  const error = Cause.squash(exit.cause)
  if (error instanceof SomeFailed) return FAILED
  if (error instanceof EndWith) return error.code
  if (CliError.isCliError(error)) {
    // Without an error in it, it is the help of a command that has only subcommands, as `kubectl config` prints it.
    return error._tag === "ShowHelp" && error.errors.length === 0 ? DONE : USAGE
  }
  const { _tag, hint, message, reason } = (typeof error === "object" && error !== null ? error : {}) as Tagged
  if (_tag === "ConfigError") {
    say([...(error as ConfigError).lines.map(safe), `${label()}: nothing has been touched`].join("\n"))
    return CONFIG
  }
  if (typeof _tag === "string" && typeof hint === "string") {
    sayProblem(String(message), hint)
    return _tag === "AgentError" && reason === "Config" ? CONFIG : FAILED
  }
  const trouble = `${label()}: this should not have happened; please report it with what follows`
  say([trouble, ...traceOf(error).map(safe)].join("\n"))
  return FAILED
}

const label = (): string => colorsFor(process.stderr).red("cordwood")

/** What was thrown and where, line by line. Its message is one line, whatever it holds: only the frames are the runtime's own words. */
const traceOf = (error: unknown): ReadonlyArray<string> => {
  if (!(error instanceof Error)) return [String(error)]
  const frames = (error.stack ?? "").split("\n").filter((line) => /^ {4}at /.test(line))
  return [`${error.name}: ${error.message}`, ...frames]
}

/** A failure for people: what happened, and what to do about it, in a line each. Both may hold names of files, and so newlines that are not ours. */
export const sayProblem = (message: string, hint: string): void => {
  say(`${label()}: ${safe(message)}\n    ${safe(hint)}`)
}
