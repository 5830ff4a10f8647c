/** How the property tests of this folder run. A seed is new every time and printed when a property fails; `CORDWOOD_SEED=…` tries it again. */
import type { Parameters } from "fast-check"

const given = process.env["CORDWOOD_SEED"]

export const runs = <T>(numRuns = 1_000): Parameters<T> => ({
  numRuns,
  seed: given === undefined ? Date.now() % 2 ** 31 : Number(given),
})
