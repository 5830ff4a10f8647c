// A module begins with a comment that says what it is and what it must not do.
import { readModule } from "./module-syntax.ts"
import type { TreeFile } from "./tree.ts"

/** One sentence for each module that begins with code; a `#!` line may stand before the comment. */
export const uncommentedModules = (files: ReadonlyArray<TreeFile>): ReadonlyArray<string> =>
  files.filter((file) => !readModule(file).beginsWithComment).map(({ path }) => `${path} does not begin with a comment`)
