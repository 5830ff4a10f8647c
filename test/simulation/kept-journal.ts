/**
 * The journal of a simulated node: it outlives the agents that append to it, and has its moods: it can't be opened, is full, stores and then says that
 * it failed, is lost. Keeps a record of all that was ever stored, lost or not, for those who judge. Decides nothing.
 */
import {
  type DecodeOptions,
  type Envelope,
  Journal,
  JournalError,
  type JournalShape,
  type Replaced,
} from "@cordwood/core"
import { makeMemoryJournal, type MemoryJournal } from "@cordwood/core/testing"
import { Effect, Layer } from "effect"

export type JournalMood = "well" | "unopenable" | "full" | "deaf"
export type AppendCrash = "crash-before" | "crash-after" | null

/** An event as it was stored: by which agent, counted from 1, and in which of the journals that were lost one after another. */
export interface Entry {
  readonly event: Envelope
  readonly incarnation: number
  readonly generation: number
  readonly atMs: number
}

export interface Surroundings {
  readonly incarnation: () => number
  readonly nowMs: () => number
  /** Asked before every append. */
  readonly crashAt: () => AppendCrash
  readonly crash: () => void
  readonly stored: (entry: Entry) => void
}

const PATH = "/var/lib/cordwood/journal.db"

export class KeptJournal {
  readonly #around: Surroundings
  #memory: MemoryJournal | null = null
  mood: JournalMood = "well"
  generation = 1
  readonly entries: Array<Entry> = []
  readonly #seen = new Set<string>()

  constructor(around: Surroundings) {
    this.#around = around
  }

  /** Everything stored goes. `isNoticed`: under a running agent, which is told at its next append. */
  lose({ isNoticed }: { readonly isNoticed: boolean }): void {
    this.generation += 1
    if (isNoticed) this.#memory?.order({ _tag: "Replace" })
    else this.#memory?.drop(() => true)
  }
  stored(): ReadonlyArray<Envelope> {
    return this.#memory?.stored() ?? []
  }
  get replay(): JournalShape["replay"] | null {
    return this.#memory?.replay ?? null
  }

  /** The journal as the agent opens it that runs now. */
  open(decode: DecodeOptions): Layer.Layer<Journal, JournalError> {
    const mine = this.#around.incarnation()
    const isDead = (): boolean => this.#around.incarnation() !== mine
    const memory = (this.#memory ??= makeMemoryJournal({ path: PATH, decode }))
    const refusal = (op: string, reason: JournalError["reason"]): JournalError =>
      new JournalError({ op, path: PATH, reason, detail: "a fault to order", hint: "none" })
    // As the real one: that it was begun anew is told with the first append that doesn't fail.
    let replaced: Replaced | null = null
    const append: JournalShape["append"] = (events) =>
      Effect.suspend(() => {
        if (isDead()) return Effect.never
        if (this.mood === "full" || this.mood === "unopenable") return Effect.fail(refusal("append", "NoSpace"))
        const crash = this.#around.crashAt()
        if (crash === "crash-before") this.#around.crash()
        if (isDead()) return Effect.never
        return Effect.flatMap(memory.append(events), (appended) => {
          this.#keep(appended.events)
          if (crash === "crash-after") this.#around.crash()
          if (isDead()) return Effect.never
          replaced ??= appended.replaced
          if (this.mood === "deaf") return Effect.fail(refusal("append", "Other"))
          const told = { ...appended, replaced }
          replaced = null
          return Effect.succeed(told)
        })
      })
    const replay = Effect.suspend(() => (isDead() ? Effect.never : memory.replay))
    return Layer.effect(
      Journal,
      Effect.suspend(() => {
        if (isDead()) return Effect.never
        return this.mood === "unopenable"
          ? Effect.fail(refusal("open", "Denied"))
          : Effect.succeed({ append, replay, read: memory.read })
      }),
    )
  }

  #keep(events: ReadonlyArray<Envelope>): void {
    const { generation } = this
    for (const event of events) {
      // What is offered again was stored before.
      if (this.#seen.has(event.id)) continue
      this.#seen.add(event.id)
      const entry = { event, incarnation: this.#around.incarnation(), generation, atMs: this.#around.nowMs() }
      this.entries.push(entry)
      this.#around.stored(entry)
    }
  }
}
