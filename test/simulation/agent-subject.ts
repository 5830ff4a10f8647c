/** The whole agent, as it runs on a simulated node. Adds nothing to it but what stands in for the disk, the runtime, the journal and the store. */
import { Agent } from "@cordwood/agent"
import { type Configured, definePlugin, LogFiles } from "@cordwood/core"
import { Context, Effect, Layer } from "effect"
import * as z from "zod"
import type { Node, Subject } from "./node.ts"
import { packed } from "./packed.ts"
import { shipping } from "./shipping.ts"

const packing: Configured = definePlugin({
  name: "packed",
  api: 1,
  config: z.strictObject({}),
  setup: () => Effect.succeed({ codecs: [packed] }),
})()

export const agentSubject: Subject = {
  name: "Cordwood",
  keepsRecords: true,
  minds: true,
  run: ({ foundFree, isDead, journal, newId, scenario, source, store, world }: Node) =>
    Effect.scoped(
      Effect.flatMap(
        Layer.build(
          Agent.layer(
            {
              sources: [{ name: "world", open: Effect.sync(source) }],
              policy: scenario.policy,
              plugins: [
                packing,
                ...(store === null || scenario.shipping === null ? [] : [shipping(store, scenario.shipping, isDead)]),
              ],
              interval: `${scenario.intervalMs}ms`,
              workers: scenario.workers,
            },
            {
              files: Layer.sync(LogFiles, () => {
                const files = world.files()
                const free = (active: string) =>
                  Effect.tap(files.free(active), (bytes) => Effect.sync(() => foundFree(bytes)))
                return { ...files, free }
              }),
              journal: (_settings, decode) => journal.open(decode),
              newId,
            },
          ),
        ),
        (context): Effect.Effect<unknown, unknown> => {
          const agent = Context.get(context, Agent)
          return scenario.mode === "once" ? agent.once : agent.run
        },
      ),
    ),
}
