/**
 * containerd is killed and started again beside a running agent, while its containers go on. It has a containerd of its own, which
 * no other test needs to be alive.
 */
import { existsSync, renameSync, statSync } from "node:fs"
import { dirname, join } from "node:path"
import { expect, test } from "vitest"
import { account } from "./account.ts"
import type { Account } from "./account.ts"
import { expectEventsMatchDisk } from "./journal.ts"
import { onContainerd } from "./requirements.ts"
import {
  agentAfter,
  agentOn,
  atRest,
  betweenRenameAndReopen,
  expectOrderly,
  KEEP_ALL,
  expectEveryLine,
  held,
  podOf,
  proxyOf,
  segmentCount,
  segmentsOf,
  segmentsReach,
  sharedContainerd,
  soon,
  writerIn,
} from "./scene.ts"
import { Witness } from "./witness.ts"
import { numberOf } from "./writer.ts"

const TEST_MS = 600_000
/** An agent may pause longer and longer between its questions to a runtime that is away. */
const FOUND_AGAIN_WITHIN_MS = 225_000
const KILLED = { code: null, signal: "SIGKILL" }
/**
 * What dies with containerd: what it has read from a container and not yet written. That is one copy of 32 KiB (Go's io.Copy) and, of
 * the one before, the 4 KiB its logger reads ahead; in doubt twice that, in lines of 200 characters.
 */
const LOST_WITH_CONTAINERD_LINES = (2 * 36 * 1024) / 200
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

  test(
    "killed before it reopens, or after, but before its reply, alone or together with the agent, it loses no line that was written when it was killed, nor one since",
    async () => {
      const proxy = await proxyOf(containerd())
      const pod = await podOf(containerd(), "mid-reopen")
      const writer = await writerIn(containerd(), pod, "writer", WRITING)
      let agent = agentOn(containerd(), KEEP_ALL, { socket: proxy.socket, timeout: "50s" })
      for (const { reopened, both } of [
        { reopened: false, both: false },
        { reopened: true, both: false },
        { reopened: false, both: true },
        { reopened: true, both: true },
        { reopened: false, both: false },
        { reopened: true, both: false },
      ]) {
        const call = await betweenRenameAndReopen(writer, agent, proxy)
        // Else containerd loses what it has in hand: that is the next test's.
        await held(writer)
        const renamed = segmentsOf(writer.log).at(-1)!.name
        const { ino } = statSync(join(dirname(writer.log), renamed))
        if (reopened) await call.forward()
        // The agent first: else it is back to the old file before its own end.
        if (both) expect(await agent.kill()).toEqual(KILLED)
        await containerd().kill()
        writer.gate.release()
        const had = segmentCount(writer.log)
        if (reopened) expect(statSync(writer.log).ino).not.toBe(ino)
        else if (both) expect(existsSync(writer.log)).toBe(false)
        else await soon(agent, "the old file under its own name", () => statSync(writer.log).ino === ino)
        await containerd().resume()
        if (both) agent = agentAfter(containerd(), agent)
        await segmentsReach(writer.log, had + 1, agent, FOUND_AGAIN_WITHIN_MS)
      }
      const lines = await atRest(writer, agent)
      expect(await agent.stop()).toEqual({ code: 0, signal: null })
      expectEveryLine(writer, lines)
      expectOrderly(writer)
    },
    TEST_MS,
  )

  /** A kill may take a piece from the middle of what was written, and cut the line where the rest goes on: nothing else. */
  const expectOnlyWhatContainerdLost = ({ faults }: Account, kills: number): number => {
    const { malformed, missing, strange, ...others } = faults
    expect(others).toEqual({ unreadable: [], duplicated: [], outOfOrder: [] })
    expect(missing.length).toBeLessThanOrEqual(kills)
    expect(strange.length + malformed.length).toBeLessThanOrEqual(kills)
    const lost = missing.map((range) => {
      const [from = NaN, to = from] = range.split("-").map(Number)
      return to - from + 1
    })
    expect(lost.filter((count) => !(count <= LOST_WITH_CONTAINERD_LINES))).toEqual([])
    return lost.reduce((sum, count) => sum + count, 0)
  }

  test(
    "killed in the middle of a reopening and of a writer, it loses what it had in hand, as it does where nothing rotates, and nothing that it wrote to a file is lost",
    async () => {
      const proxy = await proxyOf(containerd())
      const pod = await podOf(containerd(), "mid-write")
      const writer = await writerIn(containerd(), pod, "writer", WRITING)
      const untouched = await writerIn(containerd(), pod, "untouched", WRITING)
      const witness = new Witness(writer.log, numberOf(WRITING.lineChars))
      const policy = {
        ...KEEP_ALL,
        overrides: [{ name: "untouched", match: { container: "untouched" }, maxSize: -1 }],
      }
      const agent = agentOn(containerd(), policy, { socket: proxy.socket, timeout: "50s" })
      const kills = [false, true, false, true, false, true]
      for (const reopened of kills) {
        const call = await betweenRenameAndReopen(writer, agent, proxy)
        const had = segmentCount(writer.log)
        if (reopened) await call.forward()
        await containerd().kill()
        await containerd().resume()
        await segmentsReach(writer.log, had + 1, agent, FOUND_AGAIN_WITHIN_MS)
      }
      const untouchedLines = await held(untouched)
      const lines = await atRest(writer, agent)
      expect(await agent.stop()).toEqual({ code: 0, signal: null })
      expectOrderly(writer)
      expect(segmentCount(untouched.log)).toBe(0)

      const onDisk = account(writer.log, numberOf(WRITING.lineChars), { from: 1, to: lines })
      const seen = await witness.account()
      const withoutNames = ({ shares, faults, ...rest }: Account) => ({
        ...rest,
        shares: shares.filter(({ bytes }) => bytes > 0).map(({ name: _, ...share }) => share),
        missing: faults.missing,
      })
      expect(withoutNames(onDisk), "on disk, against what the runtime wrote").toEqual(withoutNames(seen))
      const lost = expectOnlyWhatContainerdLost(onDisk, kills.length)
      const found = account(untouched.log, numberOf(WRITING.lineChars), { from: 1, to: untouchedLines })
      const lostUntouched = expectOnlyWhatContainerdLost(found, kills.length)
      console.info(
        `${kills.length} kills of containerd: ${lost} of ${lines} lines lost by it, ${lostUntouched} of ${untouchedLines} where nothing rotates`,
      )
    },
    TEST_MS,
  )
})
