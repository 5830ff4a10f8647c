/**
 * The account of a log, from its files alone: which of the numbered lines are there. Shares no code with the agent. Stricter than the
 * one for containerd's logs, since these lines have no frame: the bytes of all files, joined, must be the lines, and nothing else. Reads only.
 */
import { readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { filesOf, gunzipStrictly } from "../containerd/account.ts"
import type { FileOnDisk } from "../containerd/account.ts"
import { claimedNumber, LINE_BYTES, lineOf } from "./numbered-line.ts"

export interface Account {
  /** Undefined: not one line is there. */
  readonly first: number | undefined
  readonly last: number | undefined
  /** Bytes of the line after it: the disk took no more of it. */
  readonly begun: number
  /** What isn't as it must be: an archive that doesn't decode, and the first place where something else follows than the next line. */
  readonly faults: ReadonlyArray<string>
  /** What a pass that came to its end leaves nowhere: temporary files, and segments that lie there twice. */
  readonly leftovers: ReadonlyArray<string>
  readonly segments: ReadonlyArray<FileOnDisk>
}

const SHOWN_CHARS = 60

const decoded = (folder: string, { compressed, name }: FileOnDisk): Buffer => {
  const stored = readFileSync(join(folder, name))
  return compressed ? gunzipStrictly(stored) : stored
}

export const account = (active: string): Account => {
  const files = filesOf(active)
  const segments = files.filter(({ role }) => role === "segment")
  const faults: Array<string> = []
  const parts: Array<{ readonly name: string; readonly bytes: Buffer }> = []
  for (const file of files.filter(({ role }) => role === "segment" || role === "active")) {
    try {
      parts.push({ name: file.name, bytes: decoded(dirname(active), file) })
    } catch (error) {
      faults.push(`${file.name}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  const bytes = Buffer.concat(parts.map((part) => part.bytes))
  const at = (offset: number): string => {
    let end = 0
    const part = parts.find((candidate) => (end += candidate.bytes.length) > offset)
    return `${part?.name} at ${offset - end + (part?.bytes.length ?? 0)}`
  }
  const first = bytes.length === 0 ? undefined : claimedNumber(bytes.toString("latin1", 0, LINE_BYTES))
  let last = first === undefined ? undefined : first - 1
  let begun = 0
  for (let offset = 0; last !== undefined && offset < bytes.length; offset += LINE_BYTES) {
    const found = bytes.toString("latin1", offset, offset + LINE_BYTES)
    const expected = lineOf(last + 1)
    if (found.length < LINE_BYTES && expected.startsWith(found)) {
      begun = found.length
      break
    }
    if (found !== expected) {
      faults.push(`${at(offset)}: not line ${last + 1}, but ${JSON.stringify(found.slice(0, SHOWN_CHARS))}`)
      break
    }
    last += 1
  }
  const leftovers = files
    .filter(({ name, role, stamp }) => {
      const twice = segments.some((other) => other.name !== name && other.stamp === stamp)
      return role === "temporary" || (role === "segment" && twice)
    })
    .map(({ name }) => name)
  return { first, last, begun, faults, leftovers, segments }
}
