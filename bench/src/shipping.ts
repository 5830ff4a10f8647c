/** Shipping one segment of 1 GiB to S3 before it is removed: how fast, for how much CPU, in how much memory. The server is on loopback. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import type { Bench, Ground } from "./benchmark.ts"
import { cpuSeconds, memory } from "./measure/process-cost.ts"
import { type Row, samplesOf } from "./measure/report.ts"

const RUNS = 3
const GIB = 2 ** 30
const MB = 1e6
const GB = 1e9
const LOOK_EVERY_MS = 25
const SEGMENT = "0.log.20260101-000000"
/** Keeps the segment before it out of the two files that retention allows. */
const NEWEST = "0.log.20260101-000001"
const CREDENTIALS = { accessKeyId: "AKIABENCH", secretAccessKey: "loopback-only" }
const REGION = "eu-north-1"
const BUCKET = "logs"
const plugin = (name: string): string => fileURLToPath(new URL(`../../packages/plugins/${name}`, import.meta.url))
const SERVER = fileURLToPath(new URL("load/s3-server.ts", import.meta.url))

interface Case {
  readonly title: string
  readonly compress: "none" | "zstd"
}
const CASES: ReadonlyArray<Case> = [
  { title: "as it lies on disk", compress: "none" },
  { title: "zstd on its way", compress: "zstd" },
]

interface Shipping {
  readonly mbPerSecond: number
  readonly cpu: number
  readonly peak: number
}

const shipped = async (
  { bundle, children, clear, corpus, directory }: Ground,
  { compress }: Case,
): Promise<Shipping> => {
  const home = directory("shipping")
  const logs = join(home, "logs")
  mkdirSync(logs)
  const lines = readFileSync(corpus())
  for (let bytes = 0; bytes < GIB; bytes += lines.length)
    appendFileSync(join(logs, SEGMENT), lines.subarray(0, GIB - bytes))
  for (const name of [NEWEST, "0.log"]) writeFileSync(join(logs, name), "a line\n")
  const server = children.add(
    spawn(process.execPath, [...process.execArgv, SERVER, ...Object.values(CREDENTIALS), REGION, BUCKET], {
      stdio: ["pipe", "pipe", "inherit"],
    }),
  )
  const [endpoint] = (await once(server.stdout, "data")) as [Buffer]
  const config = {
    sources: [{ files: { include: [join(logs, "0.log")], reopen: "none" } }],
    policy: { maxSize: "1Ti", maxFiles: 2, compression: "none" },
    journal: { path: join(home, "journal.db") },
    plugins: [
      { use: plugin("zstd") },
      {
        use: plugin("s3"),
        with: {
          bucket: BUCKET,
          region: REGION,
          endpoint: endpoint.toString().trim(),
          forcePathStyle: true,
          compress,
        },
      },
    ],
  }
  writeFileSync(join(home, "cordwood.json"), JSON.stringify(config))
  const startMs = performance.now()
  const agent = children.add(
    spawn(process.execPath, [bundle, "once", "--config", join(home, "cordwood.json")], {
      stdio: ["ignore", "ignore", "inherit"],
      env: {
        ...process.env,
        AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
        AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
      },
    }),
  )
  let [peak, cpu] = [0, 0]
  while (agent.exitCode === null && agent.signalCode === null) {
    try {
      const { pid = 0 } = agent
      peak = memory(pid).peak || peak
      cpu = cpuSeconds(pid) || cpu
    } catch {
      // It has ended since.
    }
    await setTimeout(LOOK_EVERY_MS)
  }
  const seconds = (performance.now() - startMs) / 1_000
  if (agent.exitCode !== 0 || existsSync(join(logs, SEGMENT))) throw new Error("the segment was not shipped")
  server.stdin.end()
  await once(server, "exit")
  clear(home)
  return { mbPerSecond: GIB / MB / seconds, cpu: cpu / (GIB / GB), peak }
}

export const shipping: Bench = {
  name: "shipping",
  about: "a segment of 1 GiB to S3 before it is removed: MB/s, CPU and memory",
  run: async (ground) => {
    const runs = CASES.map((one) => ({ one, made: [] as Array<Shipping> }))
    for (let turn = 0; turn < RUNS; turn += 1) {
      for (const { made, one } of runs) made.push(await shipped(ground, one))
    }
    const rows = runs.map(({ made, one: { title } }): Row => {
      const column = (of: (run: Shipping) => number, unit: string, digits: number) =>
        samplesOf(unit, digits, made.map(of))
      return {
        case: title,
        cells: {
          "segment's bytes a second": column(({ mbPerSecond }) => mbPerSecond, "MB/s", 0),
          "agent's CPU": column(({ cpu }) => cpu, "s/GB", 1),
          "largest RSS": column(({ peak }) => peak, "MiB", 0),
        },
      }
    })
    return [
      {
        title: "Shipping a segment of 1 GiB before it is removed",
        notes: [
          `${RUNS} runs in turns of \`cordwood once\`, its start included: it reads and hashes the segment, sends it, has S3 prove it, and removes it. Two parts of 16 MiB, the default, are in memory at a time.`,
          "The server, on the same machine, checks signature and checksums of every part, which costs it a core of its own.",
        ],
        rows,
      },
    ]
  },
}
