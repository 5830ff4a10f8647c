/**
 * The lines that the demo's writers write, and the CRI log format that they come in. Every line follows from its writer's name and its
 * number, so that a reader can tell each one from what should have been there, to the last character. Pure.
 */

/** Characters of a line, as in the reference experiment. */
export const LINE_CHARS = 330
/** One line in so many is far longer, and takes several records. */
const LONG_EVERY = 997
const LONG_CHARS = 40_000
/** Where containerd splits a line into partial records (`defaultBufSize` of its CRI logger). */
export const RECORD_CHARS = 16 * 1024
/** Different texts that lines are filled up with: together more than gzip looks back, so that it compresses them as it would real logs. */
const FILLERS = 512

const WORDS =
  "accepted account action backend balance batch cache client closed code completed connection consumer context cursor customer deadline delivered duration elapsed endpoint entry error event expired failed fetch field flushed forwarded gateway handler header host id index info insert invalid invoice item job key latency lease level limit local lock lookup message method metric miss node offset order owner page parsed partition path payload peer pending pod pool port processed producer queue quota rate read received record region rejected release remote replica reply request reserved response result retry route row schema scope segment sent sequence server service session shard size skipped socket source span started status step stopped stored stream subject succeeded table tag target task tenant thread ticket timeout token topic total trace transfer tx type update upstream url user value version waiting warning worker write zone".split(
    " ",
  )

/** A small generator of numbers (mulberry32), the same on every machine. */
const numbers = (seed: number): (() => number) => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

let made: ReadonlyArray<string> | undefined
const fillers = (): ReadonlyArray<string> => {
  if (made !== undefined) return made
  const next = numbers(1)
  made = Array.from({ length: FILLERS }, () => {
    let text = ""
    while (text.length < LINE_CHARS) {
      const word = WORDS[Math.floor(next() * WORDS.length)] ?? ""
      text += next() < 0.4 ? `${word}=${Math.floor(next() * 1_000_000)} ` : `${word} `
    }
    return text.slice(0, LINE_CHARS)
  })
  return made
}

const SEQUENCE_DIGITS = 9
const headOf = (writer: string, sequence: number): string =>
  `${writer} ${String(sequence).padStart(SEQUENCE_DIGITS, "0")} `

/** The line of a number, from 1 on. */
export const lineOf = (writer: string, sequence: number): string => {
  const all = fillers()
  const length = sequence % LONG_EVERY === 0 ? LONG_CHARS : LINE_CHARS
  let line = headOf(writer, sequence)
  for (let at = sequence; line.length < length; at += 1) line += all[at % all.length] ?? ""
  return line.slice(0, length)
}

/** The number of a line if it is just what its writer wrote; null for anything else. */
export const sequenceOf = (writer: string, line: string): number | null => {
  const from = writer.length + 1
  const sequence = Number(line.slice(from, from + SEQUENCE_DIGITS))
  return Number.isInteger(sequence) && sequence > 0 && line === lineOf(writer, sequence) ? sequence : null
}

/** The records of a line: `<time> stdout P <part>` for all but its last part, which is `F`. */
export const recordsOf = (time: string, line: string): ReadonlyArray<string> => {
  const records: Array<string> = []
  for (let at = 0; at < line.length; at += RECORD_CHARS) {
    const part = line.slice(at, at + RECORD_CHARS)
    records.push(record(time, at + RECORD_CHARS < line.length ? "P" : "F", part))
  }
  return records
}
export const record = (time: string, tag: "P" | "F", part: string): string => `${time} stdout ${tag} ${part}\n`

const RECORD = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{9}Z (?:stdout|stderr) ([PF]) /
/** A record's tag and content; null if the line is none. */
export const parseRecord = (text: string): { readonly partial: boolean; readonly part: string } | null => {
  const match = RECORD.exec(text)
  return match === null ? null : { partial: match[1] === "P", part: text.slice(match[0].length) }
}
