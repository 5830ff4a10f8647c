/**
 * `npm run simulate -- --mutations`: brings one deliberate bug after another into a copy of the sources, and lets seeds run until one of them fails. A bug that no seed
 * shows is a hole in the simulation. The repository itself is not touched.
 */
import { spawn } from "node:child_process"
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { applyHunk, type Patch, readPatch } from "./patch.ts"

const REPOSITORY = fileURLToPath(new URL("../../", import.meta.url))
const MUTATIONS = fileURLToPath(new URL("mutations/", import.meta.url))
/** Seeds that a bug may survive. */
const MOST_SEEDS = 2_000
/** What is not caught by then counts as not caught, milliseconds. */
const LIMIT_MS = 15 * 60_000
const PACKAGES = ["core", "agent", "fs-adapter", "plugins/gzip", "plugins/s3"]

export interface Mutation {
  readonly name: string
  readonly patch: Patch
}
export const mutations = (): ReadonlyArray<Mutation> =>
  readdirSync(MUTATIONS)
    .filter((file) => file.endsWith(".patch"))
    .toSorted()
    .map((file) => ({
      name: basename(file, ".patch"),
      patch: readPatch(file, readFileSync(join(MUTATIONS, file), "utf8")),
    }))

/** The changed files of a mutation, by path within the repository. Throws if its patch doesn't apply. */
export const mutated = ({ name, patch }: Mutation): ReadonlyMap<string, string> => {
  const files = new Map<string, string>()
  for (const hunk of patch.hunks) {
    const text = files.get(hunk.path) ?? readFileSync(join(REPOSITORY, hunk.path), "utf8")
    try {
      files.set(hunk.path, applyHunk(text, hunk))
    } catch (error) {
      throw new Error(`${name}.patch no longer applies: ${(error as Error).message}`, { cause: error })
    }
  }
  return files
}

/** A copy of what is needed to run the simulation, and tests of these packages; everything else is linked. */
const copyOf = (): string => {
  const root = mkdtempSync(join(tmpdir(), "cordwood-mutations-"))
  const isSource = (path: string): boolean => !/\/(node_modules|dist|\.turbo)$/.test(path)
  for (const path of PACKAGES) {
    cpSync(join(REPOSITORY, "packages", path), join(root, "packages", path), { recursive: true, filter: isSource })
  }
  cpSync(join(REPOSITORY, "test/simulation"), join(root, "test/simulation"), { recursive: true })
  for (const file of ["package.json", "tsconfig.base.json", "vitest.config.ts", "test/package.json"]) {
    cpSync(join(REPOSITORY, file), join(root, file))
  }
  const modules = join(root, "node_modules")
  mkdirSync(join(modules, "@cordwood"), { recursive: true })
  for (const name of readdirSync(join(REPOSITORY, "node_modules"))) {
    if (name !== "@cordwood") symlinkSync(join(REPOSITORY, "node_modules", name), join(modules, name))
  }
  for (const path of PACKAGES) {
    symlinkSync(join(root, "packages", path), join(modules, "@cordwood", path.replace("plugins/", "plugin-")))
  }
  return root
}

interface Ended {
  readonly code: number | null
  readonly output: string
}
const runIn = (root: string, args: ReadonlyArray<string>): Promise<Ended> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"], timeout: LIMIT_MS })
    let output = ""
    const take = (chunk: Buffer): void => {
      output += chunk.toString("utf8")
    }
    child.stdout.on("data", take)
    child.stderr.on("data", take)
    child.on("error", reject)
    child.on("close", (code) => resolve({ code, output }))
  })

/** How it was caught; null: it wasn't. */
const caught = async (root: string, { test }: Patch): Promise<string | null> => {
  if (test !== null) {
    const { code } = await runIn(root, ["node_modules/vitest/vitest.mjs", "run", "--root", root, test])
    return code === 1 ? `by ${test}` : null
  }
  const { code, output } = await runIn(root, [
    "--conditions=cordwood-source",
    "test/simulation/command.ts",
    "--from",
    "1",
    "--seeds",
    String(MOST_SEEDS),
    "--bare",
  ])
  const [, seed, guarantee = ""] = /^seed (\d+) fails: ([^:\n]+)/m.exec(output) ?? []
  if (seed !== undefined) return `seed ${seed}  ${guarantee}`
  if (code === 0 || code === null) return null
  throw new Error(`the simulation broke down:\n${output.slice(-2_000)}`)
}

/** Runs those whose name contains `only`; 0 if every one was caught. */
export const mutationRun = async ({ only }: { readonly only: string }): Promise<number> => {
  const chosen = mutations().filter(({ name }) => name.includes(only))
  const root = copyOf()
  let survivors = 0
  try {
    const width = Math.max(...chosen.map(({ name }) => name.length))
    for (const mutation of chosen) {
      const files = mutated(mutation)
      for (const [path, text] of files) {
        mkdirSync(dirname(join(root, path)), { recursive: true })
        writeFileSync(join(root, path), text)
      }
      const how = await caught(root, mutation.patch)
      if (how === null) survivors += 1
      console.log(`${mutation.name.padEnd(width)}  ${how ?? `NOT CAUGHT: ${mutation.patch.bug}`}`)
      for (const path of files.keys()) cpSync(join(REPOSITORY, path), join(root, path))
    }
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
  console.log(
    survivors === 0 ? `${chosen.length} bugs, each caught` : `${survivors} of ${chosen.length} bugs were not caught`,
  )
  return survivors === 0 ? 0 : 1
}
