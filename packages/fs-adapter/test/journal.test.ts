/** The journal on SQLite: what every journal does, where its files lie and with which modes, and reading it from beside. */
import {
  chmodSync,
  chownSync,
  lchownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  rmdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { spawnSync } from "node:child_process"
import { dirname, join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { fileURLToPath } from "node:url"
import { Context, Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { decode, Journal } from "@cordwood/core"
import { journalSuite } from "@cordwood/core/testing"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as z from "zod"
import { journalObstacle, sqliteJournal, sqliteJournalReader } from "../src/index.ts"
import {
  aDirectory,
  aPath,
  append,
  DAY_MS,
  eventOf,
  eventsOf,
  failureOf,
  logOf,
  NOBODY,
  numberOf,
  numbersIn,
  openJournal,
  removed,
  rotated,
  runs,
  scanned,
  START_MS,
  Time,
} from "./journal-given.ts"

const modeOf = (path: string): string => (lstatSync(path).mode & 0o777).toString(8)

describe("the journal on SQLite, as any journal,", () => {
  for (const { name, run } of journalSuite) {
    it.effect(name, () => run.pipe(Effect.provide(sqliteJournal({ path: aPath() }))))
  }
})

describe("the journal on SQLite", () => {
  it("goes on where it was after a restart, with rising positions, and hands out no position twice", async () => {
    const path = aPath()
    const first = await openJournal({ path })
    const one = await append(first, ...eventsOf(1, 4))
    await first.close()
    const second = await openJournal({ path })
    assert.deepStrictEqual(await numbersIn(second.read({})), [1, 2, 3])
    const two = await append(second, eventOf(3), eventOf(4))
    assert.deepStrictEqual(
      [...one.events, ...two.events].map((event) => [numberOf(event), event.position]),
      [
        [1, 1],
        [2, 2],
        [3, 3],
        [3, 3],
        [4, 4],
      ],
    )
  })

  it("keeps its files for their owner alone, creates the last part of the directory likewise, and leaves no log of writes", async () => {
    const directory = join(aDirectory(), "cordwood")
    const path = join(directory, "journal.db")
    const before = process.umask(0)
    try {
      const journal = await openJournal({ path })
      await append(journal, eventOf(1))
      assert.deepStrictEqual([directory, path, `${path}-wal`, `${path}-shm`, `${path}.lock`].map(modeOf), [
        "700",
        "600",
        "600",
        "600",
        "600",
      ])
      await journal.close()
      assert.deepStrictEqual(readdirSync(directory), ["journal.db", "journal.db.lock"])
      chmodSync(path, 0o644)
      await openJournal({ path })
      assert.strictEqual(modeOf(path), "600")
    } finally {
      process.umask(before)
    }
  })

  it("refuses a directory that isn't there, or that anybody may write, and says what to do", async () => {
    const missing = join(aDirectory(), "a", "b", "journal.db")
    const none = await failureOf(Effect.scoped(Effect.provide(Journal, sqliteJournal({ path: missing }))))
    assert.deepStrictEqual([none.reason, none.path], ["Other", missing])
    assert.match(none.message, /neither .* nor the directory above it exists/)
    assert.match(none.hint, /^Create .*\/a, or correct journal.path\.$/)

    const open = aDirectory()
    chmodSync(open, 0o777)
    const refused = await failureOf(Effect.provide(Journal, sqliteJournal({ path: join(open, "journal.db") })))
    assert.deepStrictEqual([refused.reason, refused.detail], ["Other", `everybody may rename files in ${open}`])
    assert.deepStrictEqual(readdirSync(open), [])
    chmodSync(open, 0o1777)
    await append(await openJournal({ path: join(open, "journal.db") }), eventOf(1))
  })

  it("follows no link and moves no directory that lies in its file's or its lock's place", async () => {
    for (const name of ["journal.db", "journal.db.lock"]) {
      const directory = aDirectory()
      const target = join(directory, "precious")
      writeFileSync(target, "precious")
      symlinkSync(target, join(directory, name))
      const path = join(directory, "journal.db")
      const error = await failureOf(Effect.provide(Journal, sqliteJournal({ path })))
      assert.deepStrictEqual(
        [error.reason, error.detail],
        ["Other", `${join(directory, name)} is a symbolic link; it is neither followed nor touched`],
      )
      assert.strictEqual(statSync(target).size, "precious".length)
    }
    const path = aPath()
    mkdirSync(path)
    const error = await failureOf(Effect.provide(Journal, sqliteJournal({ path })))
    assert.strictEqual(error.detail, `${path} is a directory; it is neither followed nor touched`)
  })

  it.skipIf(process.getuid?.() !== 0)(
    "touches no file of another user's, and follows no link of theirs, whatever it is called",
    async () => {
      const refusalIn = async (lay: (directory: string) => void): Promise<string> => {
        const directory = join(aDirectory(), "state")
        mkdirSync(directory)
        lay(directory)
        const before = filesIn(dirname(directory))
        const path = join(directory, "journal.db")
        const error = await failureOf(Effect.provide(Journal, sqliteJournal({ path })))
        // A lock may have been made, which is the agent's own.
        const after = filesIn(dirname(directory)).filter(([name]) => before.some(([known]) => known === name))
        assert.deepStrictEqual(after, before)
        return error.detail.replaceAll(dirname(directory), "DIR")
      }
      const foreign = (directory: string, name: string): void => {
        writeFileSync(join(directory, name), "theirs", { mode: 0o644 })
        chownSync(join(directory, name), NOBODY, NOBODY)
      }
      const filesIn = (directory: string): ReadonlyArray<readonly [name: string, trace: string]> =>
        readdirSync(directory, { recursive: true, encoding: "utf8" })
          .toSorted()
          .map((name) => {
            const { gid, ino, mode, mtimeMs, size, uid } = lstatSync(join(directory, name))
            return [
              name,
              lstatSync(join(directory, name)).isDirectory() ? "" : `${ino} ${mode} ${uid} ${gid} ${size} ${mtimeMs}`,
            ]
          })
      assert.deepStrictEqual(
        [
          await refusalIn((directory) => chownSync(directory, NOBODY, NOBODY)),
          await refusalIn((directory) => {
            rmdirSync(directory)
            mkdirSync(`${directory}-of-root`)
            symlinkSync(`${directory}-of-root`, directory)
            lchownSync(directory, NOBODY, NOBODY)
          }),
          await refusalIn((directory) => foreign(directory, "journal.db")),
          await refusalIn((directory) => foreign(directory, "journal.db.lock")),
          await refusalIn((directory) => {
            writeFileSync(join(directory, "journal.db"), "", { mode: 0o600 })
            foreign(directory, "journal.db-wal")
          }),
          await refusalIn((directory) => {
            writeFileSync(join(dirname(directory), "passwd"), "root:x:0:0", { mode: 0o644 })
            linkSync(join(dirname(directory), "passwd"), join(directory, "journal.db"))
          }),
        ],
        [
          "DIR/state belongs to another user (65534), who could put any journal there",
          "DIR/state is a symbolic link of another user (65534); it is not followed",
          "DIR/state/journal.db belongs to another user (65534); it is not touched",
          "DIR/state/journal.db.lock belongs to another user (65534); it is not touched",
          "DIR/state/journal.db-wal belongs to another user (65534); it is not touched",
          "DIR/state/journal.db has 2 names, and another one may lie anywhere; it is not touched",
        ],
      )
    },
  )

  it("refuses another program's database and leaves it as it is", async () => {
    const path = aPath()
    const other = new DatabaseSync(path)
    other.exec("CREATE TABLE accounts (id)")
    other.close()
    const error = await failureOf(Effect.provide(Journal, sqliteJournal({ path })))
    assert.deepStrictEqual([error.reason, error.detail], ["Other", "this is another program's SQLite database"])
    assert.deepStrictEqual(readdirSync(dirname(path)), ["journal.db", "journal.db.lock"])
  })

  it("reads plugins' events by their schemas, and calls what is broken broken, row by row", async () => {
    const path = aPath()
    const options = { plugins: { "s3.Shipped": z.strictObject({ key: z.string() }) } }
    const journal = await openJournal({ path, decode: options })
    const shipped = { ...eventOf(1), type: "s3.Shipped", data: { key: "k" } } as const
    await append(journal, shipped, eventOf(2), eventOf(3), eventOf(4))
    const other = new DatabaseSync(path)
    other.exec("UPDATE events SET body = '{' WHERE position = 2; UPDATE events SET body = '[1]' WHERE position = 3")
    other.close()
    const read = await Effect.runPromise(journal.read({}))
    assert.deepStrictEqual(
      [read[0], read[3]],
      [
        { _tag: "Known", event: { ...shipped, position: 1 } },
        { _tag: "Known", event: { ...eventOf(4), position: 4 } },
      ],
    )
    assert.deepStrictEqual(
      read.slice(1, 3).map((one) => [one._tag, one._tag === "Invalid" && one.problem.slice(0, 10)]),
      [
        ["Invalid", "position 2"],
        ["Invalid", "position 3"],
      ],
    )
    assert.deepStrictEqual((await Effect.runPromise(journal.replay)).length, 4)
    const again = await append(journal, eventOf(2))
    assert.deepStrictEqual(again.events, [{ ...eventOf(2), position: 2 }])
  })

  it("stores nothing of an append that holds what can't be written, and goes on", async () => {
    const journal = await openJournal({ path: aPath() })
    const error = await failureOf(journal.append([eventOf(1), { ...eventOf(2), type: "p.Big", data: { n: 1n } }]))
    assert.deepStrictEqual([error.reason, error.op], ["Other", "append"])
    const nameless = { ...eventOf(2), id: null as unknown as string }
    assert.strictEqual((await failureOf(journal.append([eventOf(1), nameless]))).reason, "Other")
    await append(journal, eventOf(3))
    assert.deepStrictEqual(await numbersIn(journal.read({})), [3])
  })

  it("works on a newer agent's journal and doesn't lower its version; refuses one whose tables it can't use", async () => {
    const path = aPath()
    const before = await openJournal({ path })
    await append(before, eventOf(1))
    await before.close()
    const newer = new DatabaseSync(path)
    newer.exec(
      "ALTER TABLE events ADD COLUMN node TEXT NOT NULL DEFAULT 'n'; CREATE TABLE later (x); PRAGMA user_version = 7",
    )
    newer.close()
    const older = await openJournal({ path })
    await append(older, eventOf(2))
    assert.deepStrictEqual(await numbersIn(older.read({})), [1, 2])
    assert.deepStrictEqual(await numbersIn(sqliteJournalReader({ path }).read({})), [1, 2])
    await older.close()
    const after = new DatabaseSync(path)
    assert.deepStrictEqual({ ...after.prepare("PRAGMA user_version").get() }, { user_version: 7 })
    after.exec("ALTER TABLE events RENAME COLUMN body TO payload; ALTER TABLE events RENAME COLUMN log TO source")
    after.close()
    const error = await failureOf(Effect.provide(Journal, sqliteJournal({ path })))
    assert.match(error.detail, /^a newer agent wrote this journal \(schema 7, this one knows 1\): no such column/)
    assert.deepStrictEqual(
      readdirSync(dirname(path)).filter((name) => name.includes("corrupt")),
      [],
    )
  })

  it("says Busy when another program holds it, in bounded time, and works again afterwards", async () => {
    const path = aPath()
    const journal = await openJournal({ path })
    const shell = new DatabaseSync(path)
    shell.exec("BEGIN IMMEDIATE")
    const error = await failureOf(journal.append([eventOf(1)]))
    assert.deepStrictEqual([error.reason, error.hint.includes("end that transaction")], ["Busy", true])
    shell.close()
    await append(journal, eventOf(1))
    assert.deepStrictEqual(await numbersIn(journal.read({})), [1])
  })

  it("can't be used once it is closed", async () => {
    const journal = await openJournal({ path: aPath() })
    await journal.close()
    assert.strictEqual((await failureOf(journal.append([eventOf(1)]))).detail, "the journal was closed")
  })

  it.effect("lets old events go while nothing is appended", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(START_MS)
      const context = yield* Layer.build(sqliteJournal({ path: aPath(), keepMs: DAY_MS }))
      const journal = Context.get(context, Journal)
      yield* journal.append(eventsOf(1, 500))
      yield* TestClock.adjust("23 hours")
      assert.strictEqual((yield* journal.read({})).length, 499)
      yield* TestClock.adjust("2 hours")
      assert.deepStrictEqual(yield* journal.read({}), [])
    }),
  )

  it("replays, whatever is appended in whatever batches and restarts, what a look at all events gives", async () => {
    const fact = fc.constantFrom(scanned(), rotated(), removed())
    const step = fc.record({
      log: fc.constantFrom("a", "b", "c"),
      fact,
      ends: fc.constantFrom("no", "batch", "restart"),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const path = aPath()
        let journal = await openJournal({ path })
        let batch: Array<ReturnType<typeof eventOf>> = []
        for (const [n, { ends, fact, log }] of steps.entries()) {
          batch.push(eventOf(n + 1, fact, logOf(log)))
          if (ends === "no") continue
          await append(journal, ...batch)
          batch = []
          if (ends === "batch") continue
          await journal.close()
          journal = await openJournal({ path })
        }
        await append(journal, ...batch)
        const latest = (log: string, type: string): number =>
          steps.findLastIndex((one) => one.log === log && one.fact.type === type)
        const expected = steps.flatMap(({ log }, n) =>
          n >= latest(log, "Scanned") || n === latest(log, "Rotated") ? [n + 1] : [],
        )
        assert.deepStrictEqual(await numbersIn(journal.replay), expected)
        await journal.close()
      }),
      runs(25),
    )
  })

  it("loads SQLite without a warning, and lets others through", () => {
    const index = fileURLToPath(new URL("../src/index.ts", import.meta.url))
    const script = `
      import { Effect, Layer } from "effect"
      import { sqliteJournal } from ${JSON.stringify(index)}
      const journal = sqliteJournal({ path: ${JSON.stringify(aPath())} })
      await Effect.runPromise(Effect.scoped(Layer.build(journal)))
      process.emitWarning("another")`
    const { stderr, status } = spawnSync(
      process.execPath,
      ["--conditions=cordwood-source", "--input-type=module", "--eval", script],
      { encoding: "utf8", env: { ...process.env, NODE_OPTIONS: "" }, cwd: dirname(index) },
    )
    assert.deepStrictEqual([status, stderr.match(/\w*Warning: .*/g)], [0, ["Warning: another"]])
  })
})

describe("a reader of the journal", () => {
  it("says that there is none, and creates nothing", async () => {
    const path = aPath()
    const reader = sqliteJournalReader({ path })
    for (const effect of [reader.read({}), reader.replay]) {
      const error = await failureOf(effect)
      assert.deepStrictEqual(
        [error.reason, error.detail, error.hint],
        ["Other", "there is no journal", "Is journal.path right, and has an agent run on this machine?"],
      )
    }
    assert.deepStrictEqual(readdirSync(dirname(path)), [])
  })

  it("tells a journal that is yet to begin from one that can't, and creates nothing", async () => {
    const directory = aDirectory()
    mkdirSync(join(directory, "open"))
    chmodSync(join(directory, "open"), 0o777)
    writeFileSync(join(directory, "file"), "")
    const obstacleTo = (path: string): unknown => {
      const obstacle = journalObstacle(join(directory, path))
      return obstacle === null ? null : [obstacle.reason, obstacle.detail.replaceAll(directory, "DIR")]
    }
    const before = readdirSync(directory)
    const found = ["journal.db", "new/journal.db", "a/b/journal.db", "file/journal.db", "file/a/journal.db"]
    assert.deepStrictEqual([...found, "open/journal.db"].map(obstacleTo), [
      null,
      null,
      ["Other", "neither DIR/a/b nor the directory above it exists"],
      ["Other", "DIR/file is no directory"],
      ["Other", "DIR/file is no directory"],
      ["Other", "everybody may rename files in DIR/open"],
    ])
    assert.deepStrictEqual(readdirSync(directory), before)
    await (await openJournal({ path: join(directory, "new/journal.db") })).close()
    assert.strictEqual(obstacleTo("new/journal.db"), null)
  })

  it("reads while the agent has it open, after the agent has gone, and leaves no file behind", async () => {
    const path = aPath()
    const journal = await openJournal({ path })
    const reader = sqliteJournalReader({ path })
    await append(journal, eventOf(1, scanned()), eventOf(2))
    assert.deepStrictEqual(await numbersIn(reader.read({})), [1, 2])
    await append(journal, eventOf(3, scanned()))
    assert.deepStrictEqual(await numbersIn(reader.read({ after: 2 })), [3])
    assert.deepStrictEqual(await numbersIn(reader.replay), [3])
    await journal.close()
    const before = readdirSync(dirname(path))
    chmodSync(dirname(path), 0o500)
    assert.deepStrictEqual(await numbersIn(reader.read({})), [1, 2, 3])
    chmodSync(dirname(path), 0o700)
    assert.deepStrictEqual([before, readdirSync(dirname(path))], [before, ["journal.db", "journal.db.lock"]])
  })

  it("says what is wrong with a file that is no journal, and leaves it", async () => {
    const path = aPath()
    writeFileSync(path, "x".repeat(5_000))
    const error = await failureOf(sqliteJournalReader({ path }).read({}))
    assert.strictEqual(error.reason, "Corrupt")
    writeFileSync(path, "")
    assert.strictEqual(
      (await failureOf(sqliteJournalReader({ path }).read({}))).detail,
      "no agent has begun this journal yet",
    )
    assert.deepStrictEqual(readdirSync(dirname(path)), ["journal.db"])
  })

  it("decodes a stored event as core does", async () => {
    const journal = await openJournal({ path: aPath() }, new Time())
    const { events } = await append(journal, eventOf(1, rotated()))
    assert.deepStrictEqual(await Effect.runPromise(journal.read({})), [decode(events[0])])
  })
})
