/** `--log PATTERN`: which logs are meant. Pure. */
import type { Log } from "@cordwood/core"
import picomatch from "picomatch"
import { labelOf } from "./event-text.ts"

const MAGIC = /[*?[\]{}!()]/

/** A test for logs: a glob on the path or on `namespace/pod/container`, or, without a wildcard, a part of one of them. */
export const logFilter = (pattern: string | null): ((log: Log) => boolean) => {
  if (pattern === null) return () => true
  const named = (log: Log): ReadonlyArray<string> => [log.path, labelOf(log)]
  if (!MAGIC.test(pattern)) return (log) => named(log).some((name) => name.includes(pattern))
  const matches = picomatch(pattern, { dot: true })
  return (log) => named(log).some((name) => name === pattern || matches(name))
}
