// What shipping comes to on a server that holds to S3's documentation: objects, receipts, and what is compared before a segment may go.
import { createCipheriv, createHash } from "node:crypto"
import { gunzipSync, gzipSync } from "node:zlib"
import type { Codec } from "@cordwood/core"
import { Cause, Effect, Fiber } from "effect"
import { describe, expect, it } from "vitest"
import { type Shipped, UploadBegan } from "../src/events.ts"
import { crLines, type File, type Node, sha256 } from "./node.ts"
import { Allow, Defer, keyFor, MiB, storedRight, useStrict } from "./strict.ts"

const strict = useStrict()
const { ops, start } = strict

const receipts = ({ recorded }: Node): ReadonlyArray<Shipped> =>
  recorded.filter(({ type }) => type === "s3.Shipped").map(({ data }) => data as Shipped)
/** Bytes that no codec makes smaller, the same ones each time. */
const noise = (bytes: number): Buffer =>
  createCipheriv("aes-128-ctr", Buffer.alloc(16), Buffer.alloc(16)).update(Buffer.alloc(bytes))
const PLAIN_KEYS = 3

describe("a segment of one request", () => {
  it("is put at its key, looked at, recorded and let go", async () => {
    const node = await start()
    const file = { bytes: crLines(1_234_567) }
    expect(await node.ask(file)).toEqual(Allow)
    const object = strict.server.objects("logs").get(keyFor(file.bytes))
    expect(object?.body?.equals(file.bytes)).toBe(true)
    expect(node.recorded).toEqual([
      {
        type: "s3.Shipped",
        data: {
          path: "/var/log/pods/shop_web-0_6f1c/app/3.log.20260909-043310",
          bucket: "logs",
          key: keyFor(file.bytes),
          bytes: 1_234_567,
          sha256: sha256(file.bytes),
          etag: object?.etag,
          rawBytes: 1_234_567,
          rawSha256: sha256(file.bytes),
          lines: 12_346,
          firstTimestamp: "2026-09-09T04:33:00.123456789Z",
          lastTimestamp: "2026-09-09T04:33:45.123456789Z",
          checksum: `sha256:${object?.checksums.sha256}`,
          proof: "checksum",
          durationMs: expect.any(Number),
        },
      },
    ])
    expect(ops()).toEqual([...Array<string>(PLAIN_KEYS).fill("HeadObject"), "PutObject", "HeadObject"])
  })

  it("says in its request that the key must be free, and what the bytes are", async () => {
    const bytes = crLines(1_000)
    await (await start()).ask({ bytes })
    const hash = (name: string): string => createHash(name).update(bytes).digest("base64")
    expect(strict.server.requests.find(({ op }) => op === "PutObject")?.headers).toMatchObject({
      "if-none-match": "*",
      "x-amz-checksum-sha256": hash("sha256"),
      "content-md5": hash("md5"),
      "content-length": "1000",
      // Signed with what was known, rather than hashed anew.
      "x-amz-content-sha256": sha256(bytes),
      "content-type": "text/plain",
    })
  })

  it("has beside it what it is", async () => {
    const bytes = crLines(1_000)
    await (await start()).ask({ bytes })
    const object = strict.server.objects("logs").get(keyFor(bytes))
    expect(object?.metadata).toEqual({
      "cordwood-raw-sha256": sha256(bytes),
      "cordwood-raw-bytes": "1000",
      "cordwood-sha256": sha256(bytes),
      "cordwood-crc32": expect.any(String),
      "cordwood-lines": "10",
      "cordwood-first": "2026-09-09T04:33:00.123456789Z",
      "cordwood-last": "2026-09-09T04:33:09.123456789Z",
      "cordwood-stamp": "20260909-043310",
      "cordwood-path": "/var/log/pods/shop_web-0_6f1c/app/3.log",
      "cordwood-node": "n1",
      "cordwood-namespace": "shop",
      "cordwood-pod": "web-0",
      "cordwood-pod-uid": "6f1c",
      "cordwood-container": "app",
      "cordwood-container-id": "c0ffee",
    })
  })

  it("may be empty, and may be just as large as a part", async () => {
    const node = await start()
    for (const bytes of [crLines(0), crLines(5 * MiB)]) {
      const file = { bytes }
      expect(await node.ask(file)).toEqual(Allow)
      expect(storedRight(strict.server, file)).toBe(true)
    }
    expect(ops().filter((op) => op !== "HeadObject")).toEqual(["PutObject", "PutObject"])
  })

  it("of a log that no pod wrote is told by its path", async () => {
    const node = await start()
    await node.ask({ bytes: crLines(100), log: { path: "/var/log/nginx/access.log" } })
    expect(receipts(node)[0]?.key).toMatch(
      /^v1\/cluster=demo\/ns=_\/dt=2026-09-09\/hour=04\/node=n1\/var%2Flog%2Fnginx_____access\.log_20260909-043310_[0-9a-f]{16}\.log$/,
    )
  })
})

describe("a segment of several parts", () => {
  it("comes together as it was, with a checksum of the whole", async () => {
    const node = await start()
    const file = { bytes: crLines(11 * MiB + 345) }
    expect(await node.ask(file)).toEqual(Allow)
    const object = strict.server.objects("logs").get(keyFor(file.bytes))
    expect(object?.body?.equals(file.bytes)).toBe(true)
    expect({ type: object?.checksumType, sizes: object?.parts?.map(({ size }) => size) }).toEqual({
      type: "FULL_OBJECT",
      sizes: [5 * MiB, 5 * MiB, MiB + 345],
    })
    expect(object?.metadata).toMatchObject({
      "cordwood-raw-sha256": sha256(file.bytes),
      "cordwood-sha256": sha256(file.bytes),
    })
    expect(receipts(node)).toMatchObject([
      {
        bytes: file.bytes.length,
        sha256: sha256(file.bytes),
        checksum: `crc32:${object?.checksums.crc32}`,
        proof: "checksum",
      },
    ])
    expect(strict.server.uploads("logs")).toEqual([])
  })

  it("is told of before a part is sent, so that a crash can be cleaned up after", async () => {
    const node = await start()
    const held = strict.server.faults.failNext({ kind: "hold", match: { op: "UploadPart" } })
    const file = { bytes: crLines(6 * MiB) }
    const asking = node.asking(file)
    await held.reached
    const [upload] = strict.server.uploads("logs")
    expect(node.recorded).toEqual([
      {
        type: "s3.UploadBegan",
        data: {
          path: "/var/log/pods/shop_web-0_6f1c/app/3.log.20260909-043310",
          bucket: "logs",
          key: keyFor(file.bytes),
          uploadId: upload?.uploadId,
        },
      },
    ])
    held.release()
    expect(await Effect.runPromise(Fiber.join(asking))).toEqual(Allow)
  })

  it("is read only as far ahead as there are buffers, and two segments share them", async () => {
    const node = await start({ concurrency: 2 })
    const held = strict.server.faults.failNext({
      kind: "hold",
      match: { op: "UploadPart" },
      times: Number.POSITIVE_INFINITY,
    })
    const files: ReadonlyArray<File> = [0, 1].map((at) => ({
      bytes: crLines(11 * MiB, at),
      stamp: `20260909-04331${at}`,
    }))
    const asking = files.map((file) => node.asking(file))
    await expect.poll(() => held.struck(), { timeout: 15_000 }).toBe(2)
    // Once to measure, then what two buffers hold, and of each file at most the chunk that was cut.
    const ahead = files.reduce((sum, { bytes, readBytes = 0 }) => sum + readBytes - bytes.length, 0)
    expect(ahead).toBeLessThanOrEqual(2 * 5 * MiB + 2 * 64 * 1024)
    held.release()
    expect(await Promise.all(asking.map((fiber) => Effect.runPromise(Fiber.join(fiber))))).toEqual([Allow, Allow])
  })

  it("needs no more than one buffer, be there as many segments as there may", async () => {
    const node = await start({ concurrency: 1 })
    const files = [0, 1, 2].map((at) => ({
      bytes: crLines(at === 2 ? 1_000 : 6 * MiB, at),
      stamp: `20260909-04331${at}`,
    }))
    expect(await Promise.all(files.map((file) => node.ask(file)))).toEqual([Allow, Allow, Allow])
  })
})

describe("a compressed segment", () => {
  const raw = crLines(500_000)

  it("goes as it lies on disk, under its codec's suffix and the digits of what was written", async () => {
    const node = await start({ compress: "plain" })
    const bytes = gzipSync(raw)
    expect(await node.ask({ bytes, suffix: ".gz" })).toEqual(Allow)
    const object = strict.server.objects("logs").get(keyFor(raw, ".gz"))
    expect(object?.body?.equals(bytes)).toBe(true)
    expect({ type: object?.contentType, encoding: object?.contentEncoding }).toEqual({
      type: "application/gzip",
      encoding: undefined,
    })
    expect(receipts(node)).toMatchObject([
      { bytes: bytes.length, sha256: sha256(bytes), rawBytes: raw.length, rawSha256: sha256(raw), lines: 5_000 },
    ])
  })

  it("that doesn't decode stays", async () => {
    const node = await start()
    const ruling = await node.ask({ bytes: gzipSync(raw).subarray(0, 1_000), suffix: ".gz" })
    expect(ruling).toEqual(Defer(expect.stringMatching(/^it can't be read, .*unexpected end of file/), 60_000))
    expect(strict.server.requests).toEqual([])
  })
})

describe("compressing on the way", () => {
  it("stores what the codec makes of a plain segment, and compresses it once if it fits into one request", async () => {
    const node = await start({ compress: "gzip" })
    const file: File = { bytes: crLines(7 * MiB) }
    expect(await node.ask(file)).toEqual(Allow)
    const object = strict.server.objects("logs").get(keyFor(file.bytes, ".gz"))
    expect(gunzipSync(object?.body ?? "").equals(file.bytes)).toBe(true)
    expect(receipts(node)).toMatchObject([
      { sha256: sha256(object?.body ?? Buffer.alloc(0)), rawSha256: sha256(file.bytes) },
    ])
    // To measure, and to compress.
    expect(file.readBytes).toBe(2 * file.bytes.length)
  })

  it("sends in parts what is large even so", async () => {
    const node = await start({ compress: "gzip" })
    const bytes = noise(6 * MiB)
    expect(await node.ask({ bytes })).toEqual(Allow)
    const object = strict.server.objects("logs").get(keyFor(bytes, ".gz"))
    expect(object?.parts?.length).toBe(2)
    expect(gunzipSync(object?.body ?? "").equals(bytes)).toBe(true)
  })

  it("with a codec that loses bytes keeps the file, and nothing is sent", async () => {
    const node = await start({ compress: "lossy" })
    const lossy: Codec = {
      id: "lossy",
      suffix: ".lossy",
      encode: async function* (input) {
        for await (const chunk of input) yield chunk.subarray(1)
      },
      decode: (input) => input,
    }
    expect(await node.ask({ bytes: crLines(1_000), moreCodecs: [lossy] })).toEqual(
      Defer("it can't be read or compressed: what lossy wrote doesn't decode to the segment", 60_000),
    )
    expect(strict.server.objects("logs").size).toBe(0)
  })

  it("with a codec that isn't the same twice keeps what is too large for one request", async () => {
    const node = await start({ compress: "fickle" })
    let calls = 0
    const fickle: Codec = {
      id: "fickle",
      suffix: ".fickle",
      encode: async function* (input) {
        calls += 1
        yield Uint8Array.of(calls)
        yield* input
      },
      decode: async function* (input) {
        let isFirst = true
        for await (const chunk of input) {
          if (!isFirst) yield chunk
          isFirst = false
        }
      },
    }
    expect(await node.ask({ bytes: crLines(6 * MiB), moreCodecs: [fickle] })).toEqual(
      Defer(
        "its bytes are not the same each time they are read: it is being written to, or its codec isn't deterministic",
        60_000,
      ),
    )
    expect([strict.server.objects("logs").size, strict.server.uploads("logs").length]).toEqual([0, 0])
  })

  it("with a codec that isn't there keeps the file", async () => {
    const node = await start({ compress: "zstd" })
    expect(await node.ask({ bytes: crLines(100) })).toEqual(
      Defer(
        "there is no codec zstd, which is to compress segments on their way to S3; add its plugin, or mend compress",
        60_000,
      ),
    )
  })
})

describe("asked again about a segment that was shipped", () => {
  const bytes = crLines(300_000)

  it("lets it go after one look, also in another life", async () => {
    const first = await start({ when: "on-rotate" })
    expect(await first.ask({ bytes }, "closed")).toEqual(Allow)
    strict.server.requests.length = 0
    const second = await start({ when: "on-rotate" }, first.recorded)
    expect(await second.ask({ bytes })).toEqual(Allow)
    expect(ops()).toEqual(["HeadObject"])
    expect(second.recorded).toEqual(first.recorded)
  })

  it("lets it go when it was compressed meanwhile", async () => {
    const node = await start()
    await node.ask({ bytes }, "drain")
    expect(await node.ask({ bytes: gzipSync(bytes), suffix: ".gz" })).toEqual(Allow)
    expect([...strict.server.objects("logs").keys()]).toEqual([keyFor(bytes)])
  })

  it("finds the object without the journal, be the segment as it was or compressed by now, and records it", async () => {
    const first = await start()
    await first.ask({ bytes })
    for (const file of [{ bytes }, { bytes: gzipSync(bytes), suffix: ".gz" as const }]) {
      const node = await start()
      expect(await node.ask(file)).toEqual(Allow)
      expect(receipts(node)).toMatchObject([{ key: keyFor(bytes), rawSha256: sha256(bytes), proof: "checksum" }])
    }
    expect(ops().filter((op) => op === "PutObject")).toEqual(["PutObject"])
  })

  it("finds what was compressed otherwise by reading it, for metadata alone prove nothing", async () => {
    await (await start()).ask({ bytes: gzipSync(bytes, { level: 9 }), suffix: ".gz" })
    const node = await start()
    expect(await node.ask({ bytes: gzipSync(bytes, { level: 1 }), suffix: ".gz" })).toEqual(Allow)
    expect(receipts(node)).toMatchObject([{ sha256: sha256(gzipSync(bytes, { level: 9 })), proof: "read-back" }])
    expect(strict.server.objects("logs").size).toBe(1)
  })

  it("replaces what says that it is the same, and doesn't decode to it", async () => {
    const file = { bytes: gzipSync(bytes), suffix: ".gz" as const }
    const damaged = Buffer.from(file.bytes)
    damaged[damaged.length >> 1]! ^= 0xff
    for (const wrong of [damaged, file.bytes.subarray(0, 1_000), Buffer.from("no gzip")]) {
      strict.server.place("logs", keyFor(bytes, ".gz"), wrong, { metadata: { "cordwood-raw-sha256": sha256(bytes) } })
      expect(await (await start()).ask(file)).toEqual(Allow)
      expect(strict.server.objects("logs").get(keyFor(bytes, ".gz"))?.body?.equals(file.bytes)).toBe(true)
    }
  })

  it("ships it again when the object is gone", async () => {
    const node = await start()
    await node.ask({ bytes })
    ;(strict.server.objects("logs") as Map<string, unknown>).clear()
    expect(await node.ask({ bytes })).toEqual(Allow)
    expect(storedRight(strict.server, { bytes })).toBe(true)
  })

  it("ships it again when the object is gone and S3, as listing isn't allowed, says that looking is denied", async () => {
    const node = await start()
    await node.ask({ bytes })
    ;(strict.server.objects("logs") as Map<string, unknown>).clear()
    const denied = { kind: "status", status: 403, code: "AccessDenied", match: { op: "HeadObject" } } as const
    strict.server.faults.failNext({ ...denied, times: 2 })
    expect(await node.ask({ bytes })).toEqual(Allow)
    expect(storedRight(strict.server, { bytes })).toBe(true)
  })

  it("ships it again when it grew, under a key of its own that says what it replaces", async () => {
    const node = await start()
    await node.ask({ bytes })
    const grown = crLines(300_500)
    expect(await node.ask({ bytes: grown })).toEqual(Allow)
    expect(storedRight(strict.server, { bytes: grown })).toBe(true)
    expect(receipts(node)[1]).toMatchObject({ key: keyFor(grown), rawBytes: 300_500, supersedes: keyFor(bytes) })
    expect(strict.server.objects("logs").get(keyFor(grown))?.metadata["cordwood-supersedes"]).toBe(keyFor(bytes))
  })

  it("keeps one that grows while it is read", async () => {
    const node = await start()
    const file: File = { bytes: crLines(7 * MiB) }
    const held = strict.server.faults.failNext({ kind: "hold", match: { op: "UploadPart" } })
    const asking = node.asking(file)
    await held.reached
    file.bytes = crLines(7 * MiB + 1)
    held.release()
    expect(await Effect.runPromise(Fiber.join(asking))).toEqual(
      Defer(expect.stringContaining("it grew meanwhile"), 60_000),
    )
    expect({ objects: strict.server.objects("logs").size, uploads: strict.server.uploads("logs").length }).toEqual({
      objects: 0,
      uploads: 0,
    })
  })

  it("doesn't believe a receipt of another bucket, nor one that can't be read", async () => {
    const first = await start({ bucket: "other-logs" })
    await first.ask({ bytes })
    const node = await start({}, first.recorded)
    expect(await node.ask({ bytes })).toEqual(Allow)
    expect(storedRight(strict.server, { bytes })).toBe(true)
    const path = "/var/log/pods/shop_web-0_6f1c/app/3.log.20260909-043310"
    const odd = await start({}, [{ type: "s3.Shipped", data: { path, key: keyFor(bytes) } }])
    expect(await odd.ask({ bytes })).toEqual(Allow)
    expect(receipts(odd).at(-1)).toMatchObject({ key: keyFor(bytes), proof: "checksum" })
  })

  it("doesn't believe an object that was replaced, though it has the length and says that it is the same", async () => {
    const node = await start()
    await node.ask({ bytes })
    const { metadata } = strict.server.objects("logs").get(keyFor(bytes))!
    strict.server.place("logs", keyFor(bytes), crLines(300_000, 7), { metadata })
    expect(await node.ask({ bytes })).toEqual(Allow)
    expect(storedRight(strict.server, { bytes })).toBe(true)
    expect(strict.server.requests.findLast(({ op }) => op === "PutObject")?.headers).toMatchObject({
      "if-match": expect.any(String),
    })
  })
})

describe("something else at the key", () => {
  const bytes = crLines(1_000)
  const why = (key: string): string =>
    `s3://logs at ${strict.server.endpoint}: something else lies at its key ${key} already, and is not overwritten; find out who wrote it, let each node and cluster have keys of its own (node, prefix, key), then remove or rename the object`

  it.each([
    ["another log, by its metadata", { metadata: { "cordwood-raw-sha256": sha256(Buffer.from("other")) } }],
    ["bytes that nobody says anything about", { metadata: {} }],
  ])("is never overwritten, and the file stays, with an event and an error once: %s", async (_what, headers) => {
    const key = keyFor(bytes)
    const placed = strict.server.place("logs", key, "other", headers)
    const node = await start()
    for (let tries = 0; tries < 2; tries += 1) expect(await node.ask({ bytes })).toEqual(Defer(why(key), 600_000))
    expect(strict.server.objects("logs").get(key)).toEqual(placed)
    const path = "/var/log/pods/shop_web-0_6f1c/app/3.log.20260909-043310"
    expect(node.recorded).toEqual([
      {
        type: "s3.Conflict",
        data: {
          path,
          bucket: "logs",
          key,
          rawSha256: sha256(bytes),
          foundRawSha256: placed.metadata["cordwood-raw-sha256"] ?? null,
          etag: placed.etag,
        },
      },
    ])
    expect(node.logged).toEqual([`Error ${path} (1000 B) is kept: ${why(key)}`])
  })

  it("that comes while the segment is on its way is found just so, in one request and in parts", async () => {
    for (const [bytes, op] of [
      [crLines(2_000), "PutObject"],
      [crLines(6 * MiB), "CompleteMultipartUpload"],
    ] as const) {
      const node = await start()
      const held = strict.server.faults.failNext({ kind: "hold", match: { op } })
      const asking = node.asking({ bytes })
      await held.reached
      strict.server.place("logs", keyFor(bytes), "other")
      held.release()
      expect(await Effect.runPromise(Fiber.join(asking))).toEqual(Defer(why(keyFor(bytes)), 600_000))
    }
    expect(strict.server.uploads("logs")).toEqual([])
  })

  it("that holds the same bytes is taken for the segment, whoever put it there", async () => {
    const node = await start()
    const held = strict.server.faults.failNext({ kind: "hold", match: { op: "PutObject" } })
    const asking = node.asking({ bytes })
    await held.reached
    strict.server.place("logs", keyFor(bytes), bytes)
    held.release()
    expect(await Effect.runPromise(Fiber.join(asking))).toEqual(Allow)
    expect(strict.server.requests.filter(({ op }) => op === "PutObject").map(({ status }) => status)).toEqual([412])
  })
})

describe("what every object gets", () => {
  const bytes = crLines(1_000)
  const stored = (bucket = "logs") => strict.server.objects(bucket).get(keyFor(bytes))

  it("is the encryption that was asked for, and a KMS key's ETag is never taken for an MD5", async () => {
    const node = await start({ sse: { kmsKeyId: "key-1", bucketKey: true } })
    const large = crLines(6 * MiB)
    expect([await node.ask({ bytes }), await node.ask({ bytes: large })]).toEqual([Allow, Allow])
    const sse = { algorithm: "aws:kms", kmsKeyId: "key-1", bucketKeyEnabled: true }
    expect([stored()?.sse, strict.server.objects("logs").get(keyFor(large))?.sse]).toEqual([sse, sse])
    await (await start({ sse: "AES256" })).ask({ bytes: crLines(1) })
    expect(
      strict.server.requests.findLast(({ op }) => op === "PutObject")?.headers["x-amz-server-side-encryption"],
    ).toBe("AES256")
  })

  it("is its tags and its storage class", async () => {
    await (await start({ tags: { team: "a b", "cost:center": "1+1=2" }, storageClass: "STANDARD_IA" })).ask({ bytes })
    expect({ tags: stored()?.tags, storageClass: stored()?.storageClass }).toEqual({
      tags: { team: "a b", "cost:center": "1+1=2" },
      storageClass: "STANDARD_IA",
    })
  })

  it.each([
    [
      { mode: "GOVERNANCE", days: 30 },
      { mode: "GOVERNANCE", days: 30 },
    ],
    [
      { mode: "COMPLIANCE", retainUntil: "2099-01-01T00:00:00Z", legalHold: true },
      { mode: "COMPLIANCE", legalHold: "ON" },
    ],
    [{ legalHold: true }, { legalHold: "ON" }],
  ] as const)("is its lock: %j", async (objectLock, expected) => {
    const node = await start({ bucket: "locked", objectLock })
    const large = crLines(6 * MiB)
    expect([await node.ask({ bytes }), await node.ask({ bytes: large })]).toEqual([Allow, Allow])
    const lock = stored("locked")?.objectLock
    const days = Math.round((Date.parse(lock?.retainUntil ?? "") - Date.now()) / 86_400_000)
    expect({ ...lock, days }).toMatchObject(expected)
    expect(strict.server.objects("locked").get(keyFor(large))?.objectLock).toMatchObject({
      ...lock,
      ...(lock?.retainUntil === undefined ? {} : { retainUntil: expect.any(String) }),
    })
  })
})

describe("an upload that isn't completed", () => {
  const bytes = crLines(6 * MiB)

  it("is aborted when a part fails for good", async () => {
    strict.server.faults.failNext({
      kind: "status",
      status: 403,
      code: "AccessDenied",
      match: { op: "UploadPart", partNumber: 2 },
    })
    const node = await start()
    expect(await node.ask({ bytes })).toMatchObject({ _tag: "Defer" })
    expect(strict.server.uploads("logs")).toEqual([])
  })

  it("is aborted when the agent stops in its midst", async () => {
    const node = await start()
    const held = strict.server.faults.failNext({ kind: "hold", match: { op: "UploadPart" } })
    const asking = node.asking({ bytes })
    await held.reached
    await Effect.runPromise(Fiber.interrupt(asking))
    expect(strict.server.uploads("logs")).toEqual([])
    // And the buffers are free again.
    held.cancel()
    expect(await node.ask({ bytes })).toEqual(Allow)
  })

  it.each([
    ["by what was recorded of it", true],
    ["by S3's list, when the journal is lost too", false],
  ])("is aborted after a crash, %s", async (_how, isRecorded) => {
    const crashed = await start()
    strict.server.faults.failNext({
      kind: "status",
      status: 403,
      code: "AccessDenied",
      match: { op: ["UploadPart", "AbortMultipartUpload"] },
      times: 4,
    })
    await crashed.ask({ bytes })
    expect(strict.server.uploads("logs")).toHaveLength(1)
    strict.server.faults.clear()
    const node = await start({}, isRecorded ? crashed.recorded : null)
    strict.server.requests.length = 0
    expect(await node.ask({ bytes })).toEqual(Allow)
    expect(strict.server.uploads("logs")).toEqual([])
    const sequence = ops().filter((op) => /Abort|List|Create/.test(op))
    expect(sequence).toEqual(
      isRecorded
        ? ["AbortMultipartUpload", "ListMultipartUploads", "CreateMultipartUpload"]
        : ["ListMultipartUploads", "AbortMultipartUpload", "CreateMultipartUpload"],
    )
  })
})

describe("when it is asked", () => {
  it("is before removal, and also early if it is to be", async () => {
    expect((await start()).composed.early).toBe(false)
    expect((await start({ when: "on-rotate" })).composed.early).toBe(true)
  })
})

describe("its trace", () => {
  it("says of what fails which kind of failure it is, in the word that error.type takes", async () => {
    const node = await start({ bucket: "no-such-bucket" })
    await node.ask({ bytes: crLines(100) })
    const reasons = node.spans.flatMap(({ name, status }) =>
      status._tag === "Ended" && status.exit._tag === "Failure"
        ? [[name, (Cause.squash(status.exit.cause) as { readonly reason?: unknown }).reason]]
        : [],
    )
    expect(reasons).toEqual([
      ["s3.ship", "NoSuchBucket"],
      ["S3.PutObject", "NoSuchBucket"],
    ])
  })

  it("has a span for the segment, and one for each call, as OpenTelemetry names what AWS is asked", async () => {
    const node = await start()
    const bytes = crLines(6 * MiB)
    await node.ask({ bytes })
    const { uploadId } = UploadBegan.parse(node.recorded[0]?.data)
    const told = node.spans.map(({ attributes, kind, name, parent }) => ({
      name,
      kind,
      parent: parent._tag === "Some" && parent.value._tag === "Span" ? parent.value.name : null,
      attributes: Object.fromEntries(attributes),
    }))
    expect(told.filter(({ name }) => /ship|UploadPart/.test(name))).toEqual([
      {
        name: "s3.ship",
        kind: "internal",
        parent: "plugin.beforeRemove",
        attributes: {
          "aws.s3.bucket": "logs",
          "aws.s3.key": keyFor(bytes),
          "cordwood.bytes": 6 * MiB,
          "cordwood.bytes.stored": 6 * MiB,
          "log.file.path": "/var/log/pods/shop_web-0_6f1c/app/3.log.20260909-043310",
        },
      },
      ...[1, 2].map((number) => ({
        name: "S3.UploadPart",
        kind: "client",
        parent: "s3.ship",
        attributes: {
          "rpc.system": "aws-api",
          "rpc.service": "S3",
          "rpc.method": "UploadPart",
          "aws.s3.bucket": "logs",
          "aws.s3.key": keyFor(bytes),
          "aws.s3.part_number": number,
          "aws.s3.upload_id": uploadId,
        },
      })),
    ])
  })
})
