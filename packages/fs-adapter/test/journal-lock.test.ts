/** One agent keeps a journal: in one process, in two, and after one was killed. And what was stored is stored. */
import { renameSync, rmSync, unlinkSync, writeFileSync } from "node:fs"
import { hostname } from "node:os"
import { Effect } from "effect"
import { Journal } from "@cordwood/core"
import { assert, describe, it } from "vitest"
import { sqliteJournal, sqliteJournalReader } from "../src/index.ts"
import { aPath, append, eventOf, failureOf, journalProcess, numbersIn, openJournal, START_MS } from "./journal-given.ts"

const refusalAt = (path: string) => failureOf(Effect.scoped(Effect.provide(Journal, sqliteJournal({ path }))))

describe("the journal's lock", () => {
  it("keeps a second agent in the same process out, by name and time, until the first is closed", async () => {
    const path = aPath()
    const first = await openJournal({ path })
    const error = await refusalAt(path)
    const since = new Date(START_MS).toISOString()
    assert.deepStrictEqual(
      { ...error },
      {
        ...error,
        _tag: "JournalError",
        op: "open",
        path,
        reason: "Locked",
        detail: `process ${process.pid} on ${hostname()}, since ${since}, keeps this journal`,
        hint: "Stop that agent, or give this one another journal.path.",
      },
    )
    // The refused one has opened and closed the same files, and must not have freed them.
    assert.strictEqual((await refusalAt(path)).reason, "Locked")
    await append(first, eventOf(1))
    await first.close()
    const second = await openJournal({ path })
    assert.deepStrictEqual(await numbersIn(second.read({})), [1])
  })

  it("keeps another process out, lets it read meanwhile, and is free as soon as that process was killed", async () => {
    const path = aPath()
    const other = journalProcess("hold", path)
    const [, id] = (await other.line())?.split(" ") ?? []
    const error = await refusalAt(path)
    assert.strictEqual(error.reason, "Locked")
    assert.match(error.detail, new RegExp(`^process ${other.child.pid} on .*, since 20.*Z, keeps this journal$`))
    const beside = await Effect.runPromise(sqliteJournalReader({ path }).read({}))
    assert.deepStrictEqual(
      beside.map((one) => (one._tag === "Known" ? one.event.id : one._tag)),
      [id ?? "no line"],
    )
    await other.kill("SIGKILL")
    const next = await openJournal({ path })
    assert.strictEqual((await append(next, eventOf(1))).events[0]?.position, 2)
  })

  it("keeps out a process that comes second", async () => {
    const path = aPath()
    await openJournal({ path })
    const line = await journalProcess("hold", path).line()
    assert.match(line ?? "", new RegExp(`^failed Locked open .*: process ${process.pid} on `))
  })

  it("is taken again when somebody removed its file, unless another agent was faster", async () => {
    const path = aPath()
    const first = await openJournal({ path })
    await append(first, eventOf(1))
    unlinkSync(`${path}.lock`)
    await append(first, eventOf(2))
    assert.strictEqual((await refusalAt(path)).reason, "Locked")

    unlinkSync(`${path}.lock`)
    const second = await openJournal({ path })
    assert.strictEqual((await failureOf(first.append([eventOf(3)]))).reason, "Locked")
    await append(second, eventOf(4))
    await second.close()
    await append(first, eventOf(3))
    assert.deepStrictEqual(await numbersIn(first.read({})), [1, 2, 4, 3])
  })

  it("is guarded a second time in the journal itself, should its file be put back", async () => {
    const path = aPath()
    const first = await openJournal({ path })
    await append(first, eventOf(1))
    renameSync(`${path}.lock`, `${path}.hidden`)
    const second = await openJournal({ path })
    renameSync(`${path}.hidden`, `${path}.lock`)
    assert.strictEqual((await failureOf(first.append([eventOf(2)]))).reason, "Locked")
    assert.deepStrictEqual(await numbersIn(second.read({})), [1])
  })

  it("leaves a file in its place that is no lock, and says so", async () => {
    const path = aPath()
    writeFileSync(`${path}.lock`, "somebody's notes, long enough to be read as a header".repeat(20))
    const error = await refusalAt(path)
    assert.deepStrictEqual([error.reason, error.detail], ["Other", `${path}.lock is no lock of ours`])
    rmSync(`${path}.lock`)
    await openJournal({ path })
  })
})

describe("a journal whose agent is killed while it appends", () => {
  it("holds every event whose append had returned, in whole appends, and is read meanwhile", async () => {
    const path = aPath()
    const writer = journalProcess("append", path)
    const acknowledged: Array<string> = []
    const reader = sqliteJournalReader({ path })
    const take = async (): Promise<void> => {
      const [, id] = (await writer.line())?.split(" ") ?? []
      if (id !== undefined) acknowledged.push(id)
    }
    for (let n = 0; n < 400; n += 1) {
      await take()
      if (n % 50 !== 49) continue
      const seen = await Effect.runPromise(reader.read({ limit: 10_000 }))
      const ids = seen.map((one) => (one._tag === "Known" ? one.event.id : one._tag))
      assert.deepStrictEqual(ids.slice(0, acknowledged.length), acknowledged)
      assert.strictEqual(ids.length % 2, 1, "one event first, then two at a time")
    }
    await writer.kill("SIGKILL")
    for (let line = await writer.line(); line !== null; line = await writer.line())
      acknowledged.push(line.split(" ")[1]!)
    // By a reader first, which finds a log of writes that nobody has open, then by the next agent.
    for (const journal of [reader, await openJournal({ path })]) {
      const stored = await Effect.runPromise(journal.read({ limit: 100_000 }))
      const ids = stored.map((one) => (one._tag === "Known" ? one.event.id : one._tag))
      assert.deepStrictEqual(ids.slice(0, acknowledged.length), acknowledged)
      assert.strictEqual(ids.length % 2, 1)
      assert.deepStrictEqual(
        stored.map((one) => one._tag === "Known" && one.event.position),
        stored.map((_, at) => at + 1),
      )
    }
  })
})
