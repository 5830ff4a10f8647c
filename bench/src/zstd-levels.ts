/**
 * What the zstd codec's default level was chosen by: CPU and ratio of the codec alone on the corpus, by level, window and workers.
 * Run: `node --conditions=cordwood-source bench/src/zstd-levels.ts`. Takes the least of several runs, as whatever else the machine does only ever adds.
 */
import type { Codec } from "@cordwood/core"
import { zstd } from "@cordwood/plugin-zstd"
import { Effect } from "effect"
import { corpus } from "./corpus.ts"
import { codecOf } from "./load/compressor.ts"

const BYTES = 32_000_000
const RUNS = 5
const SEED = 1
const SETTINGS: ReadonlyArray<Parameters<typeof zstd>[0]> = [
  ...[1, 2, 3, 4, 5, 6, 9].map((level) => ({ level })),
  ...[17, 21, 24].map((windowLog) => ({ level: 1, windowLog })),
  ...[2, 4].map((workers) => ({ level: 1, workers })),
  ...[2, 4].map((workers) => ({ level: 3, workers })),
]

const plain = [...corpus({ seed: SEED, bytes: BYTES })]
const bytesOf = (chunks: ReadonlyArray<Uint8Array>): number => chunks.reduce((sum, { length }) => sum + length, 0)
const plainBytes = bytesOf(plain)

async function* given(chunks: ReadonlyArray<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  for (const chunk of chunks) yield chunk
}

const run = async (through: Codec["encode"], chunks: ReadonlyArray<Uint8Array>, keep: boolean) => {
  const out: Array<Uint8Array> = []
  const [before, startMs] = [process.cpuUsage(), performance.now()]
  for await (const chunk of through(given(chunks))) if (keep) out.push(chunk)
  const { system, user } = process.cpuUsage(before)
  const perGB = (seconds: number): number => seconds / (plainBytes / 1e9)
  return { out, cpu: perGB((user + system) / 1e6), wall: perGB((performance.now() - startMs) / 1_000) }
}

console.log(`mixture, ${BYTES / 1e6} MB, least of ${RUNS} runs; s per GB of plain log`)
for (const setting of SETTINGS) {
  const codec = await Effect.runPromise(codecOf(zstd(setting)))
  let [encode, wall, decode, ratio] = [Infinity, Infinity, Infinity, 0]
  for (let n = 0; n < RUNS; n += 1) {
    const encoded = await run(codec.encode, plain, true)
    encode = Math.min(encode, encoded.cpu)
    wall = Math.min(wall, encoded.wall)
    decode = Math.min(decode, (await run(codec.decode, encoded.out, false)).cpu)
    ratio = plainBytes / bytesOf(encoded.out)
  }
  const cells = [
    `ratio ${ratio.toFixed(2)}`,
    `encode ${encode.toFixed(1)} (${wall.toFixed(1)} by the clock)`,
    `decode ${decode.toFixed(1)}`,
    `both ${(encode + decode).toFixed(1)}`,
  ]
  console.log([JSON.stringify(setting).padEnd(32), ...cells].join("  "))
}
