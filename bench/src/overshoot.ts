/** How far beyond maxSize a log gets before it is cut, by how fast it is written. Beside it, what the kubelet's own log manager came to. */
import { join } from "node:path"
import type { Bench, Ground } from "./benchmark.ts"
import { startDaemon } from "./load/daemon.ts"
import type { LeftFile } from "./load/writer-plan.ts"
import { startWriter } from "./load/writers.ts"
import { cpuSeconds, untilQuiet } from "./measure/process-cost.ts"
import { type Row, samplesOf } from "./measure/report.ts"

const MB = 1e6
const MAX_SIZE_BYTES = 10 * 2 ** 20
const RUNS = 3
/** Of each log, so that a fast disk isn't filled by a writer without a limit. */
const BYTES_PER_LOG = 1_000 * MB

interface Scene {
  readonly title: string
  readonly logs: number
  readonly bytesPerSecond: number | null
  readonly seconds: number
  /** Runs at the same time: slow writers leave the machine to each other. */
  readonly together: boolean
  /** Of field.md: the default settings, and the tightest that can be set. */
  readonly kubelet: string
  readonly kubeletTightest: string
}
const SCENES: ReadonlyArray<Scene> = [
  { title: "1 MB/s", logs: 1, bytesPerSecond: MB, seconds: 24, together: true, kubelet: "1.9", kubeletTightest: "1.2" },
  {
    title: "5 MB/s",
    logs: 1,
    bytesPerSecond: 5 * MB,
    seconds: 16,
    together: true,
    kubelet: "5.1",
    kubeletTightest: "1.5",
  },
  {
    title: "20 MB/s",
    logs: 1,
    bytesPerSecond: 20 * MB,
    seconds: 10,
    together: false,
    kubelet: "24",
    kubeletTightest: "7.1",
  },
  {
    title: "flat out",
    logs: 1,
    bytesPerSecond: null,
    seconds: 7,
    together: false,
    kubelet: "69 (at 46 MB/s)",
    kubeletTightest: "26",
  },
  {
    title: "20 × 1 MB/s",
    logs: 20,
    bytesPerSecond: MB,
    seconds: 14,
    together: false,
    kubelet: "2.7",
    kubeletTightest: "1.7",
  },
]

interface Run {
  readonly largest: number
  /** The largest that was cut but for each log's first, which a writer began that had been silent until then; null: none was. */
  readonly later: number | null
  readonly cuts: number
  readonly megabytesPerSecond: number
  readonly core: number
}
const run = async ({ bundle, children, clear, corpus, directory }: Ground, scene: Scene, n: number): Promise<Run> => {
  const home = directory(`overshoot-${n}`)
  const logs = Array.from({ length: scene.logs }, (_, index) =>
    join(directory(join(`overshoot-${n}`, `app-${index}`)), "0.log"),
  )
  const pidFile = join(home, "pid")
  const writer = await startWriter(children, {
    logs,
    pidFile,
    lines: corpus(),
    linesBytes: 16 * MB,
    bytesPerSecond: scene.bytesPerSecond,
    seconds: scene.seconds,
    bytesPerLog: BYTES_PER_LOG,
  })
  const daemon = startDaemon(children, { bundle, home, include: logs, pidFile })
  const before = await untilQuiet(daemon.pid)
  const { bytes, files, seconds } = await writer.write()
  const cpu = cpuSeconds(daemon.pid) - before
  await daemon.end()
  await writer.end()
  clear(home)
  // Those at the end were not cut.
  const later = files
    .slice(0, -scene.logs)
    .filter(isLater)
    .map(({ bytes }) => bytes)
  return {
    largest: Math.max(...files.map(({ bytes }) => bytes)) / MAX_SIZE_BYTES,
    later: later.length === 0 ? null : Math.max(...later) / MAX_SIZE_BYTES,
    cuts: files.length - scene.logs,
    megabytesPerSecond: bytes / seconds / scene.logs / MB,
    core: (cpu / seconds) * 100,
  }
}

const isLater = ({ log }: LeftFile, at: number, files: ReadonlyArray<LeftFile>): boolean =>
  files.findIndex((other) => other.log === log) !== at

const row = async (ground: Ground, scene: Scene): Promise<Row> => {
  ground.say(`${scene.title}: ${scene.together ? scene.seconds : RUNS * scene.seconds} s`)
  const runs: Array<Run> = []
  if (scene.together) runs.push(...(await Promise.all(Array.from({ length: RUNS }, (_, n) => run(ground, scene, n)))))
  else for (let n = 0; n < RUNS; n += 1) runs.push(await run(ground, scene, n))
  return {
    case: scene.title,
    cells: {
      "largest ÷ maxSize": samplesOf(
        "",
        2,
        runs.map(({ largest }) => largest),
      ),
      "after the first": samplesOf(
        "",
        2,
        runs.flatMap(({ later }) => later ?? []),
      ),
      rotations: samplesOf(
        "",
        0,
        runs.map(({ cuts }) => cuts),
      ),
      "written, each": samplesOf(
        "MB/s",
        1,
        runs.map(({ megabytesPerSecond }) => megabytesPerSecond),
      ),
      "daemon, of a core": samplesOf(
        "%",
        0,
        runs.map(({ core }) => core),
      ),
      "kubelet, quoted": scene.kubelet,
      "kubelet at its tightest, quoted": scene.kubeletTightest,
    },
  }
}

export const overshoot: Bench = {
  name: "overshoot",
  about: "the largest active file, by how fast it is written",
  run: async (ground) => {
    const rows: Array<Row> = []
    for (const scene of SCENES) rows.push(await row(ground, scene))
    return [
      {
        title: "The largest active file ÷ maxSize",
        notes: [
          `The bundle with its defaults (interval 10s, 1 worker, maxSize 10Mi, maxFiles 5); ${RUNS} runs of ${SCENES.map(({ seconds, title }) => `${seconds} s (${title})`).join(", ")}, in this order; those of 1 and 5 MB/s at the same time, each with a daemon of its own.`,
          "The size is the writer's own count of what went into each file until it had reopened, so what was written between rename and reopen is in it.",
          "The second column leaves out each log's first file: its writer had been silent until then, and nobody had measured its rate.",
          `Flat out is one write(2) for each line of 200 bytes or so, at most ${BYTES_PER_LOG / MB} MB a run.`,
          "kubelet's figures are quoted: containers on containerd, another machine; by default (10 s, 1 worker), and at the tightest settings it allows (3 s, 10 workers).",
        ],
        rows,
      },
    ]
  },
}
