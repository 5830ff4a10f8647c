// The same agent as a part of an Effect program: a Layer, and effects for what it can do. Run it with `npm run start:layer`.
import { Agent } from "@cordwood/agent"
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer, PubSub, Runtime } from "effect"
import { optionsFromEnvironment } from "./options.ts"

/** Every event as it is stored, beside whatever else the program does. */
const tell = Effect.gen(function* () {
  const { subscribe } = yield* Agent
  const events = yield* subscribe
  yield* PubSub.take(events).pipe(
    Effect.flatMap(({ data, log, type }) => Console.log(JSON.stringify({ type, log: log.path, data }))),
    Effect.forever,
  )
})

const rotate = Effect.flatMap(Agent, ({ run }) => run)

const program = Layer.effectDiscard(Effect.forkScoped(Effect.scoped(tell))).pipe(
  Layer.provideMerge(Agent.layer(optionsFromEnvironment())),
)

// Interrupted by a signal, the agent finishes the steps in hand before its layer is closed. To be stopped so is no failure: 130 becomes 0.
NodeRuntime.runMain(Effect.provide(rotate, program), {
  teardown: (exit, done) => Runtime.defaultTeardown(exit, (code) => done(code === 130 ? 0 : code)),
})
