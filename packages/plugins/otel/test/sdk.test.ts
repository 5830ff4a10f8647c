// The plugin with an SDK of its own, to a real collector over HTTP: what arrives, decoded by the public schema; and what a bad collector changes: nothing.
import { Effect, Exit, type Tracer } from "effect"
import { linksTo } from "@cordwood/core"
import { trace } from "@opentelemetry/api"
import { hostname } from "node:os"
import type { ServerResponse } from "node:http"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { type Collector, deadPort, startCollector, until } from "./collector.ts"
import { eventOf, observed, traced, withOtel } from "./set-up.ts"

let collector: Collector
beforeEach(async () => {
  for (const name of Object.keys(process.env)) if (/^(OTEL_|TRACE|NODE_NAME)/.test(name)) vi.stubEnv(name, undefined)
  collector = await startCollector()
})
afterEach(async () => {
  vi.unstubAllEnvs()
  await collector.close()
})

const ROTATED = eventOf({
  type: "Rotated",
  data: { from: "/a", to: "/a.20260909-043310", bytes: 110, maxSize: 100, reopened: true },
})
const ORIGIN = { eventId: "e1", traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331" }

const program = Effect.withSpan(
  Effect.andThen(
    Effect.withSpan(Effect.void, "cordwood.remove", { attributes: { "cordwood.bytes": 7 }, links: linksTo(ORIGIN) }),
    Effect.withSpan(Effect.void, "cordwood.clean", {
      attributes: { "error.type": "NoSpace", "error.message": "the disk is full" },
    }),
  ),
  "cordwood.pass",
  { attributes: { "log.file.path": "/a", "cordwood.pass.steps": ["remove", "clean"] } },
)

/** Answers every request with these bytes. */
const answering =
  (body: string, code = 200) =>
  (response: ServerResponse): void =>
    void response.writeHead(code).end(body)

describe.each(["http/protobuf", "http/json"] as const)("over %s, a collector", (protocol) => {
  it.each(["none", "gzip"] as const)(
    "gets spans, metrics and log records, with compression: %s",
    async (compression) => {
      vi.stubEnv("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
      vi.stubEnv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=a%20b")
      const { said } = await withOtel({ endpoint: collector.url, protocol, logs: true }, async (contributions) => {
        expect(await traced(contributions, program)).toEqual(Exit.void)
        await observed(contributions, [ROTATED])
      })
      expect(said).toEqual([])
      expect(
        collector.requests
          .map(({ headers, path }) => [path, headers["content-type"], headers["content-encoding"], headers["x-tenant"]])
          .toSorted(),
      ).toEqual(
        ["/v1/logs", "/v1/metrics", "/v1/traces"].map((path) => [
          path,
          protocol === "http/json" ? "application/json" : "application/x-protobuf",
          compression === "gzip" ? "gzip" : undefined,
          "a b",
        ]),
      )
      const [remove, clean, pass] = collector.spans
      const { spanId, traceId } = pass!
      expect({ traceId, spanId }).toEqual({
        traceId: expect.stringMatching(/^(?!0+$)[0-9a-f]{32}$/),
        spanId: expect.stringMatching(/^(?!0+$)[0-9a-f]{16}$/),
      })
      const common = {
        kind: "SPAN_KIND_INTERNAL",
        traceId,
        parentSpanId: spanId,
        spanId: expect.stringMatching(/^(?!0+$)[0-9a-f]{16}$/),
        startTimeUnixNano: expect.stringMatching(/^\d{19}$/),
        endTimeUnixNano: expect.stringMatching(/^\d{19}$/),
        attributes: {},
        events: [],
        links: [],
        status: { code: "STATUS_CODE_UNSET", message: "" },
        scope: { name: "@cordwood/plugin-otel", version: "1.2.3", attributes: [] },
        resource: {
          "service.name": "cordwood",
          "service.version": "1.2.3",
          "service.instance.id": expect.stringMatching(/^[0-9a-f-]{36}$/),
          "host.name": hostname(),
          "cordwood.config.hash": "0123456789abcdef",
          "telemetry.sdk.language": "nodejs",
          "telemetry.sdk.name": "opentelemetry",
          "telemetry.sdk.version": expect.any(String),
        },
      }
      expect([remove, clean, pass]).toEqual([
        {
          ...common,
          name: "cordwood.remove",
          attributes: { "cordwood.bytes": 7 },
          links: [
            {
              traceId: ORIGIN.traceId,
              spanId: ORIGIN.spanId,
              traceState: "",
              attributes: { "cordwood.event.id": "e1", "cordwood.link": "rotated" },
            },
          ],
        },
        {
          ...common,
          name: "cordwood.clean",
          attributes: { "error.type": "NoSpace", "error.message": "the disk is full" },
          status: { code: "STATUS_CODE_ERROR", message: "the disk is full" },
        },
        {
          ...common,
          name: "cordwood.pass",
          parentSpanId: "",
          spanId,
          attributes: { "log.file.path": "/a", "cordwood.pass.steps": ["remove", "clean"] },
        },
      ])
      expect(collector.spans.length).toBe(3)
      expect(collector.points.find(({ name }) => name === "cordwood.rotation.size")).toEqual({
        name: "cordwood.rotation.size",
        unit: "By",
        kind: "histogram",
        temporality: "AGGREGATION_TEMPORALITY_CUMULATIVE",
        attributes: { "cordwood.policy.name": "canary", "cordwood.policy.mode": "enforce" },
        value: 110,
        count: 1,
        buckets: { [String(2 ** 18)]: 1 },
      })
      expect(collector.records.map(({ eventName, spanId, traceId }) => ({ eventName, spanId, traceId }))).toEqual([
        { eventName: "cordwood.rotated", spanId: ROTATED.metadata.spanId, traceId: ROTATED.metadata.traceId },
      ])
    },
  )

  // An answer that is no answer; with "null", reading it as one would be an unhandled rejection, and the end of the process.
  it.each([
    ["null"],
    ["5"],
    ["[]"],
    ["ok"],
    ["{"],
    ['{"partialSuccess":null}'],
    ['{"partialSuccess":7}'],
    ['{"partialSuccess":{"rejectedSpans":{},"errorMessage":5}}'],
    ['{"partialSuccess":{"rejectedSpans":"0","errorMessage":"fine"}}'],
    ["\u0000\u0001\u00ff\u0008\u000b\u0012"],
  ])("may answer %j", async (body) => {
    collector.answer = answering(body)
    const { result, said } = await withOtel(
      { endpoint: collector.url, protocol, logs: true },
      async (contributions) => {
        await observed(contributions, [ROTATED])
        return traced(contributions, program)
      },
    )
    expect(result).toEqual(Exit.void)
    expect(said).toEqual([])
    expect(collector.requests.length).toBe(3)
  })
})

describe("traced rollouts:", () => {
  it("the resource tells version, environment and configuration, and every pass links to the rollout", async () => {
    vi.stubEnv("TRACEPARENT", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    vi.stubEnv("NODE_NAME", "node-7")
    vi.stubEnv("OTEL_SERVICE_NAME", "from the environment")
    vi.stubEnv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=staging,k8s.cluster.name=c1,team=a,host.name=h")
    await withOtel(
      {
        endpoint: collector.url,
        serviceName: "node-logs",
        environment: "production",
        resource: { team: "b", "cordwood.ring": 2 },
        metrics: { enabled: false },
      },
      (contributions) => traced(contributions, program),
    )
    expect(
      collector.spans.map(({ links, name }) => [name, links.map(({ attributes }) => attributes["cordwood.link"])]),
    ).toEqual([
      ["cordwood.remove", ["rotated"]],
      ["cordwood.clean", []],
      ["cordwood.pass", ["rollout"]],
    ])
    expect(collector.spans[2]?.links).toEqual([
      {
        traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
        spanId: "00f067aa0ba902b7",
        traceState: "",
        attributes: { "cordwood.link": "rollout" },
      },
    ])
    const { "service.instance.id": _, "telemetry.sdk.version": __, ...resource } = collector.spans[0]!.resource
    expect(resource).toEqual({
      "service.name": "node-logs",
      "service.version": "1.2.3",
      "deployment.environment.name": "production",
      "cordwood.config.hash": "0123456789abcdef",
      "cordwood.ring": 2,
      "host.name": "h",
      "k8s.node.name": "node-7",
      "k8s.cluster.name": "c1",
      team: "b",
      "telemetry.sdk.language": "nodejs",
      "telemetry.sdk.name": "opentelemetry",
    })
  })

  it("with sample: 0 no span is sent, metrics count and time everything, and events still have ids", async () => {
    let ids: unknown
    await withOtel({ endpoint: collector.url, sample: 0 }, async (contributions) => {
      await observed(contributions, [ROTATED])
      await traced(
        contributions,
        Effect.withSpan(
          Effect.map(Effect.currentSpan, ({ sampled, spanId, traceId }) => void (ids = { sampled, spanId, traceId })),
          "cordwood.rotate",
        ),
      )
    })
    expect(collector.spans).toEqual([])
    expect(
      collector.points
        .filter(({ name }) => /rotations|step.duration/.test(name))
        .map(({ count, name, value }) => [name, count ?? value]),
    ).toEqual([
      ["cordwood.rotations", 1],
      ["cordwood.step.duration", 1],
    ])
    expect(ids).toEqual({
      sampled: false,
      spanId: expect.stringMatching(/^(?!0+$)[0-9a-f]{16}$/),
      traceId: expect.stringMatching(/^(?!0+$)[0-9a-f]{32}$/),
    })
  })

  it("an SDK of the plugin's own is nobody else's: nothing is registered", async () => {
    await withOtel({ endpoint: collector.url }, async () => {
      expect(trace.getTracer("somebody").startSpan("theirs").isRecording()).toBe(false)
    })
  })
})

describe("a collector that", () => {
  const all = { traces: "traces", metrics: "metrics", logs: "logs" } as const
  const undelivered = (address: string, why: string) =>
    Object.values(all).map((signal) => ({
      level: "Warn",
      message: expect.stringContaining(
        `${signal} can't be delivered to ${address}/v1/${signal}: ${why}`,
      ) as unknown as string,
      hint: "see whether the collector is up and takes OTLP over HTTP at this address",
    }))
  const bySignal = <A extends { readonly message: string }>(said: ReadonlyArray<A>): ReadonlyArray<A> =>
    ["traces", "metrics", "logs"].flatMap((signal) => said.filter(({ message }) => message.startsWith(signal)))

  it("is dead changes nothing, and is told of once for each signal", async () => {
    const address = `http://127.0.0.1:${await deadPort()}`
    const { result, said } = await withOtel({ endpoint: address, logs: true }, async (contributions) => {
      await observed(contributions, [ROTATED, ROTATED])
      return traced(
        contributions,
        Effect.forEach([1, 2, 3], (n) => Effect.as(program, n)),
      )
    })
    expect(result).toEqual(Exit.succeed([1, 2, 3]))
    expect(bySignal(said)).toEqual(undelivered(address, "connect ECONNREFUSED"))
    expect(said.length).toBe(3)
  })

  it("takes requests and never answers holds up the end for a few seconds, not more, and leaves nothing open", async () => {
    const sockets = (): number => process.getActiveResourcesInfo().filter((kind) => kind === "TCPSocketWrap").length
    const before = sockets()
    collector.answer = () => {}
    const { said } = await withOtel({ endpoint: collector.url, logs: true }, async (contributions) => {
      await observed(contributions, [ROTATED])
      await traced(contributions, program)
    })
    expect(bySignal(said)).toEqual(undelivered(collector.url, "the agent stopped before it was answered"))
    await collector.close()
    await until(() => sockets() <= before, "every socket closed")
  })

  it("is down for a while is told of when it fails and when it is back, with what was lost", async () => {
    vi.stubEnv("OTEL_BSP_SCHEDULE_DELAY", "1")
    vi.stubEnv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=s3cr3t")
    collector.answer = answering("s3cr3t is wrong", 401)
    const span = (name: string) => Effect.withSpan(Effect.void, name)
    const { said } = await withOtel(
      { endpoint: collector.url, metrics: { enabled: false } },
      async (contributions, said) => {
        await traced(contributions, span("lost"))
        await until(() => said.length === 1, "the outage is told of")
        await traced(contributions, span("lost, too"))
        await until(() => collector.requests.length === 2, "the second batch")
        collector.answer = null
        await traced(contributions, span("delivered"))
        await until(() => said.length === 2, "the recovery is told of")
      },
    )
    expect(said).toEqual([
      {
        level: "Warn",
        message: `traces can't be delivered to ${collector.url}/v1/traces: it answered 401 Unauthorized; rotation goes on, and traces are lost until they can`,
        hint: "see whether the collector is up and takes OTLP over HTTP at this address",
      },
      {
        level: "Info",
        message: expect.stringMatching(
          new RegExp(
            `^traces are delivered to ${collector.url}/v1/traces again after \\d+ms; 2 of their batches were lost$`,
          ),
        ),
        hint: undefined,
      },
    ])
    expect(JSON.stringify(said)).not.toContain("s3cr3t")
    expect(collector.spans.map(({ name }) => name)).toEqual(["delivered"])
  })

  it("refuses a part is told of once, in its words", async () => {
    collector.answer = answering('{"partialSuccess":{"rejectedSpans":"2","errorMessage":"too\\nmany"}}')
    vi.stubEnv("OTEL_BSP_SCHEDULE_DELAY", "1")
    const { said } = await withOtel(
      { endpoint: collector.url, protocol: "http/json", metrics: { enabled: false } },
      async (contributions) => {
        await traced(contributions, program)
        await until(() => collector.requests.length === 1, "the first batch")
        await traced(contributions, program)
      },
    )
    expect(said).toEqual([
      {
        level: "Warn",
        message: `the collector at ${collector.url}/v1/traces refused 2 of the traces that it was sent: too\\nmany`,
        hint: "see the collector's limits; this is said once",
      },
    ])
  })

  it("is slow makes no more spans wait than the queue has room for; the rest is dropped", async () => {
    vi.stubEnv("OTEL_BSP_MAX_QUEUE_SIZE", "10")
    vi.stubEnv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5")
    const held: Array<ServerResponse> = []
    collector.answer = (response) => void held.push(response)
    await withOtel({ endpoint: collector.url, metrics: { enabled: false } }, async (contributions) => {
      await traced(
        contributions,
        Effect.forEach(Array.from({ length: 100 }), (_, at) => Effect.withSpan(Effect.void, `span ${at}`)),
      )
      await until(() => held.length === 1, "the first batch")
      collector.answer = null
      held[0]?.writeHead(200).end()
    })
    // The first five were in the request that was held.
    expect(collector.spans.map(({ name }) => name).toSorted()).toEqual(
      Array.from({ length: 10 }, (_, at) => `span ${at + 5}`).toSorted(),
    )
  })

  it("is asked for by a variable that is wrong stops the start, with one error", async () => {
    vi.stubEnv("OTEL_EXPORTER_OTLP_ENDPOINT", "s3cr3t@collector")
    await expect(withOtel({}, async () => {})).rejects.toMatchObject({
      _tag: "PluginError",
      plugin: "otel",
      slot: "config",
      detail:
        "OTEL_EXPORTER_OTLP_ENDPOINT is no URL that begins with http:// or https://; write one such as http://localhost:4318",
      hint: "mend the environment variable; what the plugin's settings say goes before it",
    })
  })

  it("is asked for by variables that are odd is sent to, with one warning for each", async () => {
    vi.stubEnv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0")
    const { said } = await withOtel({ endpoint: collector.url, metrics: { enabled: false } }, (contributions) =>
      traced(contributions, program),
    )
    expect(said).toEqual([
      {
        level: "Warn",
        message: `OTEL_BSP_MAX_EXPORT_BATCH_SIZE is "0", not a whole number from 1 to 100000; it is ignored`,
        hint: "mend the variable, or say it in the plugin's settings",
      },
    ])
    expect(collector.spans.length).toBe(3)
  })
})

describe("exporter: none, and OTEL_SDK_DISABLED,", () => {
  it.each([
    [{ exporter: "none" as const }, {}],
    [{ endpoint: "http://127.0.0.1:9" }, { OTEL_SDK_DISABLED: "true" }],
  ])("bring nothing: %j, %j", async (config, env) => {
    for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value)
    const { result } = await withOtel(config, async (contributions) => contributions)
    expect(result).toEqual({})
  })
})

describe("metrics without traces", () => {
  it("time steps with a tracer whose spans are nowhere", async () => {
    vi.stubEnv("OTEL_TRACES_EXPORTER", "none")
    let ids: ReadonlyArray<string> = []
    await withOtel({ endpoint: collector.url }, (contributions) =>
      traced(
        contributions,
        Effect.withSpan(
          Effect.map(Effect.currentSpan, ({ spanId, traceId }: Tracer.Span) => void (ids = [spanId, traceId])),
          "cordwood.rotate",
        ),
      ),
    )
    expect(ids).toEqual(["0".repeat(16), "0".repeat(32)])
    expect(collector.requests.map(({ path }) => path)).toEqual(["/v1/metrics"])
    expect(collector.points.map(({ attributes, count, name }) => ({ name, count, attributes }))).toEqual([
      { name: "cordwood.step.duration", count: 1, attributes: { "cordwood.step": "rotate" } },
    ])
  })
})
