/**
 * strace on a thread, or on all threads, of a process that is running already: tells which calls change files, and has one of them, or each, meet
 * with a signal. Changes nothing else in the process.
 */
import { spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { createInterface } from "node:readline"
import { readFileSync } from "node:fs"
import { onTestFinished } from "vitest"

/** Every system call by which a program can change what a directory or a file holds, or have it synced. */
export const CHANGING = [
  "openat,open,creat,mkdir,mkdirat,rmdir,unlink,unlinkat,rename,renameat,renameat2,link,linkat,symlink,symlinkat",
  "write,writev,pwrite64,pwritev,pwritev2,truncate,ftruncate,fallocate,copy_file_range,sendfile",
  "chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat,utimensat,setxattr,fsetxattr,removexattr,fremovexattr",
  "fsync,fdatasync,sync_file_range,syncfs,msync",
].join(",")

/** A call as strace tells it, with what it says of the descriptors. */
export interface Call {
  readonly thread: number
  readonly name: string
  /** Among the calls of this name and thread, from 1: so strace counts for `when=`. */
  readonly nth: number
  readonly text: string
}

/** Whether the call is about a file, and can have changed something: opening one to read it doesn't, nor does waking a thread through a pipe. */
export const changes = ({ name, text }: Call): boolean => {
  if (name.startsWith("open")) return /O_CREAT|O_TRUNC/.test(text)
  return !/^writev?\(\d+<(pipe|socket|anon_inode|\/dev\/)/.test(text)
}

export interface Tracing {
  /** Calls of one thread, or of all. */
  readonly whose: "thread" | "process"
  /** Given to strace as `inject=`. */
  readonly inject?: string
}

export class Trace {
  readonly ended: Promise<void>
  readonly #child: ChildProcess
  readonly #file: string

  private constructor(id: number, file: string, { inject, whose }: Tracing) {
    const expressions = ["-e", `trace=${CHANGING}`, ...(inject === undefined ? [] : ["-e", `inject=${inject}`])]
    const all = whose === "process" ? ["-f"] : []
    this.#file = file
    // -y: the path behind each descriptor.
    this.#child = spawn("strace", [...all, "-y", "-s", "0", ...expressions, "-o", file, "-p", String(id)], {
      stdio: ["ignore", "ignore", "pipe"],
    })
    this.ended = new Promise((resolve) => this.#child.once("close", () => resolve()))
    onTestFinished(async () => {
      this.#child.kill("SIGTERM")
      await this.ended
    })
  }

  /** Back once the process is traced. */
  static async on(id: number, file: string, tracing: Tracing): Promise<Trace> {
    const trace = new Trace(id, file, tracing)
    const said: Array<string> = []
    for await (const line of createInterface({ input: trace.#child.stderr! })) {
      said.push(line)
      if (/ attached/.test(line)) {
        trace.#child.stderr?.resume()
        return trace
      }
    }
    throw new Error(`strace can't be put on ${id}: ${said.join("; ")}`)
  }

  /** How often a thread was stopped so far by the signal that is injected. */
  stopsOf(thread: number): number {
    return this.text.split("\n").filter((line) => line.startsWith(`${thread} `) && line.includes("--- stopped by "))
      .length
  }

  /** What was traced so far. */
  get text(): string {
    return readFileSync(this.#file, "utf8")
  }

  /** The calls, in their order, of a trace of a whole process. */
  get calls(): ReadonlyArray<Call> {
    const counts = new Map<string, number>()
    return this.text.split("\n").flatMap((line) => {
      const [, thread, text, name] = /^(\d+) +(([a-z]\w*)\(.*)$/.exec(line) ?? []
      if (thread === undefined || text === undefined || name === undefined) return []
      const key = `${thread} ${name}`
      const nth = (counts.get(key) ?? 0) + 1
      counts.set(key, nth)
      return [{ thread: Number(thread), name, nth, text }]
    })
  }
}
