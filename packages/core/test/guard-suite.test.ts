// The guard suite itself: right guards pass every case, and each wrong one fails the cases that are about it.
import { createHash } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { readFile, unlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as z from "zod"
import {
  type Configured,
  type Contributions,
  definePlugin,
  type Doomed,
  PluginError,
  type PluginFact,
  type Verdict,
} from "@cordwood/core"
import { guardSuite, type GuardSuiteOptions } from "@cordwood/core/testing"

type Guard = NonNullable<Contributions["beforeRemove"]>

const allow: Verdict = { _tag: "Allow" }
const failed = (cause: unknown) =>
  new PluginError({ plugin: "toy", slot: "beforeRemove", detail: String(cause), hint: "none" })
const events = { "toy.Shipped": z.strictObject({ path: z.string(), sha256: z.string() }) }
const toy = (beforeRemove: Guard | undefined, more: Contributions = {}): Configured =>
  definePlugin({
    name: "toy",
    api: 1,
    config: z.strictObject({}),
    setup: () => Effect.succeed({ events, ...(beforeRemove && { beforeRemove }), ...more }),
  })()

/** Reads to the end, or until it is told to stop; closes what it reads in either case. */
const sha256Of = async (chunks: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<string> => {
  const hash = createHash("sha256")
  for await (const chunk of chunks) {
    if (signal.aborted) break
    hash.update(chunk)
  }
  return hash.digest("hex")
}
/** Ships to a map: what a guard before S3 does, in small. */
const shipping =
  (store: Map<string, string>): Guard =>
  ({ raw, record, segment, told }) =>
    Effect.gen(function* () {
      if (told !== null) return allow
      const sha256 = yield* Effect.tryPromise({ try: (signal) => sha256Of(raw(), signal), catch: failed })
      const key = segment.stamp
      if ((store.get(key) ?? sha256) !== sha256) return yield* failed("another one is there")
      store.set(key, sha256)
      yield* record({ type: "toy.Shipped", data: { path: segment.path, sha256 } })
      return allow
    })

/** What goes wrong with a guard, by the name of the case. */
const problems = async (
  make: () => Configured | Promise<Configured>,
  options: GuardSuiteOptions = {},
): Promise<Readonly<Record<string, string>>> => {
  const found: Array<readonly [string, string]> = []
  for (const { name, run } of guardSuite(make, options)) {
    await run().catch((error: unknown) => found.push([name, error instanceof Error ? error.message : String(error)]))
  }
  return Object.fromEntries(found)
}
const right = () => toy(shipping(new Map()))

describe("the guard suite", () => {
  it("has a name of its own for every case", () => {
    const names = guardSuite(right, { outOfReach: right }).map(({ name }) => name)
    expect(new Set(names).size).toBe(names.length)
  })

  describe("passes a guard that ships,", () => {
    const store = new Map<string, string>()
    for (const { name, run } of guardSuite(() => toy(shipping(store)))) it(name, run)
  })

  describe("passes a guard that looks at nothing but the segment's age,", () => {
    const aged: Guard = ({ segment }) =>
      Effect.clockWith((clock) =>
        Effect.map(clock.currentTimeMillis, (nowMs) =>
          nowMs - segment.modifiedMs > 60_000 ? allow : { _tag: "Defer", why: "too young", retryAfterMs: 60_000 },
        ),
      )
    for (const { name, run } of guardSuite(() => toy(aged))) it(name, run)
  })

  it("passes a guard that defers at first, and fails with an error of its own where its other end is out of reach", async () => {
    const asked = new Set<string>()
    const hesitant: Guard = ({ segment }) =>
      Effect.sync(() => {
        const before = asked.has(segment.stamp)
        asked.add(segment.stamp)
        return before ? allow : { _tag: "Defer", why: "not yet", retryAfterMs: 3_600_000 }
      })
    const outOfReach = () => toy(() => Effect.fail(failed("connection refused")))
    expect(await problems(() => toy(hesitant), { outOfReach })).toEqual({})
  })
})

describe("the guard suite fails a guard that", () => {
  const leaking: Guard = ({ raw }) =>
    Effect.tryPromise({ try: () => raw()[Symbol.asyncIterator]().next(), catch: failed }).pipe(Effect.as(allow))
  const deaf: Guard = ({ raw }) =>
    Effect.tryPromise({ try: () => sha256Of(raw(), new AbortController().signal), catch: failed }).pipe(
      Effect.as(allow),
    )
  const recording =
    (fact: (doomed: Doomed) => PluginFact): Guard =>
    (doomed) =>
      Effect.as(Effect.ignore(doomed.record(fact(doomed))), allow)
  let shared: Doomed | undefined

  const cases: ReadonlyArray<
    readonly [what: string, make: () => Configured, found: string | RegExp, where: RegExp, isSlow?: true]
  > = [
    ["isn't there", () => toy(undefined), "it contributes no beforeRemove", /^is set up|on the occasion/],
    [
      "never lets go",
      () => toy(() => Effect.succeed({ _tag: "Defer", why: "no", retryAfterMs: 0 })),
      /^it does not let the segment go within 300 ms: no$/,
      /^lets a segment go in the end/,
      true,
    ],
    [
      "fails whenever it is asked",
      () => toy(() => Effect.fail(failed("no"))),
      /^it does not let the segment go within 300 ms: plugin toy/,
      /^lets a segment go in the end/,
      true,
    ],
    [
      "dies",
      () => toy(() => Effect.die(new Error("a bug"))),
      "it ended with a bug, which is no PluginError",
      /on the occasion|an empty segment/,
    ],
    [
      "fails with something else",
      () => toy((() => Effect.fail(new Error("EPIPE"))) as unknown as Guard),
      "it ended with EPIPE, which is no PluginError",
      /on the occasion removal/,
    ],
    [
      "throws",
      () =>
        toy(() => {
          throw new Error("a bug")
        }),
      "it ended with a bug, which is no PluginError",
      /on the occasion removal/,
    ],
    [
      "answers with a word",
      () => toy((() => Effect.succeed("Allow")) as unknown as Guard),
      'it answered "Allow", neither Allow nor Defer',
      /on the occasion removal/,
    ],
    [
      "answers nothing",
      () => toy((() => Effect.void) as unknown as Guard),
      "it answered undefined, neither Allow nor Defer",
      /on the occasion removal/,
    ],
    [
      "defers without a reason",
      () => toy(() => Effect.succeed({ _tag: "Defer", why: " ", retryAfterMs: 0 })),
      "it deferred without saying why",
      /on the occasion removal/,
    ],
    [
      "defers for a time that is none",
      () => toy(() => Effect.succeed({ _tag: "Defer", why: "x", retryAfterMs: Number.NaN })),
      "it deferred with retryAfterMs NaN",
      /on the occasion removal/,
    ],
    ["hangs", () => toy(() => Effect.never), "it gave no answer within 300 ms", /on the occasion/, true],
    ["leaves open what it reads", () => toy(leaking), "it left 1 of its reads open", /on the occasion|many chunks/],
    [
      "lets go what it couldn't read",
      () => toy((doomed) => Effect.orElseSucceed(shipping(new Map())(doomed), () => allow)),
      "it let a segment go that it could not read to its end",
      /^does not let a segment go/,
    ],
    [
      "can't be stopped",
      () => toy((doomed) => Effect.uninterruptible(Effect.flatMap(deaf(doomed), () => Effect.never))),
      /^it did not end within 300 ms of being stopped$/,
      /^ends soon/,
      true,
    ],
    ["reads on after it was stopped", () => toy(deaf), /^it read on for \d+ bytes after it was stopped$/, /^ends soon/],
    [
      "records what is none of its events",
      () => toy(recording(({ segment: { path } }) => ({ type: "toy.Odd", data: { path } }))),
      'it records what its schemas don\'t take: "toy.Odd" is none of its events',
      /on the occasion/,
    ],
    [
      "records data that its schema doesn't take",
      () => toy(recording(({ segment: { path } }) => ({ type: "toy.Shipped", data: { path } }))),
      /^it records what its schemas don't take: toy.Shipped ✖/,
      /on the occasion/,
    ],
    [
      "records something about another file",
      () => toy(recording(({ log: { path } }) => ({ type: "toy.Shipped", data: { path, sha256: "" } }))),
      /^it records what its schemas don't take: toy.Shipped is about/,
      /on the occasion/,
    ],
    [
      "records after its answer",
      () =>
        toy(({ record, segment: { path } }) =>
          Effect.as(
            Effect.forkDetach(Effect.delay(record({ type: "toy.Shipped", data: { path, sha256: "" } }), 5)),
            allow,
          ),
        ),
      "it recorded toy.Shipped after its answer",
      /on the occasion/,
    ],
    [
      "dies where it can't record",
      () => toy((doomed) => Effect.orDie(shipping(new Map())(doomed))),
      /^it ended with plugin toy, events: it can't be recorded, which is no PluginError$/,
      /can't be recorded/,
    ],
    [
      "writes into what it reads",
      () =>
        toy(({ raw }) =>
          Effect.tryPromise({
            try: async (signal) => {
              for await (const chunk of raw()) {
                chunk.fill(0)
                if (signal.aborted) break
              }
              return allow
            },
            catch: failed,
          }),
        ),
      "it changed the bytes that it was given to read",
      /on the occasion|a compressed segment/,
    ],
    [
      "changes the question",
      () => toy(({ segment }) => Effect.sync(() => (Object.assign(segment, { bytes: 0 }), allow))),
      "it changed its question",
      /on the occasion/,
    ],
    [
      "takes a second try for an error",
      () => {
        const seen = new Set<string>()
        return toy(({ segment: { stamp } }) =>
          Effect.suspend(() =>
            seen.has(stamp) ? Effect.fail(failed("exists")) : Effect.sync(() => (seen.add(stamp), allow)),
          ),
        )
      },
      /^it does not let the segment go within 300 ms: .*exists$/,
      /^lets a segment go/,
      true,
    ],
    [
      "keeps its question where the next one overwrites it",
      () =>
        toy((doomed) =>
          Effect.suspend(() => {
            shared = doomed
            return Effect.delay(
              Effect.suspend(() =>
                doomed.record({ type: "toy.Shipped", data: { path: shared!.segment.path, sha256: "" } }),
              ),
              5,
            ).pipe(Effect.ignore, Effect.as(allow))
          }),
        ),
      /^it records what its schemas don't take: toy.Shipped is about/,
      /^answers about several/,
    ],
    [
      "brings along what an agent refuses",
      () => toy(() => Effect.succeed(allow), { guard: { limitMs: 0 } }),
      /^plugin toy, beforeRemove: guard.limitMs is 0/,
      /^is set up/,
    ],
  ]
  for (const [what, make, found, where, isSlow] of cases) {
    it(what, async () => {
      const failing = guardSuite(make, isSlow ? { patienceMs: 300 } : {}).filter(({ name }) => where.test(name))
      expect(failing.length).toBeGreaterThan(0)
      for (const { run } of failing) await expect(run()).rejects.toThrow(found)
    })
  }

  it("lets go where what it relies on is out of reach", async () => {
    const last = guardSuite(right, { outOfReach: right }).at(-1)!
    expect(last.name).toBe("keeps the segment where what it relies on is out of reach, and answers nevertheless")
    await expect(last.run()).rejects.toThrow("it let a segment go on the occasion closed")
  })

  it("doesn't take its config, or can't be set up", async () => {
    const refusing = { ...right(), config: { key: 1 } }
    const messages = new Set(Object.values(await problems(() => refusing)))
    expect([...messages]).toEqual(['plugin toy, config: ✖ Unrecognized key: "key"'])
  })

  describe("goes to the file itself and", () => {
    let directory = ""
    beforeAll(() => {
      directory = mkdtempSync(join(tmpdir(), "cordwood-guard-"))
    })
    afterAll(() => rmSync(directory, { recursive: true, force: true }))
    const onDisk = (): GuardSuiteOptions => ({
      disk: {
        directory,
        put: (path, bytes) => writeFile(path, bytes),
        get: async (path) => new Uint8Array(await readFile(path).catch(() => new ArrayBuffer(0))),
      },
    })
    const promised =
      (act: (path: string) => Promise<void>): Guard =>
      ({ segment }) =>
        Effect.tryPromise({ try: () => act(segment.path), catch: failed }).pipe(Effect.as(allow))

    it("reads it, which is no fault", async () => {
      expect(await problems(() => toy(promised(async (path) => void (await readFile(path)))), onDisk())).toEqual({})
    })

    it.each([
      ["removes it", (path: string) => unlink(path)],
      ["empties it", (path: string) => writeFile(path, "")],
      ["adds to it", (path: string) => writeFile(path, "x", { flag: "a" })],
    ] as const)("%s", async (_what, act) => {
      const options = onDisk()
      const get = async (path: string) => new Uint8Array(await readFile(path))
      const found = await problems(() => toy(promised(act)), {
        disk: { ...options.disk!, get: (path) => get(path).catch(() => null) },
      })
      const messages = Object.values(found)
      expect(
        messages.filter((message) => /^it (changed|removed) .*\.log\.20260909-/.test(message)).length,
      ).toBeGreaterThan(8)
    })
  })
})
