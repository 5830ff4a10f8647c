/** The test's end of a writer: starts the process, gives it orders, ends it with the test. */
import { fork } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { once } from "node:events"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { onTestFinished } from "vitest"
import type { Answer, Order } from "./writer-process.ts"

const PROGRAM = fileURLToPath(new URL("writer-process.ts", import.meta.url))

export class Writer {
  /** Names the process, for an agent that is to signal it. */
  readonly pidFile: string
  readonly #child: ChildProcess

  private constructor(scratch: string) {
    this.#child = fork(PROGRAM, { execArgv: [], stdio: ["ignore", "ignore", "inherit", "ipc"] })
    this.pidFile = join(scratch, `writer-${this.#child.pid}.pid`)
    writeFileSync(this.pidFile, `${this.#child.pid}\n`, { mode: 0o644 })
  }

  static start(scratch: string): Writer {
    const writer = new Writer(scratch)
    onTestFinished(async () => {
      const ended = once(writer.#child, "exit")
      if (writer.#child.exitCode === null && writer.#child.kill("SIGKILL")) await ended
    })
    return writer
  }

  async #order(order: Order): Promise<Answer> {
    const answered = once(this.#child, "message")
    this.#child.send(order)
    const [answer] = (await answered) as [Answer]
    return answer
  }

  /** Appends to the log, which is made where it is missing; `next` is the number of the first line. */
  open(log: string, next: number): Promise<Answer> {
    return this.#order({ open: log, next })
  }
  /** So many lines more, or as many as the disk takes. */
  write(lines: number): Promise<Answer> {
    return this.#order({ write: lines })
  }
  /** A line every so often, until it is held or has written so many. */
  writeEvery(everyMs: number, lines: number): Promise<Answer> {
    return this.#order({ everyMs, lines })
  }
  hold(): Promise<Answer> {
    return this.#order({ hold: true })
  }
  sync(): Promise<Answer> {
    return this.#order({ sync: true })
  }
  close(): Promise<Answer> {
    return this.#order({ close: true })
  }
}
