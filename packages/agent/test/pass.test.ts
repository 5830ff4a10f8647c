/** Passes over logs in memory, with faults at every operation. The account of bytes is made from the world's files, not by the agent. */
import { assert, describe, it } from "@effect/vitest"
import {
  type Contributed,
  compose,
  type Envelope,
  type JournalShape,
  type Log,
  nameOf,
  Policy,
  policyFor,
  type Unstored,
} from "@cordwood/core"
import { type Faults, plainCodec, World } from "@cordwood/core/testing"
import { Effect, Fiber, Scope, Semaphore } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import { Holdings } from "../src/pass/holdings.ts"
import { pass } from "../src/pass/pass.ts"
import {
  type Applied,
  Freeing,
  newTally,
  type PassPorts,
  type Tally,
  Waiting,
  watch,
  type Watched,
} from "../src/pass/watched.ts"
import { makeRecorder, type Recorder } from "../src/record/recorder.ts"

const ACTIVE = "/pods/ns_web_1/app/0.log"
const log: Log = { path: ACTIVE, namespace: "ns", pod: "web", podUid: "1", container: "app", containerId: "c1" }
const text = new TextEncoder()
const START = Date.parse("2026-09-09T04:33:10Z")

/** A journal that keeps everything, for as long as the test runs. */
const keeping = (events: Array<Envelope>): JournalShape => ({
  append: (batch: ReadonlyArray<Unstored>) =>
    Effect.sync(() => {
      const stored = batch.map((event, at): Envelope => ({ ...event, position: events.length + at + 1 }))
      events.push(...stored)
      return { events: stored, replaced: null }
    }),
  read: () => Effect.succeed([]),
  replay: Effect.sync(() => events.map((event) => ({ _tag: "Known" as const, event }))),
})

interface Bench {
  readonly world: World
  readonly events: Array<Envelope>
  readonly ports: PassPorts
  readonly watched: Watched
  readonly recorder: Recorder
}

const policy = Policy.parse({ maxSize: "10", maxFiles: 4, compression: "plain" })

/** An agent's parts over a world; `events` outlives it, as a journal does. */
const bench = (world: World, events: Array<Envelope> = [], plugins: ReadonlyArray<Contributed> = []) =>
  Effect.gen(function* () {
    let ids = 0
    const newId = (): string => `00000000-0000-4000-8000-${String((ids += 1)).padStart(12, "0")}`
    const recorder = yield* makeRecorder({ open: Effect.succeed(keeping(events)), path: "/journal", newId })
    const composed = yield* compose([{ plugin: "plain", contributions: { codecs: [plainCodec] } }, ...plugins])
    const applied: Applied = {
      ...policyFor(policy, log),
      limits: {
        maxSize: policy.maxSize,
        maxFiles: policy.maxFiles,
        codec: plainCodec,
        guarded: false,
        cleared: null,
        writer: "running",
        shed: new Map(),
      },
    }
    const ports: PassPorts = {
      files: world.files(),
      recorder,
      plugins: composed,
      policyFor: () => applied,
      deferred: policy.deferred,
      holdings: new Holdings({ budgets: false, pressure: undefined }),
      waiting: new Waiting(),
      freeing: new Freeing(),
      pressureLane: yield* Semaphore.make(1),
      newId,
      stopping: () => false,
      codecLane: yield* Semaphore.make(1),
    }
    return {
      world,
      events,
      ports,
      watched: watch(
        log,
        world.source(() => [log]),
        applied,
      ),
      recorder,
    } satisfies Bench
  })

const wholePass = ({ ports, watched }: Bench): Effect.Effect<Tally> =>
  Effect.gen(function* () {
    const tally = newTally()
    const upkeep = yield* pass(ports, watched, tally)
    yield* upkeep.run
    return tally
  })

const facts = (events: ReadonlyArray<Envelope>): ReadonlyArray<unknown> => events.map(({ data, type }) => [type, data])

const onDisk = (world: World): Readonly<Record<string, string>> =>
  Object.fromEntries(
    world.paths().map((path) => [path.slice(path.lastIndexOf("/") + 1), new TextDecoder().decode(world.read(path))]),
  )

const written = (world: World, content: string): void => {
  world.openWriter(ACTIVE, START)
  world.write(ACTIVE, text.encode(content), START)
}

describe("a pass", () => {
  it.effect("over a small log does nothing, and says once what there is", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const world = new World()
      written(world, "short")
      const it = yield* bench(world)
      yield* wholePass(it)
      yield* wholePass(it)
      assert.deepStrictEqual(facts(it.events), [["Scanned", { activeBytes: 5, segments: 0, totalBytes: 5, files: [] }]])
      assert.deepStrictEqual(onDisk(world), { "0.log": "short" })
    }),
  )

  it.effect("rotates a full log, and on later passes compresses and removes what retention has no room for", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const world = new World()
      written(world, "first line, long")
      const it = yield* bench(world)
      for (const content of ["second line", "third line!", "fourth line", "fifth line!"]) {
        yield* wholePass(it)
        yield* TestClock.adjust("10 seconds")
        world.write(ACTIVE, text.encode(content), START)
      }
      yield* wholePass(it)
      assert.deepStrictEqual(onDisk(world), {
        "0.log": "",
        "0.log.20260909-043330.plain": "Pthird line!\0\0\0\u000b",
        "0.log.20260909-043340.plain": "Pfourth line\0\0\0\u000b",
        "0.log.20260909-043350": "fifth line!",
      })
      const stamp = (at: number): string => `${ACTIVE}.20260909-0433${at}`
      /** What is carried along of a segment: the rotation that made it. */
      const historyOf = (at: number): unknown => {
        const made = it.events.find(({ data, type }) => type === "Rotated" && (data as { to: string }).to === stamp(at))
        assert.isDefined(made)
        const { spanId, traceId } = made!.metadata
        return { rotated: { eventId: made!.id, traceId, spanId }, told: [] }
      }
      const last = it.events.slice(-4)
      assert.deepStrictEqual(facts(last), [
        [
          "Scanned",
          {
            activeBytes: 11,
            segments: 3,
            totalBytes: 11 + 16 + 16 + 11,
            files: [
              { name: "0.log.20260909-043320.plain", bytes: 16, history: historyOf(20) },
              { name: "0.log.20260909-043330.plain", bytes: 16, history: historyOf(30) },
              { name: "0.log.20260909-043340", bytes: 11, history: historyOf(40) },
            ],
          },
        ],
        ["Rotated", { from: ACTIVE, to: stamp(50), bytes: 11, reopened: true, maxSize: 10 }],
        ["Removed", { path: `${stamp(20)}.plain`, bytes: 16, reason: "max-files" }],
        [
          "Compressed",
          { from: stamp(40), to: `${stamp(40)}.plain`, codec: "plain", bytesIn: 11, bytesOut: 16, durationMs: 0 },
        ],
      ])
      // All of a pass carry its id, and what follows the scan names it as its cause.
      const [scanned, ...rest] = last
      for (const event of rest) {
        assert.strictEqual(event.metadata.correlationId, scanned?.metadata.correlationId)
        assert.strictEqual(event.metadata.causationId, scanned?.id)
      }
    }),
  )

  it.effect("renames back also when the source dies of what can't be told", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const world = new World()
      written(world, "first line, long")
      const on = yield* bench(world)
      const source = { ...on.watched.source, reopen: () => Effect.die(Object.create(null)) }
      yield* wholePass({ ...on, watched: watch(log, source, on.watched.applied) })
      assert.deepStrictEqual(onDisk(world), { "0.log": "first line, long" })
    }),
  )

  it.effect("renames back when the writer can't be told, and reports it once", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const world = new World()
      written(world, "first line, long")
      const it = yield* bench(world)
      world.faults = (operation) => (operation === "reopen" ? "before" : null)
      yield* wholePass(it)
      yield* wholePass(it)
      assert.deepStrictEqual(onDisk(world), { "0.log": "first line, long" })
      assert.isTrue(world.writerIsHome(ACTIVE))
      assert.deepStrictEqual(facts(it.events), [
        ["Scanned", { activeBytes: 16, segments: 0, totalBytes: 16, files: [] }],
        [
          "Failed",
          {
            step: "rotate",
            path: ACTIVE,
            reason: "Unavailable",
            message: `world reopen ${ACTIVE}: a fault to order`,
            hint: "none",
          },
        ],
      ])
    }),
  )

  it.effect(
    "does not rename back over the new file when only the reply to reopen is lost (kubelet does, and loses it)",
    () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(START)
        const world = new World()
        written(world, "first line, long")
        const it = yield* bench(world)
        world.faults = (operation) => (operation === "reopen" ? "after" : null)
        yield* wholePass(it)
        world.write(ACTIVE, text.encode("new"), START)
        assert.deepStrictEqual(onDisk(world), { "0.log": "new", "0.log.20260909-043310": "first line, long" })
        assert.deepStrictEqual(facts(it.events).at(-1), [
          "Rotated",
          { from: ACTIVE, to: `${ACTIVE}.20260909-043310`, bytes: 16, reopened: true, maxSize: 10 },
        ])
      }),
  )

  it.effect("tells the writer at once when only the reply to the rename is lost", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const world = new World()
      written(world, "first line, long")
      const it = yield* bench(world)
      world.faults = (operation) => (operation === "setAside" ? "after" : null)
      yield* wholePass(it)
      assert.deepStrictEqual(onDisk(world), { "0.log": "", "0.log.20260909-043310": "first line, long" })
      assert.isTrue(world.writerIsHome(ACTIVE))
      assert.deepStrictEqual(facts(it.events).at(-1), [
        "Rotated",
        { from: ACTIVE, to: `${ACTIVE}.20260909-043310`, bytes: 16, reopened: true, maxSize: 10 },
      ])
    }),
  )

  it.effect("keeps a segment that its writer still writes to while it is compressed, and gets it right later", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const world = new World()
      const late = `${ACTIVE}.20260101-000000`
      world.put(ACTIVE, text.encode("now"))
      world.openWriter(late, 0)
      world.write(late, text.encode("early"), 0)
      world.put(`${ACTIVE}.20260102-000000`, text.encode("newest"))
      const it = yield* bench(world)
      world.faults = (operation, path) => {
        // After it was read, and its twin is in place: a moment before it goes.
        if (operation === "remove" && path === late) world.write(late, text.encode(", late"), START)
        return null
      }
      yield* wholePass(it)
      world.faults = () => null
      assert.strictEqual(onDisk(world)["0.log.20260101-000000"], "early, late")
      yield* TestClock.adjust("10 seconds")
      yield* wholePass(it)
      yield* wholePass(it)
      assert.deepStrictEqual(onDisk(world), {
        "0.log": "now",
        "0.log.20260101-000000.plain": "Pearly, late\0\0\0\u000b",
        "0.log.20260102-000000": "newest",
      })
      assert.deepStrictEqual(facts(it.events).slice(1), [
        [
          "Deferred",
          { step: "compress", path: late, by: "cordwood", why: "it is still being written to", retryAfterMs: 0 },
        ],
        [
          "Scanned",
          {
            activeBytes: 3,
            segments: 3,
            totalBytes: 30,
            files: [
              { name: "0.log.20260101-000000", bytes: 11 },
              { name: "0.log.20260101-000000.plain", bytes: 10 },
              { name: "0.log.20260102-000000", bytes: 6 },
            ],
            // A fold begins here: what is put off, and since when, is carried along.
            deferred: [
              {
                path: late,
                step: "compress",
                by: "cordwood",
                why: "it is still being written to",
                since: "2026-09-09T04:33:10.000Z",
              },
            ],
          },
        ],
        ["Cleaned", { path: `${late}.plain`, bytes: 10, reason: "invalid" }],
        ["Compressed", { from: late, to: `${late}.plain`, codec: "plain", bytesIn: 11, bytesOut: 16, durationMs: 0 }],
      ])
    }),
  )

  it.effect(
    "clears away the name that a rotation had reserved when it was cut off, unless somebody has written to it",
    () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(START)
        const world = new World()
        written(world, "first line, long")
        const reserved = `${ACTIVE}.20260909-043300`
        world.put(reserved, new Uint8Array())
        const on = yield* bench(world)
        world.faults = (operation) => {
          if (operation === "reopen") world.append(reserved, text.encode("theirs"))
          return null
        }
        const kept = yield* wholePass(on)
        assert.strictEqual(kept.deferrals.all[0]?.why, "it is still being written to")
        assert.deepStrictEqual(onDisk(world), {
          "0.log": "",
          "0.log.20260909-043300": "theirs",
          "0.log.20260909-043310": "first line, long",
        })

        world.unlink(reserved)
        const next = `${ACTIVE}.20260909-043311`
        world.put(next, new Uint8Array())
        world.write(ACTIVE, text.encode("second line, long"), START)
        world.faults = () => null
        yield* wholePass(on)
        assert.deepStrictEqual(onDisk(world), {
          "0.log": "",
          "0.log.20260909-043310": "first line, long",
          "0.log.20260909-043312": "second line, long",
        })
        assert.deepStrictEqual(facts(on.events).at(-1), ["Cleaned", { path: next, bytes: 0, reason: "temporary" }])
      }),
  )

  it.effect("completes a rotation that was cut off between rename and reopen, also in a new agent", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const world = new World()
      written(world, "first line, long")
      const events: Array<Envelope> = []
      const first = yield* bench(world, events)
      world.faults = (operation) => (operation === "reopen" ? "crash-before" : null)
      yield* Effect.forkDetach(wholePass(first))
      yield* TestClock.adjust("1 second")
      world.faults = () => null
      world.write(ACTIVE, text.encode(", and more"), START)
      const second = yield* bench(world, events)
      yield* wholePass(second)
      assert.deepStrictEqual(onDisk(world), { "0.log": "", "0.log.20260909-043310": "first line, long, and more" })
      assert.deepStrictEqual(facts(events).at(-1), [
        "Rotated",
        { from: ACTIVE, to: `${ACTIVE}.20260909-043310`, bytes: 26, reopened: true, maxSize: 10 },
      ])
    }),
  )

  it.effect("does not have a writer reopen whose file is back by itself before it is told", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const world = new World()
      written(world, "first line, long")
      world.rename(ACTIVE, `${ACTIVE}.20260909-043300`)
      const it = yield* bench(world)
      const files = it.ports.files
      // The runtime makes the file between the look and the act.
      const list: typeof files.list = (path) =>
        Effect.tap(files.list(path), () => Effect.sync(() => world.openWriter(ACTIVE, START)))
      yield* wholePass({ ...it, ports: { ...it.ports, files: { ...files, list } } })
      assert.deepStrictEqual(world.calls, [`list ${ACTIVE}`])
      assert.deepStrictEqual(facts(it.events).at(-1), [
        "Rotated",
        { from: ACTIVE, to: `${ACTIVE}.20260909-043300`, bytes: 16, reopened: true, maxSize: 10 },
      ])
    }),
  )

  it.effect("keeps the original when its compressed twin does not hold its bytes, and drops the twin instead", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const world = new World()
      written(world, "x")
      world.put(`${ACTIVE}.20260101-000000`, text.encode("precious"))
      world.put(`${ACTIVE}.20260101-000000.plain`, text.encode("Pprec\0\0\0"))
      const it = yield* bench(world)
      yield* wholePass(it)
      assert.deepStrictEqual(onDisk(world), { "0.log": "x", "0.log.20260101-000000": "precious" })
      assert.deepStrictEqual(facts(it.events).at(-1), [
        "Cleaned",
        { path: `${ACTIVE}.20260101-000000.plain`, bytes: 8, reason: "invalid" },
      ])
    }),
  )

  it.effect("keeps the compressed twin of an original that was cut by a power cut: it holds more, and decodes", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const world = new World()
      written(world, "x")
      world.put(`${ACTIVE}.20260101-000000`, text.encode("prec"))
      world.put(`${ACTIVE}.20260101-000000.plain`, text.encode("Pprecious\0\0\0\x08"))
      const it = yield* bench(world)
      yield* wholePass(it)
      assert.deepStrictEqual(onDisk(world), { "0.log": "x", "0.log.20260101-000000.plain": "Pprecious\0\0\0\b" })
      assert.deepStrictEqual(facts(it.events).at(-1), [
        "Cleaned",
        { path: `${ACTIVE}.20260101-000000`, bytes: 4, reason: "superseded" },
      ])
    }),
  )

  it.effect(
    "keeps both an original and a twin that decodes to other bytes, says so once, and asks less and less often",
    () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(START)
        const world = new World()
        written(world, "x")
        const plain = `${ACTIVE}.20260101-000000`
        world.put(plain, text.encode("prec\0\0\0\0"))
        world.put(`${plain}.plain`, text.encode("Pprecious\0\0\0\x08"))
        const it = yield* bench(world)
        for (let round = 0; round < 30; round += 1) {
          yield* wholePass(it)
          yield* TestClock.adjust("10 seconds")
        }
        assert.deepStrictEqual(onDisk(world), {
          "0.log": "x",
          "0.log.20260101-000000": "prec\0\0\0\0",
          "0.log.20260101-000000.plain": "Pprecious\0\0\0\b",
        })
        assert.deepStrictEqual(facts(it.events).slice(1), [
          [
            "Failed",
            {
              step: "clean",
              path: plain,
              reason: "Disputed",
              message: `clean ${plain}: it and ${plain}.plain each hold bytes that the other doesn't, and neither is taken for a leftover`,
              hint: "compare the two, and move one of them away; once retention has no room for the segment, both go",
            },
          ],
        ])
        // On the first two passes, then after 20, 40 and 80 seconds; the next one is due in 20.
        assert.strictEqual(world.calls.filter((call) => call.startsWith("matches")).length, 5)
      }),
  )

  it.effect(
    "lets an original and a twin that decodes to other bytes go, both, once there is no room for their segment",
    () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(START)
        const world = new World()
        written(world, "x")
        const plain = `${ACTIVE}.20260101-000000`
        world.put(plain, text.encode("prec\0\0\0\0"))
        world.put(`${plain}.plain`, text.encode("Pprecious\0\0\0\x08"))
        for (let day = 2; day <= 4; day += 1)
          world.put(`${ACTIVE}.2026010${day}-000000.plain`, text.encode("P\0\0\0\0"))
        const it = yield* bench(world)
        yield* wholePass(it)
        yield* wholePass(it)
        assert.deepStrictEqual(
          world.paths().map((path) => nameOf(path)),
          ["0.log", "0.log.20260102-000000.plain", "0.log.20260103-000000.plain", "0.log.20260104-000000.plain"],
        )
        assert.deepStrictEqual(
          facts(it.events).filter((fact) => Array.isArray(fact) && fact[0] === "Removed"),
          [
            ["Removed", { path: `${plain}.plain`, bytes: 13, reason: "max-files" }],
            ["Removed", { path: plain, bytes: 8, reason: "max-files" }],
          ],
        )
      }),
  )

  it.effect("keeps a segment for as long as a guard defers, asks no sooner than it was told, and says so once", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const world = new World()
      written(world, "x")
      for (let day = 1; day <= 5; day += 1) world.put(`${ACTIVE}.2026010${day}-000000.plain`, text.encode("P\0\0\0\0"))
      let asked = 0
      let allowed = false
      const guard: Contributed = {
        plugin: "ship",
        contributions: {
          beforeRemove: () =>
            Effect.sync(() => {
              asked += 1
              return allowed
                ? { _tag: "Allow" as const }
                : { _tag: "Defer" as const, why: "no network", retryAfterMs: 60_000 }
            }),
        },
      }
      const it = yield* bench(world, [], [guard])
      yield* wholePass(it)
      yield* TestClock.adjust("30 seconds")
      yield* wholePass(it)
      assert.strictEqual(asked, 2)
      yield* TestClock.adjust("31 seconds")
      yield* wholePass(it)
      assert.strictEqual(asked, 4)
      const deferred = (day: number): unknown => [
        "Deferred",
        {
          step: "remove",
          path: `${ACTIVE}.2026010${day}-000000.plain`,
          by: "ship",
          why: "no network",
          retryAfterMs: 60_000,
        },
      ]
      assert.deepStrictEqual(facts(it.events).slice(1), [deferred(1), deferred(2)])
      allowed = true
      yield* TestClock.adjust("61 seconds")
      yield* wholePass(it)
      assert.deepStrictEqual(Object.keys(onDisk(world)), [
        "0.log",
        "0.log.20260103-000000.plain",
        "0.log.20260104-000000.plain",
        "0.log.20260105-000000.plain",
      ])
      assert.deepStrictEqual([...it.recorder.state(ACTIVE).deferred], [])
    }),
  )

  it.effect(
    "records as removed what has gone without a step on record, once, and with the bytes it was known to have",
    () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(START)
        const world = new World()
        written(world, "x")
        for (const day of [1, 2, 3]) world.put(`${ACTIVE}.2026010${day}-000000.plain`, text.encode("Pabc\0\0\0\u0003"))
        const events: Array<Envelope> = []
        const first = yield* bench(world, events)
        yield* wholePass(first)
        // Killed between the removal and its event.
        world.put(`${ACTIVE}.20260104-000000.plain`, text.encode("P\0\0\0\0"))
        world.faults = (operation) => (operation === "remove" ? "crash-after" : null)
        yield* Effect.forkDetach(wholePass(first))
        yield* TestClock.adjust("1 second")
        world.faults = () => null
        const second = yield* bench(world, events)
        yield* wholePass(second)
        yield* wholePass(second)
        const gone = { path: `${ACTIVE}.20260101-000000.plain`, bytes: 8, reason: "missing" }
        assert.deepStrictEqual(facts(events.filter(({ type }) => type === "Removed")), [["Removed", gone]])
        // A scan without it that is stored first would hide it, if the agent died between the two.
        assert.deepStrictEqual(
          events.slice(2, 4).map(({ type }) => type),
          ["Removed", "Scanned"],
        )
      }),
  )

  it.effect(
    "doesn't tell of a segment as removed while its original, which couldn't be cleaned away, is still there",
    () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(START)
        const world = new World()
        written(world, "x")
        for (const day of [1, 2, 3, 4])
          world.put(`${ACTIVE}.2026010${day}-000000.plain`, text.encode("Pabc\0\0\0\u0003"))
        const original = `${ACTIVE}.20260101-000000`
        world.put(original, text.encode("abc"))
        const events: Array<Envelope> = []
        const it = yield* bench(world, events)
        world.faults = (operation, path) => (operation === "remove" && path === original ? "before" : null)
        yield* wholePass(it)
        const removed = (): ReadonlyArray<unknown> => facts(events.filter(({ type }) => type === "Removed"))
        assert.deepStrictEqual([removed(), world.read(`${original}.plain`)?.length], [[], 8])
        world.faults = () => null
        yield* wholePass(it)
        assert.deepStrictEqual(removed(), [["Removed", { path: `${original}.plain`, bytes: 8, reason: "max-files" }]])
      }),
  )

  it.effect(
    "doesn't take the second name of the active file, which a crash left, for a segment, nor for a loss once it is gone",
    () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(START)
        const world = new World()
        written(world, "x")
        world.link(ACTIVE, `${ACTIVE}.20260101-000000`)
        const events: Array<Envelope> = []
        // Killed between removing the name and its event.
        world.faults = (operation) => (operation === "remove" ? "crash-after" : null)
        yield* Effect.forkDetach(wholePass(yield* bench(world, events)))
        yield* TestClock.adjust("1 second")
        world.faults = () => null
        yield* wholePass(yield* bench(world, events))
        assert.deepStrictEqual(
          [Object.keys(onDisk(world)), facts(events)],
          [["0.log"], [["Scanned", { activeBytes: 1, segments: 0, totalBytes: 1, files: [] }]]],
        )
      }),
  )

  it.effect("records a segment as missing of which nothing is left but a half-written file", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const world = new World()
      written(world, "x")
      const plain = `${ACTIVE}.20260101-000000`
      world.put(plain, text.encode("precious"))
      const it = yield* bench(world)
      yield* wholePass(it)
      world.unlink(plain)
      world.put(`${plain}.tmp`, text.encode("Pprec"))
      yield* wholePass(it)
      yield* wholePass(it)
      assert.deepStrictEqual(facts(it.events.filter(({ type }) => type !== "Scanned")), [
        ["Removed", { path: plain, bytes: 8, reason: "missing" }],
        ["Cleaned", { path: `${plain}.tmp`, bytes: 5, reason: "temporary" }],
      ])
    }),
  )

  it.effect(
    "tells of nothing as missing that a later rotation made, or that a codec wrote which is not loaded any more",
    () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(START)
        const world = new World()
        written(world, "first line, long")
        for (const name of ["20260101-000000", "20260102-000000", "20260103-000000.other"]) {
          world.put(`${ACTIVE}.${name}`, text.encode("abc"))
        }
        const events: Array<Envelope> = []
        const before = yield* bench(world, events, [
          { plugin: "other", contributions: { codecs: [{ ...plainCodec, id: "other", suffix: ".other" }] } },
        ])
        yield* wholePass(before)
        const it = yield* bench(world, events)
        // Two passes that overlap: the second rotates between the halves of the first.
        const first = yield* pass(it.ports, it.watched, newTally())
        yield* TestClock.adjust("10 seconds")
        world.write(ACTIVE, text.encode("second line, long"), START)
        yield* pass(it.ports, it.watched, newTally())
        yield* first.run
        assert.deepStrictEqual(
          facts(
            events.filter(({ data, type }) => type === "Removed" && (data as { reason: string }).reason === "missing"),
          ),
          [],
        )
        const names = Object.keys(onDisk(world)).filter((name) => name !== "0.log" && !name.endsWith(".other"))
        assert.deepStrictEqual([...(it.recorder.state(ACTIVE).files ?? new Map()).keys()].toSorted(), names)
      }),
  )

  it.effect("removes what retention has no room for when it is for want of space that a rotation fails", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      for (const [failReason, left] of [
        ["NoSpace", ["0.log", "0.log.20260102-000000.plain", "0.log.20260103-000000.plain"]],
        // Otherwise one segment more than needed would go with every try.
        ["Io", ["0.log", "0.log.20260101-000000.plain", "0.log.20260102-000000.plain", "0.log.20260103-000000.plain"]],
      ] as const) {
        const world = new World()
        written(world, "first line, long")
        for (const day of [1, 2, 3]) world.put(`${ACTIVE}.2026010${day}-000000.plain`, text.encode("P\0\0\0\0"))
        const it = yield* bench(world)
        world.failReason = failReason
        world.faults = (operation) => (operation === "setAside" ? "before" : null)
        yield* wholePass(it)
        assert.deepStrictEqual(Object.keys(onDisk(world)), [...left])
      }
    }),
  )

  it.effect("records a removal that it was interrupted in", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const world = new World()
      written(world, "x")
      for (const day of [1, 2, 3, 4]) world.put(`${ACTIVE}.2026010${day}-000000.plain`, text.encode("P\0\0\0\0"))
      const it = yield* bench(world)
      const { files } = it.ports
      let asked: Effect.Effect<void> = Effect.void
      const remove: typeof files.remove = (file, options) =>
        Effect.tap(files.remove(file, options), () => Effect.andThen(asked, Effect.sleep("1 second")))
      const running = yield* Effect.forkDetach(
        wholePass({ ...it, ports: { ...it.ports, files: { ...files, remove } } }),
        {
          startImmediately: false,
        },
      )
      asked = Effect.asVoid(Effect.forkDetach(Fiber.interrupt(running)))
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.await(running)
      assert.deepStrictEqual(facts(it.events).at(-1), [
        "Removed",
        { path: `${ACTIVE}.20260101-000000.plain`, bytes: 5, reason: "max-files" },
      ])
    }),
  )

  it.effect("tries a compression that fails on the next pass, and then less and less often", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const world = new World()
      written(world, "x")
      for (const day of [1, 2]) world.put(`${ACTIVE}.2026010${day}-000000`, text.encode("abc"))
      const it = yield* bench(world)
      world.faults = (operation) => (operation === "compress" ? "before" : null)
      for (let second = 0; second < 200; second += 10) {
        yield* wholePass(it)
        yield* TestClock.adjust("10 seconds")
      }
      // After 0, 10, 30, 70 and 150 seconds.
      assert.strictEqual(world.calls.filter((call) => call.startsWith("compress ")).length, 5)
      assert.deepStrictEqual(
        it.events.map(({ type }) => type),
        ["Scanned", "Failed"],
      )
      world.faults = () => null
      yield* TestClock.adjust("160 seconds")
      yield* wholePass(it)
      assert.deepStrictEqual(Object.keys(onDisk(world)), [
        "0.log",
        "0.log.20260101-000000.plain",
        "0.log.20260102-000000",
      ])
    }),
  )

  it.effect(
    "says once what there is while a file is missing whose writer nobody tells, however long it stays away",
    () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(START)
        const world = new World()
        world.put(`${ACTIVE}.20260102-000000`, text.encode("newest"))
        const on = yield* bench(world)
        const source = { ...on.watched.source, tells: false, reopen: () => Effect.succeed("not-told" as const) }
        const it = { ...on, watched: watch(log, source, on.watched.applied) }
        for (let passes = 0; passes < 3; passes += 1) yield* wholePass(it)
        const files = [{ name: "0.log.20260102-000000", bytes: 6 }]
        assert.deepStrictEqual(facts(it.events), [["Scanned", { activeBytes: 0, segments: 1, totalBytes: 6, files }]])
      }),
  )

  it.effect("over a dormant log tells nobody, and leaves alone what no event says that a rotation made", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const world = new World()
      // Each run of some program has left a file whose name might be a segment's.
      for (let day = 1; day <= 6; day += 1) world.put(`${ACTIVE}.2026010${day}-000000`, text.encode("abc"))
      world.put(`${ACTIVE}.20260107-000000.tmp`, text.encode("half"))
      const before = onDisk(world)
      const it = yield* bench(world)
      it.watched.dormant = true
      for (let passes = 0; passes < 3; passes += 1) yield* wholePass(it)
      assert.deepStrictEqual(onDisk(world), before)
      assert.deepStrictEqual(
        [world.calls.filter((call) => !call.startsWith("list ")), it.events.map(({ type }) => type)],
        [[], ["Scanned"]],
      )
      // The next list has it as a log whose writer is waited for.
      it.watched.dormant = false
      yield* wholePass(it)
      assert.include(world.calls.join(), `reopen ${ACTIVE}`)
    }),
  )

  it.effect("over a dormant log goes on with the upkeep of the segments that rotations made", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const world = new World()
      written(world, "first line, long")
      const events: Array<Envelope> = []
      const on = yield* bench(world, events)
      for (const content of ["second line", "third line!", "fourth line", ""]) {
        yield* pass(on.ports, on.watched, newTally())
        yield* TestClock.adjust("10 seconds")
        if (content !== "") world.write(ACTIVE, text.encode(content), START)
      }
      yield* on.recorder.flush
      const files = world.files()
      const file = (yield* files.list(ACTIVE)).entries.find(({ path }) => path === ACTIVE)
      yield* files.remove(file!, { unchanged: false })
      world.calls.length = 0
      // A new agent, which knows of them by the journal.
      const it = yield* bench(world, events)
      it.watched.dormant = true
      yield* wholePass(it)
      assert.deepStrictEqual(Object.keys(onDisk(world)), [
        "0.log.20260909-043320.plain",
        "0.log.20260909-043330.plain",
        "0.log.20260909-043340",
      ])
      assert.notInclude(world.calls.join(), "reopen")
    }),
  )

  it.effect("finds a dormant log awake once its file is there, whatever the last list said", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const world = new World()
      written(world, "short")
      const it = yield* bench(world)
      it.watched.dormant = true
      yield* wholePass(it)
      assert.strictEqual(it.watched.dormant, false)
    }),
  )

  it.effect("refuses a link at the log's path, once, and touches nothing", () =>
    Effect.gen(function* () {
      const world = new World()
      world.put(ACTIVE, text.encode("elsewhere"), { kind: "symlink" })
      const it = yield* bench(world)
      yield* wholePass(it)
      const tally = yield* wholePass(it)
      assert.strictEqual(tally.problems.length, 1)
      assert.deepStrictEqual(facts(it.events), [
        [
          "Failed",
          {
            step: "scan",
            path: ACTIVE,
            reason: "NotRegular",
            message: `scan ${ACTIVE}: it is a symlink, not a regular file`,
            hint: "only regular files are rotated; point the source at the file itself",
          },
        ],
      ])
    }),
  )

  it.effect("says which segments a stop has left alone: none is begun once the agent is stopping", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START)
      const world = new World()
      written(world, "first line, long")
      const it = yield* bench(world)
      const stopping = { ...it, ports: { ...it.ports, stopping: () => true } }
      yield* wholePass(stopping)
      assert.deepStrictEqual(world.calls, [`list ${ACTIVE}`])
    }),
  )
})

/**
 * Everything in reading order: segments by name, a compressed one standing for its plain twin, then the active file. A rotation that is cut off
 * while it is undone leaves the active file under a segment's name as well: that is one file, and counts once.
 */
const account = (world: World): string => {
  const undone = world.paths().filter((path) => path !== ACTIVE && world.identityOf(path) === world.identityOf(ACTIVE))
  const files = Object.fromEntries(
    Object.entries(onDisk(world)).filter(([name]) => !undone.some((path) => nameOf(path) === name)),
  )
  return Object.keys(files)
    .filter(
      (name) => !name.endsWith(".tmp") && name !== "0.log" && !(`${name}.plain` in files && !name.endsWith(".plain")),
    )
    .toSorted()
    .map((name) => (name.endsWith(".plain") ? (files[name]?.slice(1, -4) ?? "") : (files[name] ?? "")))
    .concat(files["0.log"] ?? "")
    .join("")
}

/** Bytes of the numbers that the property writes. */
const TOKEN = 3

describe("whatever fails, and wherever the agent dies,", () => {
  const fault = fc.oneof(
    { weight: 8, arbitrary: fc.constant(null) },
    fc.constantFrom(...(["before", "after", "crash-before", "crash-after", "hang"] as const)),
  )
  it.effect(
    "no byte is lost or doubled, order is kept, and once faults stop everything settles",
    () =>
      Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(
            fc.array(fault, { maxLength: 80 }),
            fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 14 }),
            async (faults, sizes) => {
              const queue = [...faults]
              const faulty: Faults = () => queue.shift() ?? null
              const story = Effect.gen(function* () {
                yield* TestClock.setTime(START)
                const world = new World()
                const events: Array<Envelope> = []
                world.openWriter(ACTIVE, START)
                let agent: Bench | null = null
                let scope = yield* Scope.make()
                let incarnation = world.incarnation
                world.faults = faulty
                const onePass = Effect.gen(function* () {
                  if (agent === null) agent = yield* Scope.provide(bench(world, events), scope)
                  const before = world.calls.length
                  const fiber = yield* Effect.forkDetach(wholePass(agent))
                  yield* TestClock.adjust("1 second")
                  // Codecs run on promises, which virtual time doesn't wait for.
                  for (
                    let turn = 0;
                    turn < 200 && fiber.pollUnsafe() === undefined && world.incarnation === incarnation;
                    turn += 1
                  ) {
                    yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
                  }
                  if (fiber.pollUnsafe() === undefined) {
                    // One that hangs is killed, as a supervisor would.
                    if (world.incarnation === incarnation) world.crash()
                    agent = null
                    scope = yield* Scope.make()
                    incarnation = world.incarnation
                  }
                  assert.isAbove(world.calls.length, before)
                })
                let last = 0
                const grow = (tokens: number): void => {
                  for (let at = 0; at < tokens; at += 1) {
                    last += 1
                    world.write(ACTIVE, text.encode(String(last).padStart(TOKEN, "0")), START)
                  }
                }
                /** What is left, which must be in order and nothing twice. */
                const kept = (): ReadonlySet<string> => {
                  const left = account(world).match(/.{3}/g) ?? []
                  assert.deepStrictEqual(left, [...new Set(left)].toSorted())
                  return new Set(left)
                }
                for (const size of sizes) {
                  grow(size)
                  yield* onePass
                  kept()
                  yield* TestClock.adjust("10 seconds")
                }
                queue.length = 0
                for (let rest = 0; rest < 4; rest += 1) {
                  yield* onePass
                  yield* TestClock.adjust("10 seconds")
                }
                // What is not left, the events say was removed, to the byte: also where the agent died between the two.
                const removed = events.flatMap((event) =>
                  event.type === "Removed" ? [event.data as { path: string; bytes: number }] : [],
                )
                const removedBytes = removed.reduce(
                  (sum, { bytes, path }) => sum + bytes - (path.endsWith(".plain") ? 5 : 0),
                  0,
                )
                assert.strictEqual(kept().size * TOKEN + removedBytes, last * TOKEN)
                assert.isTrue(world.writerIsHome(ACTIVE), "the writer is back on the log's name")
                const names = Object.keys(onDisk(world))
                assert.isAtMost(names.length, policy.maxFiles)
                assert.isBelow(world.read(ACTIVE)?.length ?? Infinity, policy.maxSize)
                const plain = names.filter((name) => name !== "0.log" && !name.endsWith(".plain"))
                assert.isTrue(
                  plain.length === 0 || plain[0] === names.toSorted().at(-1),
                  "all but the newest segment are compressed",
                )
                assert.isFalse(names.some((name) => name.endsWith(".tmp")))
                const state = agent === null ? null : (agent as Bench).recorder.state(ACTIVE).files
                assert.deepStrictEqual(
                  state && [...state.keys()].toSorted(),
                  names.filter((name) => name !== "0.log").toSorted(),
                )
              })
              await Effect.runPromise(Effect.scoped(Effect.provide(story, TestClock.layer())))
            },
          ),
          {
            numRuns: 300,
            seed: Number(process.env["CORDWOOD_SEED"] ?? 4711),
            // Found by chance once: undoing a rotation is cut off, and then the leftover name can't be removed before the next rotation.
            examples: [
              [
                [null, null, null, null, "before", null, null, "before", null, "before"],
                [5, 0],
              ],
            ],
          },
        ),
      ),
    60_000,
  )
})
