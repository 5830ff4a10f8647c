/** The S3 plugin as it is, over the S3 of a simulation. Adds nothing to it but a patience that may be shorter than it asks for. */
import type { Configured } from "@cordwood/core"
import { s3Over } from "@cordwood/plugin-s3/testing"
import { Effect } from "effect"
import type { ObjectStore } from "./object-store.ts"
import { packed } from "./packed.ts"
import type { Shipping } from "./scenario.ts"

export const shipping = (
  store: ObjectStore,
  { breaker, compresses, concurrency, early, keeps, limitMs, partSize }: Shipping,
  isDead: () => boolean,
): Configured => {
  const { config, plugin } = s3Over(
    store.client(isDead),
    partSize === null ? {} : { partSize },
  )({
    bucket: "logs",
    // One that isn't AWS's may know no other checksum than MD5, and is sent it.
    ...(keeps === "checksums" ? {} : { endpoint: "http://s3.example" }),
    when: early ? "on-rotate" : "before-remove",
    compress: compresses ? packed.id : "none",
    concurrency,
    breaker: { failures: breaker.failures, cooldown: `${breaker.cooldownMs}ms` },
  })
  if (limitMs === null) return { config, plugin }
  const hurried: Configured["plugin"] = {
    ...plugin,
    setup: (parsed, host) =>
      Effect.map(plugin.setup(parsed, host), (contributions) => ({
        ...contributions,
        guard: { ...contributions.guard, limitMs },
      })),
  }
  return { config, plugin: hurried }
}
