/** What the events of a log add up to. Pure and total: every event has a meaning, even one that repeats. */
import type { Envelope } from "../event/envelope.ts"
import { isCoreType, type Activity, type CoreFact } from "../event/payload.ts"
import { nameOf } from "../log/log.ts"

/** A step that was put off, and since when (ISO 8601). */
export interface Deferral {
  readonly step: Activity
  readonly by: string
  readonly why: string
  readonly since: string
}
/** A step that fails, and since when (ISO 8601). */
export interface Failure {
  readonly path: string
  readonly reason: string
  readonly message: string
  readonly hint: string
  readonly since: string
}
export interface LogState {
  /** Bytes of the segments and leftovers on disk, by name; null until the first scan. */
  readonly files: ReadonlyMap<string, number> | null
  readonly lastRotatedAt: string | null
  /** Path that the newest segment was given when it was rotated. */
  readonly lastSegment: string | null
  /** By path. */
  readonly deferred: ReadonlyMap<string, Deferral>
  /** By activity and path, see `failureKey`. */
  readonly failing: ReadonlyMap<string, Failure>
}
export const initialState: LogState = {
  files: null,
  lastRotatedAt: null,
  lastSegment: null,
  deferred: new Map(),
  failing: new Map(),
}
/** A failure is one of a kind per activity and path; a rotation that fails has a new target name every time, so it counts by log. */
export const failureKey = (step: Activity, path: string): string => `${step} ${path}`

export const evolve = (state: LogState, event: Envelope): LogState =>
  // A plugin's own events say nothing about which files there are.
  isCoreType(event.type) ? evolveCore(state, event as CoreFact, event.time, event.log.path) : state

const evolveCore = (state: LogState, fact: CoreFact, time: string, active: string): LogState => {
  switch (fact.type) {
    case "Scanned": {
      const files = new Map(fact.data.files.map(({ bytes, name }) => [name, bytes]))
      const deferred = new Map([...state.deferred].filter(([path]) => files.has(nameOf(path))))
      const over = new Set([failureKey("scan", active), failureKey("reopen", active)])
      const failing = new Map(
        [...state.failing].filter(([key, { path }]) => !over.has(key) && (path === active || files.has(nameOf(path)))),
      )
      return { ...state, files, deferred, failing }
    }
    case "Cleaned":
      return settle(state, "clean", fact.data.path, { remove: fact.data.path })
    case "Removed":
      return settle(state, "remove", fact.data.path, { remove: fact.data.path })
    case "Compressed":
      return settle(state, "compress", fact.data.from, {
        remove: fact.data.from,
        add: { path: fact.data.to, bytes: fact.data.bytesOut },
      })
    case "Rotated": {
      const rotated = settle(state, "rotate", fact.data.from, { add: { path: fact.data.to, bytes: fact.data.bytes } })
      return settle({ ...rotated, lastRotatedAt: time, lastSegment: fact.data.to }, "reopen", fact.data.from, {})
    }
    case "Deferred": {
      const { by, path, step, why } = fact.data
      const since = state.deferred.get(path)?.since ?? time
      return { ...state, deferred: new Map(state.deferred).set(path, { step, by, why, since }) }
    }
    case "Failed": {
      const { hint, message, path, reason, step } = fact.data
      const key = failureKey(step, path)
      const since = state.failing.get(key)?.since ?? time
      return { ...state, failing: new Map(state.failing).set(key, { path, reason, message, hint, since }) }
    }
  }
}

/** A step on `path` has succeeded: it no longer fails or waits, and the files changed as it says. */
const settle = (
  state: LogState,
  step: Activity,
  path: string,
  change: { readonly remove?: string; readonly add?: { readonly path: string; readonly bytes: number } },
): LogState => {
  const files = state.files === null ? null : new Map(state.files)
  if (change.remove !== undefined) files?.delete(nameOf(change.remove))
  if (change.add !== undefined) files?.set(nameOf(change.add.path), change.add.bytes)
  const deferred = new Map(state.deferred)
  deferred.delete(path)
  const failing = new Map(state.failing)
  failing.delete(failureKey(step, path))
  if (change.remove !== undefined) for (const [key, about] of failing) if (about.path === path) failing.delete(key)
  return { ...state, files, deferred, failing }
}
