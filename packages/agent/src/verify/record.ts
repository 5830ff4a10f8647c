/** What the journal says, as verifying needs it: its own soundness, and what its events add up to. Reads it beside a running agent, and changes nothing. */
import { existsSync } from "node:fs"
import {
  type Decoded,
  type DecodeOptions,
  evolve,
  type Finding,
  findingOf,
  initialState,
  type JournalError,
  type Log,
  type LogState,
  type Making,
  remember,
} from "@cordwood/core"
import {
  examineJournal,
  isJournalGone,
  type JournalExamination,
  type JournalFault,
  journalObstacle,
  sqliteJournalReader,
} from "@cordwood/fs-adapter"
import { Effect } from "effect"

/** What is on record of one log. */
export interface Known {
  readonly log: Log
  readonly state: LogState
}

/** What all events add up to, as of the last look. */
export interface OnRecord {
  readonly states: ReadonlyMap<string, Known>
  readonly makings: ReadonlyMap<string, Making>
  /** Adds what has come since. An agent's journal that can't be read at this moment adds nothing. */
  readonly refresh: Effect.Effect<void>
}
export interface JournalVerified {
  readonly findings: ReadonlyArray<Finding>
  /** Null: there is no journal, or none that can be read. */
  readonly record: OnRecord | null
  /** How many events there are; null if there is no journal. */
  readonly events: number | null
  /** The file is damaged: it is to be set aside. */
  readonly corrupt: boolean
}

/** Events read at a time. */
const PAGE = 500

/** Never fails: what can't be looked at is a finding. */
export const verifyJournal = (path: string, decode: DecodeOptions): Effect.Effect<JournalVerified> =>
  Effect.gen(function* () {
    if (!existsSync(path)) return yield* noJournal(path)
    let folding = new Folding(path, decode)
    const examined = yield* examineJournal({ path, decode }, () => {
      folding = new Folding(path, decode)
      return (decoded) => folding.look(decoded)
    })
    const { events, faults, replay } = examined
    for (const decoded of replay ?? []) folding.fold(decoded)
    return {
      findings: findingsOf(path, examined),
      record: replay === null ? null : folding,
      events,
      corrupt: faults.some(({ kind }) => kind === "corrupt"),
    }
  }).pipe(
    Effect.catch((error: JournalError) =>
      Effect.succeed({ ...NOTHING, findings: [unreadable(path, error)] } satisfies JournalVerified),
    ),
  )

const NOTHING: JournalVerified = { findings: [], record: null, events: null, corrupt: false }

const noJournal = (path: string): Effect.Effect<JournalVerified, JournalError> =>
  Effect.map(isJournalGone(path), (gone): JournalVerified => {
    const obstacle = journalObstacle(path)
    if (obstacle !== null) return { ...NOTHING, findings: [unreadable(path, obstacle)] }
    if (!gone) return NOTHING
    const message = "the journal is gone: an agent has kept one here, and its lock lies there still"
    const hint = "put it back, or let cordwood run, or --repair, begin a new one; what was on record is lost"
    return { ...NOTHING, findings: [findingOf("journal-missing", { path, log: null, message, hint }, "possible")] }
  })

const unreadable = (path: string, { hint, message }: JournalError): Finding =>
  findingOf("journal-unreadable", { path, log: null, message, hint })

/** The file's own damage is one finding, however many pages it is about. */
const findingsOf = (path: string, { faults, untold }: JournalExamination): ReadonlyArray<Finding> => {
  const [first, ...others] = faults.filter(({ kind }) => kind === "corrupt")
  const more = others.length === 0 ? "" : `; and ${others.length} more`
  const rest = untold === 0 ? [] : [overflow(path, untold)]
  const corrupt =
    first === undefined
      ? []
      : [
          findingOf(
            "journal-corrupt",
            { path, log: null, message: `SQLite finds the file damaged: ${first.detail}${more}`, hint: CORRUPT_HINT },
            "possible",
          ),
        ]
  const single = faults.filter(({ kind }) => kind !== "corrupt").map((fault) => ofEvent(path, fault))
  return [...corrupt, ...single, ...rest]
}
const CORRUPT_HINT =
  "--repair sets it aside, whole, and begins a new one; check the disk, and save what can be read of it (cordwood events)"
const ROW_HINT = "the event is passed over; it goes when it is as old as journal.keep says. Check the disk"
const INDEX_HINT =
  "what the journal adds up to may begin at the wrong event; no log is touched by that. To begin anew, stop the agent and move the journal away"

const ofEvent = (path: string, { detail, kind, position }: JournalFault): Finding =>
  findingOf(kind === "row" ? "journal-row" : "journal-index", {
    path,
    log: null,
    message: position === null ? detail : `position ${position}: ${detail}`,
    hint: kind === "row" ? ROW_HINT : INDEX_HINT,
  })
const overflow = (path: string, untold: number): Finding =>
  findingOf("journal-row", { path, log: null, message: `and ${untold} more of these`, hint: ROW_HINT })

class Folding implements OnRecord {
  readonly states = new Map<string, Known>()
  readonly makings = new Map<string, Making>()
  readonly refresh: Effect.Effect<void>
  #last = 0

  constructor(path: string, decode: DecodeOptions) {
    const reader = sqliteJournalReader({ path, decode })
    const more = Effect.map(
      Effect.suspend(() => reader.read({ after: this.#last, limit: PAGE })),
      (page) => {
        const before = this.#last
        for (const decoded of page) {
          this.fold(decoded)
          this.look(decoded)
        }
        return this.#last > before
      },
    )
    this.refresh = Effect.ignore(Effect.repeat(more, { while: (isMore) => isMore }))
  }
  /** What is told of how files came to be, in every event there is. */
  look(decoded: Decoded): void {
    if (decoded._tag === "Known") {
      this.#last = Math.max(this.#last, decoded.event.position)
      remember(this.makings, decoded.event)
    }
  }
  /** What the events of a replay, and those after it, add up to. */
  fold(decoded: Decoded): void {
    if (decoded._tag !== "Known") return
    const { event } = decoded
    const before = this.states.get(event.log.path)?.state ?? initialState
    this.states.set(event.log.path, { log: event.log, state: evolve(before, event) })
  }
}
