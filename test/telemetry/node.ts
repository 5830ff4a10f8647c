// A node's log directories on a real disk, and agents over them, one after another on the same journal. Writers are this process.
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { gunzipSync } from "node:zlib"
import { Agent, type AgentOptions, type PassReport, type PromiseAgent, type SourceFactory } from "@cordwood/agent"
import type { Envelope, Log } from "@cordwood/core"
import { Effect } from "effect"

const LONG_AGO_S = 3_600

export interface Pass {
  readonly report: PassReport
  readonly events: ReadonlyArray<Envelope>
}

export class Node {
  readonly directory = mkdtempSync(join(tmpdir(), "cordwood-telemetry-"))
  readonly #logs: Array<Log> = []

  /** A container of a pod of its own. */
  addLog(pod: string, podUid: string): Log {
    const path = join(this.directory, "pods", `web_${pod}_${podUid}`, "app", "0.log")
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, "")
    const log: Log = { path, namespace: "web", pod, podUid, container: "app", containerId: `c-${pod}` }
    this.#logs.push(log)
    return log
  }

  /** Writes, long ago as far as the disk says: what was just written to isn't compressed yet. */
  write({ path }: Log, text: string): void {
    appendFileSync(path, text)
    const then = Date.now() / 1_000 - LONG_AGO_S
    utimesSync(path, then, then)
  }

  /** A new agent, as after a restart. */
  agent(options: Required<Pick<AgentOptions, "policy" | "plugins">>): PromiseAgent {
    const source: SourceFactory = {
      name: "node",
      open: Effect.succeed({
        name: "node",
        list: Effect.succeed({ logs: this.#logs, problems: [] }),
        reopen: ({ path }) => Effect.sync(() => (writeFileSync(path, "", { flag: "wx" }), "told" as const)),
      }),
    }
    return Agent.make({ sources: [source], journal: { path: join(this.directory, "journal.db") }, ...options })
  }

  /** One pass of a new agent, and what it recorded. */
  async once(options: Parameters<Node["agent"]>[0]): Promise<Pass> {
    const events: Array<Envelope> = []
    return { report: await this.agent(options).once({ onEvent: (event) => events.push(event) }), events }
  }

  /** What lies beside a log, decoded, by name. Stamps, which are of today, are numbered. */
  filesOf({ path }: Log): Readonly<Record<string, string>> {
    const names = readdirSync(dirname(path)).toSorted()
    const read = (name: string): string => {
      const bytes = readFileSync(join(dirname(path), name))
      return (name.endsWith(".gz") ? gunzipSync(bytes) : bytes).toString()
    }
    return unstamped(Object.fromEntries(names.map((name) => [name, read(name)]))) as Readonly<Record<string, string>>
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true })
  }

  /** Plain data without what differs from run to run: this directory, and the stamps of names, which are numbered in their order. */
  unplaced(value: unknown): unknown {
    return unstamped(JSON.parse(JSON.stringify(value).replaceAll(this.directory, "")))
  }
}

const STAMP = /\d{8}-\d{6}/g
const unstamped = (value: unknown): unknown => {
  const text = JSON.stringify(value)
  const stamps = [...new Set(text.match(STAMP))].toSorted()
  return JSON.parse(text.replaceAll(STAMP, (stamp) => `#${stamps.indexOf(stamp) + 1}`))
}
