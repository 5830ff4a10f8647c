/**
 * Compresses one segment as the agent does, and says what it cost as a line of JSON: `node compressor.ts SEGMENT CODEC`. A process of its own, so that
 * CPU and memory are those of this alone. Changes nothing but the twin beside the segment.
 */
import { setFlagsFromString } from "node:v8"
import { type Codec, type Configured, compose, type Host, LogFiles } from "@cordwood/core"
import { nodeLogFiles } from "@cordwood/fs-adapter"
import { gzip } from "@cordwood/plugin-gzip"
import { zstd } from "@cordwood/plugin-zstd"
import { Effect } from "effect"
import { memory } from "../measure/process-cost.ts"

// As the command has it.
setFlagsFromString("--semi-space-growth-factor=1")

/** By the name that a benchmark calls for. */
export const CODECS = {
  gzip: () => gzip(),
  "zstd 1": () => zstd({ level: 1 }),
  "zstd 3": () => zstd({ level: 3 }),
  "zstd 1, 4 workers": () => zstd({ level: 1, workers: 4 }),
} satisfies Readonly<Record<string, () => Configured>>
export type CodecName = keyof typeof CODECS
const isCodecName = (name: string): name is CodecName => name in CODECS

export interface Compressed {
  readonly cpuSeconds: number
  readonly seconds: number
  readonly bytesIn: number
  readonly bytesOut: number
  /** MiB, the start included. */
  readonly peak: number
}

const HOST: Host = { version: "0.0.0", configHash: "0".repeat(16) }

export const codecOf = ({ config, plugin }: Configured): Effect.Effect<Codec, unknown> =>
  Effect.gen(function* () {
    const contributions = yield* Effect.scoped(plugin.setup(plugin.config.parse(config), HOST))
    const [codec] = (yield* compose([{ plugin: plugin.name, contributions }])).codecs
    if (codec === undefined) return yield* Effect.fail(new Error(`${plugin.name} brings no codec`))
    return codec
  })

const compress = (segment: string, codec: Codec): Effect.Effect<Compressed, unknown, LogFiles> =>
  Effect.gen(function* () {
    const files = yield* LogFiles
    const { entries } = yield* files.list(segment.replace(/\.\d{8}-\d{6}$/, ""))
    const seen = entries.find(({ path }) => path === segment)
    if (seen === undefined) return yield* Effect.fail(new Error(`there is no segment ${segment}`))
    const [before, startMs] = [process.cpuUsage(), performance.now()]
    const { bytesIn, bytesOut } = yield* files.compress(seen, segment + codec.suffix, codec)
    const { system, user } = process.cpuUsage(before)
    const seconds = (performance.now() - startMs) / 1_000
    return { cpuSeconds: (user + system) / 1e6, seconds, bytesIn, bytesOut, peak: memory(process.pid).peak }
  })

if (import.meta.main) {
  const [, , segment = "", name = ""] = process.argv
  if (!isCodecName(name)) throw new Error(`there is no codec ${name}`)
  const result = codecOf(CODECS[name]()).pipe(
    Effect.flatMap((codec) => compress(segment, codec)),
    Effect.provide(nodeLogFiles),
  )
  console.log(JSON.stringify(await Effect.runPromise(result)))
}
