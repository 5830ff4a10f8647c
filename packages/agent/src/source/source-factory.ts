/** What an agent is given for each place that logs come from. Reads no configuration file; options arrive as values. */
import { DurationMs, type Source, type SourceError } from "@cordwood/core"
import type { Effect, Scope } from "effect"
import * as z from "zod"

/** A source that is not open yet. */
export interface SourceFactory {
  /** For messages; the opened source has the same one. */
  readonly name: string
  /** What it was made with, as far as that is data: a part of the configuration's hash. */
  readonly settings?: unknown
  /** Opens it for as long as the scope lasts. Never fails because the other side is away: `list` says so, every time it is asked. */
  readonly open: Effect.Effect<Source, SourceError, Scope.Scope>
}

/** A pass gives a writer a minute to reopen, whatever its source says, and a source's own deadline must come first. */
const MAX_TIMEOUT_MS = 50_000
/** A source's deadline for one call. */
export const Timeout = DurationMs.refine((ms) => ms > 0, "must be longer than nothing").refine(
  (ms) => ms <= MAX_TIMEOUT_MS,
  "must be at most 50s: what takes longer is tried again on the next pass",
)

/** Options as code writes them, read by the schema that also reads the configuration file. Throws a TypeError that lists every mistake. */
export const readOptions = <Schema extends z.ZodType>(
  factory: string,
  schema: Schema,
  options: unknown,
): z.output<Schema> => {
  const read = schema.safeParse(options)
  if (read.success) return read.data
  throw new TypeError(`${factory}(…) got options that can't be used:\n${z.prettifyError(read.error)}`)
}
