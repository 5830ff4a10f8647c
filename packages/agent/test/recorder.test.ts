/** Facts becoming events, with a journal that fails, hangs back, or is replaced. */
import { assert, describe, it } from "@effect/vitest"
import { type CoreFact, type Envelope, JournalError, type Log } from "@cordwood/core"
import { makeMemoryJournal } from "@cordwood/core/testing"
import { Effect, Exit, PubSub, Scope } from "effect"
import { TestClock } from "effect/testing"
import { makeRecorder, type RecorderOptions } from "../src/record/recorder.ts"

const log: Log = { path: "/pods/a/0.log" }
const cause = { correlationId: "pass", causationId: null }
const scanned = (...names: ReadonlyArray<string>): CoreFact => ({
  type: "Scanned",
  data: { activeBytes: 1, segments: names.length, totalBytes: 1, files: names.map((name) => ({ name, bytes: 2 })) },
})
const noSpace = new JournalError({
  op: "open",
  path: "/journal",
  reason: "NoSpace",
  detail: "disk full",
  hint: "make room",
})
const options = (open: RecorderOptions["open"]): RecorderOptions => {
  let ids = 0
  return { open, path: "/journal", newId: () => `00000000-0000-4000-8000-${String((ids += 1)).padStart(12, "0")}` }
}
const types = (events: ReadonlyArray<Envelope>): ReadonlyArray<string> => events.map(({ type }) => type)

describe("the recorder", () => {
  it.effect("publishes just what was stored, as it was stored", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.parse("2026-09-09T04:33:10Z"))
      const journal = makeMemoryJournal()
      const recorder = yield* makeRecorder(options(Effect.succeed(journal)))
      const events = yield* recorder.subscribe
      yield* recorder.record(log, scanned("0.log.20260909-043310"), cause)
      assert.deepStrictEqual(yield* PubSub.take(events), {
        id: "00000000-0000-4000-8000-000000000001",
        position: 1,
        time: "2026-09-09T04:33:10.000Z",
        type: "Scanned",
        version: 1,
        log,
        data: { activeBytes: 1, segments: 1, totalBytes: 1, files: [{ name: "0.log.20260909-043310", bytes: 2 }] },
        metadata: { correlationId: "pass", causationId: null, traceId: null, spanId: null },
      })
      assert.deepStrictEqual([...(recorder.state(log.path).files ?? [])], [["0.log.20260909-043310", 2]])
    }),
  )

  it.effect("stores an event once when the append took effect and failed all the same", () =>
    Effect.gen(function* () {
      const journal = makeMemoryJournal({ faults: [{ _tag: "FailAfter" }] })
      const recorder = yield* makeRecorder(options(Effect.succeed(journal)))
      const events = yield* recorder.subscribe
      yield* recorder.record(log, scanned(), cause)
      assert.strictEqual(yield* PubSub.remaining(events), 0)
      yield* TestClock.adjust("1 second")
      yield* recorder.flush
      assert.deepStrictEqual(types(journal.stored()), ["Scanned", "Failed"])
      assert.deepStrictEqual(yield* PubSub.takeAll(events), journal.stored())
    }),
  )

  it.effect("asks a journal that failed again no sooner than after a second", () =>
    Effect.gen(function* () {
      let appends = 0
      const journal = makeMemoryJournal({ faults: Array.from({ length: 2 }, () => ({ _tag: "FailBefore" as const })) })
      const counting = {
        ...journal,
        append: (batch: Parameters<typeof journal.append>[0]) => ((appends += 1), journal.append(batch)),
      }
      const recorder = yield* makeRecorder(options(Effect.succeed(counting)))
      for (let at = 0; at < 50; at += 1) yield* recorder.record(log, scanned(`${at}`), cause)
      assert.strictEqual(appends, 1)
      yield* TestClock.adjust("1 second")
      yield* recorder.flush
      assert.strictEqual(appends, 2)
      yield* TestClock.adjust("1 second")
      yield* recorder.flush
      // All in order, with the one failure where it belongs.
      assert.deepStrictEqual(types(journal.stored()), [
        "Scanned",
        "Failed",
        ...Array.from({ length: 49 }, () => "Scanned"),
      ])
    }),
  )

  it.effect(
    "starts with a journal that can't be opened yet, and what it says later doesn't undo what was seen since",
    () =>
      Effect.gen(function* () {
        const journal = makeMemoryJournal()
        const before = yield* makeRecorder(options(Effect.succeed(journal)))
        yield* before.record(log, scanned("old"), cause)
        yield* before.record({ path: "/pods/b/0.log" }, scanned("other"), cause)
        let full = true
        const recorder = yield* makeRecorder({
          ...options(Effect.suspend(() => (full ? Effect.fail(noSpace) : Effect.succeed(journal)))),
          newId: () => crypto.randomUUID(),
        })
        yield* recorder.record(log, scanned("new"), cause)
        full = false
        yield* TestClock.adjust("1 second")
        yield* recorder.flush
        assert.deepStrictEqual(
          journal.stored().map(({ data, type }) => [type, (data as { readonly files?: unknown }).files]),
          [
            ["Scanned", [{ name: "old", bytes: 2 }]],
            ["Scanned", [{ name: "other", bytes: 2 }]],
            ["Failed", undefined],
            ["Scanned", [{ name: "new", bytes: 2 }]],
          ],
        )
        assert.deepStrictEqual([...(recorder.state(log.path).files ?? [])], [["new", 2]])
        assert.deepStrictEqual([...(recorder.state("/pods/b/0.log").files ?? [])], [["other", 2]])
      }),
  )

  it.effect("knows what a journal that could only be opened later tells of a segment that was scanned since", () =>
    Effect.gen(function* () {
      const journal = makeMemoryJournal()
      const name = "0.log.20260909-043310"
      const before = yield* makeRecorder(options(Effect.succeed(journal)))
      const data = { from: log.path, to: `/pods/a/${name}`, bytes: 2, reopened: true }
      const id = yield* before.record(log, { type: "Rotated", data }, cause)
      let full = true
      const recorder = yield* makeRecorder({
        ...options(Effect.suspend(() => (full ? Effect.fail(noSpace) : Effect.succeed(journal)))),
        newId: () => crypto.randomUUID(),
      })
      yield* recorder.record(log, scanned(name), cause)
      full = false
      yield* TestClock.adjust("1 second")
      yield* recorder.flush
      assert.deepStrictEqual(
        [...recorder.state(log.path).histories],
        [["20260909-043310", { rotated: { eventId: id, traceId: null, spanId: null }, told: [] }]],
      )
    }),
  )

  it.effect(
    "tells of a segment as missing whose removal died with an agent, though the next one couldn't know of it at first",
    () =>
      Effect.gen(function* () {
        const journal = makeMemoryJournal()
        const [gone, there] = ["0.log.20260909-043310", "0.log.20260909-043320"]
        const before = yield* makeRecorder(options(Effect.succeed(journal)))
        yield* before.record(log, scanned(gone, there), cause)
        let full = true
        const recorder = yield* makeRecorder({
          ...options(Effect.suspend(() => (full ? Effect.fail(noSpace) : Effect.succeed(journal)))),
          newId: () => crypto.randomUUID(),
        })
        yield* recorder.record(log, scanned(`${there}.gz`), cause)
        yield* recorder.record({ path: "/pods/b/0.log" }, scanned("0.log.20260909-043310"), cause)
        full = false
        yield* TestClock.adjust("1 second")
        yield* recorder.flush
        assert.deepStrictEqual(
          journal.stored().flatMap(({ data, metadata, type }) => (type === "Removed" ? [{ data, metadata }] : [])),
          [
            {
              data: { path: `/pods/a/${gone}`, bytes: 2, reason: "missing" },
              metadata: { correlationId: "pass", causationId: null, traceId: null, spanId: null },
            },
          ],
        )
      }),
  )

  it.effect("reads a journal later that it could open and not read, and opens it no second time", () =>
    Effect.gen(function* () {
      const journal = makeMemoryJournal()
      yield* (yield* makeRecorder(options(Effect.succeed(journal)))).record(log, scanned("old"), cause)
      let full = true
      let opened = 0
      const open = Effect.suspend(() => {
        opened += 1
        return Effect.succeed({
          ...journal,
          replay: Effect.suspend(() => (full ? Effect.fail(noSpace) : journal.replay)),
        })
      })
      const recorder = yield* makeRecorder({ ...options(open), newId: () => crypto.randomUUID() })
      yield* recorder.record(log, scanned("new"), cause)
      full = false
      yield* TestClock.adjust("1 second")
      yield* recorder.flush
      assert.deepStrictEqual(types(journal.stored()), ["Scanned", "Failed", "Scanned"])
      assert.deepStrictEqual([recorder.trouble(), opened], [null, 1])
    }),
  )

  it.effect("tries once more when it is closed, however lately the journal has failed", () =>
    Effect.gen(function* () {
      const journal = makeMemoryJournal({ faults: [{ _tag: "FailBefore" }] })
      const scope = yield* Scope.make()
      const recorder = yield* Scope.provide(makeRecorder(options(Effect.succeed(journal))), scope)
      yield* recorder.record(log, scanned(), cause)
      assert.deepStrictEqual(types(journal.stored()), [])
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(types(journal.stored()), ["Scanned", "Failed"])
    }),
  )

  it.effect("refuses to start beside another agent", () =>
    Effect.gen(function* () {
      const locked = new JournalError({
        op: "open",
        path: "/journal",
        reason: "Locked",
        detail: "held by process 7",
        hint: "stop it",
      })
      assert.strictEqual(yield* Effect.flip(makeRecorder(options(Effect.fail(locked)))), locked)
    }),
  )

  it.effect(
    "forgets what a replaced journal knew, so that every log says it again, but for what the new one was told first, and reports it",
    () =>
      Effect.gen(function* () {
        const journal = makeMemoryJournal({ faults: [{ _tag: "None" }, { _tag: "Replace" }] })
        const recorder = yield* makeRecorder(options(Effect.succeed(journal)))
        yield* recorder.record(log, scanned("a"), cause)
        yield* recorder.record({ path: "/pods/b/0.log" }, scanned("b"), cause)
        assert.strictEqual(recorder.state(log.path).files, null)
        assert.deepStrictEqual(recorder.state("/pods/b/0.log").files, new Map([["b", 2]]))
        assert.deepStrictEqual(
          journal.stored().map(({ data, log: { path }, type }) => ({ type, path, data })),
          [
            {
              type: "Scanned",
              path: "/pods/b/0.log",
              data: { activeBytes: 1, segments: 1, totalBytes: 1, files: [{ name: "b", bytes: 2 }] },
            },
            {
              type: "Failed",
              path: "/journal",
              data: {
                step: "journal",
                path: "/journal",
                reason: "Missing",
                message: "ordered by the test; a new journal was begun",
                hint: "what is on disk is recorded anew; look into the old file for earlier events, then delete it",
              },
            },
          ],
        )
      }),
  )

  it.effect("gives up the oldest events when ten thousand wait, and says how many", () =>
    Effect.gen(function* () {
      const faults = Array.from({ length: 1 }, () => ({ _tag: "FailBefore" as const }))
      const journal = makeMemoryJournal({ faults })
      const recorder = yield* makeRecorder(options(Effect.succeed(journal)))
      for (let at = 0; at < 10_010; at += 1) yield* recorder.record(log, scanned(`${at}`), cause)
      yield* TestClock.adjust("1 second")
      yield* recorder.flush
      const stored = journal.stored()
      // Ten thousand and ten scans and the failure were too many by eleven, the failure among them.
      assert.strictEqual(stored.length, 10_001)
      assert.deepStrictEqual(stored[0]?.data, {
        activeBytes: 1,
        segments: 1,
        totalBytes: 1,
        files: [{ name: "10", bytes: 2 }],
      })
      assert.deepStrictEqual(stored.at(-1)?.data, {
        step: "journal",
        path: "/journal",
        reason: "EventsLost",
        message: "11 events were given up while the journal could not be written",
        hint: "rotation was not affected; make room for the journal",
      })
    }),
  )
})
