/** The journal on a disk that is full or can't be written: errors that say so, nothing half stored, and on it goes afterwards. */
import { spawnSync } from "node:child_process"
import { chmodSync, chownSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { Journal, type JournalError, type JournalShape } from "@cordwood/core"
import { assert, describe, it, onTestFinished } from "vitest"
import { sqliteJournal, sqliteJournalReader } from "../src/index.ts"
import {
  aDirectory,
  append,
  eventOf,
  eventsOf,
  failureOf,
  journalProcess,
  NOBODY,
  numbersIn,
  openJournal,
} from "./journal-given.ts"

const run = (...command: ReadonlyArray<string>): { readonly ok: boolean; readonly said: string } => {
  const { status, stderr } = spawnSync(command[0]!, command.slice(1), { encoding: "utf8" })
  return { ok: status === 0, said: stderr }
}

/** Why no disk of its own can be had; null if one can. */
const noDisk = ((): string | null => {
  if (process.getuid?.() !== 0) return "only root can mount a small disk"
  const directory = mkdtempSync(join(tmpdir(), "cordwood-disk-"))
  const { ok, said } = run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", directory)
  if (ok) run("umount", directory)
  rmSync(directory, { recursive: true, force: true })
  return ok ? null : `a small disk can't be mounted: ${said.trim()}`
})()
if (noDisk !== null) console.log(`skipped: the journal on a full disk: ${noDisk}`)

const aDisk = (kib: number): string => {
  const directory = aDirectory()
  assert.deepStrictEqual(run("mount", "-t", "tmpfs", "-o", `size=${kib}k,mode=0700`, "tmpfs", directory), {
    ok: true,
    said: "",
  })
  onTestFinished(() => void run("umount", "-l", directory))
  return directory
}
/** Takes all the space that is left. */
const fill = (directory: string): (() => void) => {
  const ballast = join(directory, "ballast")
  run("dd", "if=/dev/zero", `of=${ballast}`, "bs=4096")
  return () => rmSync(ballast)
}
/** Appends until it fails; what was stored, and the failure. */
const appendUntilFull = async (journal: JournalShape, from: number) => {
  for (let n = from; n < from + 10_000; n += 5) {
    const exit = await Effect.runPromise(Effect.result(journal.append(eventsOf(n, n + 5))))
    if (exit._tag === "Failure") return { next: n, error: exit.failure as JournalError }
  }
  throw new Error("the disk never got full")
}

describe.skipIf(noDisk !== null)("the journal on a disk that fills up", () => {
  it("says NoSpace, has stored each append whole or not at all, still reads, and goes on when there is space", async () => {
    const disk = aDisk(2_048)
    const path = join(disk, "journal.db")
    const journal = await openJournal({ path })
    await append(journal, eventOf(0))
    const { error, next } = await appendUntilFull(journal, 1)
    assert.deepStrictEqual([error.op, error.path, error.reason], ["append", path, "NoSpace"])
    assert.strictEqual(
      error.hint,
      `Free space on the file system of ${disk}. Until then events wait in memory; rotation goes on.`,
    )
    const stored = Array.from({ length: next }, (_, n) => n)
    assert.deepStrictEqual(await numbersIn(journal.read({ limit: 100_000 })), stored)
    assert.deepStrictEqual(await numbersIn(sqliteJournalReader({ path }).read({ limit: 100_000 })), stored)
    assert.strictEqual((await failureOf(journal.append(eventsOf(next, next + 5)))).reason, "NoSpace")
    run("mount", "-o", "remount,size=8192k", disk)
    const { events, replaced } = await append(journal, ...eventsOf(next, next + 5))
    assert.deepStrictEqual(
      [events.map((event) => event.position), replaced],
      [Array.from({ length: 5 }, (_, n) => next + 1 + n), null],
    )
  })

  it("is built on a full disk, fails its appends, and begins when there is space", async () => {
    const disk = aDisk(256)
    const free = fill(disk)
    const path = join(disk, "journal.db")
    const journal = await openJournal({ path })
    for (const effect of [journal.append([eventOf(1)]), journal.replay, journal.append([eventOf(1)])]) {
      assert.strictEqual((await failureOf<JournalError>(effect)).reason, "NoSpace")
    }
    free()
    assert.deepStrictEqual(await append(journal, eventOf(1)), {
      events: [{ ...eventOf(1), position: 1 }],
      replaced: null,
    })
    assert.deepStrictEqual(readdirSync(disk).toSorted(), [
      "journal.db",
      "journal.db-shm",
      "journal.db-wal",
      "journal.db.lock",
    ])
  })

  it("opens again on a full disk, and tells of a journal it had to set aside there once it can", async () => {
    const disk = aDisk(512)
    const path = join(disk, "journal.db")
    const before = await openJournal({ path })
    await append(before, eventOf(1))
    await before.close()
    writeFileSync(path, "no journal ".repeat(500))
    const free = fill(disk)
    const journal = await openJournal({ path })
    assert.strictEqual((await failureOf(journal.append([eventOf(2)]))).reason, "NoSpace")
    assert.strictEqual((await failureOf(journal.append([eventOf(2)]))).reason, "NoSpace")
    free()
    const { replaced } = await append(journal, eventOf(2))
    assert.deepStrictEqual([replaced?.reason, replaced?.keptAs], ["Corrupt", `${path}.corrupt-20260909-043310`])
    assert.deepStrictEqual(
      readdirSync(disk).filter((name) => name.includes("corrupt")),
      ["journal.db.corrupt-20260909-043310"],
    )
  })

  it("says ReadOnly on a disk that can't be written, reads what it can, and goes on when it can be", async () => {
    const disk = aDisk(1_024)
    const path = join(disk, "journal.db")
    const before = await openJournal({ path })
    await append(before, eventOf(1))
    await before.close()
    run("mount", "-o", "remount,ro", disk)
    const journal = await openJournal({ path })
    const error = await failureOf(journal.append([eventOf(2)]))
    assert.deepStrictEqual(
      [error.reason, error.hint],
      ["ReadOnly", `Mount the file system of ${disk} writable, or change journal.path.`],
    )
    assert.deepStrictEqual(await numbersIn(sqliteJournalReader({ path }).read({})), [1])
    run("mount", "-o", "remount,rw", disk)
    await append(journal, eventOf(2))
    assert.deepStrictEqual(await numbersIn(journal.read({})), [1, 2])
    const second = await failureOf(Effect.provide(Journal, sqliteJournal({ path })))
    assert.strictEqual(
      second.reason,
      "Locked",
      "the lock is a real one, although the disk couldn't be written at first",
    )
  })
})

describe("the journal without permission", () => {
  it("says Denied at once, whether it is the journal, its lock or the directory that can't be written", async () => {
    for (const denied of ["journal.db", "journal.db.lock", "."]) {
      const directory = aDirectory()
      const path = join(directory, "journal.db")
      const files = denied === "." ? [path] : [path, `${path}.lock`]
      for (const file of files) writeFileSync(file, "", { mode: 0o600 })
      // Root may do anything, so the process that tries is nobody's; nobody owns all but what is denied.
      const isRoot = process.geteuid?.() === 0
      for (const file of [...files, directory]) {
        if (isRoot && file !== join(directory, denied)) chownSync(file, NOBODY, NOBODY)
      }
      chmodSync(join(directory, denied), denied === "." ? 0o555 : 0o444)
      const line = await journalProcess("unprivileged", path).line()
      assert.match(line ?? "", /^failed Denied open /, denied)
    }
  })
  it("tells who may not look for it to ask as the agent's user", async () => {
    const directory = aDirectory()
    const path = join(directory, "journal.db")
    chmodSync(directory, process.geteuid?.() === 0 ? 0o700 : 0o000)
    assert.strictEqual(
      await journalProcess("look", path).line(),
      "Denied: The journal is for the agent's user alone: run this as that user, such as root.",
    )
    chmodSync(directory, 0o755)
    assert.strictEqual(await journalProcess("look", path).line(), "none")
  })
})
