// The code in core's README: it compiles, it is what it says it is, and it does what it is there for.
import { execFile } from "node:child_process"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { promisify } from "node:util"
import { afterAll, beforeAll, describe, expect, it } from "vitest"

const root = resolve(import.meta.dirname, "../../..")
const readme = readFileSync(resolve(import.meta.dirname, "../README.md"), "utf8")
const blocks = [...readme.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code = ""]) => code)
const blockWith = (text: string): number => blocks.findIndex((code) => code.includes(text))

const run = promisify(execFile)
/** Runs node, and gives what it prints; what it prints on failing, too. */
const node = (cwd: string, ...args: ReadonlyArray<string>): Promise<string> =>
  run(process.execPath, args, { cwd, timeout: 60_000 }).then(
    ({ stdout }) => stdout,
    (error: { readonly stdout: string; readonly stderr: string }) => `${error.stdout}${error.stderr}`,
  )

describe("the README's code", () => {
  let directory = ""
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "cordwood-readme-"))
    symlinkSync(join(root, "node_modules"), join(directory, "node_modules"))
    writeFileSync(join(directory, "package.json"), '{ "type": "module" }')
    const tsconfig = {
      extends: join(root, "tsconfig.base.json"),
      include: ["*.ts"],
      compilerOptions: { preserveSymlinks: false },
    }
    writeFileSync(join(directory, "tsconfig.json"), JSON.stringify(tsconfig))
    for (const [at, code] of blocks.entries()) writeFileSync(join(directory, `block${at}.ts`), code)
    mkdirSync(join(directory, "archive"))
  })
  afterAll(() => rmSync(directory, { recursive: true, force: true }))

  it("is there, a block for all that is to be shown", () => {
    expect(blocks.length).toBe(6)
  })

  it("compiles, each block by itself, as strictly as the repository does", { timeout: 60_000 }, async () => {
    expect(await node(directory, join(root, "node_modules/typescript/bin/tsc"), "--project", "tsconfig.json")).toBe("")
  })

  it("has the template's source as it is", () => {
    expect(blocks[blockWith("export const keep")]).toBe(
      readFileSync(join(root, "examples/plugin-template/src/keep.ts"), "utf8"),
    )
  })

  const inNode = (code: string): Promise<string> => {
    writeFileSync(join(directory, "main.mjs"), code)
    return node(directory, "--conditions=cordwood-source", "main.mjs")
  }

  it("plans as it says", async () => {
    const printed = await inNode(`import "./block${blockWith("snapshotOf(")}.ts"`)
    expect(printed).toContain("_tag: 'Rotate'")
    expect(printed).toContain("to: '/var/log/app/0.log.20260909-043310'")
  })

  it("has a guard that does all that a guard must", { timeout: 60_000 }, async () => {
    const printed = await inNode(`
      import { existsSync, rmSync } from "node:fs"
      import { guardSuite } from "@cordwood/core/testing"
      import { archive } from "./block${blockWith("export const archive")}.ts"
      const directory = process.cwd() + "/archive"
      const cases = guardSuite(() => archive({ directory }), { outOfReach: () => archive({ directory: directory + "/missing" }) })
      const wrong = []
      for (const { name, run } of cases) await run().catch((error) => wrong.push(name + ": " + error.message))
      console.log(JSON.stringify({ cases: cases.length > 15, wrong }))`)
    expect(printed).toBe(`${JSON.stringify({ cases: true, wrong: [] })}\n`)
  })

  it("has a guard that copies a segment again that has grown since", async () => {
    const printed = await inNode(`
      import { mkdirSync, readdirSync, readFileSync } from "node:fs"
      import { setUp } from "@cordwood/core/testing"
      import { Effect } from "effect"
      import { archive } from "./block${blockWith("export const archive")}.ts"
      const directory = process.cwd() + "/grown"
      mkdirSync(directory)
      await Effect.runPromise(Effect.scoped(Effect.gen(function* () {
        const { beforeRemove } = yield* setUp(archive({ directory }))
        let told = null
        for (const content of ["one\\n", "one\\n", "one\\ntwo\\n"]) {
          const read = async function* () { yield new TextEncoder().encode(content) }
          const segment = { path: "/l/0.log.20260909-043310", stamp: "20260909-043310", bytes: content.length }
          const record = (fact) => Effect.sync(() => void (told = fact))
          yield* beforeRemove({ log: { path: "/l/0.log" }, segment, raw: read, stored: read, record, told })
        }
      })))
      console.log(JSON.stringify(readdirSync(directory).map((name) => readFileSync(directory + "/" + name, "utf8"))))`)
    expect(printed).toBe(`${JSON.stringify(["one\ntwo\n"])}\n`)
  })

  it("has an observer that writes every event down", async () => {
    const printed = await inNode(`
      import { readFileSync } from "node:fs"
      import { envelopeOf, setUp } from "@cordwood/core/testing"
      import { Effect } from "effect"
      import { ndjson } from "./block${blockWith("export const ndjson")}.ts"
      const file = process.cwd() + "/events.ndjson"
      const events = [0, 1].map((at) => envelopeOf({ type: "Planned", data: { steps: [] } }, at))
      await Effect.runPromise(Effect.scoped(Effect.gen(function* () {
        const { observe } = yield* setUp(ndjson({ file }))
        for (const event of events) yield* observe(event)
      })))
      const lines = readFileSync(file, "utf8").trimEnd().split("\\n")
      console.log(JSON.stringify(lines.map((line) => JSON.parse(line))) === JSON.stringify(events))`)
    expect(printed).toBe("true\n")
  })
})
