// The plugin as an agent sets it up: what every guard must do, and what this one is for.
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { compose, type Configured, NO_HISTORY, type Question, type Ruling } from "@cordwood/core"
import { givenSnapshot, guardSuite, SCANNED_AT_MS, setUp } from "@cordwood/core/testing"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { keep } from "../src/keep.ts"

let directory = ""
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "cordwood-keep-"))
  writeFileSync(join(directory, "hold"), "")
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const DAY_MS = 86_400_000
const nothing = async function* (): AsyncGenerator<Uint8Array, void, undefined> {}
const question: Question = {
  log: { path: "/logs/0.log" },
  segment: givenSnapshot({ files: { "0.log.20260909-043310": { bytes: 12, agoMs: 0 } } }).segments[0]!,
  occasion: "removal",
  correlationId: "pass",
  history: NO_HISTORY,
  codecs: [],
  stored: nothing,
  raw: nothing,
  record: () => Effect.void,
}
/** What an agent makes of the plugin's answer, this long after the segment's last line. */
const rulingOf = (configured: Configured, afterMs = DAY_MS): Promise<Ruling> =>
  Effect.gen(function* () {
    yield* TestClock.setTime(SCANNED_AT_MS + afterMs)
    const { ask } = yield* compose([{ plugin: "keep", contributions: yield* setUp(configured) }])
    return yield* ask(question)
  }).pipe(Effect.scoped, Effect.provide(TestClock.layer()), Effect.runPromise)

const kept = (why: string, retryAfterMs: number): Ruling => ({
  _tag: "Defer",
  by: "keep",
  why,
  retryAfterMs,
  timedOut: false,
})

describe("as any guard, keep", () => {
  const outOfReach = () => keep({ hold: join(directory, "hold") })
  for (const { name, run } of guardSuite(() => keep({ minAge: "1m" }), { outOfReach })) it(name, run)
})

describe("keep", () => {
  it("lets everything go if nothing else is said", async () => {
    expect(await rulingOf(keep(), 0)).toEqual({ _tag: "Allow" })
  })

  it("keeps a segment until it is old enough, and says when to ask again", async () => {
    const week = keep({ minAge: "7d" })
    expect(await rulingOf(week, 6 * DAY_MS)).toEqual(kept("it is younger than 7d", DAY_MS))
    expect(await rulingOf(week, 7 * DAY_MS - 1)).toEqual(kept("it is younger than 7d", 1))
    expect(await rulingOf(week, 7 * DAY_MS)).toEqual({ _tag: "Allow" })
  })

  it("keeps everything while the file is there, however old", async () => {
    const hold = join(directory, "hold")
    expect(await rulingOf(keep({ hold }))).toEqual(kept(`${hold} is there`, 60_000))
    expect(await rulingOf(keep({ hold: join(directory, "no-hold") }))).toEqual({ _tag: "Allow" })
  })

  it("keeps everything if it can't see whether the file is there", async () => {
    const loop = join(directory, "loop")
    symlinkSync(loop, loop)
    const error = `Error: ELOOP: too many symbolic links encountered, stat '${loop}'`
    expect(await rulingOf(keep({ hold: loop }))).toEqual(kept(`plugin keep, beforeRemove: ${error}`, 60_000))
  })

  it("takes no other settings, and says which it doesn't know", async () => {
    const wrong = { ...keep(), config: { minAge: 7, holds: "/x" } }
    const error = await Effect.runPromise(Effect.scoped(Effect.flip(setUp(wrong))))
    expect(error.detail).toBe('✖ Unrecognized key: "holds"\n✖ 7 has no unit; write 7s for seconds\n  → at minAge')
  })
})
