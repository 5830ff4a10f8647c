/** What an agent is made of, as code gives it; the config file comes down to the same. */
import { DurationMs, Policy, type Configured, type PolicyInput, Quantity } from "@cordwood/core"
import * as z from "zod"
import type { SourceFactory } from "./source/source-factory.ts"

/** The kubelet's `containerLogMaxWorkers` bounds the same work, with a default of 1. */
const MAX_WORKERS = 64

export const JournalOptions = z.strictObject({
  path: z
    .string()
    .startsWith("/", "must be an absolute path")
    .default("/var/lib/cordwood/journal.db")
    .meta({ description: "The journal's file. SQLite; its directory is made if it is missing." }),
  keep: DurationMs.prefault("30d").meta({ description: "How long events are kept." }),
  maxSize: Quantity.prefault("256Mi").meta({
    description: "How large the journal may get; the oldest events go first.",
  }),
})

/** The settings that have no code in them: they read the same from the config file and from `Agent.make`. */
export const Settings = z.strictObject({
  policy: Policy.prefault({}),
  interval: DurationMs.refine((ms) => ms >= 100, "must be at least 100ms")
    .prefault("10s")
    .meta({
      description: "How often every log is looked at, at the least; one that fills up quickly is looked at sooner.",
    }),
  workers: z.int().min(1).max(MAX_WORKERS).default(1).meta({
    description: "How many segments are compressed or verified at a time. Rotation waits for none of them.",
  }),
  journal: JournalOptions.prefault({}),
})
export type Settings = z.output<typeof Settings>

export interface AgentOptions {
  /** At least one: `cri({ endpoint })`, `files({ include })`, or your own. */
  readonly sources: ReadonlyArray<SourceFactory>
  readonly policy?: PolicyInput
  /** In this order they are asked before a removal. `gzip` is there without being named. */
  readonly plugins?: ReadonlyArray<Configured>
  /** Milliseconds as a number are refused: write `"10s"`. */
  readonly interval?: string
  readonly workers?: number
  readonly journal?: z.input<typeof JournalOptions>
}
