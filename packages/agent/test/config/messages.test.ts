// What a person reads when a configuration is wrong: the whole message for each mistake.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { ConfigError } from "../../src/config/config-error.ts"
import { loadConfig } from "../../src/config/load.ts"

let directory = ""
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "cordwood-config-"))
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const messageOf = async (file: string): Promise<string> => {
  const error = await Effect.runPromise(Effect.flip(loadConfig(file)))
  expect(error).toBeInstanceOf(ConfigError)
  return error.message.replaceAll(directory, "DIR")
}
const messageFor = (text: string | Uint8Array, name = "cordwood.yaml"): Promise<string> => {
  writeFileSync(join(directory, name), text)
  return messageOf(join(directory, name))
}
const CRI = "sources: [{ cri: {} }]\n"

const EXAMPLE = `
    On a Kubernetes node:
    sources:
      - cri: { endpoint: unix:///run/containerd/containerd.sock }
    On a plain host:
    sources:
      - files: { include: ["/var/log/nginx/*.log"], reopen: { signal: USR1, pidFile: /run/nginx.pid } }`

describe("a mistake in a setting is named with its place, what was found and what would be right", () => {
  it.each<readonly [string, string, string]>([
    [
      "an unknown key near a known one",
      `${CRI}policy: { maxFile: 3 }`,
      "DIR/cordwood.yaml:2:11: policy.maxFile: unknown key; did you mean maxFiles?",
    ],
    [
      "an unknown key near none",
      `${CRI}policy: { colour: red }`,
      "DIR/cordwood.yaml:2:11: policy.colour: unknown key; known here: maxSize, maxFiles, compression, keepStopped, maxTotal, mode, pressure, deferred, overrides",
    ],
    ["an unknown key at the top", `${CRI}polcy: {}`, "DIR/cordwood.yaml:2:1: polcy: unknown key; did you mean policy?"],
    [
      "a key that is no word",
      `${CRI}"a b": 1`,
      'DIR/cordwood.yaml:2:1: ["a b"]: unknown key; known here: sources, policy, interval, workers, journal, plugins',
    ],
    [
      "the prototype's key",
      `${CRI}__proto__: {}`,
      "DIR/cordwood.yaml:2:1: __proto__: unknown key; known here: sources, policy, interval, workers, journal, plugins",
    ],
    [
      "a text where a number belongs",
      `${CRI}policy:\n  maxFiles: many`,
      'DIR/cordwood.yaml:3:13: policy.maxFiles: found "many"; write a number',
    ],
    [
      "a number that is too small",
      `${CRI}policy:\n  maxFiles: 1`,
      "DIR/cordwood.yaml:3:13: policy.maxFiles: found 1; it must be at least 2: the active file and one segment",
    ],
    [
      "a number that is too large",
      `${CRI}workers: 65`,
      "DIR/cordwood.yaml:2:10: workers: found 65; it must be at most 64",
    ],
    [
      "a fraction where a whole number belongs",
      `${CRI}workers: 1.5`,
      "DIR/cordwood.yaml:2:10: workers: found 1.5; write a whole number",
    ],
    [
      "a bad quantity",
      `${CRI}policy: { maxSize: 10 MB }`,
      'DIR/cordwood.yaml:2:20: policy.maxSize: "10 MB" is not a quantity; write a number of bytes such as 10Mi, 5M or 1048576',
    ],
    [
      "a duration without a unit",
      `${CRI}interval: 10`,
      "DIR/cordwood.yaml:2:11: interval: 10 has no unit; write 10s for seconds",
    ],
    [
      "a duration that is too short",
      `${CRI}interval: 1ms`,
      'DIR/cordwood.yaml:2:11: interval: found "1ms"; it must be at least 100ms',
    ],
    [
      "neither text nor number",
      `${CRI}interval: [10s]`,
      "DIR/cordwood.yaml:2:11: interval: found a list; write a duration as Go and systemd write it: 250ms, 10s, 1h30m, 30d",
    ],
    [
      "a relative path of the journal",
      `${CRI}journal: { path: journal.db }`,
      'DIR/cordwood.yaml:2:18: journal.path: found "journal.db"; it must be an absolute path',
    ],
    [
      "a list where a mapping belongs",
      `${CRI}policy: []`,
      "DIR/cordwood.yaml:2:9: policy: found an empty list; write a mapping",
    ],
    [
      "a key without a value",
      `${CRI}policy:`,
      "DIR/cordwood.yaml:2:1: policy: found nothing; write a mapping, or {} if there is nothing to say",
    ],
    [
      "a codec that nobody brings",
      `${CRI}policy: { compression: zstd }`,
      'DIR/cordwood.yaml:2:24: policy.compression: found "zstd", which no codec is called; known here: gzip, none; for another one, add the plugin that brings it:\n    plugins:\n      - use: "@cordwood/plugin-zstd"',
    ],
    [
      "a misspelt codec",
      `${CRI}policy: { compression: gzp }`,
      'DIR/cordwood.yaml:2:24: policy.compression: found "gzp", which no codec is called; did you mean gzip?',
    ],
  ])("%s", async (_, text, message) => {
    expect(await messageFor(text)).toBe(message)
  })
})

describe("sources", () => {
  it.each<readonly [string, string, string]>([
    ["missing", "policy: {}", `DIR/cordwood.yaml:1:1: sources: missing; say where the logs are.${EXAMPLE}`],
    [
      "an empty list",
      "sources: []",
      `DIR/cordwood.yaml:1:10: sources: found an empty list; say where the logs are.${EXAMPLE}`,
    ],
    [
      "a mapping in the place of the list",
      "sources: { cri: {} }",
      "DIR/cordwood.yaml:1:10: sources: found a mapping; write a list",
    ],
    [
      "a word in the list",
      "sources: [cri]",
      'DIR/cordwood.yaml:1:11: sources[0]: found "cri"; write a mapping such as cri: {} or files: { include: ["/var/log/nginx/*.log"] }',
    ],
    [
      "two keys in one item",
      'sources:\n  - cri: {}\n    files: { include: ["/a.log"], reopen: none }',
      "DIR/cordwood.yaml:2:5: sources[0]: found a mapping; write just one of cri and files in each item of the list",
    ],
    [
      "an unknown source",
      "sources: [{ docker: {} }]",
      "DIR/cordwood.yaml:1:13: sources[0].docker: unknown key; known here: cri, files",
    ],
    [
      "no way to reopen",
      'sources: [{ files: { include: ["/a.log"] } }]',
      'DIR/cordwood.yaml:1:20: sources[0].files.reopen: missing; write none, { signal: USR1, pidFile: /run/nginx.pid } or { command: ["nginx", "-s", "reopen"] }',
    ],
    [
      "a misspelt key in one form of several",
      'sources: [{ files: { include: ["/a.log"], reopen: { comand: [a] } } }]',
      "DIR/cordwood.yaml:1:53: sources[0].files.reopen.comand: unknown key; did you mean command?",
    ],
    [
      "a signal that is none",
      'sources: [{ files: { include: ["/a.log"], reopen: { signal: KILL, pidFile: /p } } }]',
      'DIR/cordwood.yaml:1:61: sources[0].files.reopen.signal: "KILL" is no signal that can be used here; write one of HUP, USR1, USR2, WINCH, ALRM, CONT',
    ],
  ])("%s", async (_, text, message) => {
    expect(await messageFor(text)).toBe(message)
  })
})

describe("the file itself", () => {
  const aliases = [
    "a: &a [x,x,x,x,x,x,x,x]",
    ..."bcdefghij"
      .split("")
      .map(
        (name, index) => `${name}: &${name} [${Array.from({ length: 8 }, () => `*${"abcdefghij"[index]}`).join(",")}]`,
      ),
  ]
  it.each<readonly [string, string | Uint8Array, string]>([
    ["empty", "", "DIR/cordwood.yaml: is empty; it needs at least `sources`, see `cordwood config schema`"],
    [
      "nothing but a comment",
      "# later\n",
      "DIR/cordwood.yaml: is empty; it needs at least `sources`, see `cordwood config schema`",
    ],
    ["just text", "hello", 'DIR/cordwood.yaml:1:1: found "hello"; write a mapping'],
    [
      "a key twice",
      `${CRI}workers: 1\nworkers: 2`,
      "DIR/cordwood.yaml:3:1: this key stands here for the second time; remove one of the two",
    ],
    ["indented by a tab", "sources:\n\t- cri: {}", "DIR/cordwood.yaml:2:1: tabs can't indent YAML; use spaces"],
    [
      "two documents",
      `${CRI}---\nworkers: 1`,
      "DIR/cordwood.yaml:2:1: a second document begins here (---); a configuration is one document",
    ],
    [
      "a tag nobody knows",
      `${CRI}workers: !env N`,
      "DIR/cordwood.yaml:2:10: unresolved tag: !env; this is not valid YAML",
    ],
    [
      "aliases of aliases of aliases",
      aliases.join("\n"),
      "DIR/cordwood.yaml: anchors are repeated more than 100 times; write the values out",
    ],
    ["nested without end", `a: ${"[".repeat(20_000)}`, "is nested too deeply to be a configuration"],
    [
      "larger than 1 MiB",
      new Uint8Array(1024 * 1024 + 1).fill(0x20),
      "DIR/cordwood.yaml: is larger than 1 MiB; a configuration is a few lines, so this is another file",
    ],
    ["no UTF-8", new Uint8Array([0xff, 0xfe, 0x00]), "DIR/cordwood.yaml: is not UTF-8 text; save it as UTF-8"],
  ])("%s", async (name, text, message) => {
    const found = await messageFor(text)
    // How deep the parser got before its stack was full is the machine's affair.
    expect(name === "nested without end" ? found.replace(/^DIR\/cordwood\.yaml(:\d+:\d+)?: /, "") : found).toBe(message)
  })
  it("is a directory", async () => {
    mkdirSync(join(directory, "folder"))
    expect(await messageOf(join(directory, "folder"))).toBe("DIR/folder: is a directory; name the file in it")
  })
  it("isn't there", async () => {
    expect(await messageOf(join(directory, "nowhere"))).toBe(
      "DIR/nowhere: there is no such file; give the path of the configuration",
    )
  })
  it("never ends", async () => {
    expect(await messageOf("/dev/zero")).toBe(
      "/dev/zero: is larger than 1 MiB; a configuration is a few lines, so this is another file",
    )
  })
})

it("all that is wrong is said at once, in the order of the file", async () => {
  const text = `sources: []
policy: { maxFiles: 1, compression: gzp, maxSiz: 1 }
plugins:
  - use: "@cordwood/plugin-gzip"
    with: { level: 100 }
`
  expect((await messageFor(text)).split("\n").filter((line) => line.startsWith("DIR"))).toEqual([
    "DIR/cordwood.yaml:1:10: sources: found an empty list; say where the logs are.",
    "DIR/cordwood.yaml:2:21: policy.maxFiles: found 1; it must be at least 2: the active file and one segment",
    'DIR/cordwood.yaml:2:37: policy.compression: found "gzp", which no codec is called; did you mean gzip?',
    "DIR/cordwood.yaml:2:42: policy.maxSiz: unknown key; did you mean maxSize?",
    "DIR/cordwood.yaml:5:20: plugins[0].with.level: found 100; it must be at most 9",
  ])
})

it("a codec that a plugin may bring is not called unknown while that plugin can't be loaded", async () => {
  expect(await messageFor(`${CRI}policy: { compression: gzp }\nworkers: 0\nplugins: [{ use: ./nowhere.ts }]`)).toBe(
    `DIR/cordwood.yaml:3:10: workers: found 0; it must be at least 1
DIR/cordwood.yaml:4:18: plugins[0].use: found "./nowhere.ts"; there is no module at DIR/nowhere.ts`,
  )
})

describe("a sound file", () => {
  it("is read as YAML and as JSON alike, with every default filled in", async () => {
    const yaml = join(directory, "sound.yaml")
    const json = join(directory, "sound.json")
    writeFileSync(
      yaml,
      'sources:\n  - cri: {}\n  - files: { include: ["/var/log/a.log"], reopen: none }\npolicy: { maxSize: 5M }\ninterval: 1m30s\n',
    )
    writeFileSync(
      json,
      '{\n\t"sources": [{ "cri": {} }, { "files": { "include": ["/var/log/a.log"], "reopen": "none" } }],\n\t"policy": { "maxSize": "5M" },\n\t"interval": "1m30s"\n}\n',
    )
    for (const file of [yaml, json]) {
      const { options, settings } = await Effect.runPromise(loadConfig(file))
      expect(settings).toEqual({
        policy: {
          maxSize: 5_000_000,
          maxFiles: 5,
          compression: "gzip",
          keepStopped: 1,
          mode: "enforce",
          deferred: { onPressure: "hold" },
          overrides: [],
        },
        interval: 90_000,
        workers: 1,
        journal: { path: "/var/lib/cordwood/journal.db", keep: 2_592_000_000, maxSize: 268_435_456 },
      })
      expect(options.sources.map(({ name }) => name)).toEqual([
        "cri unix:///run/containerd/containerd.sock",
        "files /var/log/a.log",
      ])
    }
  })
  it("may say a thing once and repeat it by its anchor", async () => {
    const file = join(directory, "anchors.yaml")
    writeFileSync(
      file,
      "sources:\n  - files: { include: [/a.log], reopen: &hup { signal: HUP, pidFile: /run/a.pid } }\n  - files: { include: [/b.log], reopen: *hup }\n",
    )
    const { options } = await Effect.runPromise(loadConfig(file))
    expect(options.sources.map(({ name }) => name)).toEqual(["files /a.log", "files /b.log"])
  })
})
