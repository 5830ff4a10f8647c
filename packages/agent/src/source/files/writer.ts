/**
 * Has the writer of a file reopen it, by a signal or a command, and waits until it did. Neither a signal nor an exit code says that a log
 * was reopened; the active file being there again does.
 */
import type { SourceReason } from "@cordwood/core"
import { Data, Effect } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { constants } from "node:fs"
import { lstat, open } from "node:fs/promises"

/** A pid file holds one number. */
const MAX_PID_FILE_BYTES = 64
const MAX_PID = 2 ** 31 - 1
/** Looks for the active file: soon, as most writers are done within a millisecond or two, then less and less often. */
const FIRST_LOOK_MS = 2
const LAST_LOOK_MS = 200
/** The end of a command's output, for its error. */
const MAX_OUTPUT_BYTES = 2_048
/** A command that failed has said why by now; what it has started may hold its output open for ever. */
const LAST_WORDS_MS = 250

export class WriterFailure extends Data.TaggedError("WriterFailure")<{
  readonly reason: SourceReason
  readonly detail: string
  readonly hint: string
}> {}
const failure = (reason: SourceReason, detail: string, hint: string): WriterFailure =>
  new WriterFailure({ reason, detail, hint })

const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : String(error)

/** The process number in a pid file's text; null for anything else. Never one that would mean a process group, everybody, or init. */
export const pidIn = (text: string): number | null => {
  // A longer text was cut when it was read, so that its number may be cut too.
  const match = text.length > MAX_PID_FILE_BYTES ? null : /^\s*(\d{1,10})\s*$/.exec(text)
  const pid = Number(match?.[1])
  return pid > 1 && pid <= MAX_PID ? pid : null
}

/** The process that a pid file names. Reads no more than a number takes, and neither follows a link nor waits on a pipe. */
const readPid = async (pidFile: string): Promise<number> => {
  let text: string
  try {
    const file = await open(pidFile, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    try {
      const { mode } = await file.stat()
      if ((mode & constants.S_IFMT) !== constants.S_IFREG) {
        throw failure(
          "Invalid",
          `${pidFile} is not a regular file`,
          "let pidFile name the file that the writer puts its pid in",
        )
      }
      if ((mode & 0o002) !== 0) {
        throw failure("Invalid", `anybody may write to ${pidFile}`, `take that right away: chmod o-w ${pidFile}`)
      }
      const { buffer, bytesRead } = await file.read(Buffer.alloc(MAX_PID_FILE_BYTES + 1), 0, MAX_PID_FILE_BYTES + 1, 0)
      text = buffer.toString("latin1", 0, bytesRead)
    } finally {
      await file.close()
    }
  } catch (error) {
    if (error instanceof WriterFailure) throw error
    const code = codeOf(error)
    if (code === "ENOENT") {
      throw failure(
        "NotFound",
        `there is no pid file ${pidFile}`,
        "check that the writer runs, and where it puts its pid file",
      )
    }
    if (code === "ELOOP")
      throw failure("Invalid", `${pidFile} is a symbolic link`, "let pidFile name what it points to")
    throw failure(
      "Other",
      `${pidFile} can't be read: ${code}`,
      "run the agent as root, or let its user read the pid file",
    )
  }
  const pid = pidIn(text)
  if (pid === null) {
    const hint = "it must hold one number above 1 and nothing else; check that pidFile names the right file"
    throw failure("Invalid", `${pidFile} doesn't hold the number of a process`, hint)
  }
  if (pid === process.pid) {
    const detail = `${pidFile} names this agent itself (${pid}), so it is stale`
    throw failure("NotFound", detail, "start the writer, so that it writes its own pid there")
  }
  return pid
}

export const sendSignal = (signal: NodeJS.Signals, pidFile: string): Effect.Effect<void, WriterFailure> =>
  Effect.tryPromise({
    try: async () => {
      const pid = await readPid(pidFile)
      try {
        process.kill(pid, signal)
      } catch (error) {
        const code = codeOf(error)
        if (code === "ESRCH") {
          const detail = `${pidFile} names process ${pid}, which is no more`
          throw failure(
            "NotFound",
            detail,
            "the writer has ended without removing its pid file: start it, or remove the file",
          )
        }
        const detail = `${signal} can't be sent to process ${pid}: ${code}`
        throw failure("Refused", detail, "run the agent as root, or as the user that the writer runs as")
      }
    },
    catch: (error) =>
      error instanceof WriterFailure ? error : failure("Other", String(error), "this is a bug of the agent"),
  })

/** Runs a command without a shell (CVE-2011-1154), as a process group of its own that is killed if the effect is interrupted. */
export const runCommand = ([program = "", ...rest]: ReadonlyArray<string>): Effect.Effect<void, WriterFailure> =>
  Effect.callback<void, WriterFailure>((resume) => {
    const unstartable = (error: unknown): Effect.Effect<never, WriterFailure> => {
      const code = codeOf(error)
      const detail = `${program} can't be started: ${code}`
      return Effect.fail(
        code === "ENOENT"
          ? failure("NotFound", detail, "give the program's absolute path, and check that it is installed")
          : failure("Refused", detail, "check that the agent may run it"),
      )
    }
    let child: ChildProcess
    try {
      child = spawn(program, rest, { cwd: "/", detached: true, shell: false, stdio: ["ignore", "pipe", "pipe"] })
    } catch (error) {
      return resume(unstartable(error))
    }
    let output = Buffer.alloc(0)
    let lastWords: NodeJS.Timeout | undefined
    const keep = (chunk: Buffer): void => {
      output = Buffer.concat([output, chunk]).subarray(-MAX_OUTPUT_BYTES)
    }
    // Without descriptors to spare there is neither a process nor its pipes, and an error is on its way.
    child.stdout?.on("data", keep)
    child.stderr?.on("data", keep)
    /** What the command leaves running may keep the pipes; we let go of them. */
    const letGo = (): void => {
      clearTimeout(lastWords)
      child.stdout?.destroy()
      child.stderr?.destroy()
    }
    const finish = (result: Effect.Effect<void, WriterFailure>): void => {
      letGo()
      resume(result)
    }
    child.on("error", (error) => finish(unstartable(error)))
    child.once("exit", (code, signal) => {
      if (code === 0) return finish(Effect.void)
      const fail = (): void => {
        const how = code === null ? `was ended by ${signal}` : `ended with exit code ${code}`
        const said = tail(output)
        const detail = `${program} ${how}${said === "" ? "" : `: ${said}`}`
        finish(Effect.fail(failure("Refused", detail, "run the command by hand, as the user that the agent runs as")))
      }
      lastWords = setTimeout(fail, LAST_WORDS_MS)
      child.once("close", fail)
    })
    return Effect.sync(() => {
      letGo()
      killGroup(child.pid)
    })
  })

const killGroup = (pid: number | undefined): void => {
  if (pid === undefined) return
  try {
    process.kill(-pid, "SIGKILL")
  } catch {
    // It has ended by itself.
  }
}

const tail = (output: Buffer): string =>
  output
    .toString("utf8")
    .replaceAll(/\p{Cc}+/gu, " ")
    .trim()

const isThere = (path: string): Effect.Effect<boolean, WriterFailure> =>
  Effect.tryPromise({
    try: async () => {
      try {
        if ((await lstat(path)).isFile()) return true
      } catch (error) {
        const code = codeOf(error)
        if (code === "ENOENT" || code === "ENOTDIR") return false
        throw failure("Other", `it can't be looked at: ${code}`, "run the agent as root, or let its user look there")
      }
      throw failure("Invalid", "what is there now is not a regular file", "let the writer write to a plain file")
    },
    catch: (error) =>
      error instanceof WriterFailure ? error : failure("Other", String(error), "this is a bug of the agent"),
  })

/** Ends once a regular file is at the path. Sets no limit of its own. */
export const untilThere = (path: string): Effect.Effect<void, WriterFailure> =>
  Effect.gen(function* () {
    let waitMs = FIRST_LOOK_MS
    while (!(yield* isThere(path))) {
      yield* Effect.sleep(waitMs)
      waitMs = Math.min(LAST_LOOK_MS, waitMs * 2)
    }
  })
