/** What tracing costs, per pass over a thousand logs: nobody traces, the plugin without an SDK, over OTLP, and with the process's own SDK. */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { globSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { Agent, type AgentOptions, files } from "@cordwood/agent"
import { otel } from "@cordwood/plugin-otel"
import { trace } from "@opentelemetry/api"
import { BasicTracerProvider, BatchSpanProcessor, type SpanExporter } from "@opentelemetry/sdk-trace-base"
import { Effect } from "effect"
import type { Bench, Ground } from "./benchmark.ts"
import { idleLogs } from "./load/logs.ts"
import type { SinkReport } from "./load/otlp-sink.ts"
import { type Row, samplesOf } from "./measure/report.ts"

const LOGS = 1_000
/** The cases take turns, so that what else the machine does meets all of them; the first turn is not counted. */
const RUNS = 3
/** Passes of one agent, those that are measured and those before them that are not. */
const PASSES = 3
const PASSES_BEFORE = 1
const SINK = fileURLToPath(new URL("load/otlp-sink.ts", import.meta.url))

type Load = "idle" | "rotating"

/** An agent that is set up one way. `end` leaves nothing of it. */
interface Case {
  readonly name: string
  readonly begin: () => { readonly plugins: AgentOptions["plugins"] & {}; readonly end: () => Promise<void> }
}

interface Measured {
  readonly cpuMs: number
  readonly wallMs: number
}

const cpuMs = (): number => {
  const { system, user } = process.cpuUsage()
  return (user + system) / 1_000
}

/**
 * Passes of one agent. CPU is all that the process spent from the first one measured until the agent was gone and had sent its last span, over their
 * number; wall is the passes alone, as exporting goes on beside them.
 */
const measure = async (load: Load, include: string, journal: string, { begin }: Case): Promise<Measured> => {
  const { end, plugins } = begin()
  const paths = globSync(include)
  let cpu = 0
  let wallMs = 0
  await Effect.runPromise(
    Effect.scoped(
      Effect.gen(function* () {
        const agent = yield* Agent
        for (let pass = -PASSES_BEFORE; pass < PASSES; pass += 1) {
          // Writing is the writers' work.
          const writing = cpuMs()
          if (load === "rotating")
            for (const path of paths) writeFileSync(path, "2026-09-09T04:33:10.123456789Z stdout F full\n")
          if (pass === 0) cpu = cpuMs()
          else if (pass > 0) cpu += cpuMs() - writing
          const wall = performance.now()
          yield* agent.once
          if (pass >= 0) wallMs += performance.now() - wall
        }
      }).pipe(Effect.provide(Agent.layer(options(load, include, journal, plugins)))),
    ),
  )
  await end()
  return { cpuMs: (cpuMs() - cpu) / PASSES, wallMs: wallMs / PASSES }
}

const options = (
  load: Load,
  include: string,
  journal: string,
  plugins: AgentOptions["plugins"] & {},
): AgentOptions => ({
  sources: [files({ include: [include], reopen: "none" })],
  // A pass that rotates also removes: that is what a log that fills up is like from its third rotation on.
  policy: { maxSize: load === "idle" ? "10Mi" : 1, maxFiles: 2, compression: "none" },
  journal: { path: journal },
  plugins,
})

const CASES = (sink: string): ReadonlyArray<Case> => [
  { name: "no plugin", begin: () => ({ plugins: [], end: async () => {} }) },
  { name: "otel without an SDK", begin: () => ({ plugins: [otel()], end: async () => {} }) },
  {
    name: "otel, the process's own SDK",
    begin: () => {
      const provider = new BasicTracerProvider({ spanProcessors: [new BatchSpanProcessor(forgetting)] })
      trace.setGlobalTracerProvider(provider)
      return {
        plugins: [otel()],
        end: async () => {
          await provider.shutdown()
          trace.disable()
        },
      }
    },
  },
  {
    name: "otel over OTLP, http/protobuf",
    begin: () => ({ plugins: [otel({ endpoint: sink })], end: async () => {} }),
  },
  {
    name: "otel over OTLP, http/json",
    begin: () => ({ plugins: [otel({ endpoint: sink, protocol: "http/json" })], end: async () => {} }),
  },
]

const forgetting: SpanExporter = { export: (_spans, done) => done({ code: 0 }), shutdown: async () => {} }

const startSink = async ({ children }: Ground): Promise<{ readonly child: ChildProcess; readonly url: string }> => {
  const child = children.add(fork(SINK, [], { execArgv: [], stdio: ["ignore", "ignore", "inherit", "ipc"] }))
  const [report] = (await once(child, "message")) as [SinkReport]
  if (!("port" in report)) throw new Error("the sink did not say its port")
  return { child, url: `http://127.0.0.1:${report.port}` }
}
/** Megabytes of telemetry since it was last asked. */
const megabytesIn = async (child: ChildProcess): Promise<number> => {
  const answered = once(child, "message") as Promise<[SinkReport]>
  child.send("report")
  const [report] = await answered
  return "bytes" in report ? report.bytes / 1e6 : Number.NaN
}

const loadRows = async (
  ground: Ground,
  load: Load,
  sink: ChildProcess,
  cases: ReadonlyArray<Case>,
): Promise<ReadonlyArray<Row>> => {
  const samples = new Map(
    cases.map(({ name }) => [name, { wall: [], cpu: [], sent: [] } as Record<string, Array<number>>]),
  )
  for (let run = 0; run <= RUNS; run += 1) {
    for (const [at, one] of cases.entries()) {
      ground.say(`tracing, ${load}: turn ${run} of ${RUNS}, ${one.name}`)
      const directory = ground.directory(`tracing-${load}-${run}-${at}`)
      mkdirSync(join(directory, "logs"))
      const include = idleLogs(join(directory, "logs"), LOGS)
      const { cpuMs, wallMs } = await measure(load, include, join(directory, "journal.db"), one)
      const sent = await megabytesIn(sink)
      if (load === "rotating") demandRotated(include)
      rmSync(directory, { recursive: true })
      if (run === 0) continue
      const into = samples.get(one.name)
      into?.["wall"]?.push(wallMs)
      into?.["cpu"]?.push(cpuMs)
      into?.["sent"]?.push(sent / (PASSES + PASSES_BEFORE))
    }
  }
  return cases.map(({ name }) => {
    const { cpu = [], sent = [], wall = [] } = samples.get(name) ?? {}
    return {
      case: name,
      cells: {
        CPU: samplesOf("ms", 0, cpu),
        wall: samplesOf("ms", 0, wall),
        sent: sent.every((megabytes) => megabytes === 0) ? "" : samplesOf("MB", 3, sent),
      },
    }
  })
}

/** A pass that does nothing is cheap, whatever traces it. */
const demandRotated = (include: string): void => {
  const [first = ""] = globSync(include.replace("0.log", "0.log.*"))
  const names = first === "" ? [] : readdirSync(dirname(first))
  if (names.length !== 1)
    throw new Error(`a log that was rotated ${PASSES + PASSES_BEFORE} times left ${names.join(", ") || "nothing"}`)
}

export const tracing: Bench = {
  name: "tracing",
  about: "what tracing costs per pass with 1,000 logs: without an SDK, over OTLP, with the process's own",
  run: async (ground) => {
    const { child, url } = await startSink(ground)
    const cases = CASES(url)
    const about = `Per pass over ${LOGS.toLocaleString("en")} logs, in process; ${RUNS} agents of each kind, taking turns, each with ${PASSES} passes after a first one that doesn't count.`
    const reports = [
      {
        title: "Tracing passes that find nothing to do",
        notes: [
          about,
          "Such a pass has no span; what is sent is of the first one, which records what it found. CPU is the process's, with the agent's end; a collector's is not in it.",
        ],
        rows: await loadRows(ground, "idle", child, cases),
      },
      {
        title: "Tracing passes in which every log rotates",
        notes: [
          about,
          "Each log is rotated and its oldest segment removed: five spans. CPU includes serializing and sending all of it; what the sink, a process of its own, does with it is not in it.",
          "Every rotation is synced to the disk, which takes most of the time where that is slow; with TMPDIR on a tmpfs it takes none.",
        ],
        rows: await loadRows(ground, "rotating", child, cases),
      },
    ]
    await ground.children.end(child)
    return reports
  },
}
