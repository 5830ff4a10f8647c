// Names that a neighbour gives to files, in what every command prints: nothing of it is more than text to a terminal, and nothing ends the program.
import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, beforeAll, expect, it } from "vitest"
import { bundleProgram, makeHost, start } from "./program.ts"

let program: Awaited<ReturnType<typeof bundleProgram>>
beforeAll(async () => {
  program = await bundleProgram()
})
afterAll(() => program.remove())

/** Newlines end lines; anything else that a terminal obeys has no place in them. */
// oxlint-disable-next-line no-control-regex
const OBEYED = /[\u0000-\u0009\u000B-\u001F\u007F-\u009F\u202A-\u202E\u2066-\u2069]/

it("reach no terminal as they are, in text or in JSON", { timeout: 300_000 }, async () => {
  const host = makeHost()
  try {
    const names = [
      "\u001B[2J\u001B]0;owned\u0007",
      "two\nlines: all fine",
      "\u009B31m",
      "\u202Egol",
      "\u007F",
      "\r0 failed",
    ]
    for (const name of names) {
      writeFileSync(join(host.logs, `${name}.log`), "x".repeat(2_000))
      writeFileSync(join(host.logs, `a.log.${name}`), "beside a log")
      mkdirSync(join(host.logs, `d${name}`))
      writeFileSync(join(host.logs, `d${name}`, "in.log"), "x".repeat(2_000))
    }
    writeFileSync(Buffer.concat([Buffer.from(`${host.logs}/`), Buffer.from([0xff, 0xfe]), Buffer.from(".log")]), "x")
    writeFileSync(
      host.config,
      `sources: [{ files: { include: ["${host.logs}/**/*.log"], reopen: none } }]
policy: { maxSize: 1k }
journal: { path: ${host.directory}/journal/journal.db }
`,
    )
    const run = async (command: string) => {
      const { code, stderr, stdout } = await start(program.path, [...command.split(" "), "--config", host.config]).ended
      return [command, code, stdout, stderr] as const
    }
    // The journal is there before it is asked.
    const once = await run("once")
    const others = ["status", "plan", "events", "once --json", "status --json", "plan --json", "events --json"]
    const printed = [once, ...(await Promise.all(others.map(run)))]
    expect(printed.map(([command, code]) => [command, code])).toEqual(printed.map(([command]) => [command, 0]))
    for (const [command, , stdout, stderr] of printed) {
      expect(OBEYED.exec(stdout)).toBeNull()
      expect(OBEYED.exec(stderr)).toBeNull()
      expect(`${stdout}\n${stderr}`.split("\n").filter((line) => /^(lines: all fine|0 failed)/.test(line))).toEqual([])
      if (!command.endsWith("--json")) continue
      for (const line of stdout.trimEnd().split("\n")) expect(() => JSON.parse(line) as unknown).not.toThrow()
    }
    // They are told of, and what has only an odd direction is rotated as any other.
    const [, status] = printed
    expect(once[3]).toContain("\\x1b[2J\\x1b]0;owned\\x07.log")
    expect(status?.[2]).toContain("\\u202egol.log")
  } finally {
    rmSync(host.directory, { recursive: true, force: true })
  }
})
