// Rubbish as a configuration: a configuration, or problems in words, and never an exception nor a parser that takes for ever. `FUZZ_RUNS=100` tries a
// hundred times as much.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import * as fc from "fast-check"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { ConfigProblem } from "../../src/config/config-error.ts"
import { loadConfig } from "../../src/config/load.ts"

const given = process.env["CORDWOOD_SEED"]
const seed = given === undefined ? Date.now() % 2 ** 31 : Number(given)
const fuzz = (cases: number) => ({ seed, numRuns: cases * Number(process.env["FUZZ_RUNS"] ?? 1) })

let directory: string
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "cordwood-fuzz-"))
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

/** What loading comes to: settings, or what is wrong. Anything else that is thrown is thrown here, too. */
const load = async (content: string | Uint8Array): Promise<ReadonlyArray<ConfigProblem> | "ok"> => {
  const file = join(directory, "cordwood.yaml")
  writeFileSync(file, content)
  return Effect.runPromise(
    Effect.match(loadConfig(file), { onFailure: ({ problems }) => problems, onSuccess: () => "ok" as const }),
  )
}
const expectWords = (outcome: Awaited<ReturnType<typeof load>>): void => {
  if (outcome === "ok") return
  expect(outcome.length).toBeGreaterThan(0)
  for (const { column, line, message } of outcome) {
    expect(message.length).toBeGreaterThan(10)
    expect([line === null || line >= 1, column === null || column >= 1]).toEqual([true, true])
  }
}

const VALID = `sources:
  - cri: { endpoint: unix:///run/containerd/containerd.sock, timeout: 10s }
  - files: { include: ["/var/log/nginx/*.log"], exclude: [], reopen: { signal: USR1, pidFile: /run/nginx.pid } }
  - files: { include: ["/var/log/{a,b}/**"], reopen: none }
policy: &policy
  maxSize: 10Mi
  maxFiles: 5
  compression: gzip
  deferred: { onPressure: drop, maxSize: 20Gi, minFree: 5Gi }
  overrides:
    - { name: canary, match: { namespace: shop, labels: { app: [search, "import-*"] } }, percent: 10, mode: enforce }
interval: 10s
workers: 2
journal: { path: /var/lib/cordwood/journal.db, keep: 30d, maxSize: 256Mi }
`

/** What means something to YAML, or to the schema, or to nobody. */
const piece = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom(
      ": ",
      "- ",
      "? ",
      "{",
      "}",
      "[",
      "]",
      ",",
      "\n",
      "  ",
      "\t",
      "&a ",
      "*a",
      "*policy",
      "<<: *policy\n",
      "!!binary ",
      "!!x ",
      "|",
      ">",
      "'",
      '"',
      "#",
      "---\n",
      "...\n",
      "%YAML 1.1\n",
      "\\",
      "\0",
      "\uFEFF",
      "\r",
      "\u2028",
      "~",
      "null",
      ".inf",
      "-.nan",
      "0x10",
      "1_000",
      "1e999",
      "9".repeat(400),
      "yes",
      "__proto__: 1\n",
      "constructor",
      "sources:",
      "policy:",
      "-1",
      "10Mi",
      "{{{{",
      "👾",
      "\ud800",
    ),
  },
  { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 20 }) },
)
/** Pieces put in at places, each over so many characters. */
const edits = fc.array(fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.nat(30), piece), {
  minLength: 1,
  maxLength: 6,
})
const bend = (text: string, changes: ReadonlyArray<readonly [number, number, string]>): string =>
  changes.reduce((now, [share, over, put]) => {
    const at = Math.floor(now.length * share)
    return now.slice(0, at) + put + now.slice(at + over)
  }, text)

describe(`a configuration of rubbish (seed ${seed})`, () => {
  it(
    "that was a valid one before somebody typed into it is read, or refused in words",
    { timeout: 120_000 * Number(process.env["FUZZ_RUNS"] ?? 1) },
    async () => {
      expect(await load(VALID)).toBe("ok")
      await fc.assert(
        fc.asyncProperty(edits, async (changes) => expectWords(await load(bend(VALID, changes)))),
        fuzz(150),
      )
    },
  )

  it(
    "made of YAML's own marks is read, or refused in words",
    { timeout: 120_000 * Number(process.env["FUZZ_RUNS"] ?? 1) },
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(piece, { maxLength: 40 }), async (pieces) =>
          expectWords(await load(pieces.join(""))),
        ),
        fuzz(150),
      )
    },
  )

  it(
    "of any value at all, as JSON, is read, or refused in words",
    { timeout: 120_000 * Number(process.env["FUZZ_RUNS"] ?? 1) },
    async () => {
      const value = fc.oneof(
        fc.jsonValue({ maxDepth: 4 }),
        fc.constantFrom<unknown>("/x/*.log", "10s", "10Mi", [], {}, -1, 1e300, "none", "*"),
      )
      const document = fc.record(
        {
          sources: fc.oneof(
            value,
            fc.array(
              fc.oneof(
                value,
                fc.record({ files: fc.record({ include: fc.oneof(value, fc.array(value)), reopen: value }) }),
                fc.record({ cri: value }),
              ),
              { maxLength: 3 },
            ),
          ),
          policy: fc.oneof(
            value,
            fc.record(
              {
                maxSize: value,
                maxFiles: value,
                compression: value,
                deferred: value,
                overrides: fc.oneof(value, fc.array(value, { maxLength: 3 })),
              },
              { requiredKeys: [] },
            ),
          ),
          interval: value,
          workers: value,
          journal: value,
          plugins: fc.oneof(
            value,
            fc.array(fc.record({ use: value, with: value }, { requiredKeys: [] }), { maxLength: 2 }),
          ),
          other: value,
        },
        { requiredKeys: ["sources"] },
      )
      await fc.assert(
        fc.asyncProperty(fc.oneof(document, value), async (what) =>
          expectWords(await load(JSON.stringify(what) ?? "")),
        ),
        fuzz(150),
      )
    },
  )

  it(
    "of any bytes at all is refused in words",
    { timeout: 120_000 * Number(process.env["FUZZ_RUNS"] ?? 1) },
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), fc.boolean(), async (bytes, first) => {
          const parts = [Buffer.from(bytes), Buffer.from(VALID)]
          expectWords(await load(Buffer.concat(first ? parts : parts.toReversed())))
        }),
        fuzz(100),
      )
    },
  )
})

const MIB = 2 ** 20
const fill = (text: string): string => text.repeat(Math.floor((MIB - 1_000) / text.length))
const numbered = (line: (n: number) => string, separator: string): string =>
  Array.from({ length: 30_000 }, (_, n) => line(n)).join(separator)
const PARTS = "has more than 20000 parts; a configuration is a few lines, so this is another file"
const DEEP = "is nested too deeply to be a configuration"
const ALIASES = "anchors are repeated more than 100 times; write the values out"

/** Each of these took the parser, or what tells of its problems, minutes, or grows beyond any memory. */
describe("a configuration that was made to take for ever is refused by a limit", { timeout: 120_000 }, () => {
  it.each<readonly [string, () => string, string | RegExp]>([
    ["a mapping of 30,000 keys", () => numbered((n) => `k${n}: 1`, "\n"), PARTS],
    ["the same in braces", () => `{${numbered((n) => `k${n}: 1`, ", ")}}`, PARTS],
    ["30,000 items that are wrong", () => `sources: [${numbered(() => "{}", ", ")}]`, PARTS],
    ["a mebibyte of open brackets", () => fill("["), DEEP],
    ["a mebibyte of open braces", () => fill("{a: "), DEEP],
    ["a mebibyte of dashes", () => fill("- "), PARTS],
    ["a mebibyte of line ends", () => fill("\r\n"), PARTS],
    ["a mebibyte of documents", () => fill("---\n"), PARTS],
    ["an anchor that is repeated over and over", () => `- &a x\n${fill("- *a\n")}`, ALIASES],
    [
      "aliases of lists of aliases, nine deep (a billion laughs)",
      () =>
        `a0: &a0 [x, x]\n${Array.from({ length: 30 }, (_, n) => `a${n + 1}: &a${n + 1} [*a${n}, *a${n}, *a${n}]`).join("\n")}`,
      /^anchors are repeated more than 100 times/,
    ],
    [
      "a number of half a mebibyte",
      () => `sources: [{ cri: {} }]\nworkers: ${"9".repeat(MIB / 2)}`,
      /^found Infinity; /,
    ],
    [
      "a pattern of a mebibyte",
      () => `sources: [{ files: { include: ["/${"*".repeat(MIB / 2)}"], reopen: none } }]`,
      /must be at most 4095 characters long$/,
    ],
    [
      "braces within braces",
      () => `sources: [{ files: { include: ["/${"{a,b}".repeat(MIB / 10)}"], reopen: none } }]`,
      /must be at most 4095 characters long$/,
    ],
    [
      "ten mebibytes",
      () => fill("# nothing\n").repeat(10),
      "is larger than 1 MiB; a configuration is a few lines, so this is another file",
    ],
  ])("%s", async (_, make, message) => {
    const outcome = await load(make())
    expect(outcome).toHaveLength(1)
    expect((outcome as ReadonlyArray<ConfigProblem>)[0]?.message).toEqual(
      typeof message === "string" ? message : expect.stringMatching(message),
    )
  })

  it("of many unknown keys tells of as many as anybody mends, and leaves the others for the next time", async () => {
    const outcome = await load(Array.from({ length: 3_000 }, (_, n) => `k${n}: 1`).join("\n"))
    expect(outcome).toHaveLength(501)
  })
})
