// A map with a change in it is what a copy with that change would be.
import * as fc from "fast-check"
import { expect, it } from "vitest"
import { withChange } from "../src/plan/changed-map.ts"
import { runs } from "./property.ts"

const key = fc.integer({ min: 0, max: 40 }).map((number) => `0.log.${number}`)
const change = fc.oneof(fc.record({ remove: key }), fc.record({ put: key, value: fc.nat(9) }))

it("holds what a copy would, whatever is put in and taken out, and leaves what it was made from as it was", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(key, fc.nat(9))), fc.array(change, { maxLength: 60 }), (entries, changes) => {
      const copy = new Map(entries)
      let map: ReadonlyMap<string, number> = new Map(entries)
      for (const change of changes) {
        const before = [...map]
        const next = withChange(map, change, 1)
        expect([...map]).toEqual(before)
        map = next
        if ("remove" in change) copy.delete(change.remove)
        else copy.set(change.put, change.value)
        const sorted = [...copy].toSorted()
        expect([...map].toSorted()).toEqual(sorted)
        expect([...map.keys()].toSorted()).toEqual(sorted.map(([key]) => key))
        expect([...map.values()].toSorted()).toEqual(sorted.map(([, value]) => value).toSorted())
        expect(map.size).toBe(copy.size)
        for (let number = 0; number <= 40; number += 1) {
          const name = `0.log.${number}`
          expect([map.has(name), map.get(name)]).toEqual([copy.has(name), copy.get(name)])
        }
        const seen: Array<[string, number]> = []
        map.forEach((value, key) => seen.push([key, value]))
        expect(seen).toEqual([...map])
      }
    }),
    runs(200),
  )
})
