/** How messages repeat what was found. */

/** Longer findings are cut: a message is read by people, and stored. */
const MAX_LENGTH = 60

/** Text in quotes, with what can't be seen escaped; numbers as they are. */
export const quoted = (input: string | number): string => {
  if (typeof input === "number") return String(input)
  return input.length > MAX_LENGTH
    ? `${JSON.stringify(input.slice(0, MAX_LENGTH))}… (${input.length} characters)`
    : JSON.stringify(input)
}
