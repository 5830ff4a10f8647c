// What lies outside of every log and must come to no harm: a tree of files, all of it looked at before and after. Imports nothing of the agent.
import { execFileSync } from "node:child_process"
import {
  chmodSync,
  closeSync,
  constants,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs"
import { open } from "node:fs/promises"
import { join } from "node:path"

/** In every file of it, so that a copy would be known anywhere. */
export const MARK = "CANARY: not to be seen"
/** What a neighbour has moved away within a log's directory, and is going to put back, gets this at the end of its name. */
export const HELD = ".held"

export interface Canary {
  readonly root: string
  /** A directory laid out like a log's, with `0.log` in it: what a link to it would have harmed. */
  readonly log: string
  /** A file that other names may be made for. */
  readonly secret: string
  /** A pipe that other names may be made for. Somebody waits for a reader of it, for as long as the canary lives. */
  readonly pipe: string
  /** Every way in which it is not as it was. */
  readonly harm: () => ReadonlyArray<string>
  /** Ends the waiting at the pipe, and counts no more. */
  readonly release: () => Promise<void>
}

/** Long before the files' own times: whoever reads a file sets it to now (relatime). */
const READ_S = 1_500_000_000
const WRITTEN_S = 1_600_000_000

/** Makes one in an empty directory. `way` are the directories that lead to `log` in it. */
export const makeCanary = (root: string, active: string, way: string): Canary => {
  const log = join(root, way)
  mkdirSync(log, { recursive: true })
  mkdirSync(join(root, "other"))
  const stamps = ["20260101-000000", "20260101-000001", "20260101-000002", "20260101-000003"]
  const files: Readonly<Record<string, number>> = {
    [active]: 4_000,
    ...Object.fromEntries(stamps.map((stamp) => [`${active}.${stamp}`, 900])),
    [`${active}.20260101-000000.gz`]: 40,
    [`${active}.20260101-000001.tmp`]: 40,
  }
  for (const [name, bytes] of Object.entries(files)) {
    writeFileSync(join(log, name), MARK.padEnd(bytes, "."), { mode: 0o640 })
  }
  symlinkSync(active, join(log, "link"))
  const secret = join(root, "other", "secret")
  writeFileSync(secret, MARK.padEnd(900, "."), { mode: 0o600 })
  const pipe = join(root, "other", "pipe")
  execFileSync("mkfifo", [pipe])
  chmodSync(pipe, 0o666)
  for (const path of everything(root)) {
    if (!lstatSync(path).isSymbolicLink()) utimesSync(path, READ_S, WRITTEN_S)
  }
  const shared = new Set([secret, pipe])
  const look = (): ReadonlyMap<string, string> =>
    new Map(everything(root).map((path) => [path, traceOf(path, shared.has(path))]))
  const before = look()
  let readers = 0
  let waiting = true
  const writer = open(pipe, "w").then(async (handle) => {
    if (waiting) readers += 1
    await handle.close()
  })
  return {
    root,
    log,
    secret,
    pipe,
    harm: () => {
      const after = look()
      const paths = [...new Set([...before.keys(), ...after.keys()])]
      const differences = paths.flatMap((path) => {
        const [was, is] = [before.get(path) ?? "nothing", after.get(path) ?? "nothing"]
        return was === is ? [] : [`${path} was ${was}, is ${is}`]
      })
      return [...differences, ...(readers > 0 ? [`${pipe} was opened`] : [])]
    },
    release: async () => {
      waiting = false
      const reader = await open(pipe, constants.O_RDONLY | constants.O_NONBLOCK)
      await writer
      await reader.close()
    },
  }
}

const everything = (root: string): ReadonlyArray<string> =>
  [root, ...readdirSync(root, { recursive: true, encoding: "utf8" }).map((name) => join(root, name))].toSorted()

const traceOf = (path: string, hasOtherNames: boolean): string => {
  const stats = lstatSync(path, { bigint: true })
  const { atimeNs, ctimeNs, gid, ino, mode, mtimeNs, nlink, size, uid } = stats
  const own = `${ino} ${mode.toString(8)} ${uid}:${gid} written ${mtimeNs}`
  if (stats.isSymbolicLink()) return `${own} -> ${readlinkSync(path)}`
  // Looking into a directory reads it.
  if (stats.isDirectory()) return `${own} changed ${ctimeNs}`
  const rest = hasOtherNames ? "" : ` changed ${ctimeNs}, ${nlink} names`
  return `${own} ${size} bytes, read ${atimeNs}${rest}${stats.isFile() ? `, ${contentOf(path)}` : ""}`
}

/** Read without being seen to have been read. */
const contentOf = (path: string): string => {
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NOATIME)
  try {
    const text = readFileSync(descriptor, "latin1")
    return text === MARK.padEnd(text.length, ".") ? "intact" : JSON.stringify(text.slice(0, 200))
  } finally {
    closeSync(descriptor)
  }
}

/** Other names for the canary's secret and its pipe, which the neighbour may move to where he likes. */
export const layLinks = ({ pipe, secret }: Canary, stash: string, count: number): void => {
  for (let number = 0; number < count; number += 1) {
    for (const [kind, path] of [
      ["secret", secret],
      ["pipe", pipe],
    ] as const) {
      try {
        linkSync(path, join(stash, `${kind}-${number}`))
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error
      }
    }
  }
}
