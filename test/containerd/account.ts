/**
 * The accountant: says from a log's files alone which numbered lines are there. It shares no code with the agent and trusts
 * nothing that the agent says; its own knowledge of names, gzip and the CRI format is from rotation.md, RFC 1952 and
 * kubernetes' CRI logging format. Reads only.
 */
import { readdirSync, readFileSync, statSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import { crc32, inflateRawSync } from "node:zlib"

export interface FileOnDisk {
  readonly name: string
  readonly role: "active" | "segment" | "temporary" | "foreign"
  /** `YYYYMMDD-HHMMSS` of a segment; empty for everything else. */
  readonly stamp: string
  readonly compressed: boolean
  readonly bytesOnDisk: number
}

export interface Share {
  readonly name: string
  /** Decoded; 0 for a file that can't be read. */
  readonly bytes: number
  /** Of the lines that end in this file. */
  readonly first: number | undefined
  readonly last: number | undefined
}

/** What is wrong. All empty: every line from `first` to `last` is there once, in order, and nothing else is. */
export interface Faults {
  /** Files that aren't what their name says: a damaged archive. */
  readonly unreadable: ReadonlyArray<string>
  /** Records that aren't in the CRI format, among them one that ends without a newline. */
  readonly malformed: ReadonlyArray<string>
  /** Whole records that hold no whole line: cut, spliced or foreign. */
  readonly strange: ReadonlyArray<string>
  /** Numbers as ranges: "17", "20-24". */
  readonly missing: ReadonlyArray<string>
  readonly duplicated: ReadonlyArray<string>
  readonly outOfOrder: ReadonlyArray<string>
}

export interface Account {
  /** In reading order: segments from the oldest, then the active file. */
  readonly shares: ReadonlyArray<Share>
  readonly first: number | undefined
  readonly last: number | undefined
  readonly faults: Faults
  /** Lines whose records lie in more than one file. */
  readonly torn: number
  /** Records tagged P. */
  readonly partials: number
  /** First lines without their heads, where the log's beginning was removed. */
  readonly headless: number
  /** Content of a last line that has no end yet, per stream. A writer that was killed leaves one. */
  readonly unfinished: Readonly<Record<string, string>>
}

const SEGMENT = /^\.(\d{8}-\d{6})(\.gz)?$/
const RECORD = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)) (stdout|stderr) ([PF])(?::\S+)? /
/** Enough of a bad record to see what it is. */
const SHOWN_CHARS = 120
/** A log that is all wrong must not make a report of gigabytes. */
const FAULTS_SHOWN = 20
const NEWLINE = 10

const read = (activePath: string, name: string): FileOnDisk | undefined => {
  const active = basename(activePath)
  if (name !== active && !name.startsWith(`${active}.`)) return undefined
  let bytesOnDisk: number
  try {
    bytesOnDisk = statSync(join(dirname(activePath), name)).size
  } catch {
    return undefined // Renamed or removed since the listing.
  }
  const plain = { name, stamp: "", compressed: false, bytesOnDisk }
  if (name === active) return { ...plain, role: "active" }
  const [, stamp, compressed] = SEGMENT.exec(name.slice(active.length)) ?? []
  if (stamp !== undefined) return { ...plain, role: "segment", stamp, compressed: compressed !== undefined }
  return { ...plain, role: name.endsWith(".tmp") ? "temporary" : "foreign" }
}

/** The files of one log, in reading order; then leftovers and whatever else begins with its name. */
export const filesOf = (activePath: string): ReadonlyArray<FileOnDisk> => {
  const order = { segment: 0, active: 1, temporary: 2, foreign: 3 } as const
  return readdirSync(dirname(activePath))
    .flatMap((name) => read(activePath, name) ?? [])
    .sort((a, b) => order[a.role] - order[b.role] || (a.name < b.name ? -1 : 1))
}

/** Where the deflate stream begins behind the gzip header at `at`. */
const afterHeader = (bytes: Buffer, at: number): number => {
  if (bytes.length < at + 10) throw new Error("the header is cut off")
  if (bytes.readUInt16BE(at) !== 0x1f8b) throw new Error("no gzip magic")
  if (bytes[at + 2] !== 8) throw new Error("not deflate")
  const flags = bytes[at + 3]!
  let next = at + 10
  if ((flags & 4) !== 0) next += 2 + bytes.readUInt16LE(next)
  for (const flag of [8, 16]) {
    if ((flags & flag) === 0) continue
    const end = bytes.indexOf(0, next)
    if (end === -1) throw new Error("the header is cut off")
    next = end + 1
  }
  return (flags & 2) === 0 ? next : next + 2
}

/**
 * Every member's content. Node's own gunzip forgives bytes behind a member and hides which member it read; this one
 * checks each member's CRC and length and takes nothing behind the last.
 */
export const gunzipStrictly = (bytes: Buffer): Buffer => {
  const members: Array<Buffer> = []
  let at = 0
  do {
    const start = afterHeader(bytes, at)
    // The declared type of `info: true` is missing from @types/node.
    const { buffer, engine } = inflateRawSync(bytes.subarray(start), { info: true }) as unknown as {
      readonly buffer: Buffer
      readonly engine: { readonly bytesWritten: number }
    }
    const trailer = start + engine.bytesWritten
    if (bytes.length < trailer + 8) throw new Error("the trailer is cut off")
    if (bytes.readUInt32LE(trailer) !== crc32(buffer)) throw new Error("the CRC doesn't match")
    if (bytes.readUInt32LE(trailer + 4) !== buffer.length % 2 ** 32) throw new Error("the length doesn't match")
    members.push(buffer)
    at = trailer + 8
  } while (at < bytes.length)
  return Buffer.concat(members)
}

/** Numbers, ascending, as ranges. */
const ranges = (numbers: ReadonlyArray<number>): ReadonlyArray<string> => {
  const spans: Array<[number, number]> = []
  for (const number of numbers) {
    const span = spans.at(-1)
    if (span !== undefined && span[1] + 1 === number) span[1] = number
    else spans.push([number, number])
  }
  const told = spans.slice(0, FAULTS_SHOWN).map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`))
  return spans.length > FAULTS_SHOWN ? [...told, `… and ${spans.length - FAULTS_SHOWN} more ranges`] : told
}

/** What is wrong with this sequence, which should count up by one from `from` to `to`. */
const compare = (sequence: ReadonlyArray<number>, from: number, to: number) => {
  const times = new Map<number, number>()
  const late = new Set<number>()
  let highest = -Infinity
  for (const number of sequence) {
    const before = times.get(number) ?? 0
    times.set(number, before + 1)
    if (before === 0 && number < highest) late.add(number)
    highest = Math.max(highest, number)
  }
  const missing: Array<number> = []
  for (let number = from; number <= to; number++) if (!times.has(number)) missing.push(number)
  const ascending = (numbers: Iterable<number>) => ranges([...numbers].sort((a, b) => a - b))
  return {
    missing: ranges(missing),
    duplicated: ascending([...times].filter(([, count]) => count > 1).map(([number]) => number)),
    outOfOrder: ascending(late),
  }
}

/** A list of faults that stops growing. */
const bounded = () => {
  const list: Array<string> = []
  return {
    list,
    add: (fault: string): void => {
      if (list.length < FAULTS_SHOWN) list.push(fault)
    },
  }
}

/** Lines that should be there, both included; by default from the lowest found to the highest found. */
export interface Expected {
  readonly from?: number
  readonly to?: number
  /** The log's beginning was removed by policy, maybe in the middle of a line: the first one may lack its head. */
  readonly beginningRemoved?: boolean
}

/** Reads every file of the log, oldest first, and accounts for its lines. `numberOf` knows a whole line from anything else. */
export const account = (
  activePath: string,
  numberOf: (content: string) => number | undefined,
  expected: Expected = {},
): Account => {
  const unreadable = bounded()
  const malformed = bounded()
  const strange = bounded()
  const shares: Array<Share> = []
  const sequence: Array<number> = []
  const open = new Map<string, { readonly parts: Array<string>; readonly inFiles: Set<string> }>()
  let torn = 0
  let partials = 0
  const begun = new Set<string>()
  let headless = 0

  const take = (file: string, record: string): void => {
    const header = RECORD.exec(record)
    if (header === null) {
      malformed.add(`${file}: ${record.slice(0, SHOWN_CHARS)}`)
      return
    }
    const [prefix, , stream = "", tag] = header
    const pending = open.get(stream) ?? { parts: [], inFiles: new Set() }
    pending.parts.push(record.slice(prefix.length))
    pending.inFiles.add(file)
    open.set(stream, pending)
    if (tag === "P") {
      partials += 1
      return
    }
    open.delete(stream)
    if (pending.inFiles.size > 1) torn += 1
    const content = pending.parts.join("")
    const number = numberOf(content)
    if (number === undefined && expected.beginningRemoved === true && !begun.has(stream)) headless += 1
    else if (number === undefined) strange.add(`${file}: ${content.length} chars: ${content.slice(0, SHOWN_CHARS)}`)
    else sequence.push(number)
    begun.add(stream)
  }

  for (const { name, role, compressed } of filesOf(activePath)) {
    if (role !== "segment" && role !== "active") continue
    const linesBefore = sequence.length
    let bytes: Buffer
    try {
      const stored = readFileSync(join(dirname(activePath), name))
      bytes = compressed ? gunzipStrictly(stored) : stored
    } catch (error) {
      unreadable.add(`${name}: ${error instanceof Error ? error.message : String(error)}`)
      shares.push({ name, bytes: 0, first: undefined, last: undefined })
      continue
    }
    let at = 0
    while (at < bytes.length) {
      const end = bytes.indexOf(NEWLINE, at)
      if (end === -1) {
        malformed.add(`${name}: ends within a record: ${bytes.toString("latin1", at, at + SHOWN_CHARS)}`)
        break
      }
      // latin1 keeps bytes as they are: a record may end within a character.
      take(name, bytes.toString("latin1", at, end))
      at = end + 1
    }
    shares.push({ name, bytes: bytes.length, first: sequence[linesBefore], last: sequence.slice(linesBefore).at(-1) })
  }

  const lowest = sequence.reduce((least, number) => Math.min(least, number), Infinity)
  const highest = sequence.reduce((most, number) => Math.max(most, number), -Infinity)
  const from = expected.from ?? lowest
  const to = expected.to ?? highest
  return {
    shares,
    first: sequence.length === 0 ? undefined : lowest,
    last: sequence.length === 0 ? undefined : highest,
    faults: {
      unreadable: unreadable.list,
      malformed: malformed.list,
      strange: strange.list,
      ...compare(sequence, from, to),
    },
    torn,
    partials,
    headless,
    unfinished: Object.fromEntries([...open].map(([stream, { parts }]) => [stream, parts.join("")])),
  }
}

/** What `faults` is when nothing is wrong. */
export const FAULTLESS: Faults = {
  unreadable: [],
  malformed: [],
  strange: [],
  missing: [],
  duplicated: [],
  outOfOrder: [],
}
