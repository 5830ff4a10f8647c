/**
 * One of the demo's writers, in a process of its own: writes numbered lines in the CRI log format, as containerd does for a container, and obeys
 * reopen. Loads nothing but this, so that it starts quickly. Stops writing when it is told to, and ends with the demo.
 */
import { closeSync, openSync, renameSync, writeFileSync, writeSync } from "node:fs"
import { setImmediate, setTimeout } from "node:timers/promises"
import { lineOf, record, RECORD_CHARS, recordsOf } from "./lines.ts"

/** `lines` at a stroke, then a pause; like the reference experiment's `print 2,000 lines; sleep 1`. */
export interface WriterPlan {
  readonly name: string
  readonly path: string
  readonly pidFile: string
  readonly lines: number
  readonly pauseMs: number
}
/**
 * What a writer says to the demo. `ready`: its file is there and it takes signals. `stopped`: `lines` is all that it will ever have written; it still
 * obeys reopen, for a rotation that has begun.
 */
export interface WriterReport {
  readonly state: "ready" | "writing" | "stopped" | "failed"
  readonly lines: number
  readonly bytes: number
  readonly problem?: string
}
/** What the demo says to a writer. */
export const STOP = "stop"

/** The signal to reopen. Not USR1, which starts Node's debugger in a process that does not listen yet. */
export const REOPEN_SIGNAL = "SIGUSR2"

/** Lines between two looks at signals and messages. */
const BATCH_LINES = 200
/** At most this fast within a stroke, so that the demo doesn't take the machine's disk: about 20 MB/s. */
const BATCH_MS = 4
const REPORT_EVERY_MS = 200
/** How soon a writer that is at rest reopens. */
const LOOK_EVERY_MS = 20
/** containerd's mode for container logs. */
const LOG_MODE = 0o640

export const writer = async (args: ReadonlyArray<string>): Promise<void> => {
  const plan = JSON.parse(args[0] ?? "") as WriterPlan
  let stopped = false
  let reopenAsked = false
  let reopened = 0
  let fd = openLog(plan.path)
  let lines = 0
  let bytes = 0
  const wake = new AbortController()
  const say = (state: WriterReport["state"]): void => {
    process.send?.({ state, lines, bytes } satisfies WriterReport)
  }
  // Ctrl-C goes to every process of the terminal; the demo is the one to say when to stop.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {})
  process.on(REOPEN_SIGNAL, () => {
    reopenAsked = true
  })
  process.on("message", (message) => {
    if (message !== STOP) return
    stopped = true
    wake.abort()
  })
  process.on("disconnect", () => process.exit(0))
  writeFileSync(`${plan.pidFile}.new`, `${process.pid}\n`)
  renameSync(`${plan.pidFile}.new`, plan.pidFile)

  const put = (text: string): void => {
    let rest = Buffer.from(text, "latin1")
    while (rest.length > 0) {
      const written = writeSync(fd, rest)
      bytes += written
      rest = rest.subarray(written)
    }
  }
  const reopen = (): void => {
    reopenAsked = false
    reopened += 1
    closeSync(fd)
    fd = openLog(plan.path)
  }
  /** Every second time amid a line, as containerd does in about half of all rotations of a busy writer. */
  const reopenNow = (): void => {
    if (reopened % 2 === 0) return reopen()
    const line = lineOf(plan.name, lines + 1)
    const half = line.length >> 1
    // Parts are no longer than a record may be, whichever line it is.
    for (const part of recordsOf(timeNow(), line.slice(0, half))) put(part.replace(" stdout F ", " stdout P "))
    reopen()
    for (const part of recordsOf(timeNow(), line.slice(half))) put(part)
    lines += 1
  }
  const stroke = async (): Promise<void> => {
    for (let left = plan.lines; left > 0 && !stopped;) {
      if (reopenAsked) reopenNow()
      const count = Math.min(left, BATCH_LINES)
      const time = timeNow()
      let batch = ""
      for (let index = 0; index < count; index += 1) {
        const line = lineOf(plan.name, lines + index + 1)
        batch += line.length > RECORD_CHARS ? recordsOf(time, line).join("") : record(time, "F", line)
      }
      put(batch)
      lines += count
      left -= count
      await (left > 0 ? setTimeout(BATCH_MS) : setImmediate())
    }
  }
  const reporting = setInterval(() => say("writing"), REPORT_EVERY_MS)
  try {
    say("ready")
    while (!stopped) {
      await stroke()
      const until = performance.now() + plan.pauseMs
      // The pause is cut into short ones, as a sleeping writer reopens at once too.
      while (!stopped && performance.now() < until) {
        await setTimeout(Math.min(LOOK_EVERY_MS, plan.pauseMs), undefined, { signal: wake.signal }).catch(() => {})
        if (reopenAsked && !stopped) reopenNow()
      }
    }
    clearInterval(reporting)
    say("stopped")
    for (;;) {
      if (reopenAsked) reopen()
      await setTimeout(LOOK_EVERY_MS)
    }
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error)
    process.send?.({ state: "failed", lines, bytes, problem } satisfies WriterReport, () => process.exit(1))
  }
}

const openLog = (path: string): number => openSync(path, "a", LOG_MODE)

let lastMs = 0
let withinMs = 0
/** RFC3339Nano, UTC, as containerd writes it; the clock gives milliseconds, and the rest counts up. */
const timeNow = (): string => {
  const now = Date.now()
  withinMs = now === lastMs ? Math.min(withinMs + 1, 999_999) : 0
  lastMs = now
  return `${new Date(now).toISOString().slice(0, -1)}${String(withinMs).padStart(6, "0")}Z`
}
