/**
 * The agent as a user runs it: a process, a configuration file, its output, its exit code. Knows the commands of contract.md and
 * nothing of the program's insides.
 */
import { execFile, spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { mkdtempSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { stringify } from "yaml"

const COMMAND_WITHIN_MS = 120_000
/** "Within a few seconds", on a machine that is busy with other tests. */
const STOP_WITHIN_MS = 60_000
const OUTPUT_SHOWN_CHARS = 8_000
const EVENTS_MAX_BYTES = 256 * 1024 * 1024

/** From its sources; or another build of it, as a program's path and its first arguments: `node dist/cordwood.js`. */
const program = (): ReadonlyArray<string> => {
  const other = process.env["CORDWOOD_E2E_PROGRAM"]
  if (other !== undefined && other !== "") return other.split(" ")
  const source = fileURLToPath(new URL("../../packages/agent/src/bin/cordwood.ts", import.meta.url))
  return [process.execPath, "--conditions=cordwood-source", source]
}

/** An event as contract.md has it: what `cordwood events --json` prints, a line each. */
export interface Event {
  readonly id: string
  readonly position: number
  readonly time: string
  readonly type: string
  readonly version: number
  readonly log: Readonly<Record<string, string>>
  readonly data: Readonly<Record<string, unknown>>
  readonly metadata: Readonly<Record<string, unknown>>
}

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface Settings {
  readonly socket: string
  readonly policy: Readonly<Record<string, unknown>>
  readonly interval?: string
  readonly timeout?: string
}

/** Beside the tests' own variables. */
export type Environment = Readonly<Record<string, string>>

export class Agent {
  readonly config: string
  private readonly environment: Environment
  private readonly child: ChildProcess
  private readonly exited: Promise<Exit>
  private said = ""
  private readonly killAtExit: () => void

  private constructor(config: string, environment: Environment) {
    this.config = config
    this.environment = environment
    const [command = "", ...first] = program()
    this.child = spawn(command, [...first, "run", "--config", config], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...environment },
    })
    const keep = (chunk: Buffer): void => {
      this.said = (this.said + chunk.toString()).slice(-OUTPUT_SHOWN_CHARS)
    }
    this.child.stdout?.on("data", keep)
    this.child.stderr?.on("data", keep)
    this.exited = new Promise((resolve, reject) => {
      this.child.once("error", reject)
      this.child.once("exit", (code, signal) => resolve({ code, signal }))
    })
    this.exited.catch((error: unknown) => keep(Buffer.from(String(error))))
    this.killAtExit = () => this.child.kill("SIGKILL")
    process.once("exit", this.killAtExit)
  }

  /** Starts `cordwood run` on a configuration of these settings. Files of its own lie in `scratch`. */
  static run(scratch: string, { socket, timeout = "5s", policy, interval = "250ms" }: Settings): Agent {
    const folder = mkdtempSync(join(scratch, "agent-"))
    return Agent.runWith(
      folder,
      stringify({
        sources: [{ cri: { endpoint: `unix://${socket}`, timeout } }],
        policy,
        interval,
        journal: { path: join(folder, "journal.db") },
      }),
    )
  }

  /** Starts `cordwood run` on this configuration as it stands. */
  static runWith(folder: string, yaml: string, environment: Environment = {}): Agent {
    const config = join(folder, "cordwood.yaml")
    writeFileSync(config, yaml)
    return new Agent(config, environment)
  }

  /** Starts `cordwood run` once more on the same configuration, after this one has ended. */
  again(): Agent {
    return new Agent(this.config, this.environment)
  }

  /** What it printed last, for a failed test's message. */
  output(): string {
    const state =
      this.child.exitCode === null && this.child.signalCode === null
        ? "still running"
        : `ended with ${this.child.exitCode ?? this.child.signalCode}`
    return `the agent (${state}) said:\n${this.said === "" ? "(nothing)" : this.said}`
  }

  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null
  }

  /** SIGTERM, and how it ended. One that doesn't end in time is killed, which shows as its signal. */
  async stop(): Promise<Exit> {
    this.child.kill("SIGTERM")
    const late = new AbortController()
    const killed = pause(STOP_WITHIN_MS, undefined, { signal: late.signal }).then(
      () => this.child.kill("SIGKILL"),
      () => false,
    )
    const exit = await this.exited
    late.abort()
    await killed
    process.removeListener("exit", this.killAtExit)
    return exit
  }

  /** SIGKILL, as the kernel does it when memory runs out. */
  async kill(): Promise<Exit> {
    this.child.kill("SIGKILL")
    const exit = await this.exited
    process.removeListener("exit", this.killAtExit)
    return exit
  }

  /** What its journal holds, asked of a second process, while the agent runs or afterwards. */
  async events(): Promise<ReadonlyArray<Event>> {
    const { stdout } = await this.command("events", "--json")
    return objectsIn(stdout) as ReadonlyArray<Event>
  }

  /** Another command on the same configuration, by a second process. Throws where it exits with anything but 0. */
  command(name: string, ...options: ReadonlyArray<string>): Promise<{ readonly stdout: string }> {
    const [command = "", ...first] = program()
    return promisify(execFile)(command, [...first, name, "--config", this.config, ...options], {
      timeout: COMMAND_WITHIN_MS,
      maxBuffer: EVENTS_MAX_BYTES,
      env: { ...process.env, ...this.environment },
    })
  }
}

/** What a command printed with `--json`. */
export const objectsIn = (ndjson: string): ReadonlyArray<unknown> =>
  ndjson
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as unknown)
