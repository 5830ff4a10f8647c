/** `events`: what the journal holds, and, with `--follow`, what is added to it. Reads the journal beside a running daemon; writes nothing. */
import { type Decoded, type Envelope, type JournalError, Log } from "@cordwood/core"
import { journalObstacle, sqliteJournalReader, type JournalReader } from "@cordwood/fs-adapter"
import { Effect } from "effect"
import { existsSync, statSync } from "node:fs"
import { loadConfig } from "../config/load.ts"
import { eventJson, eventLine, unknownLine } from "./event-text.ts"
import { logFilter } from "./log-filter.ts"
import { untilSignal } from "./signals.ts"
import { colorsFor, print, printJson, safe, say } from "./terminal.ts"

export interface EventsInput {
  readonly config: string
  readonly json: boolean
  readonly follow: boolean
  /** ISO 8601 UTC. */
  readonly since: string | null
  readonly log: string | null
}

/** How many events are read at a time: bounds memory, whatever the journal holds. */
const PAGE = 500
/** How soon a new event is printed. */
const FOLLOW_EVERY_MS = 250

export const events = (input: EventsInput) =>
  Effect.gen(function* () {
    const { settings } = yield* loadConfig(input.config)
    const { path } = settings.journal
    const reader = sqliteJournalReader({ path })
    const show = printer(input)
    if (input.follow) return yield* untilSignal(follow(reader, path, input.since, show))
    if (!existsSync(path)) return yield* sayNoJournal(path)
    yield* catchUp(reader, 0, input.since, show)
  })

const noJournal = (path: string): string => `cordwood: there is no journal at ${safe(path)} yet; cordwood run begins it`

/** Says that there is no journal yet; fails if there can't be one, or none that this user may look for. */
export const sayNoJournal = (path: string): Effect.Effect<void, JournalError> =>
  Effect.suspend(() => {
    const obstacle = journalObstacle(path)
    return obstacle === null ? Effect.sync(() => say(noJournal(path))) : Effect.fail(obstacle)
  })

/** Shows everything after a position; succeeds with the last one there was. */
const catchUp = (reader: JournalReader, after: number, since: string | null, show: (decoded: Decoded) => void) =>
  Effect.gen(function* () {
    let last = after
    for (;;) {
      const page = yield* reader.read({ after: last, limit: PAGE, ...(since === null ? {} : { since }) })
      for (const decoded of page) {
        show(decoded)
        last = Math.max(last, positionOf(decoded))
      }
      if (page.length < PAGE) return last
    }
  })

const positionOf = (decoded: Decoded): number => {
  if (decoded._tag === "Known") return decoded.event.position
  const position = decoded._tag === "Unknown" ? (decoded.raw as { readonly position?: unknown }).position : undefined
  return typeof position === "number" ? position : 0
}

/** Tells a journal's file from one that was begun anew in its place; null if there is none that can be seen. */
const identityOf = (path: string): string | null => {
  try {
    const seen = statSync(path, { bigint: true })
    return `${seen.dev}:${seen.ino}:${seen.birthtimeNs}`
  } catch {
    return null
  }
}

/** Never ends. A journal that is away is waited for; one that was begun anew holds nothing that was shown, and is read from its start. */
const follow = (reader: JournalReader, path: string, since: string | null, show: (decoded: Decoded) => void) =>
  Effect.gen(function* () {
    let last = 0
    let known: string | null = null
    let said = ""
    const complain = (line: string): void => {
      if (line !== said && line !== "") say(line)
      said = line
    }
    for (;;) {
      const identity = identityOf(path)
      if (identity !== known) last = 0
      known = identity
      if (identity !== null) {
        last = yield* catchUp(reader, last, since, show).pipe(
          Effect.tap(() => Effect.sync(() => complain(""))),
          Effect.catch((error) =>
            Effect.sync(() => {
              complain(`cordwood: ${safe(error.message)}; ${safe(error.hint)}`)
              return last
            }),
          ),
        )
      } else {
        const obstacle = journalObstacle(path)
        if (obstacle === null) complain(`${noJournal(path)}; waiting for it`)
        else complain(`cordwood: ${safe(obstacle.message)}; ${safe(obstacle.hint)}`)
      }
      yield* Effect.sleep(FOLLOW_EVERY_MS)
    }
  })

/** Prints the events that were asked for. */
const printer = ({ json, log }: EventsInput): ((decoded: Decoded) => void) => {
  const wanted = logFilter(log)
  const colors = colorsFor(process.stdout)
  return (decoded) => {
    switch (decoded._tag) {
      case "Known":
        if (!wanted(decoded.event.log)) return
        return json ? printJson(eventJson(decoded.event)) : print(eventLine(decoded.event, colors))
      case "Unknown": {
        const about = Log.safeParse((decoded.raw as Partial<Envelope> | null)?.log)
        if (log !== null && !(about.success && wanted(about.data))) return
        return json ? printJson(decoded.raw) : print(unknownLine(decoded, colors))
      }
      case "Invalid":
        return say(`cordwood: an event in the journal can't be read: ${safe(decoded.problem)}`)
    }
  }
}
