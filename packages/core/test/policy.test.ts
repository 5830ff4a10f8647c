// The limits for a log, as a user writes them.
import { describe, expect, it } from "vitest"
import * as z from "zod"
import { limitsOf, Policy } from "@cordwood/core"

const CODECS = [{ id: "gzip", suffix: ".gz" }]

describe("a policy", () => {
  it("is the kubelet's when nothing is said", () => {
    expect(Policy.parse({})).toEqual({ maxSize: 10_485_760, maxFiles: 5, compression: "gzip" })
  })

  it("is what is written", () => {
    expect(Policy.parse({ maxSize: "5M", maxFiles: 2, compression: "none" })).toEqual({
      maxSize: 5_000_000,
      maxFiles: 2,
      compression: "none",
    })
    expect(Policy.parse({ maxSize: "-1" }).maxSize).toBe(-1)
    expect(Policy.parse({ maxSize: 0 }).maxSize).toBe(0)
  })

  it.each([
    [{ maxsize: "10Mi" }, '✖ Unrecognized key: "maxsize"'],
    [
      { maxSize: "10MB" },
      '✖ "10MB" is not a quantity; write a number of bytes such as 10Mi, 5M or 1048576\n  → at maxSize',
    ],
    [{ maxSize: "1.5" }, '✖ "1.5" is not a whole number of bytes\n  → at maxSize'],
    [{ maxSize: "1Ei" }, '✖ "1Ei" is more than 2^53 bytes\n  → at maxSize'],
    [{ maxFiles: 1 }, "✖ must be at least 2: the active file and one segment\n  → at maxFiles"],
    [{ maxFiles: 2.5 }, "✖ Invalid input: expected int, received number\n  → at maxFiles"],
    [{ maxFiles: "5" }, "✖ Invalid input: expected number, received string\n  → at maxFiles"],
    [{ maxFiles: 100_001 }, "✖ Too big: expected number to be <=100000\n  → at maxFiles"],
    [{ compression: "" }, "✖ Too small: expected string to have >=1 characters\n  → at compression"],
    [{ compression: null }, "✖ Invalid input: expected string, received null\n  → at compression"],
    [[], "✖ Invalid input: expected object, received array"],
  ])("of %j is refused with a message to act on", (input, message) => {
    expect(z.prettifyError(Policy.safeParse(input).error!)).toBe(message)
  })

  it("names every mistake at once", () => {
    const { error } = Policy.safeParse({ maxSize: "ten", maxFiles: 0, compresion: "gzip" })
    expect(error!.issues.map(({ path }) => path)).toEqual([["maxSize"], ["maxFiles"], []])
  })

  it("becomes limits with the codec in place of its id, and none for an unknown one", () => {
    const policy = Policy.parse({ maxSize: 7, maxFiles: 3 })
    expect(limitsOf(policy, CODECS)).toEqual({ maxSize: 7, maxFiles: 3, codec: CODECS[0] })
    expect(limitsOf({ ...policy, compression: "none" }, CODECS)).toEqual({ maxSize: 7, maxFiles: 3, codec: null })
    expect(limitsOf({ ...policy, compression: "brotli" }, CODECS)).toBeUndefined()
  })
})
