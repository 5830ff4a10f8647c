/** What an agent is given for each place that logs come from. Reads no configuration file; options arrive as values. */
import type { Source, SourceError } from "@cordwood/core"
import type { Effect, Scope } from "effect"
import * as z from "zod"

/** A source that is not open yet. */
export interface SourceFactory {
  /** For messages; the opened source has the same one. */
  readonly name: string
  /** Opens it for as long as the scope lasts. Never fails because the other side is away: `list` says so, every time it is asked. */
  readonly open: Effect.Effect<Source, SourceError, Scope.Scope>
}

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
