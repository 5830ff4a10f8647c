// Runs the program as people do: as a process, with what it prints and how it ends.
import { type ChildProcess, spawn } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { rolldown } from "rolldown"
import config from "../../rolldown.config.ts"

const PACKAGE = join(import.meta.dirname, "../..")

/**
 * Bundles the program from its sources as they are now, just as it is published: tests need no build, and each of its many processes starts
 * in a tenth of a second. Within the package, so that the program finds its version. Returns what removes it.
 */
export const bundleProgram = async (): Promise<{ readonly path: string; readonly remove: () => void }> => {
  mkdirSync(join(PACKAGE, "node_modules"), { recursive: true })
  const directory = mkdtempSync(join(PACKAGE, "node_modules", ".cordwood-bundle-"))
  const { output, ...input } = config as Exclude<typeof config, unknown[] | Function>
  const bundle = await rolldown({ ...input, cwd: PACKAGE })
  await bundle.write({ ...(Array.isArray(output) ? output[0] : output), dir: directory })
  await bundle.close()
  return { path: join(directory, "cordwood.js"), remove: () => rmSync(directory, { recursive: true, force: true }) }
}

/** The program from its sources; slow to start. */
export const SOURCES = { path: join(PACKAGE, "src/bin/cordwood.ts"), execArgv: ["--conditions=cordwood-source"] }

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
export const start = (
  program: string,
  args: ReadonlyArray<string>,
  env: Readonly<Record<string, string>> = {},
): Running => {
  const { CI: _ci, FORCE_COLOR: _force, NO_COLOR: _no, ...rest } = process.env
  const child = spawn(process.execPath, [program, ...args], {
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
export const makeHost = (
  settings = "",
): { readonly directory: string; readonly config: string; readonly logs: string } => {
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
