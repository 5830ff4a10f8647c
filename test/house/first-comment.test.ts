// Holds that every module says first what it is.
import { expect, test } from "vitest"
import { uncommentedModules } from "./first-comment.ts"
import { readTree } from "./tree.ts"

test("every module of a package begins with a comment", () => {
  const modules = readTree().filter(({ path }) => /^packages\/.*\/src\/.*\.ts$/.test(path))
  expect(modules.length).toBeGreaterThan(0)
  expect(uncommentedModules(modules)).toEqual([])
})

test("a module that begins with code is found; a #! line before the comment is not code", () => {
  const modules = [
    { path: "a.ts", text: `import "./b.ts"\n// Too late.\n` },
    { path: "b.ts", text: `/** What it is. */\nexport const b = 1\n` },
    { path: "c.ts", text: `#!/usr/bin/env node\n// What it is.\nimport "./b.ts"\n` },
    { path: "d.ts", text: `#!/usr/bin/env node\nimport "./b.ts"\n` },
    { path: "e.ts", text: `` },
  ]
  expect(uncommentedModules(modules)).toEqual(
    ["a.ts", "d.ts", "e.ts"].map((path) => `${path} does not begin with a comment`),
  )
})
