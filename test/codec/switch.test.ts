// What becomes of old segments when the compression is changed: on a real disk, with the whole agent, from code and from a config file.
import { execFile } from "node:child_process"
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { gunzipSync, gzipSync, zstdDecompressSync } from "node:zlib"
import { Agent, files } from "@cordwood/agent"
import type { Envelope } from "@cordwood/core"
import { zstd } from "@cordwood/plugin-zstd"
import { afterEach, beforeEach, expect, test } from "vitest"

const repository = fileURLToPath(new URL("../..", import.meta.url))
const program = join(repository, "packages/agent/src/bin/cordwood.ts")
const policy = { maxSize: "1Ki", maxFiles: 5, compression: "zstd" }
const LONG_AGO_S = Date.parse("2026-09-09T04:33:10Z") / 1_000

let directory = ""
beforeEach(() => {
  directory = realpathSync(mkdtempSync(join(tmpdir(), "cordwood-switch-")))
  mkdirSync(join(directory, "logs"))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const contentOf = (round: number | string): string => `round ${round}\n`.repeat(200)
const path = (name: string): string => join(directory, "logs", name)
const write = (name: string, bytes: Uint8Array | string): void => writeFileSync(path(name), bytes)
/** As if nobody had written for long: only then is a segment compressed. */
const age = (): void => {
  for (const name of readdirSync(path(""))) utimesSync(path(name), LONG_AGO_S, LONG_AGO_S)
}
const decoders: Readonly<Record<string, (bytes: Uint8Array) => Buffer>> = {
  ".gz": gunzipSync,
  ".zst": zstdDecompressSync,
}
/** Every segment, oldest first, as the round that its content is of and its suffix; "damaged" if it isn't just that. */
const segments = (): ReadonlyArray<string> =>
  readdirSync(path(""))
    .filter((name) => name !== "app.log")
    .toSorted()
    .map((name) => {
      const suffix = /\.(gz|zst)$/.exec(name)?.[0] ?? ""
      const bytes = readFileSync(path(name))
      const content = (decoders[suffix]?.(bytes) ?? bytes).toString()
      const round = /^round (.+)\n/.exec(content)?.[1] ?? ""
      return content === contentOf(round) ? `${round}${suffix}` : `${name}: damaged`
    })

/** What was there when the compression was still gzip. */
const before = (): ReadonlyMap<string, Buffer> => {
  const twins = new Map(
    [1, 2, 3].map((n) => [`app.log.20260901-00000${n}.gz`, gzipSync(contentOf(`old ${n}`))] as const),
  )
  for (const [name, bytes] of twins) write(name, bytes)
  write("app.log.20260901-000004", contentOf("old 4"))
  return twins
}

/** So many full logs, one after another; what there is after each pass over them. */
const rounds = async (count: number, once: () => Promise<void>): Promise<ReadonlyArray<ReadonlyArray<string>>> => {
  const twins = before()
  const seen: Array<ReadonlyArray<string>> = []
  for (let round = 1; round <= count; round += 1) {
    write("app.log", contentOf(round))
    age()
    await once()
    seen.push(segments())
    const left = [...twins].filter(([name]) => existsSync(path(name)))
    expect(left.map(([name]) => [name, readFileSync(path(name))])).toEqual(left)
  }
  return seen
}
const AFTER_EACH = [
  ["old 2.gz", "old 3.gz", "old 4.zst", "1"],
  ["old 3.gz", "old 4.zst", "1.zst", "2"],
  ["old 4.zst", "1.zst", "2.zst", "3"],
  ["1.zst", "2.zst", "3.zst", "4"],
]

test("old .gz segments stay as they are, count, and go in their turn, after compression has become zstd in code", async () => {
  const agent = Agent.make({
    sources: [files({ include: [path("*.log")], reopen: "none" })],
    policy,
    plugins: [zstd()],
    journal: { path: join(directory, "journal.db") },
  })
  const removed: Array<string> = []
  const onEvent = ({ data, type }: Envelope): void => {
    if (type === "Removed" && "path" in data) removed.push(basename(data.path))
  }
  const seen = await rounds(AFTER_EACH.length, async () => {
    expect((await agent.once({ onEvent })).problems).toEqual([])
  })
  expect(seen).toEqual(AFTER_EACH)
  expect(removed.map((name) => name.replace(/^app\.log\.20260901-00000/, "old "))).toEqual([
    "old 1.gz",
    "old 2.gz",
    "old 3.gz",
    "old 4.zst",
  ])
})

test("old .gz segments stay as they are, count, and go in their turn, after compression has become zstd in a config file", async () => {
  mkdirSync(join(directory, "node_modules/@cordwood"), { recursive: true })
  symlinkSync(join(repository, "packages/plugins/zstd"), join(directory, "node_modules/@cordwood/plugin-zstd"))
  const config = {
    sources: [{ files: { include: [path("*.log")], reopen: "none" } }],
    policy,
    journal: { path: join(directory, "journal.db") },
    plugins: [{ use: "@cordwood/plugin-zstd", with: { level: 1 } }],
  }
  writeFileSync(join(directory, "cordwood.json"), JSON.stringify(config))
  const command = ["--conditions=cordwood-source", program, "once", "--config", join(directory, "cordwood.json")]
  const seen = await rounds(1, async () => {
    await promisify(execFile)(process.execPath, command)
  })
  expect(seen).toEqual(AFTER_EACH.slice(0, 1))
})
