/**
 * What the tests on containerd have in common: one containerd for a file of tests, a writer in a pod, an agent beside it, each
 * cleaned up when its test ends, and their last words printed when it fails.
 */
import { closeSync, existsSync, fstatSync, mkdtempSync, openSync, readSync } from "node:fs"
import { dirname, join } from "node:path"
import { afterAll, beforeAll, expect, onTestFailed, onTestFinished } from "vitest"
import { account, FAULTLESS, filesOf } from "./account.ts"
import type { Account } from "./account.ts"
import { Agent } from "./agent.ts"
import type { Environment, Settings } from "./agent.ts"
import { Containerd } from "./containerd.ts"
import { eventually, Hopeless } from "./eventually.ts"
import { Pod } from "./kubelet.ts"
import type { RunningContainer } from "./kubelet.ts"
import { FaultProxy } from "./fault-proxy.ts"
import type { HeldCall } from "./fault-proxy.ts"
import { Gate, line, numberOf, writing } from "./writer.ts"
import type { Writing } from "./writer.ts"

const CONTAINERD_HOOK_MS = 300_000
/**
 * For what the agent does on its next pass or the one after, and for its start. Seconds, where the machine is the tests' own; but on one whose two
 * cores have thirty processes to run, a start alone takes half a minute.
 */
export const SOON_MS = 150_000

const MAX_BYTES = 1024 * 1024
/** Small enough to rotate often, and so many files that nothing is ever removed: then every line must be there. */
export const KEEP_ALL = { maxSize: "1Mi", maxFiles: 1000 }

/** A containerd for all tests of this group; it is there from the first hook on. */
export const sharedContainerd = (): (() => Containerd) => {
  let containerd: Containerd | undefined
  beforeAll(async () => {
    containerd = await Containerd.start()
  }, CONTAINERD_HOOK_MS)
  afterAll(async () => {
    await containerd?.close()
  }, CONTAINERD_HOOK_MS)
  return () => {
    if (containerd === undefined) throw new Error("containerd hasn't been started")
    return containerd
  }
}

export const podOf = async (containerd: Containerd, name: string): Promise<Pod> => {
  const pod = await Pod.run(containerd, name)
  onTestFinished(async () => {
    // A test that kills containerd may fail before it has started it again.
    if (!containerd.running) await containerd.resume()
    await pod.remove()
  }, CONTAINERD_HOOK_MS)
  return pod
}

export interface Writer {
  readonly container: RunningContainer
  readonly gate: Gate
  readonly writing: Writing
  /** The active file. */
  readonly log: string
}

export interface WriterOptions {
  /** Above 0: the same container anew, with a log of its own. */
  readonly restart?: number
  /** It writes nothing before its gate is released. */
  readonly held?: boolean
}

/** A container that writes. */
export const writerIn = async (
  containerd: Containerd,
  pod: Pod,
  name: string,
  what: Writing,
  { restart = 0, held: startsHeld = false }: WriterOptions = {},
): Promise<Writer> => {
  const gate = new Gate(containerd.scratch)
  if (startsHeld) gate.close()
  const container = await pod.start(name, writing(what), { gate: gate.folder, restart })
  return { container, gate, writing: what, log: container.log.path }
}

/**
 * A container that writes, crashes and is started anew, `0.log`, `1.log` and so on; the last one goes on. As a kubelet does, it keeps the last
 * one that crashed and removes those before it from the runtime; their logs stay in the pod's folder. `crashed` is told of each crash.
 */
export const crashLoop = async (
  containerd: Containerd,
  pod: Pod,
  name: string,
  what: Writing,
  crashes: number,
  crashed: (writer: Writer) => Promise<void>,
): Promise<ReadonlyArray<Writer>> => {
  const writers: Array<Writer> = []
  for (let restart = 0; restart <= crashes; restart++) {
    const writer = await writerIn(containerd, pod, name, what, { restart })
    writers.push(writer)
    if (restart === crashes) break
    await crashed(writer)
    await writer.container.stop()
    await writers.at(-2)?.container.remove()
  }
  return writers
}

const keepUntilTheEnd = (containerd: Containerd, agent: Agent): Agent => {
  onTestFailed(() => {
    console.error(`${agent.output()}\n\n${containerd.output()}`)
  })
  onTestFinished(async () => {
    if (agent.running) await agent.stop()
  }, CONTAINERD_HOOK_MS)
  return agent
}

/** `cordwood run` on containerd's socket, or on one that stands before it. */
export const agentOn = (
  containerd: Containerd,
  policy: Settings["policy"],
  settings: Partial<Omit<Settings, "policy">> = {},
): Agent =>
  keepUntilTheEnd(containerd, Agent.run(containerd.scratch, { socket: containerd.socket, ...settings, policy }))

/** `cordwood run` on a configuration as a user writes it. */
export const agentWith = (
  containerd: Containerd,
  yaml: (folder: string) => string,
  environment: Environment = {},
): Agent => {
  const folder = mkdtempSync(join(containerd.scratch, "agent-"))
  return keepUntilTheEnd(containerd, Agent.runWith(folder, yaml(folder), environment))
}

/** A proxy before containerd's socket, for calls that go wrong. */
export const proxyOf = async (containerd: Containerd): Promise<FaultProxy> => {
  const proxy = await FaultProxy.start(join(mkdtempSync(join(containerd.scratch, "p-")), "s"), containerd.socket)
  onTestFinished(() => proxy.close())
  return proxy
}

/** The same configuration once more, journal included, after `agent` has ended. */
export const agentAfter = (containerd: Containerd, agent: Agent): Agent => keepUntilTheEnd(containerd, agent.again())

export const segmentsOf = (log: string) => filesOf(log).filter(({ role }) => role === "segment")
/** An archive and its original, side by side for a moment, are one segment. */
export const segmentCount = (log: string): number => new Set(segmentsOf(log).map(({ stamp }) => stamp)).size

/** What the agent is to bring about soon. Not waited for any longer once it has ended; its output is told when it doesn't come. */
export const soon = <A>(
  agent: Agent,
  what: string,
  ask: () => A | undefined | false | Promise<A | undefined | false>,
  withinMs = SOON_MS,
): Promise<A> =>
  eventually({ what, withinMs, instead: () => agent.output() }, async () => {
    if (!agent.running) throw new Hopeless(agent.output())
    return await ask()
  })

/** Back when the agent has begun to watch these logs: from then on the clock is its own. */
export const watched = async (logs: string | ReadonlyArray<string>, agent: Agent): Promise<void> => {
  const all = [logs].flat()
  const isScanned = async (): Promise<boolean> => {
    const scanned = (await agent.events()).filter(({ type }) => type === "Scanned").map(({ log }) => log["path"])
    return all.every((path) => scanned.includes(path))
  }
  await soon(agent, `the first scans of ${all.join(", ")} in the journal`, isScanned)
}

/** Back when the log has at least so many segments. */
export const segmentsReach = async (log: string, count: number, agent: Agent, withinMs = SOON_MS): Promise<void> => {
  await soon(agent, `${count} segments of ${log}`, () => segmentCount(log) >= count, withinMs)
}

/** Catches a log between rename and reopen: its next rotation, with the call that asks the runtime to reopen held back. */
export const betweenRenameAndReopen = async (
  { log, container }: Writer,
  agent: Agent,
  proxy: FaultProxy,
): Promise<HeldCall> => {
  // An agent that has just started may find a rotation cut off, and complete that first.
  await soon(agent, `the active file ${log}`, () => existsSync(log))
  let call: HeldCall | undefined
  void proxy.hold("ReopenContainerLog", container.log.containerId).then((held) => {
    call = held
  })
  return await soon(agent, "a call that asks the runtime to reopen", () => call)
}

const lastBytes = (path: string, bytes: number): string => {
  const file = openSync(path, "r")
  try {
    const from = Math.max(0, fstatSync(file).size - bytes)
    const buffer = Buffer.alloc(bytes)
    return buffer.toString("latin1", 0, readSync(file, buffer, 0, bytes, from))
  } finally {
    closeSync(file)
  }
}

/** Back when line `number`, the last one that its writer has written, has come through containerd to the disk. */
export const onDisk = async ({ log, writing: { lineChars } }: Writer, number: number): Promise<void> => {
  const whole = line(number, lineChars)
  const beginning = whole.slice(0, whole.indexOf(" ", whole.indexOf(" ") + 1) + 1)
  await eventually({ what: `line ${number} in ${log}`, withinMs: SOON_MS }, () => {
    // The line may lie in the newest segment, or partly there, when the active file has just been cut.
    const newest = segmentsOf(log)
      .filter(({ compressed }) => !compressed)
      .slice(-1)
      .map(({ name }) => join(dirname(log), name))
    // In the middle of a rotation there is no active file.
    const files = existsSync(log) ? [...newest, log] : newest
    const tails = files.map((path) => lastBytes(path, 2 * lineChars + 1_000)).join("")
    return tails.includes(beginning) && tails.endsWith(`${whole.slice(-4)}\n`)
  })
}

/** Holds the writer; how many lines it has written, once the last of them is on disk. */
export const held = async (writer: Writer): Promise<number> => {
  const lines = await writer.gate.hold()
  await onDisk(writer, lines)
  return lines
}

/** Below maxSize; archives, behind them one plain segment, the newest; a stamp for each; no leftovers and nothing else. */
const isOrderly = (log: string, maxBytes = MAX_BYTES): boolean => {
  const files = filesOf(log)
  const stamps = segmentsOf(log).map(({ stamp }) => stamp)
  const kinds = files.map(({ role, compressed }) => (compressed ? "archive" : role)).join(" ")
  const active = files.find(({ role }) => role === "active")
  return (
    /^((archive )*segment )?active$/.test(kinds) &&
    stamps.length === new Set(stamps).size &&
    (active?.bytesOnDisk ?? 0) < maxBytes
  )
}

/** Of a container that has ended, nothing is plain but the file it wrote to last. */
export const isPacked = (log: string): boolean =>
  filesOf(log).every(({ role, compressed }) => compressed || role === "active")

/** Holds the writer and lets the agent do what is left to do; how many lines were written. */
export const atRest = async (writer: Writer, agent: Agent, maxBytes = MAX_BYTES): Promise<number> => {
  const lines = await held(writer)
  await soon(agent, `one plain segment of ${writer.log}, archives before it and no leftovers`, () =>
    isOrderly(writer.log, maxBytes),
  )
  return lines
}

/** The same after the agent has ended: it hasn't begun what it didn't finish. */
export const expectOrderly = ({ log }: Writer, maxBytes = MAX_BYTES): void => {
  const found = filesOf(log).map(({ name, bytesOnDisk }) => `${name}: ${bytesOnDisk} bytes`)
  expect(isOrderly(log, maxBytes) ? [] : found).toEqual([])
}

/** What must be so of a log of which nothing was removed, when its writer is held and its agent has ended. */
export const expectEveryLine = ({ log, writing: { lineChars } }: Writer, lines: number): Account => {
  const found = account(log, numberOf(lineChars), { from: 1, to: lines })
  const { faults, first, last, unfinished } = found
  expect({ faults, first, last, unfinished }).toEqual({ faults: FAULTLESS, first: 1, last: lines, unfinished: {} })
  return found
}
