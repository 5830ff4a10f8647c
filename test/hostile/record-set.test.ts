/** The set of records that a race is accounted for with. */
import * as fc from "fast-check"
import { expect, it } from "vitest"
import { RecordSet } from "./record-set.ts"

it("holds what was added, and nothing else", () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 2_000_000 })), fc.array(fc.nat({ max: 2_000_000 })), (added, others) => {
      const [expected, set] = [new Set(added), new RecordSet()]
      for (const record of added) set.add(record)
      for (const record of [...added, ...others, ...added.map((record) => record + 1)]) {
        expect([record, set.has(record)]).toEqual([record, expected.has(record)])
      }
    }),
  )
})
