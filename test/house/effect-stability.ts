// Which parts of effect are stable, read from the tags in its own declarations, so that no list here can grow old.
import { existsSync, readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { readModule } from "./module-syntax.ts"
import type { TreeFile } from "./tree.ts"

const declarations = join(dirname(createRequire(import.meta.url).resolve("effect/package.json")), "dist")

interface Declared {
  /** The tag of the module's first comment. */
  readonly module: string
  /** The tags of each export; an overloaded one has several. */
  readonly members: ReadonlyMap<string, ReadonlySet<string>>
}

const tagged = /\/\*\*((?:(?!\*\/)[\s\S])*?@stability (\w+)(?:(?!\*\/)[\s\S])*)\*\/\s*([^\n]*)/g
const exported =
  /^(?:export )?(?:declare )?(?:abstract )?(?:const|let|function|class|interface|type|namespace|enum) (\w+)|^(?:\w+ as )?(\w+)(?=,|\s|$)/

const read = (path: string): Declared => {
  let module = "untagged"
  const members = new Map<string, Set<string>>()
  for (const [, , tag = "", line = ""] of readFileSync(path, "utf8").matchAll(tagged)) {
    if (module === "untagged") module = tag
    const match = exported.exec(line)
    const name = match?.[1] ?? match?.[2]
    if (name !== undefined) members.set(name, (members.get(name) ?? new Set()).add(tag))
  }
  return { module, members }
}

const known = new Map<string, Declared | null>()
const declared = (path: string): Declared | null => {
  let entry = known.get(path)
  if (entry === undefined) {
    const file = join(declarations, `${path}.d.ts`)
    entry = existsSync(file) ? read(file) : null
    known.set(path, entry)
  }
  return entry
}

const stabilityOf = (module: Declared, member: string): string => {
  const tags = module.members.get(member)
  return tags === undefined || tags.has("stable") ? module.module : [...tags].join(" and ")
}

/** The few functions that a barrel passes on by name (`pipe`, `identity`), each with the module it comes from. */
const passedOn = (barrel: string, name: string): string | null => {
  const index = readFileSync(join(declarations, barrel, "index.d.ts"), "utf8")
  for (const [, names = "", from = ""] of index.matchAll(/export \{([^}]*)\} from "\.\/(\w+)\.ts"/g)) {
    if (
      names
        .replaceAll(/\/\*[\s\S]*?\*\//g, "")
        .split(/[\s,]+/)
        .includes(name)
    )
      return join(barrel, from)
  }
  return null
}

/** One sentence for each thing that `file` takes from effect and that effect doesn't tag as stable. */
export const unstableEffect = (file: TreeFile): ReadonlyArray<string> => {
  const found: Array<string> = []
  const { imports, mentions } = readModule(file)
  const report = (what: string, stability: string): void => {
    if (stability !== "stable") found.push(`${file.path} uses ${what}, which effect tags as ${stability}`)
  }
  for (const { specifier, names } of imports) {
    if (specifier !== "effect" && !specifier.startsWith("effect/")) continue
    const path = specifier.slice("effect/".length)
    for (const [local, imported] of names) {
      const single = path === "" ? null : declared(path)
      if (single !== null && imported !== "*") {
        report(`${specifier} ${imported}`, stabilityOf(single, imported))
        continue
      }
      const namespace = single ?? declared(join(path, imported))
      if (namespace === null) {
        const from = imported === "*" ? null : passedOn(path, imported)
        const origin = from === null ? null : declared(from)
        report(`${specifier} ${imported}`, origin === null ? "nothing that can be told" : stabilityOf(origin, imported))
        continue
      }
      report(single === null ? `${specifier} ${imported}` : specifier, namespace.module)
      if (namespace.module !== "stable") continue
      for (const member of new Set(
        mentions.filter(({ object }) => object === local).map((mention) => mention.member),
      )) {
        report(`${local}.${member}`, stabilityOf(namespace, member))
      }
    }
  }
  return found
}
