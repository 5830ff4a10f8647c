// Plugins named in a configuration: found from the file's place, and refused with a sentence that helps.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { Effect } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { checkCodecs, loadConfig } from "../../src/config/load.ts"

let directory = ""
const write = (path: string, text: string): void => {
  const file = join(directory, path)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, text)
}
const source = (name: string, body: string): string => `
import { Effect } from "effect"
import * as z from "zod"
export const plugin = { name: "${name}", api: 1, config: z.strictObject({ level: z.int().min(1).max(9).default(3) }), setup: () => Effect.succeed({ ${body} }) }
`
const LZ = `codecs: [{ id: "lz", suffix: ".lz", encode: (input) => input, decode: (input) => input }]`

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "cordwood-plugins-"))
  // What a plugin imports is found from where it lies, as in an installed package.
  const require = createRequire(import.meta.url)
  for (const name of ["effect", "zod"]) {
    mkdirSync(join(directory, "node_modules"), { recursive: true })
    symlinkSync(dirname(require.resolve(`${name}/package.json`)), join(directory, "node_modules", name))
  }
  write("lz.ts", source("lz", LZ))
  write("default.mjs", `${source("defaulted", "")}\nexport { plugin as default }`)
  write(
    "folder/package.json",
    JSON.stringify({ name: "in-a-folder", type: "module", exports: { ".": { import: "./main.js" } } }),
  )
  write("folder/main.js", source("in-a-folder", ""))
  write(
    "node_modules/esm-only/package.json",
    JSON.stringify({ name: "esm-only", type: "module", exports: { ".": { import: "./main.js" } } }),
  )
  write("node_modules/esm-only/main.js", source("esm-only", ""))
  write("throws.mjs", `throw new Error("no licence found")`)
  write("nothing.mjs", `export const hello = 1`)
  write("newer.mjs", source("newer", "").replace("api: 1", "api: 2"))
  write("twice.mjs", source("lz", ""))
  write("no-schema.mjs", `export default { name: "odd", api: 1, config: {}, setup: () => {} }`)
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const fileWith = (plugins: string, compression = "gzip"): string => {
  write("cordwood.yaml", `sources: [{ cri: {} }]\npolicy: { compression: ${compression} }\nplugins:\n${plugins}\n`)
  return join(directory, "cordwood.yaml")
}
const messageFor = async (plugins: string): Promise<string> =>
  (await Effect.runPromise(Effect.flip(loadConfig(fileWith(plugins))))).message.replaceAll(directory, "DIR")

describe("a plugin is found", () => {
  it.each([
    ["by a path beside the file, in TypeScript", "./lz.ts", "lz"],
    ["as a default export", "./default.mjs", "defaulted"],
    ["by a directory with a package.json", "./folder", "in-a-folder"],
    ["by a package's name, though it is for import alone", "esm-only", "esm-only"],
    ["without being installed, if it is the one that comes along", '"@cordwood/plugin-gzip"', "gzip"],
  ])("%s", async (_, use, name) => {
    const { options } = await Effect.runPromise(loadConfig(fileWith(`  - use: ${use}`)))
    expect(options.plugins?.map(({ plugin }) => plugin.name)).toEqual([name])
  })
  it("with its settings", async () => {
    const { options } = await Effect.runPromise(loadConfig(fileWith("  - use: ./lz.ts\n    with: { level: 7 }")))
    expect(options.plugins?.map(({ config }) => config)).toEqual([{ level: 7 }])
  })
})

describe("a plugin is refused", () => {
  it.each([
    [
      "that isn't there",
      "  - use: ./gone.ts",
      '4:10: plugins[0].use: found "./gone.ts"; there is no module at DIR/gone.ts',
    ],
    [
      "that isn't installed",
      "  - use: nowhere-plugin",
      '4:10: plugins[0].use: found "nowhere-plugin", which is not installed for DIR; run: npm install --prefix DIR nowhere-plugin',
    ],
    [
      "that is a file beside the configuration, named like a package",
      "  - use: throws.mjs",
      '4:10: plugins[0].use: found "throws.mjs", which is taken for a package\'s name, and none of that name is installed; did you mean ./throws.mjs?',
    ],
    [
      "that is a file further down, named like a package",
      "  - use: folder/main.js",
      '4:10: plugins[0].use: found "folder/main.js", which is taken for a package\'s name, and none of that name is installed; did you mean ./folder/main.js?',
    ],
    [
      "that is a path to nothing, without ./",
      "  - use: plugins/keep.ts",
      '4:10: plugins[0].use: found "plugins/keep.ts", which is not installed for DIR; if it is a path, begin it with ./ or /: there is no module at DIR/plugins/keep.ts either',
    ],
    [
      "that is a file's name, without ./",
      "  - use: keep.ts",
      '4:10: plugins[0].use: found "keep.ts", which is not installed for DIR; if it is a path, begin it with ./ or /: there is no module at DIR/keep.ts either',
    ],
    [
      "that is misspelt",
      '  - use: "@cordwood/plugin-zst"',
      '4:10: plugins[0].use: found "@cordwood/plugin-zst", which is not installed; did you mean @cordwood/plugin-zstd?',
    ],
    [
      "that throws while it is loaded",
      "  - use: ./throws.mjs",
      "4:10: plugins[0].use: ./throws.mjs fails while it is loaded: no licence found\n    It was loaded from DIR/throws.mjs. Mend or update the plugin, or remove this entry.",
    ],
    [
      "that is none",
      "  - use: ./nothing.mjs",
      "4:10: plugins[0].use: no plugin is exported from DIR/nothing.mjs; export what definePlugin returns, as default or under a name",
    ],
    [
      "that needs another agent",
      "  - use: ./newer.mjs",
      "4:10: plugins[0].use: the plugin newer is made for plugin api 2, and this agent has 1; update the agent, or install an older version of the plugin",
    ],
    [
      "whose config is no schema",
      "  - use: ./no-schema.mjs",
      "4:10: plugins[0].use: the plugin odd has a config that is no zod schema; it should be one, from zod 4",
    ],
    [
      "that is named twice",
      "  - use: ./lz.ts\n  - use: ./twice.mjs",
      "5:10: plugins[1].use: the plugin lz is in the list already, as plugins[0]; remove one of the two",
    ],
    [
      "with a wrong setting",
      "  - use: ./lz.ts\n    with:\n      level: 10",
      "6:14: plugins[0].with.level: found 10; it must be at most 9",
    ],
    [
      "with an unknown setting",
      "  - use: ./lz.ts\n    with:\n      levl: 1",
      "6:7: plugins[0].with.levl: unknown key; did you mean level?",
    ],
    [
      "with settings that are no mapping",
      "  - use: ./lz.ts\n    with: 3",
      "5:11: plugins[0].with: found 3; write a mapping",
    ],
    ["that is misspelt as a key", "  - uses: ./lz.ts", "4:5: plugins[0].uses: unknown key; did you mean use?"],
  ])("%s", async (_, plugins, message) => {
    expect(await messageFor(plugins)).toBe(`DIR/cordwood.yaml:${message}`)
  })
})

describe("a codec that a plugin brings", () => {
  const check = (plugins: string, compression: string) =>
    Effect.runPromise(Effect.flip(Effect.flatMap(loadConfig(fileWith(plugins, compression)), checkCodecs)))
  it("may be chosen", async () => {
    await Effect.runPromise(Effect.flatMap(loadConfig(fileWith("  - use: ./lz.ts", "lz")), checkCodecs))
  })
  it("is named among the known ones when another is chosen", async () => {
    const error = await check("  - use: ./lz.ts", "brotli")
    expect(error.message.replaceAll(directory, "DIR")).toBe(
      'DIR/cordwood.yaml:2:24: policy.compression: found "brotli", which no codec is called; known here: gzip, lz, none; for another one, add the plugin that brings it to plugins',
    )
  })
})
