/**
 * The agent and the neighbour at the same log, both as fast as they can, and then the account: of what lies outside, and of every record that was
 * written. The agent is the real one on the real file system; its writer is ours, and its guard reads what is about to be removed, as one that
 * ships does.
 */
import { type ChildProcess, fork } from "node:child_process"
import { randomUUID } from "node:crypto"
import {
  accessSync,
  chmodSync,
  chownSync,
  closeSync,
  constants,
  fchownSync,
  fstatSync,
  futimesSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  realpathSync,
  writeFileSync,
  writeSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { gunzipSync } from "node:zlib"
import { Agent, type AgentPorts } from "@cordwood/agent"
import {
  definePlugin,
  Journal,
  LogFiles,
  type LogFilesError,
  type LogFilesShape,
  PluginError,
  type Doomed,
  type Source,
  SourceError,
} from "@cordwood/core"
import { makeMemoryJournal } from "@cordwood/core/testing"
import { nodeLogFiles } from "@cordwood/fs-adapter"
import { gzip } from "@cordwood/plugin-gzip"
import { Context, Effect, Layer, Logger, Scope } from "effect"
import * as z from "zod"
import { type Canary, HELD, layLinks, makeCanary, MARK } from "./canary.ts"
import type { Orders } from "./attacker.ts"
import { RecordSet } from "./record-set.ts"

/** A user that nobody needs to have, for the neighbour to be where this is root; null where it can only be whom this is. */
export const NEIGHBOUR = process.getuid?.() === 0 ? 54_321 : null

/** Where nothing waits for a disk: the races are between two processes, and what is durable isn't the question. */
export const quickDirectory = (): string => {
  const memory = "/dev/shm"
  try {
    accessSync(memory, constants.W_OK)
    return mkdtempSync(join(memory, "cordwood-race-"))
  } catch {
    return realpathSync(mkdtempSync(join(tmpdir(), "cordwood-race-")))
  }
}

export interface RaceOptions {
  /** An empty directory, on whatever file system this is to be tried. */
  readonly root: string
  /** Ends once the neighbour has changed something so many times in the midst of an act of the agent's … */
  readonly times: number
  /** … or after so long. */
  readonly limitMs: number
  readonly seed: number
  /** Null: as this process's own. */
  readonly user: number | null
  readonly progress?: (soFar: Progress) => void
}
export interface Progress {
  /** The neighbour's changes. */
  readonly changes: number
  /** Those that came in the midst of an act: a call of the file system's port, as the agent's passes make them. */
  readonly races: number
  readonly acts: number
  /** Those in whose midst there was a change. */
  readonly racedActs: number
  readonly passes: number
  readonly records: number
}
export interface Outcome extends Progress {
  /** Acts by what was done and how it ended. */
  readonly ends: Readonly<Record<string, number>>
  /** The neighbour's tricks. */
  readonly tricks: Readonly<Record<string, number>>
  /** Ways in which what lies outside isn't as it was. */
  readonly harm: ReadonlyArray<string>
  /** What came of the records that isn't as it should be. */
  readonly losses: ReadonlyArray<string>
  /** Contents from outside that were made readable, or shipped. */
  readonly leaks: ReadonlyArray<string>
}

const RECORD_BYTES = 16
const RECORDS_PER_ROUND = 80
const ACTIVE = "0.log"
const STASHED = 8
/** Passes between two looks at what lies outside. */
const LOOK_EVERY = 500
/** What a guard reads of a segment: more is a bomb, which has 16 MiB, and holds no record. No segment of the log's comes near, however long it couldn't be rotated. */
const MOST_READ_BYTES = 12 * 1024 * 1024
/** Passes after the neighbour has gone, within which all is in order again. */
const CALM_PASSES = 20
const LONG_AGO_S = 1_600_000_000

const recordsIn = (bytes: Uint8Array): ReadonlyArray<number> =>
  [
    ...Buffer.from(bytes)
      .toString("latin1")
      .matchAll(/^(\d{15})$/gm),
  ].map(([, digits]) => Number(digits))

/** Writes numbered records as a runtime does: to a file that it holds open, in a directory that it knows. */
class Writer {
  written = 0
  readonly #directory: number
  readonly #owner: number | null
  #file: number
  constructor(directory: string, owner: number | null) {
    this.#owner = owner
    this.#directory = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY)
    this.#file = this.#open()
  }
  /** Throws if something else lies at the name: then it writes on to the file that it has. */
  reopen(): void {
    const next = this.#open()
    closeSync(this.#file)
    this.#file = next
  }
  write(records: number): void {
    let text = ""
    for (let number = 0; number < records; number += 1) {
      text += `${String(this.written).padStart(RECORD_BYTES - 1, "0")}\n`
      this.written += 1
    }
    writeSync(this.#file, text)
    // Nobody writes to a rotated file any more: it may be compressed at once.
    futimesSync(this.#file, LONG_AGO_S, LONG_AGO_S)
  }
  close(): void {
    closeSync(this.#file)
    closeSync(this.#directory)
  }
  #open(): number {
    const flags =
      constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK
    const file = openSync(`/proc/self/fd/${this.#directory}/${ACTIVE}`, flags, 0o640)
    const seen = fstatSync(file)
    // The neighbour may have laid a file there, or a name of one from outside.
    if (
      !seen.isFile() ||
      seen.nlink > 1 ||
      (seen.size > 0 && recordsIn(readFileSync(`/proc/self/fd/${file}`)).length === 0)
    ) {
      closeSync(file)
      throw new Error("something else lies there")
    }
    if (this.#owner !== null) fchownSync(file, this.#owner, this.#owner)
    return file
  }
}

export const race = async (options: RaceOptions): Promise<Outcome> => {
  const { progress = () => {}, root, seed, times, user } = options
  const way = join(root, "neighbour", "way")
  const log = join(way, "log")
  const active = join(log, ACTIVE)
  const stash = join(root, "neighbour", "stash")
  const counter = join(root, "neighbour", "changes")
  mkdirSync(log, { recursive: true })
  mkdirSync(stash)
  writeFileSync(counter, Buffer.alloc(8))
  if (user !== null) {
    chmodSync(root, 0o755)
    for (const path of [join(root, "neighbour"), way, log, stash, counter]) chownSync(path, user, user)
  }
  const canary = makeCanary(join(root, "outside"), ACTIVE, "way/log")
  layLinks(canary, stash, STASHED)

  const changes = openSync(counter, "r")
  const eight = new BigUint64Array(1)
  const changesSoFar = (): number => {
    readSync(changes, eight, 0, 8, 0)
    return Number(eight[0])
  }
  const writer = new Writer(log, user)
  const shipped = new RecordSet()
  const leaks: Array<string> = []
  const ends: Record<string, number> = {}
  let acts = 0
  let racedActs = 0
  let races = 0
  let passes = 0
  const soFar = (): Progress => ({ changes: changesSoFar(), races, acts, racedActs, passes, records: writer.written })
  /** One act at a time: there is one log, and its steps come one after another. */
  const ended = (op: string, end: string, before: number): void => {
    const changes = changesSoFar() - before
    acts += 1
    races += changes
    if (changes > 0) racedActs += 1
    ends[`${op}: ${end}`] = (ends[`${op}: ${end}`] ?? 0) + 1
  }

  /** Counts an act, and whether something was changed meanwhile. */
  const counted = <A>(op: string, act: Effect.Effect<A, LogFilesError>): Effect.Effect<A, LogFilesError> =>
    Effect.suspend(() => {
      const before = changesSoFar()
      return Effect.tap(Effect.result(act), (result) =>
        Effect.sync(() => ended(op, result._tag === "Success" ? "done" : endOf(result.failure), before)),
      ).pipe(Effect.flatMap((result) => (result._tag === "Success" ? Effect.succeed(result.success) : result.failure)))
    })
  const watched = (files: LogFilesShape): LogFilesShape => ({
    glance: files.glance,
    list: (path) => counted("list", files.list(path)),
    setAside: (file, to) => counted("setAside", files.setAside(file, to)),
    putBack: (segment, path) => counted("putBack", files.putBack(segment, path)),
    remove: (file, how) => counted("remove", files.remove(file, how)),
    compress: (segment, to, codec) => counted("compress", files.compress(segment, to, codec)),
    matches: (twin, original, codec) => counted("matches", files.matches(twin, original, codec)),
    read: files.read,
    free: (path) => counted("free", files.free(path)),
  })

  const source: Source = {
    name: "writer",
    list: Effect.succeed({ logs: [{ path: active }], problems: [] }),
    reopen: (about) =>
      Effect.try({
        try: () => {
          writer.reopen()
          return "told" as const
        },
        catch: (error) =>
          new SourceError({
            source: "writer",
            op: "reopen",
            target: about.path,
            reason: "Refused",
            detail: String(error),
            hint: "take away what lies there",
          }),
      }),
  }
  /** Takes the records of what goes: what it could read to its end without an error is shipped. */
  const ship = async ({ raw, segment }: Doomed): Promise<void> => {
    const before = changesSoFar()
    const pieces: Array<Uint8Array> = []
    let bytes = 0
    let end = "done"
    try {
      for await (const piece of raw()) {
        bytes += piece.length
        if (bytes > MOST_READ_BYTES) break
        pieces.push(piece)
      }
    } catch (error) {
      end = endOf(error as LogFilesError)
      // What doesn't decode, and what is a name of something from elsewhere, is nothing that a record is in, and may go.
      if (end !== "Codec" && end !== "Linked") throw error
    } finally {
      ended("read", end, before)
    }
    const read = Buffer.concat(pieces)
    if (read.includes(MARK)) leaks.push(`${segment.path} was shipped, with what lies outside in it`)
    for (const record of recordsIn(read)) if (record < writer.written) shipped.add(record)
  }
  const shipping = definePlugin({
    name: "shipping",
    api: 1,
    config: z.strictObject({}),
    setup: () =>
      Effect.succeed({
        beforeRemove: (question) =>
          Effect.as(
            Effect.tryPromise({
              try: () => ship(question),
              catch: (error) =>
                new PluginError({ plugin: "shipping", slot: "beforeRemove", detail: String(error), hint: "try again" }),
            }),
            { _tag: "Allow" as const },
          ),
      }),
  })()

  const journal = makeMemoryJournal()
  const files = Effect.map(Layer.build(nodeLogFiles), (context) => watched(Context.get(context, LogFiles)))
  const ports: AgentPorts = {
    files: Layer.effect(LogFiles, files),
    journal: () => Layer.succeed(Journal, journal),
    newId: randomUUID,
  }
  const agent = Agent.layer(
    {
      sources: [{ name: "writer", open: Effect.succeed(source) }],
      policy: { maxSize: "1Ki", maxFiles: 6, compression: "gzip" },
      plugins: [gzip({ level: 1 }), shipping],
    },
    ports,
  )
  const scope = Scope.makeUnsafe()
  const started = performance.now()
  const neighbour = await begin({
    seed,
    active,
    victimLog: canary.log,
    victimWay: dirname(canary.log),
    stash,
    counter,
    user,
  })
  const harm: Array<string> = []
  try {
    const { once } = Context.get(await Effect.runPromise(Scope.provide(Layer.build(agent), scope)), Agent)
    const pass = async (): Promise<void> => {
      await Effect.runPromise(Effect.provide(once, Logger.layer([])))
      passes += 1
    }
    while (races < times && performance.now() - started < options.limitMs && harm.length === 0) {
      writer.write(RECORDS_PER_ROUND)
      await pass()
      if (passes % LOOK_EVERY !== 0) continue
      harm.push(...canary.harm())
      journal.drop(() => true)
      layLinks(canary, stash, STASHED)
      progress(soFar())
    }
    const tricks = await neighbour.end()
    const raceEnd = soFar()
    for (let calm = 0; calm < CALM_PASSES; calm += 1) await pass()
    harm.push(...canary.harm())
    const { losses, found } = accountOf(log, canary, shipped, writer.written)
    leaks.push(...found)
    return { ...raceEnd, ends, tricks, harm, losses, leaks }
  } finally {
    neighbour.kill()
    await Effect.runPromise(Scope.close(scope, Effect.runSync(Effect.exit(Effect.void))))
    writer.close()
    closeSync(changes)
    await canary.release()
  }
}

/** What is none of the reasons that one expects is to be seen. */
const endOf = ({ detail, reason }: LogFilesError): string => (reason === "Other" ? detail : reason)

interface Neighbour {
  /** Has it put everything back and end; what it has done. */
  readonly end: () => Promise<Readonly<Record<string, number>>>
  readonly kill: () => void
}
const begin = (orders: Orders): Promise<Neighbour> =>
  new Promise((resolve, reject) => {
    const child: ChildProcess = fork(fileURLToPath(new URL("attacker.ts", import.meta.url)), [JSON.stringify(orders)], {
      execArgv: [],
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    })
    const ended = new Promise<Readonly<Record<string, number>>>((done, failed) => {
      child.once("exit", (code, signal) => failed(new Error(`the neighbour ended by itself (${code ?? signal})`)))
      child.on("message", (message) => {
        if (message === "ready")
          return resolve({ end: () => (child.send("end"), ended), kill: () => child.kill("SIGKILL") })
        done(message as Readonly<Record<string, number>>)
      })
    })
    ended.catch(reject)
  })

/** Every record is on disk just once, or has been shipped; and nothing of what lies outside has come in. */
const accountOf = (
  log: string,
  canary: Canary,
  shipped: Pick<RecordSet, "has">,
  written: number,
): { readonly losses: ReadonlyArray<string>; readonly found: ReadonlyArray<string> } => {
  const losses: Array<string> = []
  const found: Array<string> = []
  const places = new Map<number, string>()
  for (const name of readdirSync(log).toSorted()) {
    const path = join(log, name)
    const seen = lstatSync(path)
    if (!seen.isFile() || seen.ino === lstatSync(canary.secret).ino) continue
    const bytes = contentsOf(path)
    if (bytes.includes(MARK)) found.push(`${path} holds what lies outside`)
    for (const record of recordsIn(bytes)) {
      const other = places.get(record)
      // What the neighbour has moved away, and can't put back as its name is taken, the agent takes for gone: there may be two of it.
      const isMoved = name.endsWith(HELD) || other?.endsWith(HELD) === true
      if (other !== undefined && !isMoved) losses.push(`record ${record} is in ${other} and in ${name}`)
      places.set(record, name)
    }
  }
  const missing: Array<number> = []
  for (let record = 0; record < written; record += 1) {
    if (!places.has(record) && !shipped.has(record)) missing.push(record)
  }
  if (missing.length > 0) losses.push(`${missing.length} records are missing: ${missing.slice(0, 20).join(", ")} …`)
  return { losses: losses.slice(0, 50), found }
}

const contentsOf = (path: string): Buffer => {
  const bytes = readFileSync(path)
  if (!/\.gz(\.held)?$/.test(path)) return bytes
  try {
    return gunzipSync(bytes, { maxOutputLength: MOST_READ_BYTES })
  } catch {
    return bytes
  }
}
