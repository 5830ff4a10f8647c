/**
 * What the settings come to with the usual `OTEL_*` variables: what the file says goes first, then a variable for one signal, then the one for all.
 * Gets the environment as a value. Most of it OpenTelemetry's SDK would read by itself, but it tells nobody of a value that is wrong, and takes some
 * of them as they are: no batch of 0 spans is ever the last one. Only its limits (`OTEL_*_LIMIT`) are left to it.
 */
import { readFileSync } from "node:fs"
import { messageOf } from "./voice.ts"
import type { Config } from "./config.ts"
import { isHeader } from "./header.ts"

export type Environment = Readonly<Record<string, string | undefined>>
export type Signal = "traces" | "metrics" | "logs"

const DEFAULT_ENDPOINT = "http://localhost:4318"
const DEFAULT_TIMEOUT_MS = 10_000
const DEFAULT_INTERVAL_MS = 60_000
/** Node fires a timer of more milliseconds at once. */
const MAX_TIMER_MS = 2 ** 31 - 1
/** Spans or records that wait at most, whatever the environment asks for: a gigabyte of them is no telemetry. */
const MAX_QUEUE = 100_000
const PROTOCOLS = ["http/protobuf", "http/json"] as const

/** How one signal reaches the collector. */
export interface Target {
  readonly signal: Signal
  readonly url: string
  readonly protocol: (typeof PROTOCOLS)[number]
  readonly headers: Readonly<Record<string, string>>
  readonly compression: "gzip" | "none"
  readonly timeoutMs: number
  readonly tls: { readonly ca?: Buffer; readonly cert?: Buffer; readonly key?: Buffer }
}

/** How what waits is sent. The defaults are the specification's. */
export interface Batching {
  readonly maxQueue: number
  readonly maxBatch: number
  readonly delayMs: number
  readonly timeoutMs: number
}
const BATCHING: Readonly<Record<"BSP" | "BLRP", Batching>> = {
  BSP: { maxQueue: 2_048, maxBatch: 512, delayMs: 5_000, timeoutMs: 30_000 },
  BLRP: { maxQueue: 2_048, maxBatch: 512, delayMs: 1_000, timeoutMs: 30_000 },
}

export type Temporality = "cumulative" | "delta"

export type Telemetry =
  | { readonly exporter: "none" }
  | { readonly exporter: "global"; readonly logs: boolean }
  | {
      readonly exporter: "otlp"
      /** `sample`: the share of traces that is recorded, from 0 to 1. */
      readonly traces: (Target & { readonly batching: Batching; readonly sample: number }) | null
      readonly metrics:
        | (Target & {
            readonly intervalMs: number
            readonly exportTimeoutMs: number
            readonly temporality: Temporality
          })
        | null
      readonly logs: (Target & { readonly batching: Batching }) | null
      /** The resource's attributes, as far as the environment has them. */
      readonly resource: Readonly<Record<string, string>>
    }

/** What is wrong and what to do. Only what can't be worked around is one; other oddities are warnings. */
export class EnvironmentProblem extends Error {}

export interface Reading {
  readonly telemetry: Telemetry
  readonly warnings: ReadonlyArray<string>
}

/** Throws an `EnvironmentProblem`. `hasSdk`: the process has registered an SDK, which reads the same variables. */
export const readEnvironment = (config: Config, env: Environment, hasSdk: boolean): Reading => {
  const warnings: Array<string> = []
  const warn = (warning: string): void => {
    if (!warnings.includes(warning)) warnings.push(warning)
  }
  const read = (name: string): string | undefined => {
    const value = env[name]?.trim()
    return value === undefined || value === "" ? undefined : value
  }
  const logs = config.logs ?? read("OTEL_LOGS_EXPORTER") === "otlp"
  const disabled = read("OTEL_SDK_DISABLED")
  // The switch that turns OpenTelemetry off in whatever reads it: a user who sets it means this, too.
  if (disabled?.toLowerCase() === "true") return { telemetry: { exporter: "none" }, warnings }
  if (disabled !== undefined && disabled.toLowerCase() !== "false") {
    warn(`OTEL_SDK_DISABLED is ${shown(disabled)}, neither true nor false; it is taken for false`)
  }
  const exporter =
    config.exporter ?? (config.endpoint !== undefined || (!hasSdk && hasEndpoint(read)) ? "otlp" : "global")
  if (exporter === "none") return { telemetry: { exporter }, warnings }
  if (exporter === "global") return { telemetry: { exporter, logs }, warnings }

  /** Where nobody asked for OTLP but by naming one signal's endpoint, the others have nowhere to go. */
  const hasAddress = (signal: Signal): boolean =>
    config.exporter === "otlp" ||
    config.endpoint !== undefined ||
    read("OTEL_EXPORTER_OTLP_ENDPOINT") !== undefined ||
    read(`OTEL_EXPORTER_OTLP_${signal.toUpperCase()}_ENDPOINT`) !== undefined
  const isOn = (signal: Signal): boolean => {
    const name = `OTEL_${signal.toUpperCase()}_EXPORTER`
    const value = read(name) ?? "otlp"
    if (value !== "otlp" && value !== "none") {
      warn(`${name} is ${shown(value)}; this plugin exports by otlp or not at all (none), and takes it for otlp`)
    }
    return value !== "none" && hasAddress(signal)
  }
  const number = (name: string, least: number, most: number, what: string): number | undefined => {
    const text = read(name)
    if (text === undefined) return undefined
    const value = Number(text)
    if (value >= least && value <= most) return value
    warn(`${name} is ${shown(text)}, not ${what} from ${least} to ${most}; it is ignored`)
    return undefined
  }
  const ms = (name: string, least = 1): number | undefined =>
    number(name, least, MAX_TIMER_MS, "a number of milliseconds")
  const count = (name: string): number | undefined => {
    const value = number(name, 1, MAX_QUEUE, "a whole number")
    return value === undefined ? undefined : Math.trunc(value)
  }
  const target = (signal: Signal): Target => {
    const own = `OTEL_EXPORTER_OTLP_${signal.toUpperCase()}_`
    const name = (setting: string): string =>
      read(own + setting) === undefined ? `OTEL_EXPORTER_OTLP_${setting}` : own + setting
    const value = (setting: string): string | undefined => read(name(setting))
    const file = (setting: string): Buffer | undefined => {
      const path = value(setting)
      if (path === undefined) return undefined
      try {
        return readFileSync(path)
      } catch (error) {
        throw new EnvironmentProblem(`${name(setting)} can't be read: ${messageOf(error)}`, { cause: error })
      }
    }
    const [ca, cert, key] = [file("CERTIFICATE"), file("CLIENT_CERTIFICATE"), file("CLIENT_KEY")]
    const compression = value("COMPRESSION") ?? "none"
    if (compression !== "gzip" && compression !== "none") {
      warn(`${name("COMPRESSION")} is ${shown(compression)}, neither gzip nor none; nothing is compressed`)
    }
    return {
      signal,
      url: urlOf(config, signal, read),
      protocol: config.protocol ?? protocolOf(name("PROTOCOL"), value("PROTOCOL")),
      headers: {
        ...headersIn("OTEL_EXPORTER_OTLP_HEADERS", read, warn),
        ...headersIn(`${own}HEADERS`, read, warn),
        ...lowerCased(config.headers ?? {}),
      },
      compression: compression === "gzip" ? "gzip" : "none",
      timeoutMs: config.timeout ?? ms(`${own}TIMEOUT`) ?? ms("OTEL_EXPORTER_OTLP_TIMEOUT") ?? DEFAULT_TIMEOUT_MS,
      tls: { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) },
    }
  }
  const batching = (of: keyof typeof BATCHING): Batching => {
    const { delayMs, maxBatch, maxQueue, timeoutMs } = BATCHING[of]
    const queue = count(`OTEL_${of}_MAX_QUEUE_SIZE`) ?? maxQueue
    return {
      maxQueue: queue,
      maxBatch: Math.min(queue, count(`OTEL_${of}_MAX_EXPORT_BATCH_SIZE`) ?? maxBatch),
      delayMs: ms(`OTEL_${of}_SCHEDULE_DELAY`, 0) ?? delayMs,
      timeoutMs: ms(`OTEL_${of}_EXPORT_TIMEOUT`) ?? timeoutMs,
    }
  }
  const sample = (): number => {
    if (config.sample !== undefined) return config.sample
    // Nobody's span is the parent of a pass, so that the samplers that ask a parent are the same as those that don't.
    const kind = read("OTEL_TRACES_SAMPLER")?.replace(/^parentbased_/, "") ?? "always_on"
    if (kind === "always_off") return 0
    if (kind === "traceidratio") return number("OTEL_TRACES_SAMPLER_ARG", 0, 1, "a number") ?? 1
    if (kind !== "always_on") {
      warn(
        `OTEL_TRACES_SAMPLER is ${shown(read("OTEL_TRACES_SAMPLER") ?? "")}, which is not supported; every trace is recorded`,
      )
    }
    return 1
  }
  const metrics = (): Extract<Telemetry, { readonly exporter: "otlp" }>["metrics"] => {
    const intervalMs = config.metrics.interval ?? ms("OTEL_METRIC_EXPORT_INTERVAL") ?? DEFAULT_INTERVAL_MS
    const exportTimeoutMs = Math.min(intervalMs, ms("OTEL_METRIC_EXPORT_TIMEOUT") ?? intervalMs)
    return { ...target("metrics"), intervalMs, exportTimeoutMs, temporality: temporalityOf(read, warn) }
  }
  const telemetry: Telemetry = {
    exporter,
    traces: isOn("traces") ? { ...target("traces"), batching: batching("BSP"), sample: sample() } : null,
    metrics: config.metrics.enabled && isOn("metrics") ? metrics() : null,
    logs: logs && isOn("logs") ? { ...target("logs"), batching: batching("BLRP") } : null,
    resource: resourceIn(read, warn),
  }
  return { telemetry, warnings }
}

/** What was found, for people: a variable may hold anything. */
const shown = (text: string): string => JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text)
type Warn = (warning: string) => void

type Read = (name: string) => string | undefined

const hasEndpoint = (read: Read): boolean =>
  ["", "TRACES_", "METRICS_", "LOGS_"].some((signal) => read(`OTEL_EXPORTER_OTLP_${signal}ENDPOINT`) !== undefined)

/** The base URL has the signal's path appended; the one for a signal is taken as it is. */
const urlOf = ({ endpoint }: Config, signal: Signal, read: Read): string => {
  const below = (base: string): string => `${base.replace(/\/+$/, "")}/v1/${signal}`
  if (endpoint !== undefined) return below(endpoint)
  const own = `OTEL_EXPORTER_OTLP_${signal.toUpperCase()}_ENDPOINT`
  const specific = read(own)
  if (specific !== undefined) return checked(own, specific)
  const base = "OTEL_EXPORTER_OTLP_ENDPOINT"
  return below(checked(base, read(base) ?? DEFAULT_ENDPOINT))
}

const checked = (name: string, url: string): string => {
  if (URL.canParse(url) && /^https?:$/.test(new URL(url).protocol)) return url
  throw new EnvironmentProblem(
    `${name} is no URL that begins with http:// or https://; write one such as ${DEFAULT_ENDPOINT}`,
  )
}

const protocolOf = (name: string, value = "http/protobuf"): Target["protocol"] => {
  const known = PROTOCOLS.find((protocol) => protocol === value)
  if (known !== undefined) return known
  const also = value === "grpc" ? ", and give the port that the collector has for HTTP (usually 4318)" : ""
  throw new EnvironmentProblem(
    `${name} is ${shown(value)}, which is not supported; write http/protobuf or http/json${also}`,
  )
}

/** `a=b,c=d`, percent-encoded, as W3C Baggage. What is wrong isn't repeated: headers are where secrets are. */
const headersIn = (name: string, read: Read, warn: Warn): Readonly<Record<string, string>> => {
  const headers: Record<string, string> = {}
  for (const pair of pairsIn(read(name))) {
    if (pair === null || !isHeader(...pair))
      warn(`${name} has a part that is no key=value that HTTP can carry; that part is ignored`)
    else headers[pair[0].toLowerCase()] = pair[1]
  }
  return headers
}

/** Names of headers are the same in any case, and the last one counts. */
const lowerCased = (headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(headers).map(([key, value]) => [key.toLowerCase(), value]))

/** As the specification says: with one part wrong, nothing of it is taken. */
const resourceIn = (read: Read, warn: Warn): Readonly<Record<string, string>> => {
  const attributes: Record<string, string> = {}
  // By convention what a DaemonSet has from spec.nodeName.
  const node = read("NODE_NAME")
  if (node !== undefined) attributes["k8s.node.name"] = node
  const pairs = pairsIn(read("OTEL_RESOURCE_ATTRIBUTES"))
  if (pairs.includes(null)) {
    warn(
      "OTEL_RESOURCE_ATTRIBUTES is not key=value,key=value, with commas and equals signs percent-encoded; all of it is ignored",
    )
  } else for (const [key, value] of pairs.flatMap((pair) => (pair === null ? [] : [pair]))) attributes[key] = value
  const service = read("OTEL_SERVICE_NAME")
  return service === undefined ? attributes : { ...attributes, "service.name": service }
}

/** Null for a part that is none. A value may have equals signs in it: those of base64 are rarely encoded. */
const pairsIn = (text = ""): ReadonlyArray<readonly [string, string] | null> =>
  text
    .split(",")
    .filter((part) => part.trim() !== "")
    .map((part) => {
      const at = part.indexOf("=")
      const [key, value] = [part.slice(0, Math.max(0, at)), part.slice(at + 1)].map((side) => decoded(side.trim()))
      return key === undefined || key === "" || value === undefined ? null : [key, value]
    })

const decoded = (text: string): string | undefined => {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

/** Cumulative if not asked otherwise. `lowmemory` is `delta` for all that this plugin has: counters and histograms. */
const temporalityOf = (read: Read, warn: Warn): Temporality => {
  const name = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
  const asked = read(name)?.toLowerCase() ?? "cumulative"
  if (asked === "delta" || asked === "lowmemory") return "delta"
  if (asked !== "cumulative")
    warn(`${name} is ${shown(asked)}, none of cumulative, delta and lowmemory; cumulative is taken`)
  return "cumulative"
}
