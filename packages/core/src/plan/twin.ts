/** What is to be done about two files that should hold the same bytes, a plain segment and its compressed twin. Pure. */
import type { Stamp } from "../log/name.ts"
import type { Segment } from "../log/snapshot.ts"

/** The compressed segment of each stamp, the last of them where several codecs have made one: the twin of a plain one, if that is there. */
export const twinsIn = (segments: Iterable<Segment>): ReadonlyMap<Stamp, Segment> => {
  const twins = new Map<Stamp, Segment>()
  for (const segment of segments) if (segment.suffix !== "") twins.set(segment.stamp, segment)
  return twins
}

/**
 * How what one file holds, `a`, relates to what another does, `b`. `Within`: all that could be had of `a` is how `b` begins, and `b` has more.
 * `Beyond`: the other way round. `Differ`: another byte from `at` on. `broken`: why `a` didn't decode to its end; null if it did.
 */
export interface Comparison {
  readonly relation: "Same" | "Within" | "Beyond" | "Differ"
  readonly broken: string | null
  /** Bytes that could be had of `a`. */
  readonly bytes: number
  /** How far the two are the same. */
  readonly at: number
  /** They differ, and from there on `b` is nothing but NULs: what a power cut leaves of bytes that had not reached the disk. */
  readonly blank: boolean
}

/**
 * What is to be done about a plain segment, `b`, and its compressed twin, `a`. A twin that isn't one is the leftover: it was laid there. Unless the segment was
 * cut by a power cut: then nothing goes whose bytes the other one has not got. `torn-twin-goes`: what comes out of it can't be relied on; `strange-twin-goes`:
 * it is of something else.
 */
export type TwinVerdict = "plain-goes" | "twin-goes" | "torn-twin-goes" | "strange-twin-goes" | "both-stay"
export const verdictOf = ({ blank, broken, bytes, relation }: Comparison): TwinVerdict => {
  switch (relation) {
    case "Same":
      // Broken although every byte came out: its end is damaged, so it is no proof.
      return broken === null ? "plain-goes" : "twin-goes"
    case "Within":
      // A name is no proof that a file of which nothing comes out was ever made of the other one.
      return broken !== null && bytes === 0 ? "torn-twin-goes" : "twin-goes"
    case "Beyond":
      // The plain one was cut, by a power cut before its last bytes reached the disk, say: its twin was synced.
      return broken === null ? "plain-goes" : "both-stay"
    case "Differ":
      // What comes out of a torn file before its decoder notices is rubbish.
      if (broken !== null) return "torn-twin-goes"
      return blank ? "both-stay" : "strange-twin-goes"
  }
}
