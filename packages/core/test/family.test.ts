// Which logs of a container that was restarted are kept once it has ended.
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { attemptIn, type Ended, type Log, nameOf, surplusAmong } from "@cordwood/core"
import { runs } from "./property.ts"

const POD = "/var/log/pods/shop_web_u1"
const log = (name: string, more: Partial<Log> = {}): Log => ({
  path: `${POD}/app/${name}`,
  podUid: "u1",
  container: "app",
  ...more,
})
const keeping = (keepStopped: number, ...names: ReadonlyArray<string>): ReadonlyArray<Ended> =>
  names.map((name) => ({ log: log(name), keepStopped }))
const namesOf = (ended: ReadonlyArray<Ended>): ReadonlyArray<string> => [...surplusAmong(ended)].map(nameOf).toSorted()

it.each([
  ["0.log", 0],
  ["12.log", 12],
  ["007.log", 7],
  ["4294967295.log", 4_294_967_295],
  [".log", null],
  ["app.log", null],
  ["-1.log", null],
  ["1.log.gz", null],
  ["10000000000.log", null],
])("the number of restarts in the name %s is %s", (name, attempt) => {
  expect(attemptIn(name)).toBe(attempt)
})

describe("of the logs of containers that have ended", () => {
  it("those beyond the newest are surplus, by their numbers rather than by their text", () => {
    expect(namesOf(keeping(1, "9.log", "10.log", "0.log"))).toEqual(["0.log", "9.log"])
    expect(namesOf(keeping(2, "9.log", "10.log", "0.log"))).toEqual(["0.log"])
    expect(namesOf(keeping(3, "9.log", "10.log", "0.log"))).toEqual([])
    expect(namesOf(keeping(0, "9.log"))).toEqual(["9.log"])
  })

  it("each is under its own policy", () => {
    expect(namesOf([...keeping(1, "0.log", "3.log"), ...keeping(3, "1.log", "2.log")])).toEqual(["0.log"])
  })

  it("those of other pods, containers and directories are none of the family", () => {
    const others = [
      log("1.log", { podUid: "u2" }),
      log("1.log", { container: "proxy" }),
      log("1.log", { path: "/elsewhere/1.log" }),
    ]
    for (const other of others) {
      expect(namesOf([...keeping(1, "0.log"), { log: other, keepStopped: 1 }])).toEqual([])
    }
  })

  it("one that the kubelet didn't name, or whose pod or container isn't known, is never surplus", () => {
    const { container: _container, ...ofNobody } = log("0.log")
    const { podUid: _podUid, ...ofNoPod } = log("0.log")
    const odd = [log("app.log"), ofNobody, ofNoPod]
    expect(namesOf(odd.map((one) => ({ log: one, keepStopped: 0 })))).toEqual([])
  })
})

it("whatever has ended, the newest keepStopped of each family stay and all earlier ones are surplus, in whatever order they come", () => {
  const member = fc.record({ pod: fc.constantFrom("u1", "u2"), container: fc.constantFrom("app", "proxy") })
  const attempts = fc.uniqueArray(fc.integer({ min: 0, max: 200 }), { maxLength: 30 })
  const families = fc.uniqueArray(fc.record({ of: member, attempts, keepStopped: fc.nat(5) }), {
    maxLength: 4,
    selector: ({ of }) => `${of.pod} ${of.container}`,
  })
  fc.assert(
    fc.property(families, fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })), (all, chance) => {
      const path = (pod: string, container: string, attempt: number): string =>
        `/var/log/pods/shop_web_${pod}/${container}/${attempt}.log`
      const ended = all
        .flatMap(({ attempts: numbers, keepStopped, of: { container, pod } }) =>
          numbers.map((attempt): Ended => ({
            log: { path: path(pod, container, attempt), podUid: pod, container },
            keepStopped,
          })),
        )
        .map((one) => ({ one, at: chance.next().value }))
        .toSorted((a, b) => a.at - b.at)
        .map(({ one }) => one)
      const expected = all.flatMap(({ attempts: numbers, keepStopped, of: { container, pod } }) =>
        numbers
          .toSorted((a, b) => b - a)
          .slice(keepStopped)
          .map((attempt) => path(pod, container, attempt)),
      )
      expect([...surplusAmong(ended)].toSorted()).toEqual(expected.toSorted())
    }),
    runs(300),
  )
})
