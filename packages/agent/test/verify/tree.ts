/** Logs that a real agent has rotated and compressed, on a real disk, with its journal; made once, and put back as they were for each test. */
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"
import type { Finding, Source } from "@cordwood/core"
import { Effect } from "effect"
import { Agent, type PromiseAgent, type SourceFactory, type VerifyOptions, type VerifyReport } from "../../src/index.ts"
import type { AgentOptions } from "../../src/agent-options.ts"

/** Nothing writes to a file with this time any more. */
const restingSince = (): Date => new Date(Date.now() - 60_000)

export interface Tree {
  /** Of the logs. */
  readonly logs: string
  readonly journal: string
  /** Paths of the segments of a log, oldest first: four compressed ones and, in the end, a plain one. */
  readonly segments: (log: "a" | "b") => ReadonlyArray<string>
  readonly active: (log: "a" | "b") => string
  readonly agent: (options?: Partial<AgentOptions>) => PromiseAgent
  readonly verify: (options?: VerifyOptions) => Promise<VerifyReport>
  /** Puts everything back as it was. */
  readonly reset: () => void
  readonly remove: () => void
}

/** A source of these two logs, whose writers make a new file when told. */
export const sourceOf = (directory: string, logs: ReadonlyArray<string> = ["a", "b"]): SourceFactory => {
  const source: Source = {
    name: "two writers",
    list: Effect.sync(() => ({ logs: logs.map((name) => ({ path: join(directory, `${name}.log`) })), problems: [] })),
    reopen: ({ path }) =>
      Effect.sync(() => {
        writeFileSync(path, "", { flag: "a" })
        return "told" as const
      }),
  }
  return { name: "two writers", open: Effect.succeed(source) }
}

/** Lines that compress as logs do, different in every one. */
export const linesOf = (log: string, part: number): string =>
  Array.from(
    { length: 400 },
    (_, n) => `${log} ${part} ${n} ${(n * 7919 + part * 104_729) % 1_000_003} request served\n`,
  ).join("")

export const makeTree = async (): Promise<Tree> => {
  const root = mkdtempSync(join(tmpdir(), "cordwood-verify-"))
  const work = join(root, "work")
  const logs = join(work, "logs")
  mkdirSync(logs, { recursive: true })
  const journal = join(work, "journal", "journal.db")
  const active = (log: string): string => join(logs, `${log}.log`)
  const agent = (options: Partial<AgentOptions> = {}): PromiseAgent =>
    Agent.make({
      sources: [sourceOf(logs)],
      policy: { maxSize: "1k", maxFiles: 10 },
      journal: { path: journal },
      ...options,
    })
  for (let part = 0; part < 5; part += 1) {
    for (const log of ["a", "b"]) {
      writeFileSync(active(log), linesOf(log, part))
      utimesSync(active(log), restingSince(), restingSince())
    }
    const report = await agent().once()
    if (report.problems.length > 0) throw new Error(JSON.stringify(report.problems))
  }
  for (const log of ["a", "b"]) writeFileSync(active(log), `${log} goes on\n`)
  const kept = join(root, "kept")
  cpSync(work, kept, { recursive: true, preserveTimestamps: true })
  const segments = readdirSync(logs).toSorted()
  return {
    logs,
    journal,
    active,
    segments: (log) => segments.filter((name) => name.startsWith(`${log}.log.`)).map((name) => join(logs, name)),
    agent,
    verify: (options) => agent().verify(options),
    reset: () => {
      rmSync(work, { recursive: true, force: true })
      cpSync(kept, work, { recursive: true, preserveTimestamps: true })
    },
    remove: () => rmSync(root, { recursive: true, force: true }),
  }
}

/** A finding without what depends on the directory, and without the advice. */
export const told = ({ kind, message, path, repair, severity }: Finding) => ({
  kind,
  severity,
  name: basename(path),
  message,
  repair,
})

/** What every file of a directory holds. */
export const contents = (directory: string): Readonly<Record<string, string>> =>
  existsSync(directory)
    ? Object.fromEntries(
        readdirSync(directory)
          .toSorted()
          .map((name) => [name, readFileSync(join(directory, name)).toString("latin1")]),
      )
    : {}
