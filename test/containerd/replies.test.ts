/**
 * The runtime has reopened a log, and the agent never hears of it. The kubelet then renames the old file over the new one. One containerd
 * serves all of these tests.
 */
import { expect, test } from "vitest"
import type { Fault } from "./fault-proxy.ts"
import { expectWellFormed } from "./journal.ts"
import { onContainerd } from "./requirements.ts"
import {
  agentOn,
  atRest,
  expectEveryLine,
  expectOrderly,
  KEEP_ALL,
  podOf,
  proxyOf,
  segmentCount,
  segmentsReach,
  sharedContainerd,
  soon,
  writerIn,
} from "./scene.ts"

const TEST_MS = 600_000
/** Some 1.5 MB/s each, for as long as they aren't held. */
const STEADY = { lineChars: 200, burstLines: 2_000, pauseSeconds: 0.25 }
/** Of each kind. */
const LOST_REPLIES = 10
/** Far longer than a runtime needs to reopen: else it would do so after the agent has given it up. */
const DEADLINE = "5s"
const KINDS: ReadonlyArray<Fault> = ["reply-lost", "reply-kept", "connection-lost"]

onContainerd("when the reply to a reopening is lost after it took effect", () => {
  const containerd = sharedContainerd()

  test(
    `${LOST_REPLIES} times by an error, by silence beyond the deadline and by a broken connection, nothing is renamed over the new file, and every line is there once, in order`,
    async () => {
      const proxy = await proxyOf(containerd())
      const pod = await podOf(containerd(), "replies")
      const writers = await Promise.all(["a", "b", "c"].map((name) => writerIn(containerd(), pod, name, STEADY)))
      const agent = agentOn(containerd(), KEEP_ALL, { socket: proxy.socket, timeout: DEADLINE })
      for (const { log } of writers) await segmentsReach(log, 1, agent)
      for (const kind of KINDS) {
        const before = proxy.timesBroken("ReopenContainerLog")
        proxy.break("ReopenContainerLog", kind)
        await soon(
          agent,
          `${LOST_REPLIES} replies lost (${kind})`,
          () => proxy.timesBroken("ReopenContainerLog") >= before + LOST_REPLIES,
        )
        proxy.mend("ReopenContainerLog")
        for (const { log } of writers) await segmentsReach(log, segmentCount(log) + 1, agent)
      }
      const lines = await Promise.all(writers.map((writer) => atRest(writer, agent)))
      expect(await agent.stop()).toEqual({ code: 0, signal: null })
      const events = await agent.events()
      const rotated = writers.map((writer, index) => {
        const found = expectEveryLine(writer, lines[index]!)
        expectOrderly(writer)
        expectWellFormed(events, writer.container.log)
        return found.shares.length - 1
      })
      console.info(
        `${proxy.timesBroken("ReopenContainerLog")} replies lost in ${rotated.join(" + ")} rotations; of ${lines.join(" + ")} lines each is there once, in order`,
      )
    },
    TEST_MS,
  )
})
