/**
 * The reference experiment of the kubelet's log rotation, with writers of its own: starts them and a real agent in a directory, and settles the
 * account of every line at the end. Shows nothing.
 */
import type { Decoded, Envelope, PolicyInput } from "@cordwood/core"
import { sqliteJournalReader } from "@cordwood/fs-adapter"
import { Context, Effect, Fiber, Layer, type PubSub, type Scope } from "effect"
import { randomUUID } from "node:crypto"
import { mkdirSync } from "node:fs"
import { basename, join } from "node:path"
import { Agent } from "../agent.ts"
import type { AgentError } from "../agent-error.ts"
import { files } from "../source/files/files.ts"
import { filesOf, readPiece, type SeenFile } from "./files.ts"
import { makeLedger } from "./ledger.ts"
import { type Account, accountOf, isComplete, type Placed } from "./piece.ts"
import { REOPEN_SIGNAL } from "./writer.ts"
import { type Program, startWriter, thisProgram, WriterError } from "./writers.ts"

export interface WriterSetting {
  readonly name: string
  /** Lines at a stroke, and the pause between two strokes. */
  readonly lines: number
  readonly pauseMs: number
}
export interface ExperimentOptions {
  /** An empty directory. Logs lie in it as they do on a node, under `var/log/pods`. */
  readonly directory: string
  readonly writers: ReadonlyArray<WriterSetting>
  readonly policy: PolicyInput
  readonly interval: string
  readonly program?: Program
}

/** The one of the reference experiment, one that takes its time, and one that writes in bursts. Together some 3 MB/s. */
export const WRITERS: ReadonlyArray<WriterSetting> = [
  { name: "reference", lines: 2_000, pauseMs: 1_000 },
  { name: "steady", lines: 100, pauseMs: 250 },
  { name: "bursty", lines: 24_000, pauseMs: 4_000 },
]

/** A log of the experiment as it is now. */
export interface LogNow {
  readonly name: string
  readonly path: string
  readonly lines: number
  readonly files: ReadonlyArray<SeenFile>
}
/** What became of a log's lines. */
export interface LogAccount extends Account {
  readonly name: string
  readonly path: string
}
export interface Outcome {
  readonly accounts: ReadonlyArray<LogAccount>
  readonly rotated: number
  readonly compressed: number
  readonly compressedFrom: number
  readonly compressedTo: number
  readonly removed: number
  readonly failed: number
  /** What is wrong beside the lines: a segment that is gone without an event. */
  readonly problems: ReadonlyArray<string>
  readonly complete: boolean
}
export interface Experiment {
  readonly events: PubSub.Subscription<Envelope>
  readonly now: () => ReadonlyArray<LogNow>
  /** Fails if a writer or the agent ends by itself. */
  readonly ended: Effect.Effect<never, WriterError | AgentError>
  /** Stops the writers, then the agent, then counts. */
  readonly settle: Effect.Effect<Outcome, WriterError | AgentError>
}

/** Starts it; it is over when the scope ends. */
export const startExperiment = (
  options: ExperimentOptions,
): Effect.Effect<Experiment, WriterError | AgentError, Scope.Scope> =>
  Effect.gen(function* () {
    const { directory, program = thisProgram() } = options
    const run = join(directory, "run")
    const journal = join(directory, "journal", "journal.db")
    mkdirSync(run, { recursive: true })
    const plans = options.writers.map((setting) => {
      // As the kubelet lays them out: <namespace>_<pod>_<uid>/<container>/<restart>.log.
      const container = join(directory, "var", "log", "pods", `demo_${setting.name}_${randomUUID()}`, "app")
      mkdirSync(container, { recursive: true })
      return { ...setting, path: join(container, "0.log"), pidFile: join(run, `${setting.name}.pid`) }
    })
    const names = new Map(plans.map(({ name, path }) => [path, name]))
    const ledger = makeLedger((path) => names.get(path))
    const writers = yield* Effect.forEach(plans, (plan) => startWriter(plan, program), { concurrency: "unbounded" })
    const layer = Agent.layer({
      sources: plans.map(({ path, pidFile }) => files({ include: [path], reopen: { signal: REOPEN_SIGNAL, pidFile } })),
      policy: options.policy,
      interval: options.interval,
      journal: { path: journal },
      plugins: [ledger.plugin],
    })
    const agent = Context.get(yield* Layer.build(layer), Agent)
    const events = yield* agent.subscribe
    const running = yield* Effect.forkScoped(agent.run)
    const now = (): ReadonlyArray<LogNow> =>
      writers.map(({ plan, report }) => ({
        name: plan.name,
        path: plan.path,
        lines: report().lines,
        files: filesOf(plan.path),
      }))
    const settle = Effect.gen(function* () {
      const reports = yield* Effect.forEach(writers, ({ stop }) => stop, { concurrency: "unbounded" })
      yield* Fiber.interrupt(running)
      const stored = yield* everyEvent(journal)
      const removedPaths = new Set(
        stored.flatMap((event) => (event.type === "Removed" ? [(event.data as { readonly path: string }).path] : [])),
      )
      const problems: Array<string> = []
      const accounts: Array<LogAccount> = []
      for (const [index, { plan }] of writers.entries()) {
        const written = reports[index]?.lines ?? 0
        const placed = yield* Effect.promise(() => placedFiles(plan.name, plan.path, ledger.pieces))
        for (const { path, removed } of placed) {
          if (removed && !removedPaths.has(path))
            problems.push(`${basename(path)} of ${plan.name} is gone, and no event says so`)
        }
        accounts.push({ name: plan.name, path: plan.path, ...accountOf(plan.name, written, placed) })
      }
      return outcomeOf(accounts, stored, problems)
    })
    return {
      events,
      now,
      ended: Effect.raceFirst(Fiber.join(running), Effect.raceAllFirst(writers.map(({ ended }) => ended))),
      settle,
    }
  })

/** Every file that the log ever had and that is accounted for, in reading order. */
const placedFiles = async (
  writer: string,
  active: string,
  ledger: ReadonlyMap<string, Placed["piece"]>,
): Promise<ReadonlyArray<Placed & { readonly path: string }>> => {
  const onDisk = filesOf(active)
  const there = new Set(onDisk.map(({ path }) => path))
  const placed: Array<Placed & { readonly path: string }> = []
  for (const [path, piece] of ledger) {
    if (path.startsWith(`${active}.`) && !there.has(path)) placed.push({ path, piece, removed: true })
  }
  for (const { path } of onDisk) placed.push({ path, piece: await readPiece(writer, path), removed: false })
  // Names of segments sort by time; the active file is the newest.
  return placed.toSorted((a, b) => (a.path === active ? 1 : b.path === active ? -1 : a.path < b.path ? -1 : 1))
}

const PAGE = 1_000
const everyEvent = (path: string): Effect.Effect<ReadonlyArray<Envelope>, AgentError | WriterError> =>
  Effect.gen(function* () {
    const reader = sqliteJournalReader({ path })
    const events: Array<Envelope> = []
    for (let after = 0; ;) {
      const page: ReadonlyArray<Decoded> = yield* reader.read({ after, limit: PAGE })
      for (const decoded of page) if (decoded._tag === "Known") events.push(decoded.event)
      const last = events.at(-1)?.position ?? after
      if (page.length < PAGE || last === after) return events
      after = last
    }
  }).pipe(Effect.mapError(({ hint, message }) => new WriterError({ writer: "journal", message, hint })))

const outcomeOf = (
  accounts: ReadonlyArray<LogAccount>,
  events: ReadonlyArray<Envelope>,
  problems: ReadonlyArray<string>,
): Outcome => {
  const count = (type: string): number => events.filter((event) => event.type === type).length
  const sum = (key: "bytesIn" | "bytesOut"): number =>
    events.reduce(
      (total, event) =>
        total +
        (event.type === "Compressed"
          ? (event.data as { readonly bytesIn: number; readonly bytesOut: number })[key]
          : 0),
      0,
    )
  return {
    accounts,
    rotated: count("Rotated"),
    compressed: count("Compressed"),
    compressedFrom: sum("bytesIn"),
    compressedTo: sum("bytesOut"),
    removed: count("Removed"),
    failed: count("Failed"),
    problems,
    complete: problems.length === 0 && accounts.every(isComplete),
  }
}
