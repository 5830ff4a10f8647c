/** What is wrong with a configuration file, as data and as text for people. Reads nothing. */
import { Data } from "effect"

/** One thing that is wrong, and where. `line` and `column` count from 1; null where the file couldn't be read that far. */
export interface ConfigProblem {
  /** The place in the configuration: `policy.maxFiles`, `sources[0].cri`; empty for the file as a whole. */
  readonly path: string
  readonly line: number | null
  readonly column: number | null
  /** What was found and what would be right. May go on over several lines. */
  readonly message: string
}

/** Above this many, the rest is only counted: a file of another kind has a problem in every line. */
const MAX_SHOWN = 50

/** A configuration that can't be used. All that is wrong with it, at once. */
export class ConfigError extends Data.TaggedError("ConfigError")<{
  readonly file: string
  readonly problems: ReadonlyArray<ConfigProblem>
}> {
  override get message(): string {
    return this.lines.join("\n")
  }
  /** The message line by line. Names from outside stand in the lines as they are: a newline within one of them begins no line. */
  get lines(): ReadonlyArray<string> {
    const { file, problems } = this
    const lines = problems.slice(0, MAX_SHOWN).flatMap((problem) => problemLines(file, problem))
    if (problems.length > MAX_SHOWN) lines.push(`${file}: and ${problems.length - MAX_SHOWN} more`)
    return lines
  }
}

/** `file:line:column: path: message`, the form that editors and terminals make a link of. What follows is indented, so that it can't pass for another one. */
const problemLines = (file: string, { column, line, message, path }: ConfigProblem): ReadonlyArray<string> => {
  const place = line === null ? file : `${file}:${line}:${column ?? 1}`
  const [first, ...rest] = message.split("\n")
  return [`${place}: ${path === "" ? "" : `${path}: `}${first}`, ...rest.map((more) => `    ${more}`)]
}

/** The keys from the top of the file down to a value, as text: `plugins[1].with.level`. */
export const pathText = (path: ReadonlyArray<PropertyKey>): string => {
  let text = ""
  for (const key of path) {
    if (typeof key === "number") text += `[${key}]`
    else if (/^[A-Za-z_][\w-]*$/.test(String(key))) text += text === "" ? String(key) : `.${String(key)}`
    else text += `[${JSON.stringify(shorten(String(key)))}]`
  }
  return text
}

const MAX_TEXT = 60
const shorten = (text: string): string => (text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT - 1)}…` : text)

/** A value of the file as a message shows it, on one short line. */
export const shown = (value: unknown): string => {
  if (value === undefined || value === null) return "nothing"
  if (typeof value === "string") return JSON.stringify(shorten(value))
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : "a list"
  if (typeof value === "object") return Object.keys(value).length === 0 ? "an empty mapping" : "a mapping"
  return String(value)
}
