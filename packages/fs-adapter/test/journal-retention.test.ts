/** What retention lets go and what it keeps: by age, by size, for a fold, and whatever the clock does. */
import { statSync } from "node:fs"
import { Effect } from "effect"
import { assert, describe, it } from "vitest"
import * as fc from "fast-check"
import { makeCautiousClock } from "../src/journal/retention.ts"
import {
  aPath,
  append,
  DAY_MS,
  eventOf,
  eventsOf,
  logOf,
  numbersIn,
  openJournal,
  removed,
  rotated,
  runs,
  scanned,
  START_MS,
  Time,
} from "./journal-given.ts"
import type { CoreFact } from "@cordwood/core"

const HOUR_MS = 60 * 60_000
const MIB = 1024 * 1024
const ALL = { limit: 1_000_000 }

/** Appends one event at a time, at the time it is. */
const appending = async (options: { keepMs?: number; maxBytes?: number }, time = new Time()) => {
  const path = aPath()
  const journal = await openJournal({ path, ...options }, time)
  let n = 0
  const add = async (fact: CoreFact = removed(), log = "a"): Promise<number> => {
    n += 1
    await append(journal, eventOf(n, fact, logOf(log), time.wallMs))
    return n
  }
  return { path, journal, time, add, numbers: () => numbersIn(journal.read(ALL)) }
}

describe("retention by age", () => {
  it("lets events go that are older than keepMs, oldest first, and no younger one", async () => {
    const { add, numbers, time } = await appending({ keepMs: 10 * DAY_MS })
    for (let day = 0; day < 30; day += 1) {
      await add()
      time.pass(DAY_MS)
    }
    await add()
    await add()
    assert.deepStrictEqual(await numbers(), [21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32])
  })

  it("keeps what a fold needs of a log that isn't silent, and forgets a log that was silent for keepMs", async () => {
    const { add, journal, numbers, time } = await appending({ keepMs: 10 * DAY_MS })
    await add(removed(), "busy") // 1: goes
    await add(rotated(), "busy") // 2: the latest rotation
    await add(removed(), "busy") // 3: goes
    await add(scanned(), "busy") // 4: the latest scan
    await add(removed(), "busy") // 5: since then
    await add(rotated(), "gone") // 6
    await add(scanned(), "gone") // 7
    await add(removed(), "never-scanned") // 8: kept by its age alone
    time.pass(9 * DAY_MS)
    await add(removed(), "busy") // 9
    time.pass(2 * DAY_MS)
    for (let n = 0; n < 4; n += 1) await add(removed(), "other") // 10 to 13
    assert.deepStrictEqual(await numbers(), [2, 4, 5, 9, 10, 11, 12, 13])
    assert.deepStrictEqual(await numbersIn(journal.replay), [2, 4, 5, 9, 10, 11, 12, 13])
    time.pass(9 * DAY_MS)
    await add(removed(), "other")
    time.pass(HOUR_MS)
    await add(removed(), "other")
    assert.deepStrictEqual(await numbers(), [10, 11, 12, 13, 14, 15])
  })

  it("gives positions on that rise although everything was let go, across a restart too", async () => {
    const path = aPath()
    const time = new Time()
    const first = await openJournal({ path, keepMs: DAY_MS }, time)
    await append(first, ...eventsOf(1, 6))
    time.pass(3 * DAY_MS)
    await append(first, eventOf(6, removed(), logOf("b"), time.wallMs))
    assert.deepStrictEqual(await numbersIn(first.read({})), [6])
    time.pass(3 * DAY_MS)
    await first.close()
    const second = await openJournal({ path, keepMs: DAY_MS }, time)
    const { events } = await append(second, eventOf(7, removed(), logOf("b"), time.wallMs))
    assert.deepStrictEqual([events[0]?.position, await numbersIn(second.read({}))], [7, [7]])
  })

  it("catches up with many old events a bounded number at a time", async () => {
    const { journal, numbers, time } = await appending({ keepMs: DAY_MS })
    await append(journal, ...eventsOf(1, 1_001))
    time.pass(2 * DAY_MS)
    const left: Array<number> = []
    for (let n = 0; n < 17; n += 1) {
      await append(journal, eventOf(2_000 + n, removed(), logOf("a"), time.wallMs))
      left.push((await numbers()).filter((number) => number < 2_000).length)
    }
    assert.deepStrictEqual(left, [936, 872, 808, 744, 680, 616, 552, 488, 424, 360, 296, 232, 168, 104, 40, 0, 0])
  })

  it("keeps everything when the clock is set back, and lets what is old go when it is right again", async () => {
    const { add, numbers, time } = await appending({ keepMs: 10 * DAY_MS })
    for (let n = 0; n < 5; n += 1) await add()
    time.set(START_MS - 300 * DAY_MS)
    for (let n = 0; n < 5; n += 1) {
      await add()
      time.pass(HOUR_MS)
    }
    assert.deepStrictEqual(await numbers(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    // The right time again is a leap ahead, which isn't believed at once.
    time.set(START_MS + HOUR_MS)
    await add()
    time.pass(25 * HOUR_MS)
    await add()
    await add()
    assert.deepStrictEqual(await numbers(), [1, 2, 3, 4, 5, 11, 12, 13])
  })

  it("lets nothing go for a clock that leaps a year ahead and is set right within a day", async () => {
    const { add, numbers, time } = await appending({ keepMs: 10 * DAY_MS })
    for (let n = 0; n < 5; n += 1) await add()
    time.set(START_MS + 365 * DAY_MS)
    for (let n = 0; n < 20; n += 1) {
      time.pass(HOUR_MS)
      await add()
    }
    time.set(START_MS + 20 * HOUR_MS)
    await add()
    assert.deepStrictEqual((await numbers()).length, 26)
  })

  it("believes a clock by less than an hour, and never more than it shows or the time that has passed plus that hour", () => {
    const step = fc.record({
      passMs: fc.nat(3 * DAY_MS),
      jumpMs: fc.integer({ min: -400 * DAY_MS, max: 400 * DAY_MS }),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        let wallMs = START_MS
        let monotonicMs = 0
        const clock = makeCautiousClock({ wallMs, monotonicMs })
        let believed = START_MS
        for (const { jumpMs, passMs } of steps) {
          wallMs += passMs + jumpMs
          monotonicMs += passMs
          const now = clock({ wallMs, monotonicMs })
          assert.isAtMost(now, Math.max(wallMs, believed + passMs))
          if (jumpMs <= 0 && wallMs <= believed + passMs) assert.strictEqual(now, wallMs)
          believed = now
        }
        // At last the clock is right and stays so.
        clock({ wallMs, monotonicMs })
        assert.strictEqual(clock({ wallMs: wallMs + DAY_MS, monotonicMs: monotonicMs + DAY_MS }), wallMs + DAY_MS)
      }),
      runs(500),
    )
  })
})

describe("retention by size", () => {
  const bytesOf = (path: string): number => statSync(path).size + statSync(`${path}-wal`).size

  it("never lets the files grow past maxBytes, drops the oldest, and gives space back", async () => {
    const { journal, numbers, path } = await appending({ maxBytes: 2 * MIB })
    let largest = 0
    for (let n = 0; n < 20_000; n += 100) {
      await append(journal, ...eventsOf(n, n + 100))
      largest = Math.max(largest, bytesOf(path))
    }
    assert.isAtMost(largest, 2 * MIB)
    const left = await numbers()
    assert.isAbove(left.length, 1_000)
    assert.deepStrictEqual(
      left,
      left.map((_, at) => 20_000 - left.length + at),
    )
  })

  it("shrinks a journal whose limit was lowered", async () => {
    const path = aPath()
    const large = await openJournal({ path })
    for (let n = 0; n < 20_000; n += 1_000) await append(large, ...eventsOf(n, n + 1_000))
    await large.close()
    assert.isAbove(statSync(path).size, 6 * MIB)
    const small = await openJournal({ path, maxBytes: 2 * MIB })
    for (let n = 30_000; n < 31_000; n += 1) await append(small, eventOf(n))
    assert.isAtMost(bytesOf(path), 2 * MIB)
    await small.close()
    assert.isAtMost(statSync(path).size, 2 * MIB)
  })

  it("keeps what a fold needs while there is anything else, and drops even that rather than grow", async () => {
    const { journal, path } = await appending({ maxBytes: MIB })
    await append(journal, eventOf(1, rotated(), logOf("quiet")), eventOf(2, scanned(), logOf("quiet")))
    for (let n = 100; n < 10_100; n += 100) await append(journal, ...eventsOf(n, n + 100))
    assert.deepStrictEqual((await numbersIn(journal.replay)).slice(0, 2), [1, 2])
    let n = 20_000
    const scan = () => eventOf((n += 1), scanned(), logOf(`pod-${n}`))
    for (let batch = 0; batch < 100; batch += 1) await append(journal, ...Array.from({ length: 50 }, scan))
    assert.isAtMost(bytesOf(path), MIB)
    const kept = await numbersIn(journal.replay)
    assert.deepStrictEqual(
      kept.slice(-500),
      Array.from({ length: 500 }, (_, at) => n - 499 + at),
    )
    assert.isFalse(kept.includes(1))
  })

  it("isn't led by another program's long look into dropping more than it must", async () => {
    const { journal, path } = await appending({ maxBytes: 2 * MIB })
    await append(journal, ...eventsOf(1, 11))
    const { DatabaseSync } = await import("node:sqlite")
    const shell = new DatabaseSync(path)
    shell.exec("BEGIN; SELECT count(*) FROM events")
    for (let n = 100; n < 2_100; n += 10) await append(journal, ...eventsOf(n, n + 10))
    assert.isAbove(statSync(`${path}-wal`).size, 2 * MIB, "the log of writes can't be emptied meanwhile")
    assert.strictEqual((await numbersIn(journal.read(ALL))).length, 2_010)
    shell.close()
    for (let n = 3_000; n < 3_300; n += 10) await append(journal, ...eventsOf(n, n + 10))
    assert.isAtMost(bytesOf(path), 2 * MIB)
    await Effect.runPromise(journal.read({}))
  })
})
