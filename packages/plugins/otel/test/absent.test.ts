// What is loaded, and what happens where the packages that may be left out are not installed: in a process of its own, whose Node doesn't find them.
import { execFile } from "node:child_process"
import { promisify } from "node:util"
import { describe, expect, it } from "vitest"

const PLUGIN = new URL("../src/index.ts", import.meta.url).href

/** Prints what comes of a set-up with `config`, and which of OpenTelemetry's packages were loaded on the way. */
const program = (config: object, installed: boolean): string => `
  import { registerHooks } from "node:module"
  const loaded = new Set()
  registerHooks({
    resolve: (specifier, context, next) => {
      const name = /^@opentelemetry\\/[^/]+/.exec(specifier)?.[0]
      if (name !== undefined) {
        if (!${installed} && name !== "@opentelemetry/api") {
          throw Object.assign(new Error("Cannot find package '" + name + "' imported from " + context.parentURL), { code: "ERR_MODULE_NOT_FOUND" })
        }
        loaded.add(name)
      }
      return next(specifier, context)
    },
  })
  const { otel } = await import(${JSON.stringify(PLUGIN)})
  const { Effect, Exit, Cause } = await import("effect")
  const { trace } = await import("@opentelemetry/api")
  const names = []
  const span = { spanContext: () => ({ traceId: "a".repeat(32), spanId: "b".repeat(16), traceFlags: 1 }), isRecording: () => true,
    setAttribute() {}, addEvent() {}, addLinks() {}, setStatus() {}, recordException() {}, end() {} }
  if (${JSON.stringify("exporter" in config)}) trace.setGlobalTracerProvider({ getTracer: () => ({ startSpan: (name) => (names.push(name), span) }) })
  const exit = await Effect.runPromiseExit(Effect.scoped(Effect.flatMap(
    otel.setup(otel.config.parse(${JSON.stringify(config)}), { version: "1.2.3", configHash: "0" }),
    ({ tracer, ...more }) => Effect.as(Effect.withTracer(Effect.withSpan(Effect.void, "pass"), tracer), Object.keys(more)),
  )))
  const { message, hint } = Exit.isSuccess(exit) ? {} : Cause.squash(exit.cause)
  console.log(JSON.stringify({ brings: Exit.isSuccess(exit) ? exit.value : null, message, hint, names, loaded: [...loaded].sort() }))
`

const run = async (config: object, installed: boolean): Promise<unknown> => {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(OTEL_|TRACE|NODE_OPTIONS)/.test(name)),
  )
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--conditions=cordwood-source", "--no-warnings", "--input-type=module", "--eval", program(config, installed)],
    { env, timeout: 15_000 },
  )
  return JSON.parse(stdout)
}
const API = ["@opentelemetry/api"]

describe("with nothing but @opentelemetry/api installed, the plugin", () => {
  it("does nothing where there is no SDK", async () =>
    expect(await run({}, false)).toEqual({ brings: ["observe"], names: [], loaded: API }))

  it("traces with the SDK that the process has registered", async () =>
    expect(await run({ exporter: "global" }, false)).toEqual({ brings: ["observe"], names: ["pass"], loaded: API }))

  it.each([
    [{ endpoint: "http://127.0.0.1:9" }, "@opentelemetry/otlp-transformer"],
    [{ logs: true }, "@opentelemetry/api-logs"],
  ])("says what is missing for %j", async (config, missing) =>
    expect(await run(config, false)).toMatchObject({
      brings: null,
      message: `plugin otel, setup: telemetry was asked for, but ${missing} is not installed`,
      hint: "npm install @cordwood/plugin-otel without --omit=optional, or register an SDK of your own and write exporter: global",
    }),
  )
})

describe("with all of it installed, the plugin", () => {
  it("loads no SDK where none is asked for", async () =>
    expect(await run({}, true)).toEqual({ brings: ["observe"], names: [], loaded: API }))
})
