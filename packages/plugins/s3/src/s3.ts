/** The plugin as users get it: over AWS's SDK, with this node's name. What it does with S3 is guard.ts. */
import { hostname } from "node:os"
import { definePlugin, PluginError, type PluginFactory } from "@cordwood/core"
import { Effect } from "effect"
import { connect } from "./client.ts"
import { Config } from "./config.ts"
import { contributionsOver } from "./guard.ts"

/** `s3({ bucket: "logs", region: "eu-west-1" })`. */
export const s3: PluginFactory<typeof Config> = definePlugin({
  name: "s3",
  api: 1,
  config: Config,
  setup: (config) =>
    Effect.gen(function* () {
      const client = yield* Effect.mapError(
        connect(config),
        ({ detail, hint }) => new PluginError({ plugin: "s3", slot: "setup", detail, hint }),
      )
      return yield* contributionsOver(client, config, config.node ?? (process.env["NODE_NAME"] || hostname()))
    }),
})
