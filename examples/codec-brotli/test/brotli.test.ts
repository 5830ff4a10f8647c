// A third party's codec, held to what every codec must do.
import { type Codec, compose } from "@cordwood/core"
import { codecSuite } from "@cordwood/core/testing"
import { Effect } from "effect"
import { describe, it } from "vitest"
import { brotli } from "../brotli.js"

const host = { version: "0.1.0", configHash: "0".repeat(16) }
const contributions = await Effect.runPromise(Effect.scoped(brotli.setup(brotli.config.parse({}), host)))
const { codecs } = await Effect.runPromise(compose([{ plugin: brotli.name, contributions }]))
const codec: Codec = codecs[0]!

/** What brotli can't do, having neither a checksum nor a second stream in a file. The README says what that means. */
const notByThisFormat = new Set([
  "decodes two files that lie one after another to both, wherever the chunks are cut",
  "never decodes to other bytes when one is flipped: it fails, or the byte meant nothing",
])

describe("the suite for codecs", () => {
  for (const { name, run } of codecSuite(codec)) {
    const can = !notByThisFormat.has(name)
    ;(can ? it : it.fails)(can ? name : `fails in what brotli has no means for: ${name}`, run)
  }
})
