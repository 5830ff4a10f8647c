// Files that root is asked to obey and others can write: a configuration, a plugin, the directories they lie in.
import {
  chmodSync,
  chownSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { Effect } from "effect"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest"
import { ConfigError } from "../../src/config/config-error.ts"
import { loadConfig } from "../../src/config/load.ts"
import { bundleProgram, type Ended, start } from "../cli/program.ts"

const isRoot = process.getuid?.() === 0
/** Nobody's: owners are numbers. */
const [STRANGER, OTHERS] = [54_321, 54_322]
const PLUGIN = `export default { name: "here", api: 1, config: { safeParse: (data) => ({ success: true, data }) }, setup: () => { throw 0 } }\n`
const CONFIG = "sources: [{ cri: {} }]\nplugins: [{ use: ./plugin.mjs }]\n"

let directory = ""
let config = ""
beforeEach(() => {
  // Of its own in /tmp, where everybody may write, with the sticky bit.
  directory = mkdtempSync(join(tmpdir(), "cordwood-ownership-"))
  config = join(directory, "cordwood.yaml")
  writeFileSync(config, CONFIG, { mode: 0o644 })
  writeFileSync(join(directory, "plugin.mjs"), PLUGIN, { mode: 0o644 })
  vi.stubEnv("SUDO_UID", "")
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(directory, { recursive: true, force: true })
})

/** The message, or that there is none. */
const outcome = async (file = config): Promise<string> => {
  const error = await Effect.runPromise(
    Effect.match(loadConfig(file), { onFailure: (error) => error, onSuccess: () => null }),
  )
  if (error === null) return "loaded"
  expect(error).toBeInstanceOf(ConfigError)
  return error.message.replaceAll(directory, "DIR")
}

describe.skipIf(!isRoot)("root loads", () => {
  it("what only root can write", async () => {
    expect(await outcome()).toBe("loaded")
  })
  it("what the group root can write, and a group or all others can only read", async () => {
    chmodSync(config, 0o664)
    chownSync(config, 0, 0)
    chownSync(join(directory, "plugin.mjs"), 0, OTHERS)
    chmodSync(directory, 0o755)
    expect(await outcome()).toBe("loaded")
  })
  it("what belongs to whom sudo was called by, and says no more of another user", async () => {
    for (const path of [config, join(directory, "plugin.mjs"), directory]) chownSync(path, STRANGER, STRANGER)
    vi.stubEnv("SUDO_UID", String(STRANGER))
    expect(await outcome()).toBe("loaded")
    vi.stubEnv("SUDO_UID", String(OTHERS))
    expect(await outcome()).toMatch(/^DIR\/cordwood\.yaml: belongs to user 54321 /)
  })
  it("a ConfigMap as the kubelet lays it out, in a directory that looks as if anybody could write it", async () => {
    const volume = join(directory, "volume")
    mkdirSync(join(volume, "..2026_09_09"), { recursive: true })
    cpSync(config, join(volume, "..2026_09_09", "cordwood.yaml"))
    cpSync(join(directory, "plugin.mjs"), join(volume, "plugin.mjs"))
    writeFileSync(join(volume, "..2026_09_09", "cordwood.yaml"), "sources: [{ cri: {} }]\n")
    symlinkSync("..2026_09_09", join(volume, "..data"))
    symlinkSync("..data/cordwood.yaml", join(volume, "cordwood.yaml"))
    chmodSync(volume, 0o777)
    expect(await outcome(join(volume, "cordwood.yaml"))).toBe("loaded")
  })
  it("a file in a directory where everybody may write, but not replace what isn't theirs", async () => {
    chmodSync(directory, 0o1777)
    expect(await outcome()).toBe("loaded")
  })
})

describe.skipIf(!isRoot)("root refuses, and loads no plugin,", () => {
  const trust = "Root does what it says, and so must trust all who can write it"
  const replace = "Root does what the file says, and so must trust all who can replace it"
  it.each<readonly [string, () => void, string]>([
    [
      "a configuration of another user's",
      () => chownSync(config, STRANGER, 0),
      `DIR/cordwood.yaml: belongs to user 54321 (mode 0644); give it to root: chown root DIR/cordwood.yaml, or run cordwood as that user. ${trust}`,
    ],
    [
      "one that everybody may write",
      () => chmodSync(config, 0o646),
      `DIR/cordwood.yaml: may be written by everybody (mode 0646); run: chmod o-w DIR/cordwood.yaml. ${trust}`,
    ],
    [
      "one that a group may write",
      () => {
        chownSync(config, 0, OTHERS)
        chmodSync(config, 0o664)
      },
      `DIR/cordwood.yaml: may be written by everybody in group 54322 (mode 0664); run: chmod g-w DIR/cordwood.yaml. ${trust}`,
    ],
    [
      "one in another user's directory",
      () => chownSync(directory, STRANGER, 0),
      `DIR/cordwood.yaml: the directory that it lies in, DIR, belongs to user 54321 (mode 0700); give it to root: chown root DIR, or run cordwood as that user. ${replace}`,
    ],
    [
      "one in a directory where everybody may replace it",
      () => chmodSync(directory, 0o777),
      `DIR/cordwood.yaml: the directory that it lies in, DIR, may be written by everybody (mode 0777); run: chmod o-w DIR. ${replace}`,
    ],
    [
      "a plugin of another user's",
      () => chownSync(join(directory, "plugin.mjs"), STRANGER, 0),
      `DIR/cordwood.yaml:2:18: plugins[0].use: found "./plugin.mjs", whose file DIR/plugin.mjs is not loaded: belongs to user 54321 (mode 0644); give it to root: chown root DIR/plugin.mjs, or run cordwood as that user. ${trust}`,
    ],
    [
      "a plugin that everybody may write",
      () => chmodSync(join(directory, "plugin.mjs"), 0o666),
      `DIR/cordwood.yaml:2:18: plugins[0].use: found "./plugin.mjs", whose file DIR/plugin.mjs is not loaded: may be written by everybody (mode 0666); run: chmod o-w DIR/plugin.mjs. ${trust}`,
    ],
    [
      "a link of root's to a plugin of another user's",
      () => {
        const lib = join(directory, "lib")
        mkdirSync(lib)
        writeFileSync(join(lib, "theirs.mjs"), PLUGIN)
        chownSync(lib, STRANGER, 0)
        rmSync(join(directory, "plugin.mjs"))
        symlinkSync("lib/theirs.mjs", join(directory, "plugin.mjs"))
      },
      `DIR/cordwood.yaml:2:18: plugins[0].use: found "./plugin.mjs", whose file DIR/plugin.mjs is not loaded: the directory that it lies in, DIR/lib, belongs to user 54321 (mode 0755); give it to root: chown root DIR/lib, or run cordwood as that user. ${replace}`,
    ],
    [
      "an installed package whose entry is another user's",
      () => {
        const home = join(directory, "node_modules", "stranger")
        mkdirSync(home, { recursive: true })
        writeFileSync(join(home, "package.json"), `{ "name": "stranger", "type": "module", "exports": "./main.js" }`)
        writeFileSync(join(home, "main.js"), PLUGIN)
        chownSync(join(home, "main.js"), STRANGER, 0)
        writeFileSync(config, CONFIG.replace("./plugin.mjs", "stranger"))
      },
      `DIR/cordwood.yaml:2:18: plugins[0].use: found "stranger", whose file DIR/node_modules/stranger/main.js is not loaded: belongs to user 54321 (mode 0644); give it to root: chown root DIR/node_modules/stranger/main.js, or run cordwood as that user. ${trust}`,
    ],
  ])("%s", async (_, lay, message) => {
    // Would it be loaded, it would say so.
    writeFileSync(join(directory, "plugin.mjs"), `throw new Error("it was loaded")\n`)
    lay()
    expect(await outcome()).toBe(message)
  })
})

describe.skipIf(!isRoot)("the program", () => {
  let program: Awaited<ReturnType<typeof bundleProgram>>
  beforeAll(async () => {
    program = await bundleProgram()
  })
  afterAll(() => program.remove())
  it("ends with 78, and has touched nothing", async () => {
    chownSync(config, STRANGER, STRANGER)
    const ended = await Promise.all(
      (["run", "once", "plan", "events", "status"] as const).map(
        (command): Promise<Ended> => start(program.path, [command, "--config", config], { SUDO_UID: "" }).ended,
      ),
    )
    const said = `${config}: belongs to user ${STRANGER} (mode 0644); give it to root: chown root ${config}, or run cordwood as that user. Root does what it says, and so must trust all who can write it\ncordwood: nothing has been touched\n`
    expect(ended).toEqual(Array.from({ length: 5 }, () => ({ code: 78, stdout: "", stderr: said })))
    expect(readdirSync(dirname(config)).toSorted()).toEqual(["cordwood.yaml", "plugin.mjs"])
  })
  it("that is another user's, as in a clone of theirs, does what that user says", async () => {
    const clone = join(directory, "clone")
    cpSync(dirname(program.path), join(clone, "dist"), { recursive: true })
    writeFileSync(join(clone, "package.json"), `{ "type": "module", "version": "0.0.0" }`)
    const check = (): Promise<Ended> =>
      start(join(clone, "dist", "cordwood.js"), ["config", "check", config], { SUDO_UID: "" }).ended
    for (const path of [config, join(directory, "plugin.mjs")]) chownSync(path, STRANGER, STRANGER)
    expect((await check()).code).toBe(78)
    chownSync(clone, STRANGER, STRANGER)
    expect(await check()).toEqual({ code: 0, stdout: `${config}: ok\n`, stderr: "" })
  })
})
