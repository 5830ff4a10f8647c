// What every package.json keeps to: exact versions, one version of each package, and effect's packages in step.
import { posix } from "node:path"
import type { TreeFile } from "./tree.ts"

interface Manifest {
  readonly name: string
  readonly version: string
  readonly dependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

const exact = /^\d+\.\d+\.\d+(-[\w.]+)?$/
/** Packages that only work together with an effect of their own version. */
const inStepWithEffect: ReadonlyArray<string> = ["@effect/platform-node", "@effect/opentelemetry"]

/** One sentence for each thing amiss. Peer ranges are left alone: they are for other people's projects. */
export const manifestFaults = (files: ReadonlyArray<TreeFile>): ReadonlyArray<string> => {
  const manifests = files
    .filter(({ path }) => posix.basename(path) === "package.json")
    .map(({ path, text }) => ({ path, manifest: JSON.parse(text) as Manifest }))
  const ownVersions = new Map(manifests.map(({ manifest }) => [manifest.name, manifest.version]))
  const seen = new Map<string, { readonly version: string; readonly path: string }>()
  const found: Array<string> = []
  for (const { path, manifest } of manifests) {
    const entries = [manifest.dependencies, manifest.devDependencies, manifest.optionalDependencies].flatMap((list) =>
      Object.entries(list ?? {}),
    )
    for (const [name, version] of entries) {
      if (!exact.test(version)) found.push(`${path}: ${name} is ${version}, not an exact version`)
      const own = ownVersions.get(name)
      if (own !== undefined && own !== version) found.push(`${path}: ${name} is ${version}, but the one here is ${own}`)
      const before = seen.get(name)
      if (before === undefined) seen.set(name, { version, path })
      else if (before.version !== version) {
        found.push(`${path}: ${name} is ${version}, but ${before.version} in ${before.path}`)
      }
    }
  }
  const effect = seen.get("effect")?.version
  for (const name of inStepWithEffect) {
    const entry = seen.get(name)
    if (entry !== undefined && entry.version !== effect) {
      found.push(`${entry.path}: ${name} is ${entry.version}, but effect is ${effect}`)
    }
  }
  return found
}
