/**
 * The moment that no program can make atomic: between the rename of the active file and the runtime's new one. The agent is killed
 * there, again and again, and the account must hold. One containerd serves all of these tests.
 */
import { existsSync, statSync } from "node:fs"
import { dirname, join } from "node:path"
import { expect, test } from "vitest"
import { eventually } from "./eventually.ts"
import { expectWellFormed } from "./journal.ts"
import { onContainerd } from "./requirements.ts"
import {
  agentAfter,
  agentOn,
  atRest,
  betweenRenameAndReopen,
  expectEveryLine,
  expectOrderly,
  KEEP_ALL,
  podOf,
  proxyOf,
  segmentCount,
  segmentsOf,
  segmentsReach,
  sharedContainerd,
  SOON_MS,
  writerIn,
} from "./scene.ts"

const TEST_MS = 900_000
const KILLED = { code: null, signal: "SIGKILL" }
const STOPPED = { code: 0, signal: null }
/** Some 0.7 MB/s each, for as long as they aren't held. */
const STEADY = { lineChars: 200, burstLines: 2_000, pauseSeconds: 0.5 }
const KILLS = 5
/** What becomes of the call that the agent made and didn't live to see answered. */
const FATES = ["lost", "done before the kill", "done after the kill"] as const

onContainerd("when the agent is killed between rename and reopen", () => {
  const containerd = sharedContainerd()

  test(
    `${KILLS} times, in three logs at once, whether or not the runtime has reopened by then, the next agent goes on and every line is there once, in order`,
    async () => {
      const proxy = await proxyOf(containerd())
      const pod = await podOf(containerd(), "between")
      const writers = await Promise.all(["a", "b", "c"].map((name) => writerIn(containerd(), pod, name, STEADY)))
      // It waits for a reply longer than this test takes to kill it.
      const settings = { socket: proxy.socket, timeout: "50s" }
      let agent = agentOn(containerd(), KEEP_ALL, settings)
      for (let kill = 0; kill < KILLS; kill++) {
        const calls = await Promise.all(writers.map((writer) => betweenRenameAndReopen(writer, agent, proxy)))
        const fateOf = (index: number) => FATES[(index + kill) % FATES.length]
        const caught = writers.map(({ log }) => ({ renamed: segmentsOf(log).at(-1), active: existsSync(log) }))
        expect(caught.map(({ renamed, active }) => [renamed?.compressed, active])).toEqual(
          writers.map(() => [false, false]),
        )
        await Promise.all(
          calls.filter((_, index) => fateOf(index) === "done before the kill").map(({ forward }) => forward()),
        )
        expect(await agent.kill()).toEqual(KILLED)
        await Promise.all(
          calls.filter((_, index) => fateOf(index) === "done after the kill").map(({ forward }) => forward()),
        )
        // Writers don't wait: what they write meanwhile goes to the one file or to the other.
        for (const [index, { log }] of writers.entries()) {
          const file = fateOf(index) === "lost" ? join(dirname(log), caught[index]!.renamed!.name) : log
          const { size } = statSync(file)
          await eventually({ what: `more in ${file}`, withinMs: SOON_MS }, () => statSync(file).size > size)
        }
        agent = agentAfter(containerd(), agent)
      }
      for (const { log } of writers) await segmentsReach(log, segmentCount(log) + 2, agent)
      const lines = await Promise.all(writers.map((writer) => atRest(writer, agent)))
      expect(await agent.stop()).toEqual(STOPPED)
      const events = await agent.events()
      for (const [index, writer] of writers.entries()) {
        const found = expectEveryLine(writer, lines[index]!)
        expectOrderly(writer)
        expect(found.shares.length).toBeGreaterThan(KILLS + 2)
        expectWellFormed(events, writer.container.log)
      }
      console.info(
        `${KILLS * writers.length} rotations cut off; of ${lines.join(" + ")} lines each is there once, in order`,
      )
    },
    TEST_MS,
  )
})
