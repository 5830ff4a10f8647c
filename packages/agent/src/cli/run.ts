/** `run`: the daemon. Says on standard error what it does; with `--json`, every stored event goes to standard output. */
import { type CoreEnvelope, type Envelope, formatBytes, formatDuration, isCoreType } from "@cordwood/core"
import { Effect, Fiber, PubSub } from "effect"
import type { LoadedConfig } from "../config/load.ts"
import { agentOf } from "./agent-of.ts"
import { eventDetail, eventJson, labelOf } from "./event-text.ts"
import { untilSignal } from "./signals.ts"
import { patientStdout, type LineSink } from "./stdout.ts"
import { survivingStrays } from "./stray.ts"
import { jsonLine, say } from "./terminal.ts"

/** How long a reader of standard output that has stopped reading may hold up the end. */
const LAST_WORDS_MS = 1_000

export const run = ({ config: file, json }: { readonly config: string; readonly json: boolean }) =>
  Effect.scoped(
    Effect.gen(function* () {
      yield* survivingStrays
      const { agent, config } = yield* agentOf(file)
      const events = yield* agent.subscribe
      const sink = json ? patientStdout() : null
      const tell = (event: Envelope): Effect.Effect<void> =>
        Effect.andThen(logEvent(event), sink === null ? Effect.void : printTo(sink, event))
      const telling = yield* PubSub.take(events).pipe(
        Effect.flatMap((event) => Effect.uninterruptible(tell(event))),
        Effect.forever,
        Effect.forkDetach,
      )
      yield* logStart(config)
      yield* untilSignal(agent.run, {
        onSignal: () => say("cordwood: finishing the steps in hand; a second signal ends at once"),
      })
      // The last events are told too, unless nobody reads them.
      const rest = Effect.gen(function* () {
        yield* Fiber.interrupt(telling)
        for (let left = yield* PubSub.remaining(events); left > 0; left -= 1) yield* tell(yield* PubSub.take(events))
      })
      yield* Effect.timeoutOption(rest, LAST_WORDS_MS)
      yield* Effect.logInfo("stopped")
    }),
  )

const printTo = (sink: LineSink, event: Envelope): Effect.Effect<void> =>
  Effect.promise(() => sink.write(jsonLine(eventJson(event))))

/** What is as it mostly is goes unsaid: no plugins, no overrides, a policy that is enforced. */
const logStart = ({ file, options, settings }: LoadedConfig): Effect.Effect<void> => {
  const { plugins = [] } = options
  const { interval, journal, policy, workers } = settings
  return Effect.logInfo("started").pipe(
    Effect.annotateLogs({
      config: file,
      sources: options.sources.map(({ name }) => name).join(", "),
      ...(plugins.length === 0 ? {} : { plugins: plugins.map(({ plugin }) => plugin.name).join(",") }),
      ...(policy.mode === "observe" ? { mode: policy.mode } : {}),
      ...(policy.overrides.length === 0 ? {} : { overrides: policy.overrides.length }),
      maxSize: policy.maxSize < 0 ? "unlimited" : formatBytes(policy.maxSize),
      maxFiles: policy.maxFiles,
      compression: policy.compression,
      interval: formatDuration(interval),
      workers,
      journal: journal.path,
      pid: process.pid,
    }),
  )
}

/** One line for each rotation and removal; upkeep is for those who debug. */
const logEvent = (event: Envelope): Effect.Effect<void> => {
  const line = `${event.type} ${labelOf(event.log)}: ${eventDetail(event)}`
  if (!isCoreType(event.type)) return Effect.logDebug(line)
  const known = event as CoreEnvelope
  switch (known.type) {
    case "Failed":
      return Effect.logError(line)
    case "Deferred":
      return Effect.logWarning(line)
    // That a log which a guard kept is gone is warned of where it is decided, with the reason.
    case "Removed":
    case "Rotated":
    case "Planned":
      return Effect.logInfo(line)
    case "Scanned":
    case "Cleaned":
    case "Compressed":
      return Effect.logDebug(line)
  }
}
