/** What thousands of logs cost that nobody writes to: one pass over them, and the daemon from minute to minute. Also its memory beside 100. */
import { join } from "node:path"
import { setTimeout } from "node:timers/promises"
import { LogFiles } from "@cordwood/core"
import { Agent, type AgentPorts, files, type SourceFactory } from "@cordwood/agent"
import { nodeLogFiles, sqliteJournal } from "@cordwood/fs-adapter"
import { Effect, Fiber, Layer } from "effect"
import type { Bench, Ground } from "./benchmark.ts"
import { startDaemon } from "./load/daemon.ts"
import { idleLogs, idleLogsInOne } from "./load/logs.ts"
import { cpuSeconds, memory, quiet } from "./measure/process-cost.ts"
import { type Row, samplesOf } from "./measure/report.ts"

const COUNTS = [1_000, 10_000]
const RUNS = 3
/** Settled passes that are measured, and those before them that are not. */
const PASSES = 5
const PASSES_BEFORE = 2
const PASS_EVERY = "1500ms"
/** A daemon that is busy for longer is watched as it is. */
const FIRST_PASS_LIMIT_MS = 30_000
/** A first pass over many logs into an empty journal takes its time. */
const RUNS_OF_MANY = 1
const MANY = 10_000
/** Two intervals of the default. */
const WATCH_MS = 20_000

interface Spent {
  readonly wallMs: number
  readonly cpuMs: number
}
const spent = async (use: () => Promise<unknown>): Promise<Spent> => {
  const cpu = process.cpuUsage()
  const wall = performance.now()
  await use()
  const { system, user } = process.cpuUsage(cpu)
  return { wallMs: performance.now() - wall, cpuMs: (user + system) / 1_000 }
}

/** Settled passes, as the daemon makes them: from the listing's begin until the last log was looked at. Looks in between are off, with rotation. */
const settledPasses = async (include: string, journal: string): Promise<ReadonlyArray<Spent>> => {
  const marks: Array<{ wall: number; cpu: number; endWall: number; endCpu: number }> = []
  let enough = (): void => {}
  const source = files({ include: [include], reopen: "none" })
  const listing: SourceFactory = {
    name: source.name,
    open: Effect.map(source.open, (opened) => ({
      ...opened,
      list: Effect.suspend(() => {
        marks.push({ wall: performance.now(), cpu: cpuMs(), endWall: 0, endCpu: 0 })
        if (marks.length > PASSES_BEFORE + PASSES) enough()
        return opened.list
      }),
    })),
  }
  // The last look of a pass ends it; the clock is read after every 100th, as reading it costs as much as a look.
  const count = { looks: 0 }
  const ports: AgentPorts = {
    files: Layer.effect(
      LogFiles,
      Effect.map(LogFiles, (node) => ({
        ...node,
        glance: (active, into) => {
          node.glance(active, into)
          count.looks += 1
          const mark = marks.at(-1)
          if (mark === undefined || count.looks % 100 !== 0) return
          mark.endWall = performance.now()
          mark.endCpu = cpuMs()
        },
      })),
    ).pipe(Layer.provide(nodeLogFiles)),
    journal: ({ keep, maxSize, path }) => sqliteJournal({ path, keepMs: keep, maxBytes: maxSize }),
    newId: () => crypto.randomUUID(),
  }
  const layer = Agent.layer(
    { sources: [listing], interval: PASS_EVERY, policy: { maxSize: "-1" }, journal: { path: journal } },
    ports,
  )
  await Effect.runPromise(
    Effect.scoped(
      Effect.gen(function* () {
        const done = new Promise<void>((resolve) => (enough = resolve))
        const running = yield* Effect.forkChild(
          Effect.provide(
            Effect.flatMap(Agent, ({ run }) => run),
            layer,
          ),
        )
        yield* Effect.promise(() => done)
        yield* Fiber.interrupt(running)
      }),
    ),
  )
  return marks
    .slice(PASSES_BEFORE, PASSES_BEFORE + PASSES)
    .map(({ cpu, endCpu, endWall, wall }) => ({ wallMs: endWall - wall, cpuMs: endCpu - cpu }))
}
const cpuMs = (): number => {
  const { system, user } = process.cpuUsage()
  return (user + system) / 1_000
}

const spentRow = (title: string, all: ReadonlyArray<Spent>): Row => ({
  case: title,
  cells: {
    wall: samplesOf(
      "ms",
      0,
      all.map(({ wallMs }) => wallMs),
    ),
    CPU: samplesOf(
      "ms",
      0,
      all.map(({ cpuMs }) => cpuMs),
    ),
  },
})

const passes = async (
  { clear, directory, say }: Ground,
  count: number,
  title: string,
  home: string,
  include: string,
): Promise<ReadonlyArray<Row>> => {
  say(`${title}: passes`)
  const first: Array<Spent> = []
  const again: Array<Spent> = []
  const once = (journal: string) => () =>
    Agent.make({ sources: [files({ include: [include], reopen: "none" })], journal: { path: journal } }).once()
  for (let run = 0; run < (count < MANY ? RUNS : RUNS_OF_MANY); run += 1) {
    const journals = directory(`${home}-journal-${run}`)
    const journal = join(journals, "journal.db")
    first.push(await spent(once(journal)))
    again.push(await spent(once(journal)))
    clear(journals)
  }
  const journals = directory(`${home}-journal`)
  const settled = await settledPasses(include, join(journals, "journal.db"))
  clear(journals)
  return [
    spentRow(`${title}: first pass, empty journal`, first),
    spentRow(`${title}: first pass after a restart`, again),
    spentRow(`${title}: a later pass`, settled),
  ]
}

const daemonRow = async (
  { bundle, children, directory }: Ground,
  title: string,
  name: string,
  include: string,
): Promise<Row> => {
  const daemon = startDaemon(children, { bundle, home: directory(name), include: [include] })
  const started = await quiet(daemon.pid, FIRST_PASS_LIMIT_MS)
  const from = { cpu: cpuSeconds(daemon.pid), atMs: performance.now() }
  await setTimeout(WATCH_MS)
  const share = (cpuSeconds(daemon.pid) - from.cpu) / ((performance.now() - from.atMs) / 1_000)
  const { anonymous, peak, rss } = memory(daemon.pid)
  await daemon.end()
  return {
    case: title,
    cells: {
      "start and first pass": started === null ? "never quiet" : samplesOf("s CPU", 2, [started]),
      "then, of a core": samplesOf("%", 2, [share * 100]),
      RSS: samplesOf("MiB", 0, [rss]),
      "of it anonymous": samplesOf("MiB", 0, [anonymous]),
      peak: samplesOf("MiB", 0, [peak]),
    },
  }
}

export const idle: Bench = {
  name: "idle",
  about: "passes over 1,000 and 10,000 idle logs, the daemon's CPU beside them, and its memory beside 100",
  run: async (ground) => {
    const { directory, say } = ground
    const grouped = COUNTS.map((count) => ({
      count,
      title: `${count.toLocaleString("en")} logs`,
      name: `idle-${count}`,
      include: idleLogs(directory(`idle-${count}`), count),
    }))
    const flat = {
      count: 1_000,
      title: "1,000 logs in one directory",
      name: "idle-flat",
      include: idleLogsInOne(directory("idle-flat"), 1_000),
    }
    const hundred = { title: "100 logs", name: "idle-100", include: idleLogs(directory("idle-100"), 100) }
    const rows: Array<Row> = []
    for (const { count, include, name, title } of [...grouped, flat])
      rows.push(...(await passes(ground, count, title, name, include)))
    say("daemons beside idle logs: 20 s and more")
    // At the same time: together they take a few percent of a core.
    const daemons = await Promise.all(
      [hundred, ...grouped, flat].map(({ include, name, title }) =>
        daemonRow(ground, title, `${name}-daemon`, include),
      ),
    )
    return [
      {
        title: "One pass over idle logs",
        notes: [
          `In process, without the start; ${RUNS} runs (${RUNS_OF_MANY} of ${MANY.toLocaleString("en")} logs), and ${PASSES} later passes. One directory for each log, as the kubelet lays them out, unless it says otherwise.`,
          "A first pass scans every log, and records what it found where the journal doesn't know it yet. A later pass lists the source and looks at each log's size and directory.",
        ],
        rows,
      },
      {
        title: "The daemon beside idle logs",
        notes: [
          `The bundle with its defaults (interval 10s), an empty journal, then ${WATCH_MS / 1_000} s of watching: two passes, and the looks in between. One run.`,
          "Some 40 MiB of a bare Node's RSS are its mapped binary, which processes share.",
        ],
        rows: daemons,
      },
    ]
  },
}
