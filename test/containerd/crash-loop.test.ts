/**
 * A container that crashes and is started anew, over and over: what its earlier lives leave is none of a kubelet's log manager's business,
 * and all of them together fill disks (kubernetes#91765, #90334). One containerd serves all of these tests.
 */
import { readdirSync, statSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import { expect, test } from "vitest"
import { account, FAULTLESS, filesOf } from "./account.ts"
import { onContainerd } from "./requirements.ts"
import {
  agentOn,
  atRest,
  crashLoop,
  expectEveryLine,
  expectOrderly,
  held,
  podOf,
  segmentCount,
  segmentsOf,
  segmentsReach,
  sharedContainerd,
  soon,
} from "./scene.ts"
import type { Writer } from "./scene.ts"
import { numberOf } from "./writer.ts"

const TEST_MS = 900_000
const CRASHES = 4
/** Some 4 MB/s, for as long as it isn't held. */
const WRITING = { lineChars: 200, burstLines: 2_000, pauseSeconds: 0.1 }
const MAX_SIZE = 1024 * 1024
const POLICY = { maxSize: MAX_SIZE, maxFiles: 100_000 }

/** Room for the file that each life wrote to last, and for some segments. */
const MAX_TOTAL = 12 * MAX_SIZE

const asItIs = (path: string) => {
  const { size, mtimeMs, ino, mode } = statSync(path)
  return { size, mtimeMs, ino, mode }
}
/** What is in the container's folder of each of its lives: the file itself, archives, plain segments. */
const lives = (folder: string): Readonly<Record<string, string>> =>
  Object.fromEntries(
    [...new Set(readdirSync(folder).map((name) => name.replace(/^(\d+\.log).*$/, "$1")))].toSorted().map((name) => {
      const kinds = filesOf(join(folder, name)).map(({ role, compressed }) => (compressed ? "archive" : role))
      return [name, [...new Set(kinds)].join(" ")]
    }),
  )

onContainerd("of a container that crashes over and over", () => {
  const containerd = sharedContainerd()

  test(
    "the last life is kept whole, all before it go with an event for each file, leftovers are compressed without a rotation, and no file of kubectl logs --previous is touched",
    async () => {
      const pod = await podOf(containerd(), "crash-loop")
      const agent = agentOn(containerd(), { ...POLICY, keepStopped: 1 })
      const written = new Map<Writer, number>()
      const writers = await crashLoop(containerd(), pod, "app", WRITING, CRASHES, async (writer) => {
        await segmentsReach(writer.log, 2, agent)
        // So that it is known what has been written, and that it is in a file.
        written.set(writer, await held(writer))
      })
      const folder = dirname(writers[0]!.log)
      const [previous, running] = writers.slice(-2) as [Writer, Writer]
      await segmentsReach(running.log, 1, agent)
      const file = asItIs(previous.log)
      await segmentsReach(running.log, segmentCount(running.log) + 2, agent)
      const lines = await atRest(running, agent)
      await soon(
        agent,
        "one earlier life, with nothing of it left plain but its own file",
        () => Object.keys(lives(folder)).length === 2 && lives(folder)[basename(previous.log)] === "archive active",
      )
      expect(lives(folder)).toEqual({
        [basename(previous.log)]: "archive active",
        [basename(running.log)]: "archive segment active",
      })
      expect(await agent.stop()).toEqual({ code: 0, signal: null })

      // kubectl logs, and kubectl logs --previous.
      expectEveryLine(running, lines)
      expectOrderly(running)
      expectEveryLine(previous, written.get(previous)!)
      expect(asItIs(previous.log)).toEqual(file)
      expect(segmentsOf(previous.log).filter(({ compressed }) => !compressed)).toEqual([])

      // Of each earlier life what was rotated away went, and the file itself, which a container that has ended doesn't write to.
      const events = await agent.events()
      for (const { container } of writers) {
        const own = events.filter(({ log }) => log["path"] === container.log.path)
        const rotated = own.filter(({ type }) => type === "Rotated").map(({ data }) => data["to"])
        const removed = own.filter(({ type }) => type === "Removed")
        const isKept = container === previous.container || container === running.container
        expect(removed.map(({ data }) => String(data["path"]).replace(/\.gz$/, "")).toSorted()).toEqual(
          isKept ? [] : rotated,
        )
        expect(new Set(removed.map(({ data }) => data["reason"]))).toEqual(new Set(isKept ? [] : ["budget"]))
      }
    },
    TEST_MS,
  )

  test(
    "all lives together stay within the bytes that they may take, by what the earliest ones left, oldest first, and never by the files that they wrote to last",
    async () => {
      const pod = await podOf(containerd(), "budget")
      // Plain, so that segments weigh something.
      const policy = { ...POLICY, compression: "none", keepStopped: 1_000, maxTotal: MAX_TOTAL }
      const agent = agentOn(containerd(), policy)
      const writers = await crashLoop(containerd(), pod, "app", WRITING, CRASHES, async (writer) => {
        await segmentsReach(writer.log, 3, agent)
        await held(writer)
        await soon(agent, `a full ${writer.log} to be rotated`, () => statSync(writer.log).size < MAX_SIZE)
      })
      const running = writers.at(-1)!
      const folder = dirname(running.log)
      const bytesOf = () => readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0)
      await segmentsReach(running.log, 3, agent)
      const lines = await held(running)
      const within = () => bytesOf() <= MAX_TOTAL && statSync(running.log).size < MAX_SIZE
      await soon(agent, `at most ${MAX_TOTAL} bytes in ${folder}`, within)
      expect(await agent.stop()).toEqual({ code: 0, signal: null })
      expect(bytesOf()).toBeLessThanOrEqual(MAX_TOTAL)

      const { faults, last } = account(running.log, numberOf(WRITING.lineChars), { beginningRemoved: true, to: lines })
      expect({ faults, last }).toEqual({ faults: FAULTLESS, last: lines })
      const events = await agent.events()
      const pathsOf = (type: string, field: string) =>
        writers.flatMap(({ container: { log } }) =>
          events
            .filter((event) => event.type === type && event.log["path"] === log.path)
            .map(({ data }) => String(data[field])),
        )
      const rotated = pathsOf("Rotated", "to")
      const removed = pathsOf("Removed", "path")
      expect(removed.length).toBeGreaterThan(0)
      expect(removed).toEqual(rotated.slice(0, removed.length))
      expect(readdirSync(folder).toSorted()).toEqual(
        [
          ...writers.map(({ log }) => basename(log)),
          ...rotated.slice(removed.length).map((path) => basename(path)),
        ].toSorted(),
      )
    },
    TEST_MS,
  )
})
