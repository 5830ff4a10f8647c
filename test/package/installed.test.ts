// Holds that what is published works: every public package is packed, installed into an empty project outside of the
// repository, and used there as a stranger would. Reads `dist`, so it needs a build; `npm test` makes one first.
import { execFile } from "node:child_process"
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { brotliDecompressSync, zstdDecompressSync } from "node:zlib"
import { afterAll, beforeAll, expect, test } from "vitest"

const repository = fileURLToPath(new URL("../..", import.meta.url))
const packages = [
  "packages/core",
  "packages/fs-adapter",
  "packages/plugins/gzip",
  "packages/plugins/zstd",
  "packages/plugins/s3",
  "packages/plugins/otel",
  "packages/agent",
]
/** As a stranger publishes it: without a build. */
const codecOfAStranger = "examples/codec-brotli"

/** npm may have to fetch the dependencies where its cache is cold. */
const installLimitMs = 180_000
const commandLimitMs = 60_000

// `npm test` hands its own project's settings down in the environment; npm in the empty project must not see them. What says
// where packages come from stays.
const keptSettings = /^npm_config_(registry|cache|userconfig|globalconfig|.*proxy|cafile)$/i
const environment = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name) || keptSettings.test(name)),
)
// This Node first: the system's may be too old.
const env = {
  ...environment,
  PATH: `${dirname(process.execPath)}${delimiter}${process.env["PATH"] ?? ""}`,
  NO_COLOR: "1",
}

const execute = promisify(execFile)
const run = (command: string, args: ReadonlyArray<string>, cwd: string, timeout = commandLimitMs) =>
  execute(command, args, { cwd, env, timeout, maxBuffer: 64 * 1024 * 1024 })

interface Packed {
  readonly name: string
  readonly filename: string
  readonly files: ReadonlyArray<{ readonly path: string }>
}

let project = ""
let packed: ReadonlyArray<Packed> = []

beforeAll(async () => {
  for (const folder of packages) {
    if (!existsSync(join(repository, folder, "dist/index.js"))) {
      throw new Error(`${folder}/dist is missing: run \`npm run build\` first, or \`npm test\`, which does`)
    }
  }
  project = realpathSync(mkdtempSync(join(tmpdir(), "cordwood-package-")))
  const folders = [...packages, codecOfAStranger].map((folder) => join(repository, folder))
  const pack = await run(
    "npm",
    ["pack", "--json", "--ignore-scripts", "--pack-destination", project, ...folders],
    project,
  )
  const answer: unknown = JSON.parse(pack.stdout)
  const all = (Array.isArray(answer) ? answer : Object.values(answer as object)) as ReadonlyArray<Packed>
  packed = all.filter(({ name }) => name.startsWith("@cordwood/"))
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "empty", private: true, type: "module" }))
  const tarballs = all.map(({ filename }) => `./${filename}`)
  const quiet = ["--no-audit", "--no-fund", "--no-package-lock", "--prefer-offline", "--loglevel=error"]
  await run("npm", ["install", ...quiet, "--ignore-scripts", ...tarballs], project, installLimitMs)
}, installLimitMs + commandLimitMs)

afterAll(() => {
  if (project !== "") rmSync(project, { recursive: true, force: true })
})

test("each package holds its sources, its build, its licence and its README, the agent its command, and nothing else", () => {
  const tops = packed.map(({ name, files }) => ({
    name,
    tops: [...new Set(files.map(({ path }) => path.split("/")[0]))].toSorted(),
  }))
  const expected = ["LICENSE", "README.md", "dist", "package.json", "src"]
  expect(tops.toSorted((a, b) => (a.name < b.name ? -1 : 1))).toEqual([
    { name: "@cordwood/agent", tops: ["LICENSE", "README.md", "bin", "dist", "package.json", "src"] },
    { name: "@cordwood/core", tops: expected },
    { name: "@cordwood/fs-adapter", tops: expected },
    { name: "@cordwood/plugin-gzip", tops: expected },
    { name: "@cordwood/plugin-otel", tops: expected },
    { name: "@cordwood/plugin-s3", tops: expected },
    { name: "@cordwood/plugin-zstd", tops: expected },
  ])
})

test("every entry point can be imported, and each file it names is there", async () => {
  const specifiers: Array<string> = []
  for (const { name } of packed) {
    const folder = join(project, "node_modules", name)
    const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as {
      exports: Record<string, Record<string, string>>
    }
    for (const [entry, targets] of Object.entries(manifest.exports)) {
      specifiers.push(join(name, entry))
      for (const target of Object.values(targets)) {
        expect(existsSync(join(folder, target)), `${name} names ${target}`).toBe(true)
      }
    }
  }
  const script = specifiers.map((specifier) => `await import(${JSON.stringify(specifier)})`).join("\n")
  writeFileSync(join(project, "entries.js"), `${script}\nconsole.log("imported")\n`)
  expect(await run(process.execPath, ["entries.js"], project)).toEqual({ stdout: "imported\n", stderr: "" })
  expect(specifiers.toSorted()).toEqual([
    "@cordwood/agent",
    "@cordwood/core",
    "@cordwood/core/testing",
    "@cordwood/fs-adapter",
    "@cordwood/plugin-gzip",
    "@cordwood/plugin-otel",
    "@cordwood/plugin-s3",
    "@cordwood/plugin-s3/testing",
    "@cordwood/plugin-zstd",
  ])
})

test("the installed command answers --help with every command", async () => {
  const { stdout, stderr } = await run(join(project, "node_modules/.bin/cordwood"), ["--help"], project)
  const commands = ["run", "once", "plan", "events", "status", "config", "demo"]
  const named = commands.filter((name) => new RegExp(String.raw`^\s+${name}\b`, "m").test(stdout))
  expect({ named, stderr }).toEqual({ named: commands, stderr: "" })
})

const witness = `
// Writes down what it is told. Brings an effect and a zod of its own: the command's are inside its bundle.
import { appendFileSync } from "node:fs"
import { definePlugin } from "@cordwood/core"
import { Effect } from "effect"
import * as z from "zod"

export default definePlugin({
  name: "witness",
  api: 1,
  config: z.strictObject({ file: z.string() }),
  setup: ({ file }) =>
    Effect.gen(function* () {
      yield* Effect.addFinalizer(() => Effect.sync(() => appendFileSync(file, "closed\\n")))
      return { observe: (event) => Effect.sync(() => appendFileSync(file, event.type + "\\n")) }
    }),
})
`

test("a stranger's plugin, with an effect of its own, works in the installed command", async () => {
  mkdirSync(join(project, "logs"))
  writeFileSync(join(project, "logs/app.log"), "one line\n".repeat(1000))
  writeFileSync(join(project, "witness.js"), witness)
  const config = {
    sources: [{ files: { include: [join(project, "logs/*.log")], reopen: "none" } }],
    policy: { maxSize: "1Ki", maxFiles: 3, compression: "none" },
    journal: { path: join(project, "journal.db") },
    plugins: [{ use: "./witness.js", with: { file: join(project, "witnessed") } }],
  }
  writeFileSync(join(project, "cordwood.json"), JSON.stringify(config))
  await run(join(project, "node_modules/.bin/cordwood"), ["once", "--config", "cordwood.json"], project)
  const segments = readdirSync(join(project, "logs")).filter((name) => /^app\.log\.\d{8}-\d{6}$/.test(name))
  const witnessed = readFileSync(join(project, "witnessed"), "utf8").trim().split("\n")
  expect({
    contents: segments.map((name) => readFileSync(join(project, "logs", name), "utf8")),
    witnessed: witnessed.filter((line) => line === "Rotated" || line === "closed"),
  }).toEqual({ contents: ["one line\n".repeat(1000)], witnessed: ["Rotated", "closed"] })
})

test.each([
  { codec: "brotli", whence: "by its name", use: "cordwood-codec-brotli", suffix: ".br", unpack: brotliDecompressSync },
  { codec: "brotli", whence: "by its path", use: "./codec-brotli", suffix: ".br", unpack: brotliDecompressSync },
  { codec: "zstd", whence: "by its name", use: "@cordwood/plugin-zstd", suffix: ".zst", unpack: zstdDecompressSync },
])("the codec $codec, found $whence, compresses in the installed command", async ({ codec, suffix, unpack, use }) => {
  const home = mkdtempSync(join(project, "codec-"))
  // A copy, as somebody has who wrote one: what it imports is found from where it lies.
  cpSync(join(project, "node_modules/cordwood-codec-brotli"), join(home, "codec-brotli"), { recursive: true })
  const segments = ["app.log.20260901-000001", "app.log.20260901-000002"]
  mkdirSync(join(home, "logs"))
  for (const name of ["app.log", ...segments]) {
    writeFileSync(join(home, "logs", name), `${name}\n`.repeat(1000))
    // At rest for long.
    utimesSync(join(home, "logs", name), 0, 0)
  }
  const config = {
    sources: [{ files: { include: [join(home, "logs/*.log")], reopen: "none" } }],
    policy: { maxSize: "1Gi", maxFiles: 5, compression: codec },
    journal: { path: join(home, "journal.db") },
    plugins: [{ use }],
  }
  writeFileSync(join(home, "cordwood.json"), JSON.stringify(config))
  await run(join(project, "node_modules/.bin/cordwood"), ["once", "--config", join(home, "cordwood.json")], home)
  const twin = `${segments[0]}${suffix}`
  expect({
    names: readdirSync(join(home, "logs")).toSorted(),
    content: unpack(readFileSync(join(home, "logs", twin))).toString(),
  }).toEqual({ names: ["app.log", twin, segments[1]], content: `${segments[0]}\n`.repeat(1000) })
})

test("the library example type-checks against the published declarations, and runs", async () => {
  copyFileSync(join(repository, "examples/library/rotate.ts"), join(project, "rotate.ts"))
  const compilerOptions = {
    target: "es2024",
    module: "nodenext",
    strict: true,
    noEmit: true,
    // Other people's declarations, effect's among them, are not ours to check.
    skipLibCheck: true,
    verbatimModuleSyntax: true,
    types: ["node"],
    typeRoots: [join(repository, "node_modules/@types")],
  }
  writeFileSync(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["rotate.ts"] }))
  const check = await run(join(repository, "node_modules/.bin/tsc"), ["--project", "tsconfig.json"], project).catch(
    (error: { stdout: string }) => error,
  )
  expect(check.stdout).toBe("")
  const { stdout } = await run(process.execPath, ["rotate.ts"], project)
  expect(stdout).not.toBe("")
})
