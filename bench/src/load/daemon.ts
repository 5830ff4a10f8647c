/** The bundled `cordwood run`, as users run it. */
import { spawn } from "node:child_process"
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { Children } from "./children.ts"
import { REOPEN_SIGNAL } from "./writer-plan.ts"

/** What the package's `bin` runs. */
export const BUNDLE = fileURLToPath(new URL("../../../packages/agent/dist/cordwood.js", import.meta.url))

const HELD = new URL("held.ts", import.meta.url).href

export const demandBundle = (bundle: string): void => {
  if (!existsSync(bundle)) throw new Error(`there is no bundle at ${bundle}: npm run build makes it`)
}

export interface DaemonPlan {
  readonly bundle: string
  /** Where its configuration, journal and messages lie. */
  readonly home: string
  readonly include: ReadonlyArray<string>
  /** Of the writer to signal; none: writers reopen by themselves. */
  readonly pidFile?: string
  readonly policy?: Readonly<Record<string, string | number>>
  readonly workers?: number
  readonly interval?: string
  /** A file for how long its event loop was held; see held.ts. */
  readonly heldSays?: string
}

/** Writes the configuration; everything it doesn't name has its default. */
export const configure = ({
  home,
  include,
  interval,
  pidFile,
  policy,
  workers,
}: Omit<DaemonPlan, "bundle">): string => {
  const config = join(home, "cordwood.json")
  const reopen = pidFile === undefined ? "none" : { signal: REOPEN_SIGNAL, pidFile }
  const settings = {
    sources: [{ files: { include, reopen } }],
    journal: { path: join(home, "journal.db") },
    ...(policy === undefined ? {} : { policy }),
    ...(workers === undefined ? {} : { workers }),
    ...(interval === undefined ? {} : { interval }),
  }
  writeFileSync(config, JSON.stringify(settings))
  return config
}

export interface Daemon {
  readonly pid: number
  readonly end: () => Promise<void>
}

export const startDaemon = (children: Children, plan: DaemonPlan): Daemon => {
  const config = configure(plan)
  const said = join(plan.home, "messages")
  const messages = openSync(said, "a")
  const { heldSays } = plan
  const [watched, env] =
    heldSays === undefined ? [[], process.env] : [["--import", HELD], { ...process.env, HELD_SAYS: heldSays }]
  const child = children.add(
    spawn(process.execPath, [...watched, plan.bundle, "run", "--config", config], {
      env,
      stdio: ["ignore", "ignore", messages],
    }),
  )
  closeSync(messages)
  if (child.pid === undefined) throw new Error("the daemon can't be started")
  const wasAlive = (): void => {
    if (child.exitCode === null) return
    throw new Error(`the daemon ended with ${child.exitCode}: ${readFileSync(said, "utf8").slice(-2_000)}`)
  }
  return {
    pid: child.pid,
    end: async () => {
      wasAlive()
      await children.end(child)
      if (child.exitCode !== 0)
        throw new Error(`the daemon did not stop properly: ${readFileSync(said, "utf8").slice(-2_000)}`)
    },
  }
}
