// The files of this repository as text, for the rules to read. Knows no rule.
import { readdirSync, readFileSync } from "node:fs"
import { join, relative, sep } from "node:path"
import { fileURLToPath } from "node:url"

/** A file of the repository; `path` is relative to its root, with `/` between names. */
export interface TreeFile {
  readonly path: string
  readonly text: string
}

export const repositoryRoot: string = fileURLToPath(new URL("../..", import.meta.url))

// What .gitignore names: none of it is ever committed.
const ignoredNames: ReadonlySet<string> = new Set([".git", "node_modules", "dist", ".turbo", "coverage", ".DS_Store"])
const ignoredEndings: ReadonlyArray<string> = [".tgz", ".log", ".tsbuildinfo"]

/** Every file below `folder` that could be committed, sorted by path. Links are not followed. */
export const readTree = (folder: string = repositoryRoot): ReadonlyArray<TreeFile> => {
  const files: Array<TreeFile> = []
  const visit = (directory: string): void => {
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      if (ignoredNames.has(entry.name) || ignoredEndings.some((ending) => entry.name.endsWith(ending))) continue
      const path = join(directory, entry.name)
      if (entry.isDirectory()) visit(path)
      else if (entry.isFile()) {
        files.push({ path: relative(folder, path).split(sep).join("/"), text: readFileSync(path, "utf8") })
      }
    }
  }
  visit(folder)
  return files.toSorted((a, b) => (a.path < b.path ? -1 : 1))
}
