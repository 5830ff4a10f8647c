/** The lines of these tests: numbered, of one length, and hard to compress, so that an archive needs room. Pure. */
import { createHash } from "node:crypto"

export const LINE_BYTES = 128
const DIGITS = 10
const HEX_CHARS = LINE_BYTES - DIGITS - " \n".length

/** The one line with this number, its newline included. */
export const lineOf = (number: number): string => {
  const digits = String(number).padStart(DIGITS, "0")
  return `${digits} ${createHash("sha512").update(digits).digest("hex").slice(0, HEX_CHARS)}\n`
}

export const linesOf = (from: number, to: number): string => {
  const lines: Array<string> = []
  for (let number = from; number <= to; number++) lines.push(lineOf(number))
  return lines.join("")
}

/** The number that a line claims to have. */
export const claimedNumber = (line: string): number => Number(line.slice(0, DIGITS))
