/**
 * Looks for the files that patterns match. Follows no symbolic link in a part that a pattern leaves open: whoever may write there could
 * otherwise point the agent anywhere. The parts before that are the operator's own words. Only reads.
 */
import type { SourceReason } from "@cordwood/core"
import type { Dirent } from "node:fs"
import { lstat, opendir } from "node:fs/promises"
import { join } from "node:path/posix"
import type { Part, Pattern } from "./pattern.ts"
import { isSetAside, segmentNameOf } from "./rotated-name.ts"

/** Files of one source. More is a pattern that is wider than was meant. */
export const MAX_MATCHES = 10_000
/** Names looked at in one search: it bounds memory, and the time that a `**` over a large disk may take. */
export const MAX_NAMES = 200_000
/** Directories beneath a `**`. */
const MAX_DEPTH = 32
/**
 * A plain segment written to within this time, whose active file is missing, is what a rotation that was cut off leaves behind: there is a writer,
 * and it may be writing to the segment still, which keeps this true. After that nothing shows that there is one, and it would be told to reopen
 * on every pass, for ever, for want of a log that is gone.
 */
const CUT_OFF_WITHIN_MS = 10 * 60_000

export interface Trouble {
  readonly target: string
  readonly reason: SourceReason
  readonly detail: string
  readonly hint: string
}
export interface Found {
  /**
   * Sorted. Regular files, and the paths whose file is missing while segments of theirs are there. Only names tell whose those are: dated files
   * of another program that parse as segments (`app.log.20260101-000000` by logrotate, with that `dateformat`) make a log of the path
   * before the date, too, wherever a pattern matches it.
   */
  readonly paths: ReadonlyArray<string>
  /** Those of the paths whose file is missing, and was not taken away by a rotation that was cut off lately. */
  readonly dormant: ReadonlySet<string>
  readonly troubles: ReadonlyArray<Trouble>
}
export interface Search {
  readonly patterns: ReadonlyArray<Pattern>
  readonly isExcluded: (path: string) => boolean
  /** The file system's time, milliseconds since 1970. */
  readonly nowMs: number
  readonly signal: AbortSignal
  readonly limits?: { readonly matches: number; readonly names: number }
}

type Kind = "file" | "directory" | "symlink" | "other"
type Names = ReadonlyMap<string, Kind>
const NONE: Names = new Map()

const kindOf = (entry: Pick<Dirent, "isFile" | "isDirectory" | "isSymbolicLink">): Kind =>
  entry.isFile() ? "file" : entry.isDirectory() ? "directory" : entry.isSymbolicLink() ? "symlink" : "other"
const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "unknown error"

export const find = async (search: Search): Promise<Found> => {
  const { matches: maxMatches, names: maxNames } = search.limits ?? { matches: MAX_MATCHES, names: MAX_NAMES }
  const listings = new Map<string, Promise<Names>>()
  const troubles = new Map<string, Trouble>()
  /** By directory, then name. */
  const matches = new Map<string, Map<string, Kind>>()
  const dormant = new Set<string>()
  /** Matches that the operator wrote out in full: each is a log that is expected. */
  const named = new Set<string>()
  let looked = 0
  let cutShort = false

  const report = (trouble: Trouble): void => void troubles.set(trouble.target, trouble)

  const readNames = async (directory: string, expected: boolean): Promise<Names> => {
    const names = new Map<string, Kind>()
    try {
      for await (const entry of await opendir(directory)) {
        search.signal.throwIfAborted()
        looked += 1
        if (looked > maxNames) {
          cutShort = true
          break
        }
        names.set(entry.name, kindOf(entry))
      }
    } catch (error) {
      search.signal.throwIfAborted()
      const code = codeOf(error)
      // A directory found a moment ago may be gone by now; one that the pattern spells out should be there.
      const gone = code === "ENOENT" || code === "ENOTDIR"
      if (!gone) report(unreadable(directory, code))
      else if (expected) report(missing(directory))
    }
    return names
  }
  /** Each directory is read once in a search, whatever patterns lead there. */
  const namesIn = (directory: string, expected: boolean): Promise<Names> => {
    const known = listings.get(directory)
    if (known !== undefined) return known
    const names = cutShort ? Promise.resolve(NONE) : readNames(directory, expected)
    listings.set(directory, names)
    return names
  }
  const kindAt = async (path: string): Promise<Kind | null> => {
    try {
      return kindOf(await lstat(path))
    } catch (error) {
      const code = codeOf(error)
      if (code !== "ENOENT" && code !== "ENOTDIR") report(unreadable(path, code))
      return null
    }
  }
  const match = (directory: string, name: string, kind: Kind): void => {
    if (kind === "directory" || search.isExcluded(join(directory, name))) return
    const names = matches.get(directory) ?? new Map<string, Kind>()
    matches.set(directory, names.set(name, kind))
  }

  /** Matches of the pattern's last part. A name may also be missing, and its segments tell of it. */
  const matchNames = async (directory: string, names: Names, matchesName: (name: string) => boolean): Promise<void> => {
    const newest = new Map<string, { readonly name: string; readonly plain: boolean }>()
    for (const [name, kind] of names) {
      if (matchesName(name)) match(directory, name, kind)
      const segment = kind === "file" ? segmentNameOf(name) : null
      if (segment === null || names.has(segment.active) || !matchesName(segment.active)) continue
      // A compressed one comes after its plain twin: what has been compressed was no rotation that was cut off.
      if (name > (newest.get(segment.active)?.name ?? ""))
        newest.set(segment.active, { name, plain: segment.suffix === "" })
    }
    for (const [active, { name, plain }] of newest) {
      match(directory, active, "file")
      if (!plain || !(await writtenLately(join(directory, name), search.nowMs))) dormant.add(join(directory, active))
    }
  }

  /** `spelt`: every part so far is a name that the operator wrote. */
  const walk = async (directory: string, parts: ReadonlyArray<Part>, spelt: boolean, depth: number): Promise<void> => {
    const [part, ...rest] = parts
    if (part === undefined || cutShort) return
    if (part.kind === "name") {
      const path = join(directory, part.name)
      if (rest.length > 0) {
        if (spelt || (await kindAt(path)) === "directory") await walk(path, rest, spelt, depth)
        return
      }
      const kind = await kindAt(path)
      if (spelt) named.add(path)
      if (kind !== null) match(directory, part.name, kind)
      else await matchNames(directory, await namesIn(directory, spelt), (name) => name === part.name)
      return
    }
    const names = await namesIn(directory, spelt)
    if (part.kind === "any") {
      await (rest.length === 0
        ? matchNames(directory, names, isVisible)
        : walk(directory, rest, spelt && depth === 0, depth))
      if (depth >= MAX_DEPTH) return report(tooDeep(directory))
      for (const [name, kind] of names) {
        if (kind === "directory" && isVisible(name)) await walk(join(directory, name), parts, false, depth + 1)
      }
      return
    }
    if (rest.length === 0) return await matchNames(directory, names, part.matches)
    for (const [name, kind] of names) {
      if (kind === "directory" && part.matches(name)) await walk(join(directory, name), rest, false, depth)
    }
  }

  for (const { parts } of search.patterns) await walk("/", parts, true, 0)

  const paths: Array<string> = []
  for (const [directory, names] of matches) {
    const beside = new Set(names.keys())
    for (const [name, kind] of names) {
      if (isSetAside(name, beside)) continue
      const path = join(directory, name)
      const trouble = refusal(path, kind, named.has(path) ? "Invalid" : "LeftAlone")
      if (trouble === null) paths.push(path)
      else report(trouble)
    }
  }
  paths.sort()
  if (cutShort) report(tooMany(search, `they make the search look at more than ${maxNames} names`))
  if (paths.length > maxMatches) report(tooMany(search, `they match ${paths.length} files, more than ${maxMatches}`))
  return { paths: paths.slice(0, maxMatches), dormant, troubles: [...troubles.values()] }
}

const isVisible = (name: string): boolean => !name.startsWith(".")

const writtenLately = async (path: string, nowMs: number): Promise<boolean> => {
  try {
    const { mtimeMs } = await lstat(path)
    return nowMs - mtimeMs < CUT_OFF_WITHIN_MS
  } catch {
    return false
  }
}

const refusal = (target: string, kind: Kind, reason: SourceReason): Trouble | null => {
  if (/[\p{Cc}\uFFFD]/u.test(target)) {
    const detail = "its name has control characters or is not valid UTF-8, so it is left alone"
    return {
      target,
      reason,
      detail,
      hint: "rename the file, or narrow the pattern so that it doesn't match",
    }
  }
  if (kind === "file") return null
  const what = kind === "symlink" ? "a symbolic link, and links are not followed" : "not a regular file"
  const hint = kind === "symlink" ? "include the path that it points to" : "exclude it, or narrow the pattern"
  return { target, reason, detail: `it is ${what}`, hint }
}
const unreadable = (target: string, code: string): Trouble => ({
  target,
  reason: code === "EACCES" || code === "EPERM" ? "Refused" : "Other",
  detail: `it can't be read: ${code}`,
  hint: code === "EACCES" || code === "EPERM" ? "run the agent as root, or let its user read it" : "check the disk",
})
const missing = (target: string): Trouble => ({
  target,
  reason: "NotFound",
  detail: "there is no such directory",
  hint: "check the pattern under include; in a container, check that the directory is mounted into it",
})
const tooDeep = (target: string): Trouble => ({
  target,
  reason: "Invalid",
  detail: `a ** looks no further than ${MAX_DEPTH} directories down`,
  hint: "narrow the pattern",
})
const tooMany = ({ patterns }: Search, detail: string): Trouble => ({
  target: patterns.map(({ text }) => text).join(" "),
  reason: "Invalid",
  detail: `the patterns are too wide: ${detail}; the rest is left out`,
  hint: "narrow the patterns, or split them over several sources",
})
