/**
 * A writer of logs, in a process of its own: lines from a file, at a rate or as fast as it goes, to one log or several, which it reopens on a signal as nginx
 * does. It knows how large each of its files became, so that nobody has to catch them at their largest.
 */
import { closeSync, fstatSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from "node:fs"
import { setImmediate, setTimeout } from "node:timers/promises"
import { type LeftFile, REOPEN_SIGNAL, type WriterPlan, type WriterReport } from "./writer-plan.ts"

/** Between two writes of a paced writer. */
const TICK_MS = 4
/** Lines between two looks at signals of one that isn't paced: about a millisecond. */
const LINES_PER_TURN = 256
const LOG_MODE = 0o640

interface Open {
  readonly path: string
  descriptor: number
  inode: number
  /** In the file that is open. */
  bytes: number
  total: number
  /** Index of the next line. */
  line: number
}

const open = (path: string): Pick<Open, "descriptor" | "inode" | "bytes"> => {
  const descriptor = openSync(path, "a", LOG_MODE)
  const { ino, size } = fstatSync(descriptor)
  return { descriptor, inode: ino, bytes: size }
}

const writeAll = (descriptor: number, bytes: Buffer): void => {
  for (let from = 0; from < bytes.length;) from += writeSync(descriptor, bytes, from)
}

const main = async (plan: WriterPlan): Promise<void> => {
  const text = readFileSync(plan.lines).subarray(0, plan.linesBytes)
  const ends: Array<number> = []
  for (let at = text.indexOf(10); at !== -1; at = text.indexOf(10, at + 1)) ends.push(at + 1)
  const logs = plan.logs.map((path): Open => ({ path, ...open(path), total: 0, line: 0 }))
  const files: Array<LeftFile> = []
  let asked = false
  process.on(`SIG${REOPEN_SIGNAL}`, () => {
    asked = true
  })
  writeFileSync(`${plan.pidFile}.new`, `${process.pid}\n`, { mode: 0o644 })
  renameSync(`${plan.pidFile}.new`, plan.pidFile)

  const reopen = (): void => {
    asked = false
    for (const log of logs) {
      const { bytes, descriptor, inode } = log
      Object.assign(log, open(log.path))
      closeSync(descriptor)
      if (log.inode !== inode) files.push({ log: log.path, bytes })
    }
  }
  /** Whole lines, at least `bytes` of them, or one line if none are due. */
  const put = (log: Open, bytes: number): void => {
    let start = log.line === 0 ? 0 : (ends[log.line - 1] ?? 0)
    for (let left = bytes; left > 0;) {
      const from = start
      let end = from
      while (end - from < left && log.line < ends.length) {
        end = ends[log.line] ?? end
        log.line += 1
      }
      writeAll(log.descriptor, text.subarray(from, end))
      log.bytes += end - from
      log.total += end - from
      left -= end - from
      start = end
      if (log.line === ends.length) {
        log.line = 0
        start = 0
      }
    }
  }

  const began = new Promise<void>((resolve) => process.once("message", () => resolve()))
  process.send?.({ state: "ready" } satisfies WriterReport)
  await began
  const startMs = performance.now()
  for (;;) {
    const elapsedMs = performance.now() - startMs
    if (elapsedMs >= plan.seconds * 1_000 || logs.every(({ total }) => total >= plan.bytesPerLog)) break
    if (asked) reopen()
    if (plan.bytesPerSecond === null) {
      for (const log of logs) for (let line = 0; line < LINES_PER_TURN; line += 1) put(log, 1)
      await setImmediate()
      continue
    }
    const due = Math.min(plan.bytesPerLog, (plan.bytesPerSecond * elapsedMs) / 1_000)
    for (const log of logs) if (log.total < due) put(log, due - log.total)
    await setTimeout(TICK_MS)
  }
  const seconds = (performance.now() - startMs) / 1_000
  process.send?.({
    state: "done",
    seconds,
    bytes: logs.reduce((sum, { total }) => sum + total, 0),
    files: [...files, ...logs.map(({ bytes, path }) => ({ log: path, bytes }))],
  } satisfies WriterReport)
  // It goes on to obey the signal until it is told to end: a rotation may be under way.
  setInterval(() => {
    if (asked) reopen()
  }, TICK_MS)
}

process.on("disconnect", () => process.exit())
await main(JSON.parse(process.argv[2] ?? "") as WriterPlan)
