/**
 * The steps that may take their time and ask nobody: cleaning, compressing. A file goes, and the event is stored, in one stretch that nothing
 * interrupts; what comes before can be. Each returns false if it did not come about.
 */
import {
  type Clean,
  type Codec,
  type Compress,
  type CoreFact,
  type FileSeen,
  LogFilesError,
  verdictOf,
} from "@cordwood/core"
import { Effect } from "effect"
import { monotonicMs } from "../clock.ts"
import { compare } from "./comparing.ts"
import type { PassRecord } from "./pass-record.ts"
import { codecOf, type PassPorts } from "./watched.ts"

/** Compressing or verifying one segment: a gigabyte takes under a minute. */
const CODEC_LIMIT_MS = 15 * 60_000
/** What costs a core, and fails, is tried on the next pass, then after this long, doubled every time … */
const FIRST_PAUSE_MS = 20_000
/** … up to this: a segment that can't be compressed must not keep a core, or the disk's last bytes, busy. */
const LAST_PAUSE_MS = 10 * 60_000

type Step = Effect.Effect<boolean, LogFilesError>

/**
 * Removes a file and records it, as one. The fact is told how many bytes went. False if the journal was begun anew since the log was looked at: it must
 * know of the segment first, or nobody would ever tell of a removal that the agent dies after.
 */
export const goes = (
  record: PassRecord,
  file: FileSeen,
  options: { readonly unchanged: boolean },
  fact: (bytes: number) => CoreFact,
): Effect.Effect<boolean, LogFilesError> =>
  Effect.suspend(() =>
    record.state.files === null
      ? Effect.succeed(false)
      : record.ports.files.remove(file, options).pipe(
          Effect.flatMap((bytes) => record.done(fact(bytes))),
          Effect.as(true),
        ),
  ).pipe(record.watched.books.withPermit, Effect.uninterruptible)

export const clean = (record: PassRecord, step: Clean): Step =>
  Effect.gen(function* () {
    const { files, plugins } = record.ports
    const { file, reason } = step
    // What was empty is somebody's, if anything was written to it since.
    if (reason === "temporary") return yield* cleaned(record, file, reason, file.bytes === 0)
    if (step.twin === "active") {
      // One file under two names; the segment's goes, if the active file's is still a name of it.
      const { entries } = yield* files.list(record.log.path)
      const active = entries.find(({ path }) => path === record.log.path)
      return active?.identity === file.identity ? yield* cleaned(record, file, reason, false) : true
    }
    const { twin } = step
    const codec = codecOf(plugins, twin.codec)
    if (codec === undefined) return true
    const { disputed } = record.watched
    const goesFirst = yield* pausing(record, file.path, whichGoes(record, file, twin, codec)).pipe(
      Effect.tapError(({ reason }) => Effect.sync(() => void (reason === "Disputed" && disputed.add(file.stamp)))),
    )
    disputed.delete(file.stamp)
    return yield* goesFirst === "plain" ? cleaned(record, file, reason, true) : cleaned(record, twin, "invalid", true)
  })

/** Which of a plain segment and its twin is the leftover. Fails if each holds what the other doesn't: then both stay. */
const whichGoes = (
  { ports: { codecLane, files } }: PassRecord,
  plain: FileSeen,
  twin: FileSeen,
  codec: Codec,
): Effect.Effect<"plain" | "twin", LogFilesError> =>
  Effect.gen(function* () {
    const { path } = plain
    if (yield* withCodec(codecLane, files.matches(twin, plain, codec), path)) return "plain"
    const comparing = compare(files, { file: twin, codec }, { file: plain, codec: null })
    const compared = yield* withCodec(codecLane, comparing, path).pipe(
      // A second name of a file from elsewhere, of which only the name goes.
      Effect.catchIf(
        ({ path, reason }) => reason === "Linked" && path === twin.path,
        () => Effect.succeed(null),
      ),
    )
    if (compared === null) return "twin"
    switch (verdictOf(compared)) {
      case "plain-goes":
        return "plain"
      case "twin-goes":
      case "torn-twin-goes":
      case "strange-twin-goes":
        return "twin"
      case "both-stay": {
        const detail = `it and ${twin.path} each hold bytes that the other doesn't, and neither is taken for a leftover`
        return yield* new LogFilesError({ op: "clean", path, reason: "Disputed", detail })
      }
    }
  })

const cleaned = (
  record: PassRecord,
  file: FileSeen,
  reason: "temporary" | "superseded" | "invalid",
  unchanged: boolean,
): Step =>
  Effect.map(
    goes(record, file, { unchanged }, (bytes) => ({ type: "Cleaned", data: { path: file.path, bytes, reason } })),
    (gone) => {
      if (gone) record.tally.cleaned += 1
      return gone
    },
  )

export const compress = (record: PassRecord, { codec: id, segment, to }: Compress): Step =>
  Effect.gen(function* () {
    const { files, plugins } = record.ports
    const { path } = segment
    const codec = codecOf(plugins, id)
    if (codec === undefined) return true
    const startedMs = yield* monotonicMs
    const compressing = withCodec(record.ports.codecLane, files.compress(segment, to, codec), path)
    const made = yield* pausing(record, path, compressing)
    const durationMs = (yield* monotonicMs) - startedMs
    // Only what was read may go. If more has been written since, the next pass finds that the twin isn't one, and begins anew.
    const gone = yield* goes(record, made.source, { unchanged: true }, () => ({
      type: "Compressed",
      data: { from: path, to, codec: id, bytesIn: made.bytesIn, bytesOut: made.bytesOut, durationMs },
    }))
    if (!gone) return false
    record.ports.waiting.resize(record.log.path, segment.stamp, made.bytesOut)
    record.tally.compressed += 1
    return true
  })

/** If it fails, it is put off, for longer every time. */
const pausing = <A>(
  { watched: { pauses } }: PassRecord,
  path: string,
  effect: Effect.Effect<A, LogFilesError>,
): Effect.Effect<A, LogFilesError> =>
  effect.pipe(
    Effect.tapError(() =>
      Effect.map(monotonicMs, (nowMs) => {
        const pause = pauses.get(path)
        const waitMs = pause === undefined ? 0 : Math.min(LAST_PAUSE_MS, Math.max(FIRST_PAUSE_MS, pause.waitMs * 2))
        pauses.set(path, { untilMs: nowMs + waitMs, waitMs })
      }),
    ),
    Effect.tap(() => Effect.sync(() => void pauses.delete(path))),
  )

/** Runs what costs a core, when there is one for it, and no longer than it may take. */
export const withCodec = <A>(
  codecLane: PassPorts["codecLane"],
  effect: Effect.Effect<A, LogFilesError>,
  path: string,
): Effect.Effect<A, LogFilesError> => {
  const detail = `not done within ${CODEC_LIMIT_MS / 60_000} minutes`
  const tooLong = (): LogFilesError => new LogFilesError({ op: "compress", path, reason: "Codec", detail })
  return codecLane.withPermit(
    Effect.timeoutOrElse(effect, { duration: CODEC_LIMIT_MS, orElse: () => Effect.fail(tooLong()) }),
  )
}
