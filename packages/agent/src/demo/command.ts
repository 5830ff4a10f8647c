/** `demo`, which `npm start` runs: the experiment in a temporary directory, shown while it goes on, with the account at the end. */
import { type Envelope, parseQuantity } from "@cordwood/core"
import { Effect, PubSub, type Scope } from "effect"
import { createLogUpdate } from "log-update"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { eventJson } from "../cli/event-text.ts"
import { SomeFailed } from "../cli/failure.ts"
import { untilSignal } from "../cli/signals.ts"
import { type Colors, colorsFor, print, printJson, say } from "../cli/terminal.ts"
import { type Experiment, type Outcome, startExperiment, WRITERS } from "./experiment.ts"
import { accountText, eventText, picture, type Scene, statusText } from "./view.ts"

export interface DemoInput {
  readonly forMs: number | null
  readonly keep: boolean
  readonly json: boolean
}

/** The settings of the reference experiment. */
const POLICY = { maxSize: "5M", maxFiles: 5 } as const
const INTERVAL = "10s"
const DRAW_EVERY_MS = 200
const STATUS_EVERY_MS = 5_000
/** As many events as any terminal has room for. */
const MAX_RECENT = 50

export const demo = ({ forMs, json, keep }: DemoInput) =>
  Effect.scoped(
    Effect.gen(function* () {
      const place = yield* temporaryDirectory
      const experiment = yield* startExperiment({
        directory: place.path,
        writers: WRITERS,
        policy: POLICY,
        interval: INTERVAL,
      })
      const startedMs = performance.now()
      const scene = (): Scene => ({
        maxSize: bytesOf(POLICY.maxSize),
        maxFiles: POLICY.maxFiles,
        interval: INTERVAL,
        elapsedMs: performance.now() - startedMs,
        forMs,
      })
      const live = process.stdout.isTTY === true && process.env["TERM"] !== "dumb" && !json
      const show = json ? showJson : live ? showLive : showPlain
      const shown = yield* show(experiment, scene, place.path)
      const end = forMs === null ? Effect.never : Effect.sleep(forMs)
      yield* untilSignal(Effect.raceFirst(end, experiment.ended), { hangUp: true })
      const elapsedMs = performance.now() - startedMs
      yield* shown.draw
      if (live) print("\nThe writers are stopped; every line is being counted…")
      const outcome = yield* experiment.settle
      yield* shown.end
      if (!outcome.complete) place.keep()
      if (json) printOutcome(outcome)
      else print(`\n${accountText(outcome, elapsedMs, colorsFor(process.stdout))}`)
      if (keep) place.keep()
      if (place.kept()) say(`The logs are in ${place.path}`)
      if (!outcome.complete) return yield* Effect.fail(new SomeFailed())
    }),
  )

const bytesOf = (quantity: string): number => {
  const parsed = parseQuantity(quantity)
  return parsed.ok ? parsed.value : 0
}

/** A directory that goes when the demo does, however it ends, unless it is to be kept. */
const temporaryDirectory = Effect.acquireRelease(
  Effect.sync(() => {
    const path = mkdtempSync(join(tmpdir(), "cordwood-demo-"))
    let kept = false
    const remove = (): void => {
      if (!kept) rmSync(path, { recursive: true, force: true, maxRetries: 3 })
    }
    // For the second Ctrl-C, which waits for nothing.
    process.once("exit", remove)
    return {
      path,
      keep: () => {
        kept = true
      },
      kept: () => kept,
      remove,
    }
  }),
  ({ remove }) => Effect.sync(remove),
)

interface Shown {
  /** Shows the state of this moment. */
  readonly draw: Effect.Effect<void>
  readonly end: Effect.Effect<void>
}
type Show = (experiment: Experiment, scene: () => Scene, directory: string) => Effect.Effect<Shown, never, Scope.Scope>

/** Calls `take` with every event, in a fiber of its own. */
const eachEvent = (experiment: Experiment, take: (event: Envelope) => void): Effect.Effect<void, never, Scope.Scope> =>
  PubSub.take(experiment.events).pipe(Effect.map(take), Effect.forever, Effect.forkScoped, Effect.asVoid)
/** Events that came while nobody took them. */
const leftOver = (experiment: Experiment, take: (event: Envelope) => void): Effect.Effect<void> =>
  Effect.gen(function* () {
    while ((yield* PubSub.remaining(experiment.events)) > 0) take(yield* PubSub.take(experiment.events))
  })
const every = (ms: number, act: () => void): Effect.Effect<void, never, Scope.Scope> =>
  Effect.sleep(ms).pipe(Effect.andThen(Effect.sync(act)), Effect.forever, Effect.forkScoped, Effect.asVoid)

const showJson: Show = (experiment) => {
  const take = (event: Envelope): void => printJson(eventJson(event))
  return Effect.as(eachEvent(experiment, take), { draw: Effect.void, end: leftOver(experiment, take) })
}

const showPlain: Show = (experiment, scene, directory) =>
  Effect.gen(function* () {
    const colors = colorsFor(process.stdout)
    const names = new Map(experiment.now().map(({ name, path }) => [path, name]))
    const take = (event: Envelope): void => {
      if (isNews(event)) print(eventText(event, names, Number.MAX_SAFE_INTEGER, colors))
    }
    print(introduction(scene(), directory))
    yield* eachEvent(experiment, take)
    yield* every(STATUS_EVERY_MS, () => print(statusText(scene(), experiment.now())))
    return { draw: Effect.sync(() => print(statusText(scene(), experiment.now()))), end: leftOver(experiment, take) }
  })

const showLive: Show = (experiment, scene) =>
  Effect.gen(function* () {
    const colors: Colors = colorsFor(process.stdout)
    const update = createLogUpdate(process.stdout, { showCursor: false })
    const recent: Array<Envelope> = []
    const draw = (): void => {
      const { columns: width = 80, rows: height = 24 } = process.stdout
      update(picture(scene(), experiment.now(), recent, { width, height }, colors))
    }
    yield* eachEvent(experiment, (event) => {
      if (isNews(event)) recent.push(event)
      if (recent.length > MAX_RECENT) recent.shift()
    })
    yield* Effect.addFinalizer(() => Effect.sync(() => update.done()))
    let over = false
    yield* every(DRAW_EVERY_MS, () => {
      if (!over) draw()
    })
    const last = Effect.sync(() => {
      over = true
      draw()
      update.done()
    })
    return { draw: last, end: Effect.void }
  })

/** What a scan saw is in the picture already. */
const isNews = ({ type }: Envelope): boolean => type !== "Scanned"

const introduction = ({ forMs, interval, maxFiles, maxSize }: Scene, directory: string): string =>
  `${WRITERS.length} writers of numbered lines in ${directory}, rotated at ${maxSize} bytes to ${maxFiles} files, interval ${interval}; ${forMs === null ? "Ctrl-C ends it" : `for ${forMs / 1_000} s`}`

const printOutcome = ({ accounts, ...rest }: Outcome): void => {
  for (const account of accounts) printJson({ type: "demo.Account", ...account })
  printJson({ type: "demo.Outcome", ...rest })
}
