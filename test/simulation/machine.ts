/**
 * The computer that a simulation runs on: one processor, a clock that never goes back and a time of day that may, and processes that can be killed
 * between any two of their instructions. Time passes only here, and only when there is nothing left to do now. Knows nothing of logs.
 */
import { Clock, Context, Duration, Effect, Logger, Random, References, Scheduler } from "effect"
import type { Chance } from "./chance.ts"

interface Timer {
  readonly atMs: number
  readonly order: number
  readonly owner: Process | null
  readonly run: () => void
  isOff: boolean
}

/** Tasks run in a row at one moment of virtual time; more is an endless loop. */
const MOST_TASKS = 1_000_000

export class Machine {
  #nowMs = 0
  #order = 0
  /** A binary heap, the earliest first. */
  readonly #timers: Array<Timer> = []
  readonly #ready: Array<{ readonly process: Process; readonly task: () => void }> = []
  /** The time of day is so much later than the clock that never goes back. */
  wallAheadMs: number
  /** Called between any two tasks. */
  between: () => void = () => undefined

  /** What its programs draw by lot. */
  readonly chance: Chance

  constructor(startMs: number, chance: Chance) {
    this.wallAheadMs = startMs
    this.chance = chance
  }
  get nowMs(): number {
    return this.#nowMs
  }
  get wallMs(): number {
    return this.#nowMs + this.wallAheadMs
  }

  /** Runs `run` after so many milliseconds; returns what cancels it. A dead process's timers never go off. */
  after(waitMs: number, run: () => void, owner: Process | null = null): () => void {
    this.#order += 1
    const timer: Timer = { atMs: this.#nowMs + Math.max(0, waitMs), order: this.#order, owner, run, isOff: false }
    this.#push(timer)
    return () => {
      timer.isOff = true
    }
  }
  enqueue(process: Process, task: () => void): void {
    if (process.isAlive) this.#ready.push({ process, task })
  }

  /** Lets time pass until a moment, or until `isOver` says so. */
  async runUntil(atMs: number, isOver: () => boolean = () => false): Promise<void> {
    await this.#settle()
    for (let next = this.#peek(); next !== undefined && next.atMs <= atMs && !isOver(); next = this.#peek()) {
      this.#nowMs = Math.max(this.#nowMs, next.atMs)
      this.#pop()
      next.run()
      this.between()
      await this.#settle()
    }
    if (!isOver()) this.#nowMs = Math.max(this.#nowMs, atMs)
  }

  /** Does all that can be done now. Native promises, which codecs are made of, are all done once the event loop comes around. */
  async #settle(): Promise<void> {
    for (let tasks = 0; ;) {
      for (let at = 0; at < this.#ready.length; at += 1) {
        const { process, task } = this.#ready[at] as { readonly process: Process; readonly task: () => void }
        if (process.isAlive) task()
        this.between()
        tasks += 1
        if (tasks > MOST_TASKS) throw new Error(`an endless loop at ${this.#nowMs} ms`)
      }
      this.#ready.length = 0
      await new Promise((resolve) => setImmediate(resolve))
      this.between()
      if (this.#ready.length === 0) return
    }
  }

  #isBefore(a: Timer, b: Timer): boolean {
    return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
  }
  #peek(): Timer | undefined {
    for (let first = this.#timers[0]; first !== undefined; first = this.#timers[0]) {
      if (!first.isOff && first.owner?.isAlive !== false) return first
      this.#pop()
    }
    return undefined
  }
  #push(timer: Timer): void {
    const heap = this.#timers
    let at = heap.length
    heap.push(timer)
    while (at > 0) {
      const parent = (at - 1) >> 1
      const above = heap[parent] as Timer
      if (!this.#isBefore(timer, above)) break
      heap[at] = above
      at = parent
    }
    heap[at] = timer
  }
  #pop(): void {
    const heap = this.#timers
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && this.#isBefore(heap[child + 1] as Timer, heap[child] as Timer)) child += 1
      const below = heap[child] as Timer
      if (!this.#isBefore(below, last)) break
      heap[at] = below
      at = child
    }
    heap[at] = last
  }
}

/** Operations after which a fiber lets others run, as in the real scheduler. */
const OPERATIONS_IN_A_ROW = 2_048

/** A program on the machine. Once it is killed nothing of it runs any more, not even what would tidy up. */
export class Process {
  readonly #machine: Machine
  readonly #log: (line: string) => void
  isAlive = true

  constructor(machine: Machine, log: (line: string) => void) {
    this.#machine = machine
    this.#log = log
  }
  kill(): void {
    this.isAlive = false
  }

  /** Runs an effect in this process; `ended` is told of its end, if it comes to that. */
  run<A, E>(effect: Effect.Effect<A, E>, ended: (ok: boolean, cause: unknown) => void): { readonly stop: () => void } {
    const fiber = Effect.runForkWith(this.#context())(effect)
    fiber.addObserver((exit) => {
      if (this.isAlive) ended(exit._tag === "Success", exit._tag === "Failure" ? exit.cause : null)
    })
    return { stop: () => fiber.interruptUnsafe() }
  }

  #context(): Context.Context<never> {
    const machine = this.#machine
    const isDead = (): boolean => !this.isAlive
    const scheduler: Scheduler.Scheduler = {
      executionMode: "async",
      // What a promise resumes in a dead process gets no further than this.
      shouldYield: (fiber) => isDead() || fiber.currentOpCount >= OPERATIONS_IN_A_ROW,
      makeDispatcher: () => ({ scheduleTask: (task) => machine.enqueue(this, task), flush: () => undefined }),
    }
    const clock: Clock.Clock = {
      currentTimeMillisUnsafe: () => machine.wallMs,
      currentTimeMillis: Effect.sync(() => machine.wallMs),
      currentTimeNanosUnsafe: () => BigInt(machine.wallMs) * 1_000_000n,
      currentTimeNanos: Effect.sync(() => BigInt(machine.wallMs) * 1_000_000n),
      monotonicTimeNanosUnsafe: () => BigInt(machine.nowMs) * 1_000_000n,
      monotonicTimeNanos: Effect.sync(() => BigInt(machine.nowMs) * 1_000_000n),
      sleep: (duration) => {
        const waitMs = Math.ceil(Duration.toMillis(duration))
        if (waitMs <= 0) return Effect.yieldNow
        if (!Number.isFinite(waitMs)) return Effect.never
        return Effect.callback<void>((resume) => {
          const cancel = machine.after(waitMs, () => resume(Effect.void), this)
          return Effect.sync(cancel)
        })
      },
    }
    const random: Random.Random = {
      nextIntUnsafe: () => Math.floor((machine.chance.next() * 2 - 1) * Number.MAX_SAFE_INTEGER),
      nextDoubleUnsafe: () => machine.chance.next(),
    }
    const logger = Logger.make<unknown, void>(({ logLevel, message }) => {
      this.#log(`${logLevel.toLowerCase()}: ${(Array.isArray(message) ? message : [message]).map(String).join(" ")}`)
    })
    return Context.empty().pipe(
      Context.add(Scheduler.Scheduler, scheduler),
      Context.add(Clock.Clock, clock),
      Context.add(Random.Random, random),
      Context.add(Logger.CurrentLoggers, new Set([logger])),
      // Spans cost a tenth of a run, and nobody looks at them.
      Context.add(References.TracerEnabled, false),
    ) as Context.Context<never>
  }
}
