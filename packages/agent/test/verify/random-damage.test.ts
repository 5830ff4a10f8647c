// Whatever is done to the files of a log: a repair removes no byte that is nowhere else, and mends all that it says it can.
import {
  existsSync,
  linkSync,
  readdirSync,
  readFileSync,
  renameSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from "node:fs"
import { basename, join } from "node:path"
import { gunzipSync, gzipSync } from "node:zlib"
import * as fc from "fast-check"
import { afterAll, beforeAll, expect, it } from "vitest"
import { makeTree, type Tree } from "./tree.ts"

let tree: Tree
beforeAll(async () => {
  tree = await makeTree()
})
afterAll(() => tree.remove())

const given = process.env["CORDWOOD_SEED"]
const seed = given === undefined ? Date.now() % 2 ** 31 : Number(given)
/** `FUZZ_RUNS=100` tries a hundred times as many. */
const numRuns = 12 * Number(process.env["FUZZ_RUNS"] ?? 1)

/** Done to the files of log `a`, sorted by name; `which` and `other` are taken modulo their number, `at` is a share of the file. */
interface Damage {
  readonly act:
    | "cut"
    | "flip"
    | "remove"
    | "swap"
    | "unpack"
    | "pack"
    | "half"
    | "temporary"
    | "link"
    | "empty"
    | "copy"
  readonly which: number
  readonly other: number
  readonly at: number
}
const damage = fc.record<Damage>({
  act: fc.constantFrom("cut", "flip", "remove", "swap", "unpack", "pack", "half", "temporary", "link", "empty", "copy"),
  which: fc.nat(20),
  other: fc.nat(20),
  at: fc.double({ min: 0, max: 0.999, noNaN: true }),
})

const segmentsNow = (): ReadonlyArray<string> =>
  readdirSync(tree.logs)
    .filter((name) => /^a\.log\.\d/.test(name))
    .toSorted()
    .map((name) => join(tree.logs, name))

/** What comes out of it; null if it doesn't decode to its end. */
const unpacked = (bytes: Buffer): Buffer | null => {
  try {
    return gunzipSync(bytes)
  } catch {
    return null
  }
}
const write = (path: string, bytes: Buffer): void => {
  if (!existsSync(path)) writeFileSync(path, bytes)
}

const inflict = ({ act, at, other, which }: Damage): void => {
  const files = segmentsNow()
  const path = files[which % files.length]
  const second = files[other % files.length]
  if (path === undefined || second === undefined) return
  const bytes = readFileSync(path)
  const place = Math.floor(bytes.length * at)
  const plain = path.replace(/\.(gz|tmp)$/, "")
  switch (act) {
    case "cut":
      return truncateSync(path, place)
    case "flip":
      if (bytes.length > 0) bytes[place] = bytes[place]! ^ 0x41
      return writeFileSync(path, bytes)
    case "remove":
      return unlinkSync(path)
    case "swap":
      renameSync(path, `${path}.swap`)
      if (second !== path) renameSync(second, path)
      return renameSync(`${path}.swap`, second)
    case "unpack":
      return write(plain, unpacked(bytes) ?? bytes)
    case "pack":
      return write(`${plain}.gz`, gzipSync(bytes))
    case "half":
      return write(`${plain}.tmp`, gzipSync(bytes).subarray(0, place))
    case "temporary":
      return write(`${plain}.tmp`, bytes)
    case "link":
      if (!existsSync(`${plain}.gz`)) linkSync(path, `${plain}.gz`)
      return
    case "empty":
      return write(`${plain}.gz`, Buffer.alloc(0))
    case "copy":
      return write(plain, readFileSync(second))
  }
}

/** What could be had of each file: its own bytes, and whatever part of them decodes. */
const held = (): ReadonlyMap<string, ReadonlyArray<Buffer>> =>
  new Map(
    segmentsNow().map((path) => {
      const bytes = readFileSync(path)
      const out = unpacked(bytes)
      return [basename(path), out === null ? [bytes] : [bytes, out]] as const
    }),
  )
const isArchive = (name: string): boolean => /\.(gz|tmp)$/.test(name)
const begins = (whole: Buffer, part: Buffer): boolean => whole.subarray(0, part.length).equals(part)

it(
  `a repair removes nothing that isn't in a file that stays, and then has no more to do (seed ${seed})`,
  { timeout: 120_000 * Number(process.env["FUZZ_RUNS"] ?? 1) },
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(damage, { minLength: 1, maxLength: 6 }), async (damages) => {
        tree.reset()
        for (const one of damages) inflict(one)
        const before = held()
        const { findings } = await tree.verify({ repair: true })
        const after = held()
        const left = [...after.values()].flat()
        for (const [name, [bytes = Buffer.alloc(0), out]] of before) {
          // An archive counts as it decodes: it may go beside its original.
          const holds = isArchive(name) ? (out ?? bytes) : bytes
          if (after.has(name)) expect(after.get(name)?.[0]?.equals(bytes)).toBe(true)
          else
            expect({
              name,
              kept: left.some((file) => begins(file, holds)) || isTorn(name, bytes, left),
            }).toEqual({ name, kept: true })
        }
        expect(findings.filter(({ repair }) => repair === "possible" || repair === "failed")).toEqual([])
        const again = await tree.verify({ repair: true })
        expect(again.repaired).toBe(0)
        expect(again.findings.map(({ kind, path }) => [kind, path])).toEqual(
          findings.filter(({ repair }) => repair === "none").map(({ kind, path }) => [kind, path]),
        )
      }),
      { numRuns, seed },
    )
  },
)

/** Of an archive that is cut, a part decodes: that part is in its original. Asked of zlib in a way that ends with what it has. */
const isTorn = (name: string, bytes: Buffer, left: ReadonlyArray<Buffer>): boolean => {
  if (!isArchive(name)) return false
  const out = gunzipPart(bytes)
  return out.length > 0 && left.some((file) => begins(file, out))
}
const gunzipPart = (bytes: Buffer): Buffer => {
  try {
    return gunzipSync(bytes, { finishFlush: 2 })
  } catch {
    return Buffer.alloc(0)
  }
}
