// What the README's commands rely on in a clone, before and after a build. Installs nothing.
import { execFileSync, spawnSync } from "node:child_process"
import { join } from "node:path"
import { expect, test } from "vitest"

const ROOT = join(import.meta.dirname, "../..")
const git = (...args: ReadonlyArray<string>): string => execFileSync("git", args, { cwd: ROOT, encoding: "utf8" })

test("the command that npm links is in the clone, and executable, before anything is built", () => {
  // npm makes no link to a file that isn't there, and `npx cordwood` would then ask the registry for a stranger's package.
  expect(git("ls-files", "--stage", "packages/agent/bin/cordwood.js").split(" ")[0]).toBe("100755")
})

test("the linked command runs", () => {
  const printed = execFileSync(join(ROOT, "node_modules/.bin/cordwood"), ["--version"], {
    encoding: "utf8",
    env: { ...process.env, PATH: `${join(ROOT, "node_modules/.bin")}:${process.env["PATH"]}` },
  })
  expect(printed).toMatch(/^cordwood v\d+\.\d+\.\d+\n$/)
})

test("an older Node is told which one is needed", () => {
  const older = `Object.defineProperty(process, "versions", { value: { ...process.versions, node: "22.17.1" } })`
  const { status, stderr, stdout } = spawnSync(
    process.execPath,
    ["--import", `data:text/javascript,${older}`, join(ROOT, "packages/agent/bin/cordwood.js"), "--version"],
    { encoding: "utf8" },
  )
  expect({ status, stderr, stdout }).toEqual({
    status: 1,
    stderr: "cordwood: it needs Node 22.18 or newer, and this is 22.17.1\n",
    stdout: "",
  })
})
