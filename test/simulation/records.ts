/** What the writers of a simulation write: records of eight bytes that count up, so that every byte of a log says where it belongs. Pure. */

export const RECORD_BYTES = 8
const DIGITS = 6

/** The bytes of a log from one offset to another, as text. `tag` is one letter, of the log. */
export const recordsIn = (tag: string, from: number, to: number): string => {
  let text = ""
  for (let record = Math.floor(from / RECORD_BYTES); record * RECORD_BYTES < to; record += 1) {
    text += `${tag}${String(record).padStart(DIGITS, "0")}\n`
  }
  const skipped = from % RECORD_BYTES
  return text.slice(skipped, skipped + to - from)
}
