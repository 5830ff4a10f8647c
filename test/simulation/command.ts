/**
 * `npm run simulate`: runs seeds, several at a time, and tells the story of each that fails, shrunk. Exits 1 if one did. Holds the command line only: what
 * is run, judged and told is elsewhere.
 */
import { availableParallelism } from "node:os"
import { parseArgs } from "node:util"
import { mutationRun } from "./mutation-run.ts"
import { failureText, violationText } from "./report.ts"
import { run } from "./run.ts"
import { scenarioOf } from "./scenario.ts"
import { shrink } from "./shrink.ts"
import { runSideBySide, SUBJECTS } from "./side-by-side.ts"

const USAGE = `npm run simulate -- [--seeds N] [--from N] [--seed N] [--subject cordwood|kubelet] [--jobs N] [--failures N] [--bare]
npm run simulate -- --mutations [--only NAME]

  --seeds N      run so many seeds (1000)
  --from N       … beginning with this one; a random one if not given
  --seed N       run this one only, and tell its story
  --subject S    what rotates the logs: cordwood (the whole agent), or kubelet (the kubelet's rules as they are)
  --jobs N       … so many at a time (as many as there are processors)
  --failures N   stop after so many failing seeds (1)
  --bare         of a failing seed, only which one it is, and what it breaks
  --mutations    run the simulation against deliberate bugs, and say which seed catches each
  --only NAME    … only those whose name contains this`

/** Seeds are whole numbers of 32 bits, so that they are short to type. */
const SEEDS = 2 ** 31
/** How often progress is told, milliseconds: on a terminal in place, in a pipe as a line. */
const PROGRESS_MS = { terminal: 200, pipe: 10_000 }

class WrongUsage extends Error {}

const wholeNumber = (name: string, value: string | undefined, otherwise: number): number => {
  if (value === undefined) return otherwise
  if (!/^\d{1,10}$/.test(value)) throw new WrongUsage(`--${name} ${value}: a whole number is wanted`)
  return Number(value)
}

const main = async (): Promise<number> => {
  const { values } = parseArgs({
    options: {
      seeds: { type: "string" },
      from: { type: "string" },
      seed: { type: "string" },
      subject: { type: "string" },
      jobs: { type: "string" },
      failures: { type: "string" },
      bare: { type: "boolean" },
      mutations: { type: "boolean" },
      only: { type: "string" },
      help: { type: "boolean", short: "h" },
    },
  })
  if (values.help === true) {
    console.log(USAGE)
    return 0
  }
  if (values.mutations === true) return mutationRun({ only: values.only ?? "" })
  const name = values.subject ?? "cordwood"
  if (name !== "cordwood" && name !== "kubelet") throw new WrongUsage(`--subject ${name}: write cordwood or kubelet`)
  const subject = SUBJECTS[name]
  const single = values.seed !== undefined
  const from = wholeNumber("from", values.seed ?? values.from, Math.floor(Math.random() * SEEDS))
  const seeds = single ? 1 : wholeNumber("seeds", values.seeds, 1_000)
  const jobs = wholeNumber("jobs", values.jobs, availableParallelism())
  if (jobs === 0) throw new WrongUsage("--jobs 0: at least one is wanted")
  const mostFailures = wholeNumber("failures", values.failures, 1)
  const isTerminal = process.stdout.isTTY === true
  const paint = (code: number, text: string): string =>
    isTerminal && (process.env["NO_COLOR"] ?? "") === "" ? `\u001b[${code}m${text}\u001b[0m` : text
  const clear = isTerminal ? "\r\u001b[K" : ""
  const named = values.subject === undefined ? "" : ` --subject ${values.subject}`

  console.log(`${subject.name}: seeds ${from} to ${from + seeds - 1}`)
  const beganMs = performance.now()
  const sum = { operations: 0, rotations: 0, virtualMs: 0 }
  const failing: Array<number> = []
  let toldMs = beganMs
  let done = 0
  for await (const { outcome, seed } of runSideBySide({ from, count: seeds, subject: name, jobs })) {
    done += 1
    sum.operations += outcome.operations
    sum.rotations += outcome.rotations
    sum.virtualMs += outcome.virtualMs
    const nowMs = performance.now()
    if (nowMs - toldMs > (isTerminal ? PROGRESS_MS.terminal : PROGRESS_MS.pipe)) {
      toldMs = nowMs
      const line = `${done} of ${seeds} seeds, ${Math.round((done * 60_000) / (nowMs - beganMs))} a minute`
      process.stdout.write(isTerminal ? `${clear}${line}` : `${line}\n`)
    }
    if (outcome.violation === null) {
      if (single) {
        const { story } = await run(scenarioOf(seed), { subject, tellsStory: true })
        console.log(story.join("\n"))
      }
      continue
    }
    failing.push(seed)
    if (values.bare === true) {
      console.log(`${clear}seed ${seed} fails: ${violationText(outcome.violation)}`)
    } else {
      const scenario = scenarioOf(seed)
      const shrunk = await shrink(scenario, outcome, { subject })
      const told = { ...shrunk, outcome: await run(shrunk.scenario, { subject, tellsStory: true }) }
      const text = failureText(seed, scenario, told, `npm run simulate -- --seed ${seed}${named}`)
      const [headline = "", ...rest] = text.split("\n")
      console.log(`${clear}${paint(31, headline)}\n${rest.join("\n")}\n`)
    }
    if (failing.length >= mostFailures) break
  }
  const seconds = (performance.now() - beganMs) / 1_000
  const hours = (sum.virtualMs / 3_600_000).toFixed(1)
  console.log(
    `${clear}${done} ${done === 1 ? "seed" : "seeds"} in ${seconds.toFixed(1)} s: ${hours} h of virtual time, ${sum.rotations} rotations, ${sum.operations} operations; ${
      failing.length === 0 ? paint(32, "none failed") : paint(31, `failed: ${failing.join(", ")}`)
    }`,
  )
  return failing.length === 0 ? 0 : 1
}

try {
  process.exitCode = await main()
} catch (error) {
  const isUsage = error instanceof WrongUsage || (error instanceof TypeError && "code" in error)
  if (!isUsage) throw error
  console.error(`${(error as Error).message}\n\n${USAGE}`)
  process.exitCode = 64
}
