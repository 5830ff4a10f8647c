// What the settings and the OTEL_* variables come to: whole readings, and one warning or error for each wrong value.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import type * as z from "zod"
import { Config } from "../src/config.ts"
import {
  type Environment,
  EnvironmentProblem,
  readEnvironment,
  type Reading,
  type Signal,
  type Telemetry,
} from "../src/environment.ts"

const BASE = "http://collector:4318"
const SECRET = "s3cr3t-t0ken"

const read = (config: z.input<typeof Config>, env: Environment, hasSdk = false): Reading =>
  readEnvironment(Config.parse(config), env, hasSdk)

const target = (signal: Signal) => ({
  signal,
  url: `${BASE}/v1/${signal}`,
  protocol: "http/protobuf",
  headers: {},
  compression: "none",
  timeoutMs: 10_000,
  tls: {},
})
const traces = (over: object = {}) => ({
  ...target("traces"),
  batching: { maxQueue: 2_048, maxBatch: 512, delayMs: 5_000, timeoutMs: 30_000 },
  sample: 1,
  ...over,
})
const metrics = (over: object = {}) => ({
  ...target("metrics"),
  intervalMs: 60_000,
  exportTimeoutMs: 60_000,
  temporality: "cumulative",
  ...over,
})
const logs = (over: object = {}) => ({
  ...target("logs"),
  batching: { maxQueue: 2_048, maxBatch: 512, delayMs: 1_000, timeoutMs: 30_000 },
  ...over,
})
type Otlp = { readonly [Part in keyof Extract<Telemetry, { readonly exporter: "otlp" }>]?: unknown }
const otlp = (over: Otlp = {}, warnings: ReadonlyArray<string> = []) => ({
  telemetry: { exporter: "otlp", traces: traces(), metrics: metrics(), logs: null, resource: {}, ...over },
  warnings,
})
const other = (telemetry: object) => ({ telemetry, warnings: [] })

describe("with nothing set, telemetry", () => {
  it("is the process's own SDK's", () => expect(read({}, {})).toEqual(other({ exporter: "global", logs: false })))
  it("is the process's own SDK's where there is one, which reads the variables itself", () =>
    expect(read({}, { OTEL_EXPORTER_OTLP_ENDPOINT: BASE }, true)).toEqual(other({ exporter: "global", logs: false })))
})

describe("the settings", () => {
  it.each([
    [{ exporter: "none" }, other({ exporter: "none" })],
    [{ exporter: "none", endpoint: BASE }, other({ exporter: "none" })],
    [{ exporter: "global", logs: true }, other({ exporter: "global", logs: true })],
    [{ endpoint: BASE }, otlp()],
    [{ endpoint: `${BASE}/` }, otlp()],
    [{ endpoint: BASE, logs: true }, otlp({ logs: logs() })],
    [{ endpoint: BASE, metrics: { enabled: false } }, otlp({ metrics: null })],
    [
      { endpoint: BASE, metrics: { interval: "5s" } },
      otlp({ metrics: metrics({ intervalMs: 5_000, exportTimeoutMs: 5_000 }) }),
    ],
    [{ endpoint: BASE, sample: 0.25 }, otlp({ traces: traces({ sample: 0.25 }) })],
    [
      { endpoint: BASE, protocol: "http/json", timeout: "2s", headers: { "X-Tenant": "a" } },
      otlp({
        traces: traces({ protocol: "http/json", timeoutMs: 2_000, headers: { "x-tenant": "a" } }),
        metrics: metrics({ protocol: "http/json", timeoutMs: 2_000, headers: { "x-tenant": "a" } }),
      }),
    ],
    [
      { exporter: "otlp" },
      otlp({
        traces: traces({ url: "http://localhost:4318/v1/traces" }),
        metrics: metrics({ url: "http://localhost:4318/v1/metrics" }),
      }),
    ],
  ] satisfies ReadonlyArray<readonly [z.input<typeof Config>, object]>)("%j are read whole", (config, wanted) =>
    expect(read(config, {})).toEqual(wanted),
  )

  it.each([
    [
      { endpoint: "127.0.0.1:4318" },
      ["endpoint: must be a URL that begins with http:// or https://, such as http://127.0.0.1:4318"],
    ],
    [
      { endpoint: BASE, protocol: "grpc" },
      [
        "protocol: grpc is not supported: write http/protobuf, and the port that the collector has for HTTP (usually 4318)",
      ],
    ],
    [{ endpoint: BASE, protocol: "thrift" }, ["protocol: must be http/protobuf or http/json"]],
    [{ endpoint: BASE, timeout: "1ms" }, ["timeout: must be from 100ms to 5m"]],
    [{ endpoint: BASE, metrics: { interval: "2h" } }, ["metrics.interval: must be from 100ms to 1h"]],
    [
      { endpoint: BASE, headers: { authorization: `${SECRET}\n` } },
      ["headers: has a name or a value that HTTP can't carry: a line break, or a character beyond Latin-1"],
    ],
    [
      { exporter: "global", endpoint: BASE, sample: 1, resource: { a: 1 } },
      ["endpoint", "resource", "sample"].map(
        (key) =>
          `${key}: has no use with exporter: global, where the process's own SDK has its own; remove one of the two`,
      ),
    ],
  ])("%j are refused, with a sentence for each", (config, sentences) => {
    const { error } = Config.safeParse(config)
    expect(error?.issues.map(({ message, path }) => `${path.join(".")}: ${message}`)).toEqual(sentences)
    expect(JSON.stringify(error?.issues)).not.toContain(SECRET)
  })
})

const E = { OTEL_EXPORTER_OTLP_ENDPOINT: BASE }
describe("the variables", () => {
  const directory = mkdtempSync(join(tmpdir(), "cordwood-otel-"))
  afterAll(() => rmSync(directory, { recursive: true }))
  const pem = join(directory, "ca.pem")
  writeFileSync(pem, "certificate")
  const headed = (headers: object, ofTraces: object = {}) =>
    otlp({ traces: traces({ headers: { ...headers, ...ofTraces } }), metrics: metrics({ headers }) })

  it.each([
    [{ ...E }, otlp()],
    [{ ...E, OTEL_SDK_DISABLED: "TRUE" }, other({ exporter: "none" })],
    [{ ...E, OTEL_SDK_DISABLED: "false" }, otlp()],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: "  " }, other({ exporter: "global", logs: false })],
    // One signal's endpoint alone: the others aren't sent to where nobody said that anybody listens.
    [
      { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://t/own" },
      otlp({ traces: traces({ url: "http://t/own" }), metrics: null }),
    ],
    [{ ...E, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://t/own" }, otlp({ traces: traces({ url: "http://t/own" }) })],
    [
      { ...E, OTEL_EXPORTER_OTLP_PROTOCOL: "http/json" },
      otlp({ traces: traces({ protocol: "http/json" }), metrics: metrics({ protocol: "http/json" }) }),
    ],
    [
      { ...E, OTEL_EXPORTER_OTLP_PROTOCOL: "http/json", OTEL_EXPORTER_OTLP_METRICS_PROTOCOL: "http/protobuf" },
      otlp({ traces: traces({ protocol: "http/json" }) }),
    ],
    [
      { ...E, OTEL_EXPORTER_OTLP_TIMEOUT: "3000", OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: "4000" },
      otlp({ traces: traces({ timeoutMs: 4_000 }), metrics: metrics({ timeoutMs: 3_000 }) }),
    ],
    [
      { ...E, OTEL_EXPORTER_OTLP_COMPRESSION: "gzip", OTEL_EXPORTER_OTLP_METRICS_COMPRESSION: "none" },
      otlp({ traces: traces({ compression: "gzip" }) }),
    ],
    [
      { ...E, OTEL_EXPORTER_OTLP_HEADERS: "X-Tenant=a%20b, authorization=Basic YTpi==" },
      headed({ "x-tenant": "a b", authorization: "Basic YTpi==" }),
    ],
    [
      { ...E, OTEL_EXPORTER_OTLP_HEADERS: "a=1,b=2", OTEL_EXPORTER_OTLP_TRACES_HEADERS: "B=3" },
      headed({ a: "1", b: "2" }, { b: "3" }),
    ],
    [
      { ...E, OTEL_EXPORTER_OTLP_CERTIFICATE: pem },
      otlp({
        traces: traces({ tls: { ca: Buffer.from("certificate") } }),
        metrics: metrics({ tls: { ca: Buffer.from("certificate") } }),
      }),
    ],
    [{ ...E, OTEL_TRACES_EXPORTER: "none" }, otlp({ traces: null })],
    [{ ...E, OTEL_METRICS_EXPORTER: "none" }, otlp({ metrics: null })],
    [{ ...E, OTEL_LOGS_EXPORTER: "otlp" }, otlp({ logs: logs() })],
    [{ ...E, OTEL_LOGS_EXPORTER: "none" }, otlp()],
    [{ OTEL_LOGS_EXPORTER: "otlp" }, other({ exporter: "global", logs: true })],
    [
      { ...E, OTEL_METRIC_EXPORT_INTERVAL: "5000", OTEL_METRIC_EXPORT_TIMEOUT: "1000" },
      otlp({ metrics: metrics({ intervalMs: 5_000, exportTimeoutMs: 1_000 }) }),
    ],
    [
      { ...E, OTEL_METRIC_EXPORT_INTERVAL: "5000", OTEL_METRIC_EXPORT_TIMEOUT: "30000" },
      otlp({ metrics: metrics({ intervalMs: 5_000, exportTimeoutMs: 5_000 }) }),
    ],
    [
      { ...E, OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: "Delta" },
      otlp({ metrics: metrics({ temporality: "delta" }) }),
    ],
    [
      { ...E, OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: "lowmemory" },
      otlp({ metrics: metrics({ temporality: "delta" }) }),
    ],
    [
      {
        ...E,
        OTEL_BSP_MAX_QUEUE_SIZE: "100",
        OTEL_BSP_MAX_EXPORT_BATCH_SIZE: "500",
        OTEL_BSP_SCHEDULE_DELAY: "0",
        OTEL_BSP_EXPORT_TIMEOUT: "7000",
      },
      otlp({ traces: traces({ batching: { maxQueue: 100, maxBatch: 100, delayMs: 0, timeoutMs: 7_000 } }) }),
    ],
    [
      { ...E, OTEL_LOGS_EXPORTER: "otlp", OTEL_BLRP_MAX_QUEUE_SIZE: "9", OTEL_BLRP_SCHEDULE_DELAY: "10" },
      otlp({ logs: logs({ batching: { maxQueue: 9, maxBatch: 9, delayMs: 10, timeoutMs: 30_000 } }) }),
    ],
    [{ ...E, OTEL_TRACES_SAMPLER: "always_off" }, otlp({ traces: traces({ sample: 0 }) })],
    [{ ...E, OTEL_TRACES_SAMPLER: "parentbased_always_on" }, otlp()],
    [
      { ...E, OTEL_TRACES_SAMPLER: "parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG: "0.1" },
      otlp({ traces: traces({ sample: 0.1 }) }),
    ],
    [{ ...E, OTEL_TRACES_SAMPLER: "traceidratio" }, otlp()],
    [
      { ...E, OTEL_SERVICE_NAME: "logs", OTEL_RESOURCE_ATTRIBUTES: "service.name=no,k8s.cluster.name=a%2Cb,team=x" },
      otlp({ resource: { "service.name": "logs", "k8s.cluster.name": "a,b", team: "x" } }),
    ],
    [{ ...E, NODE_NAME: "node-7" }, otlp({ resource: { "k8s.node.name": "node-7" } })],
    [
      { ...E, NODE_NAME: "node-7", OTEL_RESOURCE_ATTRIBUTES: "k8s.node.name=n" },
      otlp({ resource: { "k8s.node.name": "n" } }),
    ],
  ] satisfies ReadonlyArray<readonly [Environment, object]>)("%j are read whole", (env, wanted) =>
    expect(read({}, env)).toEqual(wanted),
  )

  it("give way to the file, setting by setting, and add their headers to the file's", () => {
    const env = {
      OTEL_EXPORTER_OTLP_ENDPOINT: "http://other:1",
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://other:1/v1/traces",
      OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: "http/json",
      OTEL_EXPORTER_OTLP_TIMEOUT: "1",
      OTEL_EXPORTER_OTLP_HEADERS: "authorization=env,x-tenant=env",
      OTEL_TRACES_SAMPLER: "always_off",
    }
    const headers = { authorization: "env", "x-tenant": "file" }
    expect(
      read(
        { endpoint: BASE, protocol: "http/protobuf", timeout: "10s", sample: 1, headers: { "X-Tenant": "file" } },
        env,
      ),
    ).toEqual(otlp({ traces: traces({ headers }), metrics: metrics({ headers }) }))
  })

  it.each([
    [{ OTEL_SDK_DISABLED: "yes" }, `OTEL_SDK_DISABLED is "yes", neither true nor false; it is taken for false`],
    [
      { OTEL_TRACES_EXPORTER: "console" },
      `OTEL_TRACES_EXPORTER is "console"; this plugin exports by otlp or not at all (none), and takes it for otlp`,
    ],
    [
      { OTEL_EXPORTER_OTLP_COMPRESSION: "zstd" },
      `OTEL_EXPORTER_OTLP_COMPRESSION is "zstd", neither gzip nor none; nothing is compressed`,
    ],
    ...["soon", "0", "-1", "1e12", "NaN"].map(
      (value) =>
        [
          { OTEL_EXPORTER_OTLP_TIMEOUT: value },
          `OTEL_EXPORTER_OTLP_TIMEOUT is "${value}", not a number of milliseconds from 1 to 2147483647; it is ignored`,
        ] as const,
    ),
    // Node would fire a timer of so many milliseconds at once, and again at once.
    [
      { OTEL_METRIC_EXPORT_INTERVAL: "9999999999" },
      `OTEL_METRIC_EXPORT_INTERVAL is "9999999999", not a number of milliseconds from 1 to 2147483647; it is ignored`,
    ],
    // With it the SDK's shutdown would make batches for ever.
    [
      { OTEL_BSP_MAX_EXPORT_BATCH_SIZE: "0" },
      `OTEL_BSP_MAX_EXPORT_BATCH_SIZE is "0", not a whole number from 1 to 100000; it is ignored`,
    ],
    [
      { OTEL_BSP_MAX_QUEUE_SIZE: "1e9" },
      `OTEL_BSP_MAX_QUEUE_SIZE is "1e9", not a whole number from 1 to 100000; it is ignored`,
    ],
    [
      { OTEL_TRACES_SAMPLER: "jaeger_remote" },
      `OTEL_TRACES_SAMPLER is "jaeger_remote", which is not supported; every trace is recorded`,
    ],
    [
      { OTEL_TRACES_SAMPLER: "traceidratio", OTEL_TRACES_SAMPLER_ARG: "10%" },
      `OTEL_TRACES_SAMPLER_ARG is "10%", not a number from 0 to 1; it is ignored`,
    ],
    [
      { OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: "x".repeat(100) },
      `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE is "${"x".repeat(60)}…", none of cumulative, delta and lowmemory; cumulative is taken`,
    ],
    ...["novalue", "=x", "a=%zz", "a=1,b"].map(
      (value) =>
        [
          { OTEL_RESOURCE_ATTRIBUTES: value },
          "OTEL_RESOURCE_ATTRIBUTES is not key=value,key=value, with commas and equals signs percent-encoded; all of it is ignored",
        ] as const,
    ),
    ...[SECRET, `a b=${SECRET}`, `authorization=${SECRET}%0a`, `authorization=${SECRET}%`, `=${SECRET}`].map(
      (value) =>
        [
          { OTEL_EXPORTER_OTLP_HEADERS: value },
          "OTEL_EXPORTER_OTLP_HEADERS has a part that is no key=value that HTTP can carry; that part is ignored",
        ] as const,
    ),
  ] satisfies ReadonlyArray<readonly [Environment, string]>)(
    "%j are warned of once, and change nothing",
    (env, warning) => expect(read({}, { ...E, ...env })).toEqual(otlp({}, [warning])),
  )

  it.each([
    [
      { OTEL_EXPORTER_OTLP_ENDPOINT: `user:${SECRET}@host` },
      "OTEL_EXPORTER_OTLP_ENDPOINT is no URL that begins with http:// or https://; write one such as http://localhost:4318",
    ],
    [
      { ...E, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "collector:4317" },
      "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is no URL that begins with http:// or https://; write one such as http://localhost:4318",
    ],
    [
      { ...E, OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" },
      `OTEL_EXPORTER_OTLP_PROTOCOL is "grpc", which is not supported; write http/protobuf or http/json, and give the port that the collector has for HTTP (usually 4318)`,
    ],
    [
      { ...E, OTEL_EXPORTER_OTLP_METRICS_PROTOCOL: "thrift" },
      `OTEL_EXPORTER_OTLP_METRICS_PROTOCOL is "thrift", which is not supported; write http/protobuf or http/json`,
    ],
    [
      { ...E, OTEL_EXPORTER_OTLP_CERTIFICATE: "/no/such/file" },
      "OTEL_EXPORTER_OTLP_CERTIFICATE can't be read: ENOENT: no such file or directory, open '/no/such/file'",
    ],
  ] satisfies ReadonlyArray<readonly [Environment, string]>)(
    "%j are an error that says what to write",
    (env, message) => expect(() => read({}, env)).toThrow(new EnvironmentProblem(message)),
  )
})
