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
    sources: sources.map(({ name, settings }) => ({ name, settings })),
    plugins: plugins.map((configured) => ({ name: configured.plugin.name, config: configOf(configured) })),
  }
  return createHash("sha256")
    .update(JSON.stringify(inOrder(all, [])))
    .digest("hex")
    .slice(0, DIGITS)
}

/** With its defaults. One that is wrong is told of when its plugin is set up. */
const configOf = ({ config, plugin }: Configured): unknown => {
  try {
    const parsed = plugin.config.safeParse(config)
    return parsed.success ? parsed.data : config
  } catch {
    return config
  }
}

/**
 * Plain data with the keys of its objects sorted. What is none (a client, a function) counts by its name, and what goes round in a circle, as
 * code may give it, ends where it meets itself.
 */
const inOrder = (value: unknown, above: ReadonlyArray<object>): unknown => {
  if (typeof value === "function") return `function ${value.name}`
  if (typeof value === "bigint" || typeof value === "symbol") return String(value)
  if (typeof value === "number" && !Number.isFinite(value)) return String(value)
  if (typeof value !== "object" || value === null) return value
  if (above.includes(value)) return "a circle"
  const within = [...above, value]
  if (Array.isArray(value)) return value.map((item: unknown) => inOrder(item, within))
  if (value instanceof Date) return `date ${value.getTime()}`
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return `instance of ${String(value.constructor?.name)}`
  return Object.entries(value)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, item]) => [key, inOrder(item, within)])
}
