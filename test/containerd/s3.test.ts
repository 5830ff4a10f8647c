/**
 * Shipping before removal, on a real containerd: whatever becomes of S3 and of the agent, everything that was ever written is in the bucket or on
 * disk, once, in order. The account is made from the files and the objects alone.
 */
import { fileURLToPath } from "node:url"
import { join } from "node:path"
import { expect, onTestFinished, test } from "vitest"
import { startS3Server } from "../../packages/plugins/s3/test/server/s3-server.ts"
import type { S3Server } from "../../packages/plugins/s3/test/server/s3-server.ts"
import { account, FAULTLESS } from "./account.ts"
import { objectsIn } from "./agent.ts"
import type { Agent, Event } from "./agent.ts"
import { shippedIn, together } from "./bucket.ts"
import type { Containerd } from "./containerd.ts"
import { onContainerd } from "./requirements.ts"
import {
  agentAfter,
  agentWith,
  held,
  onDisk,
  podOf,
  segmentCount,
  segmentsReach,
  sharedContainerd,
  soon,
  watched,
  writerIn,
} from "./scene.ts"
import type { Writer } from "./scene.ts"
import { numberOf } from "./writer.ts"
import type { Writing } from "./writer.ts"

const TEST_MS = 300_000
/** Uploads share the machine with the server that takes them, and with other tests. */
const SHIPPED_WITHIN_MS = 90_000
const BUCKET = "logs"
const REGION = "eu-north-1"
const ACCESS_KEY_ID = "AKIATESTONLY"
const SECRET = "loopback-only-secret"
const CONTAINER = "writer"
const PLUGIN = fileURLToPath(new URL("../../packages/plugins/s3", import.meta.url))
/** How long an outage lasts before anything is tried again; by default it is long enough for a real one. */
const AGAIN = "500ms"

const STEADY: Writing = { lineChars: 330, burstLines: 400, pauseSeconds: 0.1 }
const FAST: Writing = { lineChars: 330, burstLines: 2_000, pauseSeconds: 0.2 }

const s3Server = async (): Promise<S3Server> => {
  const s3 = await startS3Server({
    accessKeyId: ACCESS_KEY_ID,
    secretAccessKey: SECRET,
    region: REGION,
    buckets: [BUCKET],
  })
  onTestFinished(() => s3.close())
  return s3
}

interface Shipping {
  readonly policy: string
  /** Further settings of the plugin, as in the configuration. */
  readonly more?: string
}

const shippingAgent = (containerd: Containerd, s3: S3Server, { more = "", policy }: Shipping): Agent =>
  agentWith(
    containerd,
    (folder) => `sources:
  - cri: { endpoint: "unix://${containerd.socket}", timeout: 5s }
policy: ${policy}
interval: 250ms
journal: { path: "${join(folder, "journal.db")}" }
plugins:
  - use: ${PLUGIN}
    with:
      bucket: ${BUCKET}
      region: ${REGION}
      endpoint: ${s3.endpoint}
      forcePathStyle: true
      prefix: v1/cluster=test
      node: node-1
${more}
`,
    { AWS_ACCESS_KEY_ID: ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY: SECRET, AWS_EC2_METADATA_DISABLED: "true" },
  )

const writing = async (containerd: Containerd, what: Writing): Promise<Writer> =>
  writerIn(containerd, await podOf(containerd, "shipping"), CONTAINER, what)

/** Every line from the first to the last that was written is on disk or in the bucket, once, in order. */
const expectEverything = (
  containerd: Containerd,
  s3: S3Server,
  { log, writing: { lineChars } }: Writer,
  lines: number,
): void => {
  const shipped = shippedIn(s3.objects(BUCKET), CONTAINER)
  const { faults, first, last, unfinished } = account(together(containerd.scratch, log, shipped), numberOf(lineChars), {
    from: 1,
    to: lines,
  })
  expect({ faults, first, last, unfinished }).toEqual({ faults: FAULTLESS, first: 1, last: lines, unfinished: {} })
}

const stampIn = (path: unknown): string =>
  /\.log\.(\d{8}-\d{6})/.exec(String(path))?.[1] ?? `no stamp in ${String(path)}`

/** Nothing was removed before it was shipped, and each was shipped once, under the key and with the digest that its event tells. */
const expectReceipts = (events: ReadonlyArray<Event>, s3: S3Server): void => {
  const shipped = events.filter(({ type }) => type === "s3.Shipped")
  const removed = events.filter(({ type }) => type === "Removed")
  expect(removed.map(({ data }) => data["reason"]).filter((reason) => reason !== "max-files")).toEqual([])
  for (const { data, position } of removed) {
    const receipt = shipped.find((one) => stampIn(one.data["path"]) === stampIn(data["path"]))
    expect(receipt?.position, `the receipt of ${String(data["path"])}`).toBeLessThan(position)
  }
  const told = new Map(shipped.map(({ data }) => [String(data["key"]), data]))
  expect(
    [...s3.objects(BUCKET)].map(([key, { etag, sha256, size }]) => ({
      bucket: BUCKET,
      key,
      bytes: size,
      sha256,
      etag: etag.replaceAll('"', ""),
    })),
  ).toEqual(
    [...s3.objects(BUCKET).keys()].map((key) => {
      const { bucket, bytes, etag, sha256 } = told.get(key) ?? {}
      return { bucket, key: told.get(key)?.["key"], bytes, sha256, etag: String(etag).replaceAll('"', "") }
    }),
  )
}

onContainerd("shipping to S3 before removal", () => {
  const containerd = sharedContainerd()

  test(
    "S3 is away for a while: the segments stay and status says so; once it is back they leave, and every line is in one place",
    async () => {
      const s3 = await s3Server()
      const agent = shippingAgent(containerd(), s3, {
        policy: "{ maxSize: 512Ki, maxFiles: 3, compression: gzip }",
        more: `      attempts: 1\n      breaker: { cooldown: ${AGAIN} }`,
      })
      const writer = await writing(containerd(), STEADY)
      await soon(agent, "three segments in the bucket", () => s3.objects(BUCKET).size >= 3, SHIPPED_WITHIN_MS)

      await s3.down()
      const before = new Set(s3.objects(BUCKET).keys())
      await segmentsReach(writer.log, 8, agent, SHIPPED_WITHIN_MS)
      const rows = objectsIn((await agent.command("status", "--json")).stdout) as ReadonlyArray<{
        readonly files: number
        readonly deferred: ReadonlyArray<{
          readonly by: string
          readonly step: string
          readonly since: string
          readonly why: string
        }>
      }>
      const waiting = rows.flatMap(({ deferred }) => deferred)
      expect(waiting.length, "what waits").toBeGreaterThan(0)
      expect(waiting.map(({ by, step }) => ({ by, step }))).toEqual(waiting.map(() => ({ by: "s3", step: "remove" })))
      expect(new Set(s3.objects(BUCKET).keys())).toEqual(before)

      await s3.up()
      const lines = await held(writer)
      await soon(agent, "two segments, as retention has it", () => segmentCount(writer.log) <= 2, SHIPPED_WITHIN_MS)
      expect(await agent.stop()).toEqual({ code: 0, signal: null })

      expectEverything(containerd(), s3, writer, lines)
      expectReceipts(await agent.events(), s3)
    },
    TEST_MS,
  )

  test(
    "the agent is killed in the midst of uploads: the next one begins anew, leaves no half upload behind, and ships nothing twice",
    async () => {
      const s3 = await s3Server()
      const shipping = { policy: "{ maxSize: 6Mi, maxFiles: 2, compression: none }", more: "      partSize: 5Mi" }
      let agent = shippingAgent(containerd(), s3, shipping)
      const writer = await writing(containerd(), FAST)

      for (const when of ["before", "after-store"] as const) {
        const hold = s3.faults.failNext({ kind: "hold", when, match: { op: "UploadPart", partNumber: 2 } })
        await soon(agent, `an upload that is held ${when} its second part`, () => hold.struck() > 0, SHIPPED_WITHIN_MS)
        await agent.kill()
        hold.release()
        expect(s3.uploads(BUCKET).length).toBeGreaterThan(0)
        agent = agentAfter(containerd(), agent)
        await watched(writer.log, agent)
      }
      const completed = s3.faults.failNext({
        kind: "hold",
        when: "after-store",
        match: { op: "CompleteMultipartUpload" },
      })
      await soon(agent, "an upload that is stored and not answered", () => completed.struck() > 0, SHIPPED_WITHIN_MS)
      await agent.kill()
      completed.release()
      agent = agentAfter(containerd(), agent)

      const lines = await held(writer)
      await soon(agent, "one segment, as retention has it", () => segmentCount(writer.log) <= 1, SHIPPED_WITHIN_MS)
      expect(await agent.stop()).toEqual({ code: 0, signal: null })
      expect(s3.uploads(BUCKET)).toEqual([])
      expectEverything(containerd(), s3, writer, lines)
      expectReceipts(await agent.events(), s3)
    },
    TEST_MS,
  )

  test(
    "with when: on-rotate a segment is in the bucket as soon as it is closed, and once --drain succeeds only if nothing waits",
    async () => {
      const s3 = await s3Server()
      const agent = shippingAgent(containerd(), s3, {
        policy: "{ maxSize: 512Ki, maxFiles: 1000, compression: gzip }",
        more: "      when: on-rotate\n      compress: gzip\n      attempts: 1",
      })
      const writer = await writing(containerd(), STEADY)
      await soon(
        agent,
        "four segments in the bucket, with none removed",
        () => s3.objects(BUCKET).size >= 4,
        SHIPPED_WITHIN_MS,
      )
      const lines = await writer.gate.hold()
      await onDisk(writer, lines)
      expect(await agent.stop()).toEqual({ code: 0, signal: null })

      await s3.down()
      await expect(agent.command("once", "--drain")).rejects.toMatchObject({ code: 1 })
      await s3.up()
      await agent.command("once", "--drain")
      expect(s3.objects(BUCKET).size).toBe(segmentCount(writer.log))
      expect(new Set([...s3.objects(BUCKET).keys()].map((key) => key.slice(key.lastIndexOf(".log"))))).toEqual(
        new Set([".log.gz"]),
      )
      expectEverything(containerd(), s3, writer, lines)
    },
    TEST_MS,
  )
})
