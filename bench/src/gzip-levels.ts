/**
 * What the gzip codec's default level and buffer size were chosen by: CPU, ratio and memory of node:zlib on the corpus, and of the `gzip` command where there is one.
 * Run: `node --conditions=cordwood-source bench/src/gzip-levels.ts`. Takes the least of several runs, as whatever else the machine does only ever adds.
 */
import { spawnSync } from "node:child_process"
import { pipeline } from "node:stream"
import { createGunzip, createGzip } from "node:zlib"
import { corpus, type Kind, KINDS } from "./corpus.ts"

const BYTES = 48_000_000
const RUNS = 5
const SEED = 1
const LEVELS = [1, 2, 3, 4, 5, 6]
const KIB = 1024

const bytesOf = (chunks: ReadonlyArray<Uint8Array>): number => chunks.reduce((sum, { length }) => sum + length, 0)

/** Seconds of CPU per GB of plain log, every thread counted. */
const perGB = (cpu: NodeJS.CpuUsage, bytes: number): number => ((cpu.user + cpu.system) / bytes) * 1_000

const run = async (chunks: ReadonlyArray<Uint8Array>, engine: NodeJS.ReadWriteStream, plainBytes: number) => {
  const out: Array<Buffer> = []
  const before = process.cpuUsage()
  pipeline(chunks, engine, () => {})
  for await (const chunk of engine) out.push(chunk as Buffer)
  return { out, cost: perGB(process.cpuUsage(before), plainBytes) }
}

interface Setting {
  readonly level: number
  readonly chunkSize: number
  readonly memLevel: number
}
interface Figures {
  readonly encode: number
  readonly decode: number
  readonly ratio: number
}
const measure = async (
  chunks: ReadonlyArray<Uint8Array>,
  { chunkSize, level, memLevel }: Setting,
): Promise<Figures> => {
  const bytes = bytesOf(chunks)
  let best: Figures = { encode: Infinity, decode: Infinity, ratio: 0 }
  for (let n = 0; n < RUNS; n += 1) {
    const encoded = await run(chunks, createGzip({ level, chunkSize, memLevel }), bytes)
    const decoded = await run(encoded.out, createGunzip({ chunkSize }), bytes)
    best = {
      encode: Math.min(best.encode, encoded.cost),
      decode: Math.min(best.decode, decoded.cost),
      ratio: bytes / bytesOf(encoded.out),
    }
  }
  return best
}

const cell = (value: number, digits: number, unit: string): string =>
  Number.isNaN(value) ? "".padStart(7 + unit.length) : `${value.toFixed(digits).padStart(6)} ${unit}`
const show = (title: string, { decode, encode, ratio }: Figures): void => {
  const cost = [cell(1_000 / encode, 0, "MB/s"), cell(encode, 1, "s/GB")]
  const rest = [`decode ${cell(decode, 1, "s/GB")}`, `both ${cell(encode + decode, 1, "s/GB")}`]
  console.log(
    [title.padEnd(28), `ratio ${cell(ratio, 2, "")}`, ...cost, ...(Number.isNaN(decode) ? [] : rest)].join("  "),
  )
}

const command = (plain: Buffer, level: number): Figures | null => {
  let encode = Infinity
  let ratio = 0
  for (let n = 0; n < RUNS; n += 1) {
    const timed = spawnSync("bash", ["-c", `TIMEFORMAT='%U %S'; time gzip -${level} -c`], {
      input: plain,
      maxBuffer: plain.length,
    })
    if (timed.status !== 0) return null
    const [user = Number.NaN, system = Number.NaN] = timed.stderr.toString().trim().split(" ").map(Number)
    encode = Math.min(encode, ((user + system) / plain.length) * 1e9)
    ratio = plain.length / timed.stdout.length
  }
  return { encode, decode: Number.NaN, ratio }
}

/** The largest RSS, in MB, of a process of its own that streams the corpus through and keeps nothing; null: that makes the corpus only. */
const peakRss = async (chunkSize: number | null): Promise<number> => {
  const source = corpus({ seed: SEED, bytes: BYTES })
  let most = 0
  // The kernel's own record (`maxRSS`) is no use here: a child begins with its parent's.
  const look = (): void => {
    most = Math.max(most, process.memoryUsage.rss())
  }
  if (chunkSize === null) {
    for (const chunk of source) {
      void chunk
      look()
    }
    return most / 1e6
  }
  const back = createGunzip({ chunkSize })
  pipeline(source, createGzip({ level: 3, chunkSize }), back, () => {})
  for await (const chunk of back) {
    void chunk
    look()
  }
  return most / 1e6
}
const [, script = "", mode, size] = process.argv
if (mode === "rss") {
  console.log((await peakRss(size === "none" ? null : Number(size))).toFixed(0))
  process.exit()
}
const rssOf = (size: string): string =>
  spawnSync(process.execPath, [...process.execArgv, script, "rss", size])
    .stdout.toString()
    .trim()

const mixture = [...corpus({ seed: SEED, bytes: BYTES })]
const base = { chunkSize: 256 * KIB, memLevel: 8 }
console.log(`mixture of ${KINDS.join(", ")}, ${BYTES / 1e6} MB, least CPU of ${RUNS} runs\n`)
for (const level of LEVELS) show(`level ${level}`, await measure(mixture, { ...base, level }))
const plain = Buffer.concat(mixture)
for (const level of [1, 3, 5, 6]) {
  const figures = command(plain, level)
  if (figures !== null) show(`gzip -${level} (command)`, figures)
}
console.log()
for (const size of [16, 64, 128, 256, 512, 1024]) {
  show(`level 3, buffers of ${size} KiB`, await measure(mixture, { ...base, level: 3, chunkSize: size * KIB }))
}
console.log(`\nlargest RSS while encoding and decoding: generator alone ${rssOf("none")} MB`)
for (const size of [64, 128, 256, 512, 1024]) console.log(`buffers of ${size} KiB: ${rssOf(String(size * KIB))} MB`)
console.log()
for (const memLevel of [7, 8, 9])
  show(`level 3, memLevel ${memLevel}`, await measure(mixture, { ...base, level: 3, memLevel }))
for (const kind of KINDS satisfies ReadonlyArray<Kind>) {
  console.log()
  const alone = [...corpus({ seed: SEED, bytes: BYTES / 2, kinds: [kind] })]
  for (const level of [1, 3, 5, 6]) show(`${kind}, level ${level}`, await measure(alone, { ...base, level }))
}
