/** What this agent is made of: sources, policy, plugins. Both ways of running it, promises.ts and layer.ts, begin here. */
import { type AgentOptions, files } from "@cordwood/agent"
import { otel } from "@cordwood/plugin-otel"
import { s3 } from "@cordwood/plugin-s3"
import { zstd } from "@cordwood/plugin-zstd"

/** Says what is missing rather than going on without it. */
const needed = (name: string): string => {
  const value = process.env[name]
  if (value === undefined || value === "") throw new Error(`set ${name}; README.md says to what`)
  return value
}

export const optionsFromEnvironment = (): AgentOptions => {
  const endpoint = process.env["S3_ENDPOINT"]
  return {
    // For the containers of a node: cri({ endpoint: "unix:///run/containerd/containerd.sock" }).
    sources: [files({ include: [`${needed("LOGS")}/*.log`], reopen: "none" })],
    policy: {
      maxSize: "1Mi",
      maxFiles: 3,
      compression: "zstd",
      // What can't be shipped stays, until the disk gets tight; what is dropped then is an event, and a line in the log.
      deferred: { onPressure: "drop", minFree: "1Gi" },
      // Databases first get watched only: every step is planned and traced, and none is taken.
      overrides: [{ name: "databases", match: { path: "*/postgres-*" }, mode: "observe" }],
    },
    plugins: [
      zstd(),
      s3({
        bucket: needed("BUCKET"),
        prefix: "v1/cluster=example",
        ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true }),
      }),
      // To the collector that OTEL_EXPORTER_OTLP_ENDPOINT names, or through the SDK that the process has registered; else nowhere.
      otel({ serviceName: "custom-agent" }),
    ],
    journal: { path: needed("JOURNAL") },
  }
}
