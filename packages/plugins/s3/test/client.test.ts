// The client over AWS's SDK, on the strict server, held against what every `S3` must do. On a foreign one: see foreign.test.ts.
import { Effect } from "effect"
import { describe, it } from "vitest"
import { connect } from "../src/client.ts"
import { Config } from "../src/config.ts"
import { s3Suite } from "../src/testing/index.ts"
import { useStrict } from "./strict.ts"

const strict = useStrict()

describe("the client over AWS's SDK", () => {
  for (const { name, run } of s3Suite("suite")) {
    it(name, () => {
      const { endpoint, region } = strict.server
      const config = Config.parse({ bucket: "logs", endpoint, region, forcePathStyle: true, attempts: 1 })
      return Effect.runPromise(Effect.scoped(Effect.flatMap(connect(config), run)))
    })
  }
})
