/**
 * Where events are kept. Append-only; positions strictly increase. The journal serves rotation, never the reverse: what can't be
 * stored now is kept and offered again by the agent, and rotation goes on.
 */
import { Context, Data, type Effect } from "effect"
import type { Envelope, Unstored } from "../event/envelope.ts"
import type { Decoded } from "../event/decode.ts"

export type JournalReason = "Locked" | "Denied" | "NoSpace" | "ReadOnly" | "Corrupt" | "Busy" | "Other"

/** The one error of the port. `hint` says what the operator can do. */
export class JournalError extends Data.TaggedError("JournalError")<{
  readonly op: string
  readonly path: string
  readonly reason: JournalReason
  readonly detail: string
  readonly hint: string
}> {
  override get message(): string {
    return `${this.op} ${this.path}: ${this.detail}`
  }
}

/** The journal's file was no use, or gone, and a new one was begun. */
export interface Replaced {
  readonly path: string
  readonly reason: "Corrupt" | "Missing"
  /** Where the old file lies now; null if there was none left. */
  readonly keptAs: string | null
  readonly detail: string
}

export interface Appended {
  readonly events: ReadonlyArray<Envelope>
  /** Set on the first append after the journal was replaced: what earlier events said must be said again. */
  readonly replaced: Replaced | null
}

/** Which events to read, oldest first. Every condition is optional. */
export interface JournalQuery {
  /** Only positions greater than this one. */
  readonly after?: number
  /** Only events at or after this time, ISO 8601 UTC. */
  readonly since?: string
  /** At most this many; 1,000 if not given. */
  readonly limit?: number
}

export interface JournalShape {
  /** Stores all of them or none, durably, in order. An event whose id is stored already is not stored twice. */
  readonly append: (events: ReadonlyArray<Unstored>) => Effect.Effect<Appended, JournalError>
  readonly read: (query: JournalQuery) => Effect.Effect<ReadonlyArray<Decoded>, JournalError>
  /** What a fold needs: every log's events since its latest `Scanned`, that one included, and its latest `Rotated`; in order of position. */
  readonly replay: Effect.Effect<ReadonlyArray<Decoded>, JournalError>
}

export class Journal extends Context.Service<Journal, JournalShape>()("@cordwood/core/Journal") {}
