/**
 * Tells names of files that were set aside from those of files being written, so that a pattern such as `*.log*` never has a rotated file
 * rotated again. Wider than core's `parseRotatedName`, as it must know neither the active file nor the codecs. Pure.
 */
import { parseRotatedName, TEMPORARY_SUFFIX } from "@cordwood/core"

/** Whatever made them, nobody appends log lines to these. */
const COMPRESSED = [".gz", ".zst", ".bz2", ".xz", ".lz4", ".lzma", ".br", ".snappy", ".sz", ".Z", ".zip", ".7z"]
const NEVER_ACTIVE = [TEMPORARY_SUFFIX, ...COMPRESSED]
const STAMPED = /^(.+)\.(\d{8}-\d{6})(\.[A-Za-z0-9]+)?$/
/** What rotators put behind the active file's name: `.1`, `-20260909`, `.20260909-043310.ext`, `.2026-09-09`. */
const SET_ASIDE = /^(\.\d{1,5}|[.-]\d{8}([^\d].*)?|[.-]\d{4}-\d\d-\d\d.*)$/

/** What the name of a segment says, if it is plain or compressed in a usual way; null for any other name. */
export const segmentNameOf = (name: string): { readonly active: string; readonly suffix: string } | null => {
  const [, active] = STAMPED.exec(name) ?? []
  if (active === undefined) return null
  const parsed = parseRotatedName(active, name, COMPRESSED)
  return parsed?.kind === "segment" ? { active, suffix: parsed.suffix } : null
}

/** Whether a file of this name is one that is written no more. `beside` are the names of the other matches in its directory. */
export const isSetAside = (name: string, beside: ReadonlySet<string>): boolean => {
  if (NEVER_ACTIVE.some((suffix) => name.endsWith(suffix)) || segmentNameOf(name) !== null) return true
  for (let at = name.length - 1; at > 0; at -= 1) {
    const mark = name[at]
    if ((mark === "." || mark === "-") && beside.has(name.slice(0, at)) && SET_ASIDE.test(name.slice(at))) return true
  }
  return false
}
