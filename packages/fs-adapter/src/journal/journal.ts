/** The journal port on SQLite, as a layer. Reads the clock and leaves everything else to the writer. */
import { resolve } from "node:path"
import { Clock, Effect, Layer, Schedule } from "effect"
import { Journal, type DecodeOptions, type JournalError } from "@cordwood/core"
import { errno, journalError, Refusal } from "./failure.ts"
import type { Moment } from "./retention.ts"
import { makeWriter, MAX_BYTES_MIN } from "./writer.ts"

/** Milliseconds: 30 days. */
export const JOURNAL_KEEP_MS = 30 * 24 * 60 * 60_000
/** Bytes: 256 MiB, some 200,000 events. */
export const JOURNAL_MAX_BYTES = 256 * 1024 * 1024
/** Retention goes on between appends too, or an idle agent would keep its events for ever. */
const TEND_EVERY = "1 minute"
/** Rounds in a row before the next minute; each gives way to other work in between. */
const TEND_ROUNDS_MAX = 400

export interface SqliteJournalOptions {
  /** Of the database; its lock, its log of writes and what is set aside lie beside it, with longer names. */
  readonly path: string
  /** Milliseconds; events older than this go. 30 days if not given. */
  readonly keepMs?: number
  /** Bytes that the database and its log of writes take; the oldest events go first. At least 1 MiB; 256 MiB if not given. */
  readonly maxBytes?: number
  /** What is needed to read plugins' events. */
  readonly decode?: DecodeOptions
}

/**
 * The one writer of a journal, until the scope ends. Building it fails for what an operator has to settle: another agent keeps
 * this journal (`Locked`), the path can't be used. A full or read-only disk is no such thing: the layer is built, appends
 * fail with the reason, and succeed once the disk allows it, because rotation is what frees the disk.
 */
export const sqliteJournal = (options: SqliteJournalOptions): Layer.Layer<Journal, JournalError> =>
  Layer.effect(
    Journal,
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      const now = (): Moment => ({
        wallMs: clock.currentTimeMillisUnsafe(),
        monotonicMs: Number(clock.monotonicTimeNanosUnsafe() / 1_000_000n),
      })
      const path = resolve(options.path)
      const call = <A>(op: string, run: () => A): Effect.Effect<A, JournalError> =>
        Effect.try({ try: run, catch: (error) => journalError(op, path, error) })
      const writer = makeWriter(
        {
          path,
          keepMs: options.keepMs ?? JOURNAL_KEEP_MS,
          maxBytes: Math.max(options.maxBytes ?? JOURNAL_MAX_BYTES, MAX_BYTES_MIN),
          decode: options.decode ?? {},
        },
        now(),
      )
      yield* Effect.addFinalizer(() => Effect.sync(writer.close))
      yield* call("open", () => {
        try {
          writer.open(now())
        } catch (error) {
          if (mustBeSettled(error, path)) throw error
        }
      })
      const tend = Effect.gen(function* () {
        for (let round = 0; round < TEND_ROUNDS_MAX; round += 1) {
          if (!(yield* call("tend", () => writer.tend(now())))) return
          yield* Effect.yieldNow
        }
      })
      // What fails here fails the next append as well, which says so.
      yield* Effect.ignore(tend).pipe(Effect.repeat(Schedule.spaced(TEND_EVERY)), Effect.forkScoped)
      return Journal.of({
        append: (events) => call("append", () => writer.append(events, now())),
        read: (query) => call("read", () => writer.read(query, now())),
        replay: call("replay", () => writer.replay(now())),
      })
    }),
  )

const mustBeSettled = (error: unknown, path: string): boolean =>
  error instanceof Refusal || journalError("open", path, error).reason === "Denied" || errno(error) === "ENOTDIR"
