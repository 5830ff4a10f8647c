// What a TypeScript module imports and mentions, read from its syntax tree, so that an example in a comment or a text counts
// for nothing. Judges nothing.
import { parseSync } from "rolldown/utils"
import type { TreeFile } from "./tree.ts"

/** One import or re-export. `names` maps local names to imported ones; `*` stands for the whole module. */
export interface Import {
  readonly specifier: string
  readonly names: ReadonlyMap<string, string>
}

/** `Date.now` is `{ object: "Date", member: "now" }`. */
export interface Mention {
  readonly object: string
  readonly member: string
}

export interface ModuleSyntax {
  readonly imports: ReadonlyArray<Import>
  readonly mentions: ReadonlyArray<Mention>
  /** Calls with `new` and no argument: the names of what is made. */
  readonly madeFromNothing: ReadonlyArray<string>
  readonly beginsWithComment: boolean
}

type Node = Readonly<Record<string, unknown>>

const isNode = (value: unknown): value is Node => typeof value === "object" && value !== null
const nameOf = (value: unknown): string | null =>
  isNode(value) && value["type"] === "Identifier" && typeof value["name"] === "string" ? value["name"] : null
const textOf = (value: unknown): string | null =>
  isNode(value) && value["type"] === "Literal" && typeof value["value"] === "string" ? value["value"] : null

export const readModule = (file: TreeFile): ModuleSyntax => {
  const parsed = parseSync(file.path, file.text)
  const [error] = parsed.errors
  if (error !== undefined) throw new Error(`${file.path} does not parse: ${error.message}`)

  const imports: Array<Import> = []
  const mentions: Array<Mention> = []
  const madeFromNothing: Array<string> = []
  for (const { moduleRequest, entries } of parsed.module.staticImports) {
    const names = new Map(entries.map((entry) => [entry.localName.value, entry.importName.name ?? "*"] as const))
    imports.push({ specifier: moduleRequest.value, names })
  }
  for (const { entries } of parsed.module.staticExports) {
    for (const { moduleRequest, importName } of entries) {
      if (moduleRequest === null || moduleRequest === undefined) continue
      const name = importName.name ?? "*"
      imports.push({ specifier: moduleRequest.value, names: new Map([[name, name]]) })
    }
  }

  const visit = (node: unknown): void => {
    if (Array.isArray(node)) return node.forEach(visit)
    if (!isNode(node)) return
    if (node["type"] === "ImportExpression" || node["type"] === "TSImportType") {
      const specifier = textOf(node["source"])
      if (specifier !== null) imports.push({ specifier, names: new Map([["*", "*"]]) })
    }
    if (node["type"] === "MemberExpression" && node["computed"] === false) mention(node["object"], node["property"])
    if (node["type"] === "TSQualifiedName") mention(node["left"], node["right"])
    if (node["type"] === "NewExpression" && Array.isArray(node["arguments"]) && node["arguments"].length === 0) {
      const made = nameOf(node["callee"])
      if (made !== null) madeFromNothing.push(made)
    }
    for (const value of Object.values(node)) visit(value)
  }
  const mention = (left: unknown, right: unknown): void => {
    const object = nameOf(left)
    const member = nameOf(right)
    if (object !== null && member !== null) mentions.push({ object, member })
  }
  visit(parsed.program)

  const hashbang = /^#!.*\n/.exec(file.text)?.[0] ?? ""
  const beginsWithComment = /^\s*(\/\/|\/\*)/.test(file.text.slice(hashbang.length))
  return { imports, mentions, madeFromNothing, beginsWithComment }
}
