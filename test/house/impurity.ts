// What pure code must not mention: the clock, chance, the environment. Pure code gets a stamp.
import { readModule } from "./module-syntax.ts"
import type { TreeFile } from "./tree.ts"

const impureMembers: ReadonlySet<string> = new Set([
  "Date.now",
  "Math.random",
  "performance.now",
  "process.env",
  "crypto.randomUUID",
])

/** One sentence for each mention in `file` of what only the edges may read. */
export const impurities = (file: TreeFile): ReadonlyArray<string> => {
  const { mentions, madeFromNothing } = readModule(file)
  const members = mentions.map(({ object, member }) => `${object}.${member}`).filter((name) => impureMembers.has(name))
  const clocks = madeFromNothing.filter((name) => name === "Date").map((name) => `new ${name}()`)
  return [...new Set([...members, ...clocks])].map((name) => `${file.path} mentions ${name}; only the edges may`)
}
