/** The processes that a benchmark has started, so that none outlives it. Ends only those. */
import type { ChildProcess } from "node:child_process"

/** A daemon gets this long to finish the steps in hand. */
const END_LIMIT_MS = 25_000

export interface Children {
  readonly add: <Child extends ChildProcess>(child: Child) => Child
  /** Asks it to end, and waits; in the end without asking. */
  readonly end: (child: ChildProcess) => Promise<void>
  /** At once, whatever they do. */
  readonly killAll: () => void
}

export const makeChildren = (): Children => {
  const running = new Set<ChildProcess>()
  return {
    add: (child) => {
      running.add(child)
      child.once("exit", () => running.delete(child))
      return child
    },
    end: (child) => {
      if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve()
      return new Promise((resolve) => {
        const impatient = setTimeout(() => child.kill("SIGKILL"), END_LIMIT_MS)
        child.once("exit", () => {
          clearTimeout(impatient)
          resolve()
        })
        child.kill("SIGTERM")
      })
    },
    killAll: () => {
      for (const child of running) child.kill("SIGKILL")
    },
  }
}
