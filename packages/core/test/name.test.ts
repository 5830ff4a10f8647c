// Names of rotated files, and the stamps in them.
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { formatRotatedName, formatStamp, nextStamp, parseRotatedName, stampIn } from "@cordwood/core"
import { runs } from "./property.ts"

const SUFFIXES = [".gz", ".zst"]
const parse = (name: string, active = "0.log") => parseRotatedName(active, name, SUFFIXES)

const anyStamp = fc.stringMatching(/^\d{14}$/).map((digits) => `${digits.slice(0, 8)}-${digits.slice(8)}`)
const calendarMs = fc.integer({ min: Date.UTC(1, 0, 1), max: Date.UTC(9999, 11, 31, 23, 59, 58) })
/** What a path may be made of: anything but a slash and NUL. */
const anyName = fc.string({ unit: "binary", minLength: 1, maxLength: 40 }).filter((name) => !/[/\0]/.test(name))

describe("a rotated file's name", () => {
  it.each([
    ["0.log.20260909-043310", { kind: "segment", stamp: "20260909-043310", suffix: "" }],
    ["0.log.20260909-043310.gz", { kind: "segment", stamp: "20260909-043310", suffix: ".gz" }],
    ["0.log.20260909-043310.zst", { kind: "segment", stamp: "20260909-043310", suffix: ".zst" }],
    ["0.log.20260909-043310.tmp", { kind: "temporary", stamp: "20260909-043310" }],
    // The kubelet's own tests have stamps that are no time of any calendar.
    ["0.log.00000000-000000", { kind: "segment", stamp: "00000000-000000", suffix: "" }],
    ["0.log.11111111-111111.gz", { kind: "segment", stamp: "11111111-111111", suffix: ".gz" }],
    ["0.log.99999999-999999.gz", { kind: "segment", stamp: "99999999-999999", suffix: ".gz" }],
  ])("is read: %s", (name, expected) => {
    expect(parse(name)).toEqual(expected)
  })

  it.each([
    "0.log",
    "0.log.",
    "0.log.backup",
    "0.log.tmp",
    "0.log.gz",
    "0.log.1",
    "0.log.1.20260909-043310",
    "1.log.20260909-043310",
    "10.log.20260909-043310",
    "0.logs.20260909-043310",
    "0.log-20260909-043310",
    "0.log.20260909-043310.gz.bak",
    "0.log.20260909-043310.gz.tmp",
    "0.log.20260909-043310.tmp.gz",
    "0.log.20260909-043310.GZ",
    "0.log.20260909-043310.",
    "0.log.20260909-043310gz",
    "0.log.20260909-0433101",
    "0.log.20260909-04331",
    "0.log.2026909-043310",
    "0.log.20260909_043310",
    "0.log.20260909-043310.xz",
    "0.log.20260909-043310\n",
    "0.log.20260909-043310.gz\n",
    "0.log\n.20260909-043310",
    "0.log.\n20260909-043310",
    "0.log.20260909-043310 ",
    "0.log.２０２６０９０９-０４３３１０",
    "0.log.20260909-043310\u0000",
    "",
  ])("is not this, which belongs to somebody else: %j", (name) => {
    expect(parse(name)).toBeNull()
  })

  it("is only read with the active file that it was made from, though one's name may begin with the other's", () => {
    // `0.log.1` is an active file of its own here, as a host's `app.log` and `app.log.1` may be.
    expect(parse("0.log.1.20260909-043310", "0.log")).toBeNull()
    expect(parse("0.log.1.20260909-043310", "0.log.1")).toEqual({
      kind: "segment",
      stamp: "20260909-043310",
      suffix: "",
    })
    // A log that is called like a segment has segments, too, and they aren't the other's.
    expect(parse("0.log.20260909-043310.20260909-043311", "0.log")).toBeNull()
  })

  it("is read back as it was written, whatever the active file is called", () => {
    fc.assert(
      fc.property(anyName, anyStamp, fc.constantFrom("", ...SUFFIXES), (active, stamp, suffix) => {
        const name = formatRotatedName(active, stamp, suffix)
        expect(parse(name, active)).toEqual({ kind: "segment", stamp, suffix })
        expect(stampIn(active, name)).toBe(stamp)
      }),
      runs(),
    )
  })

  it("is nothing else: whatever is read is spelled just so", () => {
    const close = fc
      .tuple(
        fc.constantFrom("0.log", "1.log", "0.log.1"),
        anyStamp,
        fc.constantFrom("", ".gz", ".tmp", ".zst", ".bak", "\n"),
        fc.constantFrom("", ".gz", "\n", ".bak", "~"),
      )
      .map((parts) => `${parts[0]}.${parts[1]}${parts[2]}${parts[3]}`)
    fc.assert(
      fc.property(fc.oneof(close, anyName), (name) => {
        const parsed = parse(name)
        if (parsed === null) return
        expect(formatRotatedName("0.log", parsed.stamp, parsed.kind === "temporary" ? ".tmp" : parsed.suffix)).toBe(
          name,
        )
      }),
      runs(),
    )
  })

  it("shows its stamp even when the rest of it is foreign, so that no new name comes before it", () => {
    expect(stampIn("0.log", "0.log.20260909-043310.gz.bak")).toBe("20260909-043310")
    expect(stampIn("0.log", "0.log.20260909-0433105")).toBe("20260909-043310")
    expect(stampIn("0.log", "0.log.backup")).toBeNull()
    // The stamp of another log's segment says nothing about this one.
    expect(stampIn("0.log", "0.log.1.99991231-235959")).toBeNull()
    expect(stampIn("0.log", "10.log.99991231-235959")).toBeNull()
    expect(stampIn("0.log", "0.log")).toBeNull()
  })
})

describe("a stamp", () => {
  it.each([
    ["2026-09-09T04:33:10.999Z", "20260909-043310"],
    ["1970-01-01T00:00:00.000Z", "19700101-000000"],
    ["2024-02-29T23:59:59.000Z", "20240229-235959"],
    ["0099-12-31T00:00:00.000Z", "00991231-000000"],
    ["9999-12-31T23:59:59.999Z", "99991231-235959"],
  ])("of %s is %s", (time, stamp) => {
    expect(formatStamp(Date.parse(time))).toBe(stamp)
  })

  it.each([
    Number.NaN,
    Infinity,
    -Infinity,
    8.64e15 + 1,
    Date.UTC(10_000, 0, 1),
    Date.parse("-000001-12-31T23:59:59Z"),
  ])("is not made of %s, which has no four-digit year", (epochMs) => {
    expect(formatStamp(epochMs)).toBeNull()
  })

  it("sorts as text as its time does", () => {
    fc.assert(
      fc.property(calendarMs, calendarMs, (a, b) => {
        const [early, late] = [formatStamp(Math.min(a, b))!, formatStamp(Math.max(a, b))!]
        expect(early <= late).toBe(true)
      }),
      runs(),
    )
  })
})

describe("the next stamp", () => {
  it.each([
    ["there is no segment yet", "20260909-043310", null, "20260909-043310"],
    ["the newest segment is older", "20260909-043310", "20260909-043309", "20260909-043310"],
    ["two rotations fall into one second", "20260909-043310", "20260909-043310", "20260909-043311"],
    ["a minute ends", "20260909-043359", "20260909-043359", "20260909-043400"],
    ["a year ends", "20261231-235959", "20261231-235959", "20270101-000000"],
    ["a leap day begins", "20240228-235959", "20240228-235959", "20240229-000000"],
    ["the clock was set back by an hour", "20260909-033310", "20260909-043310", "20260909-043311"],
    ["the kubelet has left local times that are ahead", "20260909-043310", "20260909-133309", "20260909-133310"],
    ["the newest stamp is no time: all zeros", "00000000-000000", "00000000-000000", "00000101-000001"],
    [
      "the newest stamp is no time: the 32nd of the 13th month",
      "20260909-043310",
      "20261332-000000",
      "20270201-000001",
    ],
    ["the newest stamp is no time: 99 seconds", "20260909-043310", "20260909-043399", "20260909-043440"],
    ["only the last second is left", "99991231-235958", "99991231-235958", "99991231-235959"],
  ])("when %s", (_case, now, newest, expected) => {
    expect(nextStamp(now, newest)).toBe(expected)
  })

  it.each(["99991231-235959", "99991231-235960", "99999999-999999"])(
    "is none after %s, where the calendar ends",
    (newest) => {
      expect(nextStamp("20260909-043310", newest)).toBeNull()
    },
  )

  it("is the time itself once the clock has caught up", () => {
    expect(nextStamp("20260909-043312", "20260909-043311")).toBe("20260909-043312")
  })

  it("is later than the newest one and never before now, whatever lies there", () => {
    fc.assert(
      fc.property(anyStamp, fc.option(anyStamp), (now, newest) => {
        const next = nextStamp(now, newest)
        if (next === null) {
          // A 99th month is eight years away.
          expect(newest! >= "99910000-000000").toBe(true)
          return
        }
        expect(next).toMatch(/^\d{8}-\d{6}$/)
        expect(next >= now).toBe(true)
        if (newest !== null) expect(next > newest).toBe(true)
      }),
      runs(5_000),
    )
  })

  it("never repeats and never goes back over many rotations, however the clock jumps", () => {
    fc.assert(
      fc.property(
        fc.array(
          calendarMs.map((ms) => ms - 1_000_000_000_000),
          { minLength: 2, maxLength: 50 },
        ),
        (clock) => {
          const stamps: Array<string> = []
          for (const ms of clock) stamps.push(nextStamp(formatStamp(Math.max(0, ms))!, stamps.at(-1) ?? null)!)
          expect(stamps).toEqual([...new Set(stamps)].toSorted())
        },
      ),
      runs(),
    )
  })

  it("keeps the order through the end of daylight saving, as it is UTC", () => {
    // In Berlin, 2026-10-25 02:30 happens twice, an hour apart.
    const [first, second] = [Date.parse("2026-10-25T02:30:00+02:00"), Date.parse("2026-10-25T02:30:00+01:00")]
    expect([formatStamp(first), formatStamp(second)]).toEqual(["20261025-003000", "20261025-013000"])
  })
})
