/** One short name for a whole configuration, so that a trace tells which one an agent ran with. Says nothing about what is in it. */
import { createHash } from "node:crypto"
import type { Configured } from "@cordwood/core"
import type { SourceFactory } from "../source/source-factory.ts"
import type { Settings } from "../agent-options.ts"

const DIGITS = 16

/** The same for the same settings, in whichever order they were written; defaults count as written. */
export const configHashOf = (
  settings: Settings,
  sources: ReadonlyArray<SourceFactory>,
  plugins: ReadonlyArray<Configured>,
): string => {
  const all = {
    settings,
    sources: sources.map(({ name }) => name),
    plugins: plugins.map(({ config, plugin }) => ({ name: plugin.name, config })),
  }
  return createHash("sha256").update(JSON.stringify(all, inOrder)).digest("hex").slice(0, DIGITS)
}

/** For `JSON.stringify`: objects with their keys sorted. What is no plain data (a client, a function) counts by its name. */
const inOrder = (_key: string, value: unknown): unknown => {
  if (typeof value === "function") return `function ${value.name}`
  if (typeof value === "bigint") return String(value)
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return `instance of ${value.constructor.name}`
  return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)))
}
