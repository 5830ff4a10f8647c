/**
 * The command line: which commands there are, and how they end. Each command's work is imported when it is run, so that `--help` and a typing
 * mistake cost no more than the parser.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Effect, Layer, Option } from "effect"
import { Argument, CliConfig, CliOutput, Command, Flag, GlobalFlag } from "effect/cli"
import { parseSince } from "./since.ts"
import { DONE, signalled } from "./exit-code.ts"
import { report } from "./failure.ts"
import { layerStderrLogger } from "./logger.ts"
import { listenForSignals } from "./signals.ts"
import { colorsFor, safe, say, watchClosedPipes } from "./terminal.ts"
import { version } from "../version.ts"
import { parseDuration } from "@cordwood/core"

const config = Flag.String("config").pipe(
  Flag.withAlias("c"),
  Flag.withMetavar("FILE"),
  Flag.withDescription("The configuration, YAML or JSON"),
)
/** A flag that is off unless it is given. */
const toggle = (name: string, description: string): Flag.Flag<boolean> =>
  Flag.Boolean(name).pipe(Flag.withDefault(false), Flag.withoutNegation, Flag.withDescription(description))
const json = toggle("json", "One JSON object a line on standard output, and nothing else there")

/** Imports a command's module and runs it. */
const lazily = <M, A, E, R>(
  load: () => Promise<M>,
  use: (module: M) => Effect.Effect<A, E, R>,
): Effect.Effect<A, E, R> => Effect.flatMap(Effect.promise(load), use)

const run = Command.make("run", { config, json }, (input) =>
  lazily(
    () => import("./run.ts"),
    (module) => module.run(input),
  ),
).pipe(
  Command.withDescription(
    "Rotates the logs until SIGTERM or SIGINT, then finishes the step in hand. Logs to standard error; with --json, prints every event to standard output as it is stored.",
  ),
  Command.withShortDescription("The daemon: rotates until it is stopped"),
  Command.withExamples([
    { command: "cordwood run --config /etc/cordwood.yaml", description: "Rotate what the file says" },
  ]),
)

const once = Command.make(
  "once",
  {
    config,
    json,
    drain: toggle(
      "drain",
      "Then have every plugin that keeps segments, such as S3, take what it needs of each closed one; 1 if any still waits",
    ),
  },
  (input) =>
    lazily(
      () => import("./once.ts"),
      (module) => module.once(input),
    ),
).pipe(
  Command.withDescription(
    "One pass over every log: rotates, removes, compresses what is due, then exits. 1 if a log failed.",
  ),
  Command.withShortDescription("One pass over every log"),
)

const plan = Command.make(
  "plan",
  {
    config,
    json,
    detailedExitcode: toggle("detailed-exitcode", "Exit with 2 if there are steps to do"),
  },
  (input) =>
    lazily(
      () => import("./plan.ts"),
      (module) => module.plan(input),
    ),
).pipe(
  Command.withDescription("Prints the steps that a pass would take now, in order, and changes nothing."),
  Command.withShortDescription("What a pass would do now; changes nothing"),
)

const events = Command.make(
  "events",
  {
    config,
    json,
    follow: toggle("follow", "Go on with new events until SIGINT").pipe(Flag.withAlias("f")),
    since: Flag.String("since").pipe(
      Flag.withMetavar("TIME"),
      Flag.withDescription("Only events since a time (2026-09-09T04:33:10Z) or for so long (1h30m)"),
      Flag.mapTryCatch(
        (text) => parseSince(text, Date.now()),
        (error) => (error instanceof Error ? error.message : String(error)),
      ),
      Flag.optional,
    ),
    log: Flag.String("log").pipe(
      Flag.withMetavar("PATTERN"),
      Flag.withDescription(
        "Only logs whose path or pod matches: a glob ('/var/log/pods/shop_*/**') or a part of it (web-0)",
      ),
      Flag.optional,
    ),
  },
  (input) =>
    lazily(
      () => import("./events.ts"),
      (module) => module.events({ ...input, since: Option.getOrNull(input.since), log: Option.getOrNull(input.log) }),
    ),
).pipe(
  Command.withDescription("Prints what the journal holds, oldest first. Works while the daemon runs."),
  Command.withShortDescription("What has happened: the journal"),
)

const status = Command.make("status", { config, json }, (input) =>
  lazily(
    () => import("./status.ts"),
    (module) => module.status(input),
  ),
).pipe(
  Command.withDescription(
    "Prints every log: files, bytes, limits, last rotation, what is deferred or fails, and why. Works while the daemon runs.",
  ),
  Command.withShortDescription("How every log is doing"),
)

const verify = Command.make(
  "verify",
  {
    config,
    json,
    repair: toggle(
      "repair",
      "Remove proven leftovers and put on record what is off it; loses no byte. Stop the daemon first",
    ),
  },
  (input) =>
    lazily(
      () => import("./verify.ts"),
      (module) => module.verify(input),
    ),
).pipe(
  Command.withDescription(
    "Reads every segment to its end, compares disk and journal, and lists what is wrong; 1 if anything is. Changes nothing without --repair. Works while the daemon runs.",
  ),
  Command.withShortDescription("What is damaged, missing or off the record"),
)

const check = Command.make("check", { file: Argument.String("FILE"), json }, (input) =>
  lazily(
    () => import("./config.ts"),
    (module) => module.check(input),
  ),
).pipe(
  Command.withDescription("Validates a configuration with the plugins that it names. 78 if it can't be used."),
  Command.withShortDescription("Validates a configuration"),
)
const schema = Command.make("schema", { json }, (input) =>
  lazily(
    () => import("./config.ts"),
    (module) => module.schema(input),
  ),
).pipe(
  Command.withDescription("Prints the configuration's JSON Schema, for editors."),
  Command.withShortDescription("Prints the configuration's JSON Schema"),
)
const configuration = Command.make("config").pipe(
  Command.withDescription("Validates a configuration, or prints its JSON Schema."),
  Command.withShortDescription("Validates a configuration, or prints its schema"),
  Command.withSubcommands([check, schema]),
)

const demo = Command.make(
  "demo",
  {
    for: Flag.String("for").pipe(
      Flag.withMetavar("DURATION"),
      Flag.withDescription("End by itself after so long (60s); else with Ctrl-C"),
      Flag.mapTryCatch(
        (text) => {
          const parsed = parseDuration(text)
          if (!parsed.ok) throw new Error(parsed.problem)
          if (parsed.value < 1_000) throw new Error("a duration of at least 1s")
          return parsed.value
        },
        (error) => (error instanceof Error ? error.message : String(error)),
      ),
      Flag.optional,
    ),
    keep: toggle("keep", "Leave the logs on disk afterwards, to look at"),
    json,
  },
  (input) =>
    lazily(
      () => import("../demo/command.ts"),
      (module) => module.demo({ forMs: Option.getOrNull(input.for), keep: input.keep, json: input.json }),
    ),
).pipe(
  Command.withDescription(
    "Three writers of numbered lines in a temporary directory, rotated by a real agent before your eyes. At the end every line is counted: exit 0 only if each is accounted for.",
  ),
  Command.withShortDescription("The main job on writers of its own, live"),
)

const cordwood = Command.make("cordwood").pipe(
  Command.withDescription("Cuts container logs to length, stacks them to a limit and never loses a line."),
  Command.withSubcommands([run, once, plan, events, status, verify, configuration, demo]),
)

/** Help goes to standard output where it was asked for. A mistake gets a line, not a screen of help. */
const presenterFor = (argv: ReadonlyArray<string>): CliOutput.Presenter => ({
  present: (event) =>
    event._tag === "InvalidInvocation"
      ? Effect.sync(() => {
          const name = event.commandPath.join(" ")
          const colors = colorsFor(process.stderr)
          // The parser's messages have lines, and quote arguments, which may be names of files with newlines.
          const hostile = argv.some((argument) => argument.includes("\n"))
          const linesOf = (message: string): string =>
            hostile ? safe(message) : message.split("\n").map(safe).join("\n")
          for (const { message } of event.errors) say(`${colors.red(name)}: ${lowerFirst(linesOf(message))}`)
          say(`See ${name} --help`)
        })
      : CliOutput.defaultPresenter.present(event),
})
const lowerFirst = (text: string): string => text.slice(0, 1).toLowerCase() + text.slice(1)

/** Runs the command that `argv` names, to its end and the process's. */
export const main = (argv: ReadonlyArray<string>): void => {
  watchClosedPipes(() => process.exit(DONE))
  let interrupted = signalled(2)
  const program = Command.runWith(cordwood, { version: version() })(argv).pipe(
    Effect.provide(
      Layer.mergeAll(
        NodeServices.layer,
        layerStderrLogger,
        CliOutput.layerPresenter(presenterFor(argv)),
        CliOutput.layer(
          CliOutput.defaultFormatter({ colors: colorsFor(process.stdout).isColorSupported, globalFlags: "summary" }),
        ),
        CliConfig.layer({
          builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions, GlobalFlag.LogLevel],
        }),
      ),
    ),
  )
  const fiber = Effect.runFork(program)
  listenForSignals((code) => {
    interrupted = code
    fiber.interruptUnsafe()
  })
  // A command may wait for nothing that holds the process: a fiber alone doesn't.
  const held = setInterval(() => {}, 2 ** 30)
  fiber.addObserver((exit) => {
    clearInterval(held)
    const code = report(exit, interrupted)
    // What a slow reader of a pipe hasn't taken yet would be lost with the process.
    if (process.stdout.writableLength === 0) process.exit(code)
    process.stdout.write("", () => process.exit(code))
  })
}
