// Holds that versions are exact and in step.
import { expect, test } from "vitest"
import { manifestFaults } from "./manifest.ts"
import { readTree } from "./tree.ts"

const manifest = (path: string, content: object) => ({ path, text: JSON.stringify(content) })

test("every version is exact, the same everywhere, and effect's packages are in step", () => {
  const files = readTree()
  expect(files.filter(({ path }) => path.endsWith("package.json")).length).toBeGreaterThan(5)
  expect(manifestFaults(files)).toEqual([])
})

test("a range, a second version, a stale own version and a platform out of step are found", () => {
  const files = [
    manifest("package.json", {
      name: "root",
      version: "0.0.0",
      devDependencies: { effect: "4.1.0", turbo: "^2.11.9", vitest: "latest" },
    }),
    manifest("packages/core/package.json", {
      name: "@cordwood/core",
      version: "0.2.0",
      dependencies: { effect: "4.1.1", zod: "~4.6.7" },
    }),
    manifest("packages/agent/package.json", {
      name: "@cordwood/agent",
      version: "0.2.0",
      dependencies: { "@cordwood/core": "0.1.0", "@effect/platform-node": "4.0.9" },
      optionalDependencies: { fsevents: "*" },
      peerDependencies: { zod: ">=4 <5" },
    }),
  ]
  expect(manifestFaults(files)).toEqual([
    "package.json: turbo is ^2.11.9, not an exact version",
    "package.json: vitest is latest, not an exact version",
    "packages/core/package.json: effect is 4.1.1, but 4.1.0 in package.json",
    "packages/core/package.json: zod is ~4.6.7, not an exact version",
    "packages/agent/package.json: @cordwood/core is 0.1.0, but the one here is 0.2.0",
    "packages/agent/package.json: fsevents is *, not an exact version",
    "packages/agent/package.json: @effect/platform-node is 4.0.9, but effect is 4.1.0",
  ])
})
