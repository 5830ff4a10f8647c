/** What the events of a log add up to. Pure and total: every event has a meaning, even one that repeats. */
import type { Envelope } from "../event/envelope.ts"
import { Activity, type CoreFact, type History, isCoreType, isPluginType, type PluginFact } from "../event/payload.ts"
import { besideOf, directoryOf, nameOf } from "../log/log.ts"
import { formatRotatedName, type Stamp, stampIn, TEMPORARY_SUFFIX } from "../log/name.ts"
import { withChange } from "./changed-map.ts"

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
  /** What events told of the segments on disk, by stamp: plain or compressed, it is the same segment. */
  readonly histories: ReadonlyMap<Stamp, History>
  readonly lastRotatedAt: string | null
  /** Path that the newest segment was given when it was rotated; of one that was removed, if that was newer. */
  readonly lastSegment: string | null
  /** By path. */
  readonly deferred: ReadonlyMap<string, Deferral>
  /** By activity and path, see `failureKey`. */
  readonly failing: ReadonlyMap<string, Failure>
  /** What a pass would have done under a policy in mode `observe`, as it was last recorded; null if it wasn't. */
  readonly planned: ReadonlyArray<{ readonly step: Activity; readonly path: string }> | null
}
export const initialState: LogState = {
  files: null,
  histories: new Map(),
  lastRotatedAt: null,
  lastSegment: null,
  deferred: new Map(),
  failing: new Map(),
  planned: null,
}
/** A failure is one of a kind per activity and path; a rotation that fails has a new target name every time, so it counts by log. */
export const failureKey = (step: Activity, path: string): string => `${step} ${path}`

export const evolve = (state: LogState, event: Envelope): LogState =>
  isCoreType(event.type)
    ? evolveCore(state, event as CoreFact, event)
    : evolvePlugin(state, event as PluginFact, event.log.path)

/** A plugin's event is about the file that its data names as `path`, if it does; what the plugin put off about that file is over. */
const evolvePlugin = (state: LogState, { data, type }: PluginFact, active: string): LogState => {
  const path =
    typeof data === "object" && data !== null && Object.hasOwn(data, "path") ? (data as { path: unknown }).path : null
  if (typeof path !== "string" || !isPluginType(type)) return state
  const plugin = pluginOf(type)
  const { deferred: before } = state
  const deferred = before.get(path)?.by === plugin ? withChange(before, { remove: path }) : before
  const stamp = directoryOf(path) === directoryOf(active) ? stampIn(nameOf(active), nameOf(path)) : null
  if (stamp === null) return { ...state, deferred }
  const { rotated, told } = state.histories.get(stamp) ?? NO_HISTORY
  const others = told.filter((fact) => pluginOf(fact.type) !== plugin)
  const value: History = { rotated, told: [...others, { type, data }] }
  return { ...state, deferred, histories: withChange(state.histories, { put: stamp, value }) }
}
/** The plugin that an event of the type belongs to. */
export const pluginOf = (type: PluginFact["type"]): string => type.slice(0, type.indexOf("."))

/**
 * What is to be told of segments that events told of, and that are neither there nor on record as removed. `stamps` are those of all files that are
 * there: any file of the same stamp stands for a segment.
 */
export const missingOf = (
  { files }: LogState,
  active: string,
  stamps: ReadonlySet<Stamp>,
): ReadonlyArray<Extract<CoreFact, { readonly type: "Removed" }>> => {
  const own = nameOf(active)
  const missing: Array<Extract<CoreFact, { readonly type: "Removed" }>> = []
  for (const [name, bytes] of files ?? []) {
    const stamp = stampIn(own, name)
    if (stamp === null || stamps.has(stamp) || name.endsWith(TEMPORARY_SUFFIX)) continue
    missing.push({ type: "Removed", data: { path: besideOf(active, name), bytes, reason: "missing" } })
  }
  return missing
}

export const NO_HISTORY: History = { rotated: null, told: [] }

const evolveCore = (state: LogState, fact: CoreFact, { id, log, metadata, time }: Envelope): LogState => {
  const active = log.path
  switch (fact.type) {
    case "Scanned": {
      const files = new Map<string, number>()
      const histories = new Map<Stamp, History>()
      for (const { bytes, history, name } of fact.data.files) {
        files.set(name, bytes)
        if (history === undefined && state.histories.size === 0) continue
        const stamp = name.endsWith(TEMPORARY_SUFFIX) ? null : stampIn(nameOf(active), name)
        const known = stamp === null ? undefined : (history ?? state.histories.get(stamp))
        if (stamp !== null && known !== undefined) histories.set(stamp, known)
      }
      const carriedDeferrals = (fact.data.deferred ?? []).map(({ path, ...deferral }) => [path, deferral] as const)
      const deferred = new Map([...state.deferred, ...carriedDeferrals].filter(([path]) => files.has(nameOf(path))))
      const carriedFailures = (fact.data.failing ?? []).map(
        ({ step, ...failure }) => [failureKey(step, failure.path), failure] as const,
      )
      const over = new Set([failureKey("scan", active), failureKey("reopen", active)])
      const failing = new Map(
        [...state.failing, ...carriedFailures].filter(
          ([key, { path }]) => !over.has(key) && (path === active || files.has(nameOf(path))),
        ),
      )
      return { ...state, files, histories, deferred, failing }
    }
    case "Planned":
      return { ...state, planned: fact.data.steps }
    case "Cleaned":
      return settle(state, "clean", fact.data.path, { remove: fact.data.path })
    case "Removed": {
      const { path, reason } = fact.data
      const settled = settle(state, "remove", path, { remove: path })
      const stamp = reason === "missing" ? null : stampIn(nameOf(active), nameOf(path))
      if (stamp === null) return settled
      // The agent that rotated it may have died before it could say so.
      const segment = besideOf(active, formatRotatedName(nameOf(active), stamp))
      return state.lastSegment !== null && state.lastSegment >= segment ? settled : { ...settled, lastSegment: segment }
    }
    case "Compressed": {
      const { bytesOut, from, to } = fact.data
      const settled = settle(state, "compress", from, { remove: from, add: { path: to, bytes: bytesOut } })
      // What a guard keeps it keeps in its new form, and has for as long.
      const kept = state.deferred.get(from)
      const isGuards = kept?.step === "remove" || kept?.step === "offer"
      return isGuards ? { ...settled, deferred: withChange(settled.deferred, { put: to, value: kept }) } : settled
    }
    case "Rotated": {
      const rotated = settle(state, "rotate", fact.data.from, { add: { path: fact.data.to, bytes: fact.data.bytes } })
      const stamp = stampIn(nameOf(active), nameOf(fact.data.to))
      const origin = { eventId: id, traceId: metadata.traceId, spanId: metadata.spanId }
      let { histories } = state
      if (stamp !== null) {
        const value = { ...(histories.get(stamp) ?? NO_HISTORY), rotated: origin }
        histories = withChange(histories, { put: stamp, value })
      }
      const fresh = { ...rotated, histories, lastRotatedAt: time, lastSegment: fact.data.to, planned: null }
      return settle(fresh, "reopen", fact.data.from, {})
    }
    case "Deferred": {
      const { by, path, step, why } = fact.data
      const since = state.deferred.get(path)?.since ?? time
      return { ...state, deferred: withChange(state.deferred, { put: path, value: { step, by, why, since } }) }
    }
    case "Failed": {
      const { hint, message, path, reason, step } = fact.data
      const key = failureKey(step, path)
      const since = state.failing.get(key)?.since ?? time
      const value = { path, reason, message, hint, since }
      return { ...state, failing: withChange(state.failing, { put: key, value }) }
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
  let { files } = state
  if (files !== null && change.remove !== undefined) files = withChange(files, { remove: nameOf(change.remove) })
  if (files !== null && change.add !== undefined) {
    files = withChange(files, { put: nameOf(change.add.path), value: change.add.bytes })
  }
  const deferred = state.deferred.has(path) ? withChange(state.deferred, { remove: path }) : state.deferred
  let { failing } = state
  // Removals leave the history; the next scan drops those of segments that are gone.
  for (const over of change.remove === undefined ? [step] : Activity.options) {
    const key = failureKey(over, path)
    if (failing.has(key)) failing = withChange(failing, { remove: key })
  }
  return { ...state, files, deferred, failing }
}
