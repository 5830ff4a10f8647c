/**
 * What it costs to choose what goes, when a disk is full or pods are beyond their budgets: by logs, with few segments to go and with nearly all.
 * Run: `node --conditions=cordwood-source bench/src/shedding.ts`. Takes the least of several runs, as whatever else the machine does only ever adds.
 */
import { type Holding, overBudget, sharesOf, underPressure } from "@cordwood/core"

const RUNS = 20
const SEGMENTS = 5
const MIB = 1024 * 1024

const holdings = (logs: number, budget: number): ReadonlyArray<Holding> =>
  Array.from({ length: logs }, (_, at) => {
    const path = `/var/log/pods/ns_pod-${at >> 1}_uid-${at >> 1}/container-${at & 1}/0.log`
    return {
      path,
      ...sharesOf({ path }),
      writer: "running",
      fixedBytes: MIB,
      fixedFiles: 1,
      segments: Array.from({ length: SEGMENTS }, (_, age) => ({
        stamp: `20260909-0${age}${String(at % 10_000).padStart(4, "0")}`,
        bytes: MIB + ((at * 7_919 + age * 104_729) % MIB),
        cleared: (at + age) % 2 === 0,
        kept: false,
      })),
      maxTotal: { container: budget, pod: budget * 2 },
    }
  })

const leastMs = (work: () => number): { readonly ms: number; readonly count: number } => {
  let ms = Infinity
  let count = 0
  for (let run = 0; run < RUNS; run += 1) {
    const startedMs = performance.now()
    count = work()
    ms = Math.min(ms, performance.now() - startedMs)
  }
  return { ms, count }
}

for (const logs of [100, 1_000, 10_000]) {
  const all = holdings(logs, 4 * MIB)
  for (const [what, work] of [
    ["pressure, 100 MiB", () => underPressure(all, 100 * MIB, 2).sheds.length],
    ["pressure, all", () => underPressure(all, Infinity, 2).sheds.length],
    ["budgets, all pods", () => overBudget(all).length],
  ] as const) {
    const { count, ms } = leastMs(work)
    console.log(
      [
        `${logs}`.padStart(6),
        "logs",
        what.padEnd(18),
        `${count}`.padStart(6),
        "go",
        ms.toFixed(2).padStart(8),
        "ms",
      ].join(" "),
    )
  }
}
