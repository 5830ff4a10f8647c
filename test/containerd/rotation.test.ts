/**
 * Writers in real containers, `cordwood run` beside them, and the proof from the files alone that every line is there once and in
 * order. One containerd serves all of these tests.
 */
import { existsSync, readdirSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { setImmediate as turn } from "node:timers/promises"
import { expect, test } from "vitest"
import { account, FAULTLESS, filesOf } from "./account.ts"
import { eventually } from "./eventually.ts"
import type { Fault } from "./fault-proxy.ts"
import { expectEventsMatchDisk, expectWellFormed } from "./journal.ts"
import { onContainerd } from "./requirements.ts"
import {
  agentAfter,
  agentOn,
  atRest,
  expectOrderly,
  KEEP_ALL,
  expectEveryLine,
  held,
  isPacked,
  podOf,
  proxyOf,
  segmentCount,
  segmentsOf,
  segmentsReach,
  sharedContainerd,
  soon,
  SOON_MS,
  watched,
  writerIn,
} from "./scene.ts"
import { numberOf } from "./writer.ts"

const TEST_MS = 600_000
/** What containerd cuts a longer line into. */
const CONTAINERD_RECORD_CHARS = 16_384
const STOPPED = { code: 0, signal: null }
/** Some 8 MB/s, for as long as it isn't held. */
const STEADY = { lineChars: 200, burstLines: 2_000, pauseSeconds: 0.05 }

const MOMENT_WITHIN_MS = 3_000
const stampsOf = (log: string): ReadonlyArray<string> => segmentsOf(log).map(({ stamp }) => stamp)
const twice = (stamp: string, at: number, all: ReadonlyArray<string>): boolean => all.indexOf(stamp) !== at

onContainerd("on a real containerd", () => {
  const containerd = sharedContainerd()

  test.each([
    // About 25 MB/s: every rotation cuts into a stream.
    {
      title: "lines of 250 characters",
      writing: { lineChars: 250, burstLines: 4_000, pauseSeconds: 0.02, lines: 500_000 },
    },
    // Longer than containerd's 16 KiB, so that each line is several records.
    {
      title: "lines of 40,000 characters",
      writing: { lineChars: 40_000, burstLines: 40, pauseSeconds: 0.03, lines: 3_000 },
    },
  ])(
    "a fast writer's $title are all there, once and in order, and the journal says what is on disk",
    async ({ writing }) => {
      const pod = await podOf(containerd(), "fast")
      const agent = agentOn(containerd(), KEEP_ALL)
      const writer = await writerIn(containerd(), pod, "writer", writing, { held: true })
      await watched(writer.log, agent)
      writer.gate.release()
      const lines = await writer.gate.written()
      await segmentsReach(writer.log, 3, agent)
      expect(await atRest(writer, agent)).toBe(lines)
      expect(await agent.stop()).toEqual(STOPPED)

      expect(lines).toBe(writing.lines)
      const found = expectEveryLine(writer, lines)
      expectOrderly(writer)
      expect(found.partials).toBeGreaterThanOrEqual(lines * Math.floor(writing.lineChars / CONTAINERD_RECORD_CHARS))
      expect(found.shares.slice(0, -1).filter(({ bytes }) => bytes < 1024 * 1024)).toEqual([])
      expectEventsMatchDisk(await agent.events(), writer.container.log, found)
      console.info(`${lines} lines in ${found.shares.length} files, ${found.torn} of them torn by a rotation`)
    },
    TEST_MS,
  )

  test(
    "SIGTERM in the middle of a fast writer ends the agent with exit code 0, and the next one goes on where it stopped",
    async () => {
      const pod = await podOf(containerd(), "sigterm")
      const writer = await writerIn(containerd(), pod, "writer", STEADY)
      const first = agentOn(containerd(), KEEP_ALL)
      await segmentsReach(writer.log, 2, first)
      expect(await first.stop()).toEqual(STOPPED)
      expect(filesOf(writer.log).filter(({ role }) => role === "temporary")).toEqual([])
      const before = await first.events()

      const second = agentAfter(containerd(), first)
      await segmentsReach(writer.log, segmentCount(writer.log) + 2, second)
      const lines = await atRest(writer, second)
      expect(await second.stop()).toEqual(STOPPED)
      const found = expectEveryLine(writer, lines)
      expectOrderly(writer)
      const events = await second.events()
      expect(events.slice(0, before.length)).toEqual(before)
      expectEventsMatchDisk(events, writer.container.log, found)
    },
    TEST_MS,
  )

  test(
    "however often the agent is killed, and in the middle of whichever step, the next one finishes what was begun",
    async () => {
      const pod = await podOf(containerd(), "killed")
      const writer = await writerIn(containerd(), pod, "writer", STEADY)
      const moments: ReadonlyArray<{ readonly what: string; readonly seen: () => boolean }> = [
        { what: "the active file has been renamed and there is no new one", seen: () => !existsSync(writer.log) },
        {
          what: "a compression is under way",
          seen: () => filesOf(writer.log).some(({ role }) => role === "temporary"),
        },
        { what: "an archive lies beside its original", seen: () => stampsOf(writer.log).some(twice) },
      ]
      const caughtWhen: Array<string> = []
      let agent = agentOn(containerd(), KEEP_ALL)
      for (const { what, seen } of [...moments, ...moments]) {
        const had = segmentCount(writer.log)
        await segmentsReach(writer.log, had + 1, agent)
        // Some moments are so short that they may be missed; then it is killed at another one.
        const deadline = performance.now() + MOMENT_WITHIN_MS
        while (!seen() && performance.now() < deadline) await turn()
        const caught = seen()
        expect(await agent.kill()).toEqual({ code: null, signal: "SIGKILL" })
        caughtWhen.push(caught ? what : `missed: ${what}`)
        agent = agentAfter(containerd(), agent)
      }
      await segmentsReach(writer.log, segmentCount(writer.log) + 2, agent)
      const lines = await atRest(writer, agent)
      expect(await agent.stop()).toEqual(STOPPED)
      expectEveryLine(writer, lines)
      expectOrderly(writer)
      expectWellFormed(await agent.events(), writer.container.log)
      console.info(`killed at these moments: ${caughtWhen.join("; ")}`)
    },
    TEST_MS,
  )

  test(
    "a stopped container's file is left as it is, what was rotated away before is compressed, and its neighbour's log is rotated on",
    async () => {
      const pod = await podOf(containerd(), "stops")
      const stopping = await writerIn(containerd(), pod, "stopping", STEADY)
      const staying = await writerIn(containerd(), pod, "staying", STEADY)
      const agent = agentOn(containerd(), KEEP_ALL)
      await segmentsReach(stopping.log, 1, agent)
      await segmentsReach(staying.log, 1, agent)

      const stoppedLines = await atRest(stopping, agent)
      const rotated = stampsOf(stopping.log)
      await stopping.container.stop()
      await soon(agent, "nothing plain but the stopped container's file", () => isPacked(stopping.log))
      // A pass that was under way may still end; one that has begun since then can't know of a running container.
      await segmentsReach(staying.log, segmentCount(staying.log) + 3, agent)
      // Far over the limit, as a container that dies while it writes leaves its log.
      const { size } = statSync(stopping.log)
      writeFileSync(stopping.log, Buffer.alloc(3 * 1024 * 1024, "x"), { flag: "a" })
      const folder = dirname(stopping.log)
      const asItIs = () =>
        readdirSync(folder).map((name) => {
          const { size: bytes, mtimeMs, ino } = statSync(join(folder, name))
          return { name, bytes, mtimeMs, ino }
        })
      const left = asItIs()
      await segmentsReach(staying.log, segmentCount(staying.log) + 4, agent)
      const lines = await atRest(staying, agent)
      expect(asItIs()).toEqual(left)
      expect(await agent.stop()).toEqual(STOPPED)
      expectEveryLine(staying, lines)
      expectOrderly(staying)
      truncateSync(stopping.log, size)
      expectEveryLine(stopping, stoppedLines)
      expect(stampsOf(stopping.log)).toEqual(rotated)
    },
    TEST_MS,
  )

  test(
    "a container that is started again has a new log in the same folder, and that one is rotated too",
    async () => {
      const pod = await podOf(containerd(), "restarts")
      const first = await writerIn(containerd(), pod, "writer", STEADY)
      const agent = agentOn(containerd(), KEEP_ALL)
      await segmentsReach(first.log, 2, agent)
      const firstLines = await atRest(first, agent)
      await first.container.stop()

      const second = await writerIn(containerd(), pod, "writer", STEADY, { restart: 1 })
      expect([dirname(second.log), second.log.slice(-6)]).toEqual([dirname(first.log), "/1.log"])
      await segmentsReach(second.log, 2, agent)
      await soon(agent, "nothing plain but the first container's file", () => isPacked(first.log))
      const secondLines = await atRest(second, agent)
      expect(await agent.stop()).toEqual(STOPPED)

      const events = await agent.events()
      for (const [writer, lines] of [
        [first, firstLines],
        [second, secondLines],
      ] as const) {
        const found = expectEveryLine(writer, lines)
        expectEventsMatchDisk(events, writer.container.log, found)
      }
      expectOrderly(second)
      expect(isPacked(first.log)).toBe(true)
    },
    TEST_MS,
  )

  test(
    "where a rotation was cut off between rename and reopen, the runtime is made to reopen and no line is lost",
    async () => {
      const pod = await podOf(containerd(), "cut-off")
      const writer = await writerIn(containerd(), pod, "writer", STEADY)
      const agent = agentOn(containerd(), { maxSize: "1Gi", maxFiles: 1000 })
      await watched(writer.log, agent)
      renameSync(writer.log, `${writer.log}.20200101-000000`)
      await soon(agent, "a new active file", () => existsSync(writer.log))
      const lines = await held(writer)
      expect(await agent.stop()).toEqual(STOPPED)
      expectEveryLine(writer, lines)
      expect(stampsOf(writer.log)).toEqual(["20200101-000000"])
    },
    TEST_MS,
  )

  test(
    "where somebody has deleted the active file, there is a new one soon and every line since then is in it",
    async () => {
      const pod = await podOf(containerd(), "deleted")
      const writer = await writerIn(containerd(), pod, "writer", STEADY)
      const agent = agentOn(containerd(), { maxSize: "1Gi", maxFiles: 1000 })
      await soon(agent, "an active file with something in it", () => statSync(writer.log).size > 0)
      rmSync(writer.log)
      // What containerd had in hand goes to the deleted file; once something is in the new one, all that follows is.
      await soon(
        agent,
        "a new active file with something in it",
        () => existsSync(writer.log) && statSync(writer.log).size > 0,
      )
      const lines = await held(writer)
      expect(await agent.stop()).toEqual(STOPPED)
      const { faults, last, unfinished } = account(writer.log, numberOf(STEADY.lineChars), {
        beginningRemoved: true,
        to: lines,
      })
      expect({ faults, last, unfinished }).toEqual({ faults: FAULTLESS, last: lines, unfinished: {} })
    },
    TEST_MS,
  )

  test.each([
    { fault: "refused", title: "fails" },
    { fault: "silence", title: "is never answered" },
  ] satisfies ReadonlyArray<{ fault: Fault; title: string }>)(
    "where reopening $title, the active file is renamed back and written on, the failure is an event, and rotation recovers",
    async ({ fault }) => {
      const proxy = await proxyOf(containerd())
      proxy.break("ReopenContainerLog", fault)
      const pod = await podOf(containerd(), `reopen-${fault}`)
      const writer = await writerIn(containerd(), pod, "writer", STEADY)
      await eventually(
        { what: "more than maxSize", withinMs: SOON_MS },
        () => statSync(writer.log).size > 2 * 1024 * 1024,
      )
      const { ino } = statSync(writer.log)

      const agent = agentOn(containerd(), KEEP_ALL, { socket: proxy.socket, timeout: "1s" })
      await soon(agent, "two attempts to reopen", () => proxy.timesBroken("ReopenContainerLog") >= 2)
      const failure = await soon(agent, "a Failed event", async () =>
        expectWellFormed(await agent.events(), writer.container.log).find(({ type }) => type === "Failed"),
      )
      expect(failure.data["path"]).toContain(writer.log)
      // For a moment in each attempt it has the segment's name; between attempts it has its own.
      await soon(
        agent,
        "the active file under its own name and alone",
        () =>
          filesOf(writer.log)
            .map(({ role }) => role)
            .join() === "active" && statSync(writer.log).ino === ino,
      )

      proxy.mend("ReopenContainerLog")
      await segmentsReach(writer.log, 2, agent)
      const lines = await atRest(writer, agent)
      expect(await agent.stop()).toEqual(STOPPED)
      const found = expectEveryLine(writer, lines)
      expectOrderly(writer)
      expectEventsMatchDisk(await agent.events(), writer.container.log, found)
    },
    TEST_MS,
  )

  test(
    "where the runtime has reopened but its reply is lost, nothing is renamed over the new file and no line is lost",
    async () => {
      const proxy = await proxyOf(containerd())
      const pod = await podOf(containerd(), "reply-lost")
      const writer = await writerIn(containerd(), pod, "writer", STEADY)
      // Longer than the runtime takes: else it would reopen after the agent has given it up.
      const agent = agentOn(containerd(), KEEP_ALL, { socket: proxy.socket, timeout: "10s" })
      await segmentsReach(writer.log, 1, agent)
      proxy.break("ReopenContainerLog", "reply-lost")
      await soon(agent, "three lost replies", () => proxy.timesBroken("ReopenContainerLog") >= 3)
      proxy.mend("ReopenContainerLog")
      await segmentsReach(writer.log, segmentCount(writer.log) + 2, agent)
      const lines = await atRest(writer, agent)
      expect(await agent.stop()).toEqual(STOPPED)
      expectEveryLine(writer, lines)
      expectOrderly(writer)
      expectWellFormed(await agent.events(), writer.container.log)
    },
    TEST_MS,
  )
})
