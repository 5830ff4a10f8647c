/**
 * The library entry: an agent composed in code. Effect users take the layer; everybody else `Agent.make`, which speaks promises.
 * Nothing is opened before it is needed, and `plan` never touches the journal.
 */
import { randomUUID } from "node:crypto"
import {
  type Composed,
  type DecodeOptions,
  type Envelope,
  type Host,
  Journal,
  type JournalError,
  limitsOf,
  type Log,
  LogFiles,
  NO_COMPRESSION,
  type Policy,
  policyFor,
  type Source,
  type Step,
} from "@cordwood/core"
import { journalKeeper, nodeLogFiles, setAsideJournal, sqliteJournal } from "@cordwood/fs-adapter"
import { gzip } from "@cordwood/plugin-gzip"
import { Cause, Clock, Context, Effect, Exit, Layer, PubSub, Scope, Semaphore } from "effect"
import * as z from "zod"
import { AgentError } from "./agent-error.ts"
import { type AgentOptions, Settings } from "./agent-options.ts"
import { notRegular, planNow, scan } from "./pass/pass.ts"
import { Holdings } from "./pass/holdings.ts"
import { type Applied, Freeing, type PassPorts, Waiting, watch, writersOf } from "./pass/watched.ts"
import type { DrainReport, PassReport, PlannedLog, PlanReport, Problem } from "./pass/report.ts"
import { configHashOf } from "./plugin/config-hash.ts"
import { setUpPlugins, tellObservers } from "./plugin/host.ts"
import { logsFrom } from "./source/logs-from.ts"
import { makeRecorder } from "./record/recorder.ts"
import { drainAll, keepPassing, passOverAll, type SchedulerOptions } from "./schedule/scheduler.ts"
import { weighNow } from "./schedule/shedding.ts"
import { verifyJournal } from "./verify/record.ts"
import { repairing } from "./verify/repair.ts"
import type { VerifyOptions, VerifyReport } from "./verify/report.ts"
import { verifyAll } from "./verify/verify.ts"
import { version } from "./version.ts"

export type { DrainReport, PassReport, PlannedLog, PlanReport, Problem } from "./pass/report.ts"

export interface AgentShape {
  /** One pass over every log, upkeep included. A log that fails is in the report; only what stops the agent is an error. */
  readonly once: Effect.Effect<PassReport, AgentError>
  /** `once`, and then every guard is asked about every closed segment, so that what can be shipped is. Removes no more than `once` does. */
  readonly drain: Effect.Effect<DrainReport, AgentError>
  /** What `once` would do. Reads directories only. */
  readonly plan: Effect.Effect<PlanReport, AgentError>
  /**
   * Reads every segment to its end, and holds what is on disk against the journal. Changes nothing, also beside a running agent; with `repair` it mends what
   * it can without losing a byte, and fails while another agent keeps the journal.
   */
  readonly verify: (options?: VerifyOptions) => Effect.Effect<VerifyReport, AgentError>
  /** Passes until it is interrupted; then it finishes the steps in hand and ends. */
  readonly run: Effect.Effect<never, AgentError>
  /** Every event from now on, after it was stored. A subscriber that lags behind misses the oldest ones, and sees so by `position`. */
  readonly subscribe: Effect.Effect<PubSub.Subscription<Envelope>, AgentError, Scope.Scope>
  /** What is needed to read this agent's events, those of its plugins included. */
  readonly decoding: Effect.Effect<DecodeOptions, AgentError>
}

/** What may be put in the place of the real disk, journal and identifiers: by tests and simulations. */
export interface AgentPorts {
  readonly files: Layer.Layer<LogFiles>
  readonly journal: (settings: Settings["journal"], decode: DecodeOptions) => Layer.Layer<Journal, JournalError>
  readonly newId: () => string
}
const realPorts: AgentPorts = {
  files: nodeLogFiles,
  journal: ({ keep, maxSize, path }, decode) => sqliteJournal({ path, keepMs: keep, maxBytes: maxSize, decode }),
  newId: randomUUID,
}

/** What promise users get. Each call opens what it needs and has closed it when its promise settles. */
export interface PromiseAgent {
  readonly once: (options?: Pick<CallOptions, "onEvent">) => Promise<PassReport>
  readonly drain: (options?: Pick<CallOptions, "onEvent">) => Promise<DrainReport>
  readonly plan: () => Promise<PlanReport>
  /** Rejects once `signal` is aborted. */
  readonly verify: (options?: VerifyOptions & Pick<CallOptions, "signal">) => Promise<VerifyReport>
  /** Resolves once `signal` is aborted and the steps in hand are done. Without a signal it never does. */
  readonly run: (options?: CallOptions) => Promise<void>
}
export interface CallOptions {
  readonly signal?: AbortSignal
  /** Called with every event after it was stored. What it throws is ignored. */
  readonly onEvent?: (event: Envelope) => void
}

export class Agent extends Context.Service<Agent, AgentShape>()("@cordwood/agent/Agent") {
  static layer(options: AgentOptions, ports: AgentPorts = realPorts): Layer.Layer<Agent, AgentError> {
    return Layer.effect(Agent, makeAgent(options, ports))
  }
  static make(options: AgentOptions): PromiseAgent {
    return promises(makeAgent(options, realPorts))
  }
}

interface Prepared {
  readonly sources: ReadonlyArray<Source>
  readonly plugins: Composed
  readonly policyFor: PassPorts["policyFor"]
}

const makeAgent = (options: AgentOptions, ports: AgentPorts): Effect.Effect<AgentShape, AgentError, Scope.Scope> =>
  Effect.gen(function* () {
    const { sources, plugins = [], ...rest } = options
    const settings = yield* readSettings(rest)
    const scope = yield* Effect.scope
    const files = Context.get(yield* Layer.build(ports.files), LogFiles)
    const prepare = Effect.gen(function* () {
      const host: Host = { version: version(), configHash: configHashOf(settings, sources, plugins) }
      const composed = yield* setUpPlugins(withGzip(plugins), host).pipe(
        Effect.mapError(({ hint, message }) => new AgentError({ reason: "Plugin", message, hint })),
      )
      for (const { at, id } of codecsIn(settings.policy)) {
        if (limitsOf({ ...settings.policy, compression: id }, composed.codecs) === undefined) {
          return yield* unknownCodec(at, id, composed)
        }
      }
      const opened = yield* Effect.forEach(sources, (source) => source.open).pipe(
        Effect.mapError(({ hint, message }) => new AgentError({ reason: "Config", message, hint })),
      )
      return { sources: opened, plugins: composed, policyFor: applying(settings.policy, composed) } satisfies Prepared
    })
    const prepared = yield* Effect.cached(Scope.provide(prepare, scope))
    const record = Effect.gen(function* () {
      const { plugins: composed } = yield* prepared
      const journal = ports.journal(settings.journal, { plugins: composed.events })
      const open = Effect.map(Layer.build(Layer.fresh(journal)), (context) => Context.get(context, Journal))
      const recorder = yield* makeRecorder({ open, path: settings.journal.path, newId: ports.newId }).pipe(
        Effect.mapError(journalTrouble),
      )
      yield* tellObservers(composed.observers, recorder)
      return recorder
    })
    const recorder = yield* Effect.cached(Scope.provide(record, scope))

    /** Runs passes in a scope of their own, with the plugins' tracer. `stop` has no further step begun. */
    const passing = <A>(
      use: (ports: PassPorts, schedule: SchedulerOptions, stop: () => void) => Effect.Effect<A>,
    ): Effect.Effect<A, AgentError> =>
      Effect.gen(function* () {
        const ready = yield* prepared
        let stopped = false
        const run = use(
          {
            files,
            recorder: yield* recorder,
            plugins: ready.plugins,
            policyFor: ready.policyFor,
            deferred: settings.policy.deferred,
            holdings: holdingsFor(settings.policy),
            waiting: new Waiting(),
            freeing: new Freeing(),
            pressureLane: yield* Semaphore.make(1),
            newId: ports.newId,
            stopping: () => stopped,
            codecLane: yield* Semaphore.make(settings.workers),
          },
          { sources: ready.sources, intervalMs: settings.interval },
          () => {
            stopped = true
          },
        )
        return yield* ready.plugins.tracer === null ? run : Effect.withTracer(run, ready.plugins.tracer)
      })
    const verify = (options: VerifyOptions = {}): Effect.Effect<VerifyReport, AgentError> =>
      Effect.gen(function* () {
        const { plugins: composed, policyFor, sources: opened } = yield* prepared
        const { path } = settings.journal
        const codecLane = yield* Semaphore.make(settings.workers)
        const verifyPorts = { files, plugins: composed, policyFor, sources: opened, settings, codecLane }
        const mends = options.repair === true
        if (mends) yield* demandAlone(path)
        const journal = yield* verifyJournal(path, { plugins: composed.events })
        if (!mends) return yield* verifyAll(verifyPorts, options, journal, null)
        // Before it is opened: that begins a new one where there is none.
        const keptAs = journal.corrupt ? yield* Effect.mapError(setAside(path), journalTrouble) : null
        return yield* passing((ports) => verifyAll(verifyPorts, options, journal, repairing(ports, keptAs)))
      })
    return {
      verify,
      once: passing(passOverAll),
      drain: passing(drainAll),
      run: passing(keepPassing),
      plan: Effect.flatMap(prepared, (ready) =>
        Effect.provideService(planAll(ready, settings.policy), LogFiles, files),
      ),
      subscribe: Effect.flatMap(recorder, ({ subscribe }) => subscribe),
      decoding: Effect.map(prepared, (ready) => ({ plugins: ready.plugins.events })),
    }
  })

/** Every codec that the policy names, and where. */
const codecsIn = ({ compression, overrides }: Policy): ReadonlyArray<{ readonly at: string; readonly id: string }> => [
  { at: "policy.compression", id: compression },
  ...overrides.flatMap(({ compression, name }) =>
    compression === undefined ? [] : [{ at: `policy.overrides (${name}): compression`, id: compression }],
  ),
]

const holdingsFor = ({ maxTotal, overrides, pressure }: Policy): Holdings => {
  const budgets = maxTotal !== undefined || overrides.some((override) => override.maxTotal !== undefined)
  return new Holdings({ budgets, pressure })
}

/** Logs under the same policy share its limits. */
const applying = (policy: Policy, { codecs }: Composed): PassPorts["policyFor"] => {
  const made = new Map<string, Applied>()
  return (log, labels) => {
    const applied = policyFor(policy, log, labels)
    const known = made.get(applied.name)
    if (known !== undefined) return known
    const limits = limitsOf(applied, codecs)
    if (limits === undefined) throw new Error(`no codec ${applied.compression}, and that was checked before`)
    const fresh = { ...applied, limits }
    made.set(applied.name, fresh)
    return fresh
  }
}

const readSettings = (input: Omit<AgentOptions, "sources" | "plugins">): Effect.Effect<Settings, AgentError> => {
  const parsed = Settings.safeParse(input)
  if (parsed.success) return Effect.succeed(parsed.data)
  const message = `the agent's options are wrong: ${z.prettifyError(parsed.error)}`
  return Effect.fail(new AgentError({ reason: "Config", message, hint: "mend the options; nothing has been touched" }))
}

/** gzip is there without being asked for, unless it was configured. */
const withGzip = (plugins: NonNullable<AgentOptions["plugins"]>): NonNullable<AgentOptions["plugins"]> =>
  plugins.some(({ plugin }) => plugin.name === gzip.name) ? plugins : [gzip(), ...plugins]

const unknownCodec = (at: string, compression: string, { codecs }: Composed): AgentError =>
  new AgentError({
    reason: "Config",
    message: `${at}: there is no codec ${JSON.stringify(compression)}`,
    hint: `write one of ${[...codecs.map(({ id }) => id), NO_COMPRESSION].join(", ")}, or add the plugin that brings it`,
  })

const planAll = (
  { plugins, policyFor, sources }: Prepared,
  policy: Policy,
): Effect.Effect<PlanReport, never, LogFiles> =>
  Effect.gen(function* () {
    const files = yield* LogFiles
    const holdings = holdingsFor(policy)
    const replans = new Map<string, Effect.Effect<ReadonlyArray<Step>>>()
    const logs = new Map<string, PlannedLog>()
    const problems: Array<Problem> = []
    for (const source of sources) {
      const { list, problems: failed } = yield* logsFrom(source)
      problems.push(...failed)
      if (list === null) continue
      const { dormant, labels } = list
      const policyOf = (log: Log): Applied => policyFor(log, labels?.get(log.path))
      const writerOf = writersOf(list, policyOf)
      for (const log of list.logs) {
        if (logs.has(log.path)) continue
        const writer = writerOf(log.path)
        const scanned = yield* Effect.result(
          Effect.filterOrElse(
            Effect.map(scan({ files, plugins }, log), ({ snapshot }) => snapshot),
            ({ obstacle }) => obstacle === null,
            ({ obstacle }) => notRegular(log.path, obstacle ?? "other"),
          ),
        )
        if (scanned._tag === "Failure") {
          const { hint, message, reason } = scanned.failure
          if (writer !== "running" && reason === "NotFound") continue
          problems.push({ path: log.path, step: "scan", reason, message, hint })
          continue
        }
        const { active, segments } = scanned.success
        const applied = policyOf(log)
        const { compression, limits, maxFiles, maxSize, mode, name } = applied
        const steps = Effect.suspend(() => {
          // Which segments the guards have let go is the running agent's knowledge, so that what is offered to them early isn't told here.
          const now = { ...limits, guarded: plugins.guarded, writer, shed: holdings.shedOf(log.path) }
          return Effect.map(planNow(now, scanned.success), (all) =>
            // With nobody to tell, waiting for the writer is nothing that a pass would do. Which segments of a dormant log are ours to remove or
            // compress is known by the journal, which a plan doesn't open: here they all count as ours.
            source.tells === false || dormant?.has(log.path) === true
              ? all.filter(({ _tag }) => _tag !== "Reopen")
              : all,
          )
        })
        holdings.put(watch(log, source, applied, { writer }), scanned.success, writer, () => true)
        replans.set(log.path, steps)
        logs.set(log.path, {
          log,
          writer,
          policy: name,
          mode,
          limits: { maxSize, maxFiles, compression },
          activeBytes: active?.bytes ?? null,
          files: segments.length + (active === null ? 0 : 1),
          totalBytes: segments.reduce((sum, { bytes }) => sum + bytes, active?.bytes ?? 0),
          steps: yield* steps,
        })
      }
    }
    // What goes for limits that logs share is known once all have been looked at. It goes by what they hold now, before anything is compressed.
    yield* weighNow({ files, holdings })
    for (const [path, planned] of logs) {
      const steps = holdings.isShedding(path) ? replans.get(path) : undefined
      if (steps !== undefined) logs.set(path, { ...planned, steps: yield* steps })
    }
    return { logs: [...logs.values()], problems }
  })

/** Nothing is repaired beside a running agent. */
const demandAlone = (path: string): Effect.Effect<void, AgentError> =>
  Effect.gen(function* () {
    const keeper = yield* Effect.mapError(journalKeeper(path), journalTrouble)
    if (keeper === null) return
    return yield* new AgentError({
      reason: "Journal",
      message: `${keeper} keeps the journal ${path}, and nothing is repaired beside a running agent`,
      hint: "stop that agent first, or verify without repairing",
    })
  })
const setAside = (path: string): Effect.Effect<string | null, JournalError> =>
  Effect.flatMap(Clock.currentTimeMillis, (nowMs) => setAsideJournal(path, nowMs))
const journalTrouble = ({ hint, message }: JournalError): AgentError =>
  new AgentError({ reason: "Journal", message, hint })

const promises = (agent: Effect.Effect<AgentShape, AgentError, Scope.Scope>): PromiseAgent => {
  const call = async <A>(
    use: (agent: AgentShape) => Effect.Effect<A, AgentError>,
    { onEvent, signal }: CallOptions = {},
  ): Promise<Exit.Exit<A, AgentError>> => {
    const effect = Effect.scoped(
      Effect.gen(function* () {
        const made = yield* agent
        if (onEvent === undefined) return yield* use(made)
        const events = yield* made.subscribe
        const tell = (event: Envelope): Effect.Effect<void> => Effect.ignore(Effect.try(() => onEvent(event)))
        yield* Effect.forkScoped(Effect.forever(Effect.flatMap(PubSub.take(events), tell)))
        const result = yield* use(made)
        // Never waits for one: the fiber above takes them, too.
        for (const event of yield* PubSub.takeUpTo(events, Number.MAX_SAFE_INTEGER)) yield* tell(event)
        return result
      }),
    )
    return Effect.runPromiseExit(effect, signal === undefined ? undefined : { signal })
  }
  const valueOf = <A>(exit: Exit.Exit<A, AgentError>): A => {
    if (Exit.isSuccess(exit)) return exit.value
    throw Cause.squash(exit.cause)
  }
  return {
    once: async (options) => valueOf(await call(({ once }) => once, options)),
    drain: async (options) => valueOf(await call(({ drain }) => drain, options)),
    plan: async () => valueOf(await call(({ plan }) => plan)),
    verify: async ({ signal, ...options } = {}) =>
      valueOf(await call(({ verify }) => verify(options), signal === undefined ? {} : { signal })),
    run: async (options) => {
      const exit = await call(({ run }) => run, options)
      if (Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)) return
      valueOf(exit)
    },
  }
}
