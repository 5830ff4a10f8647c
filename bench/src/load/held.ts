/**
 * Loaded into a daemon before its own program (`node --import`): says how long its event loop was held at a stretch, in a file that `HELD_SAYS` names. Changes
 * nothing else of it.
 */
import { writeFileSync } from "node:fs"

export interface Held {
  /** Longest time between two turns of a timer, milliseconds: others on the machine, and waiting for the disk, are in it. */
  readonly longestMs: number
  /** Most that the thread was on a processor between two turns: its own work, whatever else the machine does. */
  readonly longestCpuMs: number
}

const EVERY_MS = 5
const SAY_EVERY_MS = 1_000
const MICROSECONDS_PER_MS = 1_000

const file = process.env["HELD_SAYS"]
if (file !== undefined) {
  const cpuMs = (): number => {
    const { system, user } = process.threadCpuUsage()
    return (user + system) / MICROSECONDS_PER_MS
  }
  let lastMs = performance.now()
  let lastCpuMs = cpuMs()
  let held: Held = { longestMs: 0, longestCpuMs: 0 }
  setInterval(() => {
    const nowMs = performance.now()
    const nowCpuMs = cpuMs()
    held = {
      longestMs: Math.max(held.longestMs, nowMs - lastMs - EVERY_MS),
      longestCpuMs: Math.max(held.longestCpuMs, nowCpuMs - lastCpuMs),
    }
    lastMs = nowMs
    lastCpuMs = nowCpuMs
  }, EVERY_MS).unref()
  setInterval(() => writeFileSync(file, JSON.stringify(held)), SAY_EVERY_MS).unref()
}
