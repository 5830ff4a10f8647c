// A real agent on real files, exporting to a collector: which spans a pass has, how they hang together across restarts, and that the stored events
// name them. And that a collector that is dead, or hangs, changes neither files nor events.
import { type Envelope, type Log, percentileOf } from "@cordwood/core"
import { otel } from "@cordwood/plugin-otel"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { type Collector, deadPort, startCollector } from "../../packages/plugins/otel/test/collector.ts"
import { Node, type Pass } from "./node.ts"

const POLICY = { maxSize: 100, maxFiles: 3, compression: "gzip" } as const
const FULL = 150

let node: Node
let collector: Collector
beforeEach(async () => {
  for (const name of Object.keys(process.env)) if (/^(OTEL_|TRACE|NODE_NAME)/.test(name)) vi.stubEnv(name, undefined)
  node = new Node()
  collector = await startCollector()
})
afterEach(async () => {
  vi.unstubAllEnvs()
  vi.restoreAllMocks()
  node.remove()
  await collector.close()
})

/** Three fills, each with a pass of an agent of its own: the last pass rotates, compresses and removes. */
const story = async (
  on: Node,
  log: Log,
  plugins: Parameters<Node["once"]>[0]["plugins"],
): Promise<ReadonlyArray<Pass>> => {
  const passes: Array<Pass> = []
  for (const letter of ["a", "b", "c"]) {
    on.write(log, letter.repeat(FULL))
    passes.push(await on.once({ policy: POLICY, plugins }))
  }
  return passes
}
const ids = ({ metadata: { spanId, traceId } }: Envelope) => ({ spanId, traceId })
const of = (events: ReadonlyArray<Envelope>, type: string): Envelope => {
  const found = events.filter((event) => event.type === type)
  expect(found.map(({ type }) => type)).toEqual([type])
  return found[0]!
}

describe("a pass that rotates, compresses and removes", () => {
  it("has a span, with one for each step below it, linked to the rotations that made the segments, before restarts too", async () => {
    const log = node.addLog("shop", "uid-1")
    const passes = await story(node, log, [otel({ endpoint: collector.url })])
    expect(node.filesOf(log)).toEqual({ "0.log": "", "0.log.#1.gz": "b".repeat(FULL), "0.log.#2": "c".repeat(FULL) })
    const [first, second, third] = passes.map(({ events }) => events) as [
      ReadonlyArray<Envelope>,
      ReadonlyArray<Envelope>,
      ReadonlyArray<Envelope>,
    ]
    const rotations = [first, second, third].map((events) => of(events, "Rotated"))
    const { traceId } = of(third, "Scanned").metadata
    const trace = collector.spans.filter((span) => span.traceId === traceId)
    const spans = trace.filter(({ name }) => name.startsWith("cordwood."))
    const rotated = (event: Envelope) => [
      { ...ids(event), traceState: "", attributes: { "cordwood.event.id": event.id, "cordwood.link": "rotated" } },
    ]
    const about = {
      "k8s.namespace.name": "web",
      "k8s.pod.name": "shop",
      "k8s.pod.uid": "uid-1",
      "k8s.container.name": "app",
      "container.id": "c-shop",
      "cordwood.policy.name": "default",
      "cordwood.policy.mode": "enforce",
    }
    const segment = (event: Envelope): string => (event.type === "Rotated" ? event.data.to : "")
    const [oldest, middle, newest] = rotations.map(segment) as [string, string, string]
    const nameOf = (path: string): string => path.slice(path.lastIndexOf("/") + 1)
    const pass = of(third, "Scanned")
    const step = (name: string, event: Envelope, path: string, attributes: object, links: object = []) => ({
      name,
      ...ids(event),
      parentSpanId: pass.metadata.spanId,
      links,
      status: { code: "STATUS_CODE_UNSET", message: "" },
      attributes: { ...about, "log.file.path": path, "log.file.name": nameOf(path), ...attributes },
    })
    expect(
      spans.map(({ attributes, links, name, parentSpanId, spanId, status, traceId }) => ({
        name,
        spanId,
        traceId,
        parentSpanId,
        links,
        status,
        attributes,
      })),
    ).toEqual([
      step("cordwood.rotate", of(third, "Rotated"), log.path, {
        "cordwood.segment.path": newest,
        "cordwood.bytes": FULL,
        "cordwood.reopened": true,
        "cordwood.max_size": 100,
      }),
      {
        name: "cordwood.pass",
        ...ids(pass),
        parentSpanId: "",
        links: [],
        status: { code: "STATUS_CODE_UNSET", message: "" },
        attributes: {
          ...about,
          "log.file.path": log.path,
          "log.file.name": "0.log",
          "cordwood.pass.id": pass.metadata.correlationId,
          "cordwood.pass.steps": ["rotate", "remove", "compress"],
        },
      },
      step(
        "cordwood.remove",
        of(third, "Removed"),
        `${oldest}.gz`,
        { "cordwood.reason": "max-files", "cordwood.bytes": expect.any(Number) },
        rotated(rotations[0]!),
      ),
      step(
        "cordwood.compress",
        of(third, "Compressed"),
        middle,
        {
          "cordwood.segment.path": `${middle}.gz`,
          "cordwood.codec": "gzip",
          "cordwood.bytes_in": FULL,
          "cordwood.bytes_out": expect.any(Number),
        },
        rotated(rotations[1]!),
      ),
    ])
    expect(third.every(({ metadata }) => metadata.traceId === traceId)).toBe(true)
    expect(new Set([first, second, third].map((events) => events[0]?.metadata.traceId)).size).toBe(3)
    // Below each step, what it did to files.
    const nameOfSpan = (spanId: string) => trace.find((span) => span.spanId === spanId)?.name
    expect(
      trace
        .filter(({ name }) => !name.startsWith("cordwood."))
        .map(({ attributes, name, parentSpanId }) => [nameOfSpan(parentSpanId), name, attributes["log.file.path"]]),
    ).toEqual([
      ["cordwood.rotate", "LogFiles.setAside", log.path],
      ["cordwood.remove", "LogFiles.remove", `${oldest}.gz`],
      ["cordwood.compress", "LogFiles.compress", middle],
      ["cordwood.compress", "LogFiles.remove", middle],
    ])
    // Every event names a span that was exported.
    const exported = new Set(collector.spans.map(({ spanId, traceId }) => `${traceId} ${spanId}`))
    for (const event of [...first, ...second, ...third]) {
      expect(exported).toContain(`${event.metadata.traceId} ${event.metadata.spanId}`)
    }
    const { resource } = spans[0]!
    expect([resource["service.name"], resource["cordwood.config.hash"]]).toEqual([
      "cordwood",
      expect.stringMatching(/^[0-9a-f]{16}$/),
    ])
  })

  it("is in the metrics to its last event, although the agent ends at once", async () => {
    const log = node.addLog("shop", "uid-1")
    for (const letter of ["a", "b", "c"]) {
      node.write(log, letter.repeat(FULL))
      collector.points.length = 0
      // Nobody else listens: nothing but the plugin keeps the agent from being gone by then.
      await node.agent({ policy: POLICY, plugins: [otel({ endpoint: collector.url })] }).once()
    }
    const under = { "cordwood.policy.name": "default", "cordwood.policy.mode": "enforce" }
    expect(
      collector.points
        .filter(({ kind, name }) => kind === "sum" && !name.endsWith("size") && !name.includes("put"))
        .map(({ attributes, name, value }) => ({ name, value, attributes })),
    ).toEqual([
      { name: "cordwood.rotations", value: 1, attributes: { ...under, "cordwood.reopened": true } },
      { name: "cordwood.compressions", value: 1, attributes: { ...under, "cordwood.codec": "gzip" } },
      { name: "cordwood.removals", value: 1, attributes: { ...under, "cordwood.reason": "max-files" } },
    ])
    expect(
      collector.points
        .filter(({ name }) => name === "cordwood.rotation.overshoot" || name === "cordwood.step.duration")
        .map(({ attributes, buckets, count, name }) => ({
          name,
          count,
          step: attributes["cordwood.step"],
          ...(name.endsWith("overshoot") ? { buckets } : {}),
        })),
    ).toEqual([
      { name: "cordwood.rotation.overshoot", count: 1, step: undefined, buckets: { 1.5: 1 } },
      { name: "cordwood.step.duration", count: 1, step: "rotate" },
      { name: "cordwood.step.duration", count: 1, step: "remove" },
      { name: "cordwood.step.duration", count: 1, step: "compress" },
    ])
  })
})

describe("a pass over many logs", () => {
  const LOGS = 60

  it("is in the metrics, in the spans and in what a listener is told, to the last log", async () => {
    for (let n = 0; n < LOGS; n += 1) node.write(node.addLog(`pod-${n}`, `uid-${n}`), "a".repeat(FULL))
    const { events } = await node.once({ policy: POLICY, plugins: [otel({ endpoint: collector.url })] })
    expect({
      events: events.filter(({ type }) => type === "Rotated").length,
      spans: collector.spans.filter(({ name }) => name === "cordwood.rotate").length,
      points: collector.points.filter(({ name }) => name === "cordwood.rotations").map(({ value }) => value),
    }).toEqual({ events: LOGS, spans: LOGS, points: [LOGS] })
  })
})

describe("a collector", () => {
  const told = async (plugins: Parameters<Node["once"]>[0]["plugins"]) => {
    const own = new Node()
    try {
      const log = own.addLog("shop", "uid-1")
      const passes = await story(own, log, plugins)
      const events = passes.flatMap(({ events }) =>
        events.map(({ data, log, metadata: { mode, policy }, type }) => ({
          type,
          log,
          data: timeless(data),
          mode,
          policy,
        })),
      )
      return {
        files: own.filesOf(log),
        reports: own.unplaced(passes.map(({ report }) => report)),
        events: own.unplaced(events),
      }
    } finally {
      own.remove()
    }
  }
  /** Ids and durations are of one run. */
  const timeless = (data: unknown): unknown =>
    JSON.parse(
      JSON.stringify(data, (key, value: unknown) =>
        key === "durationMs" ? 0 : key === "eventId" || key === "traceId" || key === "spanId" ? "" : value,
      ),
    )

  it("that nobody listens at, that answers rubbish, or that only says to wait, leaves the same files and the same events", async () => {
    // Warnings, which are otel's own tests' to read.
    vi.spyOn(console, "log").mockImplementation(() => {})
    const without = await told([])
    expect(without.files).toEqual({ "0.log": "", "0.log.#1.gz": "b".repeat(FULL), "0.log.#2": "c".repeat(FULL) })
    expect(await told([otel({ endpoint: `http://127.0.0.1:${await deadPort()}`, logs: true })])).toEqual(without)
    collector.answer = (response) => void response.writeHead(200, { "Content-Type": "application/json" }).end("null")
    expect(await told([otel({ endpoint: collector.url, logs: true, protocol: "http/json" })])).toEqual(without)
    collector.answer = (response) => void response.writeHead(503, { "Retry-After": "3600" }).end()
    expect(await told([otel({ endpoint: collector.url, logs: true })])).toEqual(without)
    expect(collector.requests.length).toBeGreaterThan(0)
  })
})

describe("a traced rollout", () => {
  /** A pod's uid that lies where it is wanted among a hundred. */
  const uidAt = (fits: (percentile: number) => boolean): string => {
    for (let n = 0; ; n += 1) if (fits(percentileOf({ path: "/", podUid: `uid-${n}` }))) return `uid-${n}`
  }

  it("tells on every pass which policy the log was under and in which mode, and links to who rolled it out", async () => {
    vi.stubEnv("TRACEPARENT", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    const early = node.addLog(
      "early",
      uidAt((percentile) => percentile < 10),
    )
    const late = node.addLog(
      "late",
      uidAt((percentile) => percentile >= 10),
    )
    for (const log of [early, late]) node.write(log, "a".repeat(FULL))
    const { events } = await node.once({
      policy: { ...POLICY, mode: "observe", overrides: [{ name: "wave-1", percent: 10, mode: "enforce" }] },
      plugins: [otel({ endpoint: collector.url, environment: "production" })],
    })
    expect([node.filesOf(early), node.filesOf(late)]).toEqual([
      { "0.log": "", "0.log.#1": "a".repeat(FULL) },
      { "0.log": "a".repeat(FULL) },
    ])
    const told = (pod: string) => ({
      spans: collector.spans
        .filter(({ attributes }) => attributes["k8s.pod.name"] === pod)
        .map(({ attributes, links, name, resource }) => ({
          name,
          policy: attributes["cordwood.policy.name"],
          mode: attributes["cordwood.policy.mode"],
          steps: attributes["cordwood.pass.steps"],
          links: links.map(({ attributes, spanId, traceId }) => [traceId, spanId, attributes["cordwood.link"]]),
          environment: resource["deployment.environment.name"],
        }))
        .toSorted((a, b) => (a.name < b.name ? -1 : 1)),
      events: events
        .filter(({ log }) => log.pod === pod)
        .map(({ metadata: { mode, policy }, type }) => [type, policy, mode]),
    })
    const rollout = ["4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "rollout"]
    const wave = { policy: "wave-1", mode: "enforce", environment: "production" }
    expect(told("early")).toEqual({
      spans: [
        { ...wave, name: "cordwood.pass", steps: ["rotate"], links: [rollout] },
        { ...wave, name: "cordwood.rotate", steps: undefined, links: [] },
      ],
      events: [
        ["Scanned", "wave-1", "enforce"],
        ["Rotated", "wave-1", "enforce"],
      ],
    })
    expect(told("late")).toEqual({
      spans: [
        {
          name: "cordwood.pass",
          policy: "default",
          mode: "observe",
          environment: "production",
          steps: ["rotate"],
          links: [rollout],
        },
      ],
      events: [
        ["Scanned", "default", "observe"],
        ["Planned", "default", "observe"],
      ],
    })
    expect(
      collector.points
        .filter(({ name }) => /rotations|planned/.test(name))
        .map(({ attributes, name, value }) => [name, value, attributes["cordwood.policy.name"]]),
    ).toEqual([
      ["cordwood.rotations", 1, "wave-1"],
      ["cordwood.planned", 1, "default"],
    ])
  })
})
