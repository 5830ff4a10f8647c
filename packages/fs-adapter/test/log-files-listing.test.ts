// One reading of a directory for all the logs in it: always what a new reading would give, on clocks and stamps of every kind.
import fs from "node:fs"
import { syncBuiltinESMExports } from "node:module"
import { join } from "node:path"
import { besideOf, type Entry, type LogFilesError } from "@cordwood/core"
import { Effect, Result } from "effect"
import * as fc from "fast-check"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { canAnchor, withDirectory } from "../src/log-files/directory.ts"
import { BigDirectories, readEntries } from "../src/log-files/look.ts"
import { runs } from "./journal-given.ts"
import { makeScratch, openBelow, removeScratch, seenAt } from "./log-files-disk.ts"

const anchored = canAnchor()
const realOpendir = fs.opendirSync
const realFstat = fs.fstatSync
const OTHERS = 70
const STAMP = "20260909-043310"

let scratch = ""
beforeEach(() => {
  scratch = makeScratch()
})
afterEach(() => {
  vi.restoreAllMocks()
  syncBuiltinESMExports()
  const open = process.platform === "linux" ? openBelow(scratch) : []
  removeScratch(scratch)
  if (open.length > 0) throw new Error(`still open after the test: ${open.join(", ")}`)
})

const touch = (path: string): void => fs.closeSync(fs.openSync(path, "w"))
const makeDirectory = (name: string, others = OTHERS): string => {
  const path = join(scratch, name)
  fs.mkdirSync(path)
  for (let count = 0; count < others; count++) touch(join(path, `other-${count}`))
  return path
}
const listed = (memory: BigDirectories, active: string): Effect.Effect<Array<Entry>, LogFilesError> =>
  withDirectory("list", active, anchored, (directory) => readEntries(directory, active, memory))
const sorted = (entries: ReadonlyArray<Entry>): ReadonlyArray<Entry> =>
  entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))
const list = (memory: BigDirectories, active: string): ReadonlyArray<Entry> =>
  sorted(Effect.runSync(listed(memory, active)))
const namesOf = (memory: BigDirectories, active: string): ReadonlyArray<string> =>
  list(memory, active).map(({ name }) => name)
/** What lies there, found without the code under test. */
const there = (active: string): ReadonlyArray<Entry> => {
  const own = active.slice(active.lastIndexOf("/") + 1)
  const names = fs.readdirSync(join(active, "..")).filter((name) => name === own || name.startsWith(`${own}.`))
  return sorted(names.map((name) => ({ ...seenAt(besideOf(active, name)), name, kind: "file" })))
}

/** Counts the readings from now on, and does `midst` after the first name of each. */
const watchReadings = (): { count: number; midst: () => void } => {
  const readings = { count: 0, midst: () => {} }
  vi.spyOn(fs, "opendirSync").mockImplementation((...args) => {
    const stream = realOpendir(...args)
    readings.count++
    const { readSync } = stream
    let isFirst = true
    stream.readSync = () => {
      const entry = readSync.call(stream)
      if (isFirst) readings.midst()
      isFirst = false
      return entry
    }
    return stream
  })
  syncBuiltinESMExports()
  return readings
}

/**
 * A file system that stamps directories by a clock of the test, which moves in ticks. `beyondMs` is what a stamp has beyond whole ticks.
 * The names are on the real disk; whoever changes them says so with `stamp`.
 */
class Stamps {
  nowMs = 60_000
  readonly memory = new BigDirectories(() => this.nowMs)
  readonly #byInode = new Map<bigint, bigint>()
  readonly #tickMs: number
  readonly #beyondMs: number

  constructor(tickMs: number, beyondMs: number) {
    this.#tickMs = tickMs
    this.#beyondMs = beyondMs
    vi.spyOn(fs, "fstatSync").mockImplementation(((descriptor: number) => {
      const stats = realFstat(descriptor, { bigint: true })
      const stampNs = this.#byInode.get(stats.ino)
      return stampNs === undefined ? stats : Object.assign(stats, { mtimeNs: stampNs, ctimeNs: stampNs })
    }) as never)
    syncBuiltinESMExports()
  }

  stamp(directory: string): void {
    const ms = Math.floor(this.nowMs / this.#tickMs) * this.#tickMs + this.#beyondMs
    this.#byInode.set(fs.lstatSync(directory, { bigint: true }).ino, BigInt(Math.round(ms * 1e6)))
  }
  create(path: string): void {
    touch(path)
    this.stamp(join(path, ".."))
  }
  remove(path: string): void {
    fs.rmSync(path, { force: true })
    this.stamp(join(path, ".."))
  }
  rename(from: string, to: string): void {
    if (fs.existsSync(from)) fs.renameSync(from, to)
    this.stamp(join(from, ".."))
  }
  /** Lists until a reading is remembered. */
  settle(active: string): void {
    list(this.memory, active)
    list(this.memory, active)
    this.nowMs += 2_100
    list(this.memory, active)
  }
}
const clocks = [
  ["nanoseconds", 0.000_001, 0],
  ["ticks of 4 ms", 4, 0.123_456],
  ["ticks of 10 ms", 10, 0.123_456],
  ["whole seconds", 1_000, 0],
  ["every other second", 2_000, 0],
] as const

// Each of the many runs makes a hundred files: on a slow and busy disk that takes more than a test's usual time.
describe.each(clocks)(
  "a listing, where directories are stamped in %s,",
  { timeout: 120_000 },
  (_, tickMs, beyondMs) => {
    it("is always what a new reading would give, whatever changes between the calls and in the midst of one", () => {
      const NAMES = [
        "a.log",
        "a.log.",
        "a.log.b",
        "a.log.b.gz",
        `a.log.${STAMP}`,
        `a.log.b.${STAMP}.gz`,
        "a.log-old",
        "a.log\u0001",
        "a.logs",
        "a",
        "é.log",
        "é.log.1",
        "😀.log.1",
        "\uffee.log.1",
      ]
      const directory = fc.constantFrom("x", "y")
      const path = fc.tuple(directory, fc.constantFrom(...NAMES)).map(([where, name]) => `${where}/${name}`)
      const active = fc
        .tuple(directory, fc.constantFrom("a.log", "a.log.b", "é.log", "😀.log", "\uffee.log", "none.log"))
        .map(([where, name]) => `${where}/${name}`)
      const change = fc.oneof(
        fc.record({ kind: fc.constant("create" as const), path }),
        fc.record({ kind: fc.constant("remove" as const), path }),
        fc.record({ kind: fc.constant("rename" as const), path, to: fc.constantFrom(...NAMES) }),
        fc.record({ kind: fc.constant("replace" as const), path: directory }),
      )
      const act = fc.oneof(
        { weight: 2, arbitrary: change },
        {
          weight: 2,
          arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.constantFrom(1, 5, 101, 2_101) }),
        },
        { weight: 4, arbitrary: fc.record({ kind: fc.constant("list" as const), path: active }) },
        { weight: 1, arbitrary: fc.record({ kind: fc.constant("list" as const), path: active, midst: change }) },
      )
      const start = fc.record({ phaseMs: fc.nat(4_000), others: fc.integer({ min: 60, max: 70 }) })
      let run = 0
      fc.assert(
        fc.property(start, fc.array(act, { minLength: 5, maxLength: 40 }), ({ others, phaseMs }, acts) => {
          const at = (path: string): string => join(scratch, String(run), path)
          const stamps = new Stamps(tickMs, beyondMs)
          const readings = watchReadings()
          stamps.nowMs += phaseMs
          fs.mkdirSync(join(scratch, String(++run)))
          for (const name of ["x", "y"]) stamps.stamp(makeDirectory(`${run}/${name}`, others))
          const make = (change: typeof act extends fc.Arbitrary<infer A> ? A : never): void => {
            if (change.kind === "create") stamps.create(at(change.path))
            else if (change.kind === "remove") stamps.remove(at(change.path))
            else if (change.kind === "rename") stamps.rename(at(change.path), join(at(change.path), "..", change.to))
            else if (change.kind === "wait") stamps.nowMs += change.ms
            else if (change.kind === "replace") {
              fs.renameSync(at(change.path), at(`was-${fs.readdirSync(at(".")).length}`))
              stamps.stamp(makeDirectory(`${run}/${change.path}`, others))
            } else if ("midst" in change) {
              readings.midst = () => make(change.midst)
              list(stamps.memory, at(change.path))
              readings.midst = () => {}
            } else {
              expect(list(stamps.memory, at(change.path))).toEqual(there(at(change.path)))
            }
          }
          for (const change of acts) make(change)
          for (const path of ["x/a.log", "y/a.log"]) make({ kind: "list", path })
        }),
        runs(40),
      )
    })

    it("has a name that was made right after a reading, however long the directory was quiet before", () => {
      const waits = [0, 1, 3, 4, 9, 10, 50, 99, 100, 101, 900, 999, 1_000, 1_500, 1_999, 2_000, 2_099, 2_100, 5_000]
      const stamps = new Stamps(tickMs, beyondMs)
      const found = waits.map((ms) => {
        stamps.nowMs = Math.ceil(stamps.nowMs / 10_000) * 10_000
        const directory = makeDirectory(`after-${ms}`)
        const active = join(directory, "0.log")
        stamps.create(active)
        list(stamps.memory, active)
        list(stamps.memory, active)
        stamps.nowMs += ms
        list(stamps.memory, active)
        stamps.create(`${active}.${STAMP}`)
        return [ms, namesOf(stamps.memory, active)]
      })
      expect(found).toEqual(waits.map((ms) => [ms, ["0.log", `0.log.${STAMP}`]]))
    })

    it("takes one reading for all the logs of a directory that was quiet", () => {
      const stamps = new Stamps(tickMs, beyondMs)
      const directory = makeDirectory("logs", 0)
      const logs = Array.from({ length: 40 }, (_, index) => join(directory, `${index}.log`))
      for (const log of logs) for (const name of [log, `${log}.${STAMP}`]) stamps.create(name)
      const readings = watchReadings()
      stamps.settle(logs[0]!)
      expect(logs.map((log) => list(stamps.memory, log))).toEqual(logs.map(there))
      expect([readings.count, stamps.memory.held]).toEqual([3, { directories: 1, names: 80 }])
    })
  },
)

describe("a listing", () => {
  it("has a name that was made, renamed or removed just now, by the disk's own stamps and the real clock", async () => {
    const memory = new BigDirectories()
    const active = join(makeDirectory("logs"), "0.log")
    const segment = `${active}.${STAMP}`
    touch(active)
    const readings = watchReadings()
    /** Until a listing takes no reading. */
    const remembered = async (): Promise<void> => {
      const until = performance.now() + 15_000
      for (let before = -1; before !== readings.count; await Effect.runPromise(Effect.yieldNow)) {
        if (performance.now() > until) throw new Error("no reading was remembered")
        before = readings.count
        list(memory, active)
      }
    }
    const seen: Array<ReadonlyArray<string>> = []
    const changes = [() => touch(segment), () => fs.renameSync(segment, `${segment}.gz`), () => fs.rmSync(active)]
    for (const change of changes) {
      await remembered()
      change()
      seen.push(namesOf(memory, active))
      expect(list(memory, active)).toEqual(there(active))
    }
    expect(seen).toEqual([["0.log", `0.log.${STAMP}`], ["0.log", `0.log.${STAMP}.gz`], [`0.log.${STAMP}.gz`]])
  })

  it("of two directories in turn takes one reading of each", () => {
    const stamps = new Stamps(10, 0.5)
    const logs = ["x", "y"].map((name) => join(makeDirectory(name), "0.log"))
    for (const log of logs) stamps.create(log)
    for (const log of logs) list(stamps.memory, log)
    for (const log of logs) list(stamps.memory, log)
    stamps.nowMs += 100
    const readings = watchReadings()
    for (let turn = 0; turn < 5; turn++) {
      for (const log of logs) expect(list(stamps.memory, log)).toEqual(there(log))
    }
    expect([readings.count, stamps.memory.held]).toEqual([2, { directories: 2, names: 142 }])
    stamps.create(`${logs[0]}.${STAMP}`)
    expect(logs.map((log) => namesOf(stamps.memory, log))).toEqual([["0.log", `0.log.${STAMP}`], ["0.log"]])
    expect(readings.count).toBe(3)
  })

  it("is of the directory that is there by now, even if it bears the stamps of the one before", () => {
    const stamps = new Stamps(10, 0.5)
    const [old, next] = [makeDirectory("logs"), makeDirectory("next")]
    const active = join(old, "0.log")
    stamps.create(active)
    stamps.create(join(next, `0.log.${STAMP}`))
    stamps.settle(active)
    fs.renameSync(old, join(scratch, "was"))
    fs.renameSync(next, old)
    expect(namesOf(stamps.memory, active)).toEqual([`0.log.${STAMP}`])
  })

  it("looks at every file anew, and leaves out what is gone", () => {
    const stamps = new Stamps(10, 0.5)
    const active = join(makeDirectory("logs"), "0.log")
    for (const name of [active, `${active}.a`, `${active}.b`]) stamps.create(name)
    stamps.settle(active)
    const readings = watchReadings()
    fs.appendFileSync(active, "more")
    fs.rmSync(`${active}.a`)
    fs.rmSync(`${active}.b`)
    fs.symlinkSync("0.log", `${active}.b`)
    expect(list(stamps.memory, active)).toEqual([
      { ...seenAt(active), name: "0.log", kind: "file" },
      { ...seenAt(`${active}.b`), name: "0.log.b", kind: "symlink" },
    ])
    expect([seenAt(active).bytes, readings.count]).toEqual([4, 0])
  })

  it("tells a log's names from those that lie between and beside them, with the active file and without", () => {
    const stamps = new Stamps(10, 0.5)
    const directory = makeDirectory("logs")
    const active = join(directory, "0.log")
    const segments = [".", `.${STAMP}`, `.${STAMP}.gz`, "..", ".\u{10ffff}"].map((rest) => `${active}${rest}`)
    for (const name of ["0.lo", "0.log", "0.log\n", "0.log-old", "0.logs", "00.log.1", "0"])
      touch(join(directory, name))
    for (const name of segments) stamps.create(name)
    stamps.settle(active)
    const whole = list(stamps.memory, active)
    stamps.remove(active)
    stamps.settle(active)
    const without = list(stamps.memory, active)
    const found = [whole, without].map((entries) => entries.map(({ path }) => path))
    expect(found).toEqual([[active, ...segments].toSorted(), segments.toSorted()])
  })

  it("believes a file system that stamps nothing for a second and no longer", () => {
    const stamps = new Stamps(10, 0.5)
    const active = join(makeDirectory("logs"), "0.log")
    stamps.create(active)
    stamps.settle(active)
    touch(`${active}.${STAMP}`)
    stamps.nowMs += 1_000
    const within = namesOf(stamps.memory, active)
    stamps.nowMs += 1
    expect([within, namesOf(stamps.memory, active)]).toEqual([["0.log"], ["0.log", `0.log.${STAMP}`]])
  })

  it("says so if the open directory can't be looked at", () => {
    const stamps = new Stamps(10, 0.5)
    const active = join(makeDirectory("logs"), "0.log")
    stamps.settle(active)
    vi.spyOn(fs, "fstatSync").mockImplementation(() => {
      throw Object.assign(new Error("EIO"), { code: "EIO", errno: -5, syscall: "fstat" })
    })
    syncBuiltinESMExports()
    const result = Effect.runSync(Effect.result(listed(stamps.memory, active)))
    const { detail, op, path, reason } = Result.isFailure(result) ? result.failure : expect.unreachable()
    expect({ op, path, reason, detail }).toEqual({
      op: "list",
      path: active,
      reason: "Io",
      detail: "EIO: i/o error (fstat)",
    })
  })
})

describe("what is remembered", () => {
  /** Has a reading give made-up names, as many as `counts` says for the directory, and does `midst` after the 5,000th of each. */
  const pretend = (counts: Readonly<Record<string, number>>): { count: number; midst: () => void } => {
    const readings = { count: 0, midst: () => {} }
    vi.spyOn(fs, "opendirSync").mockImplementation(((path: string) => {
      readings.count++
      const { ino } = fs.lstatSync(path)
      const [, most = 0] = Object.entries(counts).find(([name]) => fs.lstatSync(join(scratch, name)).ino === ino) ?? []
      let count = 0
      const readSync = (): { readonly name: string } | null => {
        if (count === 5_000) readings.midst()
        return count < most ? { name: `${count++}.log` } : null
      }
      return { readSync, closeSync: () => {} }
    }) as never)
    syncBuiltinESMExports()
    return readings
  }
  const logIn = (name: string): string => join(scratch, name, "0.log")

  it("is nothing of a directory with few names", () => {
    const stamps = new Stamps(10, 0.5)
    const [few, many] = [makeDirectory("few", 64), makeDirectory("many", 65)]
    for (const directory of [few, many]) stamps.stamp(directory)
    stamps.settle(join(few, "0.log"))
    expect(stamps.memory.held).toEqual({ directories: 0, names: 0 })
    stamps.settle(join(many, "0.log"))
    expect(stamps.memory.held).toEqual({ directories: 1, names: 65 })
  })

  it("is of the eight directories that were listed last", () => {
    const stamps = new Stamps(10, 0.5)
    const names = Array.from({ length: 11 }, (_, index) => `d${index}`)
    for (const name of names) stamps.stamp(makeDirectory(name, 65))
    for (const name of names) for (let turn = 0; turn < 2; turn++) list(stamps.memory, logIn(name))
    expect(stamps.memory.held).toEqual({ directories: 8, names: 0 })
    stamps.nowMs += 100
    for (const name of names.slice(-8)) list(stamps.memory, logIn(name))
    expect(stamps.memory.held).toEqual({ directories: 8, names: 8 * 65 })
    list(stamps.memory, logIn("d3"))
    list(stamps.memory, logIn("d0"))
    const readings = watchReadings()
    for (const name of ["d3", "d5", "d6", "d7", "d8", "d9", "d10"]) list(stamps.memory, logIn(name))
    expect(readings.count).toBe(0)
    list(stamps.memory, logIn("d4"))
    expect(readings.count).toBe(1)
  })

  it("is 65,536 names at most, those that were read last", () => {
    const stamps = new Stamps(10, 0.5)
    const counts = { a: 30_000, b: 35_536, c: 1_000, d: 65_536, e: 65_537 }
    for (const name of Object.keys(counts)) stamps.stamp(makeDirectory(name, 0))
    pretend(counts)
    for (const name of Object.keys(counts)) for (let turn = 0; turn < 2; turn++) list(stamps.memory, logIn(name))
    stamps.nowMs += 100
    const held = Object.keys(counts).map((name) => {
      list(stamps.memory, logIn(name))
      return stamps.memory.held.names
    })
    expect(held).toEqual([30_000, 65_536, 36_536, 65_536, 65_536])
  })

  it("is let go once it is too old to be believed", () => {
    const stamps = new Stamps(10, 0.5)
    for (const name of ["a", "b"]) stamps.stamp(makeDirectory(name, 65))
    stamps.settle(logIn("a"))
    stamps.settle(logIn("b"))
    expect(stamps.memory.held).toEqual({ directories: 2, names: 65 })
  })

  it("is read by one of many who ask at once, and the others wait for it", async () => {
    const stamps = new Stamps(10, 0.5)
    stamps.stamp(makeDirectory("logs", 0))
    const readings = pretend({ logs: 20_000 })
    const logs = Array.from({ length: 64 }, (_, index) => join(scratch, "logs", `${index}.log`))
    for (const log of logs) touch(log)
    const both = logs.slice(0, 2)
    for (const log of both) await Effect.runPromise(listed(stamps.memory, log))
    stamps.nowMs += 100
    const found = await Effect.runPromise(
      Effect.forEach(logs, (log) => listed(stamps.memory, log), { concurrency: "unbounded" }),
    )
    expect([found, readings.count]).toEqual([logs.map(there), 3])
  })

  it("is not a reading in whose midst others saw that the directory had changed", async () => {
    const stamps = new Stamps(10, 0.5)
    const counts = { logs: 20_000 }
    stamps.stamp(makeDirectory("logs", 0))
    const readings = pretend(counts)
    const late = join(scratch, "logs", "20000.log")
    for (let turn = 0; turn < 2; turn++) await Effect.runPromise(listed(stamps.memory, logIn("logs")))
    stamps.nowMs += 100
    let other: Promise<ReadonlyArray<Entry>> | undefined
    readings.midst = () => {
      readings.midst = () => {}
      stamps.create(late)
      // The reading under way began with as many names as there were.
      counts.logs++
      other = Effect.runPromise(listed(stamps.memory, late))
    }
    await Effect.runPromise(listed(stamps.memory, logIn("logs")))
    expect([await other, readings.count]).toEqual([there(late), 4])
  })
})
