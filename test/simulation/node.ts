/** What a simulated node lends to the program that rotates its logs. */
import type { Source } from "@cordwood/core"
import type { World } from "@cordwood/core/testing"
import type { Effect } from "effect"
import type { KeptJournal } from "./kept-journal.ts"
import type { ObjectStore } from "./object-store.ts"
import type { Scenario } from "./scenario.ts"

export interface Node {
  readonly world: World
  readonly scenario: Scenario
  readonly journal: KeptJournal
  readonly store: ObjectStore | null
  /** The logs of the containers that run, and of those that have ended, for the program of this incarnation. */
  readonly source: () => Source
  /** To be told of every answer to how much is free on the disk, in bytes, before the program is. */
  readonly foundFree: (bytes: number) => void
  readonly newId: () => string
  /** Whether the program of this incarnation is no more. */
  readonly isDead: () => boolean
  /** What a clock on the wall shows: it knows of time zones and of daylight saving, as only people should. */
  readonly localMs: () => number
}

/** A program that rotates logs. */
export interface Subject {
  readonly name: string
  /** Runs for ever, or for one pass if the scenario says so. */
  readonly run: (node: Node) => Effect.Effect<unknown, unknown>
  /** Whether it keeps the journal, and settles, as the agent promises to. */
  readonly keepsRecords: boolean
  /** Whether it looks at every error of a write. */
  readonly minds: boolean
}
