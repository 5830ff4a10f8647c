// The SDK costs tens of megabytes: only those who configure the plugin pay for it.
import { spawnSync } from "node:child_process"
import { describe, expect, it } from "vitest"

/** How many modules of AWS's a process has loaded, once the plugin is imported and again once it is set up. */
const script = `
  import { registerHooks } from "node:module"
  let loaded = 0
  registerHooks({ load: (url, context, next) => { if (/@aws-sdk|@smithy/.test(url)) loaded += 1; return next(url, context) } })
  const { s3 } = await import(${JSON.stringify(import.meta.resolve("../src/index.ts"))})
  const { Effect } = await import("effect")
  const imported = loaded
  await Effect.runPromise(Effect.scoped(s3.setup(s3.config.parse({ bucket: "logs", region: "eu-west-1" }), { version: "0", configHash: "0" })))
  console.log(JSON.stringify({ imported, more: loaded > imported }))
`

describe("importing the plugin", () => {
  it("doesn't load the SDK, and setting it up does", () => {
    const { stderr, stdout } = spawnSync(
      process.execPath,
      ["--conditions=cordwood-source", "--input-type=module", "--eval", script],
      { encoding: "utf8" },
    )
    expect({ stdout, stderr }).toEqual({ stdout: '{"imported":0,"more":true}\n', stderr: "" })
  })
})
