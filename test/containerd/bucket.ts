/**
 * What a reader of the bucket finds: the segments that were shipped, by their stamps, decoded. Knows the layout of keys from the plugin's README,
 * gzip and zstd from their formats, and nothing of the agent's insides. Puts them beside what is left on disk, so that one account can be made
 * of both.
 */
import { createHash } from "node:crypto"
import { copyFileSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs"
import { basename, dirname, join } from "node:path"
import { zstdDecompressSync } from "node:zlib"
import type { StoredObject } from "../../packages/plugins/s3/test/server/s3-server.ts"
import { filesOf, gunzipStrictly } from "./account.ts"

const KEY =
  /^(?<prefix>.+)\/ns=(?<namespace>[^/]+)\/dt=(?<date>[\d-]{10})\/hour=(?<hour>\d\d)\/node=(?<node>[^/]+)\/(?<pod>[^/_]+)_(?<uid>[^/_]+)_(?<container>[^/_]+)_(?<restart>\d+)_(?<stamp>\d{8}-\d{6})_(?<sha16>[0-9a-f]{16})\.log(?<suffix>\.gz|\.zst)?$/

export interface Shipped {
  readonly key: string
  readonly stamp: string
  readonly bytes: Buffer
}

/** The objects whose keys are those of this container's log, oldest first. Throws for a key of another form, and for one whose digest is not that of what lies there. */
export const shippedIn = (objects: ReadonlyMap<string, StoredObject>, container: string): ReadonlyArray<Shipped> =>
  [...objects]
    .map(([key, { body }]) => {
      const parts = KEY.exec(key)?.groups
      if (parts === undefined || body === undefined) throw new Error(`not a segment's key: ${key}`)
      const bytes =
        parts["suffix"] === ".gz" ? gunzipStrictly(body) : parts["suffix"] === ".zst" ? zstdDecompressSync(body) : body
      const digest = createHash("sha256").update(bytes).digest("hex")
      if (!digest.startsWith(parts["sha16"] ?? "-"))
        throw new Error(`${key} holds other bytes than its name says: ${digest}`)
      return { key, stamp: parts["stamp"] ?? "", bytes, container: parts["container"] }
    })
    .filter((one) => one.container === container)
    .map(({ bytes, key, stamp }) => ({ key, stamp, bytes }))
    .toSorted((a, b) => (a.stamp < b.stamp ? -1 : 1))

/**
 * A folder with the log's files as they are on disk and the shipped segments that are there no more; the active file's path in it. A segment in both
 * places must be the same in both, and counts once; two objects of one stamp are one too many.
 */
export const together = (scratch: string, log: string, shipped: ReadonlyArray<Shipped>): string => {
  const folder = mkdtempSync(join(scratch, "together-"))
  const here = new Map<string, Buffer>()
  for (const { compressed, name, role, stamp } of filesOf(log)) {
    const from = join(dirname(log), name)
    copyFileSync(from, join(folder, name))
    if (role === "segment") here.set(stamp, compressed ? gunzipStrictly(readFileSync(from)) : readFileSync(from))
  }
  const seen = new Set<string>()
  for (const { bytes, key, stamp } of shipped) {
    if (seen.has(stamp)) throw new Error(`shipped twice: ${key}`)
    seen.add(stamp)
    const onDisk = here.get(stamp)
    if (onDisk === undefined) writeFileSync(join(folder, `${basename(log)}.${stamp}`), bytes)
    else if (!onDisk.equals(bytes)) throw new Error(`${key} differs from what is on disk`)
  }
  return join(folder, basename(log))
}
