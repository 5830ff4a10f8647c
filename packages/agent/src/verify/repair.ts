/**
 * Mends what verifying has found, as far as that loses nothing: by the very steps that a pass takes, each with its event. Holds the journal's lock
 * meanwhile, so that no agent is at work; rotates, compresses and retires nothing, and touches nothing that is only observed.
 */
import { type Clean, type Finding, formatStamp, type Limits, type LogFilesError, plan } from "@cordwood/core"
import { Effect } from "effect"
import { PassRecord } from "../pass/pass-record.ts"
import { scan } from "../pass/pass.ts"
import type { Problem } from "../pass/report.ts"
import { clean } from "../pass/upkeep.ts"
import { newTally, type PassPorts, type Watched } from "../pass/watched.ts"

export interface Repair {
  /** A finding about the journal, as it is now that the journal was opened. */
  readonly journal: (finding: Finding) => Finding
  /** A log's findings, after what could be done about them. */
  readonly log: (watched: Watched, found: ReadonlyArray<Finding>) => Effect.Effect<ReadonlyArray<Finding>>
  /** What went wrong with recording it. */
  readonly troubles: Effect.Effect<ReadonlyArray<Problem>>
}

/** Cleaning up is all that a plan under these limits can be about. */
const ONLY_CLEANING: Limits = {
  maxSize: Number.MAX_SAFE_INTEGER,
  maxFiles: Number.MAX_SAFE_INTEGER,
  codec: null,
  guarded: false,
  cleared: null,
  writer: "running",
  shed: new Map(),
}

/** With the journal open. `keptAs`: where a damaged one lies now; null if it wasn't, or there was none. */
export const repairing = (ports: PassPorts, keptAs: string | null): Repair => ({
  journal: (finding) => {
    if (finding.kind === "journal-missing") return { ...finding, hint: "a new one was begun", repair: "done" }
    if (finding.kind !== "journal-corrupt") return finding
    const where = keptAs === null ? "it was gone when it was to be set aside" : `the old one lies, whole, at ${keptAs}`
    return {
      ...finding,
      hint: `a new one was begun; ${where}: save what can be read of it, then delete it`,
      repair: "done",
    }
  },
  log: (watched, found) =>
    Effect.gen(function* () {
      const record = new PassRecord(ports, watched, newTally())
      const seen = yield* Effect.result(watched.books.withPermit(scanned(record)))
      const steps = cleaningOf(seen._tag === "Failure" ? [] : seen.success)
      const mended: Array<Finding> = []
      for (const finding of found) mended.push(yield* mend(record, steps, finding, seen))
      return mended
    }),
  troubles: Effect.map(ports.recorder.flush, () => {
    const trouble = ports.recorder.trouble()
    if (trouble === null) return []
    const { hint, message, path, reason } = trouble
    return [{ path, step: "journal", reason, message: `${message}; what was repaired is not on record`, hint }]
  }),
})

/** Puts on record what is there and what is gone; returns what can be cleaned away. */
const scanned = (record: PassRecord): Effect.Effect<ReadonlyArray<Clean>, LogFilesError> =>
  Effect.gen(function* () {
    const seen = yield* scan(record.ports, record.log)
    yield* record.scanned(seen, false)
    // No name is given out, so that the time doesn't matter.
    const steps = plan(ONLY_CLEANING, seen.snapshot, formatStamp(seen.snapshot.takenAtMs) ?? "")
    return steps.filter((step) => step._tag === "Clean")
  })

const mend = (
  record: PassRecord,
  steps: Cleaning,
  finding: Finding,
  seen: { readonly _tag: "Success" } | { readonly _tag: "Failure"; readonly failure: LogFilesError },
): Effect.Effect<Finding> =>
  Effect.gen(function* () {
    if (finding.repair !== "possible") return finding
    if (seen._tag === "Failure") return failed(finding, seen.failure)
    if (finding.severity !== "leftover") {
      const hint = finding.kind === "missing" ? "the loss is on record now" : "it is on record now"
      return { ...finding, hint, repair: "done" }
    }
    const step = (finding.kind === "invalid-twin" ? steps.byTwin : steps.byFile).get(finding.path)
    // It went since it was looked at.
    if (step === undefined) return { ...finding, hint: "it is gone by now", repair: "done" }
    const done = yield* Effect.result(clean(record, step))
    if (done._tag === "Failure") return failed(finding, done.failure)
    if (record.bytesOf(finding.path) >= 0) {
      return { ...finding, hint: "it is not as it was when it was looked at: verify again", repair: "failed" }
    }
    return { ...finding, hint: "it was removed", repair: "done" }
  })

/** What can be cleaned away, by the path of the file, and of the twin that may be the leftover instead. */
interface Cleaning {
  readonly byFile: ReadonlyMap<string, Clean>
  readonly byTwin: ReadonlyMap<string, Clean>
}
const cleaningOf = (steps: ReadonlyArray<Clean>): Cleaning => ({
  byFile: new Map(steps.map((step) => [step.file.path, step])),
  byTwin: new Map(
    steps.flatMap((step) =>
      step.reason === "superseded" && step.twin !== "active" ? [[step.twin.path, step] as const] : [],
    ),
  ),
})

const failed = (finding: Finding, { hint, message }: LogFilesError): Finding => ({
  ...finding,
  message: `${finding.message}; repairing it failed: ${message}`,
  hint,
  repair: "failed",
})
