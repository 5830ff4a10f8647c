/** The end of a command: what is said of it on standard error, and its exit code. */
import { Cause, Exit } from "effect"
import { CliError } from "effect/cli"
import { CONFIG, DONE, FAILED, USAGE } from "./exit-code.ts"
import { colorsFor, safe, say } from "./terminal.ts"

/** The work is done as far as it could be, and some of it failed; all that has been said already. */
export class SomeFailed {
  readonly _tag = "SomeFailed"
}
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
    say(`${text(message)}\n${label()}: nothing has been touched`)
    return CONFIG
  }
  if (typeof _tag === "string" && typeof hint === "string") {
    sayProblem(text(message), hint)
    return _tag === "AgentError" && reason === "Config" ? CONFIG : FAILED
  }
  const stack = error instanceof Error ? error.stack : undefined
  say(`${label()}: this should not have happened; please report it with what follows\n${stack ?? text(error)}`)
  return FAILED
}

const label = (): string => colorsFor(process.stderr).red("cordwood")
const text = (value: unknown): string => String(value).split("\n").map(safe).join("\n")

/** A failure for people: what happened, and what to do about it. */
export const sayProblem = (message: string, hint: string): void => {
  say(`${label()}: ${text(message)}\n    ${text(hint)}`)
}
