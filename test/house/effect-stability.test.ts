// Holds that core uses only what effect itself calls stable.
import { expect, test } from "vitest"
import { unstableEffect } from "./effect-stability.ts"
import { readTree } from "./tree.ts"

test("core uses stable modules and members of effect only", () => {
  const files = readTree().filter(({ path }) => path.startsWith("packages/core/src/") && path.endsWith(".ts"))
  expect(files.filter(({ text }) => text.includes(`from "effect"`)).length).toBeGreaterThan(0)
  expect(files.flatMap(unstableEffect)).toEqual([])
})

test("a module or a barrel that is not stable is found, a stable one is not", () => {
  const text = [
    `import { Effect, FileSystem, Path as Way, pipe, type Terminal } from "effect"`,
    `import { layer } from "effect/Path"`,
    `import * as Stream from "effect/Stream"`,
    `import { TestClock, TestConsole } from "effect/testing"`,
    `import { HttpClient } from "effect/http"`,
    `import * as All from "effect"`,
    `const one = Effect.succeed(1)`,
  ].join("\n")
  expect(unstableEffect({ path: "a.ts", text })).toEqual([
    "a.ts uses effect FileSystem, which effect tags as unstable",
    "a.ts uses effect Path, which effect tags as unstable",
    "a.ts uses effect Terminal, which effect tags as unstable",
    "a.ts uses effect/Path layer, which effect tags as unstable",
    "a.ts uses effect/testing TestConsole, which effect tags as unstable",
    "a.ts uses effect/http HttpClient, which effect tags as unstable",
    "a.ts uses effect *, which effect tags as nothing that can be told",
  ])
})

test("an unstable member of a stable module is found", () => {
  const text = [
    `import { Effect } from "effect"`,
    `import { Stream as S, type Schema } from "effect"`,
    `const one = Effect.withErrorReporting(Effect.gen(function* () {}))`,
    `const two = S.limitBytes`,
    `const three = S.catch`,
  ].join("\n")
  expect(unstableEffect({ path: "a.ts", text })).toEqual([
    "a.ts uses Effect.withErrorReporting, which effect tags as unstable",
    "a.ts uses S.limitBytes, which effect tags as unstable",
  ])
})
