/**
 * The judge of a simulation. Knows what the writers wrote, what lies on the disk, which files lost their last name and by whom, what the store has,
 * and what the journal says was removed; and from that alone says whether a promise was broken. Reads names and compressed files by itself: shares no
 * code with the agent, nor with the codec.
 */
import type { Change, World } from "@cordwood/core/testing"
import type { Entry } from "./kept-journal.ts"
import type { StoredObject } from "./object-store.ts"

/** What was promised, in a few words each. */
export type Guarantee =
  | "every byte is in one place, in order"
  | "no file is overwritten"
  | "what is foreign is left alone"
  | "only what a limit has no room for is removed"
  | "nothing is removed before it is shipped"
  | "a power cut takes nothing that was durable"
  | "every removal is on record, and nothing else is"
  | "once faults stop, everything is rotated, compressed, shipped and trimmed"
  | "a pass with nothing to do writes nothing"
  | "what the journal adds up to is what is on the disk"
  | "an active file is rotated in time"
  | "the agent has no bug that it knows of"

export interface Violation {
  readonly guarantee: Guarantee
  readonly log: string
  readonly detail: string
}

/** A file of a log that nobody can read any more. */
interface Gone {
  readonly stamp: string
  readonly path: string
  readonly bytes: number
  readonly text: string
  readonly by: Actor
  readonly incarnation: number
  /** Limits that it may have been removed for. */
  readonly reasons: ReadonlySet<Reason>
  /** See `Ledger`. */
  readonly era: number
}
type Reason = "max-files" | "budget" | "pressure"
export type Actor = "agent" | "others"

/** Whose log it is. */
export interface Origin {
  readonly container: string
  readonly pod: string
  /** How often the container had been restarted. */
  readonly attempt: number
}
/** A file of ours that is there no more, and that its agent may count still. */
interface Loss {
  readonly ledger: Ledger
  readonly path: string
  readonly bytes: number
  /** When an event told of it, and what is told is counted no more; null: none has. */
  toldMs: number | null
}

interface Ledger extends Origin {
  readonly path: string
  readonly directory: string
  readonly name: string
  /** What is to be read: what was written, less what a power cut may take and somebody else took. */
  expected: string
  readonly gone: Array<Gone>
  /** By stamp, how many bytes were durable of files that were removed because another copy holds them. */
  readonly owed: Map<string, number>
  /** Which segment a file was that was removed because another copy holds it: a power cut may bring it back, under whichever name it once had. */
  readonly formerly: Map<string, string>
  /** Stamps of rotations that a power cut has undone, as their rename couldn't be synced: the segment is the active file again, or nothing at all. */
  readonly undone: Set<string>
  /**
   * An era ends once nothing but the active file is left, and no journal that there is tells of an earlier name: then nobody can know that the next name must be later,
   * where the clock was set back. What comes after is of the next one, whatever it is called.
   */
  era: number
  /** The name that the journal that there is tells of last, as far as the agent that runs could read it; null: none. */
  lastOnRecord: string | null
  /** Its directory is gone, and with it everything. */
  hasVanished: boolean
  /** Its container has ended, and when. */
  hasEnded: boolean
  endedMs: number
  /** The agent that runs may have been told that its container runs. */
  isAwaited: boolean
}
interface Foreigner {
  readonly path: string
  readonly state: string
}

/** Files of one segment, or the active file (whose stamp is after all others). */
interface Piece {
  readonly stamp: string
  readonly text: string
  readonly copies: ReadonlyArray<Copy>
}
interface Copy {
  readonly path: string
  readonly identity: string
  readonly isPacked: boolean
  readonly text: string
}

/**
 * What was told of as gone longer ago than this was not counted any more when it was last found which segments must go: that is a second at the most before,
 * and the time that a few acts and a guard take.
 */
const WEIGHED_WITHIN_MS = 20_000
/** What nobody has written to for so long goes when its turn has come. */
const AT_REST_MS = 2_000
/** A segment that was let go, as the store had it, goes so many acts later, and so many milliseconds: meanwhile the store may lose it. */
const ACTS = 4
const ANSWERED_MS = 1_000
const ACTIVE = "the active file"
const latin = new TextDecoder("latin1")
const textOf = (bytes: Uint8Array): string => latin.decode(bytes)

/** What a packed file holds; null if it is none. */
export const unpacked = (bytes: Uint8Array): string | null => {
  const word = (at: number): number =>
    ((bytes[at] ?? 0) * 256 + (bytes[at + 1] ?? 0)) * 65_536 + (bytes[at + 2] ?? 0) * 256 + (bytes[at + 3] ?? 0)
  if (bytes.length < 17 || bytes[0] !== 75) return null
  const [before, records, after] = [word(1), word(5), word(9)]
  if (bytes.length !== 17 + before + 4 * records + after) return null
  let sum = 2_166_136_261
  for (const byte of bytes.subarray(0, -4)) sum = Math.imul(sum ^ byte, 16_777_619) >>> 0
  if (sum >>> 0 !== word(bytes.length - 4)) return null
  let text = textOf(bytes.subarray(13, 13 + before))
  for (let record = 0; record < records; record += 1) {
    const at = 13 + before + 4 * record
    text += String.fromCharCode(bytes[at] ?? 0) + String(word(at) % 16_777_216).padStart(6, "0") + "\n"
  }
  return text + textOf(bytes.subarray(13 + before + 4 * records, bytes.length - 4))
}

/** What the store has, and what it had. */
interface Stored {
  readonly objects: ReadonlyMap<string, StoredObject>
  readonly lost: ReadonlyArray<StoredObject>
}

export interface Case {
  readonly world: World
  readonly maxFiles: number
  readonly keepStopped: number
  readonly maxTotal: { readonly container?: number; readonly pod?: number }
  readonly pressure: { readonly minFree: number; readonly targetFree: number; readonly keepFiles: number } | null
  /** Of a clock that never goes back. */
  readonly nowMs: () => number
  /** What files are dated by. */
  readonly wallMs: () => number
  /** By then the agent has been told that a container has ended. */
  readonly listedWithinMs: number
  /** Nothing keeps a removal from coming about at once, so that of each log the oldest segment goes first, and of each container what the earliest left. */
  readonly inOrder: boolean
  readonly store: Stored | null
  readonly incarnation: () => number
  /** Of the codec in use; null: segments stay as they are. */
  readonly suffix: string | null
  /** Whether what is closed is to be shipped before it must go. */
  readonly isEarly: boolean
  /** The longest that an act on the disk takes, milliseconds. */
  readonly slowestMs: number
}

export class Account {
  readonly #case: Case
  readonly #ledgers = new Map<string, Ledger>()
  readonly #foreigners: Array<Foreigner> = []
  #before: ReadonlyArray<{
    readonly ledger: Ledger
    readonly pieces: ReadonlyArray<Piece & { readonly kept: number }>
  }> = []
  readonly violations: Array<Violation> = []
  /** Of the agent that runs. */
  #losses: Array<Loss> = []
  /** It has found less than `minFree`. */
  #wasPressing = false
  /** Since it last removed something that only pressure had no room for it has found less than `targetFree`. */
  #isPressing = false

  constructor(facts: Case) {
    this.#case = facts
  }

  /** A log that is written to from now on. */
  begin(path: string, origin: Origin = { container: path, pod: path, attempt: 0 }): void {
    const at = path.lastIndexOf("/")
    this.#ledgers.set(path, {
      path,
      directory: path.slice(0, at),
      name: path.slice(at + 1),
      expected: "",
      gone: [],
      owed: new Map(),
      formerly: new Map(),
      undone: new Set(),
      era: 0,
      lastOnRecord: null,
      hasVanished: false,
      hasEnded: false,
      endedMs: 0,
      isAwaited: true,
      ...origin,
    })
  }
  /** Nobody writes to the log any more. */
  ended(path: string): void {
    const ledger = this.#ledgers.get(path)
    if (ledger === undefined) return
    ledger.hasEnded = true
    ledger.endedMs = this.#case.nowMs()
  }
  /** Another agent, that knows of nothing. */
  agentBegan({ readsJournal }: { readonly readsJournal: boolean }): void {
    this.#losses = []
    this.#wasPressing = false
    this.#isPressing = false
    for (const ledger of this.#ledgers.values()) {
      ledger.isAwaited = !ledger.hasEnded
      if (readsJournal) continue
      ledger.lastOnRecord = null
      if (this.#onDisk(ledger).every(({ stamp }) => stamp === ACTIVE)) ledger.era += 1
    }
  }
  /** Nothing is on record any more. */
  journalLost(): void {
    for (const ledger of this.#ledgers.values()) ledger.lastOnRecord = null
  }
  /** What the agent was told that is free. */
  foundFree(bytes: number): void {
    const { pressure } = this.#case
    if (pressure === null) return
    this.#wasPressing ||= bytes < pressure.minFree
    this.#isPressing ||= bytes < pressure.targetFree
  }
  /** An event was stored: what it tells of as gone is counted no more by whoever tells. */
  told({ event }: Entry): void {
    const ledger = event.type === "Rotated" ? this.#ledgers.get(event.log.path) : undefined
    if (ledger !== undefined) {
      const { to } = event.data as { readonly to: string }
      ledger.lastOnRecord = stampOf(ledger.name, to.slice(ledger.directory.length + 1))
    }
    if (event.type !== "Removed" && event.type !== "Compressed") return
    const data = event.data as { readonly path?: string; readonly from?: string; readonly reason?: string }
    const path = data.path ?? data.from
    this.#losses = this.#losses.filter((loss) => {
      if (loss.path !== path) return true
      loss.toldMs ??= this.#case.nowMs()
      // What went for a budget is no reason for anything else to go for it.
      return data.reason !== "budget" || this.#isSurplus(loss.ledger)
    })
  }
  wrote(path: string, text: string): void {
    const ledger = this.#ledgers.get(path)
    if (ledger !== undefined) ledger.expected += text
  }
  /** Something that isn't ours lies there. */
  foreign(path: string): void {
    this.#foreigners.push({ path, state: this.#stateOf(path) })
  }
  vanished(directory: string): void {
    for (const ledger of this.#ledgers.values()) if (ledger.directory === directory) ledger.hasVanished = true
    for (let at = this.#foreigners.length - 1; at >= 0; at -= 1) {
      if (this.#foreigners[at]?.path.startsWith(`${directory}/`) === true) this.#foreigners.splice(at, 1)
    }
  }

  #broken(guarantee: Guarantee, log: string, detail: string): void {
    this.violations.push({ guarantee, log, detail })
  }
  breaks(violation: Violation): void {
    this.violations.push(violation)
  }

  /** A file has lost its name. */
  changed({ by: successor, durableBytes, lost, path }: Change, actor: Actor): void {
    if (lost.kind !== "file") {
      if (actor === "agent") this.#broken("what is foreign is left alone", path, `a ${lost.kind} has lost its name`)
      return
    }
    const directory = path.slice(0, path.lastIndexOf("/"))
    const name = path.slice(directory.length + 1)
    const ledger = [...this.#ledgers.values()].find(
      (one) => one.directory === directory && (name === one.name || name.startsWith(`${one.name}.`)),
    )
    if (ledger === undefined || ledger.hasVanished) return
    this.#losses.push({ ledger, path, bytes: lost.bytes.length, toldMs: null })
    const stamp = name === ledger.name ? ACTIVE : stampOf(ledger.name, name)
    if (stamp === null) {
      if (actor === "agent" && !isTemporary(ledger.name, name)) {
        this.#broken("what is foreign is left alone", path, "it has lost its name")
      }
      return
    }
    if (successor !== null) {
      if (lost.bytes.length > 0) {
        this.#broken("no file is overwritten", path, `another file has the name of ${lost.bytes.length} bytes`)
      }
      return
    }
    const text = name.endsWith(".packed") ? unpacked(lost.bytes) : textOf(lost.bytes)
    const pieces = this.#onDisk(ledger)
    const identity = `1:${lost.id}`
    const left = pieces.find(
      (piece) => piece.stamp === stamp || piece.copies.some((copy) => copy.identity === identity),
    )
    // Whatever doesn't decode holds nothing.
    if (text === null) return
    if (left?.copies.some((copy) => copy.text.startsWith(text)) === true) {
      const isWhole = durableBytes === lost.bytes.length
      const durable = name.endsWith(".packed") ? (isWhole ? text.length : 0) : durableBytes
      ledger.formerly.set(identity, stamp)
      ledger.owed.set(stamp, Math.max(durable, ledger.owed.get(stamp) ?? 0))
      return
    }
    const reasons = this.#reasonsFor(ledger, stamp, pieces)
    ledger.gone.push({
      stamp,
      path,
      bytes: lost.bytes.length,
      text,
      by: actor,
      incarnation: this.#case.incarnation(),
      reasons,
      era: ledger.era,
    })
    const isOnRecord = ledger.lastOnRecord !== null && stamp <= ledger.lastOnRecord
    if (!isOnRecord && stamp !== ACTIVE && pieces.every((piece) => piece.stamp === ACTIVE)) ledger.era += 1
    if (actor === "others") {
      return
    }
    if (stamp === ACTIVE) {
      if (text !== "") this.#broken("every byte is in one place, in order", path, "the active file was removed")
      return
    }
    // The empty file that holds a name for a rename.
    if (text === "") return
    if (left !== undefined) {
      const other = left.copies[0]?.path ?? ""
      const detail = `removed although ${other} doesn't hold its ${text.length} bytes`
      this.#broken("every byte is in one place, in order", path, detail)
      return
    }
    if (reasons.size === 0) {
      const newer = pieces.filter((piece) => piece.stamp !== ACTIVE && piece.stamp > stamp).length
      const { maxFiles, pressure } = this.#case
      const floor = pressure === null ? "" : `; pressure leaves ${pressure.keepFiles} files`
      const detail = `removed with no more than ${newer} newer segments, and ${maxFiles - 2} are to be kept${floor}`
      this.#broken("only what a limit has no room for is removed", path, detail)
    }
    if (reasons.size === 1 && reasons.has("pressure")) this.#isPressing = false
    const { nowMs, slowestMs, store } = this.#case
    const sinceMs = nowMs() - ACTS * slowestMs - ANSWERED_MS
    if (store !== null && !isStored(store, ledger.path, stamp, text, sinceMs)) {
      this.#broken("nothing is removed before it is shipped", path, `the store doesn't have its ${text.length} bytes`)
    }
  }

  /** Which limits have no room for a segment that has just gone; `pieces` are those that are left. */
  #reasonsFor(ledger: Ledger, stamp: string, pieces: ReadonlyArray<Piece>): ReadonlySet<Reason> {
    const { inOrder, maxFiles, pressure } = this.#case
    const reasons = new Set<Reason>()
    const segments = pieces.filter((piece) => piece.stamp !== ACTIVE)
    const newer = segments.filter((piece) => piece.stamp > stamp).length
    // For a rotation that fails room is made in vain.
    if (newer >= maxFiles - (inOrder ? 1 : 2)) reasons.add("max-files")
    const isOldest = !inOrder || (newer === segments.length && !this.#hasEarlier(ledger))
    if (this.#isSurplus(ledger) || (isOldest && this.#isBeyond(ledger))) reasons.add("budget")
    // The file that a writer is about to make counts.
    const active = ledger.isAwaited || segments.length < pieces.length ? 1 : 0
    if (pressure !== null && this.#wasPressing && this.#isPressing && newer + active >= pressure.keepFiles) {
      reasons.add("pressure")
    }
    return reasons
  }
  /** Whether a log of its container should have lost everything before it: one that ended, and before it did. */
  #hasEarlier({ attempt, container, hasEnded, path, pod }: Ledger): boolean {
    const { listedWithinMs, nowMs, world } = this.#case
    const isAtRest = ({ copies }: Piece): boolean =>
      copies.every(
        ({ isPacked, path }) =>
          isPacked || this.#case.wallMs() - (world.attributesOf(path)?.modifiedMs ?? 0) >= AT_REST_MS,
      )
    return [...this.#ledgers.values()].some(
      (other) =>
        other.path !== path &&
        other.pod === pod &&
        other.container === container &&
        !other.hasVanished &&
        other.hasEnded &&
        nowMs() - other.endedMs >= listedWithinMs &&
        (!hasEnded || other.attempt < attempt) &&
        this.#onDisk(other).some((piece) => piece.stamp !== ACTIVE && isAtRest(piece)),
    )
  }
  /** Whether a log is none of the newest `keepStopped` of those of its container that have ended. */
  #isSurplus(
    { attempt, container, hasEnded, pod }: Ledger,
    listed: ReadonlyArray<string> = [...this.#ledgers.keys()],
  ): boolean {
    const later = [...this.#ledgers.values()].filter(
      (other) =>
        listed.includes(other.path) &&
        other.hasEnded &&
        other.pod === pod &&
        other.container === container &&
        other.attempt > attempt,
    )
    return hasEnded && later.length >= this.#case.keepStopped
  }
  /**
   * Whether the logs of the container, or of the pod, may have held more than its limit for all that the agent knew: what lies there, and what went lately
   * for other reasons than a budget. The segment that has just gone is among the latter.
   */
  #isBeyond({ container, pod }: Ledger): boolean {
    const { maxTotal, nowMs } = this.#case
    const since = nowMs() - WEIGHED_WITHIN_MS
    this.#losses = this.#losses.filter(({ toldMs }) => toldMs === null || toldMs >= since)
    const isMore = (limit: number | undefined, isOf: (ledger: Ledger) => boolean): boolean =>
      limit !== undefined &&
      [...this.#ledgers.values()].filter(isOf).reduce((sum, ledger) => sum + this.#bytesOf(ledger), 0) +
        this.#losses.reduce((sum, { bytes, ledger }) => sum + (isOf(ledger) ? bytes : 0), 0) >
        limit
    return (
      isMore(maxTotal.container, (other) => other.pod === pod && other.container === container) ||
      isMore(maxTotal.pod, (other) => other.pod === pod)
    )
  }
  #bytesOf({ hasVanished, path }: Ledger): number {
    if (hasVanished) return 0
    const active = this.#case.world.read(path)?.length ?? 0
    return [...this.filesOf(path).values()].reduce((sum, bytes) => sum + bytes, active)
  }

  /** To be called just before a power cut, and just after it: what wasn't durable may be lost, and nothing else. */
  beforePowerCut(): void {
    const { world } = this.#case
    this.#before = [...this.#ledgers.values()].map((ledger) => ({
      ledger,
      pieces: this.#read(ledger).map((piece) => {
        const kept = piece.copies.map(({ isPacked, path, text }) => {
          const { anywhere, here } = world.durableBytes(path)
          if (!isPacked) return anywhere
          return here > 0 && here === world.read(path)?.length ? text.length : 0
        })
        const owed = Math.min(ledger.owed.get(piece.stamp) ?? 0, piece.text.length)
        return { ...piece, kept: Math.max(owed, ...kept) }
      }),
    }))
  }
  afterPowerCut(): void {
    for (const { ledger, pieces } of this.#before) {
      if (ledger.hasVanished) continue
      const left = this.#onDisk(ledger).flatMap(({ copies, stamp }) => copies.map((copy) => ({ ...copy, stamp })))
      let expected = ""
      const activeNow = this.#case.world.identityOf(ledger.path)
      for (const { copies, kept, stamp, text } of pieces) {
        const isActiveAgain = copies.some(({ identity }) => identity === activeNow)
        // Nor had it a name before that was durable.
        const isGone = kept === 0 && !left.some((one) => one.stamp === stamp)
        if (stamp !== ACTIVE && (isActiveAgain || isGone)) ledger.undone.add(stamp)
        const candidates = [
          ...left
            .filter(
              (one) =>
                one.stamp === stamp ||
                ledger.formerly.get(one.identity) === stamp ||
                copies.some(({ identity }) => one.identity === identity),
            )
            .map((copy) => copy.text),
          ...ledger.gone.filter((gone) => gone.stamp === stamp).map((gone) => gone.text),
        ].filter((candidate) => text.startsWith(candidate))
        const longest = candidates.reduce((a, b) => (b.length > a.length ? b : a), "")
        if (longest.length < kept) {
          const detail = `of ${text.length} bytes of ${stamp}, ${kept} were durable, and ${longest.length} are left`
          this.#broken("a power cut takes nothing that was durable", ledger.path, detail)
        }
        expected += longest
      }
      ledger.expected = expected
    }
    this.#before = []
    // What others have put there may not have survived, or not all of it.
    for (const foreigner of this.#foreigners.splice(0)) {
      const state = this.#stateOf(foreigner.path)
      if (state !== "nothing") this.#foreigners.push({ path: foreigner.path, state })
    }
  }

  /** Whether all that was written can be read, in order, and what is foreign is as it was. */
  check(): void {
    for (const ledger of this.#ledgers.values()) {
      if (ledger.hasVanished) continue
      const pieces = this.#read(ledger)
      if (pieces.map(({ text }) => text).join("") !== ledger.expected) this.#explain(ledger, pieces)
    }
    for (const { path, state } of this.#foreigners) {
      const now = this.#stateOf(path)
      if (now !== state) this.#broken("what is foreign is left alone", path, `it was ${state}, and is ${now}`)
    }
  }

  #explain(ledger: Ledger, pieces: ReadonlyArray<Piece>): void {
    const { expected, path } = ledger
    const broken = (detail: string): void => this.#broken("every byte is in one place, in order", path, detail)
    let cursor = 0
    for (const { stamp, text } of pieces) {
      if (expected.startsWith(text, cursor)) {
        cursor += text.length
        continue
      }
      const found = expected.indexOf(text, cursor)
      if (found >= 0) {
        return broken(`${found - cursor} bytes from ${cursor} on are missing before ${stamp}`)
      }
      const earlier = expected.indexOf(text)
      return broken(
        earlier >= 0
          ? `${stamp} holds the bytes from ${earlier} on, which come before ${cursor}: doubled, or out of order`
          : `${stamp} holds something else than the bytes from ${cursor} on`,
      )
    }
    broken(`the last ${expected.length - cursor} bytes, from ${cursor} on, are missing`)
  }

  /** Whether every removal is on record, and every record is of a removal. To be called once the agent has had time to tell. */
  checkRecords(
    entries: ReadonlyArray<Entry>,
    now: { readonly generation: number; readonly listed: ReadonlySet<string> },
  ): void {
    for (const ledger of this.#ledgers.values()) {
      if (ledger.hasVanished) continue
      const ours = entries.filter(({ event }) => event.log.path === ledger.path)
      const told = ours.flatMap(({ event, incarnation }) => {
        if (event.type !== "Removed") return []
        const data = event.data as { readonly path: string; readonly bytes: number; readonly reason: string }
        const stamp = stampOf(ledger.name, data.path.slice(ledger.directory.length + 1))
        return [{ ...data, stamp, incarnation }]
      })
      for (const { bytes, incarnation, path, reason, stamp } of told) {
        const about = ledger.gone.filter((gone) => gone.stamp === stamp)
        // It was on record before it was durable, and that can't be helped: its writer had to be told.
        const isUndone = reason === "missing" && stamp !== null && ledger.undone.has(stamp)
        // A name that a rotation had only reserved, and that a power cut took: there was nothing in it.
        const wasEmpty = reason === "missing" && bytes === 0
        const fits =
          isUndone ||
          wasEmpty ||
          about.some((gone) =>
            reason === "missing"
              ? gone.by === "others" || gone.incarnation < incarnation
              : gone.by === "agent" && gone.bytes === bytes && gone.path === path && gone.reasons.has(reason as Reason),
          )
        if (!fits) {
          const detail = `an event tells of ${bytes} bytes removed (${reason}), and that isn't what happened`
          this.#broken("every removal is on record, and nothing else is", path, detail)
        }
      }
      const onDisk = this.#onDisk(ledger)
      for (const gone of ledger.gone) {
        if (gone.text === "" || told.some(({ stamp }) => stamp === gone.stamp)) continue
        // A power cut has brought it back before anybody could tell.
        if (onDisk.some(({ stamp, text }) => stamp === gone.stamp && text.startsWith(gone.text))) continue
        if (this.#mayBeUntold(gone, ours, now, ledger)) continue
        const detail = `${gone.bytes} bytes are gone, by ${gone.by === "agent" ? "the agent" : "somebody else"}, and no event says so`
        this.#broken("every removal is on record, and nothing else is", gone.path, detail)
      }
    }
  }

  /**
   * The limits that are documented: a removal whose agent died before it could store the event is told as missing by the next one, if the journal that
   * there is by then tells of the segment at all, and if the log is still looked at.
   */
  #mayBeUntold(
    gone: Gone,
    ours: ReadonlyArray<Entry>,
    { generation, listed }: { readonly generation: number; readonly listed: ReadonlySet<string> },
    ledger: Ledger,
  ): boolean {
    if (!listed.has(ledger.path)) return true
    // What failed, as the segment wasn't there any more, doesn't tell that it ever was.
    const isKnown = ours.some(
      (entry) =>
        entry.generation === generation &&
        entry.event.type !== "Failed" &&
        JSON.stringify(entry.event.data).includes(gone.stamp),
    )
    return !isKnown && (gone.by === "others" || gone.incarnation < this.#case.incarnation())
  }

  /** What of a log isn't as it should be once everything has come to rest; null: nothing. */
  unrest(path: string, maxSize: number, writerIsHome: boolean): string | null {
    const { isEarly, maxFiles, store, suffix, world } = this.#case
    const ledger = this.#ledgers.get(path)
    if (ledger === undefined || ledger.hasVanished) return null
    const active = world.read(path)
    if (active === undefined) return "there is no active file"
    if (active.length >= maxSize) return `the active file has ${active.length} bytes`
    if (!writerIsHome) return "the writer holds another file than the active one"
    const names = world.namesIn(ledger.directory)
    const temporary = names.find((name) => isTemporary(ledger.name, name) && this.#isFile(ledger, name))
    if (temporary !== undefined) return `${temporary} is left behind`
    const pieces = this.#onDisk(ledger).filter(({ stamp }) => stamp !== ACTIVE)
    if (pieces.length + 1 > maxFiles) return `there are ${pieces.length + 1} files`
    const double = pieces.find(({ copies }) => copies.length > 1)
    if (double !== undefined) return `${double.stamp} is there twice`
    const undone = names.find(
      (name) =>
        stampOf(ledger.name, name) !== null &&
        world.identityOf(`${ledger.directory}/${name}`) === world.identityOf(path),
    )
    if (undone !== undefined) return `the active file has a second name, ${undone}`
    const plain = suffix === null ? undefined : pieces.slice(0, -1).find(({ copies }) => copies[0]?.isPacked === false)
    if (plain !== undefined) return `${plain.stamp} isn't compressed`
    const unshipped =
      store === null || !isEarly
        ? undefined
        : pieces.find(({ stamp, text }) => text !== "" && !isStored(store, path, stamp, text))
    if (unshipped !== undefined) return `${unshipped.stamp} isn't shipped`
    return null
  }
  /** What of a log whose container has ended isn't as it should be by then; null: nothing. */
  unrestOfStopped(path: string, listed: ReadonlyArray<string>): string | null {
    const { isEarly, maxFiles, store, suffix, world } = this.#case
    const ledger = this.#ledgers.get(path)
    if (ledger === undefined || ledger.hasVanished) return null
    // What the runtime has forgotten, and has left nothing, nobody knows of.
    if (this.#isSurplus(ledger, listed)) return this.hasFiles(path) ? "it is surplus, and still there" : null
    const temporary = [...this.filesOf(path).keys()].find((name) => isTemporary(ledger.name, name))
    if (temporary !== undefined) return `${temporary} is left behind`
    const pieces = this.#onDisk(ledger)
    if (pieces.length > maxFiles) return `there are ${pieces.length} files`
    const segments = pieces.filter(({ stamp }) => stamp !== ACTIVE)
    const double = segments.find(({ copies }) => copies.length > 1)
    if (double !== undefined) return `${double.stamp} is there twice`
    const active = world.identityOf(path)
    const undone = [...this.filesOf(path).keys()].find(
      (name) => world.identityOf(`${ledger.directory}/${name}`) === active,
    )
    if (undone !== undefined) return `the last file has a second name, ${undone}`
    const plain = suffix === null ? undefined : segments.find(({ copies }) => copies[0]?.isPacked === false)
    if (plain !== undefined) return `${plain.stamp} isn't compressed`
    const unshipped =
      store === null || !isEarly
        ? undefined
        : segments.find(({ stamp, text }) => text !== "" && !isStored(store, path, stamp, text))
    return unshipped === undefined ? null : `${unshipped.stamp} isn't shipped`
  }
  /** Which limit that logs share isn't kept by then, though something may go for it; null: none. With a path, a colon and a space before it. */
  unrestOfShared(): string | null {
    const { maxTotal, pressure, world } = this.#case
    const all = [...this.#ledgers.values()].filter(({ hasVanished }) => !hasVanished)
    const segmentsOf = (ledger: Ledger): ReadonlyArray<Piece> =>
      this.#onDisk(ledger).filter(({ stamp }) => stamp !== ACTIVE)
    /** But for what the writer may hold as long as nothing proves that it has reopened. */
    const mayGo = (ledger: Ledger): number => {
      const segments = segmentsOf(ledger)
      const isHeld = !ledger.hasEnded && (world.read(ledger.path)?.length ?? 0) === 0
      return (
        segments.length - (isHeld && segments.some(({ copies }) => copies.some(({ isPacked }) => !isPacked)) ? 1 : 0)
      )
    }
    const beyond = (logs: ReadonlyArray<Ledger>, limit: number | undefined): string | null => {
      const bytes = logs.reduce((sum, ledger) => sum + this.#bytesOf(ledger), 0)
      if (limit === undefined || bytes <= limit) return null
      const left = logs.find((ledger) => mayGo(ledger) > 0)
      return left === undefined
        ? null
        : `${left.path}: it has segments, and ${bytes} bytes are held where ${limit} may be`
    }
    for (const pod of Map.groupBy(all, ({ pod }) => pod).values()) {
      for (const container of Map.groupBy(pod, ({ container }) => container).values()) {
        const found = beyond(container, maxTotal.container)
        if (found !== null) return found
      }
      const found = beyond(pod, maxTotal.pod)
      if (found !== null) return found
    }
    if (pressure === null || world.freeBytes >= pressure.minFree) return null
    const more = all.find((ledger) => {
      const segments = segmentsOf(ledger).length
      const active = !ledger.hasEnded || world.read(ledger.path) !== undefined ? 1 : 0
      return mayGo(ledger) > 0 && segments + active > pressure.keepFiles
    })
    return more === undefined ? null : `${more.path}: it has more than keepFiles, and ${world.freeBytes} bytes are free`
  }
  /** Whether anything of a log lies there. */
  hasFiles(path: string): boolean {
    return this.#case.world.attributesOf(path)?.kind === "file" || this.filesOf(path).size > 0
  }
  /** Names and bytes of a log's rotated files, leftovers included. */
  filesOf(path: string): ReadonlyMap<string, number> {
    const { world } = this.#case
    const ledger = this.#ledgers.get(path)
    if (ledger === undefined) return new Map()
    return new Map(
      world
        .namesIn(ledger.directory)
        .filter((name) => stampOf(ledger.name, name) !== null || isTemporary(ledger.name, name))
        .filter((name) => this.#isFile(ledger, name))
        .map((name) => [name, world.read(`${ledger.directory}/${name}`)?.length ?? 0]),
    )
  }

  #isFile({ directory }: Ledger, name: string): boolean {
    return this.#case.world.attributesOf(`${directory}/${name}`)?.kind === "file"
  }
  #stateOf(path: string): string {
    const { world } = this.#case
    const attributes = world.attributesOf(path)
    if (attributes === undefined) return "nothing"
    return `${attributes.kind} ${world.identityOf(path)} ${textOf(world.read(path) ?? new Uint8Array())}`
  }

  /** The pieces of a log in reading order, those that are gone among them. */
  #read(ledger: Ledger): ReadonlyArray<Piece> {
    const pieces = new Map(this.#onDisk(ledger).map((piece) => [piece.stamp, piece]))
    for (const { stamp, text } of ledger.gone) {
      const there = pieces.get(stamp)
      // The active file may be made anew; what somebody took of it is what came before.
      if (stamp === ACTIVE) continue
      if (there === undefined || there.text.length < text.length) {
        pieces.set(stamp, { stamp, text, copies: there?.copies ?? [] })
      }
    }
    const eraOf = ({ stamp }: Piece): number =>
      Math.min(ledger.era, ...ledger.gone.flatMap((gone) => (gone.stamp === stamp ? [gone.era] : [])))
    return [...pieces.values()].toSorted((a, b) => eraOf(a) - eraOf(b) || byStamp(a, b))
  }

  #onDisk(ledger: Ledger): ReadonlyArray<Piece> {
    const { world } = this.#case
    const { directory, name: own } = ledger
    const active = world.attributesOf(ledger.path)?.kind === "file" ? world.identityOf(ledger.path) : undefined
    const byStampOf = new Map<string, Array<Copy>>()
    for (const name of world.namesIn(directory)) {
      const stamp = name === own ? ACTIVE : stampOf(own, name)
      if (stamp === null || !this.#isFile(ledger, name)) continue
      const path = `${directory}/${name}`
      const identity = world.identityOf(path) ?? ""
      if (stamp !== ACTIVE && identity === active) continue
      const bytes = world.read(path) ?? new Uint8Array()
      const isPacked = name.endsWith(".packed")
      // What doesn't decode holds nothing.
      const copy = { path, identity, isPacked, text: isPacked ? (unpacked(bytes) ?? "") : textOf(bytes) }
      byStampOf.set(stamp, [...(byStampOf.get(stamp) ?? []), copy])
    }
    return [...byStampOf]
      .map(([stamp, copies]) => {
        const text = copies.reduce((longest, copy) => (copy.text.length > longest.length ? copy.text : longest), "")
        return { stamp, text, copies }
      })
      .toSorted(byStamp)
  }
}

const byStamp = (a: Piece, b: Piece): number => {
  if (a.stamp === ACTIVE || b.stamp === ACTIVE) return a.stamp === b.stamp ? 0 : a.stamp === ACTIVE ? 1 : -1
  return a.stamp < b.stamp ? -1 : 1
}

/** The stamp in the name of a segment, plain or packed; null: it is none. */
const stampOf = (active: string, name: string): string | null => {
  const rest = name.slice(active.length)
  const found = name.startsWith(`${active}.`) ? /^\.(\d{8}-\d{6})(?:\.packed)?$/.exec(rest) : null
  return found?.[1] ?? null
}
const isTemporary = (active: string, name: string): boolean =>
  name.startsWith(`${active}.`) && /^\.\d{8}-\d{6}\.tmp$/.test(name.slice(active.length))

/** Whether the store has a segment; or had it when an agent was last told so, at `sinceMs` or later, and has lost it by now. */
const isStored = (store: Stored, path: string, stamp: string, text: string, sinceMs: number = -Infinity): boolean =>
  [...store.objects.values(), ...store.lost.filter(({ seenMs }) => seenMs >= sinceMs)].some(
    ({ bytes, key, metadata }) =>
      metadata["cordwood-path"] === path &&
      metadata["cordwood-stamp"] === stamp &&
      (key.endsWith(".packed") ? unpacked(bytes) : textOf(bytes)) === text,
  )
