/**
 * What lies in the log directories of pods, as the kubelet lays them out: `<pod's directory>/<container>/<restarts>.log`, and what rotation made
 * of it. So a log is found whose container the runtime knows no more. Only reads, and reads a directory anew only once it has changed. Follows
 * no link, as whoever may write there could otherwise point the agent anywhere.
 */
import type { BigIntStats, Dirent } from "node:fs"
import { lstat, opendir } from "node:fs/promises"
import { directoryOf, nameOf } from "@cordwood/core"

/** Names looked at in one directory: a thousand restarts of five files each, and as much again. */
const MAX_NAMES = 10_000
/** Containers of one pod: Kubernetes' own limits on a pod's size leave room for fewer. */
const MAX_CONTAINERS = 1_000
/** Logs of one node: a hundred for each of the pods that a kubelet takes by default. Others are found once these are gone. */
const MAX_LOGS = 11_000
/** Names the kernel hands over at a time. */
const NAMES_PER_READ = 256
/** A directory that changed less than this before it was read may change again within the same tick of the file system's clock. */
const SETTLED_MS = 5_000

/** A Kubernetes container's name: a DNS label. */
const CONTAINER = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/
/** A log's name, alone or with what rotation puts behind it. */
const MEMBER = /^(\d{1,10}\.log)(\.\d{8}-\d{6}(\.[A-Za-z0-9]+)?)?$/
const containerIn = (entry: Dirent): string | undefined =>
  entry.isDirectory() && CONTAINER.test(entry.name) ? entry.name : undefined
const logIn = (entry: Dirent): string | undefined => (entry.isFile() ? MEMBER.exec(entry.name)?.[1] : undefined)

interface Reading {
  /** Which directory it was, and when a name in it last changed. */
  readonly state: string
  readonly changedMs: number
  readonly names: ReadonlySet<string>
  /** It holds more than is looked at. */
  readonly cut: boolean
}
const MISSING: Reading = { state: "", changedMs: 0, names: new Set(), cut: false }

/** What was found. */
export class PodFiles {
  /** Names of the logs of which there are files, by the container's directory. */
  readonly logs: ReadonlyMap<string, ReadonlySet<string>>
  /** Directories that hold more names than are looked at. */
  readonly cut: ReadonlyArray<string>
  /** Directories of pods and containers that were looked into from end to end, or are missing. */
  readonly #known: ReadonlySet<string>

  constructor(logs: PodFiles["logs"], cut: PodFiles["cut"], known: ReadonlySet<string>) {
    this.logs = logs
    this.cut = cut
    this.#known = known
  }

  /** Whether nothing is left of the log for sure: neither its file nor any segment. */
  isGone(path: string): boolean {
    const directory = directoryOf(path)
    const names = this.logs.get(directory)
    if (names === undefined) return CONTAINER.test(nameOf(directory)) && this.#known.has(directoryOf(directory))
    return MEMBER.test(nameOf(path)) && this.#known.has(directory) && !names.has(nameOf(path))
  }
}
export const NO_FILES = new PodFiles(new Map(), [], new Set())

export class PodDirectories {
  #readings = new Map<string, Reading>()
  readonly #maxNames: number

  constructor(maxNames = MAX_NAMES) {
    this.#maxNames = maxNames
  }

  /** Looks into these directories of pods. Rejects only once it is aborted. `nowMs`: the file system's time, milliseconds since 1970. */
  async read(pods: Iterable<string>, nowMs: number, signal: AbortSignal): Promise<PodFiles> {
    const readings = new Map<string, Reading>()
    const known = new Set<string>()
    const cut: Array<string> = []
    const namesIn = async (
      directory: string,
      nameOfEntry: (entry: Dirent) => string | undefined,
      most: number,
    ): Promise<ReadonlySet<string>> => {
      const before = this.#readings.get(directory)
      const limits = { names: this.#maxNames, kept: most }
      const reading = await readDirectory(directory, nameOfEntry, limits, before, signal)
      if (reading === null) return MISSING.names
      if (reading === before || Math.abs(nowMs - reading.changedMs) >= SETTLED_MS) readings.set(directory, reading)
      if (reading.cut) cut.push(directory)
      else known.add(directory)
      return reading.names
    }
    const logs = new Map<string, ReadonlySet<string>>()
    let room = MAX_LOGS
    for (const pod of pods) {
      for (const name of await namesIn(pod, containerIn, MAX_CONTAINERS)) {
        if (room <= 0) {
          known.delete(pod)
          cut.push(pod)
          break
        }
        const directory = `${pod}/${name}`
        const found = await namesIn(directory, logIn, this.#maxNames)
        logs.set(directory, found)
        room -= found.size
      }
    }
    // Without those of pods that are gone.
    this.#readings = readings
    return new PodFiles(logs, cut, known)
  }
}

const stateOf = ({ ctimeNs, dev, ino, mtimeNs }: BigIntStats): string => `${dev}:${ino} ${mtimeNs} ${ctimeNs}`
const isMissing = (error: unknown): boolean =>
  error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR")

/** The reading from before if nothing has changed since; null if it can't be read, or is a link. */
const readDirectory = async (
  directory: string,
  nameOfEntry: (entry: Dirent) => string | undefined,
  limits: { readonly names: number; readonly kept: number },
  before: Reading | undefined,
  signal: AbortSignal,
): Promise<Reading | null> => {
  signal.throwIfAborted()
  try {
    const stats = await lstat(directory, { bigint: true })
    if (!stats.isDirectory()) return null
    const state = stateOf(stats)
    if (before?.state === state) return before
    const names = new Set<string>()
    let looked = 0
    for await (const entry of await opendir(directory, { bufferSize: NAMES_PER_READ })) {
      signal.throwIfAborted()
      looked += 1
      if (looked > limits.names || names.size > limits.kept) break
      const name = nameOfEntry(entry)
      if (name !== undefined) names.add(name)
    }
    const cut = looked > limits.names || names.size > limits.kept
    return { state, changedMs: Number(stats.mtimeMs), names, cut }
  } catch (error) {
    signal.throwIfAborted()
    return isMissing(error) ? MISSING : null
  }
}

/** Those of the logs whose own file was written to within this time, or can't be looked at. One whose file is missing is none of them. */
export const freshAmong = async (
  paths: ReadonlyArray<string>,
  nowMs: number,
  withinMs: number,
  signal: AbortSignal,
): Promise<ReadonlySet<string>> => {
  const fresh = new Set<string>()
  for (const path of paths) {
    signal.throwIfAborted()
    try {
      const { mtimeMs } = await lstat(path)
      if (Math.abs(nowMs - mtimeMs) < withinMs) fresh.add(path)
    } catch (error) {
      if (!isMissing(error)) fresh.add(path)
    }
  }
  return fresh
}
