/**
 * What every journal must do, as named cases that any test framework can run: give each one a journal of its own that is empty.
 * A case that doesn't hold fails with an error that says what was expected. Holds no framework and no clock.
 */
import { Effect } from "effect"
import type { Decoded } from "../event/decode.ts"
import type { Envelope, Unstored } from "../event/envelope.ts"
import type { CoreFact, Fact } from "../event/payload.ts"
import type { Log } from "../log/log.ts"
import { Journal } from "../port/journal.ts"

export interface JournalCase {
  readonly name: string
  readonly run: Effect.Effect<void, unknown, Journal>
}

/** JSON with sorted keys: what is equal as JSON is equal as text. */
const canonical = (value: unknown): string =>
  JSON.stringify(value, (_, part: unknown) =>
    typeof part === "object" && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
      : part,
  )

const expectEqual = (what: string, actual: unknown, expected: unknown): Effect.Effect<void, Error> =>
  canonical(actual) === canonical(expected)
    ? Effect.void
    : Effect.fail(new Error(`${what}: expected ${canonical(expected)}, got ${canonical(actual)}`))
const expectThat = (what: string, holds: boolean): Effect.Effect<void, Error> =>
  holds ? Effect.void : Effect.fail(new Error(what))

const uuid = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`
const START_MS = Date.UTC(2026, 8, 9, 4, 33, 10)
const timeOf = (second: number): string => new Date(START_MS + second * 1_000).toISOString()

const logOf = (name: string): Log => ({ path: `/var/log/pods/${name}/0.log`, namespace: "default", pod: name })
/** The `n`th event: its id and, in seconds, its time come from `n`. */
const eventOf = (n: number, fact: Fact, log: Log = logOf("a")): Unstored => ({
  id: uuid(n),
  time: timeOf(n),
  version: 1,
  log,
  metadata: { correlationId: `pass-${n}`, causationId: null, traceId: null, spanId: null },
  ...fact,
})
const scanned = (names: ReadonlyArray<string> = []): CoreFact => ({
  type: "Scanned",
  data: { activeBytes: 10, segments: names.length, totalBytes: 10, files: names.map((name) => ({ name, bytes: 5 })) },
})
const rotated = (to: string): CoreFact => ({
  type: "Rotated",
  data: { from: "/var/log/pods/a/0.log", to, bytes: 10, reopened: true },
})
const removed = (path: string): CoreFact => ({ type: "Removed", data: { path, bytes: 10, reason: "max-files" } })
const failed = (path: string): CoreFact => ({
  type: "Failed",
  data: { step: "source", path, reason: "Unreachable", message: "no answer", hint: "Is it running?" },
})
const removals = (from: number, to: number): ReadonlyArray<Unstored> =>
  Array.from({ length: to - from }, (_, at) => eventOf(from + at, removed(`/segment-${from + at}`)))

const known = (events: ReadonlyArray<Envelope>): ReadonlyArray<Decoded> =>
  events.map((event) => ({ _tag: "Known", event }))
const numbersOf = (decoded: ReadonlyArray<Decoded>): ReadonlyArray<number> =>
  decoded.map((one) => (one._tag === "Known" ? Number(one.event.id.slice(-12)) : Number.NaN))

export const journalSuite: ReadonlyArray<JournalCase> = [
  {
    name: "is empty to begin with",
    run: Effect.gen(function* () {
      const journal = yield* Journal
      yield* expectEqual("read", yield* journal.read({}), [])
      yield* expectEqual("replay", yield* journal.replay, [])
    }),
  },
  {
    name: "gives events rising positions, in order, and reads them back whole",
    run: Effect.gen(function* () {
      const journal = yield* Journal
      const events = [
        eventOf(1, scanned(["0.log.20260909-043310"])),
        eventOf(2, rotated("/r")),
        eventOf(3, removed("/s")),
      ]
      const one = yield* journal.append(events.slice(0, 2))
      const two = yield* journal.append(events.slice(2))
      const all = [...one.events, ...two.events]
      const positions = all.map((event) => event.position)
      yield* expectEqual(
        "appended",
        all,
        events.map((event, at) => ({ ...event, position: positions[at] })),
      )
      yield* expectThat(
        `positions don't rise: ${positions.join(" ")}`,
        positions.every((at, n) => at > (positions[n - 1] ?? 0)),
      )
      yield* expectEqual("replaced", [one.replaced, two.replaced], [null, null])
      yield* expectEqual("read", yield* journal.read({}), known(all))
    }),
  },
  {
    name: "takes an empty append for nothing",
    run: Effect.gen(function* () {
      const journal = yield* Journal
      yield* expectEqual("appended", yield* journal.append([]), { events: [], replaced: null })
      yield* expectEqual("read", yield* journal.read({}), [])
    }),
  },
  {
    name: "stores an event that is offered again once, and returns it as it was stored",
    run: Effect.gen(function* () {
      const journal = yield* Journal
      const first = yield* journal.append(removals(1, 3))
      const again = { ...eventOf(2, removed("/said-otherwise")), time: timeOf(99) }
      const mixed = yield* journal.append([...removals(1, 2), again, eventOf(3, removed("/segment-3"))])
      yield* expectEqual("stored before", mixed.events.slice(0, 2), first.events)
      yield* expectEqual("read", yield* journal.read({}), known([...first.events, ...mixed.events.slice(2)]))
    }),
  },
  {
    name: "stores an event that comes twice in one append once",
    run: Effect.gen(function* () {
      const journal = yield* Journal
      const { events } = yield* journal.append([...removals(1, 2), ...removals(1, 3)])
      yield* expectEqual("the second", events[1], events[0])
      yield* expectEqual("read", numbersOf(yield* journal.read({})), [1, 2])
    }),
  },
  {
    name: "reads after a position, since a time and up to a limit, and all of these at once",
    run: Effect.gen(function* () {
      const journal = yield* Journal
      const { events } = yield* journal.append(removals(1, 11))
      const after = events[3]?.position ?? Number.NaN
      yield* expectEqual("after", numbersOf(yield* journal.read({ after })), [5, 6, 7, 8, 9, 10])
      yield* expectEqual("since", numbersOf(yield* journal.read({ since: timeOf(8) })), [8, 9, 10])
      yield* expectEqual("limit", numbersOf(yield* journal.read({ limit: 2 })), [1, 2])
      yield* expectEqual("no limit", numbersOf(yield* journal.read({ limit: 0 })), [])
      yield* expectEqual("together", numbersOf(yield* journal.read({ after, since: timeOf(2), limit: 3 })), [5, 6, 7])
      yield* expectEqual("since a time to come", numbersOf(yield* journal.read({ since: timeOf(99) })), [])
      const last = events.at(-1)?.position ?? Number.NaN
      yield* expectEqual("after the last", numbersOf(yield* journal.read({ after: last })), [])
    }),
  },
  {
    name: "reads a thousand events unless told otherwise, and all of them page by page",
    run: Effect.gen(function* () {
      const journal = yield* Journal
      const { events } = yield* journal.append(removals(0, 1_250))
      const page = yield* journal.read({})
      yield* expectEqual("first page", page, known(events.slice(0, 1_000)))
      const rest = yield* journal.read({ after: events[999]?.position ?? Number.NaN })
      yield* expectEqual("second page", rest, known(events.slice(1_000)))
    }),
  },
  {
    name: "keeps the order of appending when the clock was set back, and reads by time all the same",
    run: Effect.gen(function* () {
      const journal = yield* Journal
      const at = (n: number, second: number): Unstored => ({ ...eventOf(n, removed(`/s-${n}`)), time: timeOf(second) })
      yield* journal.append([at(1, 100), at(2, 5), at(3, 6), at(4, 101)])
      yield* expectEqual("all", numbersOf(yield* journal.read({})), [1, 2, 3, 4])
      yield* expectEqual("since", numbersOf(yield* journal.read({ since: timeOf(6) })), [1, 3, 4])
    }),
  },
  {
    name: "refuses a time that is none",
    run: Effect.gen(function* () {
      const journal = yield* Journal
      const error = yield* Effect.flip(journal.read({ since: "yesterday" }))
      yield* expectEqual("error", [error._tag, error.reason], ["JournalError", "Other"])
    }),
  },
  {
    name: "replays every log's events since its latest scan, that one included, and its latest rotation",
    run: Effect.gen(function* () {
      const journal = yield* Journal
      const [a, b, c] = [logOf("a"), logOf("b"), logOf("c")]
      yield* journal.append([
        eventOf(1, scanned(), a),
        eventOf(2, rotated("/a-1"), a),
        eventOf(3, scanned(), b),
        eventOf(4, rotated("/a-2"), a),
        eventOf(5, removed("/a-0"), a),
        eventOf(6, scanned(), a),
        eventOf(7, rotated("/b-1"), b),
        eventOf(8, failed(c.path), c),
      ])
      yield* journal.append([
        eventOf(9, removed("/a-1"), a),
        eventOf(10, removed("/b-0"), b),
        eventOf(11, failed(c.path), c),
      ])
      yield* expectEqual("replay", numbersOf(yield* journal.replay), [3, 4, 6, 7, 8, 9, 10, 11])
      yield* journal.append([eventOf(12, rotated("/a-3"), a), eventOf(13, scanned(), b)])
      yield* expectEqual("replay", numbersOf(yield* journal.replay), [6, 7, 8, 9, 11, 12, 13])
    }),
  },
  {
    name: "gives back what this program doesn't know as it was stored",
    run: Effect.gen(function* () {
      const journal = yield* Journal
      const { events } = yield* journal.append([
        eventOf(1, { type: "stranger.Seen", data: { deep: [1, null, { a: "b" }] } }),
        { ...eventOf(2, scanned()), version: 99 },
      ])
      const expected = events.map((raw) => ({ _tag: "Unknown", type: raw.type, version: raw.version, raw }))
      yield* expectEqual("read", yield* journal.read({}), expected)
      yield* expectEqual("replay", yield* journal.replay, expected.slice(1))
    }),
  },
  {
    name: "keeps hostile names as they are",
    run: Effect.gen(function* () {
      const journal = yield* Journal
      const names = [
        "it's",
        'a"quote',
        "new\nline",
        "nul\0",
        "🪵",
        "%s ? :x $1",
        "'; DROP TABLE events; --",
        "é",
        "e\u0301",
      ]
      const logs = names.map((name): Log => ({ path: `/var/log/${name}` }))
      const { events } = yield* journal.append(logs.map((log, n) => eventOf(n, removed(log.path), log)))
      yield* expectEqual("read", yield* journal.read({}), known(events))
      const scans = yield* journal.append(logs.map((log, n) => eventOf(100 + n, scanned(), log)))
      yield* expectEqual("replay: every name is a log of its own", yield* journal.replay, known(scans.events))
    }),
  },
  {
    name: "keeps appends that run at once apart: each one's events follow one another",
    run: Effect.gen(function* () {
      const journal = yield* Journal
      const batches = Array.from({ length: 20 }, (_, n) => removals(n * 10, n * 10 + 7))
      const stored = yield* Effect.forEach(batches, (batch) => journal.append(batch), { concurrency: "unbounded" })
      const inOrder = stored.toSorted((a, b) => (a.events[0]?.position ?? 0) - (b.events[0]?.position ?? 0))
      yield* expectEqual("read", yield* journal.read({}), known(inOrder.flatMap((one) => one.events)))
      yield* expectEqual(
        "ids",
        stored.map((one) => one.events.map((event) => event.id)),
        batches.map((batch) => batch.map((event) => event.id)),
      )
    }),
  },
]
