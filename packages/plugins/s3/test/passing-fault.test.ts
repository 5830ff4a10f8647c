// Faults that pass: whatever request they strike, the segment is in S3 in the end, whole and once, and nothing else is.
import { describe, expect, it } from "vitest"
import { crLines, type File } from "./node.ts"
import type { FaultKind, FaultOrder } from "./server/s3-server.ts"
import { Allow, Defer, keyFor, MiB, type Settings, storedRight, useStrict } from "./strict.ts"

const strict = useStrict()
/** Gives up on a silent server soon enough for a test; nothing else here depends on it. */
const hasty: Settings = { idleTimeout: "250ms" }
const small: File = { bytes: crLines(2_000) }
const large: File = { bytes: crLines(5 * MiB + 1) }

const faults: ReadonlyArray<FaultKind> = [
  { kind: "status", status: 503, code: "SlowDown" },
  { kind: "status", status: 500, code: "InternalError" },
  { kind: "status", status: 409, code: "ConditionalRequestConflict" },
  { kind: "status", status: 400, code: "BadDigest" },
  { kind: "status", status: 404, code: "NoSuchKey" },
  { kind: "status", status: 400, code: "RequestTimeout" },
  { kind: "reset", when: "before-body" },
  { kind: "reset", when: "mid-body" },
  { kind: "reset", when: "after-store" },
  { kind: "hang" },
  { kind: "hang", when: "after-store" },
  { kind: "corrupt" },
]
const name = (fault: FaultKind): string =>
  Object.values(fault)
    .filter((value) => typeof value === "string")
    .join(" ")

describe("a fault that passes", () => {
  it.each(faults.map((fault) => [name(fault), fault] as const))(
    "in PutObject leaves the segment in S3, whole and once: %s",
    async (_name, fault) => {
      const order = strict.server.faults.failNext({ ...fault, match: { op: "PutObject" } })
      const node = await strict.start(hasty)
      expect(await node.ask(small)).toEqual(Allow)
      expect({
        struck: order.struck(),
        right: storedRight(strict.server, small),
        objects: strict.server.objects("logs").size,
      }).toEqual({
        struck: 1,
        right: true,
        objects: 1,
      })
    },
  )

  const inParts: ReadonlyArray<FaultOrder> = [
    ...faults.map((fault) => ({ ...fault, match: { op: "UploadPart" as const, partNumber: 2 } })),
    ...faults
      .filter(({ kind }) => kind !== "corrupt")
      .map((fault) => ({ ...fault, match: { op: "CompleteMultipartUpload" as const } })),
    ...[true, false].map((took) => ({
      kind: "error-in-200" as const,
      code: "InternalError",
      took,
      match: { op: "CompleteMultipartUpload" as const },
    })),
    { kind: "truncate", match: { op: "CompleteMultipartUpload" } },
    { kind: "reset", when: "after-store", match: { op: "CreateMultipartUpload" } },
  ]
  it.each(
    inParts.map(
      (order) =>
        [`${String(order.match?.op)}, ${name(order)}${"took" in order ? String(order.took) : ""}`, order] as const,
    ),
  )("leaves a segment of parts in S3, whole and once, and no upload behind: %s", async (_name, order) => {
    const fault = strict.server.faults.failNext(order)
    const node = await strict.start(hasty)
    expect(await node.ask(large)).toEqual(Allow)
    expect({
      struck: fault.struck(),
      right: storedRight(strict.server, large),
      objects: strict.server.objects("logs").size,
      // Of an upload whose id never arrived, only the next try could know.
      uploads: strict.server.uploads("logs").length,
    }).toEqual({ struck: 1, right: true, objects: 1, uploads: 0 })
  })

  it("in the look at what was stored is tried again", async () => {
    strict.server.faults.failNext({ kind: "reset", when: "before-body", match: { op: "HeadObject" }, skip: 3 })
    expect(await (await strict.start()).ask(small)).toEqual(Allow)
  })
})

describe("reading an object back", () => {
  // A checksum that isn't ours, and no MD5: only its bytes can say what it holds.
  const placed = (bytes: Uint8Array) =>
    strict.server.place("logs", keyFor(small.bytes), Buffer.from(bytes), {
      sse: { algorithm: "aws:kms", kmsKeyId: "key-1" },
    })

  it("is what proves it where neither a checksum nor an ETag can, and a connection that breaks is tried again", async () => {
    placed(small.bytes)
    const order = strict.server.faults.failNext({ kind: "truncate", match: { op: "GetObject" } })
    const node = await strict.start()
    expect(await node.ask(small)).toEqual(Allow)
    expect(order.struck()).toBe(1)
    expect(node.recorded).toMatchObject([{ type: "s3.Shipped", data: { proof: "read-back" } }])
  })

  it("proves nothing when it breaks off each time", async () => {
    placed(small.bytes)
    strict.server.faults.failNext({ kind: "truncate", match: { op: "GetObject" }, times: Number.POSITIVE_INFINITY })
    expect(await (await strict.start()).ask(small)).toEqual(
      Defer(expect.stringContaining("the server gives no answer"), 30_000),
    )
  })

  it("finds one byte that differs", async () => {
    const bytes = Buffer.from(small.bytes)
    bytes[1_000]! ^= 1
    placed(bytes)
    expect(await (await strict.start()).ask(small)).toEqual(
      Defer(expect.stringContaining("something else lies at its key"), 600_000),
    )
  })
})
