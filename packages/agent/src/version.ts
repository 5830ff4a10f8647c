/** The version of the package that this program is part of. */
import { existsSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"

/** Read from the package's manifest, which lies above wherever this module was built to. */
export const version = (): string => {
  for (let directory = import.meta.dirname; ; directory = dirname(directory)) {
    const manifest = join(directory, "package.json")
    if (existsSync(manifest))
      return String((JSON.parse(readFileSync(manifest, "utf8")) as { readonly version?: unknown }).version)
    if (directory === dirname(directory)) return "unknown"
  }
}
