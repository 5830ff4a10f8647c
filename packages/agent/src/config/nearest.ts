/** Finds what somebody meant to write. Pure. */

/** A word this many edits away, or more than a third of its length, is another word rather than a slip. */
const MAX_EDITS = 3

/** The known word that is nearest to `word`, if any is near enough to be worth suggesting. Case doesn't count. */
export const nearest = (word: string, known: Iterable<string>): string | null => {
  let best: string | null = null
  let bestEdits = Math.min(MAX_EDITS, Math.max(1, Math.floor(word.length / 3)))
  for (const candidate of known) {
    const edits = editsBetween(word.toLowerCase(), candidate.toLowerCase())
    if (edits < bestEdits || (edits === bestEdits && best === null)) {
      best = candidate
      bestEdits = edits
    }
  }
  return best
}

/** Insertions, deletions, replacements and swaps of neighbours (optimal string alignment). */
const editsBetween = (a: string, b: string): number => {
  // A key may be as long as the file; nothing known is.
  if (Math.abs(a.length - b.length) > MAX_EDITS) return MAX_EDITS + 1
  let before: ReadonlyArray<number> = []
  let previous: ReadonlyArray<number> = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1]
      const swapped = a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]
      current.push(
        Math.min(
          (previous[column] ?? 0) + 1,
          (current[column - 1] ?? 0) + 1,
          (previous[column - 1] ?? 0) + (same ? 0 : 1),
          swapped && row > 1 && column > 1 ? (before[column - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY,
        ),
      )
    }
    before = previous
    previous = current
  }
  return previous[b.length] ?? 0
}
