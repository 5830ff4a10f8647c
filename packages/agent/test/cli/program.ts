// Runs the program as people do: as a process, with what it prints and how it ends.
import { type ChildProcess, spawn } from "node:child_process"
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

export const PROGRAM = {
  path: join(import.meta.dirname, "../../src/bin/cordwood.ts"),
  execArgv: ["--conditions=cordwood-source"],
}

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}
export interface Running {
  readonly child: ChildProcess
  readonly stdout: () => string
  readonly stderr: () => string
  readonly ended: Promise<Ended>
}

/** Starts the program; whatever the surroundings say of colours doesn't count unless `env` says so. */
export const start = (args: ReadonlyArray<string>, env: Readonly<Record<string, string>> = {}): Running => {
  const { CI: _ci, FORCE_COLOR: _force, NO_COLOR: _no, ...rest } = process.env
  const child = spawn(process.execPath, [...PROGRAM.execArgv, PROGRAM.path, ...args], {
    env: { ...rest, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  })
  let stdout = ""
  let stderr = ""
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text
  })
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text
  })
  const ended = new Promise<Ended>((resolve) => {
    child.on("close", (code) => resolve({ code, stdout, stderr }))
  })
  return { child, stdout: () => stdout, stderr: () => stderr, ended }
}
export const cordwood = (...args: ReadonlyArray<string>): Promise<Ended> => start(args).ended

/** Waits until something is so; a test that waits for what never comes fails with what there was. */
export const until = async (is: () => boolean, what: () => string, limitMs = 10_000): Promise<void> => {
  const deadline = performance.now() + limitMs
  while (!is()) {
    if (performance.now() > deadline) throw new Error(`not within ${limitMs} ms: ${what()}`)
    await new Promise((resolve) => {
      setTimeout(resolve, 20)
    })
  }
}

/** A host with two logs, of which `a.log` is due, and a configuration for it. */
export const makeHost = (settings = ""): { readonly directory: string; readonly config: string; readonly logs: string } => {
  const directory = mkdtempSync(join(tmpdir(), "cordwood-cli-"))
  const logs = join(directory, "logs")
  mkdirSync(logs)
  writeFileSync(join(logs, "a.log"), "x".repeat(2_000))
  writeFileSync(join(logs, "b.log"), "small")
  const config = join(directory, "cordwood.yaml")
  writeFileSync(
    config,
    `sources: [{ files: { include: ["${logs}/*.log"], reopen: none } }]
policy: { maxSize: 1k }
interval: 200ms
journal: { path: ${directory}/journal/journal.db }
${settings}`,
  )
  return { directory, config, logs }
}
