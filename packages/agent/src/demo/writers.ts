/** The demo's writers as the demo sees them: starts them, hears how far they are, ends them. */
import { Data, Effect, type Scope } from "effect"
import { type ChildProcess, fork } from "node:child_process"
import { STOP, type WriterPlan, type WriterReport } from "./writer.ts"
import { WRITER_COMMAND } from "./writer-command.ts"

/** How writers are started. */
export interface Program {
  readonly path: string
  readonly execArgv: ReadonlyArray<string>
}
/** This very program, however it was started. */
export const thisProgram = (): Program => ({ path: process.argv[1] ?? "", execArgv: process.execArgv })

export class WriterError extends Data.TaggedError("WriterError")<{
  readonly writer: string
  readonly message: string
  readonly hint: string
}> {}

export interface RunningWriter {
  readonly plan: WriterPlan
  /** The last it said. */
  readonly report: () => WriterReport
  /** Fails once it ends without having been told to. */
  readonly ended: Effect.Effect<never, WriterError>
  /** Has it finish its line, write no more and say how many lines there are. It goes on obeying reopen until the scope ends. */
  readonly stop: Effect.Effect<WriterReport, WriterError>
}

const READY_WITHIN_MS = 10_000
const STOPPED_WITHIN_MS = 10_000

/** Starts a writer; it is there until the scope ends. Succeeds once it writes. */
export const startWriter = (
  plan: WriterPlan,
  program: Program,
): Effect.Effect<RunningWriter, WriterError, Scope.Scope> =>
  Effect.gen(function* () {
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        fork(program.path, [WRITER_COMMAND, JSON.stringify(plan)], {
          execArgv: [...program.execArgv],
          stdio: ["ignore", "ignore", "inherit", "ipc"],
        }),
      ),
      (started) =>
        Effect.sync(() => {
          if (started.exitCode === null && started.signalCode === null) started.kill("SIGKILL")
        }),
    )
    let latest: WriterReport = { state: "writing", lines: 0, bytes: 0 }
    child.on("message", (message) => {
      latest = message as WriterReport
    })
    yield* waitFor(child, plan, "ready", READY_WITHIN_MS)
    return {
      plan,
      report: () => latest,
      ended: Effect.callback<never, WriterError>((resume) => {
        const onExit = (): void => resume(Effect.fail(died(plan, latest)))
        child.once("exit", onExit)
        return Effect.sync(() => child.off("exit", onExit))
      }),
      stop: Effect.suspend(() => {
        const stopped = waitFor(child, plan, "stopped", STOPPED_WITHIN_MS)
        if (child.connected) child.send(STOP)
        return stopped
      }),
    }
  })

const died = ({ name }: WriterPlan, { problem }: WriterReport): WriterError =>
  new WriterError({
    writer: name,
    message: `the writer ${name} has ended by itself${problem === undefined ? "" : `: ${problem}`}`,
    hint: "see that the temporary directory (TMPDIR) has room, and that nothing kills the demo's processes",
  })

/** The first report of a state. Listens from now on. */
const waitFor = (
  child: ChildProcess,
  plan: WriterPlan,
  state: WriterReport["state"],
  limitMs: number,
): Effect.Effect<WriterReport, WriterError> =>
  Effect.callback<WriterReport, WriterError>((resume) => {
    const onMessage = (message: unknown): void => {
      const report = message as WriterReport
      if (report.state === state) resume(Effect.succeed(report))
      else if (report.state === "failed") resume(Effect.fail(died(plan, report)))
    }
    const onExit = (): void => resume(Effect.fail(died(plan, { state: "failed", lines: 0, bytes: 0 })))
    child.on("message", onMessage)
    child.on("exit", onExit)
    return Effect.sync(() => child.off("message", onMessage).off("exit", onExit))
  }).pipe(
    Effect.timeoutOrElse({
      duration: limitMs,
      orElse: () =>
        Effect.fail(
          died(plan, { state: "failed", lines: 0, bytes: 0, problem: `not ${state} within ${limitMs / 1000} s` }),
        ),
    }),
  )
