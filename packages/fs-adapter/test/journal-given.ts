/** What the journal's tests start from: a directory, a clock that the test sets, events, and journals that are closed at the end. */
import { spawn, type ChildProcess } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Clock, Context, Effect, Exit, Layer, Scope } from "effect"
import { Journal, type CoreFact, type Envelope, type JournalShape, type Log, type Unstored } from "@cordwood/core"
import { onTestFinished } from "vitest"
import { sqliteJournal, type SqliteJournalOptions } from "../src/index.ts"

/** The user without any right of its own. */
export const NOBODY = 65_534
export const DAY_MS = 24 * 60 * 60_000
export const START_MS = Date.UTC(2026, 8, 9, 4, 33, 10)

const seed = process.env["CORDWOOD_SEED"]
/** How property tests run. A seed is new every time and printed when a property fails; `CORDWOOD_SEED=…` tries it again. */
export const runs = (numRuns: number): { readonly numRuns: number; readonly seed: number } => ({
  numRuns,
  seed: seed === undefined ? Date.now() % 2 ** 31 : Number(seed),
})

export const aDirectory = (): string => {
  const directory = mkdtempSync(join(tmpdir(), "cordwood-journal-"))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}
export const aPath = (): string => join(aDirectory(), "journal.db")

/** A wall clock and a monotonic one; `pass` moves both, `set` the first alone. */
export class Time implements Clock.Clock {
  wallMs = START_MS
  monotonicMs = 1_000
  pass(ms: number): void {
    this.wallMs += ms
    this.monotonicMs += ms
  }
  set(wallMs: number): void {
    this.wallMs = wallMs
  }
  currentTimeMillisUnsafe = (): number => this.wallMs
  currentTimeNanosUnsafe = (): bigint => BigInt(this.wallMs) * 1_000_000n
  monotonicTimeNanosUnsafe = (): bigint => BigInt(this.monotonicMs) * 1_000_000n
  currentTimeMillis: Effect.Effect<number> = Effect.sync(this.currentTimeMillisUnsafe)
  currentTimeNanos: Effect.Effect<bigint> = Effect.sync(this.currentTimeNanosUnsafe)
  monotonicTimeNanos: Effect.Effect<bigint> = Effect.sync(this.monotonicTimeNanosUnsafe)
  sleep = (): Effect.Effect<void> => Effect.never
}

export interface OpenJournal extends JournalShape {
  readonly close: () => Promise<void>
}
/** Fails as the layer does. */
export const openJournal = async (options: SqliteJournalOptions, time = new Time()): Promise<OpenJournal> => {
  const scope = Effect.runSync(Scope.make())
  const close = (): Promise<void> => Effect.runPromise(Scope.close(scope, Exit.void))
  onTestFinished(close)
  const context = await Effect.runPromise(
    Layer.buildWithScope(sqliteJournal(options), scope).pipe(Effect.provideService(Clock.Clock, time)),
  )
  return { ...Context.get(context, Journal), close }
}

/** `run` for its failure. */
export const failureOf = async <E>(effect: Effect.Effect<unknown, E>): Promise<E> =>
  Effect.runPromise(Effect.flip(effect))

export const uuid = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`
export const logOf = (name: string): Log => ({ path: `/var/log/pods/${name}/0.log` })
export const scanned = (): CoreFact => ({
  type: "Scanned",
  data: { activeBytes: 10, segments: 0, totalBytes: 10, files: [] },
})
export const rotated = (): CoreFact => ({ type: "Rotated", data: { from: "/f", to: "/t", bytes: 10, reopened: true } })
export const removed = (path = "/s"): CoreFact => ({ type: "Removed", data: { path, bytes: 10, reason: "max-files" } })
export const eventOf = (n: number, fact: CoreFact = removed(), log: Log = logOf("a"), timeMs = START_MS): Unstored => ({
  id: uuid(n),
  time: new Date(timeMs).toISOString(),
  version: 1,
  log,
  metadata: { correlationId: `pass-${n}`, causationId: null, traceId: null, spanId: null },
  ...fact,
})
export const eventsOf = (from: number, to: number): ReadonlyArray<Unstored> =>
  Array.from({ length: to - from }, (_, at) => eventOf(from + at))

/** The numbers of the events that are read; NaN for what isn't an event. */
export const numbersIn = async (read: ReturnType<JournalShape["read"]>): Promise<ReadonlyArray<number>> =>
  (await Effect.runPromise(read)).map((one) => (one._tag === "Known" ? numberOf(one.event) : Number.NaN))
export const numberOf = (event: Envelope): number => Number(event.id.slice(-12))
export const append = (journal: JournalShape, ...events: ReadonlyArray<Unstored>) =>
  Effect.runPromise(journal.append(events))

/** Another process that keeps a journal, see `journal-process.ts`. */
export interface JournalProcess {
  readonly child: ChildProcess
  /** The next line it prints; null at its end. */
  readonly line: () => Promise<string | null>
  readonly kill: (signal: NodeJS.Signals) => Promise<void>
}
export const journalProcess = (mode: "hold" | "append" | "unprivileged" | "look", path: string): JournalProcess => {
  const script = fileURLToPath(new URL("journal-process.ts", import.meta.url))
  const child = spawn(process.execPath, ["--conditions=cordwood-source", script, mode, path], {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, NODE_OPTIONS: "" },
  })
  const lines: Array<string> = []
  let rest = ""
  let ended = false
  let wake = (): void => {}
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    const parts = (rest + text).split("\n")
    rest = parts.pop() ?? ""
    lines.push(...parts)
    wake()
  })
  const exit = new Promise<void>((resolve) => child.once("close", () => resolve()))
  void exit.then(() => {
    ended = true
    wake()
  })
  const kill = (signal: NodeJS.Signals): Promise<void> => {
    child.kill(signal)
    return exit
  }
  onTestFinished(() => kill("SIGKILL"))
  return {
    child,
    kill,
    line: async () => {
      while (lines.length === 0 && !ended) await new Promise<void>((resolve) => (wake = resolve))
      return lines.shift() ?? null
    },
  }
}
