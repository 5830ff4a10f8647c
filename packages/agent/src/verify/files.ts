/**
 * Reads the files of a log to their end, each through its codec, and keeps what came of it for as long as they stay as they were. Reads only, and a bounded
 * part at a time.
 */
import {
  type Comparison,
  type Examined,
  type FileSeen,
  type LogFilesError,
  nameOf,
  parseRotatedName,
  type Reading,
  type Segment,
  type TemporaryProof,
  twinsIn,
} from "@cordwood/core"
import { Effect } from "effect"
import { compare, errorOf, goThrough, type Stored } from "../pass/comparing.ts"
import { withCodec } from "../pass/upkeep.ts"
import { codecOf, type PassPorts, type Scan } from "../pass/watched.ts"

type Ports = Pick<PassPorts, "files" | "plugins" | "codecLane">

/** What came of reading a file as it was then. */
interface Kept<A> {
  readonly of: ReadonlyArray<FileSeen>
  readonly value: A
}
const isAsItWas = (now: FileSeen, then: FileSeen): boolean =>
  now.path === then.path &&
  now.identity === then.identity &&
  now.bytes === then.bytes &&
  now.modifiedMs === then.modifiedMs

/** Of one log. */
export class FilesRead {
  readonly #readings = new Map<string, Kept<Reading>>()
  readonly #twins = new Map<string, Kept<Comparison>>()
  readonly #temporaries = new Map<string, Kept<TemporaryProof>>()

  /** Reads all that a scan saw; `done` is told of each segment. At most `workers` files at a time. */
  static of(
    ports: Ports,
    { snapshot }: Scan,
    workers: number,
    done: (segment: Segment) => void,
  ): Effect.Effect<FilesRead> {
    const read = new FilesRead()
    const { active, segments, temporaries } = snapshot
    const plain = segments.filter(({ identity, suffix }) => suffix === "" && identity !== active?.identity)
    const compressed = twinsIn(segments)
    const pairs = new Map(
      plain.flatMap((segment) => {
        const twin = compressed.get(segment.stamp)
        // One file under both names can't be proof of itself.
        return twin === undefined || twin.identity === segment.identity ? [] : [[segment, twin] as const]
      }),
    )
    const twins = new Set(pairs.values())
    const one = (segment: Segment): Effect.Effect<void> =>
      Effect.gen(function* () {
        const twin = pairs.get(segment)
        if (twin === undefined) {
          // One that has the active file's bytes grows on, and is read under its own name by whoever rotates it.
          if (!twins.has(segment) && segment.identity !== active?.identity) yield* read.#read(ports, segment)
        } else if (!(yield* read.#compare(ports, segment, twin))) {
          yield* Effect.andThen(read.#read(ports, segment), read.#read(ports, twin))
        }
        done(segment)
      })
    const made = new Map(segments.toReversed().map((segment) => [segment.stamp, segment]))
    const madeOf = ({ path }: FileSeen): Segment | undefined => {
      const parsed = parseRotatedName(nameOf(snapshot.log.path), nameOf(path), [])
      return parsed === null ? undefined : made.get(parsed.stamp)
    }
    const rest = Effect.forEach(temporaries, (file) => read.#prove(ports, file, madeOf(file)), { discard: true })
    return Effect.as(Effect.andThen(Effect.forEach(segments, one, { concurrency: workers, discard: true }), rest), read)
  }

  /** What was found of the files that a later scan sees, where they are as they were; the others were not read. */
  examined({ snapshot, stamps }: Scan): Examined {
    const seen = new Map([...snapshot.segments, ...snapshot.temporaries].map((file) => [file.path, file]))
    const still = <A>(kept: ReadonlyMap<string, Kept<A>>): ReadonlyMap<string, A> =>
      new Map(
        [...kept].flatMap(([path, { of, value }]) => {
          const unchanged = of.every((then) => {
            const now = seen.get(then.path)
            return now !== undefined && isAsItWas(now, then)
          })
          return unchanged ? [[path, value] as const] : []
        }),
      )
    return {
      snapshot,
      stamps,
      readings: still(this.#readings),
      twins: still(this.#twins),
      temporaries: still(this.#temporaries),
    }
  }

  #read(ports: Ports, segment: Segment): Effect.Effect<void> {
    const { files, plugins } = ports
    const stored: Stored = { file: segment, codec: codecOf(plugins, segment.codec) ?? null }
    let bytes = 0
    const through = Effect.tryPromise({
      try: (signal) =>
        goThrough(
          files,
          stored,
          (piece) => {
            bytes += piece.length
          },
          signal,
        ),
      catch: (error) => errorOf(segment.path, error),
    })
    return withCodec(ports.codecLane, through, segment.path).pipe(
      Effect.map((why): Reading | null => (why === null ? { _tag: "Whole", bytes } : { _tag: "Broken", bytes, why })),
      Effect.catch((error) => Effect.succeed(unreadOf(error, bytes))),
      Effect.map((value) => {
        if (value !== null) this.#readings.set(segment.path, { of: [segment], value })
      }),
    )
  }

  /** False if the two could not be compared. */
  #compare(ports: Ports, plain: Segment, twin: Segment): Effect.Effect<boolean> {
    const codec = codecOf(ports.plugins, twin.codec) ?? null
    const compared = compare(ports.files, { file: twin, codec }, { file: plain, codec: null })
    return withCodec(ports.codecLane, compared, twin.path).pipe(
      Effect.map((value) => {
        this.#twins.set(plain.path, { of: [plain, twin], value })
        return true
      }),
      Effect.orElseSucceed(() => false),
    )
  }

  /** Whether all bytes of a temporary file are in the segment that it was made of. Some codec must have made it, and something must come out of it. */
  #prove(ports: Ports, file: FileSeen, made: Segment | undefined): Effect.Effect<void> {
    const proof = Effect.gen(function* () {
      if (file.bytes === 0) return "empty"
      if (made === undefined) return "lone"
      const of: Stored = { file: made, codec: codecOf(ports.plugins, made.codec) ?? null }
      for (const codec of ports.plugins.codecs) {
        const compared = yield* withCodec(ports.codecLane, compare(ports.files, { file, codec }, of), file.path)
        if (compared.bytes > 0 && (compared.relation === "Same" || compared.relation === "Within")) return "proven"
      }
      return "unproven"
    })
    return proof.pipe(
      Effect.orElseSucceed(() => "unproven" as const),
      Effect.map((value) => void this.#temporaries.set(file.path, { of: [file], value })),
    )
  }
}

/** What is gone, or is written to, while it is read says nothing: a later look does. */
const unreadOf = (error: LogFilesError, bytes: number): Reading | null => {
  const { hint, message, reason } = error
  if (reason === "NotFound" || reason === "Changed") return null
  return reason === "Codec" ? { _tag: "Broken", bytes, why: error.detail } : { _tag: "Unread", message, hint }
}
