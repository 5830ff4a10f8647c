/** SIGKILL, by strace, at each of the calls by which a pass changes files. The kernel then doesn't begin the call, and the process is no more. */
import { mkdirSync, rmSync } from "node:fs"
import { availableParallelism } from "node:os"
import { basename, join } from "node:path"
import { expect, test } from "vitest"
import { bundledAgent, configured, HeldAgent, passOf } from "./agent.ts"
import { scratchFolder } from "./disk.ts"
import { onDisks } from "./requirements.ts"
import { ACTIVE_LINES, EVERYTHING, expectAllAccounted, sceneIn } from "./scene.ts"
import { changes, Trace } from "./trace.ts"
import type { Call, Tracing } from "./trace.ts"
import { Writer } from "./writer.ts"

const ALL_WITHIN_MS = 15 * 60_000
/** A writer that isn't idle for as long as a run takes, and yet never fills a second file: so there is one rotation, however slow the machine. */
const LINE_EVERY_MS = 5
const MOST_LINES = ACTIVE_LINES / 2
/** At a time: most of a run is the start of a process. */
const LANES = Math.min(4, availableParallelism())

type Thread = "main" | "pool"

/** `rename app.log app.log.STAMP`: the call and the names it is about, the same in each run. */
const siteOf = (call: string): string => {
  const [name = "", rest = ""] = call.split("(", 2)
  const paths = [...rest.replace(/\) += .*/, "").matchAll(/"([^"]+)"|\d<([^<>]+)>/g)].map(
    ([, text, open]) => text ?? open,
  )
  return [name, ...paths.map((path = "") => basename(path).replace(/\d{8}-\d{6}/, "STAMP"))].join(" ")
}

interface Place {
  readonly thread: Thread
  readonly name: string
  readonly nth: number
  readonly site: string
}

/**
 * Where to kill: before each call that changes something.
 * - A row of writes into one file, with nothing in between, is SQLite writing one transaction page by page: there, before the first and amid
 *   the row.
 * - What a process has written survives its end, synced or not: before a sync, the files are as before whatever comes next. So the journal's are
 *   left out; those of the log's directory are not, as between one of them and the next change the writer is told to reopen.
 */
const placesIn = (calls: ReadonlyArray<Call>, main: number): ReadonlyArray<Place> => {
  const rows: Array<Array<Call>> = []
  for (const call of calls) {
    if (!changes(call) || (call.thread === main && call.name === "fsync")) continue
    const before = rows.at(-1)?.at(-1)
    const goesOn =
      call.name === "pwrite64" && before?.thread === call.thread && siteOf(before.text) === siteOf(call.text)
    if (goesOn) rows.at(-1)?.push(call)
    else rows.push([call])
  }
  return rows.flatMap((row) =>
    [...new Set([row[0]!, row[row.length >> 1]!])].map(({ name, nth, text, thread }) => ({
      thread: thread === main ? "main" : "pool",
      name,
      nth,
      site: siteOf(text),
    })),
  )
}

onDisks("an agent that is killed", () => {
  const program = bundledAgent()

  test(
    "before any call by which a pass changes files loses no line, and the next passes finish what it began",
    async () => {
      const scratch = scratchFolder()
      let runs = 0

      /** One pass beside a writer that goes on writing, traced. Back when the agent has ended, however it did. */
      const passUnder = async (writer: Writer, whose: Thread | "both", tracing: Tracing) => {
        const folder = join(scratch, `run-${(runs += 1)}`)
        mkdirSync(folder)
        const scene = sceneIn(EVERYTHING, {
          logs: join(folder, "logs"),
          journalFolder: join(folder, "state"),
          pidFile: writer.pidFile,
        })
        await writer.open(scene.log, scene.lines + 1)
        const agent = await HeldAgent.start(program())
        const { main, pool } = agent.threads
        const trace = await Trace.on(whose === "pool" ? pool : main, join(folder, "trace"), tracing)
        await writer.writeEvery(LINE_EVERY_MS, MOST_LINES)
        agent.begin(configured(folder, scene.settings))
        const { code, signal } = await agent.ended
        await trace.ended
        return { code, folder, main, scene, signal, trace }
      }
      /** Two passes of fresh agents, the second when the writer is held; then the account. */
      const expectRecovery = async (writer: Writer, { folder, scene }: Awaited<ReturnType<typeof passUnder>>) => {
        const first = await passOf(scene.settings)
        const { begun, written } = await writer.hold()
        const second = await passOf(scene.settings)
        expect([begun, first.problems, second.problems]).toEqual([0, [], []])
        expectAllAccounted(scene, written)
        rmSync(folder, { recursive: true })
      }

      const dry = Writer.start(scratch)
      const whole = await passUnder(dry, "both", { whose: "process" })
      expect([whole.code, whole.signal]).toEqual([0, null])
      const places = placesIn(whole.trace.calls, whole.main)
      await expectRecovery(dry, whole)

      const left = [...places]
      const killedAt: Array<string> = []
      const wrong: Array<string> = []
      const lane = async (): Promise<void> => {
        const writer = Writer.start(scratch)
        for (let place = left.shift(); place !== undefined; place = left.shift()) {
          const { name, nth, site, thread } = place
          const run = await passUnder(writer, thread, {
            whose: "thread",
            inject: `${name}:signal=SIGKILL:when=${nth}`,
          })
          if (run.signal === "SIGKILL")
            killedAt.push(`${thread} ${siteOf(run.trace.text.trim().split("\n").at(-2) ?? "")}`)
          await expectRecovery(writer, run).catch((error: unknown) => {
            wrong.push(`killed before call ${nth} of ${thread}, ${site}: ${String(error)}`)
          })
        }
      }
      await Promise.all(Array.from({ length: LANES }, lane))
      console.log(`killed ${killedAt.length} times, at ${new Set(killedAt).size} kinds of calls`)
      expect(wrong).toEqual([])
      // At every kind of call that the dry run has seen.
      expect(new Set(killedAt)).toEqual(new Set(places.map(({ site, thread }) => `${thread} ${site}`)))
    },
    ALL_WITHIN_MS,
  )
})
