/**
 * What every codec must do, as a list of cases that any test framework can run. Knows nothing about the format: it only sends bytes through, in and out.
 * Needs no framework, no `node:` and no network, so that a third party can run it on a codec of its own.
 */
import { Effect } from "effect"
import type { Codec } from "../plugin/codec.ts"
import { compose } from "../plugin/compose.ts"

/** Fails by rejecting, with a sentence. `name` is a sentence, too: a test's title. */
export interface CodecCase {
  readonly name: string
  readonly run: () => Promise<void>
}

/** `codecSuite(codec).forEach(({ name, run }) => it(name, run))` */
export const codecSuite = (codec: Codec): ReadonlyArray<CodecCase> => [
  {
    name: "has an id and a suffix that file names and policies can carry",
    run: async () => {
      await Effect.runPromise(compose([{ plugin: "suite", contributions: { codecs: [codec] } }]))
    },
  },
  ...samples.flatMap(({ make, sizes, what }) =>
    sizes.map((size): CodecCase => ({
      name: `gives back ${what}, sent in chunks of ${size} bytes`,
      run: async () => {
        const plain = make()
        const encoded = await collect(codec.encode(chunked(plain, size)))
        checkSame(await collect(codec.decode(chunked(encoded, size))), plain)
      },
    })),
  ),
  {
    name: "gives back what was sent when chunks are empty, at both ends and in between",
    run: async () => {
      const plain = lines(SMALL)
      const encoded = await collect(codec.encode(withEmpty(plain)))
      checkSame(await collect(codec.decode(withEmpty(encoded))), plain)
    },
  },
  {
    name: "writes the same file for the same bytes, however they are cut into chunks",
    run: async () => {
      const plain = lines(MEDIUM)
      const encoded = await collect(codec.encode(chunked(plain, MEDIUM)))
      checkSame(await collect(codec.encode(chunked(plain, MEDIUM))), encoded)
      checkSame(await collect(codec.encode(chunked(plain, 4_099))), encoded)
    },
  },
  {
    name: "makes a log smaller",
    run: async () => {
      const plain = lines(MEDIUM)
      const { length } = await collect(codec.encode(chunked(plain, MEDIUM)))
      check(length < plain.length, `${plain.length} bytes of log became ${length}`)
    },
  },
  {
    name: "leaves the chunks that it is given as they are",
    run: async () => {
      const plain = lines(SMALL)
      const encoded = await collect(codec.encode(chunked(plain, 999)))
      const copy = encoded.slice()
      await collect(codec.decode(chunked(encoded, 999)))
      checkSame(plain, lines(SMALL))
      checkSame(encoded, copy)
    },
  },
  {
    name: "keeps several files apart that are encoded and decoded at the same time",
    run: async () => {
      const plains = [random(MEDIUM, 3), lines(MEDIUM), random(SMALL, 4)]
      const back = await Promise.all(
        plains.map(async (plain) => {
          const encoded = await collect(codec.encode(chunked(plain, 10_007)))
          return collect(codec.decode(chunked(encoded, 10_007)))
        }),
      )
      for (const [at, plain] of plains.entries()) checkSame(back[at] ?? new Uint8Array(), plain)
    },
  },
  {
    name: "decodes two files that lie one after another to both, wherever the chunks are cut",
    run: async () => {
      const [a, b] = [lines(TINY), random(TINY, 5)]
      const first = await collect(codec.encode(chunked(a, TINY)))
      const second = await collect(codec.encode(chunked(b, TINY)))
      for (const size of [1, 7, first.length - 1, first.length, first.length + 1, first.length + second.length]) {
        checkSame(await collect(codec.decode(chunked(joined(first, second), size))), joined(a, b))
      }
      // An empty file is a file, too: it adds nothing, and hides nothing that comes after.
      const nothing = await collect(codec.encode(chunked(new Uint8Array(), 1)))
      checkSame(await collect(codec.decode(chunked(joined(joined(first, nothing), second), 1_000))), joined(a, b))
    },
  },
  {
    name: "fails on a file that is cut off, after whichever byte",
    run: async () => {
      const encoded = await collect(codec.encode(chunked(lines(TINY), TINY)))
      for (let length = 0; length < encoded.length; length += 1) {
        await checkFails(codec.decode(chunked(encoded.subarray(0, length), 64)), `cut off after ${length} bytes`)
      }
    },
  },
  {
    name: "fails on a large file that is cut off",
    run: async () => {
      const encoded = await collect(codec.encode(chunked(random(LARGE, 6), 65_536)))
      for (const length of [1, 65_536, Math.floor(encoded.length / 2), encoded.length - 1]) {
        await checkFails(codec.decode(chunked(encoded.subarray(0, length), 65_536)), `cut off after ${length} bytes`)
      }
    },
  },
  {
    name: "fails on a second file that is cut off, after whichever byte",
    run: async () => {
      const encoded = await collect(codec.encode(chunked(lines(TINY), TINY)))
      for (let length = 1; length < encoded.length; length += 1) {
        const both = joined(encoded, encoded.subarray(0, length))
        for (const size of [encoded.length, both.length]) {
          await checkFails(codec.decode(chunked(both, size)), `second file cut off after ${length} bytes`)
        }
      }
    },
  },
  {
    name: "fails on bytes after the end that are no file of this format, zeros included",
    run: async () => {
      const encoded = await collect(codec.encode(chunked(lines(TINY), TINY)))
      const zeros = new Uint8Array(512)
      const tails: Readonly<Record<string, Uint8Array>> = {
        "a zero": zeros.subarray(0, 1),
        "a block of zeros, as a power cut leaves them": zeros,
        "plain log lines": lines(100),
        "zeros and then another file": joined(zeros, encoded),
      }
      for (const [what, tail] of Object.entries(tails)) {
        const whole = joined(encoded, tail)
        for (const size of [1, encoded.length, whole.length]) {
          await checkFails(codec.decode(chunked(whole, size)), `${what} after the end`)
        }
      }
    },
  },
  {
    name: "fails on a plain log, and on zeros",
    run: async () => {
      await checkFails(codec.decode(chunked(lines(SMALL), 4_096)), "a plain log")
      await checkFails(codec.decode(chunked(new Uint8Array(SMALL), 4_096)), "zeros")
    },
  },
  {
    name: "never decodes to other bytes when one is flipped: it fails, or the byte meant nothing",
    run: async () => {
      const plain = lines(TINY)
      const encoded = await collect(codec.encode(chunked(plain, TINY)))
      let failures = 0
      for (let at = 0; at < encoded.length; at += 1) {
        const damaged = encoded.slice()
        damaged[at] = (damaged[at] ?? 0) ^ (1 << (at % 8))
        const back = await collect(codec.decode(chunked(damaged, TINY))).catch(() => null)
        if (back === null) failures += 1
        else check(isSame(back, plain), `with byte ${at} flipped it decodes to other bytes, without an error`)
      }
      // A header may hold a few bytes that say nothing about the content.
      check(failures > encoded.length * 0.8, `only ${failures} of ${encoded.length} flipped bytes are noticed`)
    },
  },
  ...(["encode", "decode"] as const).flatMap((direction): ReadonlyArray<CodecCase> => {
    const through = codec[direction]
    /** What this direction takes, for a plain file. */
    const inputOf = async (plain: Uint8Array): Promise<Uint8Array> =>
      direction === "encode" ? plain : collect(codec.encode(chunked(plain, 65_536)))
    return [
      {
        name: `${direction} touches its input only when it is read`,
        run: async () => {
          const input = watched(await inputOf(lines(SMALL)), 512)
          through(input.chunks)
          await pause()
          check(input.seen.bytes === 0, `${input.seen.bytes} bytes were taken though nobody has asked for any`)
        },
      },
      {
        name: `${direction} ends by closing its input`,
        run: async () => {
          const input = watched(await inputOf(lines(SMALL)), 512)
          await collect(through(input.chunks))
          check(input.seen.closed, "it has ended, but the input is still open")
        },
      },
      {
        name: `${direction} gives out the first bytes of a large file before it has read the last`,
        run: async () => {
          const input = watched(await inputOf(random(LARGE, 7)), 65_536)
          let out = 0
          for await (const chunk of through(input.chunks)) {
            out += chunk.length
            // A header may come out before anything has gone in.
            if (out <= HEADER_BYTES) continue
            check(!input.seen.ended, "nothing came out before all had gone in")
            break
          }
        },
      },
      {
        name: `${direction} holds a bounded part of a file, also for a consumer that takes its time`,
        run: async () => {
          const input = watched(await inputOf(random(LARGE, 8)), 65_536)
          let out = 0
          let most = 0
          let pauses = 0
          for await (const chunk of through(input.chunks)) {
            out += chunk.length
            // A codec that reads ahead without need has time to do so in here.
            if (pauses < 5) await pause()
            pauses += 1
            // Random bytes can't be made smaller, so what went in and has not come out is held.
            most = Math.max(most, input.seen.bytes - out)
          }
          check(most <= MAX_HELD_BYTES, `it held ${most} bytes; at most ${MAX_HELD_BYTES} are allowed`)
        },
      },
      {
        name: `${direction} closes its input when its consumer stops early, and reads no more`,
        run: async () => {
          const input = watched(await inputOf(random(LARGE, 9)), 65_536)
          let out = 0
          for await (const chunk of through(input.chunks)) {
            out += chunk.length
            if (out > HEADER_BYTES) break
          }
          check(input.seen.closed, "the consumer has stopped, but the input is still open")
          const { bytes } = input.seen
          await pause()
          check(input.seen.bytes === bytes, "it went on reading after its consumer had stopped")
          check(!input.seen.ended, "it read to the end for a consumer that had stopped")
        },
      },
      ...[0, 1, 20].map((after): CodecCase => ({
        name: `${direction} throws its input's error as it is, after ${after} chunks`,
        run: async () => {
          const failure = new Error("the disk said no")
          const input = await inputOf(random(LARGE, 10))
          const failing = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
            let left = after
            for await (const chunk of chunked(input, 65_536)) {
              if (left === 0) throw failure
              left -= 1
              yield chunk
            }
          }
          const thrown = await failureOf(through(failing()))
          check(thrown === failure, `it threw ${String(thrown)} instead`)
        },
      })),
    ]
  }),
]

const TINY = 700
const SMALL = 5_000
const MEDIUM = 300_000
const LARGE = 3 * 1024 * 1024
/** What a codec may hold of a file. Generous: a window, a block or a frame, and the buffers around it. */
const MAX_HELD_BYTES = 2 * 1024 * 1024 + 512 * 1024
/** What may come out of a format before any of the content. */
const HEADER_BYTES = 1_024
/** Long enough for other threads to come forward with what they have. */
const PAUSE_MS = 20

const pause = (): Promise<void> => Effect.runPromise(Effect.sleep(PAUSE_MS))

/** Pseudo-random bytes, the same for a seed: xorshift32. */
const random = (length: number, seed: number): Uint8Array => {
  const bytes = new Uint8Array(length)
  let state = seed * 2_654_435_761 || 1
  for (let at = 0; at < length; at += 1) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    bytes[at] = state
  }
  return bytes
}

/** Numbered lines, all ASCII. */
const lines = (length: number): Uint8Array => {
  const bytes = new Uint8Array(length)
  for (let at = 0, n = 0; at < length; n += 1) {
    const line = `2026-09-09T04:33:${String(n % 60).padStart(2, "0")}.123456789Z stdout F {"seq":${n},"msg":"request completed","status":200}\n`
    for (let c = 0; c < line.length && at < length; c += 1, at += 1) bytes[at] = line.charCodeAt(c)
  }
  return bytes
}

interface Sample {
  readonly what: string
  readonly make: () => Uint8Array
  /** Bytes of the chunks that it is sent in. */
  readonly sizes: ReadonlyArray<number>
}
const samples: ReadonlyArray<Sample> = [
  { what: "an empty file", make: () => new Uint8Array(), sizes: [1] },
  { what: "a file of one byte", make: () => Uint8Array.of(10), sizes: [1] },
  {
    what: "every byte there is",
    make: () => Uint8Array.from({ length: 256 }, (_, byte) => byte),
    sizes: [1, 7, 1_024],
  },
  { what: "a few log lines", make: () => lines(TINY), sizes: [1, 7, 1_024] },
  { what: "3 MiB of pseudo-random bytes", make: () => random(LARGE, 1), sizes: [4_099, 262_144, LARGE] },
  { what: "3 MiB of one byte", make: () => new Uint8Array(LARGE).fill(97), sizes: [4_099, 262_144, LARGE] },
  { what: "3 MiB of log lines", make: () => lines(LARGE), sizes: [4_099, 262_144, LARGE] },
]

async function* chunked(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array, void, undefined> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

async function* withEmpty(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield new Uint8Array()
  for await (const chunk of chunked(bytes, 501)) {
    yield chunk
    yield new Uint8Array()
    yield new Uint8Array()
  }
}

/** An input, and what has become of it. */
const watched = (bytes: Uint8Array, size: number) => {
  const seen = { bytes: 0, ended: false, closed: false }
  const chunks = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for await (const chunk of chunked(bytes, size)) {
        seen.bytes += chunk.length
        yield chunk
      }
      seen.ended = true
    } finally {
      // As a file is closed: not at once.
      await pause()
      seen.closed = true
    }
  }
  return { seen, chunks: chunks() }
}

const collect = async (chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> => {
  const all: Array<Uint8Array> = []
  for await (const chunk of chunks) all.push(chunk)
  return joined(...all)
}

const joined = (...all: ReadonlyArray<Uint8Array>): Uint8Array => {
  const whole = new Uint8Array(all.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of all) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

const isSame = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && a.every((byte, at) => byte === b[at])

const check = (holds: boolean, otherwise: string): void => {
  if (!holds) throw new Error(otherwise)
}
const checkSame = (got: Uint8Array, expected: Uint8Array): void => {
  if (isSame(got, expected)) return
  const at = expected.findIndex((byte, index) => byte !== got[index])
  throw new Error(
    `got ${got.length} bytes for ${expected.length}, different from byte ${at === -1 ? expected.length : at} on`,
  )
}

/** What it fails with; undefined if it doesn't. */
const failureOf = async (chunks: AsyncIterable<Uint8Array>): Promise<unknown> => {
  try {
    for await (const chunk of chunks) void chunk
  } catch (error) {
    return error
  }
  return undefined
}
const checkFails = async (chunks: AsyncIterable<Uint8Array>, what: string): Promise<void> =>
  check((await failureOf(chunks)) !== undefined, `${what}: it decodes without an error`)
