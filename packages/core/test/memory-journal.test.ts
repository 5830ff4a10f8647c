/** The journal in memory passes the suite, and its faults do what they say. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Journal, JournalError, type Unstored } from "../src/index.ts"
import { journalSuite, makeMemoryJournal } from "../src/testing/index.ts"

const event = (n: number): Unstored => ({
  id: `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`,
  time: "2026-09-09T04:33:10.000Z",
  version: 1,
  log: { path: "/var/log/a.log" },
  metadata: { correlationId: "pass", causationId: null, traceId: null, spanId: null },
  type: "Removed",
  data: { path: `/var/log/a.log.${n}`, bytes: 1, reason: "max-files" },
})

describe("the journal in memory", () => {
  for (const { name, run } of journalSuite) {
    it.effect(name, () => run.pipe(Effect.provideService(Journal, makeMemoryJournal())))
  }

  it.effect("fails before an append without storing anything", () =>
    Effect.gen(function* () {
      const journal = makeMemoryJournal({ faults: [{ _tag: "FailBefore" }] })
      const error = yield* Effect.flip(journal.append([event(1)]))
      assert.deepStrictEqual([error.reason, journal.stored()], ["NoSpace", []])
      assert.deepStrictEqual((yield* journal.append([event(1)])).events, [{ ...event(1), position: 1 }])
    }),
  )

  it.effect("fails after an append that took effect, and takes the same events again for stored", () =>
    Effect.gen(function* () {
      const journal = makeMemoryJournal()
      const ordered = new JournalError({ op: "append", path: "/j", reason: "Busy", detail: "later", hint: "wait" })
      journal.order({ _tag: "None" }, { _tag: "FailAfter", error: ordered })
      yield* journal.append([event(1)])
      assert.strictEqual(yield* Effect.flip(journal.append([event(2)])), ordered)
      const again = yield* journal.append([event(2), event(3)])
      assert.deepStrictEqual(again.events, [
        { ...event(2), position: 2 },
        { ...event(3), position: 3 },
      ])
      assert.strictEqual(journal.stored().length, 3)
    }),
  )

  it.effect("loses what it held when it is replaced, says so once, and goes on with its positions", () =>
    Effect.gen(function* () {
      const journal = makeMemoryJournal({ path: "/j", faults: [{ _tag: "None" }, { _tag: "Replace" }] })
      yield* journal.append([event(1)])
      const appended = yield* journal.append([event(2)])
      assert.deepStrictEqual(appended, {
        events: [{ ...event(2), position: 2 }],
        replaced: { path: "/j", reason: "Missing", keptAs: null, detail: "ordered by the test" },
      })
      assert.deepStrictEqual(journal.stored(), appended.events)
      assert.strictEqual((yield* journal.append([event(3)])).replaced, null)
    }),
  )

  it.effect("drops events as retention would", () =>
    Effect.gen(function* () {
      const journal = makeMemoryJournal()
      yield* journal.append([event(1), event(2)])
      journal.drop(({ position }) => position === 1)
      assert.deepStrictEqual(journal.stored(), [{ ...event(2), position: 2 }])
      assert.deepStrictEqual((yield* journal.append([event(1)])).events, [{ ...event(1), position: 3 }])
    }),
  )
})
