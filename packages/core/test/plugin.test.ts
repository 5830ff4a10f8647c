// What a plugin is.
import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import * as z from "zod"
import { definePlugin, type Plugin, PLUGIN_API, PluginError } from "@cordwood/core"

const definition = {
  name: "zstd",
  api: PLUGIN_API,
  config: z.strictObject({ level: z.int().default(3) }),
  setup: () => Effect.succeed({}),
} satisfies Plugin

describe("definePlugin", () => {
  const zstd = definePlugin(definition)

  it("makes a plugin that code calls with its config, which is checked later, with everybody else's", () => {
    expect(zstd({ level: 4 }).config).toEqual({ level: 4 })
    expect(zstd().config).toEqual({})
    // @ts-expect-error the compiler knows the config
    expect(zstd({ levle: 4 }).config).toEqual({ levle: 4 })
  })

  it("keeps the definition at hand, on the factory and on what it makes", () => {
    expect({ ...zstd }).toEqual(definition)
    expect(zstd.name).toBe("zstd")
    expect(zstd().plugin).toBe(definition)
  })

  it("asks for a config where the schema has no defaults", () => {
    const s3 = definePlugin({ ...definition, name: "s3", config: z.strictObject({ bucket: z.string() }) })
    expect(s3({ bucket: "logs" }).config).toEqual({ bucket: "logs" })
    // @ts-expect-error it has to be given
    expect(s3().config).toEqual({})
  })

  it("takes a schema that isn't an object's", () => {
    const empty = definePlugin({ ...definition, name: "empty", config: z.undefined() })
    expect(empty().plugin.name).toBe("empty")
  })
})

describe("a plugin's error", () => {
  it("says which plugin, where, and what", () => {
    const error = new PluginError({ plugin: "s3", slot: "setup", detail: "no bucket", hint: "set bucket" })
    expect({ message: error.message, tag: error._tag, hint: error.hint }).toEqual({
      message: "plugin s3, setup: no bucket",
      tag: "PluginError",
      hint: "set bucket",
    })
  })
})
