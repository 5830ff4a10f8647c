/** What very many names like segments in one log's directory cost, and what they cost other logs. */
import { mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout } from "node:timers/promises"
import type { Bench, Ground } from "./benchmark.ts"
import { startDaemon } from "./load/daemon.ts"
import type { Held } from "./load/held.ts"
import { startWriter } from "./load/writers.ts"
import { cpuSeconds, memory } from "./measure/process-cost.ts"
import { type Row, samplesOf } from "./measure/report.ts"

const MB = 1e6
const NAMES = [5, 20_000, 100_000]
const MAX_SIZE_BYTES = 2 ** 20
/** Of the log with the names and of the other one. */
const BYTES_PER_SECOND = MB / 4
/** While most of the names are there still. */
const SECONDS = 30
const DONE_WITHIN_MS = 2 * 60_000
/** A rotated file of the writer's may be left beside those that maxFiles allows. */
const FEW = 10
const LONG_AGO_S = 3_600

const stampOf = (second: number): string =>
  new Date(Date.UTC(2020, 0, 1) + second * 1_000).toISOString().slice(0, 19).replaceAll(/[-:]/g, "").replace("T", "-")

/** Plain segments of a line each. */
const fill = (directory: string, names: number): void => {
  const then = Date.now() / 1_000 - LONG_AGO_S
  for (let n = 0; n < names; n += 1) {
    const segment = join(directory, `0.log.${stampOf(n)}`)
    writeFileSync(segment, "ready\n")
    utimesSync(segment, then, then)
  }
}

const row = async ({ bundle, children, clear, corpus, directory, say }: Ground, names: number): Promise<Row> => {
  say(`${names} names`)
  const home = directory("names")
  const [many, other] = [join(home, "many"), join(home, "other")]
  for (const container of [many, other]) mkdirSync(container)
  fill(many, names)
  const logs = [join(many, "0.log"), join(other, "0.log")]
  const pidFile = join(home, "pid")
  const writer = await startWriter(children, {
    logs,
    pidFile,
    lines: corpus(),
    linesBytes: 16 * MB,
    bytesPerSecond: BYTES_PER_SECOND,
    seconds: SECONDS,
    bytesPerLog: SECONDS * BYTES_PER_SECOND,
  })
  const policy = { maxSize: MAX_SIZE_BYTES }
  const startMs = performance.now()
  const said = join(home, "held")
  const daemon = startDaemon(children, { bundle, home, include: logs, pidFile, policy, heldSays: said })
  const writing = writer.write()
  let left = names
  while (left > FEW && performance.now() - startMs < DONE_WITHIN_MS) {
    await setTimeout(250)
    left = readdirSync(many).filter((name) => name.startsWith("0.log.2020")).length
  }
  const seconds = (performance.now() - startMs) / 1_000
  const cpu = cpuSeconds(daemon.pid)
  const { files } = await writing
  const { peak } = memory(daemon.pid)
  await daemon.end()
  await writer.end()
  const { longestCpuMs, longestMs } = JSON.parse(readFileSync(said, "utf8")) as Held
  clear(home)
  // Those at the end were not cut.
  const cut = files.slice(0, -logs.length)
  const late = (log: string | undefined): ReadonlyArray<number> =>
    cut.filter((file) => file.log === log).map(({ bytes }) => Math.max(0, bytes - MAX_SIZE_BYTES) / BYTES_PER_SECOND)
  const lateness = (log: string | undefined) => samplesOf("s", 1, late(log))
  return {
    case: `${names.toLocaleString("en")} names`,
    cells: {
      removed: samplesOf("", 0, [names - left]),
      took: samplesOf("s", 0, [seconds]),
      CPU: samplesOf("s", 1, [cpu]),
      "largest RSS": samplesOf("MiB", 0, [peak]),
      "event loop held": samplesOf("ms", 0, [longestMs]),
      "of it on a CPU": samplesOf("ms", 0, [longestCpuMs]),
      "other log cut late by": lateness(logs[1]),
      "that log cut late by": lateness(logs[0]),
    },
  }
}

export const names: Bench = {
  name: "names",
  about: "a log with very many segments: what they cost, and how late logs are rotated meanwhile",
  run: async (ground) => {
    const rows: Array<Row> = []
    for (const count of NAMES) rows.push(await row(ground, count))
    return [
      {
        title: "Very many segments of one log",
        notes: [
          `The bundle with its defaults (maxFiles 5) but maxSize 1Mi, begun beside plain segments of a few bytes, all but the newest of which go, each synced and recorded by itself; watched for ${DONE_WITHIN_MS / 60_000} minutes at the most.`,
          `For the first ${SECONDS} s a writer writes ${BYTES_PER_SECOND / 1_000} kB/s to this log and to another. How late each was cut is what a file held beyond maxSize by that rate: the median of the files, the least and the most.`,
          "The event loop is held by whatever keeps a timer of 5 ms from its turn, at most; what the thread did on a processor meanwhile, at most, is its own work. Loading the program is in both.",
        ],
        rows,
      },
    ]
  },
}
