/**
 * What each event says: one zod schema per type and version. Names and fields are part of the product's outside.
 * Paths are absolute, sizes are bytes, durations milliseconds. Stored events are read back by these schemas, also by an agent that was rolled back: a
 * field that is added is optional, and one that isn't known is left out; a change of meaning, or a new word, is a new version with an upcaster, never
 * an edit.
 */
import * as z from "zod"

const path = z.string().min(1)
const bytes = z.int().min(0)
const durationMs = z.number().min(0)

/** What a failure or a deferral was about: a step of a pass, or the part of the agent that failed outside of one. */
export const Activity = z.enum([
  "scan",
  "clean",
  "remove",
  "compress",
  "rotate",
  "reopen",
  "offer",
  "source",
  "journal",
  "plugin",
])
export type Activity = z.infer<typeof Activity>

/** The event of a rotation, and the span that it happened in, for those who link to it. */
export const Origin = z.object({
  eventId: z.string(),
  traceId: z.string().nullable(),
  spanId: z.string().nullable(),
})
export type Origin = z.infer<typeof Origin>

/** The type of a plugin's own event, `<plugin>.<Name>`: its name, of lower-case letters, digits and dashes, a dot, and a word. */
const PLUGIN_TYPE = /^[a-z0-9-]{1,63}\.[A-Za-z][A-Za-z0-9]{0,62}$/
export const isPluginType = (type: string): type is `${string}.${string}` => PLUGIN_TYPE.test(type)

/** A plugin's own event. Its data is JSON. */
export const PluginFact = z.object({
  type: z.templateLiteral([z.string(), ".", z.string()]).refine(isPluginType, "must be <plugin>.<Name>"),
  data: z.unknown(),
})
export type PluginFact = z.infer<typeof PluginFact>

/**
 * What earlier events told of a segment, carried along so that it outlives them: the rotation that made it, and the last that each plugin recorded
 * about it.
 */
export const History = z.object({ rotated: Origin.nullable(), told: z.array(PluginFact) })
export type History = z.infer<typeof History>

export const payloads = {
  /**
   * What one scan saw, stored when it is news or when the pass goes on to rotate; of more than 1,000 files that are no news, only once as many events have
   * come since. `files` are the segments and leftovers, in order of their names. A fold begins at the latest of these, so that what is put off and
   * what fails, and since when, is carried along, as far as there is room.
   */
  Scanned: z.object({
    activeBytes: bytes,
    segments: z.int().min(0),
    totalBytes: bytes,
    files: z.array(z.object({ name: z.string().min(1), bytes, history: History.optional() })),
    deferred: z
      .array(z.object({ path, step: Activity, by: z.string(), why: z.string(), since: z.iso.datetime() }))
      .optional(),
    failing: z
      .array(
        z.object({
          path,
          step: Activity,
          reason: z.string(),
          message: z.string(),
          hint: z.string(),
          since: z.iso.datetime(),
        }),
      )
      .optional(),
  }),
  /** What a pass would have done to a log under a policy in mode `observe`; stored when it is other than before. */
  Planned: z.object({ steps: z.array(z.object({ step: Activity, path })) }),
  /** A leftover is gone. `invalid`: a compressed file that didn't hold its original's bytes, beside that original. */
  Cleaned: z.object({ path, bytes, reason: z.enum(["temporary", "superseded", "invalid"]) }),
  /**
   * A segment is gone, and its bytes with it. `missing`: not by a step that is on record. Either the agent was killed between removing it and
   * storing the event, or somebody else removed it; `bytes` are those of the last event that told of it.
   */
  Removed: z.object({ path, bytes, reason: z.enum(["max-files", "max-age", "budget", "pressure", "missing"]) }),
  /** `to` holds the bytes of `from`, proven by reading it back; `from` is gone. */
  Compressed: z.object({ from: path, to: path, codec: z.string(), bytesIn: bytes, bytesOut: bytes, durationMs }),
  /**
   * The active file became the segment `to`. `reopened`: the writer was told and has a new file; false: it reopens by itself. `maxSize` is the
   * policy's, for how far beyond it the file had grown.
   */
  Rotated: z.object({ from: path, to: path, bytes, reopened: z.boolean(), maxSize: z.int().optional() }),
  /** A step was put off; what it was about is as it was. */
  Deferred: z.object({ step: Activity, path, by: z.string(), why: z.string(), retryAfterMs: z.int().min(0) }),
  /** Something failed. `reason` is a word to branch on, `hint` what the operator can do. */
  Failed: z.object({ step: Activity, path, reason: z.string(), message: z.string(), hint: z.string() }),
} as const

export type CoreType = keyof typeof payloads
/** What happened, without the identity, time and cause that the envelope adds. */
export type CoreFact = { [T in CoreType]: { readonly type: T; readonly data: z.infer<(typeof payloads)[T]> } }[CoreType]
export type Fact = CoreFact | PluginFact

/** The version that this program writes, of every core type. */
export const CORE_VERSION = 1
export const isCoreType = (type: string): type is CoreType => Object.hasOwn(payloads, type)
