/** What this program writes to, and how: colours, columns, hostile text, a closed pipe. Knows nothing of logs or events. */
import Table from "cli-table3"
import pc from "picocolors"

export type Colors = ReturnType<typeof pc.createColors>
/** A stream as far as the choice of colours goes. */
interface Target {
  readonly isTTY?: boolean | undefined
}

/**
 * Colours for a stream: none with NO_COLOR or on a dumb terminal; else with FORCE_COLOR or on a terminal. The very rule that effect's
 * own help goes by; picocolors' own one colours pipes on CI.
 */
export const colorsFor = (stream: Target, env: Readonly<Record<string, string | undefined>> = process.env): Colors => {
  const given = (value: string | undefined): value is string => value !== undefined && value !== ""
  const { FORCE_COLOR: force, NO_COLOR: no, TERM: term } = env
  const forced = given(force) && force !== "0" && force.toLowerCase() !== "false"
  return pc.createColors(term !== "dumb" && !given(no) && (forced || stream.isTTY === true))
}

// oxlint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001F\u007F-\u009F\u202A-\u202E\u2066-\u2069]/g
/** Text from outside, made safe for one line of a terminal: file names may hold newlines and escape sequences. */
export const safe = (text: string): string =>
  text.replace(CONTROL, (character) => {
    const code = character.charCodeAt(0)
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16)}`
  })

/** Columns without borders, as kubectl prints them: the same on a terminal and in a pipe. Numbers of a column go to the right. */
export const columns = (
  heads: ReadonlyArray<string>,
  rows: ReadonlyArray<ReadonlyArray<string>>,
  colors: Colors,
  right: ReadonlySet<number> = new Set(),
): string => {
  const none = {
    top: "",
    "top-mid": "",
    "top-left": "",
    "top-right": "",
    bottom: "",
    "bottom-mid": "",
    "bottom-left": "",
  }
  const table = new Table({
    chars: {
      ...none,
      "bottom-right": "",
      left: "",
      "left-mid": "",
      mid: "",
      "mid-mid": "",
      right: "",
      "right-mid": "",
      middle: "  ",
    },
    style: { head: [], border: [], "padding-left": 0, "padding-right": 0 },
    colAligns: heads.map((_, column) => (right.has(column) ? "right" : "left")),
  })
  table.push(
    heads.map((head) => colors.dim(head)),
    ...rows.map((row) => [...row]),
  )
  return table
    .toString()
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n")
}

/** Prints a line on standard output, where results go and nothing else. */
export const print = (line: string): void => {
  process.stdout.write(`${line}\n`)
}
/** One object as a line of NDJSON. */
export const printJson = (value: unknown): void => print(JSON.stringify(value))
/** Prints a line on standard error, where everything goes that is said about the work. */
export const say = (line: string): void => {
  process.stderr.write(`${line}\n`)
}

/**
 * Ends the program quietly once nobody reads its output any more (`cordwood events | head`): the reader has what it wanted. Without this a
 * closed pipe is an uncaught error. `onStdoutClosed` is what to do instead.
 */
export const watchClosedPipes = (onStdoutClosed: () => void): void => {
  const closed =
    (then: () => void) =>
    (error: NodeJS.ErrnoException): void => {
      if (error.code === "EPIPE" || error.code === "EIO") then()
      else throw error
    }
  process.stdout.on("error", closed(onStdoutClosed))
  // Nobody is left to tell.
  process.stderr.on(
    "error",
    closed(() => {}),
  )
}
