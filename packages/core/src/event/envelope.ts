/** What every event carries around its data. */
import * as z from "zod"
import { Log } from "../log/log.ts"
import { Mode } from "../log/policy.ts"
import type { CoreFact, CoreType, Fact } from "./payload.ts"

/**
 * `correlationId` is the pass; `causationId` the event that led to this one; the trace is the span it was emitted in, if any. `policy` and `mode` are
 * those that the log was under, where the event is about a log: the name of the override that applied, or `default`.
 */
export const Metadata = z.object({
  correlationId: z.string(),
  causationId: z.string().nullable(),
  traceId: z.string().nullable(),
  spanId: z.string().nullable(),
  policy: z.string().optional(),
  mode: Mode.optional(),
})
export type Metadata = z.infer<typeof Metadata>

export const head = {
  id: z.uuid(),
  /** Place in the journal: strictly increasing, with gaps where old events were dropped. */
  position: z.int().min(1),
  /** ISO 8601, UTC. */
  time: z.iso.datetime(),
  type: z.string().min(1),
  version: z.int().min(1),
  /** An event about the agent itself names, as `path`, what it is about: a source's socket, the journal's file. */
  log: Log,
  metadata: Metadata,
}

interface Head {
  readonly id: string
  readonly position: number
  readonly time: string
  readonly version: number
  readonly log: Log
  readonly metadata: Metadata
}
/** An event as it is stored and published. */
export type Envelope = Head & Fact
export type CoreEnvelope = Head & CoreFact
export type EnvelopeOf<T extends CoreType> = Head & Extract<CoreFact, { readonly type: T }>
/** An event that has happened and awaits its place in the journal. */
export type Unstored = Omit<Head, "position"> & Fact
