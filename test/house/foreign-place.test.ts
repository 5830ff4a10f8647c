// Holds that a clone works on any machine and with any mirror of the registry.
import { expect, test } from "vitest"
import { foreignPlaces } from "./foreign-place.ts"
import { readTree } from "./tree.ts"

test("nothing names a folder of the machine it was written on, nor a package registry", () => {
  const files = readTree()
  expect(files.map(({ path }) => path)).toContain("package-lock.json")
  expect(foreignPlaces(files)).toEqual([])
})

test("such names are found in code and in a lockfile; folders of the repository and relative paths are left alone", () => {
  const host = ["registry", "npmjs", "org"].join(".")
  const files = [
    {
      path: "a.ts",
      text: `const a = "/${"work"}/main"\nconst b = "./work/main"\nconst c = "https://example.org/work/1"`,
    },
    {
      path: "package-lock.json",
      text: `"resolved": "https://${host}/zod"\n"resolved": "http://my.${"registry"}.local/zod"`,
    },
    { path: "b.md", text: `/${"root"}/notes\nthe registry\n/var/log/pods` },
  ]
  expect(foreignPlaces(files)).toEqual([
    `a.ts:1 names /${"work"}/`,
    `package-lock.json:1 names ${["registry", "npmjs"].join(".")}`,
    `package-lock.json:1 names https://${"registry"}`,
    `package-lock.json:2 names http://my.${"registry"}`,
    `b.md:1 names /${"root"}/`,
  ])
})
