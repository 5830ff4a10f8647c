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

/** Numbers that follow each other, both ends included. A log of a hundred million lines is one of these. */
interface Run {
  readonly from: number
  to: number
}

/** Runs in any order, as ranges. */
const ranges = (runs: ReadonlyArray<Run>): ReadonlyArray<string> => {
  const spans: Array<Run> = []
  for (const { from, to } of runs.toSorted((a, b) => a.from - b.from)) {
    const last = spans.at(-1)
    if (last !== undefined && from <= last.to + 1) last.to = Math.max(last.to, to)
    else spans.push({ from, to })
  }
  const told = spans.slice(0, FAULTS_SHOWN).map(({ from, to }) => (from === to ? `${from}` : `${from}-${to}`))
  return spans.length > FAULTS_SHOWN ? [...told, `… and ${spans.length - FAULTS_SHOWN} more ranges`] : told
}

/** Numbers that were seen: runs that neither touch nor overlap, ascending. */
class Seen {
  private readonly runs: Array<Run> = []

  /** The first run that ends at `number` or behind it. */
  private at(number: number): number {
    let low = 0
    let high = this.runs.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.runs[middle]!.to < number) low = middle + 1
      else high = middle
    }
    return low
  }

  /** What of this run was seen, and what wasn't. */
  split({ from, to }: Run): { readonly known: ReadonlyArray<Run>; readonly fresh: ReadonlyArray<Run> } {
    const known: Array<Run> = []
    const fresh: Array<Run> = []
    let next = from
    for (let index = this.at(from); next <= to; index++) {
      const run = this.runs[index]
      if (run === undefined || run.from > to) {
        fresh.push({ from: next, to })
        break
      }
      if (run.from > next) fresh.push({ from: next, to: run.from - 1 })
      known.push({ from: Math.max(run.from, next), to: Math.min(run.to, to) })
      next = run.to + 1
    }
    return { known, fresh }
  }

  add({ from, to }: Run): void {
    const first = this.at(from - 1)
    let behind = first
    while (behind < this.runs.length && this.runs[behind]!.from <= to + 1) behind += 1
    const merged = {
      from: Math.min(from, this.runs[first]?.from ?? from),
      to: Math.max(to, behind > first ? this.runs[behind - 1]!.to : to),
    }
    this.runs.splice(first, behind - first, behind > first ? merged : { from, to })
  }
}

/** What is wrong with this sequence, which should count up by one from `from` to `to`. */
const compare = (sequence: ReadonlyArray<Run>, from: number, to: number) => {
  const seen = new Seen()
  const duplicated: Array<Run> = []
  const late: Array<Run> = []
  let highest = -Infinity
  for (const run of sequence) {
    const { known, fresh } = seen.split(run)
    duplicated.push(...known)
    for (const part of fresh) {
      if (part.from < highest) late.push({ from: part.from, to: Math.min(part.to, highest - 1) })
    }
    seen.add(run)
    highest = Math.max(highest, run.to)
  }
  const missing = from > to ? [] : seen.split({ from, to }).fresh
  return { missing: ranges(missing), duplicated: ranges(duplicated), outOfOrder: ranges(late) }
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

/** Accounts for one log whose files are handed over piece by piece, in reading order. `numberOf` knows a whole line from anything else. */
export class Accounting {
  private readonly numberOf: (content: string) => number | undefined
  private readonly expected: Expected
  private readonly unreadableFiles = bounded()
  private readonly malformed = bounded()
  private readonly strange = bounded()
  private readonly shares: Array<{ name: string; bytes: number; first: number | undefined; last: number | undefined }> =
    []
  private readonly sequence: Array<Run> = []
  private readonly open = new Map<string, { readonly parts: Array<string>; readonly inFiles: Set<string> }>()
  private readonly begun = new Set<string>()
  private torn = 0
  private partials = 0
  private headless = 0
  /** Of the file in hand: what follows its last newline. */
  private rest = Buffer.alloc(0)

  constructor(numberOf: (content: string) => number | undefined, expected: Expected = {}) {
    this.numberOf = numberOf
    this.expected = expected
  }

  /** The next file. */
  begin(name: string): void {
    this.finish()
    this.shares.push({ name, bytes: 0, first: undefined, last: undefined })
  }

  /** The next file is one of which nothing can be read. */
  unreadable(name: string, error: unknown): void {
    this.begin(name)
    this.unreadableFiles.add(`${name}: ${error instanceof Error ? error.message : String(error)}`)
  }

  /** More of the file that was begun. */
  take(more: Buffer): void {
    const share = this.shares.at(-1)
    if (share === undefined) throw new Error("begin a file first")
    share.bytes += more.length
    const bytes = this.rest.length === 0 ? more : Buffer.concat([this.rest, more])
    let at = 0
    for (let end = bytes.indexOf(NEWLINE); end !== -1; end = bytes.indexOf(NEWLINE, at)) {
      // latin1 keeps bytes as they are: a record may end within a character.
      this.record(share.name, bytes.toString("latin1", at, end))
      at = end + 1
    }
    this.rest = Buffer.from(bytes.subarray(at))
  }

  /** What was found, when all files have been handed over. */
  account(): Account {
    this.finish()
    const { sequence, expected } = this
    const lowest = sequence.reduce((least, { from }) => Math.min(least, from), Infinity)
    const highest = sequence.reduce((most, { to }) => Math.max(most, to), -Infinity)
    return {
      shares: this.shares,
      first: sequence.length === 0 ? undefined : lowest,
      last: sequence.length === 0 ? undefined : highest,
      faults: {
        unreadable: this.unreadableFiles.list,
        malformed: this.malformed.list,
        strange: this.strange.list,
        ...compare(sequence, expected.from ?? lowest, expected.to ?? highest),
      },
      torn: this.torn,
      partials: this.partials,
      headless: this.headless,
      unfinished: Object.fromEntries([...this.open].map(([stream, { parts }]) => [stream, parts.join("")])),
    }
  }

  private finish(): void {
    const { rest } = this
    if (rest.length === 0) return
    this.malformed.add(`${this.shares.at(-1)!.name}: ends within a record: ${rest.toString("latin1", 0, SHOWN_CHARS)}`)
    this.rest = Buffer.alloc(0)
  }

  private record(file: string, record: string): void {
    const header = RECORD.exec(record)
    if (header === null) {
      this.malformed.add(`${file}: ${record.slice(0, SHOWN_CHARS)}`)
      return
    }
    const [prefix, , stream = "", tag] = header
    const pending = this.open.get(stream) ?? { parts: [], inFiles: new Set() }
    pending.parts.push(record.slice(prefix.length))
    pending.inFiles.add(file)
    this.open.set(stream, pending)
    if (tag === "P") {
      this.partials += 1
      return
    }
    this.open.delete(stream)
    if (pending.inFiles.size > 1) this.torn += 1
    const content = pending.parts.join("")
    const number = this.numberOf(content)
    if (number === undefined && this.expected.beginningRemoved === true && !this.begun.has(stream)) this.headless += 1
    else if (number === undefined) {
      this.strange.add(`${file}: ${content.length} chars: ${content.slice(0, SHOWN_CHARS)}`)
    } else this.count(number)
    this.begun.add(stream)
  }

  private count(number: number): void {
    const share = this.shares.at(-1)!
    share.first ??= number
    share.last = number
    const run = this.sequence.at(-1)
    if (run !== undefined && run.to + 1 === number) run.to = number
    else this.sequence.push({ from: number, to: number })
  }
}

/** Reads every file of the log, oldest first, and accounts for its lines. */
export const account = (
  activePath: string,
  numberOf: (content: string) => number | undefined,
  expected: Expected = {},
): Account => {
  const accounting = new Accounting(numberOf, expected)
  for (const { name, role, compressed } of filesOf(activePath)) {
    if (role !== "segment" && role !== "active") continue
    try {
      const stored = readFileSync(join(dirname(activePath), name))
      const bytes = compressed ? gunzipStrictly(stored) : stored
      accounting.begin(name)
      accounting.take(bytes)
    } catch (error) {
      accounting.unreadable(name, error)
    }
  }
  return accounting.account()
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
