/**
 * Containers that write as fast as they can: for a minute in CI, and for as many as CORDWOOD_E2E_MINUTES says. A containerd of its own, as
 * others would wait for it. What it prints are the README's figures.
 */
import { setTimeout as pause } from "node:timers/promises"
import { expect, test } from "vitest"
import { account, FAULTLESS } from "./account.ts"
import type { Share } from "./account.ts"
import type { Agent } from "./agent.ts"
import { expectEventsMatchDisk } from "./journal.ts"
import { onContainerd } from "./requirements.ts"
import {
  agentOn,
  atRest,
  expectEveryLine,
  expectOrderly,
  held,
  podOf,
  segmentsOf,
  sharedContainerd,
  watched,
  writerIn,
} from "./scene.ts"
import { Witness } from "./witness.ts"
import { numberOf } from "./writer.ts"

const MINUTES = Number(process.env["CORDWOOD_E2E_MINUTES"] ?? "1")
if (!(MINUTES > 0)) throw new Error("CORDWOOD_E2E_MINUTES says how many minutes to write for: a number above 0")
const WRITE_MS = MINUTES * 60_000
/** Setting up, waiting for what is left to do, and reading again what was written. */
const TEST_MS = 600_000 + 6 * WRITE_MS
/** Long lines: reading them again takes most of the time, and takes it by the line. */
const LINE_CHARS = 1_000

const MIB = 1024 * 1024
const CONTAINERS = 20
const PODS = 4
/** A second's writing and more, so that a file can be seen before it is removed. */
const LARGE_MIB = 32
const MAX_FILES = 5

const writeFor = async (agent: Agent, ms: number): Promise<void> => {
  const until = performance.now() + ms
  while (performance.now() < until) {
    if (!agent.running) throw new Error(agent.output())
    await pause(Math.min(1_000, Math.max(0, until - performance.now())))
  }
}

/** Largest active file there ever was, and all that was written, by the files that it became. */
const figures = (shares: ReadonlyArray<Share>) => ({
  bytes: shares.reduce((sum, { bytes }) => sum + bytes, 0),
  largest: shares.reduce((most, { bytes }) => Math.max(most, bytes), 0),
})
const tell = (
  what: string,
  lines: number,
  rotations: number,
  { bytes, largest }: ReturnType<typeof figures>,
  limit: number,
) =>
  console.info(
    `${what}: ${lines} lines, ${Math.round(bytes / MIB)} MiB, ${rotations} rotations, largest active file ${(largest / limit).toFixed(2)} × maxSize; 0 lines missing, 0 doubled, 0 out of order`,
  )

onContainerd(`when containers write as fast as they can for ${MINUTES} min`, () => {
  const containerd = sharedContainerd()

  test(
    `every line of ${CONTAINERS} of them at once is there once, in order`,
    async () => {
      const pods = await Promise.all(
        Array.from({ length: PODS }, (_, index) => podOf(containerd(), `flat-out-${index}`)),
      )
      const writing = { lineChars: LINE_CHARS, burstLines: 500, pauseSeconds: 0 }
      const writers = await Promise.all(
        Array.from({ length: CONTAINERS }, (_, index) =>
          writerIn(containerd(), pods[index % PODS]!, `writer-${index}`, writing, { held: true }),
        ),
      )
      const agent = agentOn(containerd(), { maxSize: MIB, maxFiles: 100_000 }, { timeout: "30s" })
      await watched(
        writers.map(({ log }) => log),
        agent,
      )
      for (const { gate } of writers) gate.release()
      await writeFor(agent, WRITE_MS)
      // On two cores they write faster than is compressed. That the rest would be, too, is for gentler tests to prove.
      const lines = await Promise.all(writers.map(held))
      expect(await agent.stop()).toEqual({ code: 0, signal: null })

      const events = await agent.events()
      const found = writers.map((writer, index) => {
        const of = expectEveryLine(writer, lines[index]!)
        expectEventsMatchDisk(events, writer.container.log, of)
        return of.shares
      })
      const rotations = found.map(({ length }) => length - 1)
      expect(rotations.filter((count) => count < 2)).toEqual([])
      tell(
        `${CONTAINERS} containers`,
        lines.reduce((sum, count) => sum + count, 0),
        rotations.reduce((sum, count) => sum + count, 0),
        figures(found.flat()),
        MIB,
      )
    },
    TEST_MS,
  )

  test(
    `of one alone every line is on disk once, in order, or in a segment that an event says was removed`,
    async () => {
      const maxBytes = LARGE_MIB * MIB
      const pod = await podOf(containerd(), "alone")
      const writing = { lineChars: LINE_CHARS, burstLines: 5_000, pauseSeconds: 0 }
      const writer = await writerIn(containerd(), pod, "writer", writing, { held: true })
      const agent = agentOn(containerd(), { maxSize: maxBytes, maxFiles: MAX_FILES })
      await watched(writer.log, agent)
      const witness = new Witness(writer.log, numberOf(LINE_CHARS))
      writer.gate.release()
      await writeFor(agent, WRITE_MS / 2)
      const lines = await atRest(writer, agent, maxBytes)
      expect(await agent.stop()).toEqual({ code: 0, signal: null })
      expectOrderly(writer, maxBytes)

      // What the runtime wrote, whatever became of it since.
      const all = await witness.account()
      const { faults, last, shares } = all
      expect({ faults, last }).toEqual({ faults: FAULTLESS, last: lines })

      // The newest files of it are on disk as they were written; all before them were removed, with an event each, oldest first.
      const onDisk = account(writer.log, numberOf(LINE_CHARS), { beginningRemoved: true, to: lines })
      expect(onDisk.faults).toEqual(FAULTLESS)
      const content = (some: ReadonlyArray<Share>) =>
        some.filter(({ bytes }) => bytes > 0).map(({ bytes, last: end }) => ({ bytes, last: end }))
      const kept = content(onDisk.shares)
      expect(kept).toEqual(content(shares).slice(-kept.length))
      expect(segmentsOf(writer.log).length).toBe(MAX_FILES - 1)
      const events = await agent.events()
      expectEventsMatchDisk(events, writer.container.log, onDisk)
      const removed = events.filter(({ type }) => type === "Removed").length
      expect(removed).toBe(shares.length - kept.length)
      tell("one container", lines, shares.length - 1, figures(shares), maxBytes)
    },
    TEST_MS,
  )
})
