// Verifying beside an agent that is at work: what it has in hand is no finding, and what is damaged is one all the same.
import { appendFileSync, existsSync, readdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterEach, beforeEach, expect, it } from "vitest"
import { linesOf, makeTree, sourceOf, told, type Tree } from "./tree.ts"

let tree: Tree
let end: () => Promise<void>
/** Rotates as fast as it can: each verification meets files that come, are compressed, and go. */
const POLICY = { maxSize: "4k", maxFiles: 4 }

beforeEach(async () => {
  tree = await makeTree()
  const stop = new AbortController()
  const running = tree.agent({ policy: POLICY, interval: "100ms" }).run({ signal: stop.signal })
  let part = 100
  const writing = setInterval(() => {
    for (const log of ["a", "b"] as const) {
      // A writer that holds no file: it appends to whatever has the name.
      if (existsSync(tree.active(log))) appendFileSync(tree.active(log), linesOf(log, part).slice(0, 2_000))
    }
    part += 1
  }, 20)
  end = async () => {
    clearInterval(writing)
    stop.abort()
    await running
    tree.remove()
  }
})
afterEach(() => end())

it("finds nothing while files are rotated, compressed and removed", { timeout: 120_000 }, async () => {
  const agent = tree.agent({ policy: POLICY })
  const newest = (): string => readdirSync(tree.logs).toSorted().at(-1) ?? ""
  for (let round = 0; round < 4; round += 1) {
    const before = newest()
    const { agent: keeper, findings } = await agent.verify()
    expect(findings).toEqual([])
    expect(keeper).toMatch(new RegExp(`^process ${process.pid} on .*, since 20.*Z$`))
    // The next round has other files to look at.
    while (newest() === before) await new Promise((resolve) => setTimeout(resolve, 20))
  }
})

it("tells what is damaged all the same, and refuses to repair", { timeout: 120_000 }, async () => {
  // A log that the agent at work doesn't know.
  const other = tree.agent({ sources: [sourceOf(tree.logs, ["c"])], policy: POLICY })
  writeFileSync(join(tree.logs, "c.log"), "goes on\n")
  writeFileSync(join(tree.logs, "c.log.20260101-000000.gz"), "no gzip")
  const { findings } = await other.verify()
  expect(findings.map(told)).toEqual([
    {
      kind: "undecodable",
      severity: "damage",
      name: "c.log.20260101-000000.gz",
      message: "it doesn't decode after 0 bytes: the codec gzip failed: incorrect header check",
      repair: "none",
    },
    {
      kind: "unrecorded",
      severity: "drift",
      name: "c.log",
      message: "no event tells of this log's 1 segments",
      repair: "possible",
    },
  ])
  await expect(other.verify({ repair: true })).rejects.toMatchObject({
    _tag: "AgentError",
    reason: "Journal",
    message: expect.stringMatching(
      /^process \d+ on .*, since 20.*Z keeps the journal .*, and nothing is repaired beside a running agent$/,
    ) as string,
    hint: "stop that agent first, or verify without repairing",
  })
})
