/** What verifying comes to, for people and programs. Data only. */
import type { Finding, Severity } from "@cordwood/core"
import type { Problem } from "../pass/report.ts"

export interface VerifyOptions {
  /** Also mends what can be mended without losing a byte. Refused while another agent keeps the journal. */
  readonly repair?: boolean
  /** Called with each finding as it is made, and mended or not. */
  readonly onFinding?: (finding: Finding) => void
  readonly onProgress?: (progress: VerifyProgress) => void
}
/** Of how much; what comes up meanwhile isn't counted in. Bytes are those that segments take on disk. */
export interface VerifyProgress {
  readonly logs: number
  readonly logsDone: number
  readonly segments: number
  readonly segmentsDone: number
  readonly bytes: number
  readonly bytesDone: number
}
export interface VerifyReport {
  readonly logs: number
  /** Segments that were read to their end, and the bytes that they take on disk. */
  readonly segments: number
  readonly bytes: number
  /** Of the journal; null if there is none. */
  readonly events: number | null
  /** Who kept the journal meanwhile, in words; null if nobody did. */
  readonly agent: string | null
  /** How many findings there were, those that were mended included. */
  readonly found: Readonly<Record<Severity, number>>
  readonly repaired: number
  /** The first of them, at most `MAX_FINDINGS`. */
  readonly findings: ReadonlyArray<Finding>
  /** Sources that couldn't be asked, and names that were left alone: whose logs were not verified, unless the journal knows them. */
  readonly problems: ReadonlyArray<Problem>
}

/** A report is a value in memory: what is beyond this many is told as it is found, and counted. */
export const MAX_FINDINGS = 10_000
