/** What HTTP can carry as a header. Repeats nothing of what it is asked about: headers are where secrets are. */
import { validateHeaderName, validateHeaderValue } from "node:http"

export const isHeader = (key: string, value: string): boolean => {
  try {
    validateHeaderName(key)
    validateHeaderValue(key, value)
    return true
  } catch {
    return false
  }
}
