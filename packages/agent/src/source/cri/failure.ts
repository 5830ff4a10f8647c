/** What goes wrong between the source and a runtime, in the words of its port, with what to do about it. Pure. */
import { SourceError } from "@cordwood/core"
import type { CallFailure } from "./client.ts"

/** The errors of one source. */
export interface Errors {
  readonly failed: (op: "list" | "reopen", target: string, failure: CallFailure) => SourceError
  /** About something that is listed. */
  readonly listed: (reason: SourceError["reason"], target: string, detail: string, hint: string) => SourceError
}
export const errorsOf = (source: string, timeoutMs: number): Errors => ({
  failed: (op, target, failure) =>
    new SourceError({
      source,
      op,
      target,
      reason: failure.reason,
      detail: failure.detail,
      hint: hintFor(failure, timeoutMs),
    }),
  listed: (reason, target, detail, hint) => new SourceError({ source, op: "list", target, reason, detail, hint }),
})

/** The socket is in the source's name, with which every message begins. */
const hintFor = ({ errno, method, reason, unimplemented }: CallFailure, timeoutMs: number): string => {
  if (unimplemented) {
    return `what answers there doesn't know ${method} of CRI v1: use containerd 1.6 or later with its CRI plugin enabled, or CRI-O 1.20 or later`
  }
  switch (reason) {
    case "Unavailable":
      return errno === "EACCES" || errno === "EPERM"
        ? "run the agent as root, or let its user open the socket"
        : "check that the container runtime runs (systemctl status containerd) and that endpoint names its socket; it is tried again by itself"
    case "DeadlineExceeded":
      return `the runtime is stuck or overloaded: see its own log; if it is just slow, raise the source's timeout (${timeoutMs} ms)`
    case "NotFound":
      return "the container has ended meanwhile: nothing to do"
    case "Invalid":
      return "check that endpoint names a container runtime's CRI socket"
    default:
      return "see the message and the runtime's own log; it is tried again on the next pass"
  }
}
