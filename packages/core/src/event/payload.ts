/**
 * What each event says: one zod schema per type and version. Names and fields are part of the product's outside.
 * Paths are absolute, sizes are bytes, durations milliseconds. Stored events are read back by these schemas, so a change of
 * meaning is a new version with an upcaster, never an edit.
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
  "source",
  "journal",
  "plugin",
])
export type Activity = z.infer<typeof Activity>

export const payloads = {
  /** What one scan saw, stored when it is news or when the pass goes on to act. `files` are the segments and leftovers, in order of their names. */
  Scanned: z.strictObject({
    activeBytes: bytes,
    segments: z.int().min(0),
    totalBytes: bytes,
    files: z.array(z.strictObject({ name: z.string().min(1), bytes })),
  }),
  /** A leftover is gone. `invalid`: a compressed file that didn't hold its original's bytes, beside that original. */
  Cleaned: z.strictObject({ path, bytes, reason: z.enum(["temporary", "superseded", "invalid"]) }),
  /**
   * A segment is gone, and its bytes with it. `missing`: not by a step that is on record. Either the agent was killed between removing it and
   * storing the event, or somebody else removed it; `bytes` are those of the last event that told of it.
   */
  Removed: z.strictObject({ path, bytes, reason: z.enum(["max-files", "max-age", "budget", "pressure", "missing"]) }),
  /** `to` holds the bytes of `from`, proven by reading it back; `from` is gone. */
  Compressed: z.strictObject({ from: path, to: path, codec: z.string(), bytesIn: bytes, bytesOut: bytes, durationMs }),
  /** The active file became the segment `to`. `reopened`: the writer was told and has a new file; false: it reopens by itself. */
  Rotated: z.strictObject({ from: path, to: path, bytes, reopened: z.boolean() }),
  /** A step was put off; what it was about is as it was. */
  Deferred: z.strictObject({ step: Activity, path, by: z.string(), why: z.string(), retryAfterMs: z.int().min(0) }),
  /** Something failed. `reason` is a word to branch on, `hint` what the operator can do. */
  Failed: z.strictObject({ step: Activity, path, reason: z.string(), message: z.string(), hint: z.string() }),
} as const

export type CoreType = keyof typeof payloads
/** What happened, without the identity, time and cause that the envelope adds. */
export type CoreFact = { [T in CoreType]: { readonly type: T; readonly data: z.infer<(typeof payloads)[T]> } }[CoreType]
/** A plugin's own event, `<plugin>.<Name>`. */
export interface PluginFact {
  readonly type: `${string}.${string}`
  readonly data: unknown
}
export type Fact = CoreFact | PluginFact

/** The version that this program writes, of every core type. */
export const CORE_VERSION = 1
export const isCoreType = (type: string): type is CoreType => Object.hasOwn(payloads, type)
