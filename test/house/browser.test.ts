// Holds that core, with all it brings along, runs in a browser.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, test } from "vitest"
import { evaluateBare } from "./browser.ts"
import { repositoryRoot } from "./tree.ts"

test("core runs where there is nothing but the language", async () => {
  const core = join(repositoryRoot, "packages/core/src/index.ts")
  expect(await evaluateBare(core, `cordwood.parseDuration("1h30m")`)).toEqual({ ok: true, value: 5_400_000 })
})

test("a module that needs Node is found, whether it imports it or takes it from the air", async () => {
  const folder = mkdtempSync(join(tmpdir(), "cordwood-browser-"))
  try {
    const outcome = async (code: string): Promise<unknown> => {
      writeFileSync(join(folder, "index.js"), code)
      return evaluateBare(join(folder, "index.js"), "cordwood.a").catch((error: Error) => error.message)
    }
    expect({
      fine: await outcome(`export const a = 1`),
      global: await outcome(`export const a = process.pid`),
      builtin: await outcome(`import { sep } from "node:path"\nexport const a = sep`),
    }).toEqual({
      fine: 1,
      global: "process is not defined",
      builtin: expect.stringContaining("node:path"),
    })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
