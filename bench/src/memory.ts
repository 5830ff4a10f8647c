/** The daemon's memory while it compresses. (Idle, see idle.ts.) */
import { readdirSync } from "node:fs"
import { join } from "node:path"
import { setTimeout } from "node:timers/promises"
import type { Bench, Ground } from "./benchmark.ts"
import { startDaemon } from "./load/daemon.ts"
import { segmentsOf } from "./load/logs.ts"
import { type Memory, memory } from "./measure/process-cost.ts"
import { type Row, samplesOf } from "./measure/report.ts"

const RUNS = 3
const WORKERS = [1, 4]
const LOGS = 4
const SEGMENTS = 5
const SEGMENT_BYTES = 10 * 2 ** 20
/** No segment is one too many. */
const MAX_FILES = 20
const DONE_WITHIN_MS = 90_000

interface Peak {
  readonly peak: number
  readonly anonymous: number
  readonly seconds: number
}
const compressing = async ({ bundle, children, clear, corpus, directory }: Ground, workers: number): Promise<Peak> => {
  const home = directory("memory")
  const logs = join(home, "logs")
  const include = segmentsOf(logs, { corpus: corpus(), logs: LOGS, segments: SEGMENTS, bytes: SEGMENT_BYTES })
  const startMs = performance.now()
  const daemon = startDaemon(children, { bundle, home, include: [include], workers, policy: { maxFiles: MAX_FILES } })
  let most: Memory = memory(daemon.pid)
  let anonymous = most.anonymous
  while (twinsIn(logs) < LOGS * SEGMENTS || temporariesIn(logs) > 0) {
    if (performance.now() - startMs > DONE_WITHIN_MS) throw new Error("the segments are still not compressed")
    await setTimeout(25)
    most = memory(daemon.pid)
    anonymous = Math.max(anonymous, most.anonymous)
  }
  const seconds = (performance.now() - startMs) / 1_000
  most = memory(daemon.pid)
  await daemon.end()
  clear(home)
  return { peak: most.peak, anonymous, seconds }
}
const count = (directory: string, suffix: string): number =>
  readdirSync(directory, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(suffix)).length
const twinsIn = (directory: string): number => count(directory, ".gz")
const temporariesIn = (directory: string): number => count(directory, ".tmp")

export const memoryBench: Bench = {
  name: "memory",
  about: "the daemon's largest RSS while it compresses, with 1 and 4 workers",
  run: async (ground) => {
    const rows: Array<Row> = []
    for (const workers of WORKERS) {
      const runs: Array<Peak> = []
      for (let run = 0; run < RUNS; run += 1) runs.push(await compressing(ground, workers))
      rows.push({
        case: `${workers} worker${workers === 1 ? "" : "s"}`,
        cells: {
          "largest RSS": samplesOf(
            "MiB",
            0,
            runs.map(({ peak }) => peak),
          ),
          "largest anonymous part": samplesOf(
            "MiB",
            0,
            runs.map(({ anonymous }) => anonymous),
          ),
          took: samplesOf(
            "s",
            1,
            runs.map(({ seconds }) => seconds),
          ),
        },
      })
    }
    return [
      {
        title: "Memory while compressing",
        notes: [
          `${RUNS} runs: the bundle is started beside ${LOGS} logs with ${SEGMENTS} segments of 10 MiB each, and compresses all ${LOGS * SEGMENTS}. The RSS is the kernel's high-water mark, the start included; the anonymous part is looked at every 25 ms.`,
        ],
        rows,
      },
    ]
  },
}
