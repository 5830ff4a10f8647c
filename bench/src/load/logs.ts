/** Logs on disk for daemons to look after: laid out like the kubelet's, one directory for each container. */
import { closeSync, copyFileSync, mkdirSync, openSync, readSync, utimesSync, writeFileSync } from "node:fs"
import { join } from "node:path"

/** Long enough ago that nothing about them is news. */
const LONG_AGO_S = 3_600

const shaped = (n: number): string => join(`default_pod-${String(n).padStart(5, "0")}_5f1a`, "app")

/** `count` logs that nobody writes to, of a few bytes. Gives the pattern that matches them. */
export const idleLogs = (directory: string, count: number): string => {
  for (let n = 0; n < count; n += 1) {
    const container = join(directory, shaped(n))
    mkdirSync(container, { recursive: true })
    writeFileSync(join(container, "0.log"), "2026-09-09T04:33:10.123456789Z stdout F ready\n")
    age(container)
  }
  return join(directory, "*", "*", "0.log")
}

/** As many in one directory, as programs on a plain host have them. */
export const idleLogsInOne = (directory: string, count: number): string => {
  mkdirSync(directory, { recursive: true })
  for (let n = 0; n < count; n += 1) writeFileSync(join(directory, `site-${String(n).padStart(5, "0")}.log`), "ready\n")
  age(directory)
  return join(directory, "*.log")
}

const age = (path: string): void => {
  const then = Date.now() / 1_000 - LONG_AGO_S
  utimesSync(path, then, then)
}

/** `logs` logs, each with `segments` plain segments cut from `corpus`, and the one more that is left plain. Gives their pattern. */
export const segmentsOf = (
  directory: string,
  {
    bytes,
    corpus,
    logs,
    segments,
  }: { readonly corpus: string; readonly logs: number; readonly segments: number; readonly bytes: number },
): string => {
  const first = join(directory, "segment")
  mkdirSync(directory, { recursive: true })
  writeFileSync(first, headOf(corpus, bytes))
  for (let log = 0; log < logs; log += 1) {
    const container = join(directory, shaped(log))
    mkdirSync(container, { recursive: true })
    writeFileSync(join(container, "0.log"), "")
    for (let n = 0; n <= segments; n += 1) {
      const segment = join(container, `0.log.20260101-0000${String(n).padStart(2, "0")}`)
      copyFileSync(first, segment)
      // One that was just written to isn't compressed yet.
      age(segment)
    }
    age(container)
  }
  return join(directory, "*", "*", "0.log")
}

const headOf = (path: string, bytes: number): Buffer => {
  const head = Buffer.alloc(bytes)
  const descriptor = openSync(path, "r")
  try {
    return head.subarray(0, readSync(descriptor, head, 0, bytes, 0))
  } finally {
    closeSync(descriptor)
  }
}
