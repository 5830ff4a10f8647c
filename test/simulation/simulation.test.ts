// The whole agent on simulated nodes: nothing is lost, whatever happens; and the simulator sees it when something is.
import type { Envelope } from "@cordwood/core"
import { guardSuite, World } from "@cordwood/core/testing"
import { s3Over, s3Suite } from "@cordwood/plugin-s3/testing"
import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { Account, type Case } from "./account.ts"
import { Chance } from "./chance.ts"
import { famous } from "./famous.ts"
import { kubeletSubject } from "./kubelet-subject.ts"
import { type Blow, ObjectStore, type Request, type StoredObject, type Traits } from "./object-store.ts"
import { packed, pack, unpack } from "./packed.ts"
import { recordsIn } from "./records.ts"
import { violationText } from "./report.ts"
import { run } from "./run.ts"
import { type Happening, type Scenario, scenarioOf, type Shipping } from "./scenario.ts"
import { shrink } from "./shrink.ts"

/** The seeds begin here; `CORDWOOD_SEED=… npm test -- test/simulation` begins elsewhere. */
const FIRST_SEED = Number(process.env["CORDWOOD_SEED"] ?? 1)
const MOST_SEEDS = 700
/** A machine that is busy with something else gets no further than this, and has seen the fewest. */
const ENOUGH_MS = 40_000
const FEWEST_SEEDS = 50
/** What the fewest take on a machine that has no time at all. */
const LIMIT_MS = 15 * 60_000

describe("the agent on a simulated node", () => {
  it(
    `keeps its promises, whatever seeds from ${FIRST_SEED} on bring about`,
    async () => {
      const beganMs = performance.now()
      let seed = FIRST_SEED
      const isEnough = (): boolean => {
        const done = seed - FIRST_SEED
        return done >= MOST_SEEDS || (done >= FEWEST_SEEDS && performance.now() - beganMs > ENOUGH_MS)
      }
      for (; !isEnough(); seed += 1) {
        const { violation } = await run(scenarioOf(seed))
        const told = violation === null ? "" : violationText(violation)
        expect(told, `see it with: npm run simulate -- --seed ${seed}`).toBe("")
      }
      console.log(`${seed - FIRST_SEED} seeds from ${FIRST_SEED} on`)
    },
    LIMIT_MS,
  )

  it(
    "does the same thing every time for the same seed",
    async () => {
      for (const seed of [11, 12, 13, 21, 48, 91]) {
        const [first, second] = [
          await run(scenarioOf(seed), { tellsStory: true }),
          await run(scenarioOf(seed), { tellsStory: true }),
        ]
        expect(first.story.length).toBeGreaterThan(10)
        expect(second).toEqual(first)
      }
    },
    LIMIT_MS,
  )
})

describe("what rotators are known to fail at", () => {
  for (const { kubelet, scenario, title } of famous) {
    it(`${title}: Cordwood stands it, and the kubelet's rules ${kubelet === null ? "do, too" : "don't"}`, async () => {
      const [ours, theirs] = [await run(scenario), await run(scenario, { subject: kubeletSubject })]
      expect([ours.violation, theirs.violation && violationText(theirs.violation)]).toEqual([null, kubelet])
    })
  }

  it(
    "is cut down to what it takes, and still fails in the same way",
    async () => {
      const seed = 1
      const scenario = scenarioOf(seed)
      const outcome = await run(scenario, { subject: kubeletSubject })
      const shrunk = await shrink(scenario, outcome, { subject: kubeletSubject })
      expect(shrunk.outcome.violation?.guarantee).toBe(outcome.violation?.guarantee)
      expect([scenario.happenings.length, shrunk.scenario.happenings.length]).toEqual([8, 0])
      const again = await run(shrunk.scenario, { subject: kubeletSubject })
      expect(again.violation).toEqual(shrunk.outcome.violation)
    },
    LIMIT_MS,
  )
})

/** A log that fills four files of ten records in ten seconds, each of them shipped once it is closed. */
const shippingScenario = (shipping: Partial<Shipping>, ...happenings: ReadonlyArray<Happening>): Scenario => ({
  ...scenarioOf(1),
  policy: { maxSize: 80, maxFiles: 3, compression: "packed", keepStopped: 1 },
  capacityBytes: null,
  intervalMs: 1_000,
  workers: 1,
  mode: "run",
  slowestMs: 0,
  containers: [{ name: "a", reopens: "prompt", lateMs: 0, speeds: [{ fromMs: 0, everyMs: 250, records: 1 }] }],
  durationMs: 10_000,
  shipping: { ...SHIPPING, ...shipping },
  happenings,
})
const SHIPPING: Shipping = {
  keeps: "checksums",
  hides: false,
  attempts: 2,
  patienceMs: 500,
  early: true,
  partSize: null,
  concurrency: 2,
  compresses: false,
  breaker: { failures: 5, cooldownMs: 1_000 },
  limitMs: null,
}
const blow = (request: Request, mood: Blow["mood"]): Happening => ({
  atMs: 0,
  _tag: "StoreBlow",
  request,
  mood,
  times: 1,
})

describe("S3, whichever request a fault strikes, has every segment before it goes", () => {
  const parts = { partSize: 30 }
  const cases: ReadonlyArray<readonly [Request, Partial<Shipping>, ReadonlyArray<Happening>]> = [
    ["HeadObject", {}, []],
    ["PutObject", {}, []],
    ["GetObject", { keeps: "nothing" }, []],
    ["ListMultipartUploads", parts, []],
    ["CreateMultipartUpload", parts, []],
    ["UploadPart", parts, []],
    ["CompleteMultipartUpload", parts, []],
    // Of an upload that fails.
    ["AbortMultipartUpload", { ...parts, attempts: 1 }, [blow("UploadPart", "refuses")]],
  ]
  const moods = ["refuses", "hangs", "silent", "slow", "late", "flaky", "bends", "crash"] as const
  for (const [request, shipping, before] of cases) {
    for (const mood of moods) {
      it(`${request}, ${mood}`, async () => {
        const scenario = shippingScenario(shipping, ...before, blow(request, mood))
        const { story, violation } = await run(scenario, { tellsStory: true })
        const struck = story.filter((line) => line.includes(request) && line.endsWith(`<- ${mood}`)).length
        const proven = story.filter((line) => line.includes("s3.Shipped")).length
        expect({ violation, struck, isShipped: proven >= 4 }).toEqual({ violation: null, struck: 1, isShipped: true })
      })
    }
  }
})

describe("the S3 of a simulation", () => {
  const storeOf = (traits: Partial<Traits> = {}): ObjectStore =>
    new ObjectStore(
      { keeps: "checksums", hides: false, attempts: 1, patienceMs: LIMIT_MS, ...traits },
      {
        after: (waitMs, run) => setTimeout(run, waitMs),
        nowMs: () => performance.now(),
        chance: new Chance(1),
        crash: () => undefined,
        tell: () => undefined,
      },
    )
  const alive = (): boolean => false
  for (const keeps of ["checksums", "md5", "nothing"] as const) {
    for (const { name, run } of s3Suite("suite")) {
      // It has nothing to find it by.
      if (keeps === "nothing" && name === "refuses bytes that are others than they are said to be") continue
      it(`${name}: one that keeps ${keeps}`, () => Effect.runPromise(run(storeOf({ keeps }).client(alive))))
    }
  }

  const outOfReach = () => {
    const store = storeOf()
    store.mood = "refuses"
    return s3Over(store.client(alive))({ bucket: "logs" })
  }
  for (const partSize of [300_000, 5_000_000]) {
    const make = () => s3Over(storeOf().client(alive), { partSize })({ bucket: "logs" })
    for (const { name, run } of guardSuite(make, { outOfReach })) it(`${name}: in parts of ${partSize} bytes`, run)
  }
})

const DIRECTORY = "/pods/ns_a_uid/app"
const ACTIVE = `${DIRECTORY}/0.log`
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
const text = (from: number, to: number): string => recordsIn("a", from * 8, to * 8)

/** An account of a log of ten records: four in a packed segment, three in a plain one, three in the active file. */
const accountOf = (changes: Partial<Case> = {}): { readonly world: World; readonly account: Account } => {
  const world = new World()
  const facts: Case = {
    world,
    maxFiles: 3,
    keepStopped: 1,
    maxTotal: {},
    pressure: null,
    nowMs: () => 0,
    wallMs: () => 0,
    listedWithinMs: 0,
    inOrder: false,
    store: null,
    incarnation: () => 1,
    suffix: ".packed",
    isEarly: false,
    slowestMs: 0,
    ...changes,
  }
  const account = new Account(facts)
  world.onChange((change) => account.changed(change, "agent"))
  account.begin(ACTIVE)
  account.wrote(ACTIVE, text(0, 10))
  world.put(`${ACTIVE}.20260101-000000.packed`, pack(bytesOf(text(0, 4))))
  world.put(`${ACTIVE}.20260102-000000`, bytesOf(text(4, 7)))
  world.put(ACTIVE, bytesOf(text(7, 10)))
  return { world, account }
}
const found = (
  meddle: (world: World, account: Account) => void,
  changes: Partial<Case> = {},
): ReadonlyArray<string> => {
  const { account, world } = accountOf(changes)
  meddle(world, account)
  account.check()
  return account.violations.map(violationText)
}
const BYTES = "every byte is in one place, in order"

describe("the account", () => {
  it("has nothing to say of a log that is whole", () => {
    expect(found(() => undefined)).toEqual([])
  })
  it("catches a byte that is lost, at the end of a file or in its midst", () => {
    expect([
      found((world) => world.rewrite(ACTIVE, bytesOf(text(7, 10).slice(0, -1)))),
      found((world) => world.rewrite(`${ACTIVE}.20260102-000000`, bytesOf(text(4, 7).slice(1)))),
    ]).toEqual([
      [`${BYTES}: ${ACTIVE}: the last 1 bytes, from 79 on, are missing`],
      [`${BYTES}: ${ACTIVE}: 1 bytes from 32 on are missing before 20260102-000000`],
    ])
  })
  it("catches records that are there twice", () => {
    expect(found((world) => world.put(`${ACTIVE}.20260103-000000`, bytesOf(text(4, 7))))).toEqual([
      `${BYTES}: ${ACTIVE}: 20260103-000000 holds the bytes from 32 on, which come before 56: doubled, or out of order`,
    ])
  })
  it("catches segments that lie in the wrong order", () => {
    expect(
      found((world) => {
        world.rewrite(`${ACTIVE}.20260102-000000`, bytesOf(text(7, 10)))
        world.rewrite(ACTIVE, bytesOf(text(4, 7)))
      }),
    ).toEqual([`${BYTES}: ${ACTIVE}: 24 bytes from 32 on are missing before 20260102-000000`])
  })
  it("catches a name earlier than those that are gone, unless nothing is left that would tell of them", () => {
    const renamed = (isLost: boolean): ReadonlyArray<string> =>
      found(
        (world, account) => {
          const rotated = { type: "Rotated", log: { path: ACTIVE }, data: { to: `${ACTIVE}.20260102-000000` } }
          account.told({ event: rotated as unknown as Envelope, incarnation: 1, generation: 1, atMs: 0 })
          if (isLost) account.journalLost()
          for (const name of ["20260101-000000.packed", "20260102-000000"]) world.unlink(`${ACTIVE}.${name}`)
          world.rename(ACTIVE, `${ACTIVE}.20251231-000000`)
          world.put(ACTIVE, new Uint8Array())
        },
        { maxTotal: { container: 0 } },
      )
    expect([renamed(true), renamed(false)]).toEqual([
      [],
      [`${BYTES}: ${ACTIVE}: 56 bytes from 0 on are missing before 20251231-000000`],
    ])
  })
  it("catches bytes that nobody wrote, and a compressed file that is cut off", () => {
    const path = `${ACTIVE}.20260101-000000.packed`
    expect([
      found((world) => world.rewrite(ACTIVE, bytesOf(text(7, 9) + "rubbish\n"))),
      found((world) => world.rewrite(path, (world.read(path) ?? new Uint8Array()).slice(0, -1))),
    ]).toEqual([
      [`${BYTES}: ${ACTIVE}: the active file holds something else than the bytes from 56 on`],
      [`${BYTES}: ${ACTIVE}: 32 bytes from 0 on are missing before 20260102-000000`],
    ])
  })
  it("catches a file that is renamed over, and one that is removed too soon", () => {
    expect([
      found((world) => world.rename(ACTIVE, `${ACTIVE}.20260102-000000`)).slice(0, 1),
      found((world) => world.unlink(`${ACTIVE}.20260102-000000`)),
      found((world) => world.unlink(`${ACTIVE}.20260101-000000.packed`)),
    ]).toEqual([
      [`no file is overwritten: ${ACTIVE}.20260102-000000: another file has the name of 24 bytes`],
      [
        `only what a limit has no room for is removed: ${ACTIVE}.20260102-000000: removed with no more than 0 newer segments, and 1 are to be kept`,
      ],
      [],
    ])
  })
  const LIMIT = "only what a limit has no room for is removed"
  const MANY = { maxFiles: 9, keepStopped: 1 }
  it("catches the file of a log that is to be kept, though its container has ended, and lets a surplus one go", () => {
    const gone = (...lives: ReadonlyArray<number>): ReadonlyArray<string> =>
      found((world, account) => {
        for (const attempt of lives) {
          const path = `${DIRECTORY}/${attempt}.log`
          account.begin(path, { container: "app", pod: "a", attempt })
          account.wrote(path, text(0, 2))
          world.put(`${path}.20260101-000000`, bytesOf(text(0, 2)))
          account.ended(path)
        }
        world.unlink(`${DIRECTORY}/1.log.20260101-000000`)
      }, MANY)
    const segment = `${DIRECTORY}/1.log.20260101-000000`
    expect([gone(1, 2), gone(1)]).toEqual([
      [],
      [`${LIMIT}: ${segment}: removed with no more than 0 newer segments, and 7 are to be kept`],
    ])
  })
  it("catches a segment removed for a budget that was kept, and lets go of one that wasn't", () => {
    const path = `${ACTIVE}.20260101-000000.packed`
    // 24 and 24 bytes in plain files, 33 in a packed one.
    const gone = (container: number): ReadonlyArray<string> =>
      found((world) => world.unlink(path), { ...MANY, maxTotal: { container } })
    expect([gone(80), gone(81)]).toEqual([
      [],
      [`${LIMIT}: ${path}: removed with no more than 1 newer segments, and 7 are to be kept`],
    ])
  })
  it("catches an active file that is removed, whatever its log holds", () => {
    expect(found((world) => world.unlink(ACTIVE), { ...MANY, maxTotal: { container: 0 } }).slice(0, 1)).toEqual([
      `${BYTES}: ${ACTIVE}: the active file was removed`,
    ])
  })
  it("catches a removal under pressure that leaves less than keepFiles, or that nothing pressed for", () => {
    const path = `${ACTIVE}.20260101-000000.packed`
    const gone = (keepFiles: number, freeBytes: number): ReadonlyArray<string> =>
      found(
        (world, account) => {
          account.foundFree(freeBytes)
          world.unlink(path)
        },
        { ...MANY, pressure: { minFree: 10, targetFree: 20, keepFiles } },
      )
    const told = `${LIMIT}: ${path}: removed with no more than 1 newer segments, and 7 are to be kept; pressure leaves`
    expect([gone(2, 9), gone(3, 9), gone(2, 10)]).toEqual([[], [`${told} 3 files`], [`${told} 2 files`]])
  })
  it("catches a segment that goes unshipped, also if what lies in S3 isn't it, or is there no more", () => {
    const path = `${ACTIVE}.20260101-000000.packed`
    const metadata = { "cordwood-path": ACTIVE, "cordwood-stamp": "20260101-000000" }
    const object = { key: "a", bytes: bytesOf(text(0, 4)), metadata, etag: "", sha256: null, crc32: null, seenMs: 500 }
    const gone = (
      objects: ReadonlyArray<StoredObject>,
      lost: ReadonlyArray<StoredObject> = [],
    ): ReadonlyArray<string> => {
      const store = { objects: new Map(objects.map((one) => [one.key, one])), lost }
      return found((world) => world.unlink(path), { store, nowMs: () => 2_000 })
    }
    const unshipped = [`nothing is removed before it is shipped: ${path}: the store doesn't have its 32 bytes`]
    expect([
      gone([object]),
      gone([{ ...object, key: "a.packed", bytes: pack(object.bytes) }]),
      gone([{ ...object, bytes: bytesOf(text(1, 5)) }]),
      gone([{ ...object, metadata: { ...metadata, "cordwood-stamp": "20260102-000000" } }]),
      gone([], [{ ...object, seenMs: 1_000 }]),
      gone([], [object]),
    ]).toEqual([[], [], unshipped, unshipped, [], unshipped])
  })
  it("catches a removal that no event tells of, and an event of none", () => {
    const { account, world } = accountOf()
    world.unlink(`${ACTIVE}.20260101-000000.packed`)
    account.checkRecords([], { generation: 1, listed: new Set([ACTIVE]) })
    const event = {
      type: "Removed",
      log: { path: ACTIVE },
      data: { path: `${ACTIVE}.20260102-000000`, bytes: 24, reason: "max-files" },
    }
    const entry = { event: event as never, incarnation: 1, generation: 1, atMs: 0 }
    account.checkRecords([entry], { generation: 1, listed: new Set([ACTIVE]) })
    const RECORD = "every removal is on record, and nothing else is"
    const untold = `${RECORD}: ${ACTIVE}.20260101-000000.packed: 33 bytes are gone, by the agent, and no event says so`
    expect(account.violations.map(violationText)).toEqual([
      untold,
      `${RECORD}: ${ACTIVE}.20260102-000000: an event tells of 24 bytes removed (max-files), and that isn't what happened`,
      untold,
    ])
  })
  it("catches a power cut that takes what was durable, and lets it take what wasn't", () => {
    expect(
      found((world, account) => {
        world.sync()
        world.append(ACTIVE, bytesOf(text(10, 11)))
        account.wrote(ACTIVE, text(10, 11))
        account.beforePowerCut()
        world.cutPower(() => 0)
        account.afterPowerCut()
      }),
    ).toEqual([])
    expect(
      found((world, account) => {
        world.sync()
        account.beforePowerCut()
        world.rewrite(ACTIVE, bytesOf(text(7, 9)))
        account.afterPowerCut()
      }),
    ).toEqual([
      `a power cut takes nothing that was durable: ${ACTIVE}: of 24 bytes of the active file, 24 were durable, and 16 are left`,
    ])
  })
  it("catches somebody else's file that is touched", () => {
    const foreign = `${ACTIVE}.backup`
    const [first] = found((world, account) => {
      world.put(foreign, bytesOf("theirs"))
      account.foreign(foreign)
      world.unlink(foreign)
    })
    expect(first).toBe(`what is foreign is left alone: ${foreign}: it has lost its name`)
  })
})

describe("the codec of a simulation", () => {
  it("gives back what it was given, whatever it begins and ends with, and half the size of records", async () => {
    for (const raw of [
      "",
      "\n",
      "12\n",
      text(0, 5),
      text(0, 5).slice(3),
      text(3, 9).slice(0, -2),
      "no record at all",
    ]) {
      expect(new TextDecoder().decode(unpack(pack(bytesOf(raw))))).toBe(raw)
    }
    expect(pack(bytesOf(text(0, 100))).length).toBe(417)
    const whole = pack(bytesOf(text(0, 5)))
    for (let length = 0; length < whole.length; length += 1)
      expect(() => unpack(whole.slice(0, length)), `${length} bytes`).toThrow(/no packed file|cut off|bent/)
    expect(packed.suffix).toBe(".packed")
  })
})
