/** What an error says, be it whose it may: reading a third party's may throw, and then whoever was to report it would fail in its place. */
import { Cause } from "effect"

const UNTELLABLE = "an error that can't be told"

/** Never throws. */
export const messageOf = (error: unknown): string => {
  try {
    return error instanceof Error ? String(error.message) : String(error)
  } catch {
    return UNTELLABLE
  }
}

/** What the first error of a cause says; `otherwise` where it has none. Never throws. */
export const firstMessage = (cause: Cause.Cause<unknown>, otherwise: string): string => {
  try {
    return Cause.prettyErrors(cause)[0]?.message ?? otherwise
  } catch {
    return messageOf(Cause.squash(cause))
  }
}
