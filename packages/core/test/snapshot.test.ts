// What one scan of a log's directory comes to.
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { type Entry, snapshotOf } from "@cordwood/core"
import { runs } from "./property.ts"

const CODECS = [
  { id: "gzip", suffix: ".gz" },
  { id: "zstd", suffix: ".zst" },
]
const LOG = { path: "/logs/ns_pod_uid/app/0.log", namespace: "ns" }
const entry = (name: string, kind: Entry["kind"] = "file"): Entry => ({
  name,
  kind,
  path: `/elsewhere/${name}`,
  bytes: name.length,
  modifiedMs: 7,
  identity: `1:${name}`,
})
const seen = (name: string) => ({
  path: `/logs/ns_pod_uid/app/${name}`,
  bytes: name.length,
  modifiedMs: 7,
  identity: `1:${name}`,
})
const segment = (name: string, stamp: string, suffix: string, codec: string | null) => ({
  ...seen(name),
  name,
  stamp,
  suffix,
  codec,
})

describe("a snapshot", () => {
  it("sorts a listing into what is the log's, oldest first, and leaves everything else out", () => {
    const entries = [
      "0.log.20260909-043330",
      "0.log.20260909-043310.gz",
      "0.log",
      "0.log.20260909-043320.zst",
      "0.log.20260909-043320",
      "0.log.20260909-043320.tmp",
      "0.log.20260909-043305.tmp",
      "0.log.backup",
      "0.log.tmp",
      "0.log.20260909-043310.gz.bak",
      "0.log.20260909-043340\n",
      "0.log.20260909-043340.xz",
    ].map((name) => entry(name))
    expect(snapshotOf(LOG, { entries, takenAtMs: 99 }, CODECS)).toEqual({
      log: LOG,
      active: seen("0.log"),
      obstacle: null,
      segments: [
        segment("0.log.20260909-043310.gz", "20260909-043310", ".gz", "gzip"),
        segment("0.log.20260909-043320", "20260909-043320", "", null),
        segment("0.log.20260909-043320.zst", "20260909-043320", ".zst", "zstd"),
        segment("0.log.20260909-043330", "20260909-043330", "", null),
      ],
      temporaries: [seen("0.log.20260909-043305.tmp"), seen("0.log.20260909-043320.tmp")],
      newestStamp: "20260909-043340",
      takenAtMs: 99,
    })
  })

  it("of an empty directory has nothing in it", () => {
    expect(snapshotOf(LOG, { entries: [], takenAtMs: 0 }, CODECS)).toEqual({
      log: LOG,
      active: null,
      obstacle: null,
      segments: [],
      temporaries: [],
      newestStamp: null,
      takenAtMs: 0,
    })
  })

  it.each(["symlink", "directory", "other"] as const)("says what is in the way when the log's path is a %s", (kind) => {
    const { active, obstacle } = snapshotOf(LOG, { entries: [entry("0.log", kind)], takenAtMs: 0 }, CODECS)
    expect({ active, obstacle }).toEqual({ active: null, obstacle: kind })
  })

  it.each(["symlink", "directory", "other"] as const)(
    "does not take a %s for a segment, but keeps clear of its stamp",
    (kind) => {
      const entries = [entry("0.log.20260909-043310", kind), entry("0.log.20260909-043320.tmp", kind)]
      const { newestStamp, segments, temporaries } = snapshotOf(LOG, { entries, takenAtMs: 0 }, CODECS)
      expect({ newestStamp, segments, temporaries }).toEqual({
        newestStamp: "20260909-043320",
        segments: [],
        temporaries: [],
      })
    },
  )

  it("leaves alone what an unknown codec wrote", () => {
    const { segments } = snapshotOf(LOG, { entries: [entry("0.log.20260909-043310.zst")], takenAtMs: 0 }, [CODECS[0]!])
    expect(segments).toEqual([])
  })

  it("names only entries of the listing, each once, in their own directory, in the order of their names, whatever the listing's order", () => {
    const name = fc
      .tuple(
        fc.constantFrom("0.log", "0.log.1", "1.log"),
        fc.constantFrom("", ".", ".20260909-043310", ".20260909-043311", ".99999999-999999"),
        fc.constantFrom("", ".gz", ".zst", ".tmp", ".bak", "\n"),
      )
      .map((parts) => parts.join(""))
    const listing = fc.uniqueArray(
      fc.tuple(name, fc.constantFrom<Entry["kind"]>("file", "file", "file", "symlink", "directory")),
      { selector: ([name]) => name },
    )
    fc.assert(
      fc.property(listing, (rows) => {
        const entries = rows.map(([name, kind]) => entry(name, kind))
        const snapshot = snapshotOf(LOG, { entries, takenAtMs: 0 }, CODECS)
        const paths = [...snapshot.segments, ...snapshot.temporaries].map(({ path }) => path)
        const files = new Set(
          entries.filter(({ kind }) => kind === "file").map(({ name }) => `/logs/ns_pod_uid/app/${name}`),
        )
        expect(paths.every((path) => files.has(path))).toBe(true)
        expect(new Set(paths).size).toBe(paths.length)
        expect(snapshot.segments.map(({ name }) => name)).toEqual(snapshot.segments.map(({ name }) => name).toSorted())
        expect(snapshotOf(LOG, { entries: entries.toReversed(), takenAtMs: 0 }, CODECS)).toEqual(snapshot)
      }),
      runs(),
    )
  })
})
