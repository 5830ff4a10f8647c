/** CPU for each GB that is rotated and compressed: the daemon beside a writer, and the `gzip` command on the same bytes, in turns. */
import { closeSync, fstatSync, openSync, readdirSync, readSync, statSync } from "node:fs"
import { dirname, join } from "node:path"
import { setTimeout } from "node:timers/promises"
import type { Bench, Ground } from "./benchmark.ts"
import { startDaemon } from "./load/daemon.ts"
import { startWriter } from "./load/writers.ts"
import { costOf, cpuSeconds, memory, untilQuiet } from "./measure/process-cost.ts"
import { type Row, samplesOf } from "./measure/report.ts"

const RUNS = 3
const GB = 1e9
const MB = 1e6
/** Fast enough that the daemon is busy all the time, slow enough that it keeps up on a core. */
const BYTES_PER_SECOND = 40 * MB
/** Nothing is removed: what was rotated is there to be counted. */
const MAX_FILES = 1_000
const DONE_WITHIN_MS = 90_000

interface Run {
  readonly cpu: number
  readonly ratio: number
  readonly peak: number
}

const rotated = async ({ bundle, children, clear, corpus, corpusBytes, directory }: Ground): Promise<Run> => {
  const home = directory("cost")
  const log = join(directory(join("cost", "app")), "0.log")
  const pidFile = join(home, "pid")
  const writer = await startWriter(children, {
    logs: [log],
    pidFile,
    lines: corpus(),
    linesBytes: corpusBytes,
    bytesPerSecond: BYTES_PER_SECOND,
    seconds: DONE_WITHIN_MS / 1_000,
    bytesPerLog: corpusBytes,
  })
  const daemon = startDaemon(children, { bundle, home, include: [log], pidFile, policy: { maxFiles: MAX_FILES } })
  const before = await untilQuiet(daemon.pid)
  await writer.write()
  await compressed(log)
  await untilQuiet(daemon.pid)
  const cpu = cpuSeconds(daemon.pid) - before
  const { peak } = memory(daemon.pid)
  await daemon.end()
  await writer.end()
  const twins = readdirSync(dirname(log)).filter((name) => name.endsWith(".gz"))
  let plain = 0
  let packed = 0
  for (const twin of twins) {
    const path = join(dirname(log), twin)
    plain += plainBytesOf(path)
    packed += statSync(path).size
  }
  clear(home)
  return { cpu: cpu / (plain / GB), ratio: plain / packed, peak }
}

/** Waits until every segment but the newest has its twin, and nothing is under way. */
const compressed = async (log: string): Promise<void> => {
  const deadline = performance.now() + DONE_WITHIN_MS
  while (performance.now() < deadline) {
    const names = readdirSync(dirname(log)).filter((name) => name !== "0.log" && !name.endsWith(".gz"))
    if (names.length === 1) return
    await setTimeout(50)
  }
  throw new Error(`segments of ${log} are still not compressed after ${DONE_WITHIN_MS / 1_000} s`)
}

/** What a gzip file of one member says of itself in its last four bytes. */
const plainBytesOf = (path: string): number => {
  const descriptor = openSync(path, "r")
  try {
    const trailer = Buffer.alloc(4)
    readSync(descriptor, trailer, 0, 4, fstatSync(descriptor).size - 4)
    return trailer.readUInt32LE()
  } finally {
    closeSync(descriptor)
  }
}

/** The command, from file to file as a rotator would call it. */
const gzip = async ({ clear, corpus, corpusBytes, directory }: Ground, level: number): Promise<Run> => {
  const home = directory("gzip")
  const packed = join(home, "log.gz")
  const { cpuMs } = await costOf(["sh", "-c", `exec gzip -${level} -c "$1" > "$2"`, "sh", corpus(), packed])
  const ratio = corpusBytes / statSync(packed).size
  clear(home)
  return { cpu: cpuMs / 1_000 / (corpusBytes / GB), ratio, peak: Number.NaN }
}

export const cost: Bench = {
  name: "cost",
  about: "CPU seconds for each GB rotated and compressed, beside gzip on the same file",
  run: async (ground) => {
    ground.corpus()
    const ours: Array<Run> = []
    const six: Array<Run> = []
    const one: Array<Run> = []
    for (let run = 0; run < RUNS; run += 1) {
      ours.push(await rotated(ground))
      six.push(await gzip(ground, 6))
      one.push(await gzip(ground, 1))
    }
    const row = (title: string, runs: ReadonlyArray<Run>): Row => ({
      case: title,
      cells: {
        CPU: samplesOf(
          "s/GB",
          1,
          runs.map(({ cpu }) => cpu),
        ),
        ratio: samplesOf(
          "",
          2,
          runs.map(({ ratio }) => ratio),
        ),
      },
    })
    return [
      {
        title: "CPU for each GB rotated and compressed",
        notes: [
          `${RUNS} runs, in turns, on the same ${Math.round(ground.corpusBytes / MB)} MB of mixed container logs, written at ${BYTES_PER_SECOND / MB} MB/s; maxSize 10Mi.`,
          "cordwood: the whole daemon with its defaults, from watching the log to the last twin. It reads every twin back and compares before the original goes, and syncs; gzip does neither.",
          "kubelet's figures are quoted: another machine, another log; Go's gzip at its default level. gzip's own figures beside each say how the two machines and logs compare.",
        ],
        rows: [
          row("cordwood run", ours),
          row("gzip -6 (the command)", six),
          row("gzip -1 (the command)", one),
          { case: "kubelet's log manager, quoted", cells: { CPU: "11–15 s/GB", ratio: "7.2" } },
          { case: "gzip -6 beside it, quoted", cells: { CPU: "21 s/GB", ratio: "7.4" } },
          { case: "gzip -1 beside it, quoted", cells: { CPU: "11 s/GB", ratio: "5.7" } },
        ],
      },
    ]
  },
}
