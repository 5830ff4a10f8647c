/** The plugin, all but its client: over an S3 that a test brings. Opens no connection, and reads no environment. */
import { definePlugin, type PluginFactory } from "@cordwood/core"
import type { S3 } from "../client.ts"
import { Config } from "../config.ts"
import { contributionsOver } from "../guard.ts"

/** A node that doesn't say its name. */
const TEST_NODE = "node"

/**
 * `s3Over(bucket)({ bucket: "logs" })`. What the config says of connections (`region`, `attempts`, timeouts …) is for `s3` to keep to. `partSize`, in bytes,
 * takes the place of the config's, and may be less than what S3 takes, so that short segments go in parts, too.
 */
export const s3Over = (s3: S3, { partSize }: { readonly partSize?: number } = {}): PluginFactory<typeof Config> =>
  definePlugin({
    name: "s3",
    api: 1,
    config: Config,
    setup: (config) =>
      contributionsOver(s3, partSize === undefined ? config : { ...config, partSize }, config.node ?? TEST_NODE),
  })
