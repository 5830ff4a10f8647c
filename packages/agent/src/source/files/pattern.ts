/** Patterns of paths, read part by part, so that a search never enters a directory that no match can lie in. Pure. */
import picomatch from "picomatch"

/** Linux' PATH_MAX, less a byte for its end. */
const MAX_PATTERN_CHARS = 4_095

export type Part =
  /** A name as it stands. */
  | { readonly kind: "name"; readonly name: string }
  | { readonly kind: "pattern"; readonly matches: (name: string) => boolean }
  /** `**`: any number of directories, none included. */
  | { readonly kind: "any" }

export interface Pattern {
  readonly text: string
  readonly parts: ReadonlyArray<Part>
}

/** What makes this text no pattern to search by; null when nothing does. */
export const patternProblem = (text: string): string | null => {
  if (text.startsWith("!")) return "a pattern can't begin with !; put what is to be left out under exclude"
  if (!text.startsWith("/")) return "must be an absolute path, as the agent has no working directory to rely on"
  if (text.length > MAX_PATTERN_CHARS) return `must be at most ${MAX_PATTERN_CHARS} characters long`
  if (/\p{Cc}/u.test(text)) return "must not have control characters"
  if (/[{(][^})]*\//.test(text)) return "braces can't span a slash; write two patterns"
  const parts = text.slice(1).split("/")
  if (parts.some((part) => part === "")) return "must name files: no slash at the end, and no //"
  if (parts.some((part) => part === "." || part === "..")) return "must not have a part . or .."
  return null
}

export const readPattern = (text: string): Pattern => ({ text, parts: text.slice(1).split("/").map(readPart) })

const readPart = (part: string): Part => {
  if (part === "**") return { kind: "any" }
  // A backslash makes the next character stand for itself: picomatch reads it.
  if (!picomatch.scan(part).isGlob && !part.includes("\\")) return { kind: "name", name: part }
  return { kind: "pattern", matches: picomatch(part) }
}

/** Whether a whole path matches one of them; a name that begins with a dot too. */
export const matcherOf = (patterns: ReadonlyArray<string>): ((path: string) => boolean) => {
  const matches = patterns.map((pattern) => picomatch(pattern, { dot: true }))
  return (path) => matches.some((match) => match(path))
}
