/** What a benchmark is, and what it is given. */
import type { Children } from "./load/children.ts"
import type { Report } from "./measure/report.ts"

export interface Bench {
  readonly name: string
  /** For the list of them. */
  readonly about: string
  readonly run: (bench: Ground) => Promise<ReadonlyArray<Report>>
}

export interface Ground {
  readonly children: Children
  /** The bundled command that is measured. */
  readonly bundle: string
  /** An empty directory; what lies in it is removed in the end, or when `clear` is called. */
  readonly directory: (name: string) => string
  readonly clear: (directory: string) => void
  /** A file of made-up container logs, the same for every benchmark. */
  readonly corpus: () => string
  readonly corpusBytes: number
  /** For people who wait. */
  readonly say: (text: string) => void
}
