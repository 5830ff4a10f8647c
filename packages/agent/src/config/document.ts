/** Reads a configuration file's text: bounded, strict, with the position of every value. Knows nothing of what the keys mean. */
import { closeSync, fstatSync, openSync, readSync } from "node:fs"
import {
  isAlias,
  isCollection,
  isMap,
  isPair,
  isSeq,
  Lexer,
  LineCounter,
  type Node,
  parseAllDocuments,
  type Scalar,
} from "yaml"
import { ConfigError, type ConfigProblem, pathText } from "./config-error.ts"
import { distrust } from "./ownership.ts"

/** A configuration is written by hand; what is larger is another kind of file. */
const MAX_BYTES = 1024 * 1024
/** How often anchors may be repeated in total. Bounds what a few lines of aliases to aliases can grow to. */
const MAX_ALIASES = 100

/**
 * Keys, values and marks such as dashes and brackets. The parser compares every key of a mapping with all others, and a few letters make a part: what is
 * more is another kind of file, and would take it minutes. Ten times what the most sources allowed need.
 */
const MAX_PARTS = 20_000
/** Open brackets, which the parser goes into one by one, as deep as its stack allows. */
const MAX_DEPTH = 100

/** The value of a file, and where each part of it stands. */
export interface ConfigDocument {
  readonly value: unknown
  /** Where the value at `path` stands, or, if there is none, what is nearest above it. With `key`, where its key stands. */
  readonly locate: (path: ReadonlyArray<PropertyKey>, key?: boolean) => Pick<ConfigProblem, "line" | "column">
}

const NOWHERE = { line: null, column: null } as const

/** The file's text, at most `MAX_BYTES` of it. Throws `ConfigError`. */
const readText = (file: string): string => {
  const refuse = (message: string): ConfigError =>
    new ConfigError({ file, problems: [{ path: "", ...NOWHERE, message }] })
  let bytes: Buffer
  try {
    const fd = openSync(file, "r")
    try {
      const seen = fstatSync(fd)
      if (seen.isDirectory()) throw refuse("is a directory; name the file in it")
      // A device's mode says nothing about who wrote what comes out of it.
      const problem = seen.isFile() || seen.isFIFO() ? distrust(file, seen) : null
      if (problem !== null) throw refuse(problem)
      // Read piece by piece rather than by its size, so that a pipe (`--config <(…)`) works and /dev/zero ends.
      bytes = Buffer.alloc(MAX_BYTES + 1)
      let length = 0
      for (let read = -1; read !== 0 && length <= MAX_BYTES; length += read) {
        read = readSync(fd, bytes, length, bytes.length - length, null)
      }
      bytes = bytes.subarray(0, length)
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    if (error instanceof ConfigError) throw error
    const code = (error as NodeJS.ErrnoException).code ?? ""
    throw refuse(READ_PROBLEMS[code] ?? `can't be read (${error instanceof Error ? error.message : String(error)})`)
  }
  if (bytes.length > MAX_BYTES)
    throw refuse("is larger than 1 MiB; a configuration is a few lines, so this is another file")
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes)
  } catch {
    throw refuse("is not UTF-8 text; save it as UTF-8")
  }
}

const READ_PROBLEMS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file; give the path of the configuration",
  ENOTDIR: "there is no such file; a part of its path is not a directory",
  EACCES: "may not be read by this user; run as another user or change the file's permissions",
  EPERM: "may not be read by this user; run as another user or change the file's permissions",
  ELOOP: "its symbolic links go round in a circle",
}

/** Reads and parses a file as YAML, of which JSON is a part. Throws `ConfigError` with every problem that was found. */
export const readDocument = (file: string): ConfigDocument => parseDocument(file, readText(file))

/** Parses a file's text. Throws `ConfigError`. */
export const parseDocument = (file: string, text: string): ConfigDocument => {
  const lines = new LineCounter()
  const at = (offset: number): Pick<ConfigProblem, "line" | "column"> => {
    const { col, line } = lines.linePos(offset)
    return { line: Math.max(1, line), column: Math.max(1, col) }
  }
  const refuse = (...problems: ReadonlyArray<ConfigProblem>): ConfigError => new ConfigError({ file, problems })
  const excess = excessOf(text)
  if (excess !== null) throw refuse({ path: "", ...NOWHERE, message: excess })
  let documents: ReturnType<typeof parseAllDocuments>
  try {
    documents = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, logLevel: "silent", version: "1.2" })
  } catch (error) {
    // The parser calls itself for every level, so that depth ends in a full stack.
    throw refuse({ path: "", ...NOWHERE, message: tooDeep(error) })
  }
  const [document, second] = Array.isArray(documents) ? documents : []
  if (document === undefined) throw refuse({ path: "", ...NOWHERE, message: emptyMessage })
  const faults = [...document.errors, ...document.warnings]
  const deep = faults.find(({ message }) => message.includes("call stack"))
  if (deep !== undefined) throw refuse({ path: "", ...at(deep.pos[0]), message: TOO_DEEP })
  if (faults.length > 0) {
    throw refuse(
      ...faults.map((fault) => ({
        path: "",
        ...at(fault.pos[0]),
        message: SYNTAX[fault.code] ?? `${lowerFirst(fault.message)}; this is not valid YAML`,
      })),
    )
  }
  if (second !== undefined) {
    throw refuse({
      path: "",
      ...at(second.range?.[0] ?? 0),
      message: "a second document begins here (---); a configuration is one document",
    })
  }
  let value: unknown
  try {
    value = document.toJS({ maxAliasCount: MAX_ALIASES })
  } catch (error) {
    const message = error instanceof ReferenceError ? tooManyAliases : tooDeep(error)
    throw refuse({ path: "", ...NOWHERE, message })
  }
  const root = document.contents as Node | null
  if (value === null || value === undefined) throw refuse({ path: "", ...NOWHERE, message: emptyMessage })
  return {
    value,
    locate: (path, key = false) => {
      const offset = offsetOf(root, path, key, (node) =>
        isAlias(node) ? (node.resolve(document) as Node | undefined) : node,
      )
      return offset === null ? NOWHERE : at(offset)
    },
  }
}

/** What of a text is more than its parsing can be trusted with; null if nothing is. Goes through it once. */
const excessOf = (text: string): string | null => {
  let parts = 0
  let aliases = 0
  let depth = 0
  for (const token of new Lexer().lex(text)) {
    // Blanks are no parts, of whatever length. The ends of lines are: the parser is slow with many of them, too.
    if (/^[ \t]*$/.test(token)) continue
    parts += 1
    if (token.startsWith("*")) aliases += 1
    if (token === "[" || token === "{") depth += 1
    if (token === "]" || token === "}") depth -= 1
    if (depth > MAX_DEPTH) return TOO_DEEP
    if (aliases > MAX_ALIASES) return tooManyAliases
    if (parts > MAX_PARTS)
      return `has more than ${MAX_PARTS} parts; a configuration is a few lines, so this is another file`
  }
  return null
}
const tooManyAliases = `anchors are repeated more than ${MAX_ALIASES} times; write the values out`

const emptyMessage = "is empty; it needs at least `sources`, see `cordwood config schema`"
const TOO_DEEP = "is nested too deeply to be a configuration"
const tooDeep = (error: unknown): string =>
  error instanceof RangeError ? TOO_DEEP : `can't be parsed (${error instanceof Error ? error.message : String(error)})`
const lowerFirst = (text: string): string => text.slice(0, 1).toLowerCase() + text.slice(1).replace(/\.$/, "")

/** The parser's most common faults in words that say what to do. */
const SYNTAX: Readonly<Record<string, string>> = {
  DUPLICATE_KEY: "this key stands here for the second time; remove one of the two",
  TAB_AS_INDENT: "tabs can't indent YAML; use spaces",
}

const offsetOf = (
  root: Node | null,
  path: ReadonlyArray<PropertyKey>,
  key: boolean,
  resolve: (node: Node) => Node | undefined,
): number | null => {
  let node = root
  let offset = root?.range?.[0] ?? null
  for (const [depth, part] of path.entries()) {
    const at: Node | null | undefined = node === null ? null : resolve(node)
    if (!isCollection(at)) return offset
    const last = depth === path.length - 1
    if (isMap(at)) {
      const pair = at.items.find((item) => isPair(item) && String((item.key as Scalar).value) === String(part))
      if (pair === undefined) return offset
      const keyOffset = (pair.key as Node).range?.[0] ?? offset
      node = pair.value as Node | null
      // A key without a value stands where its key does.
      offset = (last && key) || node?.range?.[0] === node?.range?.[1] ? keyOffset : (node?.range?.[0] ?? keyOffset)
    } else if (isSeq(at)) {
      const item = at.items[Number(part)] as Node | undefined
      if (item === undefined) return offset
      node = item
      offset = item.range?.[0] ?? offset
    }
  }
  return offset
}

/** A problem at a place of the document. */
export const problemAt = (
  document: ConfigDocument,
  path: ReadonlyArray<PropertyKey>,
  message: string,
  key = false,
): ConfigProblem => ({ path: pathText(path), ...document.locate(path, key), message })
