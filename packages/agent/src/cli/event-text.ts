/** Events as people read them: a line each. Pure. */
import {
  type Activity,
  type Decoded,
  type Envelope,
  formatBytes,
  formatDuration,
  isCoreType,
  type CoreEnvelope,
  type Log,
  nameOf,
} from "@cordwood/core"
import { type Colors, safe, shortened, valueText } from "./terminal.ts"

/** A log as people know it: its container if it has one, else its path. */
export const labelOf = ({ container, namespace, path, pod }: Log): string =>
  pod === undefined ? path : [namespace, pod, container].filter((part) => part !== undefined).join("/")

const NOUNS: Readonly<Record<Activity, string>> = {
  scan: "scan",
  clean: "cleaning",
  remove: "removal",
  compress: "compression",
  rotate: "rotation",
  reopen: "reopening",
  offer: "offer",
  source: "listing",
  journal: "entry",
  plugin: "plugin",
}
/** `1 removal`, `8 removals`. */
export const countedSteps = (step: Activity, count: number): string =>
  `${count} ${NOUNS[step]}${count === 1 ? "" : "s"}`

const paint = (colors: Colors, type: string, text: string): string => {
  switch (type) {
    case "Rotated":
      return colors.green(text)
    case "Compressed":
      return colors.cyan(text)
    case "Removed":
      return colors.magenta(text)
    case "Deferred":
      return colors.yellow(text)
    case "Failed":
      return colors.red(text)
    default:
      return colors.dim(text)
  }
}

/** What an event says beside its type and log. */
export const eventDetail = (event: Envelope): string =>
  isCoreType(event.type) ? coreDetail(event as CoreEnvelope) : otherDetail(event.data)

/** So much of another's event stands in a line; `--json` has all of it. */
const MAX_FIELDS = 3
const MAX_VALUE = 60

/**
 * Data of a type that isn't the core's, in short: the name of the file that it is about, then its first fields. What is nested or says nothing is
 * left out; `…` tells that there is more.
 */
const otherDetail = (data: unknown): string => {
  if (typeof data !== "object" || data === null || Array.isArray(data)) {
    return shortened(JSON.stringify(data) ?? "", MAX_VALUE)
  }
  const { path, ...others } = data as Readonly<Record<string, unknown>>
  const about = typeof path === "string" ? [shortened(nameOf(path), MAX_VALUE)] : []
  const fields = Object.entries(typeof path === "string" ? others : data).filter(([, value]) => value !== null)
  const flat = fields.filter(([, value]) => typeof value !== "object").slice(0, MAX_FIELDS)
  const said = flat.map(([key, value]) => `${shortened(key, MAX_VALUE)}=${fieldText(key, value)}`)
  return [...about, ...said, ...(flat.length < fields.length ? ["…"] : [])].join(" ")
}

const fieldText = (key: string, value: unknown): string =>
  key === "bytes" && typeof value === "number" && value >= 0
    ? formatBytes(value)
    : valueText(shortened(String(value), MAX_VALUE))

const coreDetail = (event: CoreEnvelope): string => {
  switch (event.type) {
    case "Scanned": {
      const { activeBytes, segments, totalBytes } = event.data
      return `${formatBytes(activeBytes)} active, ${segments} ${segments === 1 ? "segment" : "segments"}, ${formatBytes(totalBytes)} in all`
    }
    case "Cleaned":
      return `${nameOf(event.data.path)}, ${formatBytes(event.data.bytes)} (${event.data.reason})`
    case "Removed":
      return `${nameOf(event.data.path)}, ${formatBytes(event.data.bytes)} (${event.data.reason})`
    case "Compressed": {
      const { bytesIn, bytesOut, durationMs, to } = event.data
      const ratio = bytesOut > 0 ? ` (${(bytesIn / bytesOut).toFixed(1)}x in ${formatDuration(durationMs)})` : ""
      return `${nameOf(to)}, ${formatBytes(bytesIn)} to ${formatBytes(bytesOut)}${ratio}`
    }
    case "Rotated": {
      const { bytes, reopened, to } = event.data
      return `${nameOf(to)}, ${formatBytes(bytes)}${reopened ? "" : " (its writer reopens by itself)"}`
    }
    case "Deferred": {
      const { by, path, retryAfterMs, step, why } = event.data
      return `${step} ${nameOf(path)}: ${by}: ${why}; again in ${formatDuration(retryAfterMs)}`
    }
    case "Failed": {
      const { hint, message, step } = event.data
      return `${step}: ${message}; ${hint}`
    }
    case "Planned": {
      const steps = event.data.steps.map(({ path, step }) => `${step} ${nameOf(path)}`)
      return `${steps.length === 0 ? "nothing" : steps.join(", ")} (observed only)`
    }
  }
}

/** The longest core type, so that what follows stands in a column. */
const TYPE_WIDTH = "Compressed".length

/** `2026-09-09T04:33:10.123Z  Rotated     shop/web-0/nginx  0.log.20260909-043310, 10.0 MiB`. */
export const eventLine = (event: Envelope, colors: Colors): string => {
  const { log, time, type } = event
  return `${colors.dim(time)}  ${paint(colors, type, safe(type).padEnd(TYPE_WIDTH))}  ${safe(labelOf(log))}  ${safe(eventDetail(event))}`
}

/** An event that this program doesn't know, such as a plugin's. */
export const unknownLine = ({ raw, type }: Extract<Decoded, { readonly _tag: "Unknown" }>, colors: Colors): string => {
  const { data, log, time } = (typeof raw === "object" && raw !== null ? raw : {}) as Partial<Envelope>
  const about = log === undefined ? "?" : labelOf(log)
  return `${colors.dim(safe(String(time ?? "?")))}  ${colors.dim(safe(type).padEnd(TYPE_WIDTH))}  ${safe(about)}  ${safe(otherDetail(data ?? raw))}`
}

/** The envelope with its keys in the order in which they are documented. */
export const eventJson = ({ data, id, log, metadata, position, time, type, version }: Envelope): Envelope =>
  ({ id, position, time, type, version, log, data, metadata }) as Envelope
