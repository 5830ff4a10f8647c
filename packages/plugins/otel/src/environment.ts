/**
 * What the settings come to with the usual `OTEL_*` variables: what the file says goes first, then a variable for one signal, then the one for all.
 * Gets the environment as a value. What OpenTelemetry's SDK reads by itself (`OTEL_TRACES_SAMPLER`, `OTEL_BSP_*`, limits, resource) is not read again here.
 */
import { readFileSync } from "node:fs"
import { messageOf } from "./voice.ts"
import type { Config } from "./config.ts"

export type Environment = Readonly<Record<string, string | undefined>>
export type Signal = "traces" | "metrics" | "logs"

const DEFAULT_ENDPOINT = "http://localhost:4318"
const DEFAULT_TIMEOUT_MS = 10_000
const DEFAULT_INTERVAL_MS = 60_000
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

export type Telemetry =
  | { readonly exporter: "none" }
  | { readonly exporter: "global"; readonly logs: boolean }
  | {
      readonly exporter: "otlp"
      readonly traces: Target | null
      readonly metrics: (Target & { readonly intervalMs: number; readonly exportTimeoutMs: number }) | null
      readonly logs: Target | null
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
  const read = (name: string): string | undefined => {
    const value = env[name]?.trim()
    return value === undefined || value === "" ? undefined : value
  }
  const logs = config.logs ?? read("OTEL_LOGS_EXPORTER") === "otlp"
  // The switch that turns OpenTelemetry off in whatever reads it: a user who sets it means this, too.
  if (read("OTEL_SDK_DISABLED")?.toLowerCase() === "true") return { telemetry: { exporter: "none" }, warnings }
  const exporter =
    config.exporter ?? (config.endpoint !== undefined || (!hasSdk && hasEndpoint(read)) ? "otlp" : "global")
  if (exporter === "none") return { telemetry: { exporter }, warnings }
  if (exporter === "global") return { telemetry: { exporter, logs }, warnings }

  const isOn = (signal: Signal): boolean => {
    const name = `OTEL_${signal.toUpperCase()}_EXPORTER`
    const value = read(name) ?? "otlp"
    if (value !== "otlp" && value !== "none") {
      warnings.push(
        `${name} is ${JSON.stringify(value)}; this plugin exports by otlp or not at all (none), and takes it for otlp`,
      )
    }
    return value !== "none"
  }
  const number = (name: string): number | undefined => {
    const text = read(name)
    if (text === undefined) return undefined
    const value = Number(text)
    if (Number.isFinite(value) && value > 0) return value
    warnings.push(`${name} is ${JSON.stringify(text)}, not a number of milliseconds above 0; it is ignored`)
    return undefined
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
      warnings.push(
        `${name("COMPRESSION")} is ${JSON.stringify(compression)}, neither gzip nor none; nothing is compressed`,
      )
    }
    return {
      signal,
      url: urlOf(config, signal, read),
      protocol: config.protocol ?? protocolOf(name("PROTOCOL"), value("PROTOCOL")),
      headers: config.headers ?? {
        ...headersIn("OTEL_EXPORTER_OTLP_HEADERS", read, warnings),
        ...headersIn(`${own}HEADERS`, read, warnings),
      },
      compression: compression === "gzip" ? "gzip" : "none",
      timeoutMs:
        config.timeout ?? number(`${own}TIMEOUT`) ?? number("OTEL_EXPORTER_OTLP_TIMEOUT") ?? DEFAULT_TIMEOUT_MS,
      tls: { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) },
    }
  }
  const intervalMs = config.metrics.interval ?? number("OTEL_METRIC_EXPORT_INTERVAL") ?? DEFAULT_INTERVAL_MS
  const exportTimeoutMs = Math.min(intervalMs, number("OTEL_METRIC_EXPORT_TIMEOUT") ?? intervalMs)
  const telemetry: Telemetry = {
    exporter,
    traces: isOn("traces") ? target("traces") : null,
    metrics: config.metrics.enabled && isOn("metrics") ? { ...target("metrics"), intervalMs, exportTimeoutMs } : null,
    logs: logs && isOn("logs") ? target("logs") : null,
  }
  return { telemetry, warnings: [...new Set(warnings)] }
}

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
    `${name} is ${JSON.stringify(value)}, which is not supported; write http/protobuf or http/json${also}`,
  )
}

/** `a=b,c=d`, percent-encoded, as W3C Baggage. What is wrong isn't repeated: headers are where secrets are. */
const headersIn = (name: string, read: Read, warnings: Array<string>): Readonly<Record<string, string>> => {
  const headers: Record<string, string> = {}
  for (const pair of (read(name) ?? "").split(",")) {
    if (pair.trim() === "") continue
    const at = pair.indexOf("=")
    const key = pair.slice(0, Math.max(0, at)).trim()
    const value = decoded(pair.slice(at + 1).trim())
    if (key === "" || value === null) warnings.push(`${name} has a part that is not key=value; that part is ignored`)
    else headers[key] = value
  }
  return headers
}

const decoded = (text: string): string | null => {
  try {
    return decodeURIComponent(text)
  } catch {
    return null
  }
}
