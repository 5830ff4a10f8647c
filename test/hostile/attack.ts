/**
 * `npm run attack -- --times 1000000`: races the agent as often as wanted, shows how far it is, and ends with 1 if anything came to harm. `--seed`
 * tries the same tricks again (not the same races: those are the scheduler's), `--on` names another file system's directory.
 */
import { mkdtempSync, realpathSync, rmSync } from "node:fs"
import { join, resolve } from "node:path"
import { parseArgs } from "node:util"
import { NEIGHBOUR, type Progress, quickDirectory, race } from "./race.ts"

const WRONG_USAGE = 64
const SHOW_EVERY_MS = 5_000

const numberOf = (text: string): number | null => (/^[1-9]\d{0,11}$/.test(text) ? Number(text) : null)
const { values } = parseArgs({
  options: {
    times: { type: "string", default: "1000000" },
    seed: { type: "string", default: String((Date.now() % 2 ** 31) + 1) },
    on: { type: "string" },
  },
})
const times = numberOf(values.times)
const seed = numberOf(values.seed)
if (times === null || seed === null) {
  process.stderr.write("usage: npm run attack -- [--times 1000000] [--seed N] [--on DIRECTORY]\n")
  process.exit(WRONG_USAGE)
}

const grouped = (count: number): string => count.toLocaleString("en")
const started = performance.now()
const seconds = (): string => `${Math.round((performance.now() - started) / 1_000)} s`
let shownMs = 0
const show = ({ acts, changes, passes, racedActs, races, records }: Progress): void => {
  if (performance.now() - shownMs < SHOW_EVERY_MS) return
  shownMs = performance.now()
  process.stdout.write(
    `${seconds()}: ${grouped(races)} of ${grouped(times)} races (${grouped(changes)} changes); ${grouped(racedActs)} of ${grouped(acts)} acts raced; ${grouped(passes)} passes, ${grouped(records)} records\n`,
  )
}

const root = values.on === undefined ? quickDirectory() : realpathSync(mkdtempSync(join(resolve(values.on), "race-")))
const as = NEIGHBOUR === null ? "the same user" : `user ${NEIGHBOUR}, the agent as root`
process.stdout.write(`seed ${seed}, in ${root}, the neighbour as ${as}\n`)
const outcome = await race({ root, times, limitMs: Infinity, seed, user: NEIGHBOUR, progress: show })
const byCount = (counts: Readonly<Record<string, number>>): string =>
  Object.entries(counts)
    .toSorted(([, a], [, b]) => b - a)
    .map(([what, count]) => `${grouped(count).padStart(12)} ${what}`)
    .join("\n")
const { harm, leaks, losses } = outcome
shownMs = 0
show(outcome)
process.stdout.write(
  `\nthe neighbour's tricks\n${byCount(outcome.tricks)}\n\nthe agent's acts\n${byCount(outcome.ends)}\n\n`,
)
const bad = [
  ...harm.map((text) => `HARM ${text}`),
  ...leaks.map((text) => `LEAK ${text}`),
  ...losses.map((text) => `LOSS ${text}`),
]
if (bad.length === 0) {
  process.stdout.write(
    `Nothing outside was written, opened as a pipe, read or removed; every one of ${grouped(outcome.records)} records is there just once or was shipped.\n`,
  )
  rmSync(root, { recursive: true, force: true })
} else {
  process.stdout.write(`${bad.join("\n")}\nAll of it is left in ${root}; the seed was ${seed}.\n`)
  process.exitCode = 1
}
