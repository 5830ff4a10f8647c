/** Whether what a plugin's set-up returned is what the contract says: a third party's answer, which may be anything. Calls nothing of it. */
import * as z from "zod"
import type { Contributions, PluginError } from "./plugin.ts"

const isFunction = (value: unknown): boolean => typeof value === "function"
const Callable = z.custom(isFunction, "must be a function")
const hasMethod = (name: string) => (value: unknown) =>
  ((typeof value === "object" && value !== null) || typeof value === "function") &&
  typeof (value as Readonly<Record<string, unknown>>)[name] === "function"

/** Strict, because a guard under a wrong name would guard nothing. `word` is what one of its keys is called. */
const strict = <Keys extends z.core.$ZodLooseShape>(word: string, keys: Keys) =>
  z.strictObject(keys, {
    error: (issue) => {
      if (issue.code !== "unrecognized_keys") return undefined
      const found = issue.keys as ReadonlyArray<string>
      const none = found.length === 1 ? `there is no ${word}` : `there are no ${word}s`
      return `${none} ${found.map((key) => JSON.stringify(key)).join(", ")}; write one of ${Object.keys(keys).join(", ")}`
    },
  })

const Shape = strict("slot", {
  codecs: z.array(z.looseObject({ id: z.string(), suffix: z.string(), encode: Callable, decode: Callable })).optional(),
  beforeRemove: Callable.optional(),
  guard: strict("setting", { early: z.boolean().optional(), limitMs: z.unknown().optional() }).optional(),
  observe: Callable.optional(),
  events: z.record(z.string(), z.custom(hasMethod("safeParse"), "must be a zod schema")).optional(),
  tracer: z.custom(hasMethod("span"), "must be a tracer of effect's: it has no function span").optional(),
})

/** What is wrong with it, and in which slot; null if nothing is. */
export const contributionsProblem = (
  returned: unknown,
): { readonly slot: PluginError["slot"]; readonly detail: string } | null => {
  if (typeof returned !== "object" || returned === null) {
    return { slot: "setup", detail: "its setup returned no contributions" }
  }
  const read = Shape.safeParse(returned)
  if (read.success) return null
  const place = read.error.issues[0]?.path[0]
  // A line by itself is no list.
  const detail = z.prettifyError(read.error).replace(/^✖ (.*)$/, "$1")
  return { slot: SLOTS[place as keyof Contributions] ?? "setup", detail }
}

const SLOTS: Readonly<Record<keyof Contributions, PluginError["slot"]>> = {
  codecs: "codecs",
  beforeRemove: "beforeRemove",
  guard: "beforeRemove",
  observe: "observe",
  events: "events",
  tracer: "tracer",
}
