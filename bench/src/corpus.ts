/**
 * Container logs to measure with: made up, but shaped like real ones, and the same bytes for the same seed on every machine. Streaming; holds no
 * more than one chunk. Must not read a clock or a random source: a figure that can't be measured again is no figure.
 */

/** What a container may print. */
export type Kind = "json" | "nginx" | "trace" | "text"
export const KINDS: ReadonlyArray<Kind> = ["json", "nginx", "trace", "text"]

export interface CorpusOptions {
  /** Any whole number; the same one gives the same bytes. */
  readonly seed: number
  /** The corpus ends with the first line that reaches this many bytes. */
  readonly bytes: number
  /** Which containers write; all of them by default, in stretches as a node's logs have them. */
  readonly kinds?: ReadonlyArray<Kind>
  /** Whether each line has the CRI's prefix (`2026-09-09T04:33:10.123456789Z stdout F `), as files under /var/log/pods do; true by default. */
  readonly cri?: boolean
  /** Bytes of a chunk, but for the last; 256 KiB by default, what the file adapter reads. */
  readonly chunkBytes?: number
}

const CHUNK_BYTES = 256 * 1024
/** Lines that one container writes before another has its turn: a file holds one container's lines, and its likeness is what compresses. */
const STRETCH_LINES = 4_000
const START_MS = Date.UTC(2026, 8, 9, 4, 33, 10)

/** Whole numbers in [0, below). mulberry32: 32 bits of state, good enough to look like logs, and the same everywhere. */
type Random = (below: number) => number
const randomOf = (seed: number): Random => {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296) * below)
  }
}

const HEX = "0123456789abcdef"
const hex = (random: Random, length: number): string => {
  let text = ""
  for (let at = 0; at < length; at += 1) text += HEX[random(16)]
  return text
}
/** Small numbers are common and large ones rare, as with users, paths and addresses. */
const skewed = (random: Random, below: number): number => Math.floor((random(below) * random(below)) / below)
const pick = <T>(random: Random, all: ReadonlyArray<T>): T => {
  const picked = all[skewed(random, all.length)]
  if (picked === undefined) throw new Error("nothing to pick from")
  return picked
}

const PATHS = [
  "/api/v1/orders",
  "/api/v1/users",
  "/healthz",
  "/api/v1/cart/items",
  "/static/app.js",
  "/metrics",
  "/api/v2/search",
  "/login",
  "/api/v1/payments/authorize",
  "/favicon.ico",
]
const MESSAGES = [
  "request completed",
  "cache miss",
  "order accepted",
  "upstream responded slowly",
  "connection pool exhausted, waiting",
  "token refreshed",
  "payment authorized",
  "retrying after a transient error",
]
const AGENTS = [
  "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36",
  "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
  "kube-probe/1.31",
  "curl/8.5.0",
  "Prometheus/2.53.0",
]
const CLASSES = [
  "com.example.orders.OrderService",
  "com.example.orders.db.Pool",
  "org.springframework.web.servlet.FrameworkServlet",
  "io.netty.channel.AbstractChannelHandlerContext",
  "com.example.payments.Gateway",
]
const METHODS = ["handle", "submit", "doDispatch", "invokeChannelRead", "getConnection", "authorize"]
const WORDS = [
  "reconciling",
  "deployment",
  "replica",
  "leader",
  "lease",
  "renewed",
  "watch",
  "closed",
  "endpoint",
  "updated",
  "node",
  "synced",
  "queue",
  "informer",
  "volume",
  "mounted",
]
const STATUSES = [200, 200, 200, 304, 201, 404, 500, 502]
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

const two = (value: number): string => String(value).padStart(2, "0")

const json = (random: Random, at: Date, n: number): string =>
  JSON.stringify({
    time: at.toISOString(),
    level: pick(random, ["info", "info", "debug", "warn", "error"]),
    seq: n,
    logger: pick(random, CLASSES),
    msg: pick(random, MESSAGES),
    trace_id: hex(random, 32),
    span_id: hex(random, 16),
    http: {
      method: pick(random, ["GET", "POST", "PUT"]),
      path: `${pick(random, PATHS)}/${skewed(random, 90_000)}`,
      status: pick(random, STATUSES),
      duration_ms: skewed(random, 4_000) / 10,
    },
    user_id: skewed(random, 20_000),
    pod: "orders-7d9f6c5b8-x2x7k",
  })

const nginx = (random: Random, at: Date): string => {
  const address = `10.${random(4)}.${skewed(random, 256)}.${random(256)}`
  const when = `${two(at.getUTCDate())}/${MONTHS[at.getUTCMonth()]}/${at.getUTCFullYear()}:${at.toISOString().slice(11, 19)} +0000`
  const path = `${pick(random, PATHS)}?page=${skewed(random, 50)}&sort=${pick(random, ["asc", "desc"])}`
  return `${address} - - [${when}] "GET ${path} HTTP/1.1" ${pick(random, STATUSES)} ${skewed(random, 60_000)} "https://shop.example.com${pick(random, PATHS)}" "${pick(random, AGENTS)}" ${(skewed(random, 3_000) / 1_000).toFixed(3)}`
}

/** One line of a stack trace: the exception, its frames, and now and then a cause. */
const trace = (random: Random, at: Date, n: number): string => {
  const depth = n % 24
  if (depth === 0) {
    return `${at.toISOString()} ERROR [http-nio-8080-exec-${random(40)}] ${pick(random, CLASSES)} - order ${hex(random, 8)} failed: java.net.SocketTimeoutException: Read timed out after ${random(30_000)} ms`
  }
  if (depth === 17)
    return `Caused by: java.util.concurrent.TimeoutException: no connection to 10.0.${random(16)}.${random(256)}:5432`
  const type = CLASSES[(n * 7 + depth) % CLASSES.length] ?? ""
  return `\tat ${type}.${METHODS[depth % METHODS.length]}(${type.slice(type.lastIndexOf(".") + 1)}.java:${40 + ((depth * 31) % 400)})`
}

const text = (random: Random, at: Date): string => {
  const words = Array.from({ length: 4 + random(8) }, () => pick(random, WORDS)).join(" ")
  return `I${two(at.getUTCMonth() + 1)}${two(at.getUTCDate())} ${at.toISOString().slice(11, 23)}${random(1_000)}       1 controller.go:${100 + skewed(random, 400)}] ${words} name="${pick(random, WORDS)}-${hex(random, 5)}" rv=${10_000_000 + random(900_000)}`
}

const LINES: Readonly<Record<Kind, (random: Random, at: Date, n: number) => string>> = { json, nginx, trace, text }

/** Lines without their newline, without end. */
// eslint-disable-next-line func-style
export function* lines({
  cri = true,
  kinds = KINDS,
  seed,
}: Omit<CorpusOptions, "bytes" | "chunkBytes">): Generator<string, never> {
  const random = randomOf(seed)
  let ms = START_MS
  for (let n = 0; ; n += 1) {
    const kind = kinds[Math.floor(n / STRETCH_LINES) % kinds.length]
    if (kind === undefined) throw new Error("a corpus needs at least one kind")
    ms += skewed(random, 40)
    const at = new Date(ms)
    const line = LINES[kind](random, at, n)
    if (!cri) yield line
    else {
      const nanos = String(random(1_000_000)).padStart(6, "0")
      yield `${at.toISOString().slice(0, 23)}${nanos}Z ${kind === "trace" ? "stderr" : "stdout"} F ${line}`
    }
  }
}

/** The corpus in chunks, whole lines altogether. */
export function* corpus({ bytes, chunkBytes = CHUNK_BYTES, ...options }: CorpusOptions): Generator<Uint8Array> {
  let chunk = Buffer.allocUnsafeSlow(chunkBytes)
  let filled = 0
  let made = 0
  for (const line of lines(options)) {
    if (made >= bytes) break
    let rest = Buffer.from(`${line}\n`)
    made += rest.length
    while (rest.length > 0) {
      const taken = rest.copy(chunk, filled)
      filled += taken
      rest = rest.subarray(taken)
      if (filled < chunkBytes) continue
      yield chunk
      chunk = Buffer.allocUnsafeSlow(chunkBytes)
      filled = 0
    }
  }
  if (filled > 0) yield chunk.subarray(0, filled)
}
