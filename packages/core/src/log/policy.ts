/** The limits for a log, and which ones apply to it. Names and defaults are the kubelet's (`containerLogMaxSize`, `containerLogMaxFiles`). */
import * as z from "zod"
import { Quantity } from "../unit/quantity.ts"
import type { Labels, Log } from "./log.ts"

/** Codec id that leaves segments plain. */
export const NO_COMPRESSION = "none"
/** What events and spans call the policy of a log that no override applies to. */
export const DEFAULT_POLICY = "default"
/** More overrides than this is a list that a program wrote by mistake. */
const MAX_OVERRIDES = 100
const MAX_PATTERNS = 1_000

/** `observe`: passes are planned, traced and recorded, and nothing is touched. `enforce`: they are carried out. */
export const Mode = z.enum(["enforce", "observe"])
export type Mode = z.infer<typeof Mode>

const maxSize = Quantity.meta({
  description:
    "Bytes. A log is rotated once its active file holds at least as many; negative: never; 0: on every pass. The kubelet's containerLogMaxSize.",
})
const maxFiles = z
  .int()
  .min(2, "must be at least 2: the active file and one segment")
  .max(100_000)
  .meta({ description: "Files of one log, the active one included. The kubelet's containerLogMaxFiles." })
const compression = z
  .string()
  .min(1)
  .meta({
    description: "Id of the codec that segments are compressed with, or none.",
    examples: ["gzip", NO_COMPRESSION],
  })
const keepStopped = z.int().min(0).max(100_000).meta({
  description:
    "Of the containers of one name in a pod that have ended, the logs of this many stay, the newest ones; those of earlier ones go. The kubelet's maximum-dead-containers-per-container.",
})
const total = Quantity.refine((bytes) => bytes >= 0, "must not be negative")
const maxTotal = z
  .union([
    total.transform((bytes) => ({ container: bytes, pod: undefined })),
    z.strictObject({ container: total.optional(), pod: total.optional() }),
  ])
  .meta({
    description:
      "Bytes on disk. Of all logs of one container name in a pod, those of ended containers among them; or, as { container, pod }, also of all the pod's logs. Beyond it the oldest segments go, those of ended containers first.",
  })
const mode = Mode.meta({
  description: "observe: plan, trace and record what would be done, and touch nothing. enforce: do it.",
})

/** A name or several; each may have `*` in it for any characters. */
const Patterns = z
  .union([z.string().min(1), z.array(z.string().min(1)).min(1).max(MAX_PATTERNS)])
  .meta({ description: "A name, or a list of names of which one must fit. * stands for any characters." })
export const Match = z.strictObject({
  namespace: Patterns.optional(),
  pod: Patterns.optional(),
  container: Patterns.optional(),
  path: Patterns.optional(),
  labels: z
    .record(z.string().min(1), Patterns)
    .optional()
    .meta({ description: "The pod's labels, by name. Only the source cri knows them." }),
})
export type Match = z.output<typeof Match>

export const Override = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,63}$/, "must be 1 to 63 letters, digits, dots, dashes or underscores")
    .refine(
      (name) => name !== DEFAULT_POLICY,
      `must not be ${DEFAULT_POLICY}: that is what events call the policy itself`,
    )
    .meta({ description: "What events and spans call it.", examples: ["canary"] }),
  match: Match.prefault({}).meta({ description: "Which logs it is for: all that is said here must fit." }),
  percent: z.number().min(0).max(100).default(100).meta({
    description:
      "Of the pods that fit, this many in a hundred. Which ones depends on the pod's uid alone, so that a higher figure adds pods and drops none.",
  }),
  maxSize: maxSize.optional(),
  maxFiles: maxFiles.optional(),
  compression: compression.optional(),
  keepStopped: keepStopped.optional(),
  maxTotal: maxTotal.optional(),
  mode: mode.optional(),
})
export type Override = z.output<typeof Override>

/** What gives way when guards, such as shipping to S3, keep segments that retention would remove. */
export const DeferredLimits = z
  .strictObject({
    onPressure: z.enum(["hold", "drop"]).default("hold").meta({
      description:
        "hold: the segments stay, whatever it takes. drop: the oldest are removed unshipped, each with an event.",
    }),
    maxSize: Quantity.refine((bytes) => bytes >= 0, "must not be negative")
      .optional()
      .meta({
        description: "Bytes. drop begins once the segments that wait, those of all logs together, hold more.",
      }),
    minFree: Quantity.refine((bytes) => bytes >= 0, "must not be negative")
      .optional()
      .meta({
        description: "Bytes. drop begins once the logs' file system has less than this free.",
      }),
  })
  .refine(
    ({ maxSize, minFree, onPressure }) => onPressure === "hold" || maxSize !== undefined || minFree !== undefined,
    {
      error: "onPressure: drop needs a limit: maxSize, minFree or both",
    },
  )
export type DeferredLimits = z.output<typeof DeferredLimits>

/** Watermarks on the free space of the logs' file systems. */
export const PressureLimits = z
  .strictObject({
    minFree: total.meta({
      description:
        "Bytes. Once a file system that holds logs has less free, segments are shed until it has targetFree.",
    }),
    targetFree: total.optional().meta({ description: "Bytes; minFree if not given." }),
    keepFiles: z.int().min(1).max(100_000).default(2).meta({
      description: "Files of one log that pressure leaves, the active one included.",
    }),
  })
  .refine(({ minFree, targetFree }) => targetFree === undefined || targetFree >= minFree, {
    error: "targetFree must not be less than minFree",
  })
export type PressureLimits = z.output<typeof PressureLimits>

export const Policy = z.strictObject({
  maxSize: maxSize.prefault("10Mi"),
  maxFiles: maxFiles.default(5),
  compression: compression.default("gzip"),
  keepStopped: keepStopped.default(1),
  maxTotal: maxTotal.optional(),
  mode: mode.default("enforce"),
  pressure: PressureLimits.optional().meta({
    description: "When the disk fills up, what is shipped goes first, then the oldest of the largest log.",
  }),
  deferred: DeferredLimits.prefault({}).meta({
    description: "What gives way when guards, such as shipping to S3, keep segments that would be removed.",
  }),
  overrides: z
    .array(Override)
    .max(MAX_OVERRIDES)
    .refine(
      (all) => new Set(all.map(({ name }) => name)).size === all.length,
      "each override must have a name of its own",
    )
    .default([])
    .meta({
      description:
        "Other limits for some logs. The first one that fits a log applies; what it doesn't say is as above.",
    }),
})
export type Policy = z.output<typeof Policy>
/** What a user writes: `{ maxSize: "10Mi", maxFiles: 5, compression: "gzip" }`, each one optional. */
export type PolicyInput = z.input<typeof Policy>

/** What applies to one log. `name`: of the override, or `default`. */
export interface AppliedPolicy {
  readonly name: string
  readonly mode: Mode
  readonly maxSize: number
  readonly maxFiles: number
  readonly compression: string
  readonly keepStopped: number
  /** Bytes of a container's logs and of a pod's; undefined: no limit. */
  readonly maxTotal: { readonly container?: number | undefined; readonly pod?: number | undefined }
}

/** The policy for a log: the first override that fits it, over the policy itself. Depends on the log and its labels alone. */
export const policyFor = (policy: Policy, log: Log, labels: Labels = {}): AppliedPolicy => {
  const found = policy.overrides.find(({ match, percent }) => fits(match, log, labels) && percentileOf(log) < percent)
  return {
    name: found?.name ?? DEFAULT_POLICY,
    mode: found?.mode ?? policy.mode,
    maxSize: found?.maxSize ?? policy.maxSize,
    maxFiles: found?.maxFiles ?? policy.maxFiles,
    compression: found?.compression ?? policy.compression,
    keepStopped: found?.keepStopped ?? policy.keepStopped,
    maxTotal: found?.maxTotal ?? policy.maxTotal ?? {},
  }
}

const fits = (match: Match, log: Log, labels: Labels): boolean =>
  fitsOne(match.namespace, log.namespace) &&
  fitsOne(match.pod, log.pod) &&
  fitsOne(match.container, log.container) &&
  fitsOne(match.path, log.path) &&
  Object.entries(match.labels ?? {}).every(([name, patterns]) =>
    fitsOne(patterns, Object.hasOwn(labels, name) ? labels[name] : undefined),
  )

/** Nothing asked for fits everything; what a source doesn't know fits nothing. */
const fitsOne = (patterns: z.output<typeof Patterns> | undefined, value: string | undefined): boolean => {
  if (patterns === undefined) return true
  if (value === undefined) return false
  return (typeof patterns === "string" ? [patterns] : patterns).some((pattern) => fitsPattern(pattern, value))
}

/** Piece by piece from the left, with the last one at the end: linear, where a regular expression of many stars may not be. */
const fitsPattern = (pattern: string, value: string): boolean => {
  const [first = "", ...rest] = pattern.split("*")
  const last = rest.pop()
  if (last === undefined) return pattern === value
  if (!value.startsWith(first)) return false
  let at = first.length
  for (const piece of rest) {
    const found = value.indexOf(piece, at)
    if (found < 0) return false
    at = found + piece.length
  }
  return value.length - last.length >= at && value.endsWith(last)
}

/**
 * Where a pod stands among a hundred, from 0 up to, and not including, 100: by its uid, or, for a log without one, by its path. FNV-1a of its
 * characters, mixed by MurmurHash3's finalizer so that uids that differ in a digit lie apart. Part of the product's outside: a rollout relies on it.
 */
export const percentileOf = ({ path, podUid }: Log): number => {
  let hash = 0x811c9dc5
  for (const unit of podUid ?? path) hash = Math.imul(hash ^ (unit.codePointAt(0) ?? 0), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  hash = (hash ^ (hash >>> 16)) >>> 0
  return (hash / 2 ** 32) * 100
}
