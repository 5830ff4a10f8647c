/**
 * Names of rotated files: `<active>.<YYYYMMDD-HHMMSS>`, then a codec's suffix, or `.tmp` while one is being written.
 * The form is the kubelet's (`timestampFormat`, `compressSuffix`, `tmpSuffix`). What doesn't parse here belongs to somebody else.
 */

/** Suffix of a file that is being written; the kubelet's. */
export const TEMPORARY_SUFFIX = ".tmp"

/** A UTC time to the second, as text that sorts by time: `20260909-043310`. */
export type Stamp = string

/** What a name says; `suffix` is empty for a plain segment. */
export type RotatedName =
  | { readonly kind: "segment"; readonly stamp: Stamp; readonly suffix: string }
  | { readonly kind: "temporary"; readonly stamp: Stamp }

const STAMP = "YYYYMMDD-HHMMSS"
const STAMP_LENGTH = STAMP.length

/** The stamp in a name that begins like one of this log's rotated files, whatever follows it; null where there is none. */
export const stampIn = (active: string, name: string): Stamp | null => {
  if (name[active.length] !== "." || !name.startsWith(active)) return null
  const from = active.length + 1
  // Digit by digit, and not by an expression: there may be a hundred thousand names.
  for (let at = 0; at < STAMP_LENGTH; at += 1) {
    const code = name.charCodeAt(from + at)
    if (STAMP[at] === "-" ? code !== DASH : !(code >= ZERO && code <= NINE)) return null
  }
  return name.slice(from, from + STAMP_LENGTH)
}
const [DASH, ZERO, NINE] = [0x2d, 0x30, 0x39]

/**
 * Reads the name of a file that lies beside the active file `active` (a name, not a path). `suffixes` are those of every
 * known codec, whichever one is in use. Null: not ours and not the kubelet's, so nobody here may touch it.
 */
export const parseRotatedName = (active: string, name: string, suffixes: Iterable<string>): RotatedName | null => {
  const stamp = stampIn(active, name)
  return stamp === null ? null : rotatedName(active, name, stamp, suffixes)
}
/** What `parseRotatedName` reads, of a name whose stamp is known already. */
export const rotatedName = (
  active: string,
  name: string,
  stamp: Stamp,
  suffixes: Iterable<string>,
): RotatedName | null => {
  const tail = name.slice(active.length + 1 + STAMP_LENGTH)
  if (tail === TEMPORARY_SUFFIX) return { kind: "temporary", stamp }
  if (tail === "") return { kind: "segment", stamp, suffix: "" }
  for (const suffix of suffixes) if (tail === suffix) return { kind: "segment", stamp, suffix }
  return null
}

/** The name that `parseRotatedName` reads back. */
export const formatRotatedName = (active: string, stamp: Stamp, suffix = ""): string => `${active}.${stamp}${suffix}`

const two = (value: number): string => String(value).padStart(2, "0")

/** The UTC stamp of a time in milliseconds since 1970; fractions of a second are cut off. Null outside the years 0 to 9999. */
export const formatStamp = (epochMs: number): Stamp | null => {
  const at = new Date(epochMs)
  const year = at.getUTCFullYear()
  if (!(year >= 0 && year <= 9999)) return null
  const day = `${String(year).padStart(4, "0")}${two(at.getUTCMonth() + 1)}${two(at.getUTCDate())}`
  return `${day}-${two(at.getUTCHours())}${two(at.getUTCMinutes())}${two(at.getUTCSeconds())}`
}

/** One second after a stamp. One that is no calendar time (`99999999-999999`) carries over as a clock would. Null: none is left. */
const secondAfter = (stamp: Stamp): Stamp | null => {
  const part = (from: number, to: number): number => Number(stamp.slice(from, to))
  const at = new Date(0)
  at.setUTCFullYear(part(0, 4), Math.max(0, part(4, 6) - 1), Math.max(1, part(6, 8)))
  at.setUTCHours(part(9, 11), part(11, 13), part(13, 15) + 1)
  const next = formatStamp(at.getTime())
  return next !== null && next > stamp ? next : null
}

/**
 * The stamp of the next segment: the later of now and one second after the newest one there is, so that two rotations in a
 * second, a clock set back and the end of daylight saving neither overwrite a segment nor change the order. (The kubelet
 * takes local time to the second and renames over what is there.) Null when the newest leaves no room before the year 10000.
 */
export const nextStamp = (now: Stamp, newest: Stamp | null): Stamp | null =>
  newest === null || now > newest ? now : secondAfter(newest)
