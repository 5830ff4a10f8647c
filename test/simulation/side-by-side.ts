/**
 * Runs seeds on several threads at a time, each just as it would run alone: a run shares nothing with another. Tells of each as soon as it is done, in no
 * order; judges nothing, and prints nothing.
 */
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads"
import { agentSubject } from "./agent-subject.ts"
import { kubeletSubject } from "./kubelet-subject.ts"
import type { Subject } from "./node.ts"
import { type Outcome, run } from "./run.ts"
import { scenarioOf } from "./scenario.ts"

export const SUBJECTS = { cordwood: agentSubject, kubelet: kubeletSubject } satisfies Record<string, Subject>
export type SubjectName = keyof typeof SUBJECTS

export interface Ran {
  readonly seed: number
  /** Without its story. */
  readonly outcome: Outcome
}
export interface Seeds {
  readonly from: number
  readonly count: number
  readonly subject: SubjectName
  /** Threads. */
  readonly jobs: number
}

/** Throws what a run has thrown. Whoever returns early ends the threads. */
export async function* runSideBySide({ count, from, jobs, subject }: Seeds): AsyncGenerator<Ran, void, undefined> {
  const ran: Array<Ran> = []
  const broken: Array<unknown> = []
  let wake = (): void => undefined
  let next = from
  const give = (worker: Worker): void => {
    if (next === from + count) return
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- it goes to a thread, not to a window
    worker.postMessage(next)
    next += 1
  }
  const workers = Array.from({ length: Math.min(jobs, count) }, () => {
    const worker = new Worker(new URL(import.meta.url), { workerData: subject })
    worker.on("message", (one: Ran) => {
      ran.push(one)
      give(worker)
      wake()
    })
    worker.on("error", (error) => {
      broken.push(error)
      wake()
    })
    give(worker)
    return worker
  })
  try {
    for (let told = 0; told < count;) {
      if (broken.length > 0) throw broken[0]
      const some = ran.splice(0)
      for (const one of some) yield one
      told += some.length
      if (some.length === 0) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    }
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()))
  }
}

if (!isMainThread) {
  const subject = SUBJECTS[workerData as SubjectName]
  parentPort?.on("message", (seed: number) => {
    void run(scenarioOf(seed), { subject }).then((outcome) => {
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- it goes to a thread, not to a window
      parentPort?.postMessage({ seed, outcome } satisfies Ran)
    })
  })
}
