/**
 * The agent as these tests need it: bundled, so that it starts in no time; as the command a user runs, as a process that is held before its pass,
 * and, where only what it leaves on disk counts, as a library within the test. Knows nothing of the program's insides.
 */
import { execFile, spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { once } from "node:events"
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { fileURLToPath } from "node:url"
import { Agent, files } from "@cordwood/agent"
import type { PassReport } from "@cordwood/agent"
import { rolldown } from "rolldown"
import { afterAll, beforeAll, onTestFinished } from "vitest"

const COMMAND_WITHIN_MS = 120_000
/** The writer is a process on a machine that may be busy with other tests. */
const REOPEN_WITHIN = "50s"
/** What libuv calls the threads of its pool. */
const POOL_THREAD = "libuv-worker"
const OUTPUT_MAX_BYTES = 16 * 1024 * 1024

/** The program, bundled for the tests of this group. */
export const bundledAgent = (): (() => string) => {
  const folder = mkdtempSync(join(tmpdir(), "cordwood-agent-"))
  const file = join(folder, "cordwood.mjs")
  beforeAll(async () => {
    await using bundle = await rolldown({
      input: fileURLToPath(new URL("agent-program.ts", import.meta.url)),
      platform: "node",
      resolve: { conditionNames: ["cordwood-source", "import", "module", "node", "default"] },
    })
    await bundle.write({ file, format: "esm", codeSplitting: false })
    // Has Node keep the code compiled, as the programs of these tests are started hundreds of times.
    await cordwood(file, "--version")
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  return () => file
}

export interface Settings {
  readonly include: string
  readonly journal: string
  readonly policy: Readonly<Record<string, string | number>>
  /** Of the writer. */
  readonly pidFile: string
}

const sourceOf = ({ include, pidFile }: Settings) => ({
  include: [include],
  reopen: { signal: "USR1", pidFile, timeout: REOPEN_WITHIN },
})

/** Writes the settings down as a user would; the file's path. */
export const configured = (folder: string, settings: Settings): string => {
  const { journal, policy } = settings
  const config = join(folder, "cordwood.yaml")
  const sources = [{ files: sourceOf(settings) }]
  writeFileSync(config, JSON.stringify({ sources, policy, interval: "100ms", journal: { path: journal } }))
  return config
}

/** One pass of an agent that starts now and ends, within this process. */
export const passOf = async (settings: Settings): Promise<PassReport> => {
  const { journal, policy } = settings
  return await Agent.make({ sources: [files(sourceOf(settings))], policy, journal: { path: journal } }).once()
}

/** What `cordwood events --json` would print, for the fields that count here, read without the agent. */
export interface Event {
  readonly type: string
  readonly data: Readonly<Record<string, unknown>>
}
export const eventsIn = (journal: string): ReadonlyArray<Event> => {
  if (!existsSync(journal)) return []
  const db = new DatabaseSync(journal, { readOnly: true })
  try {
    const rows = db.prepare("SELECT body FROM events ORDER BY position").all()
    return rows.map(({ body }) => JSON.parse(String(body)) as Event)
  } finally {
    db.close()
  }
}

export interface Ended {
  /** Null where a signal ended it. */
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/** One thread does all the file system's work that isn't done by the main one. */
const environment = (program: string): NodeJS.ProcessEnv => ({
  ...process.env,
  UV_THREADPOOL_SIZE: "1",
  NODE_COMPILE_CACHE: join(dirname(program), "compiled"),
})

/** Runs a command of the program to its end. */
export const cordwood = (program: string, ...args: ReadonlyArray<string>): Promise<Ended> =>
  new Promise((resolve, reject) => {
    const options = {
      timeout: COMMAND_WITHIN_MS,
      maxBuffer: OUTPUT_MAX_BYTES,
      encoding: "utf8",
      env: environment(program),
    } as const
    execFile(process.execPath, [program, ...args], options, (error, stdout, stderr) => {
      const code = error === null ? 0 : (error.code ?? null)
      if (typeof code === "string") reject(error ?? new Error(code))
      else resolve({ code, signal: error?.signal ?? null, stdout, stderr })
    })
  })

/** The program as a process that can be watched and told. */
class Running {
  readonly pid: number
  readonly ended: Promise<Ended>
  protected readonly child: ChildProcess
  #stdout = ""
  #stderr = ""

  protected constructor(program: string, args: ReadonlyArray<string>) {
    this.child = spawn(process.execPath, [program, ...args], {
      stdio: ["pipe", "pipe", "pipe"],
      env: environment(program),
    })
    this.pid = this.child.pid ?? -1
    this.child.stdout?.on("data", (chunk: Buffer) => (this.#stdout += chunk.toString()))
    this.child.stderr?.on("data", (chunk: Buffer) => (this.#stderr += chunk.toString()))
    // It may be killed before it reads what it is told.
    this.child.stdin?.on("error", () => undefined)
    this.ended = new Promise((resolve) => {
      this.child.once("close", (code, signal) => resolve({ code, signal, stdout: this.#stdout, stderr: this.#stderr }))
    })
    onTestFinished(async () => {
      this.child.kill("SIGKILL")
      await this.ended
    })
  }

  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null
  }

  get said(): string {
    return this.#stderr
  }
}

/** A `once` that begins when it is told to. */
export class HeldAgent extends Running {
  static async start(program: string): Promise<HeldAgent> {
    const agent = new HeldAgent(program, [])
    await Promise.race([once(agent.child.stdout!, "data"), agent.ended])
    return agent
  }

  /** The thread that runs the program, and the one that does its asynchronous file work. */
  get threads(): { readonly main: number; readonly pool: number } {
    const task = `/proc/${this.pid}/task`
    const pool = readdirSync(task).find((id) => readFileSync(`${task}/${id}/comm`, "utf8").trim() === POOL_THREAD)
    if (pool === undefined) throw new Error(`no thread of process ${this.pid} is called ${POOL_THREAD}`)
    return { main: this.pid, pool: Number(pool) }
  }

  /** Whether each of its threads is stopped, by a signal or by whoever traces it. */
  get stopped(): boolean {
    try {
      const task = `/proc/${this.pid}/task`
      // The state is the first field after the name, which is in brackets and may hold anything.
      return readdirSync(task).every((id) => /^.*\) [tT] /s.test(readFileSync(`${task}/${id}/stat`, "utf8")))
    } catch {
      return false // A thread, or all of it, has ended meanwhile.
    }
  }

  begin(config: string): void {
    this.child.stdin?.end(`${config}\n`)
  }
}

/** `cordwood run`. */
export class Daemon extends Running {
  static start(program: string, config: string): Daemon {
    return new Daemon(program, ["run", "--config", config])
  }

  async stop(): Promise<Ended> {
    this.child.kill("SIGTERM")
    return await this.ended
  }
}
