/** What a plugin is: a zod config, and a scoped set-up that returns its contributions. The seam everything optional comes through. */
import { Data, type Effect, type Scope, type Tracer } from "effect"
import type * as z from "zod"
import type { Envelope } from "../event/envelope.ts"
import type { Origin, PluginFact } from "../event/payload.ts"
import type { Log } from "../log/log.ts"
import type { Segment } from "../log/snapshot.ts"
import type { Codec } from "./codec.ts"

/** The version of this contract. A plugin made for another one is refused with a message that says which. */
export const PLUGIN_API = 1

/** `slot` is where it failed. */
export class PluginError extends Data.TaggedError("PluginError")<{
  readonly plugin: string
  readonly slot: "load" | "config" | "setup" | "codecs" | "beforeRemove" | "observe" | "events" | "tracer"
  readonly detail: string
  readonly hint: string
}> {
  override get message(): string {
    return `plugin ${this.plugin}, ${this.slot}: ${this.detail}`
  }
}

/**
 * A segment that a guard is asked about. `removal`: retention is about to remove it. `closed`: it stays for now, and a guard that wants to be asked
 * early is. `drain`: it stays, and somebody waits for every guard to let go (`cordwood once --drain`).
 */
export interface Doomed {
  readonly log: Log
  readonly segment: Segment
  readonly occasion: "removal" | "closed" | "drain"
  /** The pass that asks. */
  readonly correlationId: string
  /** The rotation that made the segment; null where no event tells of it. */
  readonly rotated: Origin | null
  /** The last event that this plugin recorded about the segment, plain or compressed, also before a restart; null if there is none. */
  readonly told: PluginFact | null
  /**
   * The segment as it lies on disk, and as it was written, which is the same for a plain one. Each call reads from the beginning, a bounded part at
   * a time. Throws a `LogFilesError`: `Changed` if another file than `segment` lies there or it grows meanwhile, `Codec` if it doesn't decode.
   */
  readonly stored: () => AsyncIterable<Uint8Array>
  readonly raw: () => AsyncIterable<Uint8Array>
  /** Every codec there is, for a guard that compresses on the way. */
  readonly codecs: ReadonlyArray<Codec>
  /**
   * Records an event of the plugin's own: one of the types in its `events`, with data that its schema takes, and reads back from at most 16 KiB of
   * JSON. It comes back as `told` if its data names the segment's path as `path`; another path is refused, and so is what comes after the answer.
   */
  readonly record: (fact: PluginFact) => Effect.Effect<void, PluginError>
}
/** `Defer`: the file stays, and is asked about again no sooner than `retryAfterMs`. */
export type Verdict =
  | { readonly _tag: "Allow" }
  | { readonly _tag: "Defer"; readonly why: string; readonly retryAfterMs: number }

/** Each slot is optional, and has one way of composing over several plugins, in list order; see `compose`. */
export interface Contributions {
  /** Chosen by id. A second codec of the same id or suffix fails the start. */
  readonly codecs?: ReadonlyArray<Codec>
  /**
   * A guard. Asked before a segment is removed, one plugin after another; the first `Defer` keeps the file. Failing or being slow counts as one. May
   * be asked about the same segment again, after a restart too, and several segments of different logs at a time.
   */
  readonly beforeRemove?: (doomed: Doomed) => Effect.Effect<Verdict, PluginError>
  /** How the guard is to be asked. */
  readonly guard?: {
    /** As soon as a segment is closed, too, and again until it allows; removal asks once more. False if not given. */
    readonly early?: boolean
    /** Milliseconds that one answer may take; five minutes if not given, at most an hour. */
    readonly limitMs?: number
  }
  /** Told of every event, after it is stored. Can't veto and can't slow rotation: one that lags behind misses events. */
  readonly observe?: (event: Envelope) => Effect.Effect<void, PluginError>
  /** Its own event types, each `<plugin>.<Name>`, with the schema of their data. */
  readonly events?: Readonly<Record<string, z.ZodType>>
  /** At most one plugin may bring one. */
  readonly tracer?: Tracer.Tracer
}

/** What the agent tells a plugin about itself. */
export interface Host {
  /** The agent's version: `0.1.0`. */
  readonly version: string
  /** Of the whole configuration, plugins included: 16 hexadecimal digits that change when it does. */
  readonly configHash: string
}

export interface Plugin<Config extends z.ZodType = z.ZodType> {
  /** Lower-case letters, digits and dashes: `zstd`. */
  readonly name: string
  readonly api: typeof PLUGIN_API
  /** Strict: an unknown key is an error that names it. */
  readonly config: Config
  /** Runs once. What it opens it adds to the scope; it is closed when the agent stops. */
  readonly setup: (config: z.output<Config>, host: Host) => Effect.Effect<Contributions, PluginError, Scope.Scope>
}

/** A plugin with its config, as code composes them: `zstd({ level: 3 })`. */
export interface Configured {
  readonly plugin: Plugin
  readonly config: unknown
}

/** Makes a plugin callable with its config, and keeps its definition at hand. */
export interface PluginFactory<Config extends z.ZodType> extends Plugin<Config> {
  (
    ...config: undefined extends z.input<Config>
      ? [config?: z.input<Config>]
      : {} extends z.input<Config>
        ? [config?: z.input<Config>]
        : [config: z.input<Config>]
  ): Configured
}

/** Defines a plugin that works from the config file (`use: …, with: …`) and from code (`zstd({ level: 3 })`). */
export const definePlugin = <const Config extends z.ZodType>(plugin: Plugin<Config>): PluginFactory<Config> => {
  const configured = (config: z.input<Config> | undefined): Configured => ({
    plugin: plugin as unknown as Plugin,
    config: config ?? {},
  })
  // A function's own `name` is read-only but configurable, so it is defined rather than assigned.
  return Object.defineProperties(configured, {
    name: { value: plugin.name, enumerable: true },
    api: { value: plugin.api, enumerable: true },
    config: { value: plugin.config, enumerable: true },
    setup: { value: plugin.setup, enumerable: true },
  }) as unknown as PluginFactory<Config>
}
