/** The witness has seen whatever was written to a log, whatever became of its files. On a log of the test's own: no runtime is needed. */
import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { afterEach, beforeEach, expect, test } from "vitest"
import { account, FAULTLESS } from "./account.ts"
import { Witness } from "./witness.ts"
import { line, numberOf } from "./writer.ts"

const CHARS = 40
const records = (...numbers: ReadonlyArray<number>): string =>
  numbers.map((number) => `2026-09-09T04:33:10.5Z stdout F ${line(number, CHARS)}\n`).join("")

let folder: string
let log: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "cordwood-witness-"))
  log = join(folder, "0.log")
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** Back when the witness has a descriptor on this many files. */
const noticed = async (witness: Witness, files: number): Promise<void> => {
  while (witness.seen < files) await pause(5)
}

test("lines of files that were removed or renamed over are gone from the disk, and the witness has them", async () => {
  writeFileSync(log, records(1, 2, 3))
  const witness = new Witness(log, numberOf(CHARS))
  await noticed(witness, 1)
  renameSync(log, `${log}.20260909-043310`)
  writeFileSync(log, records(4, 5))
  await noticed(witness, 2)
  rmSync(`${log}.20260909-043310`)
  // What the runtime still had in hand.
  appendFileSync(log, records(6))
  renameSync(log, `${log}.20260909-043320`)
  writeFileSync(log, records(7, 8))
  await noticed(witness, 3)
  // As the kubelet does when the reply to a reopening is lost.
  renameSync(`${log}.20260909-043320`, log)

  const { shares, faults, last } = await witness.account()
  expect({ shares, faults, last }).toEqual({
    shares: [
      { name: "file 1", bytes: records(1, 2, 3).length, first: 1, last: 3 },
      { name: "file 2", bytes: records(4, 5, 6).length, first: 4, last: 6 },
      { name: "file 3", bytes: records(7, 8).length, first: 7, last: 8 },
    ],
    faults: FAULTLESS,
    last: 8,
  })
  expect(account(log, numberOf(CHARS), { from: 1, to: 8 }).faults).toEqual({ ...FAULTLESS, missing: ["1-3", "7-8"] })
})

test("a file that is written to when two more have come after it makes the witness refuse to say anything", async () => {
  writeFileSync(log, records(1))
  const witness = new Witness(log, numberOf(CHARS))
  for (const second of [10, 20, 30]) {
    renameSync(log, `${log}.20260909-0433${second}`)
    writeFileSync(log, records(second))
    await noticed(witness, second / 10 + 1)
  }
  while (witness.behind > 2) await pause(5)
  appendFileSync(`${log}.20260909-043310`, records(2))
  await expect(witness.account()).rejects.toThrow("written to long after its successor was there: file 1")
})
