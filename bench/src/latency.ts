/** How long a rotation takes once it has begun: renamed and synced, the writer has reopened, the event is stored and told. In process. */
import { join } from "node:path"
import { LogFiles } from "@cordwood/core"
import { Agent, type AgentPorts, files, type SourceFactory } from "@cordwood/agent"
import { nodeLogFiles, sqliteJournal } from "@cordwood/fs-adapter"
import { Effect, Fiber, Layer, PubSub } from "effect"
import type { Bench, Ground } from "./benchmark.ts"
import { REOPEN_SIGNAL } from "./load/writer-plan.ts"
import { startWriter } from "./load/writers.ts"
import { quantile, type Row, samplesOf } from "./measure/report.ts"

const MB = 1e6
const LOGS = 10
const SECONDS = 8
const BYTES_PER_SECOND = 2 * MB
const MAX_SIZE = "1Mi"
/** Rotations at the beginning that are left out: the code is compiled by then. */
const WARM = 20

interface Times {
  readonly beganMs: number
  renamedMs: number
  reopenedMs: number
  toldMs: number
}

const rotations = async ({ children, clear, corpus, directory }: Ground): Promise<ReadonlyArray<Times>> => {
  const home = directory("latency")
  const pidFile = join(home, "pid")
  const logs = Array.from({ length: LOGS }, (_, n) => join(directory(join("latency", `app-${n}`)), "0.log"))
  const under = new Map<string, Times>()
  const done: Array<Times> = []
  const stamp = (path: string, what: "renamedMs" | "reopenedMs"): Effect.Effect<void> =>
    Effect.sync(() => {
      const times = under.get(path)
      if (times !== undefined) times[what] = performance.now()
    })
  const ports: AgentPorts = {
    files: Layer.effect(
      LogFiles,
      Effect.map(LogFiles, (node) => ({
        ...node,
        setAside: (active, to) =>
          Effect.suspend(() => {
            under.set(active.path, { beganMs: performance.now(), renamedMs: 0, reopenedMs: 0, toldMs: 0 })
            return Effect.tap(node.setAside(active, to), () => stamp(active.path, "renamedMs"))
          }),
      })),
    ).pipe(Layer.provide(nodeLogFiles)),
    journal: ({ keep, maxSize, path }) => sqliteJournal({ path, keepMs: keep, maxBytes: maxSize }),
    newId: () => crypto.randomUUID(),
  }
  const source = files({ include: logs, reopen: { signal: REOPEN_SIGNAL, pidFile } })
  const stamped: SourceFactory = {
    name: source.name,
    open: Effect.map(source.open, (opened) => ({
      ...opened,
      reopen: (log) => Effect.tap(opened.reopen(log), () => stamp(log.path, "reopenedMs")),
    })),
  }
  const writer = await startWriter(children, {
    logs,
    pidFile,
    lines: corpus(),
    linesBytes: 16 * MB,
    bytesPerSecond: BYTES_PER_SECOND,
    seconds: SECONDS,
    bytesPerLog: SECONDS * BYTES_PER_SECOND,
  })
  const layer = Agent.layer(
    { sources: [stamped], policy: { maxSize: MAX_SIZE }, journal: { path: join(home, "journal.db") } },
    ports,
  )
  await Effect.runPromise(
    Effect.gen(function* () {
      const agent = yield* Agent
      const events = yield* agent.subscribe
      const hearing = yield* Effect.forkChild(
        Effect.forever(
          Effect.map(PubSub.take(events), ({ log, type }) => {
            const times = under.get(log.path)
            if (type !== "Rotated" || times === undefined) return
            times.toldMs = performance.now()
            done.push(times)
            under.delete(log.path)
          }),
        ),
      )
      const running = yield* Effect.forkChild(agent.run)
      yield* Effect.promise(() => writer.write())
      yield* Fiber.interrupt(running)
      yield* Fiber.interrupt(hearing)
    }).pipe(Effect.provide(layer), Effect.scoped),
  )
  await writer.end()
  clear(home)
  return done.slice(WARM)
}

export const latency: Bench = {
  name: "latency",
  about: "how long a rotation takes: rename, reopen, event",
  run: async (ground) => {
    const all = await rotations(ground)
    const row = (title: string, of: (times: Times) => number): Row => {
      const taken = all.map(of)
      const cell = (share: number) => samplesOf("ms", 1, [quantile(taken, share)])
      return { case: title, cells: { median: cell(0.5), "95 %": cell(0.95), most: cell(1) } }
    }
    return [
      {
        title: "One rotation",
        notes: [
          `${all.length} rotations in ${SECONDS} s: ${LOGS} logs of ${BYTES_PER_SECOND / MB} MB/s in one writer, maxSize ${MAX_SIZE}, so several at a time, beside compression; in process, the first ${WARM} left out.`,
          "Rename: looked at, renamed without overwriting, its directory synced. Reopen: signalled until the file is there again. Event: stored in the journal, synced, and published.",
        ],
        rows: [
          row("rename", ({ beganMs, renamedMs }) => renamedMs - beganMs),
          row("reopen", ({ renamedMs, reopenedMs }) => reopenedMs - renamedMs),
          row("event", ({ reopenedMs, toldMs }) => toldMs - reopenedMs),
          row("all of it", ({ beganMs, toldMs }) => toldMs - beganMs),
        ],
      },
    ]
  },
}
