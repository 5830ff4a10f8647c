/**
 * A journal in memory, for tests and the simulator, with faults to order. Keeps what it is given as JSON, as a real one does,
 * and forgets nothing by itself. Knows no clock.
 */
import { Effect } from "effect"
import { decode, type DecodeOptions } from "../event/decode.ts"
import type { Envelope, Unstored } from "../event/envelope.ts"
import { JournalError, type Appended, type JournalQuery, type JournalShape, type Replaced } from "../port/journal.ts"

/** What becomes of one append. */
export type AppendFault =
  | { readonly _tag: "None" }
  /** Nothing is stored, and the append fails. */
  | { readonly _tag: "FailBefore"; readonly error?: JournalError }
  /** All is stored, and the append fails: whoever appends must offer the same events again. */
  | { readonly _tag: "FailAfter"; readonly error?: JournalError }
  /** What was stored before is lost; the append succeeds in a new journal, and says so. */
  | { readonly _tag: "Replace"; readonly replaced?: Replaced }

export interface MemoryJournal extends JournalShape {
  /** Everything stored, oldest first. */
  readonly stored: () => ReadonlyArray<Envelope>
  /** Adds to the faults in waiting; every append that stores something takes one, and has none when there is none left. */
  readonly order: (...faults: ReadonlyArray<AppendFault>) => void
  /** Drops events as retention would; positions go on rising. */
  readonly drop: (which: (event: Envelope) => boolean) => void
}

export interface MemoryJournalOptions {
  readonly path?: string
  readonly decode?: DecodeOptions
  readonly faults?: ReadonlyArray<AppendFault>
}

/** Events that one read returns if it doesn't say; the port's. */
const READ_LIMIT = 1_000

export const makeMemoryJournal = (options: MemoryJournalOptions = {}): MemoryJournal => {
  const path = options.path ?? "/journal"
  const faults = [...(options.faults ?? [])]
  let lastPosition = 0
  let rows: Array<{ readonly event: Envelope; readonly json: string }> = []
  const byId = new Map<string, Envelope>()

  const failure = (when: string): JournalError =>
    new JournalError({
      op: "append",
      path,
      reason: "NoSpace",
      detail: `a fault ${when} the append`,
      hint: "Ordered by the test.",
    })

  const storeOne = (unstored: Unstored): Envelope => {
    const before = byId.get(unstored.id)
    if (before !== undefined) return before
    lastPosition += 1
    const event: Envelope = { ...unstored, position: lastPosition }
    rows.push({ event, json: JSON.stringify(event) })
    byId.set(event.id, event)
    return event
  }

  const drop = (which: (event: Envelope) => boolean): void => {
    rows = rows.filter(({ event }) => !which(event))
    byId.clear()
    for (const { event } of rows) byId.set(event.id, event)
  }

  const append = (events: ReadonlyArray<Unstored>): Effect.Effect<Appended, JournalError> =>
    Effect.suspend(() => {
      if (events.length === 0) return Effect.succeed({ events: [], replaced: null })
      const fault = faults.shift() ?? { _tag: "None" }
      if (fault._tag === "FailBefore") return Effect.fail(fault.error ?? failure("before"))
      if (fault._tag === "Replace") drop(() => true)
      const stored = events.map(storeOne)
      if (fault._tag === "FailAfter") return Effect.fail(fault.error ?? failure("after"))
      const replaced =
        fault._tag === "Replace"
          ? (fault.replaced ?? { path, reason: "Missing" as const, keptAs: null, detail: "ordered by the test" })
          : null
      return Effect.succeed({ events: stored, replaced })
    })

  const decoded = (which: (event: Envelope) => boolean) =>
    rows.filter(({ event }) => which(event)).map(({ json }) => decode(JSON.parse(json), options.decode))

  const read = (query: JournalQuery) =>
    Effect.suspend(() => {
      const sinceMs = query.since === undefined ? Number.NEGATIVE_INFINITY : Date.parse(query.since)
      if (Number.isNaN(sinceMs)) {
        const detail = `"${query.since}" is no time`
        return Effect.fail(
          new JournalError({ op: "read", path, reason: "Other", detail, hint: "Times are ISO 8601 in UTC." }),
        )
      }
      const after = query.after ?? 0
      const found = decoded(({ position, time }) => position > after && Date.parse(time) >= sinceMs)
      return Effect.succeed(found.slice(0, Math.max(0, query.limit ?? READ_LIMIT)))
    })

  const replay = Effect.sync(() => {
    const scanned = new Map<string, number>()
    const rotated = new Map<string, number>()
    for (const { event } of rows) {
      if (event.type === "Scanned") scanned.set(event.log.path, event.position)
      if (event.type === "Rotated") rotated.set(event.log.path, event.position)
    }
    return decoded(
      ({ log, position }) => position >= (scanned.get(log.path) ?? 0) || position === rotated.get(log.path),
    )
  })

  return {
    append,
    read,
    replay,
    stored: () => rows.map(({ event }) => event),
    order: (...more) => void faults.push(...more),
    drop,
  }
}
