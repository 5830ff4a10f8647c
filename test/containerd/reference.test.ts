/**
 * The reference experiment of rotation.md on a real containerd, as it stands: default interval, five files, and a configuration
 * of five lines. It takes a little over a minute, because six rotations do.
 */
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { expect, test } from "vitest"
import { account, FAULTLESS, filesOf } from "./account.ts"
import type { Share } from "./account.ts"
import { expectEventsMatchDisk } from "./journal.ts"
import { onContainerd } from "./requirements.ts"
import { agentWith, held, podOf, sharedContainerd, writerIn } from "./scene.ts"
import { numberOf, REFERENCE } from "./writer.ts"

const TEST_MS = 480_000
const LOOK_EVERY_MS = 250
/** At the default interval six rotations take a minute. */
const SIX_ROTATIONS_WITHIN_MS = 360_000
const MAX_BYTES = 5_000_000
const MAX_FILES = 5
/** A folder whose names haven't changed for so long is between two passes: a pass takes a fraction of it. */
const AT_REST_LOOKS = 3_000 / LOOK_EVERY_MS

const secondsOf = (stamp: string): number =>
  Date.parse(stamp.replace(/^(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)(\d\d)$/, "$1-$2-$3T$4:$5:$6Z")) / 1000

onContainerd("the reference experiment", () => {
  const containerd = sharedContainerd()

  test(
    "runs on a configuration of five lines: a growing 0.log, one plain segment, archives, five files at the most, the oldest going",
    async () => {
      const agent = agentWith(
        containerd(),
        (folder) => `sources:
  - cri: { endpoint: "unix://${containerd().socket}" }
policy: { maxSize: 5M, maxFiles: ${MAX_FILES} }
journal:
  path: ${join(folder, "journal.db")}
`,
      )
      const pod = await podOf(containerd(), "reference")
      const writer = await writerIn(containerd(), pod, "writer", REFERENCE)
      const startedSeconds = Math.floor(Date.now() / 1000)

      /** Each segment as it was when it had become an archive: what it held outlives its removal. */
      const archives = new Map<string, Share>()
      const stamps = new Set<string>()
      const atRest: Array<{ readonly names: ReadonlyArray<string>; readonly grewBytes: number }> = []
      let same = { names: "", looks: 0, leastBytes: 0 }
      const deadline = performance.now() + SIX_ROTATIONS_WITHIN_MS
      while (stamps.size < 6 || same.looks <= AT_REST_LOOKS) {
        if (performance.now() > deadline || !agent.running) {
          throw new Error(`six rotations didn't come: ${[...stamps].join(", ")}\n${agent.output()}`)
        }
        const files = filesOf(writer.log)
        const names = files.map(({ name }) => name)
        for (const { stamp } of files) if (stamp !== "") stamps.add(stamp)
        const activeBytes = files.find(({ role }) => role === "active")?.bytesOnDisk ?? 0
        if (names.join() === same.names)
          same = { ...same, looks: same.looks + 1, leastBytes: Math.min(same.leastBytes, activeBytes) }
        else same = { names: names.join(), looks: 0, leastBytes: activeBytes }
        if (same.looks === AT_REST_LOOKS) {
          atRest.push({ names, grewBytes: activeBytes - same.leastBytes })
          const { shares } = account(writer.log, numberOf(REFERENCE.lineChars), { beginningRemoved: true })
          for (const share of shares) if (share.name.endsWith(".gz")) archives.set(share.name, share)
        }
        await pause(LOOK_EVERY_MS)
      }
      const lines = await held(writer)
      expect(await agent.stop()).toEqual({ code: 0, signal: null })

      // At rest: archives, then one plain segment, then the active file; never more than five.
      const expected = [...stamps].sort()
      for (const { names, grewBytes } of atRest) {
        const segments = names.slice(0, -1)
        const from = expected.findIndex((stamp) => segments[0]?.includes(stamp) === true)
        const these = from === -1 ? [] : expected.slice(from, from + segments.length)
        expect(names).toEqual([
          ...these.map((stamp, index) => (index === these.length - 1 ? `0.log.${stamp}` : `0.log.${stamp}.gz`)),
          "0.log",
        ])
        expect(names.length).toBeLessThanOrEqual(MAX_FILES)
        expect(grewBytes, "0.log grows between rotations").toBeGreaterThan(0)
      }
      const [newest, ...older] = expected.slice(1 - MAX_FILES).toReversed()
      expect(atRest.at(-1)?.names).toEqual([
        ...older.toReversed().map((stamp) => `0.log.${stamp}.gz`),
        `0.log.${newest}`,
        "0.log",
      ])

      // Stamps are UTC, rise, and lie apart as passes do. Less than five seconds would take more than the writer can write;
      // how much more it is, on a machine that is busy, is a matter of its load.
      const seconds = expected.map(secondsOf)
      expect(seconds[0]).toBeGreaterThanOrEqual(startedSeconds)
      expect(seconds.at(-1)).toBeLessThanOrEqual(Math.ceil(Date.now() / 1000))
      const apart = seconds.slice(1).map((second, index) => second - seconds[index]!)
      expect(apart.filter((gap) => gap < 5)).toEqual([])

      // What is there is whole and has no gap, up to the last line written.
      const found = account(writer.log, numberOf(REFERENCE.lineChars), { beginningRemoved: true, to: lines })
      expect({ faults: found.faults, last: found.last, unfinished: found.unfinished }).toEqual({
        faults: FAULTLESS,
        last: lines,
        unfinished: {},
      })
      expect(found.shares.slice(0, -1).filter(({ bytes }) => bytes < MAX_BYTES)).toEqual([])

      // And with what was removed, from the very first line on.
      const all = new Map([...archives, ...found.shares.map((share) => [share.name, share] as const)])
      const spans = [...all.values()]
        .filter(({ name }) => name === "0.log" || all.get(`${name}.gz`) === undefined)
        .sort((a, b) => (a.name === "0.log" ? 1 : b.name === "0.log" ? -1 : a.name < b.name ? -1 : 1))
        .flatMap(({ first, last }) => (first === undefined || last === undefined ? [] : [{ first, last }]))
      expect(spans.map(({ first }) => first)).toEqual([1, ...spans.slice(0, -1).map(({ last }) => last + 1)])
      expectEventsMatchDisk(await agent.events(), writer.container.log, found)
    },
    TEST_MS,
  )
})
