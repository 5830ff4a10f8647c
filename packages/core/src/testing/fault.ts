/** What can be made to go wrong in a `World`, and where. Data only: the world gives it its meaning. */

/**
 * What happens at an operation. `before` and `after`: it fails, without or with its effect. `crash-…`: the agent is dead from then on, before or
 * after the effect; no operation of that incarnation ever returns. `hang`: takes effect, but never answers.
 */
export type Fault = "before" | "after" | "crash-before" | "crash-after" | "hang" | null

/**
 * What can fail. Those of one word are calls of a port, from beginning to end. The others are acts within one, for what only a crash
 * between two acts leaves behind.
 */
export type Operation =
  | "list"
  | "setAside"
  /** The rename, once an empty file holds the new name. */
  | "setAside.reserved"
  /** Syncing the directory, once the file has the new name. */
  | "setAside.sync"
  | "putBack"
  /** Syncing the directory, once the file has both names. */
  | "putBack.sync"
  /** Taking the segment's name away, once the file has both names. */
  | "putBack.linked"
  /** Syncing the directory, once the segment's name is gone. */
  | "putBack.synced"
  | "remove"
  /** Syncing the directory, once the name is gone: a failure isn't told, and the file may come back after a power cut. */
  | "remove.sync"
  | "compress"
  /** Writing the first half of the temporary file, once there is an empty one. */
  | "compress.write"
  /** Syncing the temporary file, once it is complete. */
  | "compress.sync"
  /** Syncing the original, once it is known that the temporary file holds it. */
  | "compress.source"
  /** The rename of the finished temporary file. */
  | "compress.rename"
  /** Syncing the directory, once it is renamed. */
  | "compress.renamed"
  | "matches"
  /** Syncing the twin and its directory, once it is known to match. */
  | "matches.sync"
  | "free"
  | "reopen"
  | "sourceList"

/** Asked before every operation; `path` is what it is about. */
export type Faults = (operation: Operation, path: string) => Fault
