/**
 * A witness beside the agent: follows a log through descriptors of its own on every file that ever was the active one. So it has read
 * what the runtime wrote, in the order of writing, whatever became of the files' names: renamed, compressed, removed or renamed over.
 * What it saw and what is on disk can be held against each other. Reads only, and shares no code with the agent.
 */
import { closeSync, fstatSync, openSync, readSync, statSync } from "node:fs"
import { dirname, join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { Accounting, filesOf } from "./account.ts"
import type { Account } from "./account.ts"

/** An active file lives for a second or more, and its segment stays plain for as long again. */
const LOOK_EVERY_MS = 20
const CHUNK_BYTES = 1024 * 1024
/** Of one file, between two looks: reading on must not keep it from seeing the next file. */
const CHUNKS_A_LOOK = 8
/** What the runtime still had in hand when it reopened comes after the new file is there. By the file after that, it has come. */
const NEWER_FILES = 2

interface Followed {
  readonly descriptor: number
  readonly inode: number
  readonly name: string
  readBytes: number
}

export class Witness {
  private readonly log: string
  private readonly accounting: Accounting
  /** Those whose descriptors are open, in the order in which they were the active file; `current` is read, all before it are read. */
  private readonly open: Array<Followed> = []
  private current = 0
  private files = 0
  private readonly late: Array<string> = []
  private readonly chunk = Buffer.alloc(CHUNK_BYTES)
  private dismissed = false
  private readonly following: Promise<void>

  /** Begins at once; the log has an active file already, and was never rotated. */
  constructor(log: string, numberOf: (content: string) => number | undefined) {
    this.log = log
    this.accounting = new Accounting(numberOf, { from: 1 })
    this.following = this.follow()
    // It is told by `account`, which whoever asked for a witness calls.
    this.following.catch(() => undefined)
  }

  /** Files seen so far. */
  get seen(): number {
    return this.files
  }

  /** Of these, how many aren't read to their end yet, the active one among them. */
  get behind(): number {
    return this.open.length - this.current
  }

  /** The writer is held, all it wrote is on disk, and the agent has ended: what was seen, a share for each file that isn't empty. */
  async account(): Promise<Account> {
    this.dismissed = true
    await this.following
    try {
      this.look()
      for (;;) {
        while (this.read());
        if (!this.next()) break
      }
      this.reconsider()
      if (this.late.length > 0)
        throw new Error(`written to long after its successor was there: ${this.late.join(", ")}`)
      return this.accounting.account()
    } finally {
      for (const { descriptor } of this.open) closeSync(descriptor)
    }
  }

  private async follow(): Promise<void> {
    while (!this.dismissed) {
      this.look()
      for (let chunks = 0; chunks < CHUNKS_A_LOOK && this.read(); chunks++);
      while (this.current + NEWER_FILES < this.open.length && !this.read()) this.next()
      this.reconsider()
      await pause(LOOK_EVERY_MS)
    }
  }

  /** Opens what is new: segments by their age, then the active file. An archive is no file that a runtime wrote to. */
  private look(): void {
    for (const { name, role, compressed, bytesOnDisk } of filesOf(this.log)) {
      if (compressed || (role !== "segment" && role !== "active")) continue
      // The name of the next segment, reserved by an empty file. An active file that is still empty is opened when it isn't any more.
      if (bytesOnDisk === 0) continue
      const path = join(dirname(this.log), name)
      try {
        const { ino } = statSync(path)
        if (this.open.some(({ inode }) => inode === ino)) continue
        const descriptor = openSync(path, "r")
        if (fstatSync(descriptor).ino === ino) {
          const name = `file ${(this.files += 1)}`
          this.open.push({ descriptor, inode: ino, name, readBytes: 0 })
          // The first one's turn is now; each further one has to wait.
          if (this.files === 1) this.accounting.begin(name)
        } else closeSync(descriptor)
      } catch {
        // Renamed or removed since the listing: the next look finds it under its new name.
      }
    }
  }

  /** Some more of the current file; false if there is nothing more by now. */
  private read(): boolean {
    const file = this.open[this.current]
    if (file === undefined) return false
    const bytes = readSync(file.descriptor, this.chunk, 0, CHUNK_BYTES, file.readBytes)
    if (bytes === 0) return false
    file.readBytes += bytes
    this.accounting.take(this.chunk.subarray(0, bytes))
    return true
  }

  /** On to the file after the current one; false if there is none. */
  private next(): boolean {
    const file = this.open[this.current + 1]
    if (file === undefined) return false
    this.current += 1
    this.accounting.begin(file.name)
    return true
  }

  /** Lets go of what was read to its end and has no name any more: until then its inode's number is its own. */
  private reconsider(): void {
    for (let index = this.current - 1; index >= 0; index--) {
      const { descriptor, name, readBytes } = this.open[index]!
      const { nlink, size } = fstatSync(descriptor)
      if (size !== readBytes && !this.late.includes(name)) this.late.push(name)
      if (nlink > 0) continue
      closeSync(descriptor)
      this.open.splice(index, 1)
      this.current -= 1
    }
  }
}
