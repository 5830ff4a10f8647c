/** What a writer is told, and what it says. */

export interface WriterPlan {
  readonly logs: ReadonlyArray<string>
  readonly pidFile: string
  /** Where the lines come from, over and over again. */
  readonly lines: string
  /** Of that file, from its beginning. */
  readonly linesBytes: number
  /** To each log. Null: as fast as it goes, one write(2) for each line, as a container runtime writes. */
  readonly bytesPerSecond: number | null
  /** Whichever comes first. */
  readonly seconds: number
  readonly bytesPerLog: number
}
export interface LeftFile {
  readonly log: string
  readonly bytes: number
}
/** `ready`: every log is there; the writer begins when it gets a message. */
export type WriterReport =
  | { readonly state: "ready" }
  | {
      readonly state: "done"
      readonly seconds: number
      readonly bytes: number
      /** What each file held when it was left, in that order; then those that were being written at the end. */
      readonly files: ReadonlyArray<LeftFile>
    }

export const REOPEN_SIGNAL = "USR2"
