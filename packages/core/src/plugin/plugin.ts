/** What a plugin is: a zod config, and a scoped set-up that returns its contributions. The seam everything optional comes through. */
import { Data, type Effect, type Scope, type Tracer } from "effect"
import type * as z from "zod"
import type { Envelope } from "../event/envelope.ts"
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

/** A segment that retention is about to remove. */
export interface Doomed {
  readonly log: Log
  readonly segment: Segment
  /** The pass that asks, for the plugin's own events. */
  readonly correlationId: string
}
/** `Defer`: the file stays, and is asked about again no sooner than `retryAfterMs`. */
export type Verdict =
  | { readonly _tag: "Allow" }
  | { readonly _tag: "Defer"; readonly why: string; readonly retryAfterMs: number }

/** Each slot is optional, and has one way of composing over several plugins, in list order; see `compose`. */
export interface Contributions {
  /** Chosen by id. A second codec of the same id or suffix fails the start. */
  readonly codecs?: ReadonlyArray<Codec>
  /** Asked before a segment is removed, one plugin after another; the first `Defer` keeps the file. Failing or being slow counts as one. */
  readonly beforeRemove?: (doomed: Doomed) => Effect.Effect<Verdict, PluginError>
  /** Told of every event, after it is stored. Can't veto and can't slow rotation: one that lags behind misses events. */
  readonly observe?: (event: Envelope) => Effect.Effect<void, PluginError>
  /** Its own event types, each `<plugin>.<Name>`, with the schema of their data. */
  readonly events?: Readonly<Record<string, z.ZodType>>
  /** At most one plugin may bring one. */
  readonly tracer?: Tracer.Tracer
}

export interface Plugin<Config extends z.ZodType = z.ZodType> {
  /** Lower-case letters, digits and dashes: `zstd`. */
  readonly name: string
  readonly api: typeof PLUGIN_API
  /** Strict: an unknown key is an error that names it. */
  readonly config: Config
  /** Runs once. What it opens it adds to the scope; it is closed when the agent stops. */
  readonly setup: (config: z.output<Config>) => Effect.Effect<Contributions, PluginError, Scope.Scope>
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
