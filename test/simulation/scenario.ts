/**
 * What is going to happen in one simulation: data only, drawn from a seed. What is here can be printed, cut down and run again; how it is run is
 * run.ts, and what must hold is account.ts.
 */
import type { Operation } from "@cordwood/core/testing"
import { Chance } from "./chance.ts"
import type { JournalMood } from "./kept-journal.ts"
import type { Blow, Mood, Request, Traits } from "./object-store.ts"
import { RECORD_BYTES } from "./records.ts"

/** From a moment on the writer writes so many records at a time, so often. */
export interface Speed {
  readonly fromMs: number
  readonly everyMs: number
  readonly records: number
}
export interface Container {
  readonly name: string
  /** `prompt`: reopens when told, and at once. `late`: makes the file at once, and goes on with the old one for so long. */
  readonly reopens: "prompt" | "late"
  readonly lateMs: number
  readonly speeds: ReadonlyArray<Speed>
}

/** `after` and `hang` take effect, `before` and `silent` don't; `hang` and `silent` never answer. */
export type Trouble = "before" | "after" | "hang" | "silent" | "crash-before" | "crash-after"
export type TroubledOperation = Operation | "journal.append"
export type TroubleReason = "Io" | "NoSpace" | "ReadOnly" | "Denied" | "Busy"

/** Something that happens at a moment, milliseconds from the beginning. */
export type Happening = { readonly atMs: number } & (
  | {
      readonly _tag: "Trouble"
      readonly operation: TroubledOperation
      readonly trouble: Trouble
      readonly reason: TroubleReason
      /** How many operations of that kind from then on. */
      readonly times: number
    }
  | { readonly _tag: "Kill"; readonly downMs: number }
  | { readonly _tag: "Stop"; readonly downMs: number }
  | { readonly _tag: "PowerCut"; readonly downMs: number; readonly chance: number }
  | { readonly _tag: "ClockStep"; readonly stepMs: number }
  | { readonly _tag: "DaylightSaving"; readonly isOver: boolean }
  | { readonly _tag: "DiskFull"; readonly leftBytes: number; readonly forMs: number }
  | { readonly _tag: "ReadOnly"; readonly forMs: number }
  | { readonly _tag: "Journal"; readonly mood: JournalMood; readonly forMs: number }
  | { readonly _tag: "JournalLost"; readonly isNoticed: boolean }
  | { readonly _tag: "Store"; readonly mood: Mood; readonly forMs: number }
  | ({ readonly _tag: "StoreBlow" } & Blow)
  | { readonly _tag: "StoreEmptied" }
  | { readonly _tag: "RuntimeDown"; readonly forMs: number }
  | { readonly _tag: "ContainerRestart"; readonly name: string; readonly downMs: number }
  | { readonly _tag: "ContainerStop"; readonly name: string }
  | { readonly _tag: "ContainerVanish"; readonly name: string }
  | { readonly _tag: "Foreign"; readonly name: string; readonly what: Foreign }
  | { readonly _tag: "Taken"; readonly name: string }
)
export type Foreign = "backup" | "unknown-suffix" | "future" | "link" | "directory" | "pipe"

/** How segments are shipped, and to what. */
export interface Shipping extends Traits {
  /** As soon as a segment is closed. */
  readonly early: boolean
  /** Bytes; null: nothing is as large as what goes in parts. */
  readonly partSize: number | null
  readonly concurrency: number
  /** Plain segments are compressed on their way. */
  readonly compresses: boolean
  readonly breaker: { readonly failures: number; readonly cooldownMs: number }
  /** How long the guard may take to answer, milliseconds; null: as long as it asks for. */
  readonly limitMs: number | null
}

export interface Scenario {
  readonly seed: number
  readonly policy: {
    readonly maxSize: number
    readonly maxFiles: number
    readonly compression: "packed" | "none"
    readonly keepStopped: number
    readonly maxTotal?: { readonly container?: number; readonly pod?: number }
    readonly pressure?: { readonly minFree: number; readonly targetFree: number; readonly keepFiles: number }
  }
  /** Bytes that the disk holds while it isn't full for another reason; null: more than will ever be written. */
  readonly capacityBytes: number | null
  /** The containers are of one pod rather than of one each. */
  readonly isOnePod: boolean
  /** The runtime forgets a container that has ended once a later one of its name has, too. */
  readonly forgets: boolean
  readonly intervalMs: number
  readonly workers: number
  /** Null: nothing is shipped. */
  readonly shipping: Shipping | null
  /** `run`: as a daemon. `once`: a pass at every interval, each by an agent of its own. */
  readonly mode: "run" | "once"
  /** The longest that an act on the disk takes, milliseconds; most take far less. */
  readonly slowestMs: number
  /** How long the runtime may take to have a writer reopen, milliseconds: then its source gives up, if the agent hasn't. */
  readonly reopenLimitMs: number
  readonly containers: ReadonlyArray<Container>
  /** In order of time. */
  readonly happenings: ReadonlyArray<Happening>
  /** After this all faults are over, and the writers stop. */
  readonly durationMs: number
}

/** 2026-09-09T04:33:10Z: what the time of day is at the beginning. */
export const START_MS = Date.parse("2026-09-09T04:33:10Z")
const HOUR_MS = 3_600_000
const SHARED = 0x5a4ed
const SCARCE = 0xc4a54
const SHIPS = 0x53417

export const scenarioOf = (seed: number): Scenario => {
  const chance = new Chance(seed ^ SCARCE)
  const scenario = anyOf(seed)
  const share = chance.below(100)
  return share < 6 ? crashLoopOf(scenario, chance) : share < 12 ? fillingUpOf(scenario, chance) : scenario
}

/** Containers that end again and again on a node where nothing else fails, and little room for what they leave. */
const crashLoopOf = (scenario: Scenario, chance: Chance): Scenario => {
  const { containers, durationMs, policy } = scenario
  const names = containers.map(({ name }) => name)
  const restarts = Array.from({ length: chance.between(2, 7) }, () =>
    restartOf(chance, chance.below(durationMs), names),
  )
  const container = policy.maxSize * chance.one([1, 1.5, 2, 3])
  const pod = container * chance.one([1, 1.5, 2])
  return {
    ...scenario,
    policy: {
      ...policy,
      keepStopped: chance.between(1, 4),
      maxTotal: chance.percent(60) ? { container } : { container, pod },
    },
    shipping: null,
    slowestMs: 0,
    happenings: restarts.toSorted((a, b) => a.atMs - b.atMs),
  }
}

/** A small disk that several logs share, and nothing else that fails. */
const fillingUpOf = (scenario: Scenario, chance: Chance): Scenario => {
  const { durationMs, policy } = scenario
  const { compression, keepStopped, maxFiles, maxSize } = policy
  const names = ["a", "b", "c"]
  const minFree = maxSize * chance.one([0.5, 1, 2])
  const targetFree = minFree * chance.one([1, 1.5, 2])
  return {
    ...scenario,
    containers: names.map((name) => containerOf(chance, name, maxSize, durationMs)),
    policy: {
      compression,
      keepStopped,
      maxFiles,
      maxSize,
      pressure: { minFree, targetFree, keepFiles: chance.one([1, 1, 2]) },
    },
    capacityBytes: targetFree + names.length * maxSize * chance.one([1, 1.5, 2]),
    shipping: null,
    slowestMs: chance.one([0, 5, 50]),
    happenings: [],
  }
}

const anyOf = (seed: number): Scenario => {
  const chance = new Chance(seed)
  // Of its own, so that a seed brings about what it did before there was any of this.
  const shared = new Chance(seed ^ SHARED)
  const durationMs = chance.between(4, 25) * 1_000
  const intervalMs = chance.one([500, 1_000, 2_000, 5_000])
  const maxSize = chance.one([10, 20, 40, 80]) * RECORD_BYTES
  const names = ["a", "b", "c"].slice(0, chance.one([1, 1, 1, 2, 2, 3]))
  const containers = names.map((name) => containerOf(chance, name, maxSize, durationMs))
  const ships = new Chance(seed ^ SHIPS)
  const shipping = chance.percent(40) ? { early: chance.percent(50), ...shippingOf(ships, maxSize) } : null
  const calm = chance.percent(5)
  const amount = calm ? 0 : chance.one([1, 2, 3, 5, 8, 13])
  const happenings = Array.from({ length: amount }, () =>
    happeningOf(chance, chance.below(durationMs), names, { ships: shipping !== null }),
  )
  const limits = sharedLimitsOf(shared, maxSize)
  const room = shared.one([1.5, 2, 3, 4])
  const restarts = shared.percent(calm ? 20 : 45) ? shared.between(1, 5) : 0
  const more = Array.from({ length: restarts }, () => restartOf(shared, shared.below(durationMs), names))
  const outages = shipping === null || calm || ships.percent(30) ? 0 : ships.between(1, 5)
  const troubles = Array.from({ length: outages }, () =>
    outageOf(ships, ships.below(durationMs), shipping?.partSize === null),
  )
  return {
    seed,
    policy: {
      maxSize,
      maxFiles: chance.one([2, 2, 3, 3, 4, 5]),
      compression: chance.percent(90) ? "packed" : "none",
      ...limits,
    },
    intervalMs,
    workers: chance.between(1, 2),
    shipping,
    mode: chance.percent(6) ? "once" : "run",
    slowestMs: calm ? 0 : chance.one([0, 0, 5, 50, 500, 2_000]),
    reopenLimitMs: chance.one([10_000, 90_000]),
    containers,
    happenings: [...happenings, ...more, ...troubles].toSorted((a, b) => a.atMs - b.atMs),
    durationMs,
    capacityBytes: shared.percent(limits.pressure === undefined ? 10 : 70) ? names.length * maxSize * room : null,
    isOnePod: shared.percent(50),
    forgets: shared.percent(50),
  }
}

const restartOf = (chance: Chance, atMs: number, names: ReadonlyArray<string>): Happening => ({
  atMs,
  _tag: "ContainerRestart",
  name: names[chance.below(names.length)] ?? "a",
  downMs: chance.one([0, 200, 1_000, 4_000]),
})

const shippingOf = (chance: Chance, maxSize: number): Omit<Shipping, "early"> => ({
  keeps: chance.one(["checksums", "checksums", "md5", "nothing"]),
  hides: chance.percent(25),
  attempts: chance.one([1, 2, 4]),
  patienceMs: chance.one([500, 2_000, 5_000]),
  partSize: chance.one([null, maxSize / 2, maxSize / 4]),
  concurrency: chance.one([1, 2, 2, 4]),
  compresses: chance.percent(40),
  breaker: { failures: chance.one([1, 2, 5]), cooldownMs: chance.one([1_000, 30_000]) },
  limitMs: chance.one([null, null, 2_500]),
})

/** Most of what is asked while a segment is shipped changes something, in one request or in several. */
const WHOLE = ["HeadObject", "PutObject", "PutObject", "GetObject"] as const satisfies ReadonlyArray<Request>
const IN_PARTS = [
  "PutObject",
  "ListMultipartUploads",
  "CreateMultipartUpload",
  "UploadPart",
  "UploadPart",
  "AbortMultipartUpload",
  "CompleteMultipartUpload",
  "CompleteMultipartUpload",
] as const satisfies ReadonlyArray<Request>

const outageOf = (chance: Chance, atMs: number, isWhole: boolean): Happening => {
  const share = chance.below(100)
  if (share < 15) return { atMs, _tag: "StoreEmptied" }
  const mood = chance.one(["refuses", "hangs", "silent", "silent", "slow", "late", "flaky", "bends"] as const)
  if (share < 40) return { atMs, _tag: "Store", mood, forMs: secondsOf(chance) }
  const request = chance.one<Request>(isWhole ? WHOLE : IN_PARTS)
  const times = chance.one([1, 2, 4])
  return { atMs: atMs / 2, _tag: "StoreBlow", request, mood: chance.percent(30) ? "crash" : mood, times }
}

/** The limits that logs share. */
const sharedLimitsOf = (
  chance: Chance,
  maxSize: number,
): Pick<Scenario["policy"], "keepStopped" | "maxTotal" | "pressure"> => {
  const keepStopped = chance.one([0, 1, 1, 2])
  const container = maxSize * chance.one([1, 2, 3, 5])
  const pod = maxSize * chance.one([1, 2, 4, 8])
  const limited = chance.below(100)
  const minFree = maxSize * chance.one([0.5, 1, 3])
  const pressure = { minFree, targetFree: minFree * chance.one([1, 1.5, 3]), keepFiles: chance.one([1, 1, 2, 3]) }
  return {
    keepStopped,
    ...(limited < 40 ? { maxTotal: limited < 15 ? { container } : limited < 25 ? { pod } : { container, pod } } : {}),
    ...(chance.percent(45) ? { pressure } : {}),
  }
}

const containerOf = (chance: Chance, name: string, maxSize: number, durationMs: number): Container => {
  const phases = chance.between(1, 3)
  const starts = Array.from({ length: phases }, (_, at) => (at === 0 ? 0 : chance.below(durationMs)))
  return {
    name,
    reopens: chance.percent(80) ? "prompt" : "late",
    lateMs: chance.one([10, 300, 1_500, 4_000]),
    speeds: starts.toSorted((a, b) => a - b).map((fromMs) => speedOf(chance, fromMs, maxSize)),
  }
}

/** From nothing at all to one that fills its file several times a second. */
const speedOf = (chance: Chance, fromMs: number, maxSize: number): Speed => {
  const records = maxSize / RECORD_BYTES
  switch (chance.below(6)) {
    case 0:
      return { fromMs, everyMs: 60_000, records: 0 }
    case 1:
      return { fromMs, everyMs: 7_000, records: chance.between(1, 4) }
    case 2:
      return { fromMs, everyMs: 1_000, records: Math.max(1, Math.floor(records / 20)) }
    case 3:
      return { fromMs, everyMs: 500, records: Math.max(1, Math.floor(records / 10)) }
    case 4:
      return { fromMs, everyMs: 250, records: Math.max(1, Math.floor(records / 4)) }
    default:
      return { fromMs, everyMs: 700, records: records * chance.between(1, 2) }
  }
}

const OPERATIONS = [
  "list",
  "setAside",
  "setAside.reserved",
  "setAside.sync",
  "putBack",
  "putBack.sync",
  "putBack.linked",
  "putBack.synced",
  "remove",
  "remove.sync",
  "compress",
  "compress.write",
  "compress.sync",
  "compress.source",
  "compress.rename",
  "compress.renamed",
  "matches",
  "matches.sync",
] as const satisfies ReadonlyArray<Operation>

const secondsOf = (chance: Chance): number => chance.one([500, 2_000, 5_000, 12_000])

const happeningOf = (
  chance: Chance,
  atMs: number,
  names: ReadonlyArray<string>,
  { ships }: { readonly ships: boolean },
): Happening => {
  const name = names[chance.below(names.length)] ?? "a"
  const reason = chance.one(["Io", "NoSpace", "ReadOnly", "Denied", "Busy"] as const)
  const times = chance.one([1, 1, 1, 2, 4])
  const downMs = chance.one([0, 200, 1_000, 4_000])
  const forMs = secondsOf(chance)
  const trouble = (operation: TroubledOperation, trouble: Trouble): Happening => ({
    atMs,
    _tag: "Trouble",
    operation,
    trouble,
    reason,
    times,
  })
  const share = chance.below(100)
  if (share < 14) {
    return trouble("reopen", chance.one(["before", "after", "hang", "silent", "crash-before", "crash-after"] as const))
  }
  if (share < 30) {
    const operation = chance.one(OPERATIONS)
    // A removal that took effect is never told as one that failed: the port says so.
    return trouble(operation, operation === "remove" ? "before" : chance.one(["before", "after"] as const))
  }
  if (share < 44) return trouble(chance.one(OPERATIONS), chance.one(["crash-before", "crash-after"] as const))
  if (share < 47) return trouble(chance.one(OPERATIONS), "hang")
  if (share < 50) return trouble("journal.append", chance.one(["crash-before", "crash-after"] as const))
  if (share < 52) return trouble("sourceList", chance.one(["before", "hang", "crash-before"] as const))
  if (share < 58) return { atMs, _tag: "Kill", downMs }
  if (share < 61) return { atMs, _tag: "Stop", downMs }
  if (share < 69) return { atMs, _tag: "PowerCut", downMs, chance: chance.below(2 ** 31) }
  if (share < 70) return { atMs, _tag: "DaylightSaving", isOver: chance.percent(50) }
  if (share < 73) {
    const stepMs = chance.one([-HOUR_MS, HOUR_MS, -90_000, 45_000, -1_000, 1_000, -24 * HOUR_MS])
    return { atMs, _tag: "ClockStep", stepMs }
  }
  if (share < 78) return { atMs, _tag: "DiskFull", leftBytes: chance.one([0, 12, 100, 300]), forMs }
  if (share < 80) return { atMs, _tag: "ReadOnly", forMs }
  if (share < 84) return { atMs, _tag: "Journal", mood: chance.one(["unopenable", "full", "deaf"] as const), forMs }
  if (share < 86) return { atMs, _tag: "JournalLost", isNoticed: chance.percent(50) }
  if (share < 90 && ships) {
    return { atMs, _tag: "Store", mood: chance.one(["refuses", "hangs", "silent", "slow"] as const), forMs }
  }
  if (share < 92) return { atMs, _tag: "RuntimeDown", forMs }
  if (share < 95) return { atMs, _tag: "ContainerRestart", name, downMs }
  if (share < 96) return { atMs, _tag: "ContainerStop", name }
  if (share < 97) return { atMs, _tag: "ContainerVanish", name }
  if (share < 99) {
    const what = chance.one(["backup", "unknown-suffix", "future", "link", "directory", "pipe"] as const)
    return { atMs, _tag: "Foreign", name, what }
  }
  return { atMs, _tag: "Taken", name }
}
