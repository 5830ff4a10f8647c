/**
 * The logs of one container of a pod, one for each time that it was started, as the kubelet names them: `0.log`, `1.log` … in a directory of its
 * own. Pure. Says which of those that nobody writes to any more `policy.keepStopped` doesn't keep; it never hears of the others.
 */
import { directoryOf, type Log, nameOf } from "./log.ts"

/** Ten digits hold any count of restarts, which is 32 bits wide. */
const ATTEMPT = /^(\d{1,10})\.log$/

/** How often the container had been restarted when it wrote the log of this name; null for a name that the kubelet doesn't give. */
export const attemptIn = (name: string): number | null => {
  const digits = ATTEMPT.exec(name)?.[1]
  return digits === undefined ? null : Number(digits)
}

/** A log whose container has ended, and how many of its family the policy that it is under keeps. */
export interface Ended {
  readonly log: Log
  readonly keepStopped: number
}

/**
 * Paths of the logs that are surplus: at least `keepStopped` later ones of their family have ended, too. By the number in the name, as a clock
 * can be set back. A log of another name, or of no pod and container that are known, is none of any family's, and never surplus.
 */
export const surplusAmong = (ended: Iterable<Ended>): ReadonlySet<string> => {
  const families = new Map<string, Array<{ readonly path: string; readonly attempt: number; readonly keep: number }>>()
  for (const { keepStopped: keep, log } of ended) {
    const { container, path, podUid } = log
    const attempt = attemptIn(nameOf(path))
    if (attempt === null || podUid === undefined || container === undefined) continue
    const key = JSON.stringify([podUid, container, directoryOf(path)])
    const family = families.get(key)
    if (family === undefined) families.set(key, [{ path, attempt, keep }])
    else family.push({ path, attempt, keep })
  }
  const surplus = new Set<string>()
  for (const family of families.values()) {
    family.sort((a, b) => b.attempt - a.attempt || (a.path < b.path ? 1 : -1))
    for (const [later, { keep, path }] of family.entries()) if (later >= keep) surplus.add(path)
  }
  return surplus
}
