/**
 * A writer of numbered lines, as a process: told over IPC what to write, and by SIGUSR1 to reopen its log. It keeps what the disk doesn't take,
 * however small a part, and tries it again first: what it says is written has been taken by the kernel, each byte once.
 */
import { closeSync, constants, fsyncSync, openSync, writeSync } from "node:fs"
import { LINE_BYTES, lineOf } from "./numbered-line.ts"

export type Order =
  | { readonly open: string; readonly next: number }
  | { readonly write: number }
  | { readonly everyMs: number; readonly lines: number }
  | { readonly hold: true }
  | { readonly sync: true }
  | { readonly close: true }
export interface Answer {
  /** The last line that was written to its end. */
  readonly written: number
  /** Bytes of the next line that were written. */
  readonly begun: number
  /** How often it has reopened since it opened. */
  readonly reopened: number
  /** The errno of the last write or opening; null if that succeeded. */
  readonly error: string | null
}

const APPEND = constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND
let path = ""
let file = -1
let next = 1
let rest = Buffer.alloc(0)
let reopened = 0
let error: string | null = null
let timer: NodeJS.Timeout | undefined

const open = (): void => {
  try {
    const fresh = openSync(path, APPEND, 0o640)
    if (file !== -1) closeSync(file)
    file = fresh
    error = null
  } catch (cause) {
    error = codeOf(cause)
  }
}
const codeOf = (cause: unknown): string =>
  cause instanceof Error && "code" in cause ? String(cause.code) : String(cause)

/** True if all of the rest was taken. */
const push = (): boolean => {
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(file, rest))
      error = null
    } catch (cause) {
      error = codeOf(cause)
      return false
    }
  }
  return true
}
const write = (lines: number): void => {
  for (let count = 0; push() && count < lines; count++) {
    rest = Buffer.from(lineOf(next))
    next += 1
  }
}

const obey = (order: Order): void => {
  if ("open" in order) {
    path = order.open
    next = order.next
    rest = Buffer.alloc(0)
    reopened = 0
    open()
  } else if ("write" in order) write(order.write)
  else if ("everyMs" in order) {
    const end = next + order.lines
    timer = setInterval(() => (next < end ? write(1) : clearInterval(timer)), order.everyMs)
  } else if ("sync" in order) fsyncSync(file)
  else {
    clearInterval(timer)
    push()
    if ("close" in order) {
      closeSync(file)
      file = -1
    }
  }
}

process.on("SIGUSR1", () => {
  reopened += 1
  open()
})
process.on("message", (order: Order) => {
  obey(order)
  const begun = rest.length === 0 ? 0 : LINE_BYTES - rest.length
  process.send?.({ written: rest.length === 0 ? next - 1 : next - 2, begun, reopened, error } satisfies Answer)
})
process.on("disconnect", () => process.exit())
