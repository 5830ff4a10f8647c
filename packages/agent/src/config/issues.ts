/** Turns what zod finds wrong into problems that a person can act on. Pure. */
import * as z from "zod"
import { type ConfigDocument, problemAt } from "./document.ts"
import { type ConfigProblem, shown } from "./config-error.ts"
import { nearest } from "./nearest.ts"

type Issue = z.core.$ZodIssue
type Path = ReadonlyArray<PropertyKey>

/** What zod keeps to itself until a message is asked for: the keys a mapping may have, and the schema's own description. */
const messageFor: z.core.$ZodErrorMap = (issue) => {
  const schema = issue.inst as z.core.$ZodType | undefined
  if (issue.code === "unrecognized_keys")
    return JSON.stringify(Object.keys((schema as z.ZodObject | undefined)?.shape ?? {}))
  return wanted(issue as Issue, schema)
}

/** Of what is wrong at a time: each is compared with the others and looked up, and nobody mends more than this before trying again. */
const MAX_ISSUES = 500

/** Parses a value of the document that stands at `at`; the result, or every problem. */
export const parseAt = <Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  document: ConfigDocument,
  at: Path = [],
):
  | { readonly ok: true; readonly value: z.output<Schema> }
  | { readonly ok: false; readonly problems: ReadonlyArray<ConfigProblem> } => {
  const parsed = schema.safeParse(value, { error: messageFor, reportInput: true })
  if (parsed.success) return { ok: true, value: parsed.data }
  const found = parsed.error.issues.slice(0, MAX_ISSUES)
  const issues = found.filter((issue, _, all) => !isEcho(issue, all))
  const problems = issues.flatMap((issue) => problemsOf(issue, document, at))
  return {
    ok: false,
    problems: problems.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0)),
  }
}

/** Whether an issue only says again what an unknown key beside it says: that is the key which is missing, misspelt. */
const isEcho = (issue: Issue, all: ReadonlyArray<Issue>): boolean => {
  const unknown = (path: Path): ReadonlyArray<string> =>
    all.flatMap((other) =>
      other.code === "unrecognized_keys" && other.path.join("\0") === path.join("\0") ? other.keys : [],
    )
  if (issue.code === "custom") return unknown(issue.path).length > 0
  if (issue.code !== "invalid_type" || issue.input !== undefined) return false
  return unknown(issue.path.slice(0, -1)).some((key) => nearest(key, [String(issue.path.at(-1))]) !== null)
}

const problemsOf = (issue: Issue, document: ConfigDocument, at: Path): ReadonlyArray<ConfigProblem> => {
  const path = [...at, ...issue.path]
  switch (issue.code) {
    case "unrecognized_keys": {
      const known = JSON.parse(issue.message) as ReadonlyArray<string>
      return issue.keys
        .slice(0, MAX_ISSUES)
        .map((key) => problemAt(document, [...path, key], unknownKey(key, known), true))
    }
    case "invalid_union": {
      const branch = likeliest(issue.errors)
      if (branch !== null) {
        return branch.filter((inner) => !isEcho(inner, branch)).flatMap((inner) => problemsOf(inner, document, path))
      }
      return [problemAt(document, path, withFound(valueAt(document.value, path), issue.message))]
    }
    case "invalid_key":
    case "invalid_element":
      return issue.issues.flatMap((inner) => problemsOf(inner, document, path))
    case "invalid_format":
    case "invalid_type":
    case "invalid_value":
    case "not_multiple_of":
    case "too_big":
    case "too_small":
    case "custom":
      return [problemAt(document, path, withFound(valueAt(document.value, path), issue.message))]
  }
}

/** Of a union's branches the one that was probably meant: what was found has its kind, and the fewest keys are out of place. */
const likeliest = (branches: ReadonlyArray<ReadonlyArray<Issue>>): ReadonlyArray<Issue> | null => {
  const misfit = (issue: Issue): boolean =>
    issue.path.length === 0 && (issue.code === "invalid_type" || issue.code === "invalid_value")
  const weight = (issues: ReadonlyArray<Issue>): number =>
    issues.reduce((sum, issue) => sum + (issue.code === "unrecognized_keys" ? issue.keys.length : 1), 0)
  const fitting = branches.filter((issues) => issues.length > 0 && !issues.some(misfit))
  return fitting.toSorted((a, b) => weight(a) - weight(b))[0] ?? null
}

const unknownKey = (key: string, known: ReadonlyArray<string>): string => {
  const meant = nearest(key, known)
  if (meant !== null) return `unknown key; did you mean ${meant}?`
  return known.length === 0 ? "unknown key; none is known here" : `unknown key; known here: ${known.join(", ")}`
}

/** A message that doesn't say what was found gets it put in front; as it was written, not as zod had it in between. */
const withFound = (value: unknown, message: string): string => {
  if (value === undefined) return message.startsWith("must ") ? `missing; it ${message}` : `missing; ${message}`
  const found = shown(value)
  return message.startsWith(`${found} `)
    ? message
    : `found ${found}; ${message.startsWith("must ") ? "it " : ""}${message}`
}

const valueAt = (value: unknown, path: Path): unknown =>
  path.reduce<unknown>(
    (at, key) =>
      typeof at === "object" && at !== null && Object.hasOwn(at, key)
        ? (at as Readonly<Record<PropertyKey, unknown>>)[key]
        : undefined,
    value,
  )

const KINDS: Readonly<Record<string, string>> = {
  string: "text",
  int: "a whole number",
  number: "a number",
  boolean: "true or false",
  array: "a list",
  object: "a mapping",
  record: "a mapping",
}

/** What would be right, as zod's issue and the schema say it. Only asked for where the schema gives no message of its own. */
const wanted = (issue: Issue, schema: z.core.$ZodType | undefined): string => {
  const about = schema === undefined ? undefined : z.globalRegistry.get(schema)?.description
  switch (issue.code) {
    case "invalid_type": {
      const kind = KINDS[issue.expected] ?? issue.expected
      if (issue.input === null && kind === "a mapping") return "write a mapping, or {} if there is nothing to say"
      return issue.input === undefined && about !== undefined ? `write ${kind}: ${lowerFirst(about)}` : `write ${kind}`
    }
    case "invalid_value": {
      const values = issue.values.map((value) => shown(value))
      return values.length === 1 ? `write ${values[0]}` : `write one of ${values.join(", ")}`
    }
    case "too_small":
      if (issue.origin === "string") return "must not be empty"
      if (issue.origin === "array") return `must have at least ${counted(Number(issue.minimum))}`
      return issue.inclusive === false ? `must be more than ${issue.minimum}` : `must be at least ${issue.minimum}`
    case "too_big":
      if (issue.origin === "string") return `must be at most ${issue.maximum} characters long`
      if (issue.origin === "array") return `must have at most ${counted(Number(issue.maximum))}`
      return issue.inclusive === false ? `must be less than ${issue.maximum}` : `must be at most ${issue.maximum}`
    case "invalid_union":
      return about === undefined
        ? `write ${alternatives(issue.errors)}`
        : `write ${lowerFirst(about).replace(/\.$/, "")}`
    case "invalid_format":
    case "not_multiple_of":
    case "unrecognized_keys":
    case "invalid_key":
    case "invalid_element":
    case "custom":
      return about === undefined
        ? `must be ${issue.code === "invalid_format" ? `a ${issue.format}` : "valid"}`
        : lowerFirst(about)
  }
}

const counted = (count: number): string => (count === 1 ? "one item" : `${count} items`)
const lowerFirst = (text: string): string => text.slice(0, 1).toLowerCase() + text.slice(1)

/** What the branches of a union want, each at its root. */
const alternatives = (branches: ReadonlyArray<ReadonlyArray<Issue>>): string => {
  const wants = branches.flatMap((issues) =>
    issues.filter(({ path }) => path.length === 0).map(({ message }) => message.replace(/^write /, "")),
  )
  return [...new Set(wants)].join(", or ")
}
