/** The steps a plan is made of. Data only: the agent's passes give them their meaning. */
import type { FileSeen, Segment } from "../log/snapshot.ts"

/**
 * Removes a leftover. `temporary`: a half-written file of an earlier pass, or an empty one that was to keep a name for a rotation.
 * `superseded`: a file whose bytes are kept elsewhere, by a compressed `twin` (which must prove it first; if it can't, the twin is the leftover) or, after a rotation that was
 * cut off while being undone, under the active file's name.
 */
export type Clean =
  | { readonly _tag: "Clean"; readonly reason: "temporary"; readonly file: FileSeen }
  | { readonly _tag: "Clean"; readonly reason: "superseded"; readonly file: Segment; readonly twin: Segment | "active" }
/** Removes a segment that a limit has no room for; every guard is asked first. */
export interface Remove {
  readonly _tag: "Remove"
  readonly segment: Segment
  readonly reason: "max-files" | "budget" | "pressure"
}
/** Compresses a plain segment to `to`, then removes the original. */
export interface Compress {
  readonly _tag: "Compress"
  readonly segment: Segment
  readonly to: string
  readonly codec: string
}
/** Asks the guards that want to be asked early about a segment that stays for now. */
export interface Offer {
  readonly _tag: "Offer"
  readonly segment: Segment
}
/** Renames the active file to `to`, never over anything, and has the writer reopen, unless there is none any more: then `tells` is false. */
export interface Rotate {
  readonly _tag: "Rotate"
  readonly file: FileSeen
  readonly to: string
  readonly tells: boolean
}
/** Has the writer reopen because the active file is missing; `interrupted` is the segment of the rotation this completes, if one was cut off. */
export interface Reopen {
  readonly _tag: "Reopen"
  readonly path: string
  readonly interrupted: Segment | null
}
/** No name is left for the next segment: a stamp at the end of time lies in the directory. Nothing can be done but say so. */
export interface Refuse {
  readonly _tag: "Refuse"
  readonly path: string
  readonly message: string
  readonly hint: string
}
export type Step = Clean | Remove | Compress | Offer | Rotate | Reopen | Refuse

/** The file a step is about. */
export const pathOf = (step: Step): string => {
  switch (step._tag) {
    case "Clean":
    case "Rotate":
      return step.file.path
    case "Remove":
    case "Compress":
    case "Offer":
      return step.segment.path
    case "Reopen":
    case "Refuse":
      return step.path
  }
}

/** What failures and deferrals call a step. */
export type StepName = "scan" | "clean" | "remove" | "compress" | "rotate" | "reopen" | "offer"
const NAMES = {
  Clean: "clean",
  Remove: "remove",
  Compress: "compress",
  Rotate: "rotate",
  Reopen: "reopen",
  Refuse: "rotate",
  Offer: "offer",
} as const satisfies Record<Step["_tag"], StepName>
export const stepName = (step: Step): StepName => NAMES[step._tag]

/**
 * Steps that give the writer a fresh file: quick, and always done first. The rest, upkeep, may take long (compressing,
 * verifying, asking guards) and never makes a writer wait.
 */
export const isRotation = (step: Step): boolean =>
  step._tag === "Rotate" || step._tag === "Reopen" || step._tag === "Refuse" || isUndo(step)
const isUndo = (step: Step): boolean => step._tag === "Clean" && step.reason === "superseded" && step.twin === "active"
