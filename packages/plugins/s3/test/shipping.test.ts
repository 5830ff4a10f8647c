// What shipping comes to on a server that holds to S3's documentation: objects, receipts, and what is compared before a segment may go.
import { beforeAll, beforeEach, describe, expect, it } from "vitest"
import { provideCredentials } from "./credentials.ts"
import { crLines, type File, type Node, sha256, startNode } from "./node.ts"
import { type S3Server, startS3Server } from "./server/s3-server.ts"

const credentials = { accessKeyId: "AKIDCORDWOODTEST", secretAccessKey: "a secret that nobody may ever see" }
const region = "eu-north-1"
const MiB = 1024 ** 2
const BASE = "v1/cluster=demo/ns=shop/dt=2026-09-09/hour=04/node=n1/web-0_6f1c_app_3_20260909-043310_"

let server: S3Server
const nodes: Array<Node> = []
const start = async (
  config: Partial<Parameters<typeof startNode>[0]> = {},
  history: Parameters<typeof startNode>[1] = null,
): Promise<Node> => {
  const node = await startNode(
    {
      bucket: "logs",
      region,
      endpoint: server.endpoint,
      forcePathStyle: true,
      prefix: "v1/cluster=demo",
      node: "n1",
      partSize: 5 * MiB,
      ...config,
    },
    history,
  )
  nodes.push(node)
  return node
}

beforeAll(() => provideCredentials(credentials))
beforeEach(async () => {
  server = await startS3Server({
    ...credentials,
    region,
    buckets: ["logs", { name: "locked", objectLock: true }],
    kmsKeys: ["key-1"],
  })
  return async () => {
    for (const node of nodes.splice(0)) await node.stop()
    await server.close()
  }
})

const Allow = { _tag: "Allow" } as const
const keyOf = (file: File, suffix = ""): string => `${BASE}${sha256(file.bytes).slice(0, 16)}.log${suffix}`

describe("a segment of one request", () => {
  it("is put at its key, looked at, recorded and let go", async () => {
    const node = await start()
    const file = { bytes: crLines(1_234_567) }
    const key = keyOf(file)
    expect(await node.ask(file)).toEqual(Allow)
    const object = server.objects("logs").get(key)
    expect(object?.body?.equals(file.bytes)).toBe(true)
    expect(node.recorded).toEqual([
      {
        type: "s3.Shipped",
        data: {
          path: "/var/log/pods/shop_web-0_6f1c/app/3.log.20260909-043310",
          bucket: "logs",
          key,
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
  })
})
