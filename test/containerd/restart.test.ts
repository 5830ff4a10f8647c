/**
 * containerd is killed and started again beside a running agent, while its containers go on. It has a containerd of its own, which
 * no other test needs to be alive.
 */
import { renameSync } from "node:fs"
import { expect, test } from "vitest"
import { expectEventsMatchDisk } from "./journal.ts"
import { onContainerd } from "./requirements.ts"
import {
  agentOn,
  atRest,
  expectOrderly,
  KEEP_ALL,
  expectEveryLine,
  podOf,
  segmentCount,
  segmentsOf,
  segmentsReach,
  sharedContainerd,
  soon,
  writerIn,
} from "./scene.ts"

const TEST_MS = 180_000
/** An agent may pause longer and longer between its questions to a runtime that is away. */
const FOUND_AGAIN_WITHIN_MS = 75_000
const WRITING = { lineChars: 200, burstLines: 2_000, pauseSeconds: 0.05 }

onContainerd("when containerd is killed and started again", () => {
  const containerd = sharedContainerd()

  test(
    "the agent says so, waits, finds it again and goes on rotating, and no line is lost",
    async () => {
      const pod = await podOf(containerd(), "restart")
      const writer = await writerIn(containerd(), pod, "writer", WRITING)
      const agent = agentOn(containerd(), KEEP_ALL, { timeout: "2s" })
      await segmentsReach(writer.log, 2, agent)

      // What containerd has read from a container but not yet written dies with it (seen: up to 150 lines). That isn't the
      // agent's to prevent, so the writer is held until all that it wrote is on disk.
      await atRest(writer, agent)
      const before = (await agent.events()).length
      await containerd().kill()
      writer.gate.release()
      const failure = await soon(agent, "an event that says the runtime can't be reached", async () =>
        (await agent.events()).slice(before).find(({ type }) => type === "Failed"),
      )
      expect(failure.data).toEqual(
        expect.objectContaining({ reason: expect.any(String), hint: expect.stringMatching(/\S/) }),
      )
      expect(agent.running).toBe(true)

      const down = segmentCount(writer.log)
      await containerd().resume()
      await segmentsReach(writer.log, down + 3, agent, FOUND_AGAIN_WITHIN_MS)
      const lines = await atRest(writer, agent)
      expect(await agent.stop()).toEqual({ code: 0, signal: null })

      const found = expectEveryLine(writer, lines)
      expectOrderly(writer)
      expectEventsMatchDisk(await agent.events(), writer.container.log, found)
    },
    TEST_MS,
  )

  test(
    "an agent that starts before it and finds a rotation cut off waits for it, and the log goes on in a new file",
    async () => {
      const pod = await podOf(containerd(), "cut-off")
      const writer = await writerIn(containerd(), pod, "writer", WRITING)
      const first = agentOn(containerd(), KEEP_ALL, { timeout: "2s" })
      await segmentsReach(writer.log, 1, first)
      const firstLines = await atRest(writer, first)
      expect(await first.stop()).toEqual({ code: 0, signal: null })
      await containerd().kill()
      // As a kill between rename and reopen leaves it; by a clock that was an hour ahead.
      const ahead = new Date(Date.now() + 3_600_000)
        .toISOString()
        .slice(0, 19)
        .replaceAll(/[-:]/g, "")
        .replace("T", "-")
      renameSync(writer.log, `${writer.log}.${ahead}`)

      const second = agentOn(containerd(), KEEP_ALL, { timeout: "2s" })
      await soon(second, "an event that says the runtime can't be reached", async () =>
        (await second.events()).some(({ type }) => type === "Failed"),
      )
      await containerd().resume()
      writer.gate.release()
      await segmentsReach(writer.log, segmentCount(writer.log) + 2, second, FOUND_AGAIN_WITHIN_MS)
      const lines = await atRest(writer, second)
      expect(lines).toBeGreaterThan(firstLines)
      expect(await second.stop()).toEqual({ code: 0, signal: null })
      expectEveryLine(writer, lines)
      expectOrderly(writer)
      expect(
        segmentsOf(writer.log)
          .map(({ stamp }) => stamp)
          .filter((stamp) => stamp > ahead).length,
      ).toBeGreaterThanOrEqual(2)
    },
    TEST_MS,
  )
})
