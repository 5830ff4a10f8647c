/**
 * The kubelet's own cases, re-told as tables of names, and, beside each place where Cordwood goes further, what the kubelet's rule alone would have lost.
 *
 * The facts are those of Kubernetes' `pkg/kubelet/logs/container_log_manager_test.go` and `container_log_manager.go` (The Kubernetes Authors, Apache-2.0);
 * no code of theirs is here. Where a case of theirs uses names that no rotation makes (`test-log-1.tmp`), it is told with names that one does.
 */
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { formatStamp, type Limits, type Log, plan, Policy, snapshotOf, type Step, surplusAmong } from "@cordwood/core"
import { given, givenSnapshot } from "@cordwood/core/testing"
import { runs } from "./property.ts"

const NOW = "20260909-043310"

describe("as the kubelet, a pass", () => {
  it("finds all logs in use, oldest first, with the active file last (TestGetAllLogs)", () => {
    const situation = {
      log: "/logs/test-log",
      // Nothing is to be removed or compressed here: it is about what counts.
      policy: { maxFiles: 100, compression: "none" },
      files: {
        "test-log.11111111-111111.gz": 0,
        "test-log": 0,
        "test-log.00000000-000000.gz": 0,
        "test-log.19900322-000000.gz": 0,
        "test-log.19900322-111111.gz": 0,
        "test-log.19880620-000000": 0,
        "test-log.19880620-000000.gz": 0,
        "test-log.19880620-111111.gz": 0,
        "test-log.20180101-000000": 0,
        "test-log.20180101-000000.tmp": 0,
      },
    }
    const planned = given(situation).whenPlanned(NOW)
    planned.thenSteps(
      "Clean test-log.20180101-000000.tmp, temporary",
      "Clean test-log.19880620-000000, superseded by test-log.19880620-000000.gz",
    )
    const [active, ...segments] = planned.namesAfter
    expect([...segments, active]).toEqual([
      "test-log.00000000-000000.gz",
      "test-log.11111111-111111.gz",
      "test-log.19880620-000000.gz",
      "test-log.19880620-111111.gz",
      "test-log.19900322-000000.gz",
      "test-log.19900322-111111.gz",
      "test-log.20180101-000000",
      "test-log",
    ])
    // The scan has them in that order, too.
    expect(givenSnapshot(situation).segments.map(({ name }) => name)).toEqual(
      [...segments, "test-log.19880620-000000"].toSorted(),
    )
  })

  describe("rotates what is running and large enough (TestRotateLogs)", () => {
    const short = "short".length
    const long = "longer than 10 bytes".length
    const any = "the length doesn't matter".length
    const directory = {
      "test-log-1": short,
      "test-log-2": long,
      "test-log-3": long,
      "test-log-4": long,
      "test-log-3.00000000-000001": any,
      "test-log-3.00000000-000000.gz": any,
    }
    const planned = (name: string) =>
      given({ log: `/logs/${name}`, policy: { maxSize: 10, maxFiles: 3 }, files: directory }).whenPlanned(NOW)

    it("which is not the one that is too small", () => {
      planned("test-log-1").thenSteps()
    })

    it("which is the one that is large enough", () => {
      planned("test-log-2").thenSteps(`Rotate test-log-2 to test-log-2.${NOW}`)
    })

    it("which is the one that has a segment too many, too: that one goes, the other one is compressed", () => {
      planned("test-log-3").thenSteps(
        `Rotate test-log-3 to test-log-3.${NOW}`,
        "Remove test-log-3.00000000-000000.gz, max-files",
        "Compress test-log-3.00000000-000001 to test-log-3.00000000-000001.gz, gzip",
      )
    })

    it("and leaves the directory as the kubelet does, and the exited container's log, which no source lists, alone", () => {
      const running = ["test-log-1", "test-log-2", "test-log-3"]
      let files: Readonly<Record<string, number>> = directory
      for (const name of running) {
        const { namesAfter } = given({ log: `/logs/${name}`, policy: { maxSize: 10, maxFiles: 3 }, files }).whenPlanned(
          NOW,
        )
        files = Object.fromEntries(namesAfter.map((name) => [name, files[name] ?? 0]))
      }
      // The kubelet's fake runtime makes no new files; a real one does, so two names more are here than there.
      const made = ["test-log-2", "test-log-3"]
      expect(
        Object.keys(files)
          .filter((name) => !made.includes(name))
          .toSorted(),
      ).toEqual(["test-log-1", `test-log-2.${NOW}`, "test-log-3.00000000-000001.gz", `test-log-3.${NOW}`, "test-log-4"])
    })
  })

  it("knows which files belong to a log, and which are another's (TestClean)", () => {
    const files = {
      "test-log-1": 0,
      "test-log-2": 0,
      "test-log-3": 0,
      "test-log-2.00000000-000000.gz": 0,
      "test-log-2.00000000-000001": 0,
      "test-log-3.00000000-000000.gz": 0,
      "test-log-3.00000000-000001": 0,
    }
    const { active, segments } = givenSnapshot({ log: "/logs/test-log-3", files })
    expect([active, ...segments].map((file) => file?.path)).toEqual([
      "/logs/test-log-3",
      "/logs/test-log-3.00000000-000000.gz",
      "/logs/test-log-3.00000000-000001",
    ])
  })

  it("cleans what is temporary, and what is compressed already (TestCleanupUnusedLog)", () => {
    given({
      policy: { compression: "none" },
      files: {
        "0.log": 0,
        "0.log.20180101-000001": 10,
        "0.log.20180101-000001.tmp": 0,
        "0.log.20180101-000002": 10,
        "0.log.20180101-000002.gz": 0,
      },
    })
      .whenPlanned(NOW)
      .thenNames("0.log", "0.log.20180101-000001", "0.log.20180101-000002.gz")
  })

  it.each([
    { maxFiles: 2, kept: [] },
    { maxFiles: 3, kept: ["0.log.20180101-000004"] },
    {
      maxFiles: 6,
      kept: ["0.log.20180101-000001", "0.log.20180101-000002", "0.log.20180101-000003", "0.log.20180101-000004"],
    },
  ])("keeps the newest of the segments when maxFiles is $maxFiles (TestRemoveExcessLog)", ({ kept, maxFiles }) => {
    given({
      policy: { maxFiles, compression: "none" },
      files: {
        "0.log": 10,
        "0.log.20180101-000003": 10,
        "0.log.20180101-000001": 10,
        "0.log.20180101-000002": 10,
        "0.log.20180101-000004": 10,
      },
    })
      .whenPlanned(NOW)
      .thenNames("0.log", ...kept, `0.log.${NOW}`)
  })

  it("compresses to the same name with .gz (TestCompressLog; that the mode is kept is the file adapter's test)", () => {
    given({ files: { "0.log": 10, "0.log.20180101-000001": 16 } })
      .whenPlanned(NOW)
      .thenNames("0.log", "0.log.20180101-000001.gz", `0.log.${NOW}`)
  })

  it("rotates when maxFiles is 2 (TestRotateLatestLog; that a failed reopen is undone is the agent's test)", () => {
    given({ policy: { maxFiles: 2 }, files: { "0.log": 10 } })
      .whenPlanned(NOW)
      .thenNames("0.log", `0.log.${NOW}`)
  })

  it("has the writer reopen when there is no active file (processContainer)", () => {
    given({ files: { "0.log.20180101-000001": 16 } })
      .whenPlanned(NOW)
      .thenSteps("Reopen 0.log, after 0.log.20180101-000001")
  })

  it("leaves the file of a container that doesn't run alone, full or missing (rotateLogs skips what isn't running)", () => {
    for (const files of [{ "0.log": 16 }, {}]) given({ writer: "stopped", files }).whenPlanned(NOW).thenSteps()
  })

  it("refuses fewer than 2 files, and does nothing when maxSize is negative (NewContainerLogManager)", () => {
    expect([0, 1, 2].map((maxFiles) => Policy.safeParse({ maxFiles }).success)).toEqual([false, false, true])
    given({ policy: { maxSize: -1 }, files: { "0.log": 10 } })
      .whenPlanned(NOW)
      .thenSteps()
  })
})

/** A container as the kubelet's collector of dead ones sees it. */
interface Dead {
  readonly uid: string
  readonly name: string
  readonly attempt: number
}
/** What that removes, log and all, where at most `most` dead containers are to be left (`enforceMaxContainersPerEvictUnit`). */
const evicted = (dead: ReadonlyArray<Dead>, most: number): ReadonlyArray<Dead> =>
  [...Map.groupBy(dead, ({ name, uid }) => `${uid} ${name}`).values()].flatMap((unit) =>
    unit.toSorted((a, b) => b.attempt - a.attempt).slice(most),
  )

describe("as the kubelet's collector of dead containers, keepStopped", () => {
  const logOf = ({ attempt, name, uid }: Dead): Log => ({
    path: `/var/log/pods/shop_web_${uid}/${name}/${attempt}.log`,
    podUid: uid,
    container: name,
  })
  it("has the logs of the same containers go (TestGarbageCollect)", () => {
    const dead = fc.record({
      uid: fc.constantFrom("u1", "u2"),
      name: fc.constantFrom("app", "proxy"),
      attempt: fc.nat(30),
    })
    const all = fc.uniqueArray(dead, { maxLength: 40, selector: (one) => logOf(one).path })
    fc.assert(
      fc.property(all, fc.nat(4), (containers, most) => {
        const surplus = surplusAmong(containers.map((one) => ({ log: logOf(one), keepStopped: most })))
        expect([...surplus].toSorted()).toEqual(
          evicted(containers, most)
            .map((one) => logOf(one).path)
            .toSorted(),
        )
      }),
      runs(300),
    )
  })

  it("keeps as many as the kubelet does unless told otherwise", () => {
    expect(Policy.parse({}).keepStopped).toBe(1)
  })
})

/** A file of the model: its lines, and whether it is an archive, a cut-off one perhaps. */
interface File {
  readonly lines: ReadonlyArray<string>
  readonly archive: "none" | "whole" | "cut off"
}
type Reopening = "answers" | "reply lost"

/** One log of one writer. Everything that is written carries a number, so that what is lost can be told. */
class Node {
  readonly files = new Map<string, File>()
  readonly written: Array<string> = []
  readonly removed: Array<string> = []
  /** The name that the file which the writer holds open has now; null once another file was renamed over it. */
  held: string | null = "0.log"
  compressing: "works" | "fails" = "works"
  /** The writer, told to reopen by a signal, has yet to do so, and writes to the file it holds while that is compressed. */
  late = false
  /** Stamps of segments that a guard wants to have kept for now: they are not where they must be before they go. */
  readonly guarded = new Set<string>()
  reopening: Reopening = "answers"
  #line = 0

  constructor(files: Readonly<Record<string, File>> = {}) {
    this.files.set("0.log", { lines: [], archive: "none" })
    for (const [name, file] of Object.entries(files)) this.files.set(name, file)
    this.written.push(...Object.values(files).flatMap(({ archive, lines }) => (archive === "none" ? lines : [])))
  }
  /** The writer writes a line to the file it holds. */
  write(): void {
    this.#line += 1
    const line = `line ${this.#line}`
    this.written.push(line)
    // What goes to a file without a name, nobody will ever read.
    if (this.held === null) return
    const { archive, lines } = this.files.get(this.held) ?? { lines: [], archive: "none" }
    this.files.set(this.held, { archive, lines: [...lines, line] })
  }
  rename(from: string, to: string): void {
    const file = this.files.get(from)
    if (file === undefined) throw new Error(`no ${from}`)
    this.files.delete(from)
    this.files.set(to, file)
    // Whoever holds a file holds it under its new name; a file that was renamed over has no name left.
    if (this.held === from) this.held = to
    else if (this.held === to) this.held = null
  }
  remove(name: string, byPolicy: boolean): void {
    if (byPolicy) this.removed.push(...(this.files.get(name)?.lines ?? []))
    this.files.delete(name)
  }
  /** `unchanged`: what was read goes, or nothing does. */
  compress(name: string, unchanged: boolean): void {
    if (this.compressing === "fails") throw new Error("no space left on device")
    const lines = this.files.get(name)?.lines ?? []
    this.files.set(`${name}.gz`, { lines, archive: "whole" })
    if (this.late && this.held === name) this.write()
    if (unchanged && this.files.get(name)?.lines !== lines) throw new Error("it is still being written to")
    this.files.delete(name)
    if (this.held === name) this.held = null
  }
  /** The writer opens its path anew; the answer may not arrive. */
  reopen(): void {
    if (this.late) return
    if (!this.files.has("0.log")) this.files.set("0.log", { lines: [], archive: "none" })
    this.held = "0.log"
    if (this.reopening === "answers") return
    // The writer goes on; only the one who asked doesn't know that it was heard.
    this.write()
    throw new Error("deadline exceeded")
  }
  /** Names in reading order. */
  names(): ReadonlyArray<string> {
    return [...[...this.files.keys()].filter((name) => name !== "0.log").toSorted(), "0.log"]
  }
  /** What a reader finds: the lines of every readable file, in reading order. */
  read(): ReadonlyArray<string> {
    return this.names().flatMap((name) => {
      const file = this.files.get(name)
      return file === undefined || file.archive === "cut off" ? [] : file.lines
    })
  }
  /** Lines that are neither on disk nor removed by policy. */
  lost(): ReadonlyArray<string> {
    const there = new Set([...this.read(), ...this.removed])
    return this.written.filter((line) => !there.has(line))
  }
}

/** A pass by the kubelet's rule. `localStamp` is the time on the node's clock, in its zone. Failures end the pass, as there. */
const kubelet = (node: Node, localStamp: string, maxFiles = 5): void => {
  const rotated = [...node.files.keys()].filter((name) => name.startsWith("0.log."))
  const unused = rotated.filter(
    (name) => name.endsWith(".tmp") || (!name.endsWith(".gz") && node.files.has(`${name}.gz`)),
  )
  for (const name of unused) node.remove(name, false)
  const inUse = rotated.filter((name) => !unused.includes(name)).toSorted()
  const excess = inUse.slice(0, Math.max(0, inUse.length - (maxFiles - 2)))
  for (const name of excess) node.remove(name, true)
  try {
    for (const name of inUse.slice(excess.length)) if (!name.endsWith(".gz")) node.compress(name, false)
    node.rename("0.log", `0.log.${localStamp}`)
    try {
      node.reopen()
    } catch {
      node.rename(`0.log.${localStamp}`, "0.log")
    }
  } catch {
    // It is logged; the next look is at the next interval.
  }
}

/** A pass by Cordwood's rule: a plan, and each step as the ports have it. A step's failure ends that step. */
const cordwood = (node: Node, utcStamp: string, maxFiles = 5, maxSize = 0): ReadonlyArray<Step> => {
  const entries = node.names().flatMap((name) => {
    const file = node.files.get(name)
    return file === undefined
      ? []
      : [
          {
            name,
            path: `/logs/${name}`,
            kind: "file" as const,
            bytes: file.lines.length,
            modifiedMs: 0,
            identity: name,
          },
        ]
  })
  const codec = { id: "gzip", suffix: ".gz" }
  const limits: Limits = { maxSize, maxFiles, codec, guarded: false, cleared: null, writer: "running", shed: new Map() }
  const steps = plan(limits, snapshotOf({ path: "/logs/0.log" }, { entries, takenAtMs: 3_600_000 }, [codec]), utcStamp)
  const nameOf = (path: string): string => path.slice("/logs/".length)
  for (const step of steps) {
    try {
      switch (step._tag) {
        case "Clean": {
          // The twin must prove that it holds the original before that goes (`LogFiles.matches`).
          const twin = step.reason === "superseded" && step.twin !== "active" ? step.twin.name : null
          const held = twin === null ? undefined : node.files.get(twin)
          const original = node.files.get(nameOf(step.file.path))
          const proven = twin === null || (held?.archive === "whole" && held.lines === original?.lines)
          node.remove(proven ? nameOf(step.file.path) : twin, false)
          break
        }
        case "Remove":
          // Every guard is asked before (`Composed.mayRemove`).
          if (!node.guarded.has(step.segment.stamp)) node.remove(step.segment.name, true)
          break
        case "Compress":
          // Removed only as it was read (`LogFiles.remove`, `unchanged`).
          node.compress(step.segment.name, true)
          break
        case "Rotate": {
          const to = nameOf(step.to)
          // Never over an existing file, in either direction (`LogFiles.setAside`, `putBack`).
          if (node.files.has(to)) throw new Error(`${to} exists`)
          node.rename("0.log", to)
          try {
            node.reopen()
          } catch {
            if (!node.files.has("0.log")) node.rename(to, "0.log")
          }
          break
        }
        case "Reopen":
          node.reopen()
          break
        case "Refuse":
          break
      }
    } catch {
      // An event says so; the next step goes on, and the next pass tries again.
    }
  }
  return steps
}

const rules = { kubelet, cordwood }
/** Both rules, with a writer that writes a line before every pass. */
const both = (
  run: (pass: (typeof rules)["kubelet" | "cordwood"], node: Node) => void,
  files?: Readonly<Record<string, File>>,
) => {
  const nodes = { kubelet: new Node(files), cordwood: new Node(files) }
  run(kubelet, nodes.kubelet)
  run(cordwood, nodes.cordwood)
  return nodes
}
const plainFile = (...lines: ReadonlyArray<string>): File => ({ lines, archive: "none" })

describe("where Cordwood goes further", () => {
  it("the two rules do the same when nothing goes wrong, so that the model is a fair one", () => {
    const nodes = both((pass, node) => {
      for (let second = 10; second < 20; second += 1) {
        node.write()
        pass(node, `20260909-0433${second}`)
      }
    })
    expect(nodes.cordwood.names()).toEqual([
      "0.log.20260909-043316.gz",
      "0.log.20260909-043317.gz",
      "0.log.20260909-043318.gz",
      "0.log.20260909-043319",
      "0.log",
    ])
    expect([nodes.kubelet.names(), nodes.kubelet.read(), nodes.kubelet.removed, nodes.kubelet.lost()]).toEqual([
      nodes.cordwood.names(),
      nodes.cordwood.read(),
      nodes.cordwood.removed,
      [],
    ])
  })

  it("two rotations in one second: the second segment is taken for a leftover of the first, and deleted", () => {
    const nodes = both((pass, node) => {
      for (const stamp of [NOW, NOW, "20260909-043311"]) {
        node.write()
        pass(node, stamp)
      }
    })
    expect(nodes.kubelet.lost()).toEqual(["line 2"])
    expect(nodes.cordwood.lost()).toEqual([])
    expect(nodes.cordwood.read()).toEqual(["line 1", "line 2", "line 3"])
    expect(nodes.cordwood.names()).toEqual([
      "0.log.20260909-043310.gz",
      "0.log.20260909-043311.gz",
      "0.log.20260909-043312",
      "0.log",
    ])
  })

  it("a clock set back by an hour: the newest lines are deleted first, and the rest is out of order", () => {
    const nodes = both((pass, node) => {
      for (const stamp of [
        "20260909-043310",
        "20260909-043320",
        "20260909-043330",
        "20260909-033340",
        "20260909-033350",
      ]) {
        node.write()
        pass(node, stamp, 4)
      }
    })
    expect(nodes.kubelet.removed).toEqual(["line 1", "line 4"])
    expect(nodes.kubelet.read()).toEqual(["line 5", "line 2", "line 3"])
    expect(nodes.cordwood.removed).toEqual(["line 1", "line 2"])
    expect(nodes.cordwood.read()).toEqual(["line 3", "line 4", "line 5"])
  })

  it("the end of daylight saving: local time repeats an hour, and the kubelet's order with it", () => {
    const summerEndsMs = Date.parse("2026-10-25T01:00:00Z")
    const inBerlin = (ms: number): string => formatStamp(ms + (ms < summerEndsMs ? 2 : 1) * 3_600_000)!
    const nodes = { kubelet: new Node(), cordwood: new Node() }
    for (let minute = -20; minute <= 30; minute += 10) {
      const ms = summerEndsMs + minute * 60_000
      nodes.kubelet.write()
      kubelet(nodes.kubelet, inBerlin(ms), 4)
      nodes.cordwood.write()
      cordwood(nodes.cordwood, formatStamp(ms)!, 4)
    }
    expect(nodes.kubelet.removed).toEqual(["line 3", "line 4", "line 5"])
    expect(nodes.kubelet.read()).toEqual(["line 6", "line 1", "line 2"])
    expect(nodes.cordwood.removed).toEqual(["line 1", "line 2", "line 3"])
    expect(nodes.cordwood.read()).toEqual(["line 4", "line 5", "line 6"])
  })

  it("somebody else's files beside the log: the kubelet deletes, compresses and counts them as its own", () => {
    const foreign = {
      "0.log.1": plainFile("a host's own rotation"),
      "0.log.backup": plainFile("before the upgrade"),
      "0.log.tmp": plainFile("somebody's editor"),
    }
    const nodes = both((pass, node) => {
      for (const stamp of ["20260909-043310", "20260909-043320", "20260909-043330"]) {
        node.write()
        pass(node, stamp, 4)
      }
    }, foreign)
    expect(nodes.kubelet.names()).toEqual([
      "0.log.20260909-043320.gz",
      "0.log.20260909-043330",
      "0.log.backup.gz",
      "0.log",
    ])
    expect(nodes.kubelet.lost()).toEqual(["somebody's editor"])
    expect(nodes.kubelet.removed).toEqual(["a host's own rotation", "line 1"])
    expect(nodes.cordwood.names()).toEqual([
      "0.log.1",
      "0.log.20260909-043310.gz",
      "0.log.20260909-043320.gz",
      "0.log.20260909-043330",
      "0.log.backup",
      "0.log.tmp",
      "0.log",
    ])
    expect(Object.keys(foreign).map((name) => nodes.cordwood.files.get(name))).toEqual(Object.values(foreign))
    expect([nodes.cordwood.lost(), nodes.cordwood.removed]).toEqual([[], []])
  })

  it("a log whose name begins with another's: the kubelet's clean-up of one container takes the other's files, too", () => {
    const names = ["test-log-3", "test-log-3.00000000-000001", "test-log-30", "test-log-30.00000000-000001.gz"]
    // The pattern is the log's path and a star.
    expect(names.filter((name) => name.startsWith("test-log-3"))).toEqual(names)
    const { active, segments } = givenSnapshot({
      log: "/logs/test-log-3",
      files: Object.fromEntries(names.map((name) => [name, 0])),
    })
    expect([active, ...segments].map((file) => file?.path)).toEqual([
      "/logs/test-log-3",
      "/logs/test-log-3.00000000-000001",
    ])
  })

  it("an archive cut off by a power cut: its name alone is proof enough for the kubelet to delete the original", () => {
    const files: Readonly<Record<string, File>> = {
      "0.log.20260909-043300": plainFile("line a", "line b"),
      "0.log.20260909-043300.gz": { lines: ["line a"], archive: "cut off" },
    }
    const nodes = both((pass, node) => pass(node, NOW), files)
    expect(nodes.kubelet.lost()).toEqual(["line a", "line b"])
    expect(nodes.cordwood.lost()).toEqual([])
    // The next pass makes up for it.
    cordwood(nodes.cordwood, "20260909-043320")
    expect(nodes.cordwood.names()).toEqual([
      "0.log.20260909-043300.gz",
      "0.log.20260909-043310.gz",
      "0.log.20260909-043320",
      "0.log",
    ])
    expect(nodes.cordwood.lost()).toEqual([])
  })

  it("a segment that its writer still holds: the kubelet compresses what there is, and deletes what comes after", () => {
    const segment = "0.log.20260909-043300"
    const nodes = both(
      (pass, node) => {
        node.held = segment
        node.late = true
        pass(node, NOW)
      },
      { [segment]: plainFile("a") },
    )
    expect(nodes.kubelet.lost()).toEqual(["line 1"])
    expect(nodes.cordwood.lost()).toEqual([])
    // Once the writer has opened its path anew, the twin of half the segment goes, and a whole one comes.
    nodes.cordwood.late = false
    for (const stamp of ["20260909-043320", "20260909-043330"]) cordwood(nodes.cordwood, stamp)
    expect(nodes.cordwood.files.get(`${segment}.gz`)).toEqual({ lines: ["a", "line 1"], archive: "whole" })
    expect(nodes.cordwood.read()).toEqual(["a", "line 1"])
  })

  it("a segment that is to be shipped first: the kubelet asks nobody, and what was not shipped yet is gone", () => {
    const nodes = both(
      (pass, node) => {
        node.guarded.add("20260909-043300")
        for (const stamp of ["20260909-043310", "20260909-043320"]) {
          node.write()
          pass(node, stamp, 3)
        }
      },
      { "0.log.20260909-043300": plainFile("not shipped") },
    )
    expect(nodes.kubelet.removed).toEqual(["not shipped"])
    expect(nodes.cordwood.removed).toEqual([])
    expect(nodes.cordwood.read()).toEqual(["not shipped", "line 1", "line 2"])
    nodes.cordwood.guarded.clear()
    cordwood(nodes.cordwood, "20260909-043330", 3, 1_000)
    expect(nodes.cordwood.removed).toEqual(["not shipped"])
  })

  it("a compression that failed: the kubelet comes back to it at the next rotation, which a log that falls silent never has", () => {
    const files = { "0.log.20260909-043250": plainFile("a"), "0.log.20260909-043300": plainFile("b") }
    const maxSize = 1_000
    const nodes = { kubelet: new Node(files), cordwood: new Node(files) }
    for (let pass = 0; pass < 10; pass += 1) {
      // The kubelet looks at a log only once it is full.
      if (nodes.kubelet.read().length >= maxSize) kubelet(nodes.kubelet, NOW)
      cordwood(nodes.cordwood, NOW, 5, maxSize)
    }
    expect(nodes.kubelet.names()).toEqual(["0.log.20260909-043250", "0.log.20260909-043300", "0.log"])
    expect(nodes.cordwood.names()).toEqual(["0.log.20260909-043250.gz", "0.log.20260909-043300", "0.log"])
  })

  it("a disk too full to compress: the kubelet stops before it rotates, so the active file grows without limit", () => {
    const nodes = both(
      (pass, node) => {
        node.compressing = "fails"
        for (const stamp of ["20260909-043310", "20260909-043320", "20260909-043330"]) {
          node.write()
          pass(node, stamp)
        }
      },
      { "0.log.20260909-043300": plainFile("a") },
    )
    const active = (node: Node): number => node.files.get("0.log")!.lines.length
    expect([active(nodes.kubelet), active(nodes.cordwood)]).toEqual([3, 0])
    expect(nodes.cordwood.read()).toEqual(["a", "line 1", "line 2", "line 3"])
  })

  it("a reply to reopen that is lost: the kubelet renames back over the file that the writer has opened by then", () => {
    const nodes = both((pass, node) => {
      node.write()
      node.reopening = "reply lost"
      pass(node, NOW)
      node.write()
    })
    expect(nodes.kubelet.lost()).toEqual(["line 2", "line 3"])
    expect(nodes.kubelet.held).toBeNull()
    expect(nodes.cordwood.lost()).toEqual([])
    expect(nodes.cordwood.read()).toEqual(["line 1", "line 2", "line 3"])
    expect(nodes.cordwood.held).toBe("0.log")
  })
})
