/**
 * A map with one entry taken out or put in, at a cost that doesn't grow with the map: a fold over the removals of a hundred thousand files, which anybody
 * may lay in a log's directory, would otherwise copy that many entries for each of them. Changes nothing that it is given.
 */

/** Below this many entries copying them all costs less than telling them apart. */
const SMALL = 1_024

type Change<V> = { readonly remove: string } | { readonly put: string; readonly value: V }

/** As `new Map(map)` would be after the change; an entry that is put in anew comes last. */
export const withChange = <V>(
  map: ReadonlyMap<string, V>,
  change: Change<V>,
  small = SMALL,
): ReadonlyMap<string, V> => {
  const { added, base, gone } = map instanceof Changed ? (map as Changed<V>) : new Changed(map, new Set(), new Map())
  const differences = added.size + gone.size + 1
  // As many differences as the root of the entries: then neither copying those nor, so often, all of them costs more.
  if (base.size < small || differences * differences > base.size) {
    const copy = new Map(map)
    if ("remove" in change) copy.delete(change.remove)
    else copy.set(change.put, change.value)
    return copy
  }
  const moreGone = new Set(gone)
  const moreAdded = new Map(added)
  const key = "remove" in change ? change.remove : change.put
  if (base.has(key)) moreGone.add(key)
  if ("remove" in change) moreAdded.delete(key)
  else moreAdded.set(key, change.value)
  return new Changed(base, moreGone, moreAdded)
}

class Changed<V> implements ReadonlyMap<string, V> {
  readonly base: ReadonlyMap<string, V>
  /** Keys of the base that are there no more, or have another value. */
  readonly gone: ReadonlySet<string>
  readonly added: ReadonlyMap<string, V>
  constructor(base: ReadonlyMap<string, V>, gone: ReadonlySet<string>, added: ReadonlyMap<string, V>) {
    this.base = base
    this.gone = gone
    this.added = added
  }
  get size(): number {
    return this.base.size - this.gone.size + this.added.size
  }
  has(key: string): boolean {
    return this.added.has(key) || (!this.gone.has(key) && this.base.has(key))
  }
  get(key: string): V | undefined {
    return this.added.has(key) || this.gone.has(key) ? this.added.get(key) : this.base.get(key)
  }
  *entries(): MapIterator<[string, V]> {
    for (const entry of this.base) if (!this.gone.has(entry[0])) yield entry
    yield* this.added
  }
  *keys(): MapIterator<string> {
    for (const [key] of this) yield key
  }
  *values(): MapIterator<V> {
    for (const [, value] of this) yield value
  }
  forEach(each: (value: V, key: string, map: ReadonlyMap<string, V>) => void): void {
    for (const [key, value] of this) each(value, key, this)
  }
  [Symbol.iterator](): MapIterator<[string, V]> {
    return this.entries()
  }
}
