// Kubernetes quantities as bytes.
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as z from "zod"
import { formatBytes, parseQuantity, Quantity } from "@cordwood/core"
import { runs } from "./property.ts"

describe("a quantity", () => {
  it.each([
    // The examples of Kubernetes' documentation ("Resource Management for Pods and Containers"): all about the same.
    ["128974848", 128_974_848],
    ["129e6", 129_000_000],
    ["129M", 129_000_000],
    ["128974848000m", 128_974_848],
    ["123Mi", 128_974_848],
    // The kubelet's default and the reference experiment.
    ["10Mi", 10_485_760],
    ["5M", 5_000_000],
    ["1Ki", 1_024],
    ["1Mi", 1_048_576],
    ["1Gi", 1_073_741_824],
    ["1Ti", 1_099_511_627_776],
    ["1Pi", 1_125_899_906_842_624],
    ["1k", 1_000],
    ["1M", 1_000_000],
    ["1G", 1_000_000_000],
    ["1T", 1_000_000_000_000],
    ["1P", 1_000_000_000_000_000],
    ["1e3", 1_000],
    ["1E3", 1_000],
    ["1e+3", 1_000],
    ["1000e-3", 1],
    ["1.5Ki", 1_536],
    ["0.5Gi", 536_870_912],
    [".5Ki", 512],
    ["5.", 5],
    ["+5", 5],
    ["-1", -1],
    ["-1Mi", -1_048_576],
    ["0", 0],
    ["-0", 0],
    ["0Ei", 0],
    ["00010", 10],
    ["1000000000n", 1],
    ["1000000u", 1],
    [" 10Mi\n", 10_485_760],
    ["9007199254740991", Number.MAX_SAFE_INTEGER],
    [1_048_576, 1_048_576],
    [-1, -1],
    [1e6, 1_000_000],
  ])("%j is %d bytes", (text, bytes) => {
    expect(parseQuantity(text)).toEqual({ ok: true, value: bytes })
  })

  it.each([
    ["", "is not a quantity"],
    [" ", "is not a quantity"],
    [".", "is not a quantity"],
    ["Mi", "is not a quantity"],
    ["-", "is not a quantity"],
    ["--1", "is not a quantity"],
    ["10MB", "is not a quantity"],
    ["10mi", "is not a quantity"],
    ["10KI", "is not a quantity"],
    ["10K", "is not a quantity"],
    ["10 Mi", "is not a quantity"],
    ["1,5Mi", "is not a quantity"],
    ["1_000", "is not a quantity"],
    ["0x10", "is not a quantity"],
    ["1e", "is not a quantity"],
    ["1e3Mi", "is not a quantity"],
    ["1e1.5", "is not a quantity"],
    ["１０", "is not a quantity"],
    ["ten", "is not a quantity"],
    [Number.NaN, "is not a quantity"],
    [Infinity, "is not a quantity"],
    ["0.5", "is not a whole number of bytes"],
    ["1.0001Ki", "is not a whole number of bytes"],
    ["1m", "is not a whole number of bytes"],
    ["1e-1", "is not a whole number of bytes"],
    [0.1, "is not a whole number of bytes"],
    ["9007199254740992", "is more than 2^53 bytes"],
    ["1Ei", "is more than 2^53 bytes"],
    ["1E", "is more than 2^53 bytes"],
    ["-8Ei", "is more than 2^53 bytes"],
    [1e21, "is more than 2^53 bytes"],
    ["1e31", "is out of range"],
    ["1e999", "is out of range"],
  ])("is not %j", (text, problem) => {
    const parsed = parseQuantity(text)
    expect(parsed).toMatchObject({ ok: false, problem: expect.stringContaining(problem) })
  })

  it("that is none has a message with what was found and what would be right", () => {
    expect(parseQuantity("10MB")).toEqual({
      ok: false,
      problem: '"10MB" is not a quantity; write a number of bytes such as 10Mi, 5M or 1048576',
    })
  })

  it("is every whole number, in every unit that it is a multiple of", () => {
    const units = { "": 1, k: 1e3, M: 1e6, G: 1e9, Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30 }
    fc.assert(
      fc.property(
        fc.integer({ min: -8_000_000, max: 8_000_000 }),
        fc.constantFrom(...Object.entries(units)),
        (count, [unit, factor]) => {
          expect(parseQuantity(`${count}${unit}`)).toEqual({ ok: true, value: count === 0 ? 0 : count * factor })
        },
      ),
      runs(),
    )
  })

  it("may be a fraction that comes to whole bytes", () => {
    fc.assert(
      fc.property(fc.nat({ max: 10_000_000 }), (bytes) => {
        expect(parseQuantity(`${(bytes / 1_024).toFixed(10)}Ki`)).toEqual({ ok: true, value: bytes })
        expect(parseQuantity(`${bytes}e3`)).toEqual(parseQuantity(`${bytes}k`))
        expect(parseQuantity(`${bytes}000m`)).toEqual({ ok: true, value: bytes })
      }),
      runs(),
    )
  })

  it("is a whole number within 2^53, or an answer that says why not; never an exception", () => {
    const looksLikeOne = fc.stringMatching(/^[+-]?\d{0,45}\.?\d{0,45}([numkMGTPE]i?|[eE][+-]?\d{0,5})?$/)
    fc.assert(
      fc.property(fc.oneof(looksLikeOne, fc.string({ unit: "binary" }), fc.double()), (input) => {
        const parsed = parseQuantity(input)
        if (parsed.ok) expect(Number.isSafeInteger(parsed.value) && !Object.is(parsed.value, -0)).toBe(true)
        else expect(parsed.problem.length).toBeGreaterThan(0)
      }),
      runs(5_000),
    )
  })

  it.each([
    ["digits", "9".repeat(10_000)],
    ["zeros", "0".repeat(10_000)],
    ["decimals", `0.${"3".repeat(10_000)}`],
    ["an exponent", `1e${"9".repeat(10_000)}`],
    ["a negative exponent", `1e-${"9".repeat(10_000)}`],
    ["blanks", " ".repeat(10_000)],
  ])("of ten thousand %s is refused, with a message that doesn't repeat them all", (_what, text) => {
    const parsed = parseQuantity(text)
    expect(parsed.ok).toBe(false)
    if (!parsed.ok) expect(parsed.problem.length).toBeLessThan(200)
  })

  it("in a config file is an error with its place", () => {
    const Config = z.strictObject({ policy: z.strictObject({ maxSize: Quantity }) })
    expect(z.prettifyError(Config.safeParse({ policy: { maxSize: "10MB" } }).error!)).toBe(
      '✖ "10MB" is not a quantity; write a number of bytes such as 10Mi, 5M or 1048576\n  → at policy.maxSize',
    )
    expect(Config.parse({ policy: { maxSize: "10Mi" } })).toEqual({ policy: { maxSize: 10_485_760 } })
    expect(Config.safeParse({ policy: { maxSize: null } }).success).toBe(false)
  })
})

describe("bytes for people", () => {
  it.each([
    [0, "0 B"],
    [1_023, "1023 B"],
    [1_024, "1.0 KiB"],
    [7_759_462, "7.4 MiB"],
    [10_485_760, "10.0 MiB"],
    [1_048_575, "1.0 MiB"],
    [1_073_741_824, "1.0 GiB"],
    [5 * 2 ** 50, "5120.0 TiB"],
    [-2_048, "-2.0 KiB"],
  ])("%d are %s", (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text)
  })
})
