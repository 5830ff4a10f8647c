/**
 * Standard output for a program that must not wait for its reader. `process.stdout` writes to a pipe synchronously, so that a reader that
 * has stopped reading would stop the whole daemon, rotation included.
 */
import { write } from "node:fs"
import { say } from "./terminal.ts"

export interface LineSink {
  /** Resolves once the line was taken, which may be never: whoever waits for it skips what comes meanwhile. Never rejects. */
  readonly write: (line: string) => Promise<void>
}

/** How long to wait before a full, non-blocking pipe is tried again. */
const FULL_PIPE_RETRY_MS = 50

/** Writes in a thread of its own. A closed pipe is said once; the program goes on without it. */
export const patientStdout = (): LineSink => {
  let open = true
  const part = (bytes: Buffer): Promise<number> =>
    new Promise((resolve, reject) => {
      write(process.stdout.fd, bytes, (error, written) => (error === null ? resolve(written) : reject(error)))
    })
  return {
    write: async (line) => {
      let rest = Buffer.from(`${line}\n`)
      while (open && rest.length > 0) {
        try {
          rest = rest.subarray(await part(rest))
        } catch (error) {
          const { code } = error as NodeJS.ErrnoException
          if (code === "EAGAIN") {
            await new Promise((resolve) => {
              setTimeout(resolve, FULL_PIPE_RETRY_MS)
            })
            continue
          }
          open = false
          say(
            `cordwood: standard output is closed (${code ?? String(error)}); events are no longer printed, rotation goes on`,
          )
        }
      }
    },
  }
}
