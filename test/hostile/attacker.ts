/**
 * The neighbour: a process that keeps changing what lies in a log's directory, and what the directory's own name leads to, as fast as it can. Knows
 * nothing of the agent but the names it uses, and imports nothing of it. Never destroys the log's own bytes: what it moves away, it
 * puts back, never over anything, so that whatever is missing in the end was lost by the agent.
 */
import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs"
import { basename, dirname, join } from "node:path"
import { gzipSync } from "node:zlib"
import { HELD } from "./canary.ts"

export interface Orders {
  readonly seed: number
  /** Of the log: `<way>/<directory>/0.log`. */
  readonly active: string
  /** A directory laid out like the log's, and one laid out like the directory above. */
  readonly victimLog: string
  readonly victimWay: string
  /** Files to swap for: some of them other names of files that aren't the neighbour's. */
  readonly stash: string
  /** Takes the number of changes made so far, eight bytes. */
  readonly counter: string
  /** The user to be; null: the one it is started as, whose links above the log's directory are followed, and so aren't tried. */
  readonly user: number | null
}

/** Changes in one go, before it is seen whether to stop. */
const TRICKS_PER_TURN = 50
/**
 * How long what was swapped stays so, at most, and how long it is left alone after that, in microseconds: mostly short, for a change between two
 * calls of the kernel's; now and then long enough for several acts to find it so.
 */
const MOST_US = 30
const MOST_LONG_US = 20_000
const ONE_LONG_IN = 50
/** A pass begins with what a directory holds: only where it stays swapped until the next act is that of any consequence. */
const ONE_LONG_DIRECTORY_IN = 6

/** Of what is moved away so much at most. */
const MOST_HELD = 10

/** Marsaglia's xorshift: the same tricks for the same seed. */
const randomOf = (seed: number): ((below: number) => number) => {
  let state = seed | 0 || 1
  return (below) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
}

interface Attack {
  readonly turn: () => void
  /** How many there were. */
  readonly putAllBack: () => number
  readonly done: Readonly<Record<string, number>>
}
const attack = (orders: Orders): Attack => {
  const random = randomOf(orders.seed)
  const log = dirname(orders.active)
  const way = dirname(log)
  const own = basename(orders.active)
  const counter = openSync(orders.counter, "w")
  const count = new BigUint64Array(1)
  const done: Record<string, number> = {}
  const pick = <A>(of: ReadonlyArray<A>): A | undefined => of[random(of.length)]

  /** One change has taken effect. */
  const changed = (): void => {
    count[0] = (count[0] ?? 0n) + 1n
    writeSync(counter, count, 0, 8, 0)
  }
  const wait = (oneLongIn = ONE_LONG_IN): void => {
    const us = random(random(oneLongIn) === 0 ? MOST_LONG_US : MOST_US)
    const until = process.hrtime.bigint() + BigInt(us) * 1_000n
    while (process.hrtime.bigint() < until);
  }
  /** False if it couldn't be done: the agent has been at the same name. */
  const could = (act: () => void): boolean => {
    try {
      act()
      return true
    } catch {
      return false
    }
  }

  /** The directory is moved away, with the log in it, and a link lies there instead. */
  const swapDirectory = (directory: string, victim: string): void => {
    const [away, link] = [`${directory}.away`, `${directory}.link`]
    if (!existsSync(link)) symlinkSync(victim, link)
    renameSync(directory, away)
    renameSync(link, directory)
    changed()
    wait(ONE_LONG_DIRECTORY_IN)
    renameSync(directory, link)
    renameSync(away, directory)
    changed()
  }

  /**
   * Whether a file laid there would have the agent remove another: a plain file beside an archive of the same stamp says that the archive isn't
   * one of it. Who owns both can as well remove the archive by himself.
   */
  const harms = (at: string): boolean => {
    const stamp = basename(at).slice(own.length + 1, own.length + 16)
    const others = readdirSync(log).filter((name) => name.startsWith(`${own}.${stamp}`))
    return others.some((name) => name !== basename(at) + HELD)
  }

  /** Puts something at a free name. What it is, or null. */
  const lay = (at: string): string | null => {
    const stashed = (kind: string): boolean => {
      const name = pick(readdirSync(orders.stash).filter((name) => name.startsWith(kind)))
      return name !== undefined && !existsSync(at) && could(() => renameSync(join(orders.stash, name), at))
    }
    // What stays would end the log where it lay at the active file's name.
    switch (random(basename(at) === own ? 3 : 5)) {
      case 0:
        return could(() => symlinkSync(join(orders.victimLog, own), at)) ? "link" : null
      case 1:
        return could(() => mkdirSync(at)) ? "directory" : null
      case 2:
        return stashed("pipe") ? "pipe" : null
      case 3:
        return stashed("secret") ? "secret" : null
      default:
        if (/\.\d{8}-\d{6}$/.test(at) && harms(at)) return null
        return could(() => writeFileSync(at, bytesFor(random), { flag: "wx" })) ? "file" : null
    }
  }
  /** Takes away what it has laid, if it still is that. Files stay, for the agent to deal with, and other names of files do now and then. */
  const lift = (at: string, kind: string): void => {
    const seen = lstatSync(at, { throwIfNoEntry: false })
    if (seen === undefined) return
    if (kind === "link" && seen.isSymbolicLink()) could(() => unlinkSync(at))
    else if (kind === "directory" && seen.isDirectory()) could(() => rmdirSync(at))
    else if (kind === "pipe" && seen.isFIFO())
      could(() => renameSync(at, join(orders.stash, `pipe-${random(1_000_000)}`)))
    else if (kind === "secret" && seen.nlink > 1 && random(2) === 0) {
      could(() => renameSync(at, join(orders.stash, `secret-${random(1_000_000)}`)))
    }
  }

  /** A file of the log is moved away, something else lies there for a while, and then it is put back. */
  const swapFile = (): string | null => {
    if (putAllBack() > MOST_HELD) return null
    const names = readdirSync(log).filter((name) => name.startsWith(own))
    const name = pick(names.filter((name) => !name.endsWith(HELD)))
    if (name === undefined) return null
    const at = join(log, name)
    const seen = lstatSync(at, { throwIfNoEntry: false })
    if (seen?.isFile() !== true || seen.nlink > 1) return null
    const held = at + HELD
    if (existsSync(held) || !could(() => renameSync(at, held))) return null
    const kind = lay(at)
    changed()
    wait()
    if (kind !== null) lift(at, kind)
    putBack(at)
    changed()
    return kind
  }
  /** How many there were to put back. */
  const putAllBack = (): number => {
    const kept = readdirSync(log).filter((name) => name.startsWith(own) && name.endsWith(HELD))
    for (const name of kept) putBack(join(log, name.slice(0, -HELD.length)))
    return kept.length
  }
  /** Not over what lies there by now, which may be a file that its writer has just begun. If it can't be now, later. */
  const putBack = (at: string): void => {
    const held = at + HELD
    if (could(() => linkSync(held, at))) unlinkSync(held)
    // Its writer has begun another. Put back in that one's place later, it would be taken for what the writer writes to.
    else if (basename(at) === own) could(() => renameSync(held, `${at}.kept-${(count[0] ?? 0n).toString()}`))
    // Half of a file that the agent was about to make, and may not be linked by others: nothing of the log's is in it alone.
    else if (at.endsWith(".tmp") && !existsSync(at)) could(() => renameSync(held, at))
  }

  const plant = (): string | null => {
    const names = readdirSync(log).filter((name) => name.startsWith(`${own}.`))
    const newest = names
      .toSorted()
      .at(-1)
      ?.slice(own.length + 1, own.length + 16)
    const chosen = pick(names)?.slice(own.length + 1, own.length + 16)
    const stamp = random(3) === 0 ? later(newest, random(3)) : chosen
    if (stamp === undefined || !/^\d{8}-\d{6}$/.test(stamp)) return null
    const at = join(log, `${own}.${stamp}${pick(["", ".gz", ".gz", ".tmp"]) ?? ""}`)
    const kind = lay(at)
    if (kind === null) return null
    changed()
    wait()
    lift(at, kind)
    changed()
    return kind
  }

  const trick = (): string | null => {
    switch (random(6)) {
      case 0:
        swapDirectory(log, orders.victimLog)
        return "the log's directory swapped for a link"
      case 1:
        if (orders.user === null) return null
        swapDirectory(way, orders.victimWay)
        return "the directory above swapped for a link"
      case 2:
      case 3: {
        const kind = swapFile()
        return kind === null ? null : `a file swapped for a ${kind}`
      }
      default: {
        const kind = plant()
        return kind === null ? null : `a ${kind} laid at a name`
      }
    }
  }
  return {
    done,
    putAllBack,
    turn: () => {
      for (let number = 0; number < TRICKS_PER_TURN; number += 1) {
        const what = trick()
        // There was nothing at the name to do it with.
        if (what === null) continue
        done[what] = (done[what] ?? 0) + 1
        wait()
      }
    },
  }
}

/** No record is in any of it: rubbish, a twin of something else, and one that decodes to more than anybody should hold. */
const BOMB = gzipSync(Buffer.alloc(16 * 1024 * 1024))
const OTHER = gzipSync("something else\n".repeat(60))
const bytesFor = (random: (below: number) => number): Uint8Array => {
  const kind = random(8)
  return kind === 0 ? BOMB : kind < 4 ? OTHER : Buffer.from("rubbish\n".repeat(random(200)))
}

const later = (stamp: string | undefined, seconds: number): string | undefined => {
  const [, ...parts] = /^(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)(\d\d)$/.exec(stamp ?? "") ?? []
  const [year, month, day, hour, minute, second] = parts.map(Number)
  if (second === undefined) return undefined
  const at = new Date(Date.UTC(year ?? 0, (month ?? 1) - 1, day, hour, minute, second + seconds))
  return at.toISOString().slice(0, 19).replaceAll(/[-:]/g, "").replace("T", "-")
}

const [orders] = process.argv.slice(2)
if (orders !== undefined) {
  const read = JSON.parse(orders) as Orders
  if (read.user !== null) {
    process.setgroups?.([])
    process.setgid?.(read.user)
    process.setuid?.(read.user)
  }
  const { done, putAllBack, turn } = attack(read)
  let stopping = false
  const again = (): void => {
    if (stopping) {
      putAllBack()
      process.send?.(done, () => process.exit(0))
    } else {
      turn()
      setImmediate(again)
    }
  }
  process.on("message", () => {
    stopping = true
  })
  process.on("disconnect", () => process.exit(1))
  process.send?.("ready")
  again()
}
