/**
 * The source `files`: log files on a plain host, found by patterns. Their writers are told to reopen by a signal, by a command, or not at
 * all. Lists and tells; writes to no file.
 */
import { type Log, type Logs, type Source, SourceError } from "@cordwood/core"
import { Clock, Effect } from "effect"
import * as z from "zod"
import { readOptions, type SourceFactory, Timeout } from "../source-factory.ts"
import { find } from "./find.ts"
import { matcherOf, patternProblem, readPattern } from "./pattern.ts"
import { isSetAside } from "./rotated-name.ts"
import { runCommand, sendSignal, untilThere, type WriterFailure } from "./writer.ts"

/** How long a writer may take from being told until its file is there again. */
const REOPENED_WITHIN_MS = 10_000
/** A search that takes longer is stuck on a dead disk or a network. */
const FOUND_WITHIN_MS = 30_000
const MAX_PATTERNS = 256
const MAX_ARGUMENTS = 256
/** Those that log writers take as "reopen". Left out are those that only ever end or stop a process. */
const SIGNALS = ["HUP", "USR1", "USR2", "WINCH", "ALRM", "CONT"] as const
const NAME_MAX_PATTERNS = 3

const PathPattern = z.string().superRefine((text, context) => {
  const problem = patternProblem(text)
  if (problem !== null) context.addIssue({ code: "custom", message: problem })
})
const IncludePattern = PathPattern.refine((text) => {
  // What is no pattern is told of above, and may be more than a pattern's reader takes.
  if (patternProblem(text) !== null) return true
  const last = readPattern(text).parts.at(-1)
  return last?.kind !== "name" || !isSetAside(last.name, new Set())
}, "this is the name of a rotated, compressed or temporary file; include the file that is being written")

const AbsolutePath = z.string().startsWith("/", "must be an absolute path")
const Text = z.string().refine((text) => !text.includes("\0"), "must not have a NUL")

const ReopenTimeout = Timeout.default(REOPENED_WITHIN_MS).meta({
  description: "How long it may take until the file is there again.",
})

const isSignal = (name: string): name is (typeof SIGNALS)[number] => SIGNALS.some((signal) => signal === name)
const Signal = z
  .string()
  .meta({
    description: `The signal that has the writer reopen its files: ${SIGNALS.join(", ")}.`,
    examples: ["USR1", "HUP"],
  })
  .transform((text, context): NodeJS.Signals => {
    const name = text.toUpperCase().replace(/^SIG/, "")
    if (isSignal(name)) return `SIG${name}`
    const message = `${JSON.stringify(text)} is no signal that can be used here; write one of ${SIGNALS.join(", ")}`
    context.issues.push({ code: "custom", message, input: text })
    return z.NEVER
  })

const BySignal = z.strictObject({
  signal: Signal,
  pidFile: AbsolutePath.meta({
    description: "The file that holds the writer's process number.",
    examples: ["/run/nginx.pid"],
  }),
  timeout: ReopenTimeout,
})
const COMMAND = ["nginx", "-s", "reopen"]
const ByCommand = z.strictObject({
  command: z
    .array(Text, { error: () => `write the program and its arguments as a list: ${JSON.stringify(COMMAND)}` })
    .min(1, "must name a program")
    .max(MAX_ARGUMENTS)
    .refine(([program]) => program !== "", "must name a program")
    .meta({ description: "Program and arguments. No shell reads them.", examples: [COMMAND] }),
  timeout: ReopenTimeout,
})

const REOPEN_FORMS = `none, { signal: USR1, pidFile: /run/nginx.pid } or { command: ["nginx", "-s", "reopen"] }`

/** What is wrong with the form that was meant, as a union alone says only that none fits. */
const reopenProblem: z.core.$ZodErrorMap<z.core.$ZodIssueInvalidUnion> = ({ errors, input }) => {
  const keys = typeof input === "object" && input !== null ? input : {}
  const meant = "signal" in keys || "pidFile" in keys ? errors?.[1] : "command" in keys ? errors?.[2] : undefined
  const said = (meant ?? []).map(({ message, path }) => [...path.map(String), message].join(": "))
  return said.length === 0 ? `write ${REOPEN_FORMS}` : said.join("; ")
}

export const FilesOptions = z
  .strictObject({
    include: z
      .array(IncludePattern)
      .min(1, "must have at least one pattern")
      .max(MAX_PATTERNS)
      .meta({
        description:
          "Absolute patterns of the files being written: * and ? within a name, ** over directories, {a,b}. No link is followed.",
        examples: [["/var/log/nginx/*.log"]],
      }),
    exclude: z
      .array(PathPattern)
      .max(MAX_PATTERNS)
      .default([])
      .meta({
        description: "Absolute patterns of what is left out, though it is included.",
        examples: [["/var/log/nginx/debug*"]],
      }),
    reopen: z.union([z.literal("none"), BySignal, ByCommand], { error: reopenProblem }).meta({
      description: `How the writer is told to reopen its files: ${REOPEN_FORMS}. None: it reopens by itself.`,
    }),
  })
  .meta({ description: "Log files on a plain host." })
export type FilesOptions = z.output<typeof FilesOptions>
/** What a user writes: `{ include: ["/var/log/nginx/*.log"], reopen: { signal: "USR1", pidFile: "/run/nginx.pid" } }`. */
export type FilesOptionsInput = z.input<typeof FilesOptions>

/** The source as code composes it. Throws a TypeError if the options can't be used. */
export const files = (options: FilesOptionsInput): SourceFactory =>
  filesSource(readOptions("files", FilesOptions, options))

/** The source for options that were read by `FilesOptions` already. */
export const filesSource = (options: FilesOptions): SourceFactory => {
  const { exclude, include, reopen } = options
  const more = include.length - NAME_MAX_PATTERNS
  const name = `files ${include.slice(0, NAME_MAX_PATTERNS).join(" ")}${more > 0 ? ` and ${more} more` : ""}`
  const patterns = include.map(readPattern)
  const isExcluded = matcherOf(exclude)

  const list: Effect.Effect<Logs, SourceError> = Effect.gen(function* () {
    const nowMs = yield* Clock.currentTimeMillis
    const { dormant, paths, troubles } = yield* Effect.promise((signal) =>
      find({ patterns, isExcluded, nowMs, signal }),
    ).pipe(Effect.timeoutOrElse({ duration: FOUND_WITHIN_MS, orElse: () => Effect.fail(stuck(name)) }))
    return {
      logs: paths.map((path): Log => ({ path })),
      dormant,
      problems: troubles.map((trouble) => new SourceError({ source: name, op: "list", ...trouble })),
    }
  })

  const reopenLog: Source["reopen"] = (log) => {
    if (reopen === "none") return Effect.succeed("not-told")
    const tell = "signal" in reopen ? sendSignal(reopen.signal, reopen.pidFile) : runCommand(reopen.command)
    const late = (what: string): SourceError =>
      new SourceError({
        source: name,
        op: "reopen",
        target: log.path,
        reason: "DeadlineExceeded",
        detail: `${what} within ${reopen.timeout} ms`,
        hint: "check that this is how the writer is told to reopen its files; if it is just slow, raise reopen.timeout",
      })
    const failed = ({ detail, hint, reason }: WriterFailure): SourceError =>
      new SourceError({ source: name, op: "reopen", target: log.path, reason, detail, hint })
    let told = false
    return tell.pipe(
      Effect.andThen(Effect.sync(() => void (told = true))),
      Effect.andThen(untilThere(log.path)),
      Effect.mapError(failed),
      Effect.timeoutOrElse({
        duration: reopen.timeout,
        orElse: () =>
          Effect.fail(
            late(told ? "the writer was told to reopen, but the file was not there again" : "the command did not end"),
          ),
      }),
      Effect.as("told" as const),
    )
  }

  return { name, settings: options, open: Effect.succeed({ name, list, tells: reopen !== "none", reopen: reopenLog }) }
}

const stuck = (name: string): SourceError =>
  new SourceError({
    source: name,
    op: "list",
    target: name,
    reason: "DeadlineExceeded",
    detail: `the files were not found within ${FOUND_WITHIN_MS} ms`,
    hint: "check the disk, and whether a directory lies on a network that is away; narrow the patterns",
  })
