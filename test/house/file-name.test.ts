// Holds that no file is a drawer for anything.
import { expect, test } from "vitest"
import { vagueNames } from "./file-name.ts"
import { readTree } from "./tree.ts"

const file = (path: string) => ({ path, text: "" })

test("no file or folder is named utils, helpers, common or types", () => {
  expect(vagueNames(readTree())).toEqual([])
})

test("a drawer is found by whatever ending and in whatever folder, and a word that only contains one is left alone", () => {
  const drawers = [
    "packages/core/src/utils.ts",
    "test/helpers/pod.ts",
    "packages/agent/src/cri-types.ts",
    "bench/Common.ts",
  ]
  const fine = ["packages/core/src/plan/step.ts", "packages/agent/src/prototypes.ts", "README.md"]
  expect(vagueNames([...drawers, ...fine].map(file))).toEqual(
    drawers.map((path) => `${path} is not named for what it holds`),
  )
})
