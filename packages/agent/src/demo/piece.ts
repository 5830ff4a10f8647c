/** What one file of a log holds, line by line, and what all of them come to. Pure: bytes are read elsewhere. */
import { parseRecord, sequenceOf } from "./lines.ts"

/** Numbers that follow one another, `from` to `to`. */
export interface Run {
  readonly from: number
  to: number
}
/**
 * The lines of one file. A line may have begun in the file before and may end in the next one, so the text up to the end of the first line and
 * the text after the end of the last one are kept as they are.
 */
export interface Piece {
  /** Null: no line ends in this file. */
  readonly first: string | null
  readonly runs: ReadonlyArray<Run>
  /** Lines, whole in this file, that no writer wrote like this. */
  readonly garbled: number
  readonly rest: string
}

/** A line is at most this long; without the bound, a file without a single end of line would be held in memory whole. */
const MAX_LINE_CHARS = 1024 * 1024

/** Takes a file's text in parts of any size and makes the piece of it. */
export const pieceReader = (writer: string): { readonly push: (text: string) => void; readonly end: () => Piece } => {
  const runs: Array<Run> = []
  let first: string | null = null
  let garbled = 0
  let joined = ""
  let pending = ""
  const take = (text: string): void => {
    const read = parseRecord(text)
    if (read === null) {
      garbled += 1
      return
    }
    joined += read.part
    if (read.partial && joined.length <= MAX_LINE_CHARS) return
    if (first === null) first = joined
    else {
      const sequence = sequenceOf(writer, joined)
      if (sequence === null) garbled += 1
      else addTo(runs, sequence)
    }
    joined = ""
  }
  return {
    push: (text) => {
      const parts = (pending + text).split("\n")
      pending = parts.pop() ?? ""
      for (const part of parts) take(part)
    },
    end: () => {
      // A record without an end is one that was cut off.
      if (pending !== "") garbled += 1
      return { first, runs, garbled, rest: joined }
    },
  }
}

const addTo = (runs: Array<Run>, sequence: number): void => {
  const last = runs.at(-1)
  if (last !== undefined && last.to + 1 === sequence) last.to = sequence
  else runs.push({ from: sequence, to: sequence })
}

/** A file of a log, by its place in reading order, and where its lines are now. */
export interface Placed {
  readonly piece: Piece
  readonly removed: boolean
}

/** How every line of a log is accounted for. What was written is on disk or removed; the rest is 0 if nothing is wrong. */
export interface Account {
  readonly written: number
  readonly onDisk: number
  /** Removed by policy, with an event that says so. */
  readonly removed: number
  readonly missing: number
  readonly duplicated: number
  readonly outOfOrder: number
  /** Lines or records that are not what was written. */
  readonly garbled: number
}

export const isComplete = ({ duplicated, garbled, missing, onDisk, outOfOrder, removed, written }: Account): boolean =>
  missing === 0 && duplicated === 0 && outOfOrder === 0 && garbled === 0 && onDisk + removed === written

/** Settles the account of a log of which `written` lines were written. The files come in reading order, oldest first. */
export const accountOf = (writer: string, written: number, files: ReadonlyArray<Placed>): Account => {
  const runs: Array<Run> = []
  let carried = ""
  let garbled = 0
  let removed = 0
  let onDisk = 0
  for (const { piece, removed: gone } of files) {
    garbled += piece.garbled
    let lines = 0
    if (piece.first === null) carried += piece.rest
    else {
      const sequence = sequenceOf(writer, carried + piece.first)
      if (sequence === null) garbled += 1
      else {
        addTo(runs, sequence)
        lines += 1
      }
      carried = piece.rest
    }
    for (const { from, to } of piece.runs) {
      lines += to - from + 1
      const last = runs.at(-1)
      if (last !== undefined && last.to + 1 === from) last.to = to
      else runs.push({ from, to })
    }
    if (gone) removed += lines
    else onDisk += lines
  }
  if (carried !== "") garbled += 1
  const { distinct, total } = countOf(runs, written)
  const duplicated = total - distinct
  // A line that comes for the second time comes late, too; it is counted as what it is.
  const outOfOrder = Math.max(0, lateLines(runs) - duplicated)
  return { written, onDisk, removed, missing: written - distinct, duplicated, outOfOrder, garbled }
}

/** Lines that come after one with a higher number. */
const lateLines = (runs: ReadonlyArray<Run>): number => {
  let late = 0
  let highest = 0
  for (const { from, to } of runs) {
    late += Math.max(0, Math.min(to, highest) - from + 1)
    highest = Math.max(highest, to)
  }
  return late
}

/** How many lines there are, and how many different ones of those that were written. */
const countOf = (runs: ReadonlyArray<Run>, written: number): { readonly total: number; readonly distinct: number } => {
  let total = 0
  let distinct = 0
  let seenTo = 0
  for (const { from, to } of runs.toSorted((a, b) => a.from - b.from || a.to - b.to)) {
    total += to - from + 1
    const upTo = Math.min(to, written)
    distinct += Math.max(0, upTo - Math.max(from - 1, seenTo))
    seenTo = Math.max(seenTo, upTo)
  }
  return { total, distinct }
}
