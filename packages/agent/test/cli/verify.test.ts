// `cordwood verify` from outside: what it prints where, how it ends, and beside a daemon.
import { readdirSync, readFileSync, rmSync, truncateSync, unlinkSync, utimesSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest"
import { progressText } from "../../src/cli/verify-progress.ts"
import { findingLine, summaryText } from "../../src/cli/verify.ts"
import { bundleProgram, type Ended, makeHost, start, until } from "./program.ts"

let program: Awaited<ReturnType<typeof bundleProgram>>
beforeAll(async () => {
  program = await bundleProgram()
})
afterAll(() => program.remove())
const cordwood = (...args: ReadonlyArray<string>): Promise<Ended> => start(program.path, args).ended

let host: ReturnType<typeof makeHost>
beforeEach(() => {
  host = makeHost()
})
afterEach(() => rmSync(host.directory, { recursive: true, force: true }))

const json = (text: string): ReadonlyArray<unknown> =>
  text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as unknown)

/** Log `a`, rotated twice: an archive and a plain segment. */
const rotatedTwice = async (): Promise<{ readonly packed: string; readonly plain: string }> => {
  for (const content of ["x", "y"]) {
    writeFileSync(join(host.logs, "a.log"), content.repeat(2_000))
    const aMinuteAgo = new Date(Date.now() - 60_000)
    utimesSync(join(host.logs, "a.log"), aMinuteAgo, aMinuteAgo)
    expect(await cordwood("once", "--config", host.config)).toMatchObject({ code: 0 })
  }
  writeFileSync(join(host.logs, "a.log"), "goes on")
  const [packed = "", plain = ""] = readdirSync(host.logs)
    .filter((name) => name.startsWith("a.log."))
    .toSorted()
    .map((name) => join(host.logs, name))
  expect(packed).toMatch(/\.gz$/)
  return { packed, plain }
}

it("finds nothing where nothing is wrong, and ends with 0", { timeout: 60_000 }, async () => {
  expect(await cordwood("verify", "--config", host.config)).toEqual({
    code: 0,
    stdout: "2 logs, 0 segments (0 B) read, no journal: nothing found\n",
    stderr: `cordwood: there is no journal at ${host.directory}/journal/journal.db yet; cordwood run begins it\n`,
  })
  await rotatedTwice()
  const ended = await cordwood("verify", "--config", host.config)
  expect(ended).toEqual({
    code: 0,
    stdout: expect.stringMatching(/^2 logs, 2 segments \(2\.0 KiB\) read, \d+ events: nothing found\n$/) as string,
    stderr: "",
  })
})

it(
  "prints a line for each finding and what they come to, ends with 1, and repairs with --repair",
  { timeout: 60_000 },
  async () => {
    const { packed, plain } = await rotatedTwice()
    truncateSync(packed, 5)
    unlinkSync(plain)
    writeFileSync(`${plain}.tmp`, "")
    const damaged = `damage ${packed}: undecodable: it doesn't decode after 0 bytes: the codec gzip failed: unexpected end of file; it stays as it is: fetch a copy, or save what decodes (zcat, zstdcat)`
    const missing = `${plain}: missing: it is gone, and no event says that it was removed; it held 2000 bytes`
    const counts = (stdout: string): string => stdout.split("\n").at(-2) ?? ""
    const found = await cordwood("verify", "--config", host.config)
    expect(found).toMatchObject({ code: 1, stderr: "" })
    expect(found.stdout.split("\n").slice(0, -2)).toEqual([
      damaged,
      `damage ${missing}; the next pass, or --repair, puts the loss on record; the disk's owner may know who removed it`,
      `leftover ${plain}.tmp: temporary: a file that was being written when a pass was cut off; it is empty; the next pass removes it; so does --repair`,
    ])
    expect(counts(found.stdout)).toMatch(/^2 logs, 1 segment \(5 B\) read, \d+ events: 2 damage, 1 leftover$/)
    const mended = await cordwood("verify", "--config", host.config, "--repair")
    expect(mended).toMatchObject({ code: 1, stderr: "" })
    expect(mended.stdout.split("\n").slice(0, -2)).toEqual([
      damaged,
      `repaired ${missing}; the loss is on record now`,
      `repaired ${plain}.tmp: temporary: a file that was being written when a pass was cut off; it is empty; it was removed`,
    ])
    expect(counts(mended.stdout)).toMatch(/: 2 damage, 1 leftover; 2 repaired$/)
    unlinkSync(packed)
    expect(await cordwood("verify", "--config", host.config, "--repair")).toMatchObject({ code: 0 })
    expect(await cordwood("verify", "--config", host.config)).toMatchObject({ code: 0 })
  },
)

it("--json prints an object for each finding, and the summary last", { timeout: 60_000 }, async () => {
  const { packed } = await rotatedTwice()
  truncateSync(packed, 5)
  const ended = await cordwood("verify", "--config", host.config, "--json")
  expect({ ...ended, stdout: json(ended.stdout) }).toEqual({
    code: 1,
    stderr: "",
    stdout: [
      {
        kind: "undecodable",
        severity: "damage",
        path: packed,
        log: { path: join(host.logs, "a.log") },
        message: "it doesn't decode after 0 bytes: the codec gzip failed: unexpected end of file",
        hint: "it stays as it is: fetch a copy, or save what decodes (zcat, zstdcat)",
        repair: "none",
      },
      {
        summary: {
          logs: 2,
          segments: 2,
          bytes: 2_005,
          events: expect.any(Number) as number,
          agent: null,
          found: { damage: 1, drift: 0, leftover: 0 },
          repaired: 0,
        },
      },
    ],
  })
})

it("works beside a daemon, and refuses to repair there", { timeout: 60_000 }, async () => {
  const daemon = start(program.path, ["run", "--config", host.config])
  try {
    await until(() => daemon.stderr().includes("Rotated"), daemon.stderr)
    const beside = await cordwood("verify", "--config", host.config)
    expect(beside).toMatchObject({ code: 0, stderr: "" })
    expect(beside.stdout).toMatch(
      new RegExp(`events \\(beside process ${daemon.child.pid} on .*, since 20.*Z\\): nothing found\\n$`),
    )
    const before = readdirSync(host.logs)
    const refused = await cordwood("verify", "--config", host.config, "--repair")
    expect(refused).toEqual({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(
        new RegExp(
          `^cordwood: process ${daemon.child.pid} on .* keeps the journal .*, and nothing is repaired beside a running agent\\n    stop that agent first, or verify without repairing\\n$`,
        ),
      ) as string,
    })
    expect(readdirSync(host.logs)).toEqual(before)
  } finally {
    daemon.child.kill("SIGTERM")
    await daemon.ended
  }
  expect(readFileSync(join(host.logs, "b.log"), "utf8")).toBe("small")
})

it("a finding's hostile name can't print a line of its own", () => {
  expect(
    findingLine({
      kind: "unrecorded",
      severity: "drift",
      path: "/logs/0.log\ndamage /etc/passwd",
      log: null,
      message: "m",
      hint: "h",
      repair: "possible",
    }),
  ).toBe("drift /logs/0.log\\x0adamage /etc/passwd: unrecorded: m; h")
})

it("counts in words, and never more done than there is", () => {
  const report = {
    logs: 1,
    segments: 1_234,
    bytes: 5 * 2 ** 20,
    events: 1,
    agent: "process 7 on node-1",
    found: { damage: 2, drift: 1, leftover: 3 },
    repaired: 4,
    findings: [],
    problems: [],
  }
  expect(summaryText(report, true)).toBe(
    "1 log, 1,234 segments (5.0 MiB) read, 1 event (beside process 7 on node-1): 2 damage, 1 drift, 3 leftovers; 4 repaired",
  )
  expect(progressText({ logs: 2, logsDone: 1, segments: 4, segmentsDone: 5, bytes: 2_048, bytesDone: 1_024 })).toBe(
    "verifying: 1 of 2 logs, 5 of 5 segments, 1.0 KiB of 2.0 KiB",
  )
})
