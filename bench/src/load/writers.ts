/** Starts writers and hears what they have to say. */
import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import type { WriterPlan, WriterReport } from "./writer-plan.ts"
import type { Children } from "./children.ts"

export interface Writer {
  /** Has it begin; settles when it has written everything, or its time is over. It still obeys the signal then. */
  readonly write: () => Promise<Extract<WriterReport, { readonly state: "done" }>>
  readonly end: () => Promise<void>
}

const SCRIPT = fileURLToPath(new URL("writer.ts", import.meta.url))

/** Its logs and its pid file are there when this settles. */
export const startWriter = async (children: Children, plan: WriterPlan): Promise<Writer> => {
  const child = children.add(
    fork(SCRIPT, [JSON.stringify(plan)], { execArgv: [], stdio: ["ignore", "ignore", "inherit", "ipc"] }),
  )
  await heard(child, "ready")
  return {
    write: () => {
      const done = heard(child, "done")
      child.send("begin")
      return done
    },
    end: () => children.end(child),
  }
}

const heard = <State extends WriterReport["state"]>(
  child: ChildProcess,
  state: State,
): Promise<Extract<WriterReport, { readonly state: State }>> =>
  new Promise((resolve, reject) => {
    const ended = (code: number | null): void => reject(new Error(`a writer ended too early, with ${String(code)}`))
    child.once("exit", ended)
    child.on("message", function hear(message) {
      const report = message as WriterReport
      if (report.state !== state) return
      child.off("message", hear)
      child.off("exit", ended)
      resolve(report as Extract<WriterReport, { readonly state: State }>)
    })
  })
