// The strict server for a test, and nodes that ship to it; both end with the test. Holds no test.
import { beforeAll, beforeEach } from "vitest"
import { provideCredentials } from "./credentials.ts"
import { type File, type Node, sha256, startNode } from "./node.ts"
import { type S3Server, startS3Server } from "./server/s3-server.ts"

export const MiB = 1024 ** 2
export const CREDENTIALS = { accessKeyId: "AKIDCORDWOODTEST", secretAccessKey: "a/secret+that/nobody+may/ever+see" }
const REGION = "eu-north-1"
const BASE = "v1/cluster=demo/ns=shop/dt=2026-09-09/hour=04/node=n1/web-0_6f1c_app_3_20260909-043310_"

export type Settings = Partial<Parameters<typeof startNode>[0]>
export interface Strict {
  readonly server: S3Server
  readonly start: (config?: Settings, history?: Parameters<typeof startNode>[1]) => Promise<Node>
  /** What was asked of the server, in order. */
  readonly ops: () => ReadonlyArray<string>
}

/** A new server for every test of the file. */
export const useStrict = (): Strict => {
  let server: S3Server | undefined
  const running = (): S3Server => {
    if (server === undefined) throw new Error("the server runs during tests only")
    return server
  }
  const nodes: Array<Node> = []
  beforeAll(() => provideCredentials(CREDENTIALS))
  beforeEach(async () => {
    server = await startS3Server({
      ...CREDENTIALS,
      region: REGION,
      buckets: ["logs", "other-logs", { name: "locked", objectLock: true }],
      kmsKeys: ["key-1"],
    })
    const { close } = server
    return async () => {
      for (const node of nodes.splice(0)) await node.stop()
      await close()
      provideCredentials(CREDENTIALS)
    }
  })
  return {
    get server() {
      return running()
    },
    start: async (config = {}, history = null) => {
      const node = await startNode(
        {
          bucket: "logs",
          region: REGION,
          endpoint: running().endpoint,
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
    },
    ops: () => running().requests.map(({ op }) => op ?? "?"),
  }
}

export const Allow = { _tag: "Allow" } as const
export const Defer = (why: unknown, retryAfterMs: unknown): unknown => ({
  _tag: "Defer",
  by: "s3",
  why,
  retryAfterMs,
  timedOut: false,
})

/** The key of a segment with those bytes (as they were written), of `LOG` and the usual stamp. */
export const keyFor = (raw: Uint8Array, suffix = ""): string => `${BASE}${sha256(raw).slice(0, 16)}.log${suffix}`

/** What lies at its key, if it is what it should be. */
export const storedRight = (server: S3Server, file: File, suffix = ""): boolean =>
  server.objects("logs").get(keyFor(file.bytes, suffix))?.body?.equals(file.bytes) === true
