/**
 * Applies a unified diff by what it says, not by where: a hunk's old lines must stand in the file just once, wherever that is, so that a patch lives as long as
 * the lines that it is about. Knows no other kind of patch than one that changes lines of files that are there.
 */

export interface Patch {
  /** What bug it brings in: the patch's first line. */
  readonly bug: string
  /** A test file that is to catch it, where only real files can show it; null: the simulation does. */
  readonly test: string | null
  readonly hunks: ReadonlyArray<{ readonly path: string; readonly before: string; readonly after: string }>
}

const TEST = "test: "

/** Throws if it is none. */
export const readPatch = (name: string, text: string): Patch => {
  const [bug = "", ...lines] = text.split("\n")
  const fail = (why: string): Error => new Error(`${name}: ${why}`)
  if (bug === "" || bug.startsWith("---")) throw fail("its first line doesn't say what bug it brings in")
  const hunks: Array<{ path: string; before: string; after: string }> = []
  let path: string | null = null
  let test: string | null = null
  for (const line of lines) {
    const hunk = hunks.at(-1)
    if (line.startsWith(TEST) && path === null) test = line.slice(TEST.length)
    else if (line.startsWith("--- ")) continue
    else if (line.startsWith("+++ b/")) path = line.slice("+++ b/".length)
    else if (line.startsWith("@@")) {
      if (path === null) throw fail("a hunk comes before the file it is about")
      hunks.push({ path, before: "", after: "" })
    } else if (hunk !== undefined && line !== "") {
      const rest = `${line.slice(1)}\n`
      if (line[0] === " " || line[0] === "-") hunk.before += rest
      if (line[0] === " " || line[0] === "+") hunk.after += rest
    }
  }
  if (hunks.length === 0) throw fail("it changes nothing")
  return { bug, test, hunks }
}

/** The file with the hunk applied. Throws if the hunk's old lines aren't there just once. */
export const applyHunk = (text: string, { after, before, path }: Patch["hunks"][number]): string => {
  const at = text.indexOf(before)
  if (at < 0) throw new Error(`${path} has no such lines any more:\n${before}`)
  if (text.indexOf(before, at + 1) >= 0) throw new Error(`${path} has these lines more than once:\n${before}`)
  return text.slice(0, at) + after + text.slice(at + before.length)
}
