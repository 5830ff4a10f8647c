/** What it costs to start the bundle. */
import { join } from "node:path"
import type { Bench } from "./benchmark.ts"
import { configure } from "./load/daemon.ts"
import { idleLogs } from "./load/logs.ts"
import { costOf, type Cost } from "./measure/process-cost.ts"
import { type Row, samplesOf } from "./measure/report.ts"

const RUNS = 11

const row = (title: string, costs: ReadonlyArray<Cost>): Row => ({
  case: title,
  cells: {
    CPU: samplesOf(
      "ms",
      0,
      costs.map(({ cpuMs }) => cpuMs),
    ),
    wall: samplesOf(
      "ms",
      0,
      costs.map(({ wallMs }) => wallMs),
    ),
  },
})

export const start: Bench = {
  name: "start",
  about: "CPU and time of the bundle's --help, --version and plan",
  run: async ({ bundle, directory }) => {
    const home = directory("start")
    const config = configure({ home, include: [idleLogs(join(home, "logs"), 10)] })
    const cache = directory("compile-cache")
    const cordwood = [process.execPath, bundle]
    const cases: ReadonlyArray<readonly [string, ReadonlyArray<string>]> = [
      ["node -e 0, for comparison", [process.execPath, "-e", "0"]],
      ["cordwood --version", [...cordwood, "--version"]],
      ["cordwood --help", [...cordwood, "--help"]],
      ["cordwood plan (10 logs)", [...cordwood, "plan", "--config", config]],
    ]
    const rows: Array<Row> = []
    const { NODE_COMPILE_CACHE: _, ...bare } = process.env
    for (const [title, command] of cases) {
      const costs: Array<Cost> = []
      for (let run = 0; run < RUNS; run += 1) costs.push(await costOf(command, bare))
      rows.push(row(title, costs))
    }
    for (const [title, command] of cases.slice(1)) {
      const cached = { ...bare, NODE_COMPILE_CACHE: cache }
      // The first fills the cache.
      await costOf(command, cached)
      const costs: Array<Cost> = []
      for (let run = 0; run < RUNS; run += 1) costs.push(await costOf(command, cached))
      rows.push(row(`${title}, with a warm compile cache`, costs))
    }
    return [
      {
        title: "Starting the bundle",
        notes: [
          `${RUNS} runs each, files in the page cache. CPU is user and system time of the whole process, as wait4(2) has it.`,
          "The compile cache is Node's (NODE_COMPILE_CACHE=<directory>); without it every start compiles anew.",
        ],
        rows,
      },
    ]
  },
}
