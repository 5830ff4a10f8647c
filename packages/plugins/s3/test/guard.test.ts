// What every guard must do, of the plugin on the strict server.
import { guardSuite } from "@cordwood/core/testing"
import { describe, it } from "vitest"
import { s3 } from "../src/index.ts"
import { useStrict } from "./strict.ts"

const strict = useStrict()
const settings = (endpoint: string) =>
  ({ bucket: "logs", region: "eu-north-1", endpoint, forcePathStyle: true, prefix: "guards", attempts: 1 }) as const

describe("as any guard, it", () => {
  const make = () => s3(settings(strict.server.endpoint))
  // Nobody listens on the port of "discard".
  const outOfReach = () => s3(settings("http://127.0.0.1:9"))
  for (const { name, run } of guardSuite(make, { outOfReach })) it(name, run)
})
