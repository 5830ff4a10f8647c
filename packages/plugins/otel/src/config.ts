/** What a user may write about telemetry. Reads no environment: see environment.ts for what that adds. */
import { DurationMs } from "@cordwood/core"
import * as z from "zod"
import { isHeader } from "./header.ts"

/** More than an hour between two readings is no monitoring, and less than a tenth of a second a busy loop. */
const Interval = DurationMs.refine((ms) => ms >= 100 && ms <= 3_600_000, "must be from 100ms to 1h")
const Timeout = DurationMs.refine((ms) => ms >= 100 && ms <= 300_000, "must be from 100ms to 5m")

const Metrics = z.strictObject({
  enabled: z.boolean().default(true),
  interval: Interval.optional().meta({ description: "Between two exports; 60s if not given." }),
  perNamespace: z.boolean().default(false).meta({
    description:
      "Whether metrics have k8s.namespace.name. Off, as it multiplies their number by that of a node's namespaces.",
  }),
})

/** What only an SDK of the plugin's own has a use for. */
const OTLP_ONLY = [
  "endpoint",
  "protocol",
  "headers",
  "timeout",
  "serviceName",
  "environment",
  "resource",
  "sample",
] as const

const Settings = z.strictObject({
  exporter: z.enum(["otlp", "global", "none"]).optional().meta({
    description:
      "otlp: an SDK of the plugin's own. global: the SDK that the process has registered, if any. none: no telemetry. If not given: otlp where an endpoint is, here or in OTEL_EXPORTER_OTLP_*ENDPOINT (unless an SDK is registered); otherwise global.",
  }),
  endpoint: z
    .url({
      protocol: /^https?$/,
      error: "must be a URL that begins with http:// or https://, such as http://127.0.0.1:4318",
    })
    .optional()
    .meta({
      description: "The collector's base URL; v1/traces and so on are appended.",
      examples: ["http://127.0.0.1:4318"],
    }),
  protocol: z
    .enum(["http/protobuf", "http/json"], {
      error: ({ input }) =>
        input === "grpc"
          ? "grpc is not supported: write http/protobuf, and the port that the collector has for HTTP (usually 4318)"
          : "must be http/protobuf or http/json",
    })
    .optional()
    .meta({ description: "http/protobuf if not given." }),
  headers: z
    .record(z.string().min(1), z.string())
    // About all of them: a message about one would repeat its value, which may be a secret.
    .refine((headers) => Object.entries(headers).every(([key, value]) => isHeader(key, value)), {
      error: "has a name or a value that HTTP can't carry: a line break, or a character beyond Latin-1",
    })
    .optional()
    .meta({
      description:
        "Sent along with every request, with those of OTEL_EXPORTER_OTLP_HEADERS, where secrets are better off.",
    }),
  timeout: Timeout.optional().meta({ description: "What one export may take, with its retries; 10s if not given." }),
  serviceName: z.string().min(1).optional().meta({ description: "service.name; cordwood if not given." }),
  environment: z
    .string()
    .min(1)
    .optional()
    .meta({ description: "deployment.environment.name.", examples: ["production"] }),
  resource: z
    .record(z.string().min(1), z.union([z.string(), z.number(), z.boolean()]))
    .default({})
    .meta({ description: "Further resource attributes, by name." }),
  sample: z.number().min(0).max(1).optional().meta({
    description: "The share of traces that is recorded, from 0 to 1; all if not given. Metrics count everything.",
  }),
  metrics: Metrics.prefault({}),
  logs: z.boolean().optional().meta({ description: "Whether every event is a log record, too; false if not given." }),
})
const isGiven = (value: unknown): boolean =>
  value !== undefined && !(typeof value === "object" && value !== null && Object.keys(value).length === 0)

export const Config = Settings.superRefine((config, context) => {
  if (config.exporter !== "global") return
  for (const key of OTLP_ONLY.filter((key) => isGiven(config[key]))) {
    context.addIssue({
      code: "custom",
      path: [key],
      input: config[key],
      message: "has no use with exporter: global, where the process's own SDK has its own; remove one of the two",
    })
  }
})
export type Config = z.output<typeof Config>
