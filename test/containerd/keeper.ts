/**
 * Sweeps up behind tests that were cut off. Containers outlive whoever started them, and those of these tests write without end:
 * after Ctrl-C they would fill the disk. So a process of its own watches the tests' end of a pipe, and sweeps when it closes
 * without a word; a SIGKILL of the tests closes it too.
 */
import { spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { fileURLToPath } from "node:url"
import { sweep } from "./sweep.ts"

const SWEPT = "swept"

export class Keeper {
  private readonly child: ChildProcess

  constructor(scratch: string) {
    this.child = spawn(process.execPath, [fileURLToPath(import.meta.url), scratch], {
      stdio: ["pipe", "ignore", "ignore"],
      // Not in the group that Ctrl-C reaches.
      detached: true,
    })
    this.child.on("error", (error) => console.warn(`nobody will sweep up ${scratch} after Ctrl-C: ${error.message}`))
    this.child.unref()
  }

  /** Everything is swept up already. */
  dismiss(): void {
    this.child.stdin?.on("error", () => undefined)
    this.child.stdin?.end(SWEPT)
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , scratch] = process.argv
  let heard = ""
  process.stdin.on("data", (chunk: Buffer) => {
    heard += chunk.toString()
  })
  process.stdin.on("close", () => {
    if (heard !== SWEPT && scratch !== undefined && scratch !== "") sweep(scratch)
  })
}
