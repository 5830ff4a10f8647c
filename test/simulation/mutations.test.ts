// Every deliberate bug still fits the sources; that each is caught is what `npm run simulate -- --mutations` shows.
import { describe, expect, it } from "vitest"
import { mutated, mutations } from "./mutation-run.ts"
import { applyHunk, readPatch } from "./patch.ts"

describe("the deliberate bugs", () => {
  it("are twenty or more, each with a name and a sentence of its own", () => {
    const bugs = mutations().map(({ patch }) => patch.bug)
    expect(bugs.length).toBeGreaterThanOrEqual(20)
    expect(new Set(bugs).size).toBe(bugs.length)
  })
  for (const mutation of mutations()) {
    it(`apply to the sources as they are: ${mutation.name}`, () => {
      expect(mutated(mutation).size).toBeGreaterThan(0)
    })
  }
})

describe("a patch", () => {
  const patch = ["What is wrong.", "--- a/x.ts", "+++ b/x.ts", "@@", " a", "-b", "+B", " c", ""].join("\n")
  it("is applied where its lines are, and wherever that is", () => {
    const { bug, hunks } = readPatch("x", patch)
    const [hunk] = hunks
    expect([bug, hunk && applyHunk("0\n1\na\nb\nc\n2\n", hunk)]).toEqual(["What is wrong.", "0\n1\na\nB\nc\n2\n"])
  })
  it("that doesn't fit, or fits twice, is an error", () => {
    const hunk = readPatch("x", patch).hunks[0] ?? { path: "", before: "", after: "" }
    expect(() => applyHunk("a\nc\n", hunk)).toThrow("x.ts has no such lines any more")
    expect(() => applyHunk("a\nb\nc\na\nb\nc\n", hunk)).toThrow("x.ts has these lines more than once")
  })
})
