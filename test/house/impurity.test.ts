// Holds that core reads no clock, no chance and no environment.
import { expect, test } from "vitest"
import { impurities } from "./impurity.ts"
import { readTree } from "./tree.ts"

test("core reads no clock, no chance and no environment", () => {
  const files = readTree().filter(({ path }) => path.startsWith("packages/core/src/") && path.endsWith(".ts"))
  expect(files.length).toBeGreaterThan(0)
  expect(files.flatMap(impurities)).toEqual([])
})

test("a clock, chance and the environment are found; a date made from a stamp is none of them", () => {
  const text = `const a = [Date.now(), new Date(), Math.random(), process.env["A"], new Date(0), Math.max(1, 2)] // Date.now`
  expect(impurities({ path: "a.ts", text })).toEqual([
    "a.ts mentions Date.now; only the edges may",
    "a.ts mentions Math.random; only the edges may",
    "a.ts mentions process.env; only the edges may",
    "a.ts mentions new Date(); only the edges may",
  ])
})
