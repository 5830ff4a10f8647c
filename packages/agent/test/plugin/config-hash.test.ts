// One short name for a configuration: the same for the same, another for another, and nothing of it can be read from it.
import { type Configured, definePlugin } from "@cordwood/core"
import { Effect } from "effect"
import { expect, it } from "vitest"
import * as z from "zod"
import { Settings } from "../../src/agent-options.ts"
import { configHashOf } from "../../src/plugin/config-hash.ts"
import { cri } from "../../src/source/cri/cri.ts"
import { files } from "../../src/source/files/files.ts"

const plugin = definePlugin({
  name: "p",
  api: 1,
  config: z.strictObject({ level: z.int().default(3), headers: z.record(z.string(), z.unknown()).default({}) }),
  setup: () => Effect.succeed({}),
})
const hash = (
  plugins: ReadonlyArray<Configured> = [plugin({ level: 1, headers: { a: "1", b: "2" } })],
  settings: z.input<typeof Settings> = { policy: { maxSize: "5Mi", maxFiles: 3 }, interval: "5s" },
  sources = [cri({ timeout: "5s" }), files({ include: ["/a.log"], reopen: "none" })],
): string => configHashOf(Settings.parse(settings), sources, plugins)

it("is 16 hexadecimal digits, the same in whichever order keys are written and with defaults written out", () => {
  expect(hash()).toMatch(/^[0-9a-f]{16}$/)
  expect(hash([plugin({ headers: { b: "2", a: "1" }, level: 1 })])).toBe(hash())
  expect(hash([], { interval: "5s", policy: { maxFiles: 3, maxSize: "5Mi" } })).toBe(hash([]))
  expect(
    hash([], { interval: "5000ms", policy: { maxFiles: 3, maxSize: 5_242_880, mode: "enforce" }, workers: 1 }),
  ).toBe(hash([]))
  expect(hash([plugin({ level: 3 })])).toBe(hash([plugin()]))
})

it("is another for every other setting: of the agent, of a source, of a plugin, and for another order of plugins", () => {
  const other = definePlugin({ name: "q", api: 1, config: z.strictObject({}), setup: () => Effect.succeed({}) })
  const all = [
    hash(),
    hash([plugin({ level: 2, headers: { a: "1", b: "2" } })]),
    hash([plugin({ level: 1, headers: { a: "1", b: "3" } })]),
    hash([plugin({ level: 1, headers: { a: "1", c: "2" } })]),
    hash([]),
    hash([plugin(), other()]),
    hash([other(), plugin()]),
    hash(undefined, { policy: { maxSize: "6Mi", maxFiles: 3 }, interval: "5s" }),
    hash(undefined, {
      policy: { maxSize: "5Mi", maxFiles: 3, overrides: [{ name: "a", percent: 10 }] },
      interval: "5s",
    }),
    hash(undefined, {
      policy: { maxSize: "5Mi", maxFiles: 3, overrides: [{ name: "a", percent: 20 }] },
      interval: "5s",
    }),
    hash(undefined, undefined, [cri({ timeout: "6s" }), files({ include: ["/a.log"], reopen: "none" })]),
    hash(undefined, undefined, [cri({ timeout: "5s" }), files({ include: ["/a.log"], reopen: { command: ["true"] } })]),
  ]
  expect(new Set(all).size).toBe(all.length)
})

it("takes whatever code may give: functions, clients, what goes round in a circle, and a schema that throws", () => {
  const circle: Record<string, unknown> = {
    client: new URL("http://localhost/"),
    call: () => 1,
    big: 2n ** 70n,
    none: Number.NaN,
  }
  circle["self"] = circle
  expect(hash([plugin({ headers: circle })])).toMatch(/^[0-9a-f]{16}$/)
  const throwing = { plugin: { ...plugin(), name: "t", config: {} }, config: { a: 1 } } as unknown as Configured
  expect(hash([throwing])).toMatch(/^[0-9a-f]{16}$/)
})
