/** A journal full of rubbish, in its rows and in its pages: what can be read is, what can't is said or set aside, and appending goes on. */
import { readFileSync, truncateSync, writeFileSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"
import { Effect } from "effect"
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import { JournalError } from "@cordwood/core"
import { examineJournal, sqliteJournalReader } from "../src/index.ts"
import { aPath, append, eventOf, eventsOf, openJournal, runs, scanned, rotated } from "./journal-given.ts"

const { seed } = runs(1)
const times = Number(process.env["FUZZ_RUNS"] ?? 1)
const fuzz = (cases: number) => ({ seed, numRuns: cases * times })
const timeout = 120_000 * times

/** A journal with fifty events that nobody has open. */
const aJournal = async (): Promise<string> => {
  const path = aPath()
  const journal = await openJournal({ path })
  await append(journal, eventOf(1, scanned()), eventOf(2, rotated()), ...eventsOf(3, 51))
  await journal.close()
  return path
}

/** Reads all that can be read, each way there is; a failure is the port's own, and says what to do. */
const readAll = async (path: string): Promise<void> => {
  const reader = sqliteJournalReader({ path })
  const visited: Array<unknown> = []
  for (const effect of [
    reader.read({}),
    reader.read({ since: "2026-01-01T00:00:00Z" }),
    reader.replay,
    examineJournal({ path }, () => (decoded) => visited.push(decoded)),
  ]) {
    const outcome = await Effect.runPromise(Effect.result<unknown, JournalError, never>(effect))
    if (outcome._tag === "Success") continue
    assert.instanceOf(outcome.failure, JournalError)
    assert.isAbove(outcome.failure.message.length, 10)
    assert.isAbove(outcome.failure.hint.length, 10)
  }
}
/** And an agent opens it, sound or not, and stores what it has to store. */
const appendTo = async (path: string): Promise<void> => {
  const journal = await openJournal({ path })
  try {
    const { events } = await append(journal, eventOf(1_000))
    const position = events[0]?.position ?? 0
    const event = { ...eventOf(1_000), position }
    assert.deepStrictEqual(events, [event])
    assert.deepStrictEqual(await Effect.runPromise(journal.read({ after: position - 1 })), [{ _tag: "Known", event }])
  } finally {
    await journal.close()
  }
}

const value = fc.oneof(
  fc.string({ unit: "binary", maxLength: 30 }),
  fc.jsonValue({ maxDepth: 3 }).map((json) => JSON.stringify(json)),
  fc.constantFrom(
    "",
    "{",
    "null",
    "[]",
    "{}",
    '{"position":1}',
    '{"log":{"path":1}}',
    `${"[".repeat(20_000)}`,
    '{"id":"\\ud800"}',
    '{"__proto__":{"type":"Scanned"}}',
  ),
)

describe(`a journal of rubbish (seed ${seed})`, () => {
  it("in the columns of its rows is read row by row, and appended to", { timeout }, async () => {
    const path = await aJournal()
    const sound = readFileSync(path)
    const change = fc.record({
      position: fc.integer({ min: 1, max: 50 }),
      column: fc.constantFrom("id", "body", "time_ms", "log", "position"),
      text: value,
      number: fc.oneof(
        fc.integer(),
        fc.maxSafeInteger(),
        fc.constantFrom<number | bigint>(0, -1, 2 ** 53 - 1, 2n ** 62n),
      ),
    })
    const pointers = fc.tuple(fc.constantFrom("scanned", "rotated"), fc.oneof(fc.integer(), fc.constant(null)))
    await fc.assert(
      fc.asyncProperty(
        fc.array(change, { maxLength: 5 }),
        fc.array(pointers, { maxLength: 2 }),
        async (changes, moved) => {
          writeFileSync(path, sound)
          const db = new DatabaseSync(path)
          for (const { column, number, position, text } of changes) {
            const put = column === "id" || column === "body" ? text : number
            // Whatever SQLite itself refuses, a position that is taken, say, can't be in a journal.
            try {
              db.prepare(`UPDATE events SET ${column} = ? WHERE position = ?`).run(put, position)
            } catch (error) {
              assert.include(String(error), "constraint")
            }
          }
          for (const [pointer, to] of moved) db.prepare(`UPDATE logs SET ${pointer} = ?`).run(to)
          db.close()
          await readAll(path)
          // No room is left above the last position there can be.
          if (!changes.some(({ column, number }) => column === "position" && number > 2 ** 52)) await appendTo(path)
        },
      ),
      fuzz(30),
    )
  })

  it(
    "in the bytes of its pages, or cut anywhere, is read as far as it goes, and appended to",
    { timeout },
    async () => {
      const path = await aJournal()
      const sound = readFileSync(path)
      const patch = fc.record({
        at: fc.nat(sound.length - 1),
        bytes: fc.oneof(
          fc.uint8Array({ minLength: 1, maxLength: 20 }),
          fc.constant(new Uint8Array(4096)),
          fc.constant(new Uint8Array(4096).fill(0x5a)),
        ),
      })
      await fc.assert(
        fc.asyncProperty(fc.array(patch, { maxLength: 4 }), fc.option(fc.nat(sound.length)), async (patches, cut) => {
          const bytes = Buffer.from(sound)
          for (const { at, bytes: put } of patches) bytes.set(put.subarray(0, bytes.length - at), at)
          writeFileSync(path, bytes)
          if (cut !== null) truncateSync(path, cut)
          await readAll(path)
          await appendTo(path)
        }),
        fuzz(30),
      )
    },
  )
})

describe("a number in a journal that is none of JavaScript's", () => {
  const bend = async (sql: string): Promise<string> => {
    const path = await aJournal()
    const db = new DatabaseSync(path)
    db.exec(sql)
    db.close()
    return path
  }

  it("as an event's time is no reason to fail at every append", { timeout }, async () => {
    for (const time of ["9007199254740991", "4611686018427387904", "-4611686018427387904"]) {
      const path = await bend(`UPDATE events SET time_ms = ${time} WHERE position = 5`)
      const journal = await openJournal({ path })
      assert.strictEqual((await append(journal, eventOf(1_000))).replaced, null)
      await journal.close()
    }
  })

  it("as the last position is damage: the journal is set aside, and begun anew", { timeout }, async () => {
    const path = await bend("UPDATE sqlite_sequence SET seq = 4611686018427387904")
    const journal = await openJournal({ path })
    const { replaced } = await append(journal, eventOf(1_000))
    assert.deepStrictEqual([replaced?.reason, replaced?.keptAs], ["Corrupt", `${path}.corrupt-20260909-043310`])
    await journal.close()
  })
})
