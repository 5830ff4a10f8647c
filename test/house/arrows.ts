// Who may import whom. Arrows point inward only: agent ─► fs-adapter ─► core, plugins ─► core, docs ─► core.
import { posix } from "node:path"
import { readModule } from "./module-syntax.ts"
import type { TreeFile } from "./tree.ts"

interface Rule {
  readonly folder: RegExp
  /** The packages of this repository that it may import. */
  readonly own: ReadonlyArray<string>
  /** The only other packages that its `src` may import; absent: whatever its package.json declares. */
  readonly foreign?: ReadonlyArray<string>
}

const rules: ReadonlyArray<Rule> = [
  { folder: /^packages\/core$/, own: ["@cordwood/core"], foreign: ["effect", "zod"] },
  { folder: /^packages\/fs-adapter$/, own: ["@cordwood/core", "@cordwood/fs-adapter"] },
  { folder: /^packages\/plugins\/[^/]+$/, own: ["@cordwood/core"] },
  {
    folder: /^packages\/agent$/,
    own: ["@cordwood/core", "@cordwood/fs-adapter", "@cordwood/plugin-gzip", "@cordwood/agent"],
  },
  { folder: /^apps\/docs$/, own: ["@cordwood/core"] },
]

const isModule = (path: string): boolean => /\.(ts|mts|tsx)$/.test(path)

/** `@scope/name/sub` is `@scope/name`; `name/sub` is `name`. */
const packageOf = (specifier: string): string =>
  specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/")

interface Manifest {
  readonly name: string
  readonly dependencies?: Readonly<Record<string, string>>
  /** What may be left out: `src` imports it when it is needed, and says so where it is missing. */
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
}

/** One sentence for each import, or dependency in a package.json, that points the wrong way or is declared nowhere. */
export const wrongArrows = (files: ReadonlyArray<TreeFile>): ReadonlyArray<string> => {
  const found: Array<string> = []
  for (const manifestFile of files.filter((file) => posix.basename(file.path) === "package.json")) {
    const folder = posix.dirname(manifestFile.path)
    const rule = rules.find((candidate) => candidate.folder.test(folder))
    if (rule === undefined) continue
    const manifest = JSON.parse(manifestFile.text) as Manifest
    const own = [...rule.own, manifest.name]
    const declared = new Set([
      manifest.name,
      ...Object.keys(manifest.dependencies ?? {}),
      ...Object.keys(manifest.optionalDependencies ?? {}),
      ...Object.keys(manifest.peerDependencies ?? {}),
    ])
    for (const name of declared) {
      if (name.startsWith("@cordwood/") && !own.includes(name)) {
        found.push(`${manifestFile.path} depends on ${name}, which points outward`)
      }
    }
    for (const file of files.filter(({ path }) => path.startsWith(`${folder}/`) && isModule(path))) {
      const isSource = file.path.startsWith(`${folder}/src/`)
      for (const { specifier } of readModule(file).imports) {
        if (specifier.startsWith(".")) {
          const target = posix.join(posix.dirname(file.path), specifier)
          if (!target.startsWith(`${folder}/`))
            found.push(`${file.path} imports ${specifier}, which leaves its package`)
          else if (isSource && !target.startsWith(`${folder}/src/`)) {
            found.push(`${file.path} imports ${specifier}, which is not published with it`)
          }
          continue
        }
        const name = packageOf(specifier)
        if (name.startsWith("@cordwood/") && !own.includes(name)) {
          found.push(`${file.path} imports ${specifier}, which points outward`)
        } else if (isSource && rule.foreign !== undefined && !own.includes(name) && !rule.foreign.includes(name)) {
          found.push(`${file.path} imports ${specifier}; only ${rule.foreign.join(" and ")} may be imported there`)
        } else if (isSource && !specifier.startsWith("node:") && !declared.has(name)) {
          found.push(`${file.path} imports ${specifier}, which ${manifestFile.path} does not declare`)
        }
      }
    }
  }
  return found
}
