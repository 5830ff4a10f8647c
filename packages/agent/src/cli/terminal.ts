/** What this program writes to, and how: colours, columns, hostile text, a closed pipe. Knows nothing of logs or events. */
import pc from "picocolors"
import stringWidth from "string-width"

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

/** A value of `key=value`, in quotes if it would run into its neighbours. */
export const valueText = (text: string): string => (/^[^\s"=]+$/.test(text) ? text : JSON.stringify(text))
/** At most so many characters, the last of them telling that there were more. */
export const shortened = (text: string, most: number): string =>
  // Not half a character before the mark.
  text.length <= most ? text : `${text.slice(0, most - 1).replace(/[\uD800-\uDBFF]$/, "")}…`

const GAP = "  "
/** What follows the first line of a row stands in by this much more than a row's second line. */
const HANG = GAP + GAP
/** On a terminal that is narrower than this nothing is arranged; it breaks the lines as it likes. */
const MIN_WIDTH = 40

/** How a table is fitted into a terminal. */
export interface Fitting {
  /** The terminal's columns, `process.stdout.columns`; undefined in a pipe, where every row is one line whatever its length. */
  readonly width: number | undefined
  /** How many columns of a row, at its left, may stand on a line of their own, above the others. */
  readonly lead: number
}

/**
 * Columns without borders, as kubectl prints them. Numbers of a column go to the right. In a terminal that is too narrow for that, cells that
 * lead stand above the others, and a last cell that still finds no room stands below, broken between words.
 */
export const columns = (
  heads: ReadonlyArray<string>,
  rows: ReadonlyArray<ReadonlyArray<string>>,
  colors: Colors,
  right: ReadonlySet<number> = new Set(),
  { lead, width = 0 }: Fitting = { lead: 0, width: undefined },
): string => {
  const all = [heads.map((head) => colors.dim(head)), ...rows].map((row) => row.map(cellOf))
  const widths = heads.map((_, column) => all.reduce((most, row) => Math.max(most, row[column]?.width ?? 0), 0))
  /** The cells of a row from `first` on, the last of them below the others if there are more than `room` columns. */
  const rowLines = (cells: ReadonlyArray<Cell>, first: number, indent: string, room: number): ReadonlyArray<string> => {
    const last = cells.at(-1) ?? cellOf("")
    const padded = cells.slice(first).map((cell, index) => {
      const fill = " ".repeat((widths[first + index] ?? 0) - cell.width)
      return right.has(first + index) ? fill + cell.text : cell.text + fill
    })
    const lastPadded = padded.pop() ?? ""
    const lastWidth = right.has(cells.length - 1) ? (widths.at(-1) ?? 0) : last.width
    const before = indent + padded.map((text) => text + GAP).join("")
    const fixed = widths.slice(first, -1).reduce((sum, one) => sum + one + GAP.length, indent.length)
    if (fixed + lastWidth <= room || last.width === 0) return [(before + lastPadded).trimEnd()]
    const below = wrap(last.text, room - HANG.length).map((line) => HANG + line)
    return before.trim() === "" ? below : [before.trimEnd(), ...below]
  }
  const flat = all.flatMap((cells) => rowLines(cells, 0, "", width >= MIN_WIDTH ? width : Infinity))
  if (width < MIN_WIDTH) return flat.join("\n")
  const stacked = all.flatMap((cells) => {
    const above = cells.slice(0, lead).filter((cell) => cell.width > 0)
    const rest = rowLines(cells, lead, GAP, width)
    return above.length === 0 ? rest : [above.map(({ text }) => text).join(GAP), ...rest]
  })
  const fits = flat.every((line) => stringWidth(line) <= width)
  return (fits && flat.length <= stacked.length ? flat : stacked).join("\n")
}

interface Cell {
  readonly text: string
  readonly width: number
}
const cellOf = (text: string): Cell => ({ text, width: stringWidth(text) })

/** Breaks between words only: a path that is cut can't be copied. */
const wrap = (text: string, width: number): ReadonlyArray<string> => {
  const lines: Array<string> = []
  let line = ""
  for (const word of text.split(" ")) {
    const longer = line === "" ? word : `${line} ${word}`
    if (line === "" || stringWidth(longer) <= width) line = longer
    else {
      lines.push(line)
      line = word
    }
  }
  return [...lines, line]
}

/** Prints a line on standard output, where results go and nothing else. */
export const print = (line: string): void => {
  process.stdout.write(`${line}\n`)
}
/**
 * One object as a line of NDJSON, on a terminal as harmless as in a pipe: JSON itself lets DEL, the C1 controls (U+009B begins an escape
 * sequence) and what turns the direction of text stand as they are. The value is the same.
 */
export const jsonLine = (value: unknown): string =>
  JSON.stringify(value).replace(CONTROL, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`)
export const printJson = (value: unknown): void => print(jsonLine(value))
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
