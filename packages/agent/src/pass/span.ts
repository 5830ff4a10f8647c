/** What spans say of passes, steps and their outcome, in OpenTelemetry's names where it has any, and under `cordwood.` where not. Data only. */
import { type CoreFact, type Log, nameOf, pathOf, type Step, stepName } from "@cordwood/core"
import type { Applied } from "./watched.ts"

type Attributes = Readonly<Record<string, unknown>>

/** What doesn't change of a log: whose it is, where it lies, and which policy it is under. */
const logAttributes = (log: Log, { mode, name }: Applied): Attributes => ({
  "log.file.path": log.path,
  "log.file.name": nameOf(log.path),
  ...(log.namespace === undefined ? {} : { "k8s.namespace.name": log.namespace }),
  ...(log.pod === undefined ? {} : { "k8s.pod.name": log.pod }),
  ...(log.podUid === undefined ? {} : { "k8s.pod.uid": log.podUid }),
  ...(log.container === undefined ? {} : { "k8s.container.name": log.container }),
  ...(log.containerId === undefined ? {} : { "container.id": log.containerId }),
  "cordwood.policy.name": name,
  "cordwood.policy.mode": mode,
})

export const passAttributes = (
  log: Log,
  applied: Applied,
  correlationId: string,
  steps: ReadonlyArray<Step>,
): Attributes => ({
  ...logAttributes(log, applied),
  // What its events carry as `metadata.correlationId`.
  "cordwood.pass.id": correlationId,
  "cordwood.pass.steps": steps.map(stepName),
})

export const stepAttributes = (log: Log, applied: Applied, step: Step): Attributes => ({
  ...logAttributes(log, applied),
  "log.file.path": pathOf(step),
  "log.file.name": nameOf(pathOf(step)),
})

/** What a step came to. */
export const factAttributes = (fact: CoreFact): Attributes => {
  switch (fact.type) {
    case "Rotated": {
      const { bytes, maxSize, reopened, to } = fact.data
      return {
        "cordwood.segment.path": to,
        "cordwood.bytes": bytes,
        "cordwood.reopened": reopened,
        ...(maxSize === undefined ? {} : { "cordwood.max_size": maxSize }),
      }
    }
    case "Compressed": {
      const { bytesIn, bytesOut, codec, to } = fact.data
      return {
        "cordwood.segment.path": to,
        "cordwood.codec": codec,
        "cordwood.bytes_in": bytesIn,
        "cordwood.bytes_out": bytesOut,
      }
    }
    case "Removed":
    case "Cleaned":
      return { "cordwood.reason": fact.data.reason, "cordwood.bytes": fact.data.bytes }
    case "Deferred":
      return { "cordwood.deferred.by": fact.data.by, "cordwood.deferred.why": fact.data.why }
    case "Failed":
      return { "error.type": fact.data.reason, "error.message": fact.data.message }
    case "Scanned":
    case "Planned":
      return {}
  }
}
