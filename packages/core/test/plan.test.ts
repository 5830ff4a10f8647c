// What a pass does about what a scan saw.
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { isRotation, pathOf, plan, SETTLE_MS, type Step, stepName } from "@cordwood/core"
import { given, type GivenFile, givenSnapshot, type Situation, tellStep } from "@cordwood/core/testing"
import { runs } from "./property.ts"

const NOW = "20260909-043310"

describe("a plan", () => {
  it("has nothing to do for a log that is smaller than maxSize", () => {
    given({ files: { "0.log": 9 } })
      .whenPlanned(NOW)
      .thenSteps()
  })

  it("rotates the active file once it holds maxSize", () => {
    given({ files: { "0.log": 10 } })
      .whenPlanned(NOW)
      .thenSteps("Rotate 0.log to 0.log.20260909-043310")
  })

  it("holds the files as the scan saw them, so that a pass can tell them from others", () => {
    const situation: Situation = { files: { "0.log": 12, "0.log.20260909-043300": 11 } }
    const { active, segments } = givenSnapshot(situation)
    const steps: ReadonlyArray<Step> = [
      { _tag: "Rotate", file: active!, to: "/logs/0.log.20260909-043310", tells: true },
      { _tag: "Compress", segment: segments[0]!, to: "/logs/0.log.20260909-043300.gz", codec: "gzip" },
    ]
    expect(given(situation).whenPlanned(NOW).steps).toEqual(steps)
  })

  it("does all that a full log needs: rotates first, then cleans, removes and compresses", () => {
    given({
      policy: { maxFiles: 3 },
      files: {
        "0.log": 12,
        "0.log.20260909-043250.gz": 2,
        "0.log.20260909-043300": 12,
        "0.log.20260909-043240": 12,
        "0.log.20260909-043240.gz": 2,
        "0.log.20260909-043300.tmp": 1,
      },
    })
      .whenPlanned(NOW)
      .thenSteps(
        "Rotate 0.log to 0.log.20260909-043310",
        "Clean 0.log.20260909-043300.tmp, temporary",
        "Clean 0.log.20260909-043240, superseded by 0.log.20260909-043240.gz",
        "Remove 0.log.20260909-043240.gz, max-files",
        "Remove 0.log.20260909-043250.gz, max-files",
        "Compress 0.log.20260909-043300 to 0.log.20260909-043300.gz, gzip",
      )
  })

  it("lets no name that a rotation had only reserved when it was cut off take a segment's place", () => {
    const files = { "0.log": 12, "0.log.20260909-043250": 12, "0.log.20260909-043300": 0 }
    given({ policy: { maxFiles: 3 }, files })
      .whenPlanned(NOW)
      .thenSteps(
        "Rotate 0.log to 0.log.20260909-043310",
        "Clean 0.log.20260909-043300, temporary",
        "Compress 0.log.20260909-043250 to 0.log.20260909-043250.gz, gzip",
      )
    // Whoever rotates what is empty has empty segments.
    given({ policy: { maxFiles: 3, maxSize: 0 }, files })
      .whenPlanned(NOW)
      .thenSteps(
        "Rotate 0.log to 0.log.20260909-043310",
        "Remove 0.log.20260909-043250, max-files",
        "Compress 0.log.20260909-043300 to 0.log.20260909-043300.gz, gzip",
      )
    given({ policy: { maxFiles: 3 }, files: { ...files, "0.log": 9 } })
      .whenPlanned(NOW)
      .thenSteps("Compress 0.log.20260909-043250 to 0.log.20260909-043250.gz, gzip")
  })

  it("does its upkeep although the active file is small, as what failed before must be tried again", () => {
    given({
      policy: { maxFiles: 3 },
      files: {
        "0.log": 1,
        "0.log.20260909-043240.gz": 2,
        "0.log.20260909-043250": 12,
        "0.log.20260909-043300": 12,
        "0.log.20260909-043250.tmp": 1,
      },
    })
      .whenPlanned(NOW)
      .thenSteps(
        "Clean 0.log.20260909-043250.tmp, temporary",
        "Remove 0.log.20260909-043240.gz, max-files",
        "Compress 0.log.20260909-043250 to 0.log.20260909-043250.gz, gzip",
      )
  })

  it("leaves the newest segment plain until the next rotation, for those who still read it", () => {
    const quiet = given({ files: { "0.log": 1, "0.log.20260909-043300": 12 } })
    quiet.whenPlanned(NOW).thenSteps()
    given({ files: { "0.log": 10, "0.log.20260909-043300": 12 } })
      .whenPlanned(NOW)
      .thenSteps(
        "Rotate 0.log to 0.log.20260909-043310",
        "Compress 0.log.20260909-043300 to 0.log.20260909-043300.gz, gzip",
      )
  })

  it("leaves a segment alone that was written to a moment ago, as its writer may not have reopened yet", () => {
    const situation = (agoMs: number): Situation => ({
      files: { "0.log": 1, "0.log.20260909-043250": { bytes: 12, agoMs }, "0.log.20260909-043300": 12 },
    })
    given(situation(SETTLE_MS - 1))
      .whenPlanned(NOW)
      .thenSteps()
    // A file system whose clock runs ahead says the same.
    given(situation(1 - SETTLE_MS))
      .whenPlanned(NOW)
      .thenSteps()
    given(situation(SETTLE_MS))
      .whenPlanned(NOW)
      .thenSteps("Compress 0.log.20260909-043250 to 0.log.20260909-043250.gz, gzip")
    // A clock that is far off must not keep segments plain for ever.
    given(situation(-3_600_000))
      .whenPlanned(NOW)
      .thenSteps("Compress 0.log.20260909-043250 to 0.log.20260909-043250.gz, gzip")
  })

  it("compresses nothing when compression is none, but counts and removes what was compressed before", () => {
    given({
      policy: { maxFiles: 3, compression: "none" },
      files: {
        "0.log": 10,
        "0.log.20260909-043240.gz": 2,
        "0.log.20260909-043250.zst": 2,
        "0.log.20260909-043300": 12,
      },
    })
      .whenPlanned(NOW)
      .thenSteps(
        "Rotate 0.log to 0.log.20260909-043310",
        "Remove 0.log.20260909-043240.gz, max-files",
        "Remove 0.log.20260909-043250.zst, max-files",
      )
  })

  it("counts and removes the segments of every codec in the order of their stamps, and never compresses one anew", () => {
    given({
      policy: { maxFiles: 4, compression: "zstd" },
      files: {
        "0.log": 10,
        "0.log.20260909-043230.zst": 2,
        "0.log.20260909-043240.gz": 2,
        "0.log.20260909-043250.zst": 2,
        "0.log.20260909-043300": 12,
      },
    })
      .whenPlanned(NOW)
      .thenSteps(
        "Rotate 0.log to 0.log.20260909-043310",
        "Remove 0.log.20260909-043230.zst, max-files",
        "Remove 0.log.20260909-043240.gz, max-files",
        "Compress 0.log.20260909-043300 to 0.log.20260909-043300.zst, zstd",
      )
  })

  it.each([[{ maxSize: -1 }], [{ maxSize: "-1Mi" }]])(
    "touches nothing under the policy %j, as a negative maxSize turns rotation off",
    (policy) => {
      given({
        policy,
        files: { "0.log": 99, "0.log.20260909-043300.tmp": 1, "0.log.20260909-043250": 3, "0.log.20260909-043251": 3 },
      })
        .whenPlanned(NOW)
        .thenSteps()
      given({ policy, files: {} }).whenPlanned(NOW).thenSteps()
    },
  )

  it("rotates on every pass when maxSize is 0, be the file empty", () => {
    given({ policy: { maxSize: 0 }, files: { "0.log": 0 } })
      .whenPlanned(NOW)
      .thenSteps("Rotate 0.log to 0.log.20260909-043310")
  })

  it.each(["symlink", "directory", "other"] as const)("touches nothing when a %s lies at the log's path", (kind) => {
    given({
      files: {
        "0.log": { kind },
        "0.log.20260909-043300.tmp": 1,
        "0.log.20260909-043250": 3,
        "0.log.20260909-043251": 3,
      },
    })
      .whenPlanned(NOW)
      .thenSteps()
  })

  it("never mentions files that belong to somebody else", () => {
    given({
      policy: { maxFiles: 2 },
      files: {
        "0.log": 10,
        "0.log.backup": 1,
        "0.log.tmp": 1,
        "0.log.backup.tmp": 1,
        "0.log.1": 1,
        "0.log.1.20260909-043200": 1,
        "0.log.20260909-043200.gz.bak": 1,
        "0.log.20260909-043200\n": 1,
        "1.log.20260909-043200": 1,
        "0.log.20260909-043201": { kind: "symlink" },
        "0.log.20260909-043202.tmp": { kind: "directory" },
      },
    })
      .whenPlanned(NOW)
      .thenSteps("Rotate 0.log to 0.log.20260909-043310")
  })

  it("never gives a name that is taken, or one that sorts before a segment", () => {
    given({ files: { "0.log": 10, "0.log.20260909-043310": 5 } })
      .whenPlanned(NOW)
      .thenSteps(
        "Rotate 0.log to 0.log.20260909-043311",
        "Compress 0.log.20260909-043310 to 0.log.20260909-043310.gz, gzip",
      )
    given({ files: { "0.log": 10, "0.log.20260909-053310.gz": 5 } })
      .whenPlanned(NOW)
      .thenSteps("Rotate 0.log to 0.log.20260909-053311")
    given({ files: { "0.log": 10, "0.log.20260909-043310": { kind: "directory" } } })
      .whenPlanned(NOW)
      .thenSteps("Rotate 0.log to 0.log.20260909-043311")
    given({ files: { "0.log": 10, "0.log.20260909-043320.tmp": 5 } })
      .whenPlanned(NOW)
      .thenSteps("Rotate 0.log to 0.log.20260909-043321", "Clean 0.log.20260909-043320.tmp, temporary")
  })

  it("says so when no later name can be made, and goes on with the rest", () => {
    given({ files: { "0.log": 10, "0.log.20260909-043300": 12, "0.log.99991231-235959.gz": 1 } })
      .whenPlanned(NOW)
      .thenSteps(
        "Refuse 0.log: no later name than 0.log.99991231-235959 can be made for the next segment; move the file whose stamp lies at the end of the calendar out of the log's directory",
        "Compress 0.log.20260909-043300 to 0.log.20260909-043300.gz, gzip",
      )
  })

  it("has the writer reopen when the active file is missing, which also ends a rotation that was cut off", () => {
    given({ files: {} }).whenPlanned(NOW).thenSteps("Reopen 0.log")
    given({ files: { "0.log.20260909-043250.gz": 2, "0.log.20260909-043300": 12 } })
      .whenPlanned(NOW)
      .thenSteps("Reopen 0.log, after 0.log.20260909-043300")
    given({ files: { "0.log.20260909-043250.gz": 2 } })
      .whenPlanned(NOW)
      .thenSteps("Reopen 0.log")
  })

  it("takes away a second name of the active file, which is left when undoing a rotation is cut off, before it rotates", () => {
    given({ files: { "0.log": 10, "0.log.20260909-043300": { bytes: 10, sameAs: "0.log" } } })
      .whenPlanned(NOW)
      .thenSteps("Clean 0.log.20260909-043300, superseded by the active file", "Rotate 0.log to 0.log.20260909-043310")
    given({ files: { "0.log": 1, "0.log.20260909-043300": { bytes: 1, sameAs: "0.log" }, "0.log.20260909-043250": 3 } })
      .whenPlanned(NOW)
      .thenSteps("Clean 0.log.20260909-043300, superseded by the active file")
  })

  it("counts a file once that is about to be cleaned away", () => {
    given({
      policy: { maxFiles: 3 },
      files: { "0.log": 10, "0.log.20260909-043250": 9, "0.log.20260909-043250.gz": 2, "0.log.20260909-043300.tmp": 1 },
    })
      .whenPlanned(NOW)
      .thenSteps(
        "Rotate 0.log to 0.log.20260909-043310",
        "Clean 0.log.20260909-043300.tmp, temporary",
        "Clean 0.log.20260909-043250, superseded by 0.log.20260909-043250.gz",
      )
  })
})

describe("with guards, a plan", () => {
  const files = {
    "0.log": 10,
    "0.log.20260909-043230.gz": 2,
    "0.log.20260909-043240": 12,
    "0.log.20260909-043250": 12,
    "0.log.20260909-043300": 12,
  }
  const policy = { maxFiles: 3 }

  it("compresses what it removes, too: a segment that a guard keeps must not lie there plain", () => {
    given({ policy, files, guards: { guarded: true } })
      .whenPlanned(NOW)
      .thenSteps(
        "Rotate 0.log to 0.log.20260909-043310",
        "Remove 0.log.20260909-043230.gz, max-files",
        "Remove 0.log.20260909-043240, max-files",
        "Remove 0.log.20260909-043250, max-files",
        "Compress 0.log.20260909-043240 to 0.log.20260909-043240.gz, gzip",
        "Compress 0.log.20260909-043250 to 0.log.20260909-043250.gz, gzip",
        "Compress 0.log.20260909-043300 to 0.log.20260909-043300.gz, gzip",
      )
    // Without them, that would be work on what is gone.
    given({ policy, files })
      .whenPlanned(NOW)
      .thenSteps(
        "Rotate 0.log to 0.log.20260909-043310",
        "Remove 0.log.20260909-043230.gz, max-files",
        "Remove 0.log.20260909-043240, max-files",
        "Remove 0.log.20260909-043250, max-files",
        "Compress 0.log.20260909-043300 to 0.log.20260909-043300.gz, gzip",
      )
  })

  it("leaves what it removes plain if compression is none, or if it was written to a moment ago", () => {
    given({ policy: { maxFiles: 2, compression: "none" }, files, guards: { guarded: true } })
      .whenPlanned(NOW)
      .thenSteps(
        "Rotate 0.log to 0.log.20260909-043310",
        "Remove 0.log.20260909-043230.gz, max-files",
        "Remove 0.log.20260909-043240, max-files",
        "Remove 0.log.20260909-043250, max-files",
        "Remove 0.log.20260909-043300, max-files",
      )
    given({
      policy: { maxFiles: 2 },
      files: { "0.log": 10, "0.log.20260909-043300": { bytes: 12, agoMs: SETTLE_MS - 1 } },
      guards: { guarded: true },
    })
      .whenPlanned(NOW)
      .thenSteps("Rotate 0.log to 0.log.20260909-043310", "Remove 0.log.20260909-043300, max-files")
  })

  it("offers to those who want to be asked early whatever stays, oldest first, the newest too", () => {
    given({ policy, files: { ...files, "0.log": 1 }, guards: { guarded: true, cleared: new Set() } })
      .whenPlanned(NOW)
      .thenSteps(
        "Remove 0.log.20260909-043230.gz, max-files",
        "Remove 0.log.20260909-043240, max-files",
        "Compress 0.log.20260909-043240 to 0.log.20260909-043240.gz, gzip",
        "Compress 0.log.20260909-043250 to 0.log.20260909-043250.gz, gzip",
        "Offer 0.log.20260909-043250",
        "Offer 0.log.20260909-043300",
      )
  })

  it("offers nothing where nobody wants to be asked early", () => {
    given({ files: { "0.log": 1, "0.log.20260909-043300": 12 }, guards: { guarded: true } })
      .whenPlanned(NOW)
      .thenSteps()
  })

  it("offers a segment until it is let go, be it plain or compressed by then", () => {
    const cleared = (...stamps: ReadonlyArray<string>) => ({ guarded: true, cleared: new Set(stamps) })
    const some = { "0.log": 1, "0.log.20260909-043250.gz": 2, "0.log.20260909-043300": 12 }
    const offered = (...stamps: ReadonlyArray<string>) =>
      given({ files: some, guards: cleared(...stamps) }).whenPlanned(NOW).lines
    expect(offered()).toEqual(["Offer 0.log.20260909-043250.gz", "Offer 0.log.20260909-043300"])
    expect(offered("20260909-043250")).toEqual(["Offer 0.log.20260909-043300"])
    expect(offered("20260909-043250", "20260909-043300")).toEqual([])
  })

  it("offers no plain segment that was written to a moment ago: its writer may not have reopened yet", () => {
    const offered = (agoMs: number) =>
      given({
        files: { "0.log": 1, "0.log.20260909-043300": { bytes: 12, agoMs } },
        guards: { guarded: true, cleared: new Set() },
      }).whenPlanned(NOW).lines
    expect(offered(SETTLE_MS - 1)).toEqual([])
    expect(offered(SETTLE_MS)).toEqual(["Offer 0.log.20260909-043300"])
    // A compressed one is finished, however young.
    given({
      files: { "0.log": 1, "0.log.20260909-043300.gz": { bytes: 2, agoMs: 0 } },
      guards: { guarded: true, cleared: new Set() },
    })
      .whenPlanned(NOW)
      .thenSteps("Offer 0.log.20260909-043300.gz")
  })

  it("offers neither what is a leftover, nor the file that is active under a second name", () => {
    given({
      files: {
        "0.log": 1,
        "0.log.20260909-043250": 12,
        "0.log.20260909-043250.gz": 2,
        "0.log.20260909-043300": { bytes: 1, sameAs: "0.log" },
        "0.log.20260909-043301.tmp": 1,
      },
      guards: { guarded: true, cleared: new Set() },
    })
      .whenPlanned(NOW)
      .thenSteps(
        "Clean 0.log.20260909-043300, superseded by the active file",
        "Clean 0.log.20260909-043301.tmp, temporary",
        "Clean 0.log.20260909-043250, superseded by 0.log.20260909-043250.gz",
        "Offer 0.log.20260909-043250.gz",
      )
  })

  it("offers nothing of a log whose rotation is turned off", () => {
    given({
      policy: { maxSize: -1 },
      files: { "0.log": 1, "0.log.20260909-043300.gz": 2 },
      guards: { guarded: true, cleared: new Set() },
    })
      .whenPlanned(NOW)
      .thenSteps()
  })
})

describe("the steps", () => {
  const { active, segments, temporaries } = givenSnapshot({
    files: { "0.log": 1, "0.log.20260909-043300": 2, "0.log.20260909-043300.gz": 1, "0.log.20260909-043300.tmp": 1 },
  })
  const [plain, twin] = [segments[0]!, segments[1]!]
  const all: ReadonlyArray<readonly [Step, string, string, boolean]> = [
    [{ _tag: "Clean", reason: "temporary", file: temporaries[0]! }, "clean", "/logs/0.log.20260909-043300.tmp", false],
    [{ _tag: "Clean", reason: "superseded", file: plain, twin }, "clean", "/logs/0.log.20260909-043300", false],
    [
      { _tag: "Clean", reason: "superseded", file: plain, twin: "active" },
      "clean",
      "/logs/0.log.20260909-043300",
      true,
    ],
    [{ _tag: "Remove", segment: twin, reason: "max-files" }, "remove", "/logs/0.log.20260909-043300.gz", false],
    [
      { _tag: "Compress", segment: plain, to: "/logs/x", codec: "gzip" },
      "compress",
      "/logs/0.log.20260909-043300",
      false,
    ],
    [{ _tag: "Offer", segment: plain }, "offer", "/logs/0.log.20260909-043300", false],
    [{ _tag: "Rotate", file: active!, to: "/logs/x", tells: true }, "rotate", "/logs/0.log", true],
    [{ _tag: "Reopen", path: "/logs/0.log", interrupted: plain }, "reopen", "/logs/0.log", true],
    [{ _tag: "Refuse", path: "/logs/0.log", message: "", hint: "" }, "rotate", "/logs/0.log", true],
  ]
  it.each(all)("%o is called %s, is about %s, and comes before slow work: %s", (step, name, path, first) => {
    expect({ name: stepName(step), path: pathOf(step), first: isRotation(step) }).toEqual({ name, path, first })
  })
})

describe("a plan for a log whose container has ended", () => {
  const files = { "0.log": 12, "0.log.20260909-043240.gz": 2, "0.log.20260909-043250": 12, "0.log.20260909-043300": 12 }

  it("leaves its file, however large, to those who read it, and compresses every segment, as no rotation will come", () => {
    given({ writer: "stopped", files })
      .whenPlanned(NOW)
      .thenSteps(
        "Compress 0.log.20260909-043250 to 0.log.20260909-043250.gz, gzip",
        "Compress 0.log.20260909-043300 to 0.log.20260909-043300.gz, gzip",
      )
  })

  it("keeps maxFiles files, whether its own is among them or not, and has nobody reopen one that is missing", () => {
    given({ writer: "stopped", policy: { maxFiles: 3 }, files })
      .whenPlanned(NOW)
      .thenNames("0.log", "0.log.20260909-043250.gz", "0.log.20260909-043300.gz")
    const { "0.log": _own, ...segments } = files
    given({ writer: "stopped", policy: { maxFiles: 3 }, files: segments })
      .whenPlanned(NOW)
      .thenNames("0.log.20260909-043240.gz", "0.log.20260909-043250.gz", "0.log.20260909-043300.gz")
  })

  it("that is surplus makes a segment of its file, telling nobody, and removes them all", () => {
    const first = given({ writer: "surplus", files }).whenPlanned(NOW)
    first.thenSteps(
      "Rotate 0.log to 0.log.20260909-043310, telling nobody",
      "Remove 0.log.20260909-043240.gz, budget",
      "Remove 0.log.20260909-043250, budget",
      "Remove 0.log.20260909-043300, budget",
    )
    first.andDone().whenPlanned("20260909-053310").thenSteps("Remove 0.log.20260909-043310, budget")
  })

  it("that is surplus waits until its file has come to rest", () => {
    given({ writer: "surplus", files: { "0.log": { bytes: 12, agoMs: SETTLE_MS - 1 } } })
      .whenPlanned(NOW)
      .thenSteps()
  })
})

describe("a plan under limits that logs share", () => {
  const shed = { "0.log.20260909-043240": "budget", "0.log.20260909-043250.gz": "pressure" } as const
  const files = { "0.log": 1, "0.log.20260909-043240": 12, "0.log.20260909-043250.gz": 2, "0.log.20260909-043300": 12 }

  it("removes what is to be shed, and says for which", () => {
    given({ files, shed })
      .whenPlanned(NOW)
      .thenSteps("Remove 0.log.20260909-043240, budget", "Remove 0.log.20260909-043250.gz, pressure")
  })

  it("leaves a segment alone until its writer has let go of it, even the only one that is to be shed", () => {
    const fresh = { "0.log": 1, "0.log.20260909-043240": { bytes: 12, agoMs: SETTLE_MS - 1 } }
    given({ files: fresh, shed }).whenPlanned(NOW).thenSteps()
    given({ files: { ...fresh, "0.log.20260909-043240": { bytes: 12, agoMs: SETTLE_MS } }, shed })
      .whenPlanned(NOW)
      .thenSteps("Remove 0.log.20260909-043240, budget")
  })

  it("leaves the newest plain segment of a writer that runs until there is a byte in the active file: only that proves that it has reopened", () => {
    const both = { "0.log.20260909-043240": 12, "0.log.20260909-043250": 12 }
    const all = { "0.log.20260909-043240": "pressure", "0.log.20260909-043250": "pressure" } as const
    const first = "Remove 0.log.20260909-043240, pressure"
    const second = "Remove 0.log.20260909-043250, pressure"
    given({ policy: { compression: "none" }, files: { "0.log": 0, ...both }, shed: all })
      .whenPlanned(NOW)
      .thenSteps(first)
    given({ policy: { compression: "none" }, files: both, shed: all })
      .whenPlanned(NOW)
      .thenSteps("Reopen 0.log, after 0.log.20260909-043250", first)
    given({ policy: { compression: "none" }, files: { "0.log": 1, ...both }, shed: all })
      .whenPlanned(NOW)
      .thenSteps(first, second)
    given({ policy: { compression: "none" }, writer: "stopped", files: { "0.log": 0, ...both }, shed: all })
      .whenPlanned(NOW)
      .thenSteps(first, second)
  })

  it("compresses what is to be shed, too, where guards may keep it", () => {
    given({ files, shed, guards: { guarded: true } })
      .whenPlanned(NOW)
      .thenSteps(
        "Remove 0.log.20260909-043240, budget",
        "Remove 0.log.20260909-043250.gz, pressure",
        "Compress 0.log.20260909-043240 to 0.log.20260909-043240.gz, gzip",
      )
  })

  it("names a segment once that its own limits have no room for either", () => {
    given({ policy: { maxFiles: 2 }, files, shed })
      .whenPlanned(NOW)
      .thenSteps("Remove 0.log.20260909-043240, max-files", "Remove 0.log.20260909-043250.gz, max-files")
  })
})

describe("whatever lies there, a plan", () => {
  // Few stamps, so that twins, temporaries and clashes are common; some in the future, some at the end of time.
  const stamp = fc.oneof(
    { weight: 8, arbitrary: fc.integer({ min: 0, max: 59 }).map((s) => `20260909-0432${String(s).padStart(2, "0")}`) },
    fc.constantFrom("20260909-043310", "20260909-053310", "00000000-000000", "11111111-111111"),
  )
  const ours = fc
    .tuple(stamp, fc.constantFrom("", "", "", ".gz", ".gz", ".zst", ".tmp"))
    .map(([at, suffix]) => `0.log.${at}${suffix}`)
  const foreign = fc.constantFrom(
    "0.log.backup",
    "0.log.tmp",
    "0.log.1",
    "0.log.1.20260909-043200",
    "0.log.20260909-043200.gz.bak",
    "0.log.20260909-043202\n",
    "0.log.20260909-043203.xz",
  )
  const file: fc.Arbitrary<GivenFile> = fc.oneof(
    { weight: 6, arbitrary: fc.nat({ max: 20 }) },
    fc.record({ bytes: fc.nat({ max: 20 }), agoMs: fc.constantFrom(0, SETTLE_MS - 1, SETTLE_MS, -5_000, 60_000) }),
  )
  const segments = fc.dictionary(fc.oneof({ weight: 8, arbitrary: ours }, foreign), file, {
    maxKeys: 14,
    noNullPrototype: true,
  })
  const policy = fc.record({
    maxSize: fc.constantFrom(0, 1, 10, 10, 10),
    maxFiles: fc.integer({ min: 2, max: 7 }),
    compression: fc.constantFrom("gzip", "gzip", "zstd", "none"),
  })
  const situation: fc.Arbitrary<Situation> = fc
    .record({ files: segments, active: fc.option(file, { freq: 8 }), policy })
    .map(({ active, files, policy }) => ({ files: active === null ? files : { "0.log": active, ...files }, policy }))

  const numbered = (steps: ReadonlyArray<Step>, tag: Step["_tag"]): ReadonlyArray<number> =>
    steps.flatMap((step, at) => (step._tag === tag ? [at] : []))
  const isOurs = (name: string): boolean => /^0\.log(\.\d{8}-\d{6}(\.gz|\.zst)?)?$/.test(name)
  const guards = fc.record({
    guarded: fc.boolean(),
    cleared: fc.option(fc.uniqueArray(stamp).map((all) => new Set(all))),
  })
  const namesOf = (situation: Situation): ReadonlyArray<string> => Object.keys(situation.files)

  const after = (situation: Situation): ReadonlyArray<string> => given(situation).whenPlanned(NOW).namesAfter

  it("leaves at most maxFiles files of the log, and no leftover", () => {
    fc.assert(
      fc.property(situation, (situation) => {
        const names = after(situation)
        const left = names.filter(isOurs)
        expect(left.length).toBeLessThanOrEqual(Number(situation.policy!.maxFiles))
        expect(left).toContain("0.log")
        expect(names.filter((name) => /^0\.log\.\d{8}-\d{6}\.tmp$/.test(name))).toEqual([])
      }),
      runs(2_000),
    )
  })

  it("leaves foreign files where they are, and mentions only what it was shown", () => {
    fc.assert(
      fc.property(situation, (situation) => {
        const before = namesOf(situation)
        const names = new Set(after(situation))
        for (const name of before)
          if (!isOurs(name) && !/^0\.log\.\d{8}-\d{6}\.tmp$/.test(name)) expect(names.has(name)).toBe(true)
        const shown = new Set([...before, "0.log"].map((name) => `/logs/${name}`))
        // `given` itself holds every file in a step to the snapshot's.
        for (const step of given(situation).whenPlanned(NOW).steps) expect(shown.has(pathOf(step))).toBe(true)
      }),
      runs(2_000),
    )
  })

  it("writes to no name that is taken", () => {
    fc.assert(
      fc.property(situation, (situation) => {
        const taken = new Set(namesOf(situation).map((name) => `/logs/${name}`))
        for (const step of given(situation).whenPlanned(NOW).steps) {
          if (step._tag !== "Rotate" && step._tag !== "Compress") continue
          expect(taken.has(step.to)).toBe(false)
          taken.add(step.to)
        }
      }),
      runs(2_000),
    )
  })

  it("removes the oldest first, and nothing that is newer than what stays", () => {
    fc.assert(
      fc.property(situation, (situation) => {
        const { steps } = given(situation).whenPlanned(NOW)
        const removed = steps.flatMap((step) => (step._tag === "Remove" ? [step.segment.name] : []))
        expect(removed).toEqual(removed.toSorted())
        const staying = after(situation).filter((name) => isOurs(name) && name !== "0.log")
        for (const gone of removed)
          for (const name of staying) expect(gone.slice(0, 21) <= name.slice(0, 21)).toBe(true)
      }),
      runs(2_000),
    )
  })

  it("rotates first and does slow work after, every kind in its turn", () => {
    fc.assert(
      fc.property(situation, (situation) => {
        const { steps } = given(situation).whenPlanned(NOW)
        const firstUpkeep = steps.findIndex((step) => !isRotation(step))
        if (firstUpkeep !== -1) expect(steps.slice(firstUpkeep).some(isRotation)).toBe(false)
        const upkeep = steps.filter((step) => !isRotation(step))
        const order = ["Clean", "Remove", "Compress"] as const
        const places = order.map((tag) => numbered(upkeep, tag))
        expect(places.flat()).toEqual(upkeep.map((_, at) => at))
        expect(steps.filter((step) => step._tag === "Rotate").length).toBeLessThanOrEqual(1)
      }),
      runs(),
    )
  })

  it("changes by what guards have to say in nothing but what it compresses and offers", () => {
    const others = (steps: ReadonlyArray<Step>) =>
      steps.filter(({ _tag }) => _tag !== "Compress" && _tag !== "Offer").map(tellStep)
    fc.assert(
      fc.property(situation, guards, (situation, guards) => {
        const without = given(situation).whenPlanned(NOW)
        const withGuards = given({ ...situation, guards }).whenPlanned(NOW)
        expect(others(withGuards.steps)).toEqual(others(without.steps))
        expect(withGuards.namesAfter).toEqual(without.namesAfter)
        for (const line of without.lines) expect(withGuards.lines).toContain(line)
      }),
      runs(2_000),
    )
  })

  it("offers what neither goes nor was let go, each once and last of all", () => {
    fc.assert(
      fc.property(situation, guards, (situation, guards) => {
        const { steps } = given({ ...situation, guards }).whenPlanned(NOW)
        const offered = steps.flatMap((step) => (step._tag === "Offer" ? [step.segment] : []))
        expect(steps.slice(steps.length - offered.length).every(({ _tag }) => _tag === "Offer")).toBe(true)
        const gone = new Set(
          steps.flatMap((step) => (step._tag === "Remove" || step._tag === "Clean" ? [pathOf(step)] : [])),
        )
        const { active, segments, takenAtMs } = givenSnapshot(situation)
        const expected = segments.filter(
          ({ identity, modifiedMs, path, stamp, suffix }) =>
            guards.cleared !== null &&
            !guards.cleared.has(stamp) &&
            !gone.has(path) &&
            identity !== active?.identity &&
            (suffix !== "" || Math.abs(takenAtMs - modifiedMs) >= SETTLE_MS),
        )
        expect(offered.map(({ name }) => name)).toEqual(expected.map(({ name }) => name))
      }),
      runs(2_000),
    )
  })

  it("gives the new segment the last place in reading order", () => {
    fc.assert(
      fc.property(situation, (situation) => {
        const { steps } = given(situation).whenPlanned(NOW)
        const to = steps.flatMap((step) => (step._tag === "Rotate" ? [step.to] : []))[0]
        if (to === undefined) return
        for (const { path } of givenSnapshot(situation).segments) expect(path < to).toBe(true)
      }),
      runs(),
    )
  })

  it("compresses no segment that may still be written to, none twice, and never the newest unless it rotates", () => {
    fc.assert(
      fc.property(situation, (situation) => {
        const { steps } = given(situation).whenPlanned(NOW)
        const snapshot = givenSnapshot(situation)
        const compressed = steps.flatMap((step) => (step._tag === "Compress" ? [step.segment] : []))
        for (const { codec, modifiedMs } of compressed) {
          expect({ codec, fresh: Math.abs(snapshot.takenAtMs - modifiedMs) < SETTLE_MS }).toEqual({
            codec: null,
            fresh: false,
          })
        }
        const gone = new Set(steps.flatMap((step) => (step._tag === "Remove" ? [step.segment.name] : [])))
        const newest = snapshot.segments.at(-1)
        const rotates = steps.some((step) => step._tag === "Rotate")
        if (!rotates && newest?.codec === null) expect(compressed).not.toContain(newest)
        for (const { name } of compressed) expect(gone.has(name)).toBe(false)
      }),
      runs(2_000),
    )
  })

  it("run again, makes sure that nothing happens", () => {
    fc.assert(
      fc.property(situation, (situation) => {
        fc.pre(situation.policy!.maxSize !== 0)
        // A segment that had not settled at first has by then: it takes one more pass until there is peace.
        const settled = given(situation).whenPlanned(NOW).andDone().whenPlanned("20260909-053310").andDone()
        expect(settled.whenPlanned("20260909-063310").lines).toEqual([])
        const fresh = Object.values(situation.files).some(
          (file) => typeof file !== "number" && Math.abs(file.agoMs ?? 0) < SETTLE_MS,
        )
        if (!fresh) expect(given(situation).whenPlanned(NOW).andDone().whenPlanned("20260909-053310").lines).toEqual([])
      }),
      runs(2_000),
    )
  })

  it("is the same for the same, and changes nothing that it is given", () => {
    const deepFreeze = <T>(value: T): T => {
      if (typeof value === "object" && value !== null)
        for (const part of Object.values(Object.freeze(value))) deepFreeze(part)
      return value
    }
    fc.assert(
      fc.property(situation, (situation) => {
        const snapshot = deepFreeze(givenSnapshot(situation))
        const limits = deepFreeze({
          maxSize: Number(situation.policy!.maxSize),
          maxFiles: Number(situation.policy!.maxFiles),
          codec: { id: "gzip", suffix: ".gz" },
          guarded: true,
          cleared: new Set(["20260909-043201"]),
          writer: "running" as const,
          shed: new Map(),
        })
        expect(plan(limits, snapshot, NOW)).toEqual(plan(limits, snapshot, NOW))
      }),
      runs(),
    )
  })

  it("keeps rotating pass after pass with at most maxFiles files, in order, whatever the clock does", () => {
    const clock = fc.array(fc.integer({ min: 0, max: 59 }), { minLength: 5, maxLength: 30 })
    fc.assert(
      fc.property(clock, policy, (seconds, policy) => {
        let world = given({ files: { "0.log": 10 }, policy: { ...policy, maxSize: 0 } })
        const made: Array<string> = []
        for (const second of seconds) {
          const planned = world.whenPlanned(`20260909-0433${String(second).padStart(2, "0")}`)
          expect(planned.namesAfter.length).toBeLessThanOrEqual(policy.maxFiles)
          made.push(...planned.steps.flatMap((step) => (step._tag === "Rotate" ? [step.to] : [])))
          world = planned.andDone()
        }
        expect(made).toEqual([...new Set(made)].toSorted())
        expect(made.length).toBe(seconds.length)
      }),
      runs(),
    )
  })
})
