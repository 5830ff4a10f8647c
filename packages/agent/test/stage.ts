/** The whole agent over a node in memory, on virtual time, for tests. */
import { assert } from "@effect/vitest"
import {
  type Appended,
  type Codec,
  type Configured,
  definePlugin,
  type Envelope,
  Journal,
  JournalError,
  type Log,
  LogFiles,
  type Unstored,
} from "@cordwood/core"
import { plainCodec, World } from "@cordwood/core/testing"
import { Context, Effect, Fiber, Layer, Logger, type Scope } from "effect"
import { TestClock } from "effect/testing"
import * as z from "zod"
import { Agent, type AgentPorts, type AgentShape } from "../src/agent.ts"
import type { AgentOptions } from "../src/agent-options.ts"

export const START = Date.parse("2026-09-09T04:33:10Z")
export const text = new TextEncoder()
export const pathOf = (name: string): string => `/pods/ns_${name}_uid/app/0.log`
export const logOf = (name: string): Log => ({ path: pathOf(name), pod: name, containerId: name })

export const bring = (codec: Codec): Configured =>
  definePlugin({
    name: codec.id,
    api: 1,
    config: z.strictObject({}),
    setup: () => Effect.succeed({ codecs: [codec] }),
  })()

export interface Stage {
  readonly world: World
  readonly events: Array<Envelope>
  readonly ports: AgentPorts
  /** What the journal does with a batch; changed by tests. */
  journal: { fails: boolean }
}
export const stage = (): Stage => {
  const world = new World()
  const events: Array<Envelope> = []
  const journal = { fails: false }
  let ids = 0
  const append = (batch: ReadonlyArray<Unstored>): Effect.Effect<Appended, JournalError> =>
    Effect.suspend(() => {
      if (journal.fails) {
        return new JournalError({
          op: "append",
          path: "/journal",
          reason: "NoSpace",
          detail: "disk full",
          hint: "make room",
        })
      }
      const stored = batch.map((event, at): Envelope => ({ ...event, position: events.length + at + 1 }))
      events.push(...stored)
      return Effect.succeed({ events: stored, replaced: null })
    })
  const ports: AgentPorts = {
    files: Layer.sync(LogFiles, () => world.files()),
    journal: () =>
      Layer.sync(Journal, () => ({
        append,
        read: () => Effect.succeed([]),
        replay: Effect.sync(() => events.map((event) => ({ _tag: "Known" as const, event }))),
      })),
    newId: () => `00000000-0000-4000-8000-${String((ids += 1)).padStart(12, "0")}`,
  }
  return { world, events, ports, journal }
}

export const agentOf = (
  { ports, world }: Stage,
  names: () => ReadonlyArray<string>,
  options: Partial<AgentOptions> = {},
): Effect.Effect<AgentShape, never, Scope.Scope> =>
  Effect.map(
    Effect.orDie(
      Layer.build(
        Agent.layer(
          {
            sources: [{ name: "world", open: Effect.sync(() => world.source(() => names().map(logOf))) }],
            policy: { maxSize: 10, maxFiles: 4, compression: "plain" },
            plugins: [bring(plainCodec)],
            ...options,
          },
          ports,
        ),
      ),
    ),
    (context) => Context.get(context, Agent),
  )

/** Stops an agent and lets the time pass that it gives its steps in hand. */
export const stop = (running: Fiber.Fiber<unknown, unknown>): Effect.Effect<void> =>
  Effect.gen(function* () {
    const stopped = yield* Effect.forkDetach(Fiber.interrupt(running))
    yield* TestClock.adjust("30 seconds")
    yield* Fiber.join(stopped)
  })

export const types = (events: ReadonlyArray<Envelope>, name?: string): ReadonlyArray<string> =>
  events.filter(({ log }) => name === undefined || log.path === pathOf(name)).map(({ type }) => type)

/** Lets promises (codecs) go on, which virtual time doesn't wait for, until something is so. */
export const until = (what: string, isSo: () => boolean): Effect.Effect<void> =>
  Effect.gen(function* () {
    for (let turn = 0; turn < 2_000; turn += 1) {
      if (isSo()) return
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
    }
    assert.fail(`never so: ${what}`)
  })

/** Lets promises go on until nothing more happens to the disk. */
export const settle = ({ world }: Stage): Effect.Effect<void> =>
  Effect.promise(async () => {
    for (let quiet = 0, calls = world.calls.length; quiet < 40; quiet += 1) {
      await new Promise((resolve) => setImmediate(resolve))
      if (world.calls.length !== calls) quiet = 0
      calls = world.calls.length
    }
  })

/** Every file with what it holds. */
export const disk = ({ world }: Stage): Readonly<Record<string, string>> =>
  Object.fromEntries(world.paths().map((path) => [path, new TextDecoder().decode(world.read(path))]))

/** What has happened, without what differs from run to run or is carried along: identities, and the histories of segments. */
export const factsOf = (events: ReadonlyArray<Envelope>): ReadonlyArray<unknown> =>
  events.map((event) => {
    if (event.type !== "Scanned") return [event.type, event.data]
    const { files, ...rest } = event.data as { readonly files: ReadonlyArray<{ name: string; bytes: number }> }
    return [event.type, { ...rest, files: files.map(({ bytes, name }) => ({ name, bytes })) }]
  })

/** With what is logged meanwhile: `warn: …`. */
export const logged = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
): Effect.Effect<{ readonly value: A; readonly lines: ReadonlyArray<string> }, E, R> =>
  Effect.suspend(() => {
    const lines: Array<string> = []
    const logger = Logger.make<unknown, void>(({ logLevel, message }) => {
      lines.push(`${logLevel.toLowerCase()}: ${(Array.isArray(message) ? message : [message]).join(" ")}`)
    })
    return Effect.map(Effect.provide(effect, Logger.layer([logger])), (value) => ({ value, lines }))
  })
