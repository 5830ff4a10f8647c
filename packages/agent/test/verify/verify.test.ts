// Verifying on real files: each damage that is done by hand is found, and nothing else; what may be mended is, and no byte goes with it.
import {
  appendFileSync,
  linkSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs"
import { basename, dirname, join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { gunzipSync, gzipSync } from "node:zlib"
import { definePlugin, type Finding } from "@cordwood/core"
import { Effect } from "effect"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import * as z from "zod"
import type { VerifyReport } from "../../src/index.ts"
import { contents, linesOf, makeTree, sourceOf, told, type Tree } from "./tree.ts"

let tree: Tree
beforeAll(async () => {
  tree = await makeTree()
})
afterEach(() => tree.reset())
afterAll(() => tree.remove())

/** The n-th segment of log `a`, from the oldest on; the last one, the fifth, is plain. */
const segment = (n: number): string => tree.segments("a")[n]!
const plainOf = (packed: string): string => packed.replace(/\.gz$/, "")
const flip = (path: string, at: number): void => {
  const bytes = readFileSync(path)
  bytes[at] = bytes[at]! ^ 0xff
  writeFileSync(path, bytes)
}
const swap = (a: string, b: string): void => {
  renameSync(a, `${a}.swap`)
  renameSync(b, a)
  renameSync(`${a}.swap`, b)
}
const inJournal = (use: (db: DatabaseSync) => void): void => {
  const db = new DatabaseSync(tree.journal)
  use(db)
  db.close()
}
const lines = (log: string, part: number): number => linesOf(log, part).length

/** What is found, and, by name, what is left on disk and found after it was repaired. */
const repaired = async (): Promise<{
  readonly before: ReadonlyArray<Finding>
  readonly left: ReadonlyArray<Finding>
}> => {
  const before = (await tree.verify({ repair: true })).findings
  return { before, left: (await tree.verify()).findings }
}

it("finds nothing in a clean tree, says how much was read, and changes nothing", async () => {
  const disk = contents(tree.logs)
  const journal = contents(dirname(tree.journal))
  const bytes = [...tree.segments("a"), ...tree.segments("b")].reduce((sum, path) => sum + statSync(path).size, 0)
  expect(await tree.verify()).toEqual({
    logs: 2,
    segments: 10,
    bytes,
    events: 28,
    agent: null,
    found: { damage: 0, drift: 0, leftover: 0 },
    repaired: 0,
    findings: [],
    problems: [],
  } satisfies VerifyReport)
  expect(contents(tree.logs)).toEqual(disk)
  expect(contents(dirname(tree.journal))).toEqual(journal)
  await tree.verify({ repair: true })
  expect(contents(tree.logs)).toEqual(disk)
  expect((await tree.verify()).events).toBe(28)
})

it("tells all of a finding: what, how bad, where, whose log, and what to do", async () => {
  truncateSync(segment(0), 5)
  expect((await tree.verify()).findings).toEqual([
    {
      kind: "undecodable",
      severity: "damage",
      path: segment(0),
      log: { path: tree.active("a") },
      message: "it doesn't decode after 0 bytes: the codec gzip failed: unexpected end of file",
      hint: "it stays as it is: fetch a copy, or save what decodes (zcat, zstdcat)",
      repair: "none",
    },
  ])
})

interface Case {
  readonly what: string
  readonly damage: () => void
  readonly found: () => ReadonlyArray<ReturnType<typeof told>>
  /** Of these, by name, what is found again after a repair. */
  readonly stays?: ReadonlyArray<string>
}
const finding = (
  kind: Finding["kind"],
  severity: Finding["severity"],
  path: string,
  message: string | RegExp,
  repair: Finding["repair"] = "none",
) => ({
  kind,
  severity,
  name: basename(path),
  message: (typeof message === "string" ? message : expect.stringMatching(message)) as string,
  repair,
})

const CASES: ReadonlyArray<Case> = [
  {
    what: "a byte of an archive that was flipped",
    damage: () => flip(segment(1), 900),
    found: () => [
      finding("undecodable", "damage", segment(1), /^it doesn't decode after \d+ bytes: the codec gzip failed: .+/),
    ],
    stays: ["undecodable"],
  },
  {
    what: "an archive with zeros behind its bytes",
    damage: () => appendFileSync(segment(1), Buffer.alloc(7)),
    found: () => [
      finding(
        "undecodable",
        "damage",
        segment(1),
        `it doesn't decode after ${lines("a", 1)} bytes: the codec gzip failed: bytes that are no gzip follow the last member, from byte ${statSync(segment(1)).size - 7} on`,
      ),
    ],
    stays: ["undecodable"],
  },
  {
    what: "an archive that was replaced by one of other lines",
    damage: () => writeFileSync(segment(1), gzipSync("other lines\n")),
    found: () => [finding("altered", "damage", segment(1), `it decodes to 12 bytes, and was made of ${lines("a", 1)}`)],
    stays: ["altered"],
  },
  {
    what: "an archive that was compressed anew, at another level",
    damage: () => writeFileSync(segment(1), gzipSync(linesOf("a", 1), { level: 9 })),
    found: () => [
      finding("altered", "damage", segment(1), /^it takes \d+ bytes, and took \d+ when that was recorded$/),
    ],
    stays: ["altered"],
  },
  {
    what: "a plain segment that was cut",
    damage: () => truncateSync(segment(4), 1_000),
    found: () => [
      finding(
        "altered",
        "damage",
        segment(4),
        new RegExp(`^it holds 1000 bytes, and ${lines("a", 4)} are on record: .* are gone$`),
      ),
    ],
    stays: ["altered"],
  },
  {
    what: "a plain original beside its archive",
    damage: () => writeFileSync(plainOf(segment(2)), linesOf("a", 2)),
    found: () => [
      finding(
        "superseded",
        "leftover",
        plainOf(segment(2)),
        `${basename(segment(2))} holds all of its bytes`,
        "possible",
      ),
    ],
  },
  {
    what: "a plain original, cut, beside its archive",
    damage: () => writeFileSync(plainOf(segment(2)), linesOf("a", 2).slice(0, 500)),
    found: () => [
      finding(
        "superseded",
        "leftover",
        plainOf(segment(2)),
        `it was cut to 500 bytes; ${basename(segment(2))} holds these and ${lines("a", 2) - 500} more`,
        "possible",
      ),
    ],
  },
  {
    what: "an archive that was cut beside its plain original",
    damage: () => {
      writeFileSync(plainOf(segment(2)), linesOf("a", 2))
      truncateSync(segment(2), 2_000)
    },
    found: () => [
      finding(
        "invalid-twin",
        "leftover",
        segment(2),
        new RegExp(
          `^it doesn't decode after \\d+ bytes \\(.*unexpected end of file\\), and ${basename(plainOf(segment(2)))} holds these and more$`,
        ),
        "possible",
      ),
    ],
  },
  {
    what: "an archive, whole, of other bytes than its plain original",
    damage: () => writeFileSync(plainOf(segment(2)), linesOf("a", 2).replace("served", "SERVED")),
    found: () => [
      finding(
        "conflict",
        "damage",
        segment(2),
        `it decodes, and differs from ${basename(plainOf(segment(2)))} beside it from byte ${linesOf("a", 2).indexOf("served")} on`,
      ),
    ],
    stays: ["conflict"],
  },
  {
    what: "an archive that is cut and yet holds more than its plain original, which is cut, too",
    damage: () => {
      writeFileSync(plainOf(segment(2)), linesOf("a", 2).slice(0, 10))
      truncateSync(segment(2), 2_000)
    },
    found: () => [
      finding(
        "conflict",
        "damage",
        segment(2),
        /^it doesn't decode to its end \(.*\), and yet holds more than .* beside it$/,
      ),
    ],
    stays: ["conflict"],
  },
  {
    what: "rubbish named as an archive beside its plain original",
    damage: () => writeFileSync(`${segment(4)}.gz`, "rubbish"),
    found: () => [
      finding(
        "invalid-twin",
        "leftover",
        `${segment(4)}.gz`,
        "it doesn't decode (the codec gzip failed: incorrect header check), and nothing comes out",
      ),
    ],
    stays: ["invalid-twin"],
  },
  {
    what: "an empty archive beside its plain original",
    damage: () => writeFileSync(`${segment(4)}.gz`, ""),
    found: () => [
      finding(
        "invalid-twin",
        "leftover",
        `${segment(4)}.gz`,
        `it is empty, and ${basename(segment(4))} is there`,
        "possible",
      ),
    ],
  },
  {
    what: "a half-written file beside the segment that it was made of",
    damage: () => writeFileSync(`${segment(4)}.tmp`, gzipSync(linesOf("a", 4)).subarray(0, 2_000)),
    found: () => [
      finding(
        "temporary",
        "leftover",
        `${segment(4)}.tmp`,
        "a file that was being written when a pass was cut off; its segment is there",
        "possible",
      ),
    ],
  },
  {
    what: "a segment that was renamed to a half-written file",
    damage: () => renameSync(segment(4), `${segment(4)}.tmp`),
    found: () => [
      finding(
        "missing",
        "damage",
        segment(4),
        `it is gone, and no event says that it was removed; it held ${lines("a", 4)} bytes`,
        "possible",
      ),
      finding(
        "temporary",
        "leftover",
        `${segment(4)}.tmp`,
        "a file that was being written when a pass was cut off, and the segment that it was made of is not there",
      ),
    ],
    stays: ["temporary"],
  },
  {
    what: "a half-written file whose segment is gone",
    damage: () =>
      writeFileSync(join(tree.logs, "a.log.20260101-000000.tmp"), gzipSync(linesOf("a", 9)).subarray(0, 2_000)),
    found: () => [
      finding(
        "temporary",
        "leftover",
        "a.log.20260101-000000.tmp",
        "a file that was being written when a pass was cut off, and the segment that it was made of is not there",
      ),
    ],
    stays: ["temporary"],
  },
  {
    what: "a file named as half-written that holds other bytes than its segment",
    damage: () => writeFileSync(`${segment(4)}.tmp`, gzipSync("other lines")),
    found: () => [
      finding(
        "temporary",
        "leftover",
        `${segment(4)}.tmp`,
        "a file that was being written when a pass was cut off, and what it holds isn't what its segment does",
      ),
    ],
    stays: ["temporary"],
  },
  {
    what: "a segment that somebody removed",
    damage: () => unlinkSync(segment(1)),
    found: () => {
      return [
        finding(
          "missing",
          "damage",
          segment(1),
          /^it is gone, and no event says that it was removed; it held \d+ bytes$/,
          "possible",
        ),
      ]
    },
  },
  {
    what: "a segment that somebody added",
    damage: () => writeFileSync(join(tree.logs, "a.log.20260101-000000"), "from elsewhere\n"),
    found: () => [
      finding(
        "unrecorded",
        "drift",
        "a.log.20260101-000000",
        "no event tells of it: it was made while no agent could record it, or by another program",
        "possible",
      ),
    ],
  },
  {
    what: "a name that lies in the future",
    damage: () => writeFileSync(join(tree.logs, "a.log.29991231-235959.theirs"), ""),
    found: () => [
      finding("ahead-of-time", "drift", "a.log.29991231-235959", "the stamp 29991231-235959 lies ahead of the clock"),
    ],
    stays: ["ahead-of-time"],
  },
  {
    what: "archives whose names were swapped",
    damage: () => swap(segment(0), segment(3)),
    found: () => [
      finding(
        "altered",
        "damage",
        segment(0),
        `it decodes to ${lines("a", 3)} bytes, and was made of ${lines("a", 0)}`,
      ),
      finding(
        "altered",
        "damage",
        segment(3),
        `it decodes to ${lines("a", 0)} bytes, and was made of ${lines("a", 3)}`,
      ),
    ],
    stays: ["altered", "altered"],
  },
  {
    what: "a segment that is older than the one before it",
    damage: () => utimesSync(segment(3), new Date("2026-01-01T00:00:00Z"), new Date("2026-01-01T00:00:00Z")),
    found: () => [
      finding(
        "out-of-order",
        "damage",
        segment(3),
        /^it was last written to at 2026-01-01T00:00:00.000Z, before a\.log\.[\d-]+\.gz was cut off at 20.*Z, and yet comes after it$/,
      ),
    ],
    stays: ["out-of-order"],
  },
  {
    what: "an active file that is gone",
    damage: () => unlinkSync(tree.active("a")),
    found: () => [
      finding("active-missing", "damage", tree.active("a"), "the active file is missing; its segments are there"),
    ],
    stays: ["active-missing"],
  },
  {
    what: "an active file under a second name, from a rotation that was being undone",
    damage: () => linkSync(tree.active("a"), join(tree.logs, "a.log.20260101-000000")),
    found: () => [
      finding(
        "second-name",
        "leftover",
        "a.log.20260101-000000",
        "it is the active file under a second name, from a rotation that was undone",
        "possible",
      ),
    ],
  },
  {
    what: "a link where the active file should be",
    damage: () => {
      unlinkSync(tree.active("a"))
      symlinkSync("/etc/hostname", tree.active("a"))
    },
    found: () => [
      finding(
        "not-regular",
        "damage",
        tree.active("a"),
        `scan ${tree.active("a")}: it is a symlink, not a regular file`,
      ),
    ],
    stays: ["not-regular"],
  },
  {
    what: "all of a directory that is gone",
    damage: () => rmSync(tree.logs, { recursive: true }),
    found: () => [
      finding(
        "unreadable",
        "damage",
        tree.active("a"),
        `list ${tree.active("a")}: ENOENT: no such file or directory (open)`,
      ),
      finding(
        "unreadable",
        "damage",
        tree.active("b"),
        `list ${tree.active("b")}: ENOENT: no such file or directory (open)`,
      ),
    ],
    stays: ["unreadable", "unreadable"],
  },
  {
    what: "a row of the journal that is no event",
    damage: () => inJournal((db) => db.exec("UPDATE events SET body = '{' WHERE position = 3")),
    found: () => [finding("journal-row", "damage", tree.journal, /^position 3: .*JSON.*/)],
    stays: ["journal-row"],
  },
  {
    what: "rows of the journal that were exchanged, and one that belongs to another log",
    damage: () =>
      inJournal((db) => {
        const [first, second, third] = db
          .prepare("SELECT position FROM events WHERE log = 1 ORDER BY position LIMIT 3")
          .all()
          .map(({ position }) => Number(position))
        db.exec(
          `UPDATE events SET body = (SELECT body FROM events WHERE position = ${first}) WHERE position = ${second}`,
        )
        db.exec(`UPDATE events SET log = 2, time_ms = time_ms - 1 WHERE position = ${third}`)
      }),
    found: () => [
      finding(
        "journal-row",
        "damage",
        tree.journal,
        /^position \d+: its id is [\da-f-]{36}, and [\da-f-]{36} beside it; its time is 20.*Z, and \d+ beside it$/,
      ),
      finding(
        "journal-row",
        "damage",
        tree.journal,
        /^position \d+: its log is .*\.log, and .*\.log beside it; its time is 20.*Z, and \d+ beside it$/,
      ),
    ],
    stays: ["journal-row", "journal-row"],
  },
  {
    what: "a journal that would give positions out again",
    damage: () => inJournal((db) => db.exec("UPDATE sqlite_sequence SET seq = 5")),
    found: () => [
      finding(
        "journal-index",
        "damage",
        tree.journal,
        "position 28: the last position given out is said to be 5: it would be given out again",
      ),
    ],
    stays: ["journal-index"],
  },
  {
    what: "a journal whose replay would begin at another event",
    damage: () => inJournal((db) => db.exec(`UPDATE logs SET scanned = 1 WHERE path = '${tree.active("b")}'`)),
    found: () => [
      finding(
        "journal-index",
        "damage",
        tree.journal,
        /^position \d+: the latest scan of .*b\.log is said to be at 1$/,
      ),
    ],
    stays: ["journal-index"],
  },
  {
    what: "a journal of which the lock is left, and nothing else",
    damage: () => unlinkSync(tree.journal),
    found: () => [
      finding(
        "journal-missing",
        "damage",
        tree.journal,
        "the journal is gone: an agent has kept one here, and its lock lies there still",
        "possible",
      ),
    ],
  },
  {
    what: "a journal that is no database",
    damage: () => writeFileSync(tree.journal, "nothing of the kind".repeat(1_000)),
    found: () => [
      finding(
        "journal-corrupt",
        "damage",
        tree.journal,
        "SQLite finds the file damaged: file is not a database",
        "possible",
      ),
    ],
  },
  {
    what: "a journal without tables",
    damage: () => truncateSync(tree.journal, 0),
    found: () => [
      finding(
        "journal-corrupt",
        "damage",
        tree.journal,
        "SQLite finds the file damaged: the file holds no events and no tables",
        "possible",
      ),
    ],
  },
  {
    what: "a page of the journal that holds rubbish",
    damage: () => {
      const bytes = readFileSync(tree.journal)
      bytes.fill(0x5a, 4096 * 7, 4096 * 8)
      writeFileSync(tree.journal, bytes)
    },
    found: () => [finding("journal-corrupt", "damage", tree.journal, /^SQLite finds the file damaged: .+/, "possible")],
  },
]

describe.each(CASES)("$what", ({ damage, found, stays = [] }) => {
  it("is found, and nothing else", async () => {
    damage()
    const disk = contents(tree.logs)
    const { findings, found: counts, repaired: mended } = await tree.verify()
    expect(findings.map(told)).toEqual(found())
    const all = found()
    const count = (severity: Finding["severity"]): number => all.filter((one) => one.severity === severity).length
    expect(counts).toEqual({ damage: count("damage"), drift: count("drift"), leftover: count("leftover") })
    expect(mended).toBe(0)
    expect(contents(tree.logs)).toEqual(disk)
  })

  it("is repaired as far as nothing is lost by it", async () => {
    damage()
    const expected = found()
    const { before, left } = await repaired()
    expect(before.map(told)).toEqual(
      expected.map((one) => ({ ...one, repair: one.repair === "possible" ? "done" : one.repair })),
    )
    expect(left.map(({ kind }) => kind)).toEqual(stays)
  })
})

it("removes by repairing what was a leftover, by an event each, and nothing else", async () => {
  const plain = plainOf(segment(2))
  writeFileSync(plain, linesOf("a", 2))
  writeFileSync(`${segment(4)}.tmp`, "")
  unlinkSync(segment(0))
  const disk = contents(tree.logs)
  const events: Array<unknown> = []
  await tree.verify({ repair: true })
  inJournal((db) => {
    for (const { body } of db.prepare("SELECT body FROM events WHERE position > 28 ORDER BY position").iterate()) {
      const { data, type } = JSON.parse(String(body)) as {
        readonly data: { readonly path?: string; readonly reason?: string }
        readonly type: string
      }
      events.push([type, data.path, data.reason])
    }
  })
  expect(events).toEqual([
    ["Removed", segment(0), "missing"],
    ["Scanned", undefined, undefined],
    ["Cleaned", plain, "superseded"],
    ["Cleaned", `${segment(4)}.tmp`, "temporary"],
  ])
  const { [basename(plain)]: _, [`${basename(segment(4))}.tmp`]: __, ...rest } = disk
  expect(contents(tree.logs)).toEqual(rest)
})

it("keeps a damaged journal whole where it sets it aside, and has every log on record in the new one", async () => {
  const rubbish = "nothing of the kind".repeat(1_000)
  writeFileSync(tree.journal, rubbish)
  const [found] = (await tree.verify({ repair: true })).findings
  const [, kept] = /lies, whole, at ([^:]+):/.exec(found!.hint)!
  expect(readFileSync(kept!, "utf8")).toBe(rubbish)
  expect(await tree.verify()).toMatchObject({ events: 2, findings: [] })
})

it("looks into logs that only the journal knows, and misses nothing of one that is gone for good", async () => {
  truncateSync(segment(0), 100)
  unlinkSync(tree.active("a"))
  for (const path of [...tree.segments("b"), tree.active("b")]) unlinkSync(path)
  const nobody = tree.agent({ sources: [sourceOf(tree.logs, [])] })
  const { findings, logs } = await nobody.verify()
  expect(logs).toBe(2)
  expect(findings.map(({ kind, path }) => [kind, path])).toEqual([["undecodable", segment(0)]])
})

it("takes nothing for missing, and removes nothing, where the policy only observes", async () => {
  unlinkSync(segment(0))
  writeFileSync(plainOf(segment(2)), linesOf("a", 2))
  const observer = tree.agent({ policy: { maxSize: "1k", maxFiles: 10, mode: "observe" } })
  const found = [
    {
      kind: "superseded",
      repair: "none",
      hint: "the log's policy only observes, so that this is for whoever rotates it",
    },
  ]
  const about = ({ hint, kind, repair }: Finding) => ({ kind, repair, hint })
  expect((await observer.verify()).findings.map(about)).toEqual(found)
  expect((await observer.verify({ repair: true })).findings.map(about)).toEqual(found)
  expect(readFileSync(plainOf(segment(2)), "utf8")).toBe(linesOf("a", 2))
})

it("says of a damaged segment what a plugin has on record for it", async () => {
  inJournal((db) => {
    const { body } = db.prepare("SELECT body FROM events ORDER BY position DESC LIMIT 1").get()!
    const event = JSON.parse(String(body)) as { readonly log: unknown; readonly time: string }
    const id = "00000000-0000-4000-8000-000000000001"
    const shipped = { ...event, id, type: "s3.Shipped", log: { path: tree.active("a") }, data: { path: segment(0) } }
    db.prepare(
      "INSERT INTO events (id, time_ms, log, body) VALUES (?, ?, (SELECT id FROM logs WHERE path = ?), ?)",
    ).run(id, Date.parse(event.time), tree.active("a"), JSON.stringify(shipped))
  })
  truncateSync(segment(0), 100)
  const s3 = definePlugin({
    name: "s3",
    api: 1,
    config: z.strictObject({}),
    setup: () => Effect.succeed({ events: { "s3.Shipped": z.object({ path: z.string() }) } }),
  })
  const { findings } = await tree.agent({ plugins: [s3()] }).verify()
  expect(findings.map(({ hint }) => hint)).toEqual([
    "it stays as it is: fetch a copy, or save what decodes (zcat, zstdcat); s3.Shipped is on record for it (cordwood events)",
  ])
})

it("decodes what it was given: the archives hold what was written", () => {
  expect(gunzipSync(readFileSync(segment(3))).toString()).toBe(linesOf("a", 3))
})
