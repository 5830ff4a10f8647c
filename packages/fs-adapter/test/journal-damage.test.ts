/** A journal that is damaged, cut, deleted or swapped, before it is opened and while it is open: it is set aside, and begun anew. */
import {
  openSync,
  closeSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs"
import { spawnSync } from "node:child_process"
import { basename, dirname, join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { Effect } from "effect"
import { assert, describe, it } from "vitest"
import * as fc from "fast-check"
import { Journal } from "@cordwood/core"
import { sqliteJournal, sqliteJournalReader } from "../src/index.ts"
import {
  aDirectory,
  aPath,
  append,
  eventOf,
  eventsOf,
  failureOf,
  numbersIn,
  openJournal,
  runs,
  Time,
} from "./journal-given.ts"

const STAMP = "20260909-043310"

/** A journal with `events` events that nobody has open. */
const aJournal = async (events: number): Promise<string> => {
  const path = aPath()
  const journal = await openJournal({ path })
  await append(journal, ...eventsOf(1, events + 1))
  await journal.close()
  return path
}
const overwrite = (path: string, at: number, bytes: Buffer): void => {
  const fd = openSync(path, "r+")
  writeSync(fd, bytes, 0, bytes.length, at)
  closeSync(fd)
}
const noise = (length: number): Buffer => Buffer.from(Array.from({ length }, (_, n) => (n * 7919 + 13) % 256))

const openFailing = (path: string) => Effect.scoped(Effect.provide(Journal, sqliteJournal({ path })))

const asideIn = (path: string): ReadonlyArray<string> =>
  readdirSync(dirname(path))
    .filter((name) => name.startsWith(`${basename(path)}.corrupt-`))
    .toSorted()

const DAMAGES: Readonly<Record<string, (path: string) => void>> = {
  "random bytes": (path) => writeFileSync(path, noise(20_000)),
  "a header that was overwritten": (path) => overwrite(path, 0, noise(100)),
  "a first page that was overwritten": (path) => overwrite(path, 0, noise(4096)),
  "a cut in the middle of a page": (path) => truncateSync(path, 4096 * 3 + 100),
  "a cut to one page": (path) => truncateSync(path, 4096),
  "nothing left": (path) => truncateSync(path, 0),
  "the tables gone": (path) => {
    const db = new DatabaseSync(path)
    db.exec("DROP TABLE events")
    db.close()
  },
}

describe("a journal that is damaged when it is opened", () => {
  for (const [name, damage] of Object.entries(DAMAGES)) {
    it(`is set aside and begun anew: ${name}`, async () => {
      const path = await aJournal(200)
      damage(path)
      const bytes = readFileSync(path)
      const journal = await openJournal({ path })
      assert.deepStrictEqual(await Effect.runPromise(journal.replay), [])
      const appended = await append(journal, eventOf(500))
      assert.deepStrictEqual(appended, {
        events: [{ ...eventOf(500), position: appended.events[0]!.position }],
        replaced: { path, reason: "Corrupt", keptAs: `${path}.corrupt-${STAMP}`, detail: appended.replaced!.detail },
      })
      assert.isAbove(appended.replaced!.detail.length, 5)
      assert.isAbove(appended.events[0]!.position, 200, "positions go on rising, whatever the lost journal held")
      assert.isTrue(readFileSync(`${path}.corrupt-${STAMP}`).equals(bytes))
      assert.strictEqual((await append(journal, eventOf(501))).replaced, null)
      assert.deepStrictEqual(await numbersIn(sqliteJournalReader({ path }).read({})), [500, 501])
    })
  }

  it("is set aside without overwriting, and only the newest three are kept", async () => {
    const path = await aJournal(1)
    writeFileSync(`${path}.corrupt-${STAMP}x`, "somebody else's")
    const seen: Array<string | null | undefined> = []
    for (let n = 0; n < 5; n += 1) {
      writeFileSync(path, noise(5_000 + n))
      const time = new Time()
      time.pass(n < 2 ? 0 : n * 1_000)
      const journal = await openJournal({ path }, time)
      seen.push((await append(journal, eventOf(n + 10))).replaced?.keptAs)
      await journal.close()
    }
    const names = [STAMP, `${STAMP}.1`, "20260909-043312", "20260909-043313", "20260909-043314"].map(
      (stamp) => `${path}.corrupt-${stamp}`,
    )
    assert.deepStrictEqual(seen, names)
    const kept = names.slice(2).map((name) => basename(name))
    assert.deepStrictEqual(asideIn(path), [`${basename(path)}.corrupt-${STAMP}x`, ...kept].toSorted())
    assert.deepStrictEqual(
      names.slice(2).map((name) => statSync(name).size),
      [5_002, 5_003, 5_004],
    )
  })

  it("is begun in an empty file that no agent has left", async () => {
    const path = aPath()
    writeFileSync(path, "")
    const journal = await openJournal({ path })
    assert.deepStrictEqual((await append(journal, eventOf(1))).replaced, null)
    assert.deepStrictEqual(asideIn(path), [])
  })

  it("whatever bytes are smashed: never throws, and either reads on or begins anew and says so", async () => {
    const original = readFileSync(await aJournal(150))
    await fc.assert(
      fc.asyncProperty(
        fc.nat(original.length - 1),
        fc.uint8Array({ minLength: 1, maxLength: 3_000 }),
        async (at, bytes) => {
          const path = aPath()
          writeFileSync(path, original)
          writeFileSync(`${path}.lock`, "")
          overwrite(path, at, Buffer.from(bytes))
          const journal = await openJournal({ path })
          await Effect.runPromise(journal.replay)
          const before = await Effect.runPromise(journal.read({}))
          const appended = await append(journal, ...eventsOf(1_000, 1_040))
          const after = await numbersIn(journal.read({ limit: 10_000 }))
          const told = await append(journal, eventOf(2_000))
          await journal.close()
          const replaced = appended.replaced ?? told.replaced
          if (asideIn(path).length > 0) assert.strictEqual(replaced?.reason, "Corrupt")
          else
            assert.deepStrictEqual(
              [replaced, after.slice(-40)],
              [null, eventsOf(1_000, 1_040).map((_, n) => 1_000 + n)],
            )
          assert.isAtMost(before.length, 151)
        },
      ),
      runs(60),
    )
  })
})

/** As another process does it: this one must not open and close the files that SQLite holds locks on. */
const elsewhere = (script: string, ...args: ReadonlyArray<string>): void => {
  const { status, stderr } = spawnSync("sh", ["-euc", script, "sh", ...args], { encoding: "utf8" })
  assert.deepStrictEqual([status, stderr], [0, ""])
}
const smash = (path: string, fromPage: number, pages: number): void => {
  const from = join(aDirectory(), "noise")
  writeFileSync(from, noise(pages * 4096))
  elsewhere('dd status=none conv=notrunc bs=4096 if="$1" of="$2" seek="$3"', from, path, String(fromPage))
}

describe("a journal that comes to harm while it is open", () => {
  for (const use of ["read", "replay", "append"] as const) {
    it(`is set aside and begun anew when ${use} comes across the damage`, async () => {
      const path = await aJournal(3_000)
      const journal = await openJournal({ path })
      const pages = Math.floor(statSync(path).size / 4096)
      smash(path, 3, pages - 3)
      // Its log of writes holds the pages of the last append; what else it needs is noise now.
      if (use === "read") assert.deepStrictEqual(await numbersIn(journal.read({ after: 100 })), [])
      if (use === "replay") assert.deepStrictEqual(await Effect.runPromise(journal.replay), [])
      const first = await append(journal, ...eventsOf(5_000, 5_400))
      assert.deepStrictEqual(first, {
        events: eventsOf(5_000, 5_400).map((event, n) => ({ ...event, position: 3_001 + n })),
        replaced: { path, reason: "Corrupt", keptAs: `${path}.corrupt-${STAMP}`, detail: first.replaced!.detail },
      })
      assert.strictEqual((await append(journal, eventOf(6_000))).replaced, null)
      assert.strictEqual((await numbersIn(journal.read({}))).length, 401)
    })
  }

  it("is begun anew when it was deleted: alone, with all that lies beside it, or with its directory", async () => {
    const scripts = ['rm "$1"', 'rm "$1"*', 'rm -r "$(dirname "$1")"', 'rm "$1" "$1-wal" "$1-shm"']
    for (const script of scripts) {
      const path = join(aDirectory(), "cordwood", "journal.db")
      const journal = await openJournal({ path })
      await append(journal, ...eventsOf(1, 4))
      elsewhere(script, path)
      const appended = await append(journal, eventOf(4))
      assert.deepStrictEqual(appended, {
        events: [{ ...eventOf(4), position: 4 }],
        replaced: { path, reason: "Missing", keptAs: null, detail: "the file was deleted" },
      })
      assert.deepStrictEqual(await append(journal, eventOf(5)), {
        events: [{ ...eventOf(5), position: 5 }],
        replaced: null,
      })
      assert.deepStrictEqual(await numbersIn(sqliteJournalReader({ path }).read({})), [4, 5])
      assert.match((await failureOf(openFailing(path))).detail, /keeps this journal$/)
      await journal.close()
    }
  })

  it("is begun anew when it was deleted between appends that failed, and says so when one succeeds", async () => {
    const path = join(aDirectory(), "cordwood", "journal.db")
    const journal = await openJournal({ path })
    await append(journal, eventOf(1))
    elsewhere('rm -r "$(dirname "$1")" && : > "$(dirname "$1")"', path)
    const error = await failureOf(journal.append([eventOf(2)]))
    assert.deepStrictEqual([error.op, error.reason], ["append", "Other"])
    elsewhere('rm "$(dirname "$1")"', path)
    assert.deepStrictEqual(await append(journal, eventOf(2)), {
      events: [{ ...eventOf(2), position: 2 }],
      replaced: { path, reason: "Missing", keptAs: null, detail: "the file was deleted" },
    })
  })

  it("sets another file aside that has taken its place, and follows no link that has", async () => {
    const path = await aJournal(3)
    const other = await aJournal(2)
    const journal = await openJournal({ path })
    elsewhere('cp "$2" "$1.new" && mv "$1.new" "$1"', path, other)
    const bytes = readFileSync(other)
    assert.deepStrictEqual((await append(journal, eventOf(9))).replaced, {
      path,
      reason: "Missing",
      keptAs: `${path}.corrupt-${STAMP}`,
      detail: "another file has taken its place",
    })
    assert.isTrue(readFileSync(`${path}.corrupt-${STAMP}`).equals(bytes))
    assert.deepStrictEqual(asideIn(path), [`${basename(path)}.corrupt-${STAMP}`])

    elsewhere('mv "$1" "$1.mine" && ln -s "$2" "$1"', path, other)
    const error = await failureOf(journal.append([eventOf(10)]))
    assert.strictEqual(error.detail, `${path} is a symbolic link; it is neither followed nor touched`)
    assert.isTrue(readFileSync(other).equals(bytes))
    unlinkSync(path)
    assert.deepStrictEqual((await append(journal, eventOf(10))).replaced?.reason, "Missing")
  })

  it("is set aside when it was cut, and when its log of writes was and events are missing", async () => {
    for (const [script, after] of [
      ['truncate -s 0 "$1"', ""],
      ['truncate -s 8192 "$1"', ""],
      ['truncate -s 0 "$1-wal"', "-wal"],
    ] as const) {
      const path = await aJournal(300)
      const journal = await openJournal({ path })
      await append(journal, ...eventsOf(400, 410))
      elsewhere(script, path)
      const { events, replaced } = await append(journal, eventOf(500))
      assert.deepStrictEqual(
        [after, events[0]?.position, replaced?.reason, replaced?.keptAs],
        [after, 311, "Corrupt", `${path}.corrupt-${STAMP}`],
      )
    }
  })

  it("loses nothing when what SQLite keeps beside it was deleted, whether or not it is being read", async () => {
    for (const isRead of [false, true]) {
      for (const script of ['rm "$1-wal"', 'rm "$1-shm"', 'rm "$1-wal" "$1-shm"']) {
        const path = await aJournal(3)
        const journal = await openJournal({ path })
        await append(journal, eventOf(4))
        const beside = new DatabaseSync(path, { readOnly: true })
        beside.prepare("SELECT count(*) FROM events").get()
        if (!isRead) beside.close()
        elsewhere(script, path)
        assert.deepStrictEqual(await append(journal, eventOf(5)), {
          events: [{ ...eventOf(5), position: 5 }],
          replaced: null,
        })
        if (isRead) beside.close()
        assert.deepStrictEqual(await numbersIn(sqliteJournalReader({ path }).read({})), [1, 2, 3, 4, 5])
      }
    }
  })

  it("tells of the first loss when a second one comes before an append", async () => {
    const path = await aJournal(3)
    writeFileSync(path, noise(5_000))
    const journal = await openJournal({ path })
    smash(path, 0, 8)
    elsewhere('rm "$1-wal"', path)
    assert.deepStrictEqual(await numbersIn(journal.read({})), [])
    const { replaced } = await append(journal, eventOf(4))
    assert.deepStrictEqual([replaced?.reason, replaced?.keptAs], ["Corrupt", `${path}.corrupt-${STAMP}`])
    assert.strictEqual(asideIn(path).length, 2)
  })

  it("goes on when somebody else emptied its log of writes into it, as sqlite3 can", async () => {
    const path = aPath()
    const journal = await openJournal({ path })
    await append(journal, ...eventsOf(1, 50))
    const shell = new DatabaseSync(path)
    shell.exec("PRAGMA wal_checkpoint(TRUNCATE); VACUUM; PRAGMA wal_checkpoint(TRUNCATE)")
    shell.close()
    assert.strictEqual((await append(journal, eventOf(50))).replaced, null)
    assert.strictEqual((await numbersIn(journal.read({}))).length, 50)
  })
})
