// Holds that arrows point inward only.
import { expect, test } from "vitest"
import { wrongArrows } from "./arrows.ts"
import { readTree } from "./tree.ts"

const manifest = (path: string, name: string, dependencies: Record<string, string> = {}) => ({
  path: `${path}/package.json`,
  text: JSON.stringify({ name, dependencies }),
})

test("no package imports what lies further out, and core imports nobody", () => {
  const files = readTree()
  expect(files.filter(({ path }) => path.startsWith("packages/core/src/")).length).toBeGreaterThan(0)
  expect(wrongArrows(files)).toEqual([])
})

test("core may import neither node: nor a sibling nor a package beside effect and zod, in whatever form it is written", () => {
  const text = [
    `// import { example } from "node:os" in a comment is no import`,
    `import { readFileSync } from "node:fs"`,
    `export { rename } from "node:fs/promises"`,
    `const path = await import("node:path")`,
    `type Server = import("node:http").Server`,
    `import { gzip } from "@cordwood/plugin-gzip"`,
    `import yaml from "yaml"`,
    `import { run } from "../../agent/src/index.ts"`,
    `import { world } from "../test/world.ts"`,
    `import * as z from "zod/mini"`,
    `import { Effect } from "effect"`,
    `import { plan } from "./plan.ts"`,
  ].join("\n")
  const files = [
    manifest("packages/core", "@cordwood/core", { effect: "4.1.0", zod: "4.6.7" }),
    { path: "packages/core/src/a.ts", text },
  ]
  expect(wrongArrows(files).toSorted()).toEqual([
    "packages/core/src/a.ts imports ../../agent/src/index.ts, which leaves its package",
    "packages/core/src/a.ts imports ../test/world.ts, which is not published with it",
    "packages/core/src/a.ts imports @cordwood/plugin-gzip, which points outward",
    "packages/core/src/a.ts imports node:fs/promises; only effect and zod may be imported there",
    "packages/core/src/a.ts imports node:fs; only effect and zod may be imported there",
    "packages/core/src/a.ts imports node:http; only effect and zod may be imported there",
    "packages/core/src/a.ts imports node:path; only effect and zod may be imported there",
    "packages/core/src/a.ts imports yaml; only effect and zod may be imported there",
  ])
})

test("a plugin may import core, not the agent, not the adapter, not another plugin, and nothing undeclared", () => {
  const text = [
    `import { codec } from "@cordwood/core"`,
    `import { Agent } from "@cordwood/agent"`,
    `import { diskLogFiles } from "@cordwood/fs-adapter"`,
    `import { gzip } from "@cordwood/plugin-gzip"`,
    `import { createZstdCompress } from "node:zlib"`,
    `import pico from "picocolors"`,
  ].join("\n")
  const files = [
    manifest("packages/plugins/zstd", "@cordwood/plugin-zstd", {
      "@cordwood/core": "0.1.0",
      "@cordwood/agent": "0.1.0",
    }),
    { path: "packages/plugins/zstd/src/index.ts", text },
  ]
  expect(wrongArrows(files)).toEqual([
    "packages/plugins/zstd/package.json depends on @cordwood/agent, which points outward",
    "packages/plugins/zstd/src/index.ts imports @cordwood/agent, which points outward",
    "packages/plugins/zstd/src/index.ts imports @cordwood/fs-adapter, which points outward",
    "packages/plugins/zstd/src/index.ts imports @cordwood/plugin-gzip, which points outward",
    "packages/plugins/zstd/src/index.ts imports picocolors, which packages/plugins/zstd/package.json does not declare",
  ])
})

test("the adapter may import core only, in its tests too", () => {
  const files = [
    manifest("packages/fs-adapter", "@cordwood/fs-adapter", { "@cordwood/core": "0.1.0" }),
    {
      path: "packages/fs-adapter/test/a.test.ts",
      text: `import { Agent } from "@cordwood/agent"\nimport { log } from "@cordwood/core/testing"`,
    },
  ]
  expect(wrongArrows(files)).toEqual([
    "packages/fs-adapter/test/a.test.ts imports @cordwood/agent, which points outward",
  ])
})
