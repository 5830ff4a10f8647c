// A node in memory that asks the plugin about its segments, as the agent does: through `compose`, with what was recorded before. Holds no test.
import { createHash } from "node:crypto"
import { pipeline, type Transform } from "node:stream"
import { createGunzip, createGzip } from "node:zlib"
import {
  type Codec,
  compose,
  type Composed,
  type Log,
  LogFilesError,
  type PluginFact,
  type Question,
  type Ruling,
  type Segment,
} from "@cordwood/core"
import { plainCodec } from "@cordwood/core/testing"
import { Clock, Duration, Effect, Exit, Fiber, Logger, Scope, Tracer } from "effect"
import type * as z from "zod"
import { s3 } from "../src/index.ts"

export const LOG: Log = {
  path: "/var/log/pods/shop_web-0_6f1c/app/3.log",
  namespace: "shop",
  pod: "web-0",
  podUid: "6f1c",
  container: "app",
  containerId: "c0ffee",
}

const through = async function* (
  engine: Transform,
  input: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  // The engine's error is thrown where it is read.
  pipeline(input, engine, () => undefined)
  yield* engine
}
const gzipCodec: Codec = {
  id: "gzip",
  suffix: ".gz",
  encode: (input) => through(createGzip(), input),
  decode: (input) => through(createGunzip(), input),
}
export const CODECS: ReadonlyArray<Codec> = [gzipCodec, plainCodec]

/** Lines as containerd writes them, of 100 bytes each. */
export const crLines = (bytes: number, from = 0): Buffer => {
  const count = Math.ceil(bytes / 100)
  const lines = Array.from({ length: count }, (_, at) => {
    const number = from + at
    const second = String(number % 60).padStart(2, "0")
    return `2026-09-09T04:33:${second}.123456789Z stdout F line ${String(number).padStart(10, "0")} `.padEnd(99, "x")
  })
  return Buffer.from(`${lines.join("\n")}\n`).subarray(0, bytes)
}

export const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

export interface File {
  readonly log?: Log
  readonly stamp?: string
  readonly suffix?: "" | ".gz"
  /** As it lies on disk; may be replaced, as a file may be written to. */
  bytes: Uint8Array
  /** What the agent knows beside `CODECS`. */
  readonly moreCodecs?: ReadonlyArray<Codec>
  /** How many bytes were read from it, all readings together. */
  readBytes?: number
}

const CHUNK_BYTES = 64 * 1024
/** What setTimeout takes at most. */
const MAX_TIMER_MS = 2 ** 31 - 1

export const segmentOf = ({ bytes, log = LOG, stamp = "20260909-043310", suffix = "" }: File): Segment => ({
  path: `${log.path}.${stamp}${suffix}`,
  name: `${log.path.slice(log.path.lastIndexOf("/") + 1)}.${stamp}${suffix}`,
  bytes: bytes.length,
  modifiedMs: 1_789_000_000_000,
  identity: "1:2",
  stamp,
  suffix,
  codec: suffix === "" ? null : "gzip",
})

const read = async function* (file: File, codec: Codec | null): AsyncGenerator<Uint8Array, void, undefined> {
  const { bytes } = file
  const stored = async function* () {
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
      const chunk = bytes.subarray(at, at + CHUNK_BYTES)
      file.readBytes = (file.readBytes ?? 0) + chunk.length
      yield chunk
    }
    if (file.bytes !== bytes) {
      throw new LogFilesError({
        op: "read",
        path: segmentOf(file).path,
        reason: "Changed",
        detail: "it grew meanwhile",
      })
    }
  }
  if (codec === null) return yield* stored()
  try {
    yield* codec.decode(stored())
  } catch (error) {
    throw new LogFilesError({ op: "read", path: segmentOf(file).path, reason: "Codec", detail: String(error) })
  }
}

/** A clock that is as fast as the real one, but can be set ahead; who sleeps wakes as it says. */
export const makeClock = (): { readonly clock: Clock.Clock; readonly advance: (ms: number) => void } => {
  const real = Effect.runSync(Clock.clockWith(Effect.succeed))
  let aheadMs = 0
  const sleepers = new Set<{ readonly untilMs: number; readonly wake: () => void }>()
  const nowMs = (): number => real.currentTimeMillisUnsafe() + aheadMs
  const nanos = (at: bigint): bigint => at + BigInt(aheadMs) * 1_000_000n
  const clock: Clock.Clock = {
    ...real,
    currentTimeMillisUnsafe: nowMs,
    currentTimeMillis: Effect.sync(nowMs),
    currentTimeNanosUnsafe: () => nanos(real.currentTimeNanosUnsafe()),
    currentTimeNanos: Effect.sync(() => nanos(real.currentTimeNanosUnsafe())),
    monotonicTimeNanosUnsafe: () => nanos(real.monotonicTimeNanosUnsafe()),
    monotonicTimeNanos: Effect.sync(() => nanos(real.monotonicTimeNanosUnsafe())),
    sleep: (duration) =>
      Effect.callback<void>((resume) => {
        const ms = Duration.toMillis(duration)
        const timer = setTimeout(() => sleeper.wake(), Math.min(ms, MAX_TIMER_MS))
        const forget = (): void => {
          clearTimeout(timer)
          sleepers.delete(sleeper)
        }
        const sleeper = {
          untilMs: nowMs() + ms,
          wake: () => {
            forget()
            resume(Effect.void)
          },
        }
        sleepers.add(sleeper)
        return Effect.sync(forget)
      }),
  }
  const advance = (ms: number): void => {
    aheadMs += ms
    for (const sleeper of sleepers) if (sleeper.untilMs <= nowMs()) sleeper.wake()
  }
  return { clock, advance }
}

export interface Node {
  /** What the agent would do: Allow, or Defer with who, why and for how long. */
  readonly ask: (file: File, occasion?: Question["occasion"]) => Promise<Ruling>
  /** Asks, and can be interrupted. */
  readonly asking: (file: File, occasion?: Question["occasion"]) => Fiber.Fiber<Ruling>
  /** What was recorded, of every segment, oldest first. */
  readonly recorded: ReadonlyArray<PluginFact>
  readonly composed: Composed
  /** Everything that was traced, in the order it began. */
  readonly spans: ReadonlyArray<Tracer.NativeSpan>
  /** Everything that was logged. */
  readonly logged: ReadonlyArray<string>
  readonly advance: (ms: number) => void
  readonly stop: () => Promise<void>
}

/** Starts the plugin. `history`: what an earlier life of the agent recorded; null: the journal is lost. */
export const startNode = async (
  config: z.input<typeof s3.config>,
  history: ReadonlyArray<PluginFact> | null = null,
): Promise<Node> => {
  const scope = Effect.runSync(Scope.make())
  const contributions = await Effect.runPromise(
    s3.setup(s3.config.parse(config), { version: "0.1.0", configHash: "0123456789abcdef" }).pipe(Scope.provide(scope)),
  )
  const composed = await Effect.runPromise(compose([{ plugin: "s3", contributions }]))
  const recorded: Array<PluginFact> = [...(history ?? [])]
  const logged: Array<string> = []
  const spans: Array<Tracer.NativeSpan> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    },
  })
  const { advance, clock } = makeClock()
  const logger = Logger.make(({ logLevel, message }) => void logged.push(`${logLevel} ${String(message)}`))
  const question = (file: File, occasion: Question["occasion"]): Question => {
    const segment = segmentOf(file)
    const told = recorded.filter(({ data }) =>
      (data as { readonly path: string }).path.startsWith(segment.path.replace(/\.gz$/, "")),
    )
    return {
      log: file.log ?? LOG,
      segment,
      occasion,
      correlationId: "pass-1",
      history: { rotated: null, told },
      codecs: [...CODECS, ...(file.moreCodecs ?? [])],
      stored: () => read(file, null),
      raw: () => read(file, CODECS.find(({ id }) => id === segment.codec) ?? null),
      record: (fact) => Effect.sync(() => void recorded.push(fact)),
    }
  }
  const asking: Node["asking"] = (file, occasion = "removal") =>
    Effect.runFork(
      composed
        .ask(question(file, occasion))
        .pipe(
          Effect.provideService(Clock.Clock, clock),
          Effect.provide(Logger.layer([logger])),
          Effect.withTracer(tracer),
        ),
    )
  return {
    asking,
    ask: (file, occasion) => Effect.runPromise(Fiber.join(asking(file, occasion))),
    recorded,
    composed,
    spans,
    logged,
    advance,
    stop: () => Effect.runPromise(Scope.close(scope, Exit.void)),
  }
}
