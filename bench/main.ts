/**
 * The benchmarks: `npm run bench`, or `npm run bench -- cost idle`. Tables on standard output; `--json` makes that NDJSON, `--markdown` the tables
 * of a README; `--bundle` measures another build than this repository's, but for what runs in process. Everything lies in one temporary directory (TMPDIR says where), which is removed in the end, whatever happens.
 */
import { mkdirSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { parseArgs } from "node:util"
import type { Bench, Ground } from "./src/benchmark.ts"
import { corpus } from "./src/corpus.ts"
import { codecs } from "./src/codecs.ts"
import { cost } from "./src/cost.ts"
import { idle } from "./src/idle.ts"
import { latency } from "./src/latency.ts"
import { makeChildren } from "./src/load/children.ts"
import { BUNDLE, demandBundle } from "./src/load/daemon.ts"
import { machine, machineLine } from "./src/measure/machine.ts"
import { asJsonLines, asMarkdown, asTable } from "./src/measure/report.ts"
import { memoryBench } from "./src/memory.ts"
import { names } from "./src/names.ts"
import { overshoot } from "./src/overshoot.ts"
import { shipping } from "./src/shipping.ts"
import { start } from "./src/start.ts"
import { tracing } from "./src/tracing.ts"

const ALL: ReadonlyArray<Bench> = [start, idle, cost, codecs, memoryBench, latency, overshoot, names, shipping, tracing]
const CORPUS_BYTES = 128e6
const SEED = 1
const WRONG_USAGE = 64

const usage = (): string =>
  [
    "usage: npm run bench -- [--json | --markdown] [--bundle cordwood.js] [name …]",
    ...ALL.map(({ about, name }) => `  ${name.padEnd(10)} ${about}`),
  ].join("\n")

interface Asked {
  readonly benches: ReadonlyArray<Bench>
  readonly format: "table" | "json" | "markdown"
  readonly bundle: string
}

const makeGround = (root: string, bundle: string): Ground => {
  const path = join(root, "corpus.log")
  let made = false
  return {
    bundle,
    children: makeChildren(),
    directory: (name) => {
      const directory = join(root, name)
      mkdirSync(directory, { recursive: true })
      return directory
    },
    clear: (directory) => rmSync(directory, { recursive: true, force: true }),
    corpus: () => {
      if (made) return path
      const descriptor = openSync(path, "w")
      for (const chunk of corpus({ seed: SEED, bytes: CORPUS_BYTES })) writeSync(descriptor, chunk)
      made = true
      return path
    },
    get corpusBytes() {
      return made ? statSync(path).size : CORPUS_BYTES
    },
    say: (text) => process.stderr.write(`… ${text}\n`),
  }
}

const run = async ({ benches, bundle, format }: Asked): Promise<void> => {
  demandBundle(bundle)
  const root = mkdtempSync(join(tmpdir(), "cordwood-bench-"))
  const ground = makeGround(root, bundle)
  process.on("exit", () => {
    ground.children.killAll()
    rmSync(root, { recursive: true, force: true, maxRetries: 3 })
  })
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => process.exit(1))
  const here = machine(root)
  const line = machineLine(here)
  console.log(
    format === "json"
      ? JSON.stringify({ machine: here })
      : format === "markdown"
        ? `Measured on: ${line}.\n`
        : `${line}\n`,
  )
  for (const bench of benches) {
    ground.say(bench.name)
    for (const report of await bench.run(ground)) {
      if (format === "json") for (const text of asJsonLines(bench.name, report)) console.log(text)
      else console.log(format === "markdown" ? asMarkdown(report) : asTable(report))
    }
  }
}

const read = (): Asked | string => {
  try {
    const { positionals, values } = parseArgs({
      allowPositionals: true,
      options: {
        json: { type: "boolean" },
        markdown: { type: "boolean" },
        bundle: { type: "string" },
        help: { type: "boolean", short: "h" },
      },
    })
    if (values.help === true) return usage()
    const benches = ALL.filter(({ name }) => positionals.length === 0 || positionals.includes(name))
    const unknown = positionals.filter((name) => ALL.every((bench) => bench.name !== name))
    if (unknown.length > 0) return `there is no benchmark ${unknown.join(", ")}\n${usage()}`
    const format = values.json === true ? "json" : values.markdown === true ? "markdown" : "table"
    return { benches, format, bundle: values.bundle === undefined ? BUNDLE : resolve(values.bundle) }
  } catch (error) {
    return `${error instanceof Error ? error.message : String(error)}\n${usage()}`
  }
}

const asked = read()
if (typeof asked === "string") {
  const wanted = asked === usage()
  process[wanted ? "stdout" : "stderr"].write(`${asked}\n`)
  process.exit(wanted ? 0 : WRONG_USAGE)
}
await run(asked)
process.exit()
