// The repository names no place that only one machine has, and no package registry: any mirror may serve it.
import type { TreeFile } from "./tree.ts"

// Each is put together here, so that this file is no violation of itself.
const folder = (...names: ReadonlyArray<string>): string => `/${names.join("/")}`
const places: ReadonlyArray<RegExp> = [
  new RegExp(String.raw`(?<![\w.@~-])${folder("work")}/`),
  new RegExp(String.raw`(?<![\w.@~-])${folder("root")}/`),
  new RegExp(folder("tmp", "bash_")),
  new RegExp(String.raw`\bregistry\.(npmjs|yarnpkg|npmmirror)\b`),
  new RegExp(String.raw`https?://[^\s"'/]*\bregistry\b`),
]

/** One sentence, with the line, for each such name. */
export const foreignPlaces = (files: ReadonlyArray<TreeFile>): ReadonlyArray<string> =>
  files.flatMap(({ path, text }) =>
    text.split("\n").flatMap((line, index) =>
      places.flatMap((place) => {
        const match = place.exec(line)
        return match === null ? [] : [`${path}:${index + 1} names ${match[0]}`]
      }),
    ),
  )
