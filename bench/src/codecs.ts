/** CPU, ratio and memory of the codecs, each through the agent's own way of compressing a segment; and of the commands, on the same file. */
import { execFile, spawnSync } from "node:child_process"
import { appendFileSync, copyFileSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import type { Bench, Ground } from "./benchmark.ts"
import type { CodecName, Compressed } from "./load/compressor.ts"
import { costOf } from "./measure/process-cost.ts"
import { type Cell, type Row, samplesOf } from "./measure/report.ts"

const RUNS = 3
const GB = 1e9
const MB = 1e6
const GIB = 2 ** 30
/** As a rotation names it. */
const SEGMENT = "0.log.20260101-000000"
const COMPRESSOR = fileURLToPath(new URL("load/compressor.ts", import.meta.url))

const OURS: ReadonlyArray<CodecName> = ["zstd 1", "zstd 3", "gzip"]
const LARGE: ReadonlyArray<CodecName> = ["zstd 1", "zstd 1, 4 workers", "gzip"]
/** One thread each: `zstd` would otherwise read in one and compress in another. */
const COMMANDS: ReadonlyArray<ReadonlyArray<string>> = [
  ["gzip", "-6"],
  ["gzip", "-1"],
  ["zstd", "-1", "--single-thread"],
  ["zstd", "-3", "--single-thread"],
]
const isThere = (command: string): boolean => spawnSync(command, ["--version"]).error === undefined

const compressed = async (segment: string, codec: CodecName): Promise<Compressed> => {
  const { stdout } = await promisify(execFile)(process.execPath, [...process.execArgv, COMPRESSOR, segment, codec])
  return JSON.parse(stdout) as Compressed
}

/** A fresh segment for each: the twin would be in the way. */
const run = async ({ clear, corpus, directory }: Ground, codec: CodecName): Promise<Compressed> => {
  const home = directory("codecs")
  const segment = join(home, SEGMENT)
  copyFileSync(corpus(), segment)
  const result = await compressed(segment, codec)
  clear(home)
  return result
}

interface Command {
  readonly cpu: number
  readonly ratio: number
}
const command = async (
  { clear, corpus, corpusBytes, directory }: Ground,
  words: ReadonlyArray<string>,
): Promise<Command> => {
  const home = directory("codecs")
  const packed = join(home, "packed")
  const script = `exec ${words.join(" ")} -c "$1" > "$2"`
  const { cpuMs } = await costOf(["sh", "-c", script, "sh", corpus(), packed])
  const ratio = corpusBytes / statSync(packed).size
  clear(home)
  return { cpu: cpuMs / 1_000 / (corpusBytes / GB), ratio }
}

const row = (title: string, cpu: ReadonlyArray<number>, ratio: ReadonlyArray<number>): Row => ({
  case: title,
  cells: { CPU: samplesOf("s/GB", 1, cpu), ratio: samplesOf("", 2, ratio) },
})

/** The corpus over and over, up to 1 GiB. */
const largeSegment = ({ corpus, corpusBytes, directory }: Ground): string => {
  const segment = join(directory("large"), SEGMENT)
  const lines = readFileSync(corpus())
  for (let bytes = 0; bytes < GIB; bytes += corpusBytes) appendFileSync(segment, lines.subarray(0, GIB - bytes))
  return segment
}

export const codecs: Bench = {
  name: "codecs",
  about: "CPU, ratio and memory of zstd and gzip, as the agent uses them, beside the commands on the same file",
  run: async (ground) => {
    ground.corpus()
    const ours = new Map<CodecName, Array<Compressed>>(OURS.map((name) => [name, []]))
    const commands = COMMANDS.filter(([name = ""]) => isThere(name)).map((words) => ({
      words,
      runs: [] as Array<Command>,
    }))
    // In turns: whatever else the machine does, it does to all of them.
    for (let turn = 0; turn < RUNS; turn += 1) {
      for (const [name, runs] of ours) runs.push(await run(ground, name))
      for (const { runs, words } of commands) runs.push(await command(ground, words))
    }

    ground.say("codecs: a segment of 1 GiB")
    const segment = largeSegment(ground)
    const large: Array<Row> = []
    for (const name of LARGE) {
      const { bytesIn, cpuSeconds, peak, seconds } = await compressed(segment, name)
      ground.clear(`${segment}${name === "gzip" ? ".gz" : ".zst"}`)
      const cells: Readonly<Record<string, Cell>> = {
        "largest RSS": samplesOf("MiB", 0, [peak]),
        took: samplesOf("s", 1, [seconds]),
        CPU: samplesOf("s/GB", 1, [cpuSeconds / (bytesIn / GB)]),
      }
      large.push({ case: name, cells })
    }
    return [
      {
        title: "CPU for each GB compressed, and its ratio",
        notes: [
          `${RUNS} runs, in turns, on the same ${Math.round(ground.corpusBytes / MB)} MB of mixed container logs.`,
          "cordwood: one segment through LogFiles.compress: encoded, synced, read back, decoded and compared, renamed, synced. The commands and the kubelet only compress.",
          "The quoted figures are of another machine and another log, on which the commands cost what stands beside each; the kubelet's are of Go's gzip at its default level.",
          ...COMMANDS.filter(([name = ""]) => !isThere(name)).map((words) => `${words.join(" ")}: not installed here.`),
        ],
        rows: [
          ...[...ours].map(([name, runs]) =>
            row(
              `cordwood, ${name}`,
              runs.map(({ bytesIn, cpuSeconds }) => cpuSeconds / (bytesIn / GB)),
              runs.map(({ bytesIn, bytesOut }) => bytesIn / bytesOut),
            ),
          ),
          ...commands.map(({ runs, words }) =>
            row(
              `${words.slice(0, 2).join(" ")} (the command)`,
              runs.map(({ cpu }) => cpu),
              runs.map(({ ratio }) => ratio),
            ),
          ),
          { case: "kubelet's log manager, quoted", cells: { CPU: "11–15 s/GB", ratio: "7.2" } },
          { case: "kubelet's gzip alone, quoted", cells: { CPU: "9–11 s/GB", ratio: "7.2" } },
          { case: "gzip -6 beside it, quoted", cells: { CPU: "21 s/GB", ratio: "7.4" } },
          { case: "gzip -1 beside it, quoted", cells: { CPU: "11 s/GB", ratio: "5.7" } },
          { case: "zstd -1 beside it, quoted", cells: { CPU: "4–5 s/GB", ratio: "6.9" } },
          { case: "zstd -3 beside it, quoted", cells: { CPU: "6.4 s/GB", ratio: "6.5" } },
        ],
      },
      {
        title: "A segment of 1 GiB",
        notes: [
          "One run each, in a process that does nothing else; unbundled, so that some 40 MiB of the RSS are source texts and what they were loaded with.",
        ],
        rows: large,
      },
    ]
  },
}
