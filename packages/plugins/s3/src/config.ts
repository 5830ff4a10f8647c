/** What a user may write about shipping. Credentials are no setting: they come from AWS's default chain. Reads no environment. */
import { DurationMs, NO_COMPRESSION, Quantity } from "@cordwood/core"
import * as z from "zod"
import { DEFAULT_TEMPLATE, prefixProblem, templateProblem } from "./key.ts"

const MiB = 1024 ** 2
/** S3's least for every part but the last. */
const MIN_PART_BYTES = 5 * MiB
/** A part is held in memory. */
const MAX_PART_BYTES = 512 * MiB
/** S3's limits for an object's tags. */
const MAX_TAGS = 10
const TagKey = z.string().min(1).max(128)
const TagValue = z.string().max(256)

const limited = (leastMs: number, mostMs: number, range: string) =>
  DurationMs.refine((ms) => ms >= leastMs && ms <= mostMs, `must be from ${range}`)

const endpointProblem = (text: string): string | null => {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || !/^https?:$/.test(url.protocol)) {
    return "must be a URL that begins with http:// or https://, such as http://127.0.0.1:9000"
  }
  // The text itself is not repeated: it may hold a secret.
  if (url.username !== "" || url.password !== "") {
    return "must not hold a user or a password: credentials come from AWS's default chain"
  }
  return url.search === "" && url.hash === "" ? null : "must have neither a query nor a fragment"
}

const checked = (problemOf: (text: string) => string | null) =>
  z.string().superRefine((text, context) => {
    const problem = problemOf(text)
    if (problem !== null) context.addIssue({ code: "custom", message: problem })
  })

const Sse = z.union([
  z.literal("AES256"),
  z.strictObject({
    kmsKeyId: z.string().min(1).max(2048).meta({ description: "A KMS key's id, ARN or alias." }),
    bucketKey: z.boolean().optional().meta({ description: "Whether S3 uses a bucket key, which saves calls to KMS." }),
  }),
])

const ObjectLock = z
  .strictObject({
    mode: z.enum(["GOVERNANCE", "COMPLIANCE"]).optional(),
    days: z.int().min(1).max(36_500).optional().meta({ description: "Retained so many days from the upload on." }),
    retainUntil: z.iso.datetime().optional().meta({ description: "Retained until then, a time in UTC." }),
    legalHold: z.boolean().optional(),
  })
  .refine(
    ({ days, legalHold, mode, retainUntil }) =>
      mode === undefined
        ? days === undefined && retainUntil === undefined && legalHold !== undefined
        : (days === undefined) !== (retainUntil === undefined),
    "needs mode with either days or retainUntil, or legalHold, or both",
  )

export const Config = z.strictObject({
  bucket: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._:/-]{1,254}$/, "must be a bucket's name, or an access point's ARN")
    .meta({ description: "Where segments go: a bucket's name, or an access point's ARN.", examples: ["logs"] }),
  region: z
    .string()
    .regex(/^[A-Za-z0-9-]{1,64}$/, "must be a region's name, such as eu-west-1")
    .optional()
    .meta({
      description:
        "The bucket's region. If not given: AWS's own settings (AWS_REGION and so on), or us-east-1 with an endpoint.",
      examples: ["eu-west-1"],
    }),
  endpoint: checked(endpointProblem)
    .optional()
    .meta({
      description: "URL of an S3 server other than AWS's.",
      examples: ["http://127.0.0.1:9000"],
    }),
  forcePathStyle: z.boolean().default(false).meta({
    description:
      "Whether the bucket stands in the path rather than in the host name, as most servers other than AWS's want it.",
  }),
  prefix: checked(prefixProblem)
    .default("")
    .meta({ description: "What every key begins with, without a slash at either end.", examples: ["v1/cluster=demo"] }),
  key: checked(templateProblem).default(DEFAULT_TEMPLATE).meta({
    description: "The key after the prefix and before the codec's suffix: a template, see the README.",
  }),
  when: z.enum(["before-remove", "on-rotate"]).default("before-remove").meta({
    description:
      "before-remove: a segment is shipped when it is about to be removed. on-rotate: as soon as it is closed.",
  }),
  compress: z
    .string()
    .min(1)
    .default(NO_COMPRESSION)
    .meta({
      description:
        "Id of the codec that plain segments are compressed with on their way, or none. Compressed ones go as they are.",
      examples: [NO_COMPRESSION, "gzip", "zstd"],
    }),
  node: z.string().min(1).max(253).optional().meta({
    description: "This node's name in keys and metadata. If not given: NODE_NAME, else the host's name.",
  }),
  storageClass: z
    .enum([
      "STANDARD",
      "STANDARD_IA",
      "ONEZONE_IA",
      "INTELLIGENT_TIERING",
      "GLACIER",
      "GLACIER_IR",
      "DEEP_ARCHIVE",
      "REDUCED_REDUNDANCY",
    ])
    .optional()
    .meta({ description: "The objects' storage class; STANDARD if not given." }),
  sse: Sse.optional().meta({
    description: "Encryption at rest: AES256, or { kmsKeyId } for SSE-KMS. If not given, the bucket's default.",
  }),
  tags: z
    .record(TagKey, TagValue)
    .refine((tags) => Object.keys(tags).length <= MAX_TAGS, `must be at most ${MAX_TAGS} tags`)
    .optional()
    .meta({ description: "Tags that every object gets." }),
  objectLock: ObjectLock.optional().meta({
    description: "Object lock that every object gets; the bucket must have it enabled.",
  }),
  partSize: Quantity.refine((bytes) => bytes >= MIN_PART_BYTES && bytes <= MAX_PART_BYTES, "must be from 5Mi to 512Mi")
    .prefault("16Mi")
    .meta({
      description:
        "Bytes. What is no larger goes in one request, what is larger in parts of this size, each held in memory.",
    }),
  concurrency: z.int().min(1).max(32).default(2).meta({
    description:
      "Parts in memory and on their way at a time, over all segments: partSize × concurrency is what shipping holds.",
  }),
  attempts: z.int().min(1).max(10).default(4).meta({
    description:
      "How often one request is tried, with exponential backoff and full jitter, before the segment is put off.",
  }),
  connectTimeout: limited(100, 60_000, "100ms to 1m").prefault("5s").meta({ description: "For a connection." }),
  idleTimeout: limited(100, 600_000, "100ms to 10m").prefault("20s").meta({
    description: "For a connection on which nothing moves.",
  }),
  requestTimeout: limited(100, 1_800_000, "100ms to 30m").prefault("5m").meta({
    description: "For one request, its body and its answer.",
  }),
  breaker: z
    .strictObject({
      failures: z.int().min(1).max(1_000).default(5).meta({
        description: "So many segments in a row that fail because of S3, rather than of themselves, open the breaker.",
      }),
      cooldown: limited(100, 3_600_000, "100ms to 1h").prefault("30s").meta({
        description:
          "While it is open nothing is tried; then one segment is. Doubles with each that fails, up to 16 times as long.",
      }),
    })
    .prefault({})
    .meta({ description: "When to stop trying for a while." }),
})
export type Config = z.output<typeof Config>
