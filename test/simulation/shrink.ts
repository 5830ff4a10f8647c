/** Makes a failing scenario smaller while it still fails in the same way. Knows the form of scenarios, and nothing of what they break. */
import { type Outcome, run, type RunOptions } from "./run.ts"
import type { Scenario } from "./scenario.ts"

/** Scenarios that are tried at the most: a few seconds' worth. */
const MOST_TRIES = 400

export interface Shrunk {
  readonly scenario: Scenario
  readonly outcome: Outcome
  readonly tries: number
}

export const shrink = async (scenario: Scenario, outcome: Outcome, options: RunOptions = {}): Promise<Shrunk> => {
  const guarantee = outcome.violation?.guarantee
  let best = { scenario, outcome }
  let tries = 0
  /** Takes the scenario in place of the best one so far if it fails in the same way. */
  const keeps = async (candidate: Scenario): Promise<boolean> => {
    if (tries >= MOST_TRIES) return false
    tries += 1
    const found = await run(candidate, options)
    if (found.violation?.guarantee !== guarantee) return false
    best = { scenario: candidate, outcome: found }
    return true
  }
  for (let smaller = true; smaller && tries < MOST_TRIES;) {
    smaller = false
    // Halves first, then quarters …, then one by one.
    for (let share = Math.ceil(best.scenario.happenings.length / 2); share >= 1; share = Math.floor(share / 2)) {
      for (let from = 0; from < best.scenario.happenings.length;) {
        const { happenings } = best.scenario
        const rest = [...happenings.slice(0, from), ...happenings.slice(from + share)]
        if (await keeps({ ...best.scenario, happenings: rest })) smaller = true
        else from += share
      }
    }
    for (const change of simplifications(best.scenario)) {
      if (await keeps({ ...best.scenario, ...change })) smaller = true
    }
  }
  return { ...best, tries }
}

/** Changes that leave less to look at, each by itself. */
const simplifications = (scenario: Scenario): ReadonlyArray<Partial<Scenario>> => {
  const { containers, durationMs, happenings, mode, policy, shipping, slowestMs, workers } = scenario
  const { maxTotal, pressure, ...alone } = policy
  const last = happenings.at(-1)?.atMs ?? 0
  const ends = [last + 1_000, last + 4_000, Math.floor(durationMs / 2)].filter((ms) => ms < durationMs && ms > last)
  return [
    ...containers.flatMap((container) =>
      containers.length > 1 ? [{ containers: containers.filter((other) => other !== container) }] : [],
    ),
    ...ends.map((ms) => ({ durationMs: ms })),
    ...(slowestMs > 0 ? [{ slowestMs: 0 }] : []),
    ...(shipping === null
      ? []
      : [
          { shipping: null },
          ...(shipping.limitMs === null ? [] : [{ shipping: { ...shipping, limitMs: null } }]),
          ...(shipping.partSize === null ? [] : [{ shipping: { ...shipping, partSize: null } }]),
          ...(shipping.compresses ? [{ shipping: { ...shipping, compresses: false } }] : []),
          ...(shipping.hides ? [{ shipping: { ...shipping, hides: false } }] : []),
          ...(shipping.keeps === "checksums" ? [] : [{ shipping: { ...shipping, keeps: "checksums" as const } }]),
        ]),
    ...(mode === "once" ? [{ mode: "run" as const }] : []),
    ...(workers > 1 ? [{ workers: 1 }] : []),
    ...(scenario.capacityBytes === null ? [] : [{ capacityBytes: null }]),
    ...(scenario.isOnePod ? [{ isOnePod: false }] : []),
    ...(scenario.forgets ? [{ forgets: false }] : []),
    ...(maxTotal === undefined ? [] : [{ policy: { ...alone, ...(pressure === undefined ? {} : { pressure }) } }]),
    ...(pressure === undefined ? [] : [{ policy: { ...alone, ...(maxTotal === undefined ? {} : { maxTotal }) } }]),
    ...(policy.compression === "none" ? [] : [{ policy: { ...policy, compression: "none" as const } }]),
    ...containers.flatMap((container, at) => {
      const simpler = [
        ...(container.reopens === "late" ? [{ ...container, reopens: "prompt" as const }] : []),
        ...(container.speeds.length > 1 ? [{ ...container, speeds: container.speeds.slice(0, -1) }] : []),
        ...(container.speeds.some(({ records }) => records > 0) ? [{ ...container, speeds: SILENT }] : []),
      ]
      return simpler.map((one) => ({ containers: containers.map((other, index) => (index === at ? one : other)) }))
    }),
  ]
}
const SILENT = [{ fromMs: 0, everyMs: 60_000, records: 0 }]
