/** A source opened for one test, and its results as plain values. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import type { Log, Source, SourceError } from "@cordwood/core"
import { Effect, Exit, Scope } from "effect"
import { onTestFinished } from "vitest"
import type { SourceFactory } from "../../src/source/source-factory.ts"

const ASK_AGAIN_MS = 10

/** Closed when the test ends. */
export const opened = async (factory: SourceFactory): Promise<Opened> => {
  const scope = await Effect.runPromise(Scope.make())
  const source = await Effect.runPromise(Scope.provide(factory.open, scope))
  const close = (): Promise<void> => Effect.runPromise(Scope.close(scope, Exit.void))
  onTestFinished(close)
  return new Opened(source, close)
}

const plain = ({ detail, hint, op, reason, source, target }: SourceError) => ({
  source,
  op,
  target,
  reason,
  detail,
  hint,
})
export type PlainError = ReturnType<typeof plain>

export class Opened {
  readonly source: Source
  readonly close: () => Promise<void>
  constructor(source: Source, close: () => Promise<void>) {
    this.source = source
    this.close = close
  }
  /** Logs, those of them that are dormant where the source knows of such, or stopped if any is, and problems, or the error. */
  list(): Promise<
    | {
        logs: ReadonlyArray<Log>
        dormant?: ReadonlyArray<string>
        stopped?: ReadonlyArray<string>
        problems: ReadonlyArray<PlainError>
      }
    | { error: PlainError }
  > {
    return Effect.runPromise(
      Effect.match(this.source.list, {
        onFailure: (error) => ({ error: plain(error) }),
        onSuccess: ({ dormant, logs, problems, stopped = new Set<string>() }) => ({
          logs,
          ...(stopped.size === 0 ? {} : { stopped: [...stopped] }),
          ...(dormant === undefined ? {} : { dormant: [...dormant] }),
          problems: problems.map(plain),
        }),
      }),
    )
  }
  reopen(log: Log): Promise<"told" | "not-told" | { error: PlainError }> {
    return Effect.runPromise(
      Effect.match(this.source.reopen(log), {
        onFailure: (error) => ({ error: plain(error) }),
        onSuccess: (told) => told,
      }),
    )
  }
}

/** An empty folder, removed when the test ends. At the top of the temporary ones: a socket's path is short. */
export const scratch = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "cordwood-source-"))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** The first answer that isn't undefined. */
export const eventually = async <A>(
  what: string,
  ask: () => A | undefined | Promise<A | undefined>,
  withinMs = 10_000,
): Promise<A> => {
  for (const startedMs = performance.now(); ;) {
    const answer = await ask()
    if (answer !== undefined) return answer
    if (performance.now() - startedMs > withinMs) throw new Error(`waited ${withinMs} ms in vain for ${what}`)
    await pause(ASK_AGAIN_MS)
  }
}
