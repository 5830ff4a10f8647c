/**
 * When what logs share becomes scarce: looks at how much is free on each of their file systems, says which segments must go, and tells the
 * operator when that begins, ends, or comes to nothing. Removes nothing, and begins no pass: whoever looks begins those that `Holdings` names.
 */
import { failureKey, directoryOf, formatBytes, isPressing, type PressureLimits, type Relief } from "@cordwood/core"
import { Clock, Effect } from "effect"
import { monotonicMs } from "../clock.ts"
import { holdingNow } from "../pass/guarded.ts"
import type { Explained } from "../pass/pass-record.ts"
import type { PassPorts, Tally } from "../pass/watched.ts"
import { newPace, observe, type Pace } from "./pace.ts"

/** Free space is asked for this often while it is scarce, and at the least. */
const LOOK_MS = 1_000
/** It is asked for sooner when it shrinks fast; more often than this would be work for nothing, as it takes time to remove anything. */
const MIN_LOOK_MS = 100
/** Logs of a file system that are asked how much is free, if one after the other can't say: their directories may be gone. */
const MAX_ASKED = 5
/** Free space and what is taken add up to this, as far as `Pace` is concerned. */
const WHOLE = Number.MAX_SAFE_INTEGER

/** What is known of a file system from look to look. */
interface State {
  readonly pace: Pace
  pressing: boolean
  /** Since when nothing more can go, though something should, in monotonic milliseconds; null if that isn't so. */
  helplessMs: number | null
  told: boolean
  /** So little is free that guards are overruled. */
  desperate: boolean
}

const newState = (): State => ({
  pace: newPace(),
  pressing: false,
  helplessMs: null,
  told: false,
  desperate: false,
})

export interface Shedding {
  /**
   * Brings what `Holdings` says up to date, and tells in how many milliseconds to look again. What is beyond a budget, or can't be helped, must have been
   * so for `patienceMs`: what is about to be compressed, or not scanned yet, may change it. Problems go to `tally`.
   */
  readonly look: (tally: Pick<Tally, "problems">, patienceMs: number) => Effect.Effect<number>
}
export const makeShedding = (ports: PassPorts): Shedding => {
  const { holdings } = ports
  const states = new Map<string, State>()

  const lookAt = (
    limits: PressureLimits,
    fileSystem: string,
    logs: Iterable<string>,
    tally: Pick<Tally, "problems">,
    patienceMs: number,
  ): Effect.Effect<number> =>
    Effect.gen(function* () {
      const found = yield* freeFor(ports, logs)
      if (found === null) return LOOK_MS
      const nowMs = yield* monotonicMs
      const free = ports.freeing.withOwed(found, nowMs, fileSystem)
      const state = states.get(fileSystem) ?? newState()
      states.set(fileSystem, state)
      const { minFree, targetFree = minFree } = limits
      observe(state.pace, WHOLE - free, nowMs, WHOLE - minFree, LOOK_MS)
      if (!isPressing(free, state.pressing, limits)) {
        if (state.pressing) yield* ended(state, fileSystem, free)
        return Math.max(MIN_LOOK_MS, state.pace.nextLookMs - nowMs)
      }
      const relief = holdings.relieve(fileSystem, targetFree - free, yield* holdingNow(ports))
      const isHelpless = relief.missingBytes === targetFree - free
      if (isHelpless && free >= minFree) {
        if (state.pressing) yield* ended(state, fileSystem, free)
        return LOOK_MS
      }
      const place = placeOf(holdings.fileSystems.get(fileSystem) ?? [])
      const scarce = `${formatBytes(free)} are free on the file system of ${place}, and policy.pressure.minFree is ${formatBytes(minFree)}`
      if (!state.pressing) {
        state.pressing = true
        yield* Effect.logWarning(`${scarce}; ${whatGoes(relief, targetFree)}`)
      }
      state.helplessMs = isHelpless ? (state.helplessMs ?? nowMs) : null
      if (state.helplessMs !== null && !state.told && nowMs - state.helplessMs >= patienceMs) {
        state.told = true
        yield* helpless(place, scarce, relief, tally)
      }
      // Of what guards keep, the oldest of each log gives way by itself once its pass has seen how little is left.
      const { minFree: leastFree, onPressure } = ports.deferred
      const desperate = onPressure === "drop" && leastFree !== undefined && free < leastFree
      if (desperate && !state.desperate) holdings.urge(fileSystem)
      state.desperate = desperate
      return LOOK_MS
    })

  const ended = (state: State, fileSystem: string, free: number): Effect.Effect<void> =>
    Effect.suspend(() => {
      const place = placeOf(holdings.fileSystems.get(fileSystem) ?? [])
      // The next time it is news.
      if (state.told) ports.recorder.forget(place)
      state.pressing = false
      state.helplessMs = null
      state.told = false
      state.desperate = false
      holdings.ease(fileSystem)
      return Effect.logWarning(
        `${formatBytes(free)} are free on the file system of ${place}: no more segments go for policy.pressure`,
      )
    })

  const helpless = (
    place: string,
    scarce: string,
    { keptBytes }: Relief,
    tally: Pick<Tally, "problems">,
  ): Effect.Effect<void> =>
    Effect.gen(function* () {
      const guards = "mend what the guards wait for, or let it give way: policy.deferred.onPressure: drop"
      const failure: Explained = {
        reason: "NoSpace",
        message: `nothing more can go: ${scarce}${keptBytes > 0 ? `; ${formatBytes(keptBytes)} would go, and are kept for now` : ""}`,
        hint: `${keptBytes > 0 ? `${guards}; or ` : ""}free space there, or lower policy.maxSize, policy.maxFiles or policy.pressure.keepFiles`,
      }
      tally.problems.push({ path: place, step: "remove", ...failure })
      yield* Effect.logWarning(`${failure.message}; ${failure.hint}`)
      // An agent that is run anew, and anew, says it once.
      const known = ports.recorder.state(place).failing.get(failureKey("remove", place))
      if (known?.reason === failure.reason) return
      yield* ports.recorder.record(
        { path: place },
        { type: "Failed", data: { step: "remove", path: place, ...failure } },
        { correlationId: ports.newId(), causationId: null },
      )
    })

  return {
    look: (tally, patienceMs) =>
      Effect.gen(function* () {
        holdings.weigh(yield* monotonicMs, patienceMs, yield* holdingNow(ports), "first")
        const { pressure } = holdings
        if (pressure === undefined) return LOOK_MS
        const { fileSystems } = holdings
        for (const key of states.keys()) if (!fileSystems.has(key)) states.delete(key)
        let waitMs = LOOK_MS
        for (const [key, logs] of fileSystems) {
          waitMs = Math.min(waitMs, yield* lookAt(pressure, key, logs, tally, patienceMs))
        }
        return waitMs
      }),
  }
}

/** What is free where the logs are; null if that can't be told: then it can't be a reason to lose a log. */
const freeFor = ({ files }: Pick<PassPorts, "files">, logs: Iterable<string>): Effect.Effect<number | null> =>
  Effect.gen(function* () {
    let asked = 0
    for (const path of logs) {
      const free = yield* Effect.result(files.free(path))
      if (free._tag === "Success") return free.success
      asked += 1
      if (asked === MAX_ASKED) break
    }
    return null
  })

/** Has `Holdings` say what must go as of now, for a plan: tells nobody, and has no patience. */
export const weighNow = (ports: Pick<PassPorts, "files" | "holdings">): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { holdings } = ports
    const now = { timeMs: yield* Clock.currentTimeMillis, isKept: () => false }
    holdings.weigh(0, 0, now, "all")
    const { pressure } = holdings
    if (pressure === undefined) return
    const { minFree, targetFree = minFree } = pressure
    for (const [fileSystem, logs] of holdings.fileSystems) {
      const free = yield* freeFor(ports, logs)
      if (free !== null && isPressing(free, false, pressure)) holdings.relieve(fileSystem, targetFree - free, now)
    }
  })

const whatGoes = ({ keptBytes, sheds }: Relief, targetFree: number): string => {
  if (sheds.length === 0) return "no segment may go"
  const logs = new Set(sheds.map(({ path }) => path)).size
  const bytes = sheds.reduce((sum, { bytes }) => sum + bytes, 0)
  const kept = keptBytes > 0 ? ` (${formatBytes(keptBytes)} of it kept for now)` : ""
  return `${counted(sheds.length, "segment")} of ${counted(logs, "log")}, ${formatBytes(bytes)}${kept}, will go for ${formatBytes(targetFree)} to be free`
}
const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? "" : "s"}`

/** The directory that all of them are below. */
const placeOf = (paths: Iterable<string>): string => {
  let place: string | null = null
  for (const path of paths) {
    place ??= directoryOf(path)
    while (place !== "/" && !path.startsWith(`${place}/`)) place = directoryOf(place)
  }
  return place ?? "/"
}
