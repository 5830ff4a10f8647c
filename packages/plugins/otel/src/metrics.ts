/**
 * Every metric, and which events it counts: the one place where metrics come from. What an event doesn't tell, how long a step took that moved no bytes,
 * comes from the span of it. Measures nothing itself, and knows no exporter.
 */
import type { Attributes, Meter } from "@opentelemetry/api"
import type { Envelope } from "@cordwood/core"
import type { EndedSpan } from "./tracer.ts"

/** Of an active file's size over its limit, when it was rotated: 1 is just in time. */
const OVERSHOOT_BUCKETS = [0.5, 1, 1.01, 1.03, 1.05, 1.1, 1.25, 1.5, 2, 3, 5, 10]
const MiB = 2 ** 20
const SIZE_BUCKETS = [0.25, 1, 4, 8, 10, 12, 16, 32, 64, 128, 256, 512, 1_024].map((size) => size * MiB)
/** Seconds. From a rename, by way of a runtime that reopens, to a gigabyte that is compressed or shipped. */
const STEP_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300]
const COMPRESSION_BUCKETS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300]

export interface MetricsOptions {
  /** Whether they tell namespaces apart. */
  readonly perNamespace: boolean
}

export interface Metrics {
  readonly count: (event: Envelope) => void
  /** Takes any span; those that are neither a pass nor a step of one are none of its business. */
  readonly time: (span: EndedSpan) => void
}

/** Names are ours; units are UCUM's, as OpenTelemetry has them. */
export const makeMetrics = (meter: Meter, options: MetricsOptions): Metrics => ({
  count: counting(meter, options),
  time: timing(meter, options),
})

const counting = (meter: Meter, { perNamespace }: MetricsOptions): Metrics["count"] => {
  const counter = (name: string, unit: string, description: string) => meter.createCounter(name, { unit, description })
  const histogram = (name: string, unit: string, description: string, boundaries: ReadonlyArray<number>) =>
    histogramOf(meter, name, unit, description, boundaries)

  const rotations = counter("cordwood.rotations", "{rotation}", "Active files that became segments.")
  const rotated = histogram("cordwood.rotation.size", "By", "Size of an active file when it was rotated.", SIZE_BUCKETS)
  const overshoot = histogram(
    "cordwood.rotation.overshoot",
    "1",
    "Size of an active file when it was rotated, over its policy's maxSize.",
    OVERSHOOT_BUCKETS,
  )
  const compressions = counter("cordwood.compressions", "{segment}", "Segments that were compressed and read back.")
  const input = counter("cordwood.compression.input", "By", "Size of segments before they were compressed.")
  const output = counter("cordwood.compression.output", "By", "Size of segments after they were compressed.")
  const duration = histogram(
    "cordwood.compression.duration",
    "s",
    "Time to compress a segment and read it back, the wait for a core included.",
    COMPRESSION_BUCKETS,
  )
  const removals = counter("cordwood.removals", "{segment}", "Segments that were removed.")
  const removed = counter("cordwood.removal.size", "By", "Size of segments that were removed.")
  const cleanings = counter("cordwood.cleanings", "{file}", "Leftovers that were removed.")
  const cleaned = counter("cordwood.cleaning.size", "By", "Size of leftovers that were removed.")
  const deferrals = counter("cordwood.deferrals", "{deferral}", "Steps that were put off, once for each new reason.")
  const failures = counter("cordwood.failures", "{failure}", "What failed, once for each new reason.")
  const planned = counter("cordwood.planned", "{step}", "Steps that a policy in mode observe kept from being taken.")
  const told = counter("cordwood.plugin.events", "{event}", "Events of plugins.")
  const toldSize = counter("cordwood.plugin.event.size", "By", "What events of plugins say in their field bytes.")

  return (event) => {
    const { log, metadata } = event
    const about: Attributes = {}
    if (metadata.policy !== undefined) about["cordwood.policy.name"] = metadata.policy
    if (metadata.mode !== undefined) about["cordwood.policy.mode"] = metadata.mode
    if (perNamespace && log.namespace !== undefined) about["k8s.namespace.name"] = log.namespace
    switch (event.type) {
      case "Scanned":
        return
      case "Planned":
        for (const { step } of event.data.steps) planned.add(1, { ...about, "cordwood.step": step })
        return
      case "Rotated": {
        const { bytes, maxSize, reopened } = event.data
        rotations.add(1, { ...about, "cordwood.reopened": reopened })
        rotated.record(bytes, about)
        if (maxSize !== undefined && maxSize > 0) overshoot.record(bytes / maxSize, about)
        return
      }
      case "Compressed": {
        const { bytesIn, bytesOut, codec, durationMs } = event.data
        const by = { ...about, "cordwood.codec": codec }
        compressions.add(1, by)
        input.add(bytesIn, by)
        output.add(bytesOut, by)
        duration.record(durationMs / 1_000, by)
        return
      }
      case "Removed": {
        const by = { ...about, "cordwood.reason": event.data.reason }
        removals.add(1, by)
        removed.add(event.data.bytes, by)
        return
      }
      case "Cleaned": {
        const by = { ...about, "cordwood.reason": event.data.reason }
        cleanings.add(1, by)
        cleaned.add(event.data.bytes, by)
        return
      }
      case "Deferred":
        deferrals.add(1, { ...about, "cordwood.step": event.data.step, "cordwood.deferred.by": event.data.by })
        return
      case "Failed":
        failures.add(1, { ...about, "cordwood.step": event.data.step, "error.type": event.data.reason })
        return
      default: {
        const by = { ...about, "cordwood.event.type": event.type }
        told.add(1, by)
        const bytes = bytesIn(event.data)
        if (bytes !== null) toldSize.add(bytes, by)
      }
    }
  }
}

const STEP = /^cordwood\.(scan|clean|remove|compress|rotate|reopen|offer)$/
/** What durations are told apart by. Of a span's attributes, those that have few values. */
const TOLD_APART = ["cordwood.policy.name", "cordwood.policy.mode", "cordwood.plugin", "cordwood.occasion"]
const TOLD_APART_PER_NAMESPACE = [...TOLD_APART, "k8s.namespace.name"]

const timing = (meter: Meter, { perNamespace }: MetricsOptions): Metrics["time"] => {
  const told = perNamespace ? TOLD_APART_PER_NAMESPACE : TOLD_APART
  const pass = histogramOf(
    meter,
    "cordwood.pass.duration",
    "s",
    "Time of a pass that had something to do, from its scan until its writer had a fresh file.",
    STEP_BUCKETS,
  )
  const step = histogramOf(
    meter,
    "cordwood.step.duration",
    "s",
    "Time of a step, whatever came of it, the wait for a core and for guards included.",
    STEP_BUCKETS,
  )
  const guard = histogramOf(meter, "cordwood.guard.duration", "s", "Time of a guard's answer.", STEP_BUCKETS)
  return ({ attributes, errorType, name, seconds }) => {
    const [, stepName] = STEP.exec(name) ?? []
    const into = name === "cordwood.pass" ? pass : name === "plugin.beforeRemove" ? guard : stepName && step
    if (!into) return
    const about: Attributes = {}
    for (const key of told) {
      const value = attributes.get(key)
      if (typeof value === "string") about[key] = value
    }
    if (stepName !== undefined) about["cordwood.step"] = stepName
    if (errorType !== null) about["error.type"] = errorType
    into.record(seconds, about)
  }
}

const histogramOf = (
  meter: Meter,
  name: string,
  unit: string,
  description: string,
  boundaries: ReadonlyArray<number>,
) => meter.createHistogram(name, { unit, description, advice: { explicitBucketBoundaries: [...boundaries] } })

const bytesIn = (data: unknown): number | null => {
  const bytes: unknown = typeof data === "object" && data !== null && "bytes" in data ? data.bytes : null
  return typeof bytes === "number" && bytes >= 0 && Number.isFinite(bytes) ? bytes : null
}
