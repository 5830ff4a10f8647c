/** Where logs come from: a container runtime, or patterns of files. Lists them and has their writers reopen. */
import { Data, type Effect } from "effect"
import type { Labels, Log } from "../log/log.ts"

export type SourceReason =
  /** Nobody answers: no socket, connection refused or broken. */
  | "Unavailable"
  | "DeadlineExceeded"
  | "NotFound"
  /** The other side said no, or failed. */
  | "Refused"
  /** The answer makes no sense, or names a path that may not be touched. */
  | "Invalid"
  /** It was found where logs are looked for, but is none and is left alone: worth a word, but no log failed. */
  | "LeftAlone"
  | "Other"

/** The one error of the port. `target` is what it is about: a socket, a log's path, a pattern. */
export class SourceError extends Data.TaggedError("SourceError")<{
  readonly source: string
  readonly op: "list" | "reopen"
  readonly target: string
  readonly reason: SourceReason
  readonly detail: string
  readonly hint: string
}> {
  override get message(): string {
    // A source is often named for what the error is about: a socket, a pattern.
    const about = this.source.endsWith(this.target) ? "" : ` ${this.target}`
    return `${this.source} ${this.op}${about}: ${this.detail}`
  }
}

/** The logs to look after now. `problems` are about single logs, which are left out; the others go on. */
export interface Logs {
  readonly logs: ReadonlyArray<Log>
  /** The labels of the pods that the logs are of, by the log's path, as far as the source knows them. */
  readonly labels?: ReadonlyMap<string, Labels>
  /**
   * Paths of logs whose file is missing and isn't waited for, as nothing shows that there is a writer still: nobody is told to reopen them, and
   * their segments are looked after all the same.
   */
  readonly dormant?: ReadonlySet<string>
  /** Paths of logs whose container has ended for sure: nobody writes to them any more, and nobody can be told to reopen. */
  readonly stopped?: ReadonlySet<string>
  readonly problems: ReadonlyArray<SourceError>
}

/** A source is a value rather than a service, as an agent has several. Every effect has a deadline of its own. */
export interface Source {
  /** For messages: `cri unix:///run/containerd/containerd.sock`. */
  readonly name: string
  readonly list: Effect.Effect<Logs, SourceError>
  /** False: `reopen` is always `not-told`, so that a plan has no use for a `Reopen`. */
  readonly tells?: boolean
  /**
   * Has the writer close the file that it holds and open the log's path anew. `told`: it has done so. `not-told`: there is nobody to tell, the
   * writer reopens by itself. After an error it may have taken effect nevertheless.
   */
  readonly reopen: (log: Log) => Effect.Effect<"told" | "not-told", SourceError>
}
