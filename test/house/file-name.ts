// A file is named for what it holds. These names hold anything.
import type { TreeFile } from "./tree.ts"

const vague: ReadonlySet<string> = new Set(["util", "utils", "helper", "helpers", "common", "type", "types", "misc"])

/** One sentence for each file or folder whose name, or a part of it between dots and dashes, says nothing. */
export const vagueNames = (files: ReadonlyArray<TreeFile>): ReadonlyArray<string> =>
  files
    .filter(({ path }) => path.split(/[/.]|(?<=\w)-(?=\w)/).some((part) => vague.has(part.toLowerCase())))
    .map(({ path }) => `${path} is not named for what it holds`)
