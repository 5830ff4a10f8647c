/** What passes and plans come to, for people and programs. Data only. */
import type { Activity, Log, Mode, Step, Writer } from "@cordwood/core"

/** Something that failed, and what the operator can do about it. `path` is a log, one of its files, or a source's socket. */
export interface Problem {
  readonly path: string
  readonly step: string
  readonly reason: string
  readonly message: string
  readonly hint: string
}
/** What was put off for one reason: how many steps, and how soon one of them may be tried again, in milliseconds. */
export interface DeferredFor {
  readonly step: Activity
  readonly by: string
  readonly why: string
  readonly count: number
  readonly retryAfterMs: number
}
/** What a pass over every log came to. */
export interface PassReport {
  readonly logs: number
  readonly steps: Readonly<Record<"rotated" | "compressed" | "removed" | "cleaned", number>>
  readonly deferred: number
  /** The reasons for it. They add up to less where a guard that gave no answer was spared further questions. */
  readonly deferrals: ReadonlyArray<DeferredFor>
  /** Steps that were planned under a policy in mode `observe`, and not taken. */
  readonly observed: number
  readonly problems: ReadonlyArray<Problem>
}
/** What guards still keep after they were asked about every closed segment (`once --drain`). */
export interface DrainReport extends PassReport {
  /** Closed segments that were asked about: none where no plugin keeps any, nor of logs that are observed. */
  readonly asked: number
  readonly waiting: ReadonlyArray<{ readonly path: string; readonly by: string; readonly why: string }>
  /** Closed segments that nobody was asked about, as the policy of their log only observes: not drained either. None where no plugin keeps any. */
  readonly unasked: ReadonlyArray<{ readonly path: string; readonly policy: string }>
}
/** What a pass would do now about one log. Sizes are bytes; `activeBytes` is null where the active file is missing. */
export interface PlannedLog {
  readonly log: Log
  readonly activeBytes: number | null
  readonly files: number
  readonly totalBytes: number
  /** Whether the log's container has ended, and whether it is kept then (`policy.keepStopped`). */
  readonly writer: Writer
  /** The policy that the log is under: an override's name, or `default`. */
  readonly policy: string
  readonly mode: Mode
  readonly limits: { readonly maxSize: number; readonly maxFiles: number; readonly compression: string }
  readonly steps: ReadonlyArray<Step>
}
export interface PlanReport {
  readonly logs: ReadonlyArray<PlannedLog>
  readonly problems: ReadonlyArray<Problem>
}
