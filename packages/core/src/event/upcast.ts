/** Raises stored data of an older version to the current one, a version at a time. Pure; runs on read, so the journal is never rewritten. */

/** For a type, by the version it starts from: data of that version in, data of the next one out. */
export type Upcasters = Readonly<Record<string, Readonly<Record<number, (data: unknown) => unknown>>>>

/** Every core type is at its first version, so there is nothing to raise yet. */
export const upcasters: Upcasters = {}

/** The current version of a type: where its upcasters, from the first version on, lead to. */
export const currentVersion = (all: Upcasters, type: string): number => {
  const steps = Object.hasOwn(all, type) ? all[type] : undefined
  let version = 1
  while (steps?.[version] !== undefined) version += 1
  return version
}

/** Applies every upcaster from `version` on; without one, data and version come back as they are. */
export const upcast = (
  all: Upcasters,
  type: string,
  version: number,
  data: unknown,
): { readonly version: number; readonly data: unknown } => {
  const steps = Object.hasOwn(all, type) ? all[type] : undefined
  let at = version
  let raised = data
  for (let step = steps?.[at]; step !== undefined; step = steps?.[at]) {
    raised = step(raised)
    at += 1
  }
  return { version: at, data: raised }
}
