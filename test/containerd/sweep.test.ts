/** The sweep kills processes and deletes a tree as root, so it is shown to know its own. */
import { spawn } from "node:child_process"
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, describe, expect, test } from "vitest"
import { SCRATCH_PREFIX, sweep } from "./sweep.ts"

const folders: Array<string> = []
const folder = (prefix: string): string => {
  const path = mkdtempSync(join(tmpdir(), prefix))
  folders.push(path)
  return path
}
afterEach(() => {
  for (const path of folders.splice(0)) rmSync(path, { recursive: true, force: true })
})

/** A process that waits on its standard input and was given `path`; `ended` is how it ended. */
const waiting = (path: string) => {
  const child = spawn("sh", ["-c", "read line", "sh", path], { stdio: ["pipe", "ignore", "ignore"] })
  const ended = new Promise<NodeJS.Signals | null>((resolve) => child.once("exit", (_, signal) => resolve(signal)))
  const started = new Promise<void>((resolve) => child.once("spawn", () => resolve()))
  return { child, ended, started }
}

describe.skipIf(process.platform !== "linux")("a sweep", () => {
  test("ends the processes of its folder and removes it, and leaves a neighbour's alone", async () => {
    const [mine, other] = [folder(SCRATCH_PREFIX), folder(SCRATCH_PREFIX)]
    writeFileSync(join(mine, "file"), "")
    const [own, neighbour] = [waiting(join(mine, "config")), waiting(join(other, "config"))]
    await Promise.all([own.started, neighbour.started])
    sweep(mine)
    expect([await own.ended, existsSync(mine)]).toEqual(["SIGKILL", false])
    neighbour.child.stdin?.end("\n")
    expect([await neighbour.ended, existsSync(other)]).toEqual([null, true])
  })

  test("refuses a folder that isn't one of these tests'", () => {
    const foreign = folder("cordwood-foreign-")
    expect(() => sweep(foreign)).toThrow(`${foreign} is no scratch folder of these tests`)
    expect(existsSync(foreign)).toBe(true)
  })
})
