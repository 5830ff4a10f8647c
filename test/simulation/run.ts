/**
 * Runs one scenario: the same one comes out the same way every time. Makes things happen, moves time on, and has the account look. What must hold is the
 * account's business, what happens the scenario's.
 */
import { evolve, initialState, type Log, type LogState, type Logs, type Source, SourceError } from "@cordwood/core"
import { type Fault, type Operation, World } from "@cordwood/core/testing"
import { Effect } from "effect"
import { Account, type Violation } from "./account.ts"
import { agentSubject } from "./agent-subject.ts"
import { Chance } from "./chance.ts"
import { type AppendCrash, KeptJournal } from "./kept-journal.ts"
import { Machine, Process } from "./machine.ts"
import type { Subject } from "./node.ts"
import { ObjectStore } from "./object-store.ts"
import { recordsIn } from "./records.ts"
import { type Container, type Happening, type Scenario, START_MS } from "./scenario.ts"

export interface Outcome {
  readonly violation: Violation | null
  /** What happened, a line each; empty unless it was asked for. */
  readonly story: ReadonlyArray<string>
  /** Milliseconds of virtual time, operations on the disk, rotations on record. */
  readonly virtualMs: number
  readonly operations: number
  readonly rotations: number
}
export interface RunOptions {
  readonly subject?: Subject
  readonly tellsStory?: boolean
}

/** An agent that was told to stop gets this long, as Kubernetes gives it, and is killed then. */
const STOP_MS = 30_000
/** A crash that an operation brings about is over after this long: a supervisor starts the agent again. */
const RESTART_MS = 700
/** The kernel writes back what nobody synced about this often. */
const WRITEBACK_MS = 6_000
/** What closes last once faults have stopped: pauses that doubled meanwhile, a guard's patience, a deadline of a reopening. */
const REST_MS = 200_000
const REST_INTERVALS = 12
/** Nothing is to happen for so many intervals in a row … */
const QUIET_INTERVALS = 3
/** A codec writes no more than this beside the file that it makes smaller: what it takes to compress the largest is left free at the end. */
const CODEC_BYTES = 100
/** … after this long. */
const SETTLE_MS = 6_000
/** What is looked at in between is looked at this often at the least. */
const ROTATED_WITHIN_MS = 1_700
const ENOUGH_BYTES = 2 ** 40
const HOUR_MS = 3_600_000

const MUTATING: ReadonlySet<string> = new Set(["setAside", "putBack", "remove", "compress"])

interface Writer {
  readonly container: Container
  /** Counts restarts: `0.log`, `1.log` … */
  instance: number
  path: string
  readonly tag: string
  /** The logs that its earlier lives left, the earliest first. */
  ended: Array<{ readonly instance: number; readonly path: string }>
  written: number
  isRunning: boolean
  hasVanished: boolean
  /** Counts starts, so that what belonged to an earlier one comes to nothing. */
  life: number
  /** Since when the active file has been full, and which one it is. */
  full: { readonly identity: string; readonly sinceMs: number } | null
}
interface Arm {
  readonly operation: string
  readonly trouble: Extract<Happening, { readonly _tag: "Trouble" }>["trouble"]
  readonly reason: Extract<Happening, { readonly _tag: "Trouble" }>["reason"]
  left: number
}

const utf8 = new TextEncoder()

export const run = async (scenario: Scenario, options: RunOptions = {}): Promise<Outcome> =>
  new Simulation(scenario, options).run()

class Simulation {
  readonly #scenario: Scenario
  readonly #subject: Subject
  readonly #machine: Machine
  readonly #world = new World()
  readonly #chance: Chance
  readonly #store: ObjectStore | null
  readonly #journal: KeptJournal
  readonly #account: Account
  readonly #writers: ReadonlyArray<Writer>
  readonly #story: Array<string> = []
  readonly #tells: boolean
  readonly #arms: Array<Arm> = []
  #process: Process | null = null
  #stop: (() => void) | null = null
  #incarnation = 0
  #ids = 0
  #capacity = ENOUGH_BYTES
  #zoneMs = 2 * HOUR_MS
  #isReadOnly = false
  #isRuntimeDown = false
  #actor: "agent" | "others" = "agent"
  #hangs = false
  #isStopping = false
  #isPowerOff = false
  #faultsAreOver = false
  #operations = 0
  #mutations = 0

  constructor(scenario: Scenario, { subject = agentSubject, tellsStory = false }: RunOptions) {
    this.#scenario = scenario
    this.#subject = subject
    this.#tells = tellsStory
    this.#chance = new Chance(scenario.seed ^ 0x5eed)
    const machine = new Machine(START_MS, new Chance(scenario.seed ^ 0xd1ce))
    this.#machine = machine
    this.#store =
      scenario.shipping === null
        ? null
        : new ObjectStore(scenario.shipping, {
            after: (waitMs, run) => machine.after(waitMs, run),
            nowMs: () => machine.nowMs,
            chance: new Chance(scenario.seed ^ 0x53),
            crash: () => this.#world.crash(),
            tell: (what) => this.#tell("store", what),
          })
    const world = this.#world
    this.#journal = new KeptJournal({
      incarnation: () => world.incarnation,
      nowMs: () => this.#machine.nowMs,
      crashAt: () => this.#crashAtAppend(),
      crash: () => world.crash(),
      stored: (entry) => {
        this.#account.told(entry)
        this.#tell("event", () => `${entry.event.type} ${told(entry.event.data)}`)
      },
    })
    this.#account = new Account({
      world,
      maxFiles: scenario.policy.maxFiles,
      store: this.#store,
      incarnation: () => world.incarnation,
      suffix: scenario.policy.compression === "none" ? null : ".packed",
      keepStopped: scenario.policy.keepStopped,
      maxTotal: scenario.policy.maxTotal ?? {},
      pressure: scenario.policy.pressure ?? null,
      nowMs: () => this.#machine.nowMs,
      wallMs: () => this.#machine.wallMs,
      listedWithinMs: scenario.intervalMs + 1_000,
      inOrder:
        subject.keepsRecords &&
        scenario.shipping === null &&
        scenario.slowestMs === 0 &&
        scenario.happenings.every(({ _tag }) => _tag === "ContainerRestart" || _tag === "ContainerStop"),
      isEarly: scenario.shipping?.early === true,
      slowestMs: scenario.slowestMs,
    })
    world.onChange((change) => this.#account.changed(change, this.#actor))
    world.faults = (operation, path) => this.#fault(operation, path)
    world.latencyMs = () => this.#latency()
    this.#writers = scenario.containers.map((container, at) => ({
      container,
      instance: -1,
      path: "",
      tag: String.fromCharCode("a".charCodeAt(0) + at),
      ended: [],
      written: 0,
      isRunning: false,
      hasVanished: false,
      life: 0,
      full: null,
    }))
    this.#machine.between = () => this.#between()
    this.#refill()
  }

  async run(): Promise<Outcome> {
    const { durationMs, happenings, intervalMs } = this.#scenario
    for (const writer of this.#writers) this.#startContainer(writer)
    this.#world.sync()
    this.#startAgent()
    for (const happening of happenings) this.#machine.after(happening.atMs, () => this.#happen(happening))
    this.#every(Math.max(1_000, intervalMs), () => this.#account.check())
    this.#every(WRITEBACK_MS, () => {
      if (this.#chance.percent(50)) this.#world.sync()
    })
    await this.#machine.runUntil(durationMs, () => this.#isOver)
    if (!this.#isOver) await this.#rest()
    const [violation = null] = this.#account.violations
    if (violation !== null) this.#tell("broken", () => `${violation.guarantee}: ${violation.log}: ${violation.detail}`)
    this.#process?.kill()
    const rotations = this.#journal.entries.filter(({ event }) => event.type === "Rotated").length
    const { nowMs: virtualMs } = this.#machine
    return { violation, story: this.#story, virtualMs, operations: this.#operations, rotations }
  }

  get #isOver(): boolean {
    return this.#account.violations.length > 0
  }
  #every(periodMs: number, run: () => void): void {
    this.#machine.after(periodMs, () => {
      run()
      this.#every(periodMs, run)
    })
  }
  #tell(who: string, what: () => string): void {
    if (!this.#tells) return
    const seconds = (this.#machine.nowMs / 1_000).toFixed(3).padStart(8)
    this.#story.push(`${seconds}  ${who.padEnd(9)} ${what()}`)
  }
  #others<A>(act: () => A): A {
    const before = this.#actor
    this.#actor = "others"
    try {
      return act()
    } finally {
      this.#actor = before
    }
  }

  /** Faults are over: everything is to come to rest, and then nothing is to happen any more. */
  async #rest(): Promise<void> {
    const { intervalMs, policy } = this.#scenario
    const machine = this.#machine
    this.#account.check()
    this.#liftFaults()
    const running = this.#writers.filter(({ isRunning }) => isRunning)
    const stopped = [...(this.#logs().stopped ?? [])]
    const untilMs = machine.nowMs + REST_MS + REST_INTERVALS * intervalMs
    const unrest = (): string | null => {
      for (const writer of running) {
        const isHome = this.#world.writerIsHome(writer.path)
        const found = this.#account.unrest(writer.path, policy.maxSize, isHome)
        if (found !== null) return `${writer.path}: ${found}`
      }
      if (!this.#subject.keepsRecords) return null
      for (const path of stopped) {
        const found = this.#account.unrestOfStopped(path, stopped)
        if (found !== null) return `${path}: ${found}`
      }
      return this.#account.unrestOfShared()
    }
    let found = unrest()
    let unbalanced: Violation | null = null
    do {
      await machine.runUntil(machine.nowMs + intervalMs, () => this.#isOver)
      this.#account.check()
      found = unrest()
      if (found === null && this.#subject.keepsRecords) unbalanced = await this.#unbalanced()
    } while ((found !== null || unbalanced !== null) && machine.nowMs < untilMs && !this.#isOver)
    if (this.#isOver) return
    if (found !== null) {
      this.#account.breaks({
        guarantee: "once faults stop, everything is rotated, compressed, shipped and trimmed",
        log: found.slice(0, found.indexOf(":")),
        detail: `${found.slice(found.indexOf(":") + 2)}, ${Math.round((machine.nowMs - this.#scenario.durationMs) / 1_000)} s later`,
      })
      return
    }
    if (!this.#subject.keepsRecords) return
    if (unbalanced !== null) return this.#account.breaks(unbalanced)
    const { entries } = this.#journal
    let [stored, mutations] = [-1, -1]
    // A directory that has changed lately is looked at again.
    for (let settleMs = SETTLE_MS; entries.length !== stored || this.#mutations !== mutations; settleMs = 0) {
      if (machine.nowMs >= untilMs + SETTLE_MS) {
        const detail = `something happens at every pass, the last time ${told(entries.at(-1)?.event)}`
        return this.#account.breaks({ guarantee: "a pass with nothing to do writes nothing", log: "", detail })
      }
      await machine.runUntil(machine.nowMs + settleMs, () => this.#isOver)
      ;[stored, mutations] = [entries.length, this.#mutations]
      await machine.runUntil(machine.nowMs + QUIET_INTERVALS * intervalMs, () => this.#isOver)
      if (this.#isOver) return
    }
    this.#account.check()
    const paths = new Set(this.#logs().logs.map(({ path }) => path))
    this.#account.checkRecords(entries, { generation: this.#journal.generation, listed: paths })
    if (this.#isOver) return
    unbalanced = await this.#unbalanced()
    if (unbalanced !== null) this.#account.breaks(unbalanced)
  }

  /** Where the fold of the journal, by core's own `evolve`, isn't what lies on the disk; null: nowhere. */
  async #unbalanced(): Promise<Violation | null> {
    const { replay } = this.#journal
    const states = new Map<string, LogState>()
    for (const decoded of replay === null ? [] : await Effect.runPromise(replay)) {
      if (decoded._tag !== "Known") continue
      const { path } = decoded.event.log
      states.set(path, evolve(states.get(path) ?? initialState, decoded.event))
    }
    for (const { path } of this.#logs().logs) {
      // A plain segment may have grown since; a compressed one can't have.
      const sizes = (files: ReadonlyMap<string, number>): string =>
        [...files]
          .map(([name, bytes]) => (name.endsWith(".packed") ? `${name} ${bytes}` : name))
          .toSorted()
          .join(", ")
      const onDisk = sizes(this.#account.filesOf(path))
      const files = states.get(path)?.files ?? null
      const inBooks = files === null ? "never scanned" : sizes(files)
      if (inBooks === onDisk) continue
      const detail = `the disk has ${onDisk || "nothing"}; the journal has ${inBooks || "nothing"}`
      return { guarantee: "what the journal adds up to is what is on the disk", log: path, detail }
    }
    return null
  }

  #liftFaults(): void {
    this.#tell("world", () => "faults are over, and the writers pause")
    this.#faultsAreOver = true
    this.#arms.length = 0
    this.#refill()
    const largest = Math.max(0, ...this.#world.paths().map((path) => this.#world.read(path)?.length ?? 0))
    this.#capacity += Math.max(0, largest + CODEC_BYTES - this.#world.freeBytes)
    this.#world.resize(this.#capacity)
    this.#isReadOnly = false
    this.#isRuntimeDown = false
    this.#journal.mood = "well"
    this.#store?.heal()
    if (this.#isPowerOff) this.#powerOn()
    // What hangs in the kernel hangs until the machine, or at least the program, is started anew.
    if (this.#hangs) this.#kill(0, "killed, as it hangs")
    if (this.#process === null) this.#startAgent()
  }

  #startAgent(): void {
    if (this.#process !== null || this.#isPowerOff || this.#isOver) return
    const world = this.#world
    this.#incarnation = world.incarnation
    this.#isStopping = false
    this.#account.agentBegan({ readsJournal: this.#journal.mood !== "unopenable" })
    this.#tell("agent", () => `starts, number ${world.incarnation}`)
    const process = new Process(this.#machine, (line) => {
      this.#tell("says", () => line)
      if (line.includes("a bug in the agent")) {
        this.#account.breaks({ guarantee: "the agent has no bug that it knows of", log: "", detail: line })
      }
    })
    this.#process = process
    const { stop } = process.run(
      this.#subject.run({
        world,
        scenario: this.#scenario,
        journal: this.#journal,
        store: this.#store,
        source: () => this.#source(),
        foundFree: (bytes) => this.#account.foundFree(bytes),
        localMs: () => this.#machine.wallMs + this.#zoneMs,
        isDead: () => !process.isAlive,
        newId: () => `00000000-0000-4000-8000-${String((this.#ids += 1)).padStart(12, "0")}`,
      }),
      (ok, cause) => this.#agentEnded(process, ok, cause),
    )
    this.#stop = stop
  }
  #agentEnded(process: Process, ok: boolean, cause: unknown): void {
    if (this.#process !== process) return
    const isOnce = this.#scenario.mode === "once"
    this.#tell("agent", () => (ok ? "is done" : this.#isStopping ? "has stopped" : `has failed: ${String(cause)}`))
    if (!this.#isStopping && !(isOnce && ok)) {
      this.#account.breaks({ guarantee: "the agent has no bug that it knows of", log: "", detail: String(cause) })
      return
    }
    const wasStopping = this.#isStopping
    this.#endProcess()
    const waitMs = wasStopping ? this.#downMs : this.#scenario.intervalMs
    this.#machine.after(this.#faultsAreOver && wasStopping ? 0 : waitMs, () => this.#startAgent())
  }
  #downMs = 0
  /** The agent that ran is no more; the next one is another incarnation. */
  #endProcess(): void {
    this.#process?.kill()
    this.#process = null
    this.#stop = null
    this.#hangs = false
    if (this.#world.incarnation === this.#incarnation) this.#world.crash()
  }
  #kill(downMs: number, how: string): void {
    if (this.#process === null) return
    this.#tell("agent", () => how)
    this.#endProcess()
    this.#machine.after(this.#faultsAreOver ? 0 : downMs, () => this.#startAgent())
  }
  /** Between any two tasks: has an operation been the agent's last? */
  #between(): void {
    if (this.#process !== null && this.#world.incarnation !== this.#incarnation) this.#kill(RESTART_MS, "dies there")
  }

  #latency(): number {
    const { slowestMs } = this.#scenario
    if (slowestMs === 0) return 0
    // Mostly quick; now and then as slow as can be.
    const share = this.#chance.next()
    return Math.floor(share * share * share * share * slowestMs)
  }

  #take(operation: string, isFit: (arm: Arm) => boolean = () => true): Arm | null {
    const arm = this.#arms.find((one) => one.operation === operation && one.left > 0 && isFit(one))
    if (arm === undefined) return null
    arm.left -= 1
    return arm
  }
  #fault(operation: Operation, path: string): Fault {
    this.#operations += 1
    const world = this.#world
    const fault = this.#faultAt(operation, path)
    if (MUTATING.has(operation)) this.#mutations += 1
    const isQuiet = fault === null && (operation === "sourceList" || operation === "free")
    if (!isQuiet) {
      this.#tell("agent", () => {
        const reason = fault === "before" || fault === "after" ? ` (${world.failReason})` : ""
        return `${operation} ${path}${fault === null ? "" : `  <- ${fault}${reason}`}`
      })
    }
    return fault
  }
  #faultAt(operation: Operation, path: string): Fault {
    const world = this.#world
    const isAbout = (...operations: ReadonlyArray<Operation>): boolean => operations.includes(operation)
    if (this.#isRuntimeDown && isAbout("sourceList", "reopen")) return "before"
    if (this.#isReadOnly && !isAbout("sourceList", "list", "matches", "free")) {
      world.failReason = "ReadOnly"
      return "before"
    }
    if (operation === "compress.write" && this.#subject.minds) {
      const source = world.read(path.replace(/\.tmp$/, ""))?.length ?? 0
      if (world.freeBytes < source / 2 + 32) {
        world.failReason = "NoSpace"
        return "before"
      }
    }
    const arm = this.#take(operation, ({ trouble }) => trouble !== "silent")
    if (arm === null || arm.trouble === "silent") return null
    world.failReason = arm.reason
    if (arm.trouble === "hang" && operation !== "reopen" && operation !== "sourceList") this.#hangs = true
    return arm.trouble
  }
  #crashAtAppend(): AppendCrash {
    const arm = this.#take("journal.append")
    if (arm === null) return null
    this.#tell("agent", () => `append  <- ${arm.trouble}`)
    return arm.trouble === "crash-before" || arm.trouble === "crash-after" ? arm.trouble : null
  }

  /** The runtime names those that run, and those that have ended; what it has forgotten is found where its files lie. */
  #logs(): Logs {
    const logs: Array<Log> = []
    const stopped = new Set<string>()
    for (const { container, ended, hasVanished, instance, isRunning, path } of this.#writers) {
      const { name } = container
      const { isOnePod, forgets } = this.#scenario
      const pod = isOnePod
        ? { pod: "all", podUid: "all", container: name }
        : { pod: name, podUid: `uid-${name}`, container: "app" }
      if (isRunning) logs.push({ path, ...pod, containerId: `${name}-${instance}` })
      if (hasVanished) continue
      for (const [at, life] of ended.entries()) {
        const isForgotten = forgets && at < ended.length - 1
        if (isForgotten && !this.#account.hasFiles(life.path)) continue
        stopped.add(life.path)
        logs.push({
          path: life.path,
          ...pod,
          ...(isForgotten ? {} : { containerId: `${name}-${life.instance}` }),
        })
      }
    }
    return { logs, stopped, problems: [] }
  }
  #source(): Source {
    const { reopenLimitMs } = this.#scenario
    let stopped: ReadonlySet<string> = new Set()
    const inner = this.#world.source(
      () => {
        const found = this.#logs()
        stopped = found.stopped ?? stopped
        return found.logs
      },
      (path, nowMs) => {
        // It may have ended while the runtime was at it.
        if (!this.#writers.some((one) => one.isRunning && one.path === path)) throw refused(path)
        this.#reopen(path, nowMs)
      },
    )
    const late = (op: "list" | "reopen", target: string): SourceError =>
      new SourceError({ source: "world", op, target, reason: "DeadlineExceeded", detail: "no answer", hint: "none" })
    const refused = (target: string): SourceError =>
      new SourceError({
        source: "world",
        op: "reopen",
        target,
        reason: "Refused",
        detail: "it has exited",
        hint: "none",
      })
    return {
      name: "world",
      list: Effect.timeoutOrElse(
        Effect.map(inner.list, (list) => ({ ...list, stopped })),
        {
          duration: LIST_LIMIT_MS,
          orElse: () => Effect.fail(late("list", "world")),
        },
      ),
      reopen: (log) =>
        Effect.suspend(() => {
          const writer = this.#writers.find(({ isRunning, path }) => isRunning && path === log.path)
          if (writer === undefined) return Effect.fail(refused(log.path))
          if (this.#take("reopen", ({ trouble }) => trouble === "silent") !== null) {
            this.#tell("agent", () => `reopen ${log.path}  <- silent`)
            return Effect.never
          }
          return Effect.catchDefect(inner.reopen(log), (defect) =>
            defect instanceof SourceError ? Effect.fail(defect) : Effect.die(defect),
          )
        }).pipe(Effect.timeoutOrElse({ duration: reopenLimitMs, orElse: () => Effect.fail(late("reopen", log.path)) })),
    }
  }

  /** What the runtime does when it is told: the file is there when it answers, but its writer may be late. */
  #reopen(path: string, nowMs: number): void {
    const writer = this.#writers.find((one) => one.path === path)
    const world = this.#world
    this.#others(() => {
      if (writer === undefined || writer.container.reopens === "prompt") return world.openWriter(path, nowMs)
      if (world.attributesOf(path) === undefined) world.put(path, new Uint8Array(), { modifiedMs: nowMs })
      const { life } = writer
      this.#machine.after(writer.container.lateMs, () => {
        if (writer.life === life) this.#others(() => world.openWriter(path, this.#machine.wallMs))
      })
    })
  }

  #startContainer(writer: Writer): void {
    const { container } = writer
    writer.instance += 1
    writer.path = `/pods/ns_${container.name}_uid/app/${writer.instance}.log`
    writer.written = 0
    writer.isRunning = true
    writer.life += 1
    writer.full = null
    this.#tell("runtime", () => `starts the container ${container.name}, which writes ${writer.path}`)
    const pod = this.#scenario.isOnePod ? "all" : container.name
    this.#account.begin(writer.path, { container: container.name, pod, attempt: writer.instance })
    this.#others(() => this.#world.openWriter(writer.path, this.#machine.wallMs))
    this.#tick(writer, writer.life)
  }
  #endContainer(writer: Writer): void {
    writer.isRunning = false
    writer.life += 1
    writer.ended.push({ instance: writer.instance, path: writer.path })
    this.#account.ended(writer.path)
  }

  #tick(writer: Writer, life: number): void {
    if (writer.life !== life || !writer.isRunning || this.#faultsAreOver || this.#isOver) return
    const { nowMs } = this.#machine
    const { speeds } = writer.container
    const speed = speeds.findLast(({ fromMs }) => fromMs <= nowMs) ?? { everyMs: 60_000, records: 0 }
    const nextSpeedMs = speeds.find(({ fromMs }) => fromMs > nowMs)?.fromMs ?? Infinity
    if (speed.records > 0) this.#write(writer, speed.records)
    this.#machine.after(Math.min(speed.everyMs, nextSpeedMs - nowMs), () => this.#tick(writer, life))
  }
  #write(writer: Writer, records: number): void {
    const room = this.#isReadOnly ? 0 : this.#world.freeBytes
    const wanted = RECORD * (Math.floor(writer.written / RECORD) + records) - writer.written
    const bytes = Math.min(wanted, room)
    if (bytes <= 0) return
    const text = recordsIn(writer.tag, writer.written, writer.written + bytes)
    this.#others(() => this.#world.write(writer.path, utf8.encode(text), this.#machine.wallMs))
    writer.written += bytes
    this.#account.wrote(writer.path, text)
    this.#tell("writer", () => `${writer.path} +${bytes} bytes, up to ${writer.written}`)
    this.#checkPace(writer)
  }
  /** On a node where nothing fails and nothing takes time, a file that is full is rotated soon. */
  #checkPace(writer: Writer): void {
    const { happenings, mode, policy, slowestMs } = this.#scenario
    if (happenings.length > 0 || slowestMs > 0 || mode === "once" || !this.#subject.keepsRecords) return
    const { nowMs } = this.#machine
    const isFull = (this.#world.read(writer.path)?.length ?? 0) >= policy.maxSize
    const identity = this.#world.identityOf(writer.path) ?? ""
    if (!isFull) writer.full = null
    else if (writer.full?.identity !== identity) writer.full = { identity, sinceMs: nowMs }
    if (writer.full === null || nowMs - writer.full.sinceMs < ROTATED_WITHIN_MS) return
    const detail = `it has been full for ${nowMs - writer.full.sinceMs} ms`
    this.#account.breaks({ guarantee: "an active file is rotated in time", log: writer.path, detail })
  }

  #refill(): void {
    this.#capacity = this.#scenario.capacityBytes ?? ENOUGH_BYTES
    this.#world.resize(this.#capacity)
  }
  /** Some seconds later something is over, unless all faults are by then. */
  #later(forMs: number, what: string, end: () => void): void {
    this.#machine.after(forMs, () => {
      if (this.#faultsAreOver) return
      this.#tell("world", () => what)
      end()
    })
  }

  #happen(happening: Happening): void {
    if (this.#isOver) return
    this.#tell("world", () => told(happening))
    switch (happening._tag) {
      case "Trouble": {
        const { operation, reason, times, trouble } = happening
        this.#arms.push({ operation, trouble, reason, left: times })
        break
      }
      case "Kill":
        this.#kill(happening.downMs, "killed")
        break
      case "Stop":
        this.#stopAgent(happening.downMs)
        break
      case "PowerCut":
        this.#cutPower(happening.downMs, happening.chance)
        break
      case "ClockStep":
        this.#machine.wallAheadMs += happening.stepMs
        break
      case "DaylightSaving":
        this.#zoneMs += happening.isOver ? -HOUR_MS : HOUR_MS
        break
      case "DiskFull": {
        const { forMs, leftBytes } = happening
        this.#capacity = this.#capacity - this.#world.freeBytes + leftBytes
        this.#world.resize(this.#capacity)
        this.#later(forMs, "there is room again", () => {
          this.#refill()
        })
        break
      }
      case "ReadOnly":
        this.#isReadOnly = true
        this.#later(happening.forMs, "the disk can be written again", () => {
          this.#isReadOnly = false
        })
        break
      case "Journal":
        this.#journal.mood = happening.mood
        this.#later(happening.forMs, "the journal is well", () => {
          this.#journal.mood = "well"
        })
        break
      case "JournalLost":
        this.#journal.lose(happening)
        this.#account.journalLost()
        // One that isn't noticed was lost while nobody had it open.
        if (!happening.isNoticed) this.#kill(0, "killed, and its journal is gone")
        break
      case "Store":
        if (this.#store === null) break
        this.#store.mood = happening.mood
        this.#later(happening.forMs, "the store is well", () => {
          if (this.#store !== null) this.#store.mood = "well"
        })
        break
      case "StoreBlow":
        this.#store?.strike(happening)
        break
      case "StoreEmptied":
        this.#store?.empty()
        break
      case "RuntimeDown":
        this.#isRuntimeDown = true
        this.#later(happening.forMs, "the runtime answers", () => {
          this.#isRuntimeDown = false
        })
        break
      default:
        this.#happenTo(happening)
    }
    this.#account.check()
  }

  #happenTo(happening: Extract<Happening, { readonly name: string }>): void {
    const writer = this.#writers.find(({ container }) => container.name === happening.name)
    if (writer === undefined || !writer.isRunning) return
    const { path } = writer
    const directory = path.slice(0, path.lastIndexOf("/"))
    const nowMs = this.#machine.wallMs
    const world = this.#world
    switch (happening._tag) {
      case "ContainerRestart":
        this.#endContainer(writer)
        this.#machine.after(happening.downMs, () => {
          if (!writer.hasVanished && !this.#faultsAreOver && !this.#isPowerOff) this.#startContainer(writer)
        })
        break
      case "ContainerStop":
        this.#endContainer(writer)
        break
      case "ContainerVanish":
        this.#endContainer(writer)
        writer.hasVanished = true
        this.#account.vanished(directory)
        this.#others(() => world.removeDirectory(directory, nowMs))
        break
      case "Foreign": {
        const foreign = `${path}.${FOREIGN_NAMES[happening.what]}`
        if (world.attributesOf(foreign) !== undefined) break
        const kinds = { link: "symlink", directory: "directory", pipe: "other" } as const
        const kind = happening.what in kinds ? kinds[happening.what as keyof typeof kinds] : "file"
        const content = kind === "directory" ? "" : "somebody else's"
        this.#others(() => world.put(foreign, utf8.encode(content), { kind, modifiedMs: nowMs }))
        this.#account.foreign(foreign)
        break
      }
      case "Taken": {
        // What its writer still holds, nobody takes.
        if (!world.writerIsHome(path)) break
        const segments = world
          .namesIn(directory)
          .filter((name) => /^\d+\.log\.\d{8}-\d{6}(\.packed)?$/.test(name))
          .filter((name) => world.attributesOf(`${directory}/${name}`)?.kind === "file")
        const [oldest] = segments
        // Without the newest, which may be named for later than now, the next one is named for now: in order of what there is, but not of what there was.
        if (oldest === undefined || segments.length < 2) break
        this.#tell("others", () => `remove ${directory}/${oldest}`)
        this.#others(() => world.unlink(`${directory}/${oldest}`, nowMs))
        break
      }
    }
  }

  #stopAgent(downMs: number): void {
    const process = this.#process
    if (process === null || this.#isStopping) return
    this.#tell("agent", () => "is told to stop")
    this.#isStopping = true
    this.#downMs = downMs
    this.#stop?.()
    this.#machine.after(STOP_MS, () => {
      if (this.#process === process) this.#kill(downMs, "hasn't stopped, and is killed")
    })
  }

  #cutPower(downMs: number, seed: number): void {
    if (this.#isPowerOff) return
    const chance = new Chance(seed)
    this.#isPowerOff = true
    this.#endProcess()
    for (const writer of this.#writers) if (writer.isRunning) writer.life += 1
    this.#account.beforePowerCut()
    this.#others(() => this.#world.cutPower((below) => chance.below(below)))
    this.#account.afterPowerCut()
    this.#tell("disk", () => `is left with ${this.#world.paths().join(" ")}`)
    this.#machine.after(downMs, () => {
      if (this.#isPowerOff) this.#powerOn()
    })
  }
  #powerOn(): void {
    this.#tell("world", () => "the power is back")
    this.#isPowerOff = false
    for (const writer of this.#writers) {
      if (!writer.isRunning) continue
      // Whoever wrote the log goes on with it.
      this.#others(() => this.#world.openWriter(writer.path, this.#machine.wallMs))
      this.#tick(writer, writer.life)
    }
    this.#startAgent()
  }
}

const RECORD = 8
const LIST_LIMIT_MS = 5_000

/** What is put beside a log that isn't its agent's business. */
const FOREIGN_NAMES = {
  backup: "backup",
  "unknown-suffix": "20260101-000000.zip",
  future: "20270101-000000.zip",
  link: "20260102-000000",
  directory: "20260103-000000",
  pipe: "20260104-000000.packed",
} as const

const told = (value: unknown): string =>
  JSON.stringify(value, (key, inner: unknown) => (key === "traceId" || key === "spanId" ? undefined : inner)) ?? ""
