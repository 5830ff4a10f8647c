/**
 * Counts what code has to go through: every element that an array's, a map's or a set's own methods, loops and copies look at. For tests that hold that work
 * grows with what there is to do and not with its square, which no clock on a busy machine can tell.
 */

type Method = (this: unknown, ...args: ReadonlyArray<unknown>) => unknown
interface Counted {
  readonly length?: number
  readonly size?: number
}

const ARRAYS = [
  "concat",
  "entries",
  "every",
  "filter",
  "find",
  "findIndex",
  "findLast",
  "findLastIndex",
  "flatMap",
  "forEach",
  "includes",
  "indexOf",
  "join",
  "keys",
  "map",
  "reduce",
  "slice",
  "some",
  "sort",
  "toReversed",
  "toSorted",
  "values",
  Symbol.iterator,
] as const
const KEYED = ["entries", "forEach", "keys", "values", Symbol.iterator] as const

/** What `run` comes to, and how many elements were gone through meanwhile, by whatever ran. */
export const workOf = async <A>(run: () => Promise<A>): Promise<{ readonly value: A; readonly work: number }> => {
  let work = 0
  const restores: Array<() => void> = []
  const count = (prototype: object, name: PropertyKey, of: (target: Counted) => number): void => {
    const original = Object.getOwnPropertyDescriptor(prototype, name)
    const method: unknown = original?.value
    if (original === undefined || typeof method !== "function") throw new Error(`there is no ${String(name)}`)
    const counted: Method = function (...args) {
      work += of(this as Counted)
      return Reflect.apply(method, this, args)
    }
    Object.defineProperty(prototype, name, { ...original, value: counted })
    restores.push(() => Object.defineProperty(prototype, name, original))
  }
  for (const name of ARRAYS) count(Array.prototype, name, ({ length = 0 }) => length)
  for (const { prototype } of [Map, Set]) for (const name of KEYED) count(prototype, name, ({ size = 0 }) => size)
  // What is copied into a new one, too.
  count(Map.prototype, "set", () => 1)
  count(Set.prototype, "add", () => 1)
  try {
    const value = await run()
    return { value, work }
  } finally {
    for (const restore of restores) restore()
  }
}
