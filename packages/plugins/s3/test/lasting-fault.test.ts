// Faults that stay: the file does too, with a reason that a person can act on and that doesn't change, and nobody's secret in it. And what an
// outage comes to, from its first failure to the last segment that waited.
import { inspect } from "node:util"
import { describe, expect, it } from "vitest"
import { provideCredentials } from "./credentials.ts"
import { crLines, type File, type Node } from "./node.ts"
import type { FaultKind, FaultOrder } from "./server/s3-server.ts"
import { Allow, CREDENTIALS, Defer, keyFor, MiB, type Settings, storedRight, useStrict } from "./strict.ts"

const strict = useStrict()
/** Gives up on a silent server soon enough for a test; nothing else here depends on it. */
const hasty: Settings = { idleTimeout: "250ms" }
const small: File = { bytes: crLines(2_000) }
const large: File = { bytes: crLines(5 * MiB + 1) }

describe("a fault that stays", () => {
  const endpoint = (): string => strict.server.endpoint
  const cases: ReadonlyArray<readonly [string, FaultKind, string]> = [
    [
      "overload",
      { kind: "status", status: 503, code: "SlowDown" },
      "S3 can't take it now; nothing to do if it ends by itself; else see the server's health",
    ],
    [
      "silence",
      { kind: "hang" },
      "the server gives no answer; check endpoint, region and the way to it from this node",
    ],
    [
      "damage on the way",
      { kind: "status", status: 400, code: "BadDigest" },
      "what arrived is not what was sent; check the network and what lies between; the file stays",
    ],
    [
      "damage in the store",
      { kind: "corrupt" },
      "what S3 stored is not what was sent; check the server and what lies between; the file stays",
    ],
    [
      "somebody else's writing",
      { kind: "status", status: 409, code: "ConditionalRequestConflict" },
      "somebody else writes to the key; let each node have a name of its own",
    ],
    [
      "a missing permission",
      { kind: "status", status: 403, code: "AccessDenied" },
      "s3:PutObject is denied; allow s3:PutObject on the bucket, and use of its KMS key; check the credentials that AWS's default chain finds (environment, profile, instance or pod role)",
    ],
    [
      "an expired token",
      { kind: "status", status: 400, code: "ExpiredToken" },
      "the credentials have expired; renew them, or use a role that does so by itself",
    ],
    [
      "a clock that is off",
      { kind: "status", status: 403, code: "RequestTimeTooSkewed" },
      "this node's clock is off; set it (NTP): S3 takes no more than 15 minutes",
    ],
    [
      "another region",
      { kind: "status", status: 301, code: "PermanentRedirect" },
      "the bucket is in another region; set region to the bucket's",
    ],
    [
      "a KMS key that can't be used",
      { kind: "status", status: 400, code: "KMS.DisabledException" },
      "S3 can't use the KMS key (KMS.DisabledException); mend sse.kmsKeyId, or the key's state and policy",
    ],
    [
      "a request that S3 refuses",
      { kind: "status", status: 400, code: "InvalidRequest", message: `what is this, ${CREDENTIALS.accessKeyId}?` },
      `S3 refused PutObject: InvalidRequest, "what is this, …?"; mend the plugin's settings, or the bucket's`,
    ],
  ]
  it.each(cases)("keeps the file and says why in words that don't change: %s", async (_what, fault, why) => {
    strict.server.faults.failNext({ ...fault, match: { op: "PutObject" }, times: Number.POSITIVE_INFINITY })
    const node = await strict.start({ ...hasty, attempts: 2 })
    const said = Defer(`s3://logs at ${endpoint()}: ${why}`, 30_000)
    expect([await node.ask(small), await node.ask(small)]).toEqual([said, said])
    expect(node.recorded).toEqual([])
  })

  it("is told alike by what isn't there, or isn't right", async () => {
    const place = (bucket: string): string => `s3://${bucket} at ${endpoint()}`
    const hint = "check the credentials that AWS's default chain finds (environment, profile, instance or pod role)"
    expect(await (await strict.start({ bucket: "nowhere" })).ask(small)).toEqual(
      Defer(`${place("nowhere")}: the bucket doesn't exist; create it, or mend bucket, region or endpoint`, 30_000),
    )
    expect(await (await strict.start({ region: "eu-west-9" })).ask(small)).toEqual(
      Defer(`${place("logs")}: the region is not the bucket's; set region to the bucket's`, 30_000),
    )
    expect(await (await strict.start({ sse: { kmsKeyId: "key-2" } })).ask(small)).toEqual(
      Defer(
        `${place("logs")}: S3 can't use the KMS key (KMS.NotFoundException); mend sse.kmsKeyId, or the key's state and policy`,
        30_000,
      ),
    )
    provideCredentials({ ...CREDENTIALS, secretAccessKey: "wrong" })
    expect(await (await strict.start()).ask(small)).toEqual(
      Defer(
        `${place("logs")}: S3 finds the signature wrong; ${hint}: the secret is not the access key's, or a proxy changes requests`,
        30_000,
      ),
    )
    provideCredentials({ ...CREDENTIALS, accessKeyId: "AKIDOFNOBODY" })
    expect(await (await strict.start()).ask(small)).toEqual(
      Defer(`${place("logs")}: S3 doesn't know the access key; ${hint}`, 30_000),
    )
    delete process.env["AWS_ACCESS_KEY_ID"]
    expect(await (await strict.start()).ask(small)).toEqual(
      Defer(`${place("logs")}: no credentials were found; ${hint}`, 30_000),
    )
  })

  it("is that it takes too long, though something moves all the time", async () => {
    const node = await strict.start()
    const held = strict.server.faults.failNext({ kind: "hold", match: { op: "UploadPart" } })
    const asking = node.ask(large)
    await held.reached
    // A part's request may take five minutes and is tried four times; the segment as a whole has less.
    node.advance(5 * 60_000 + 60_000)
    expect(await asking).toEqual(
      Defer(
        expect.stringMatching(
          /: shipping takes longer than it may; see what slows the way to S3 down, or lower policy\.maxSize$/,
        ),
        30_000,
      ),
    )
    expect(strict.server.uploads("logs")).toEqual([])
  })

  it("after what was stored is that it can't be looked at: the file stays", async () => {
    strict.server.faults.failNext({
      kind: "status",
      status: 403,
      code: "AccessDenied",
      match: { op: "HeadObject" },
      times: Number.POSITIVE_INFINITY,
    })
    expect(await (await strict.start()).ask(small)).toEqual(
      Defer(expect.stringContaining("s3:GetObject is denied"), 30_000),
    )
  })

  it("but for the look ahead, which S3 denies of keys that are free where listing isn't allowed", async () => {
    strict.server.faults.failNext({
      kind: "status",
      status: 403,
      code: "AccessDenied",
      match: { op: "HeadObject" },
      times: 3,
    })
    strict.server.faults.failNext({
      kind: "status",
      status: 403,
      code: "AccessDenied",
      match: { op: "ListMultipartUploads" },
    })
    const node = await strict.start()
    expect([await node.ask(large), storedRight(strict.server, large)]).toEqual([Allow, true])
  })
})

describe("an outage", () => {
  const down = async (node: Node, times: number): Promise<void> => {
    for (let n = 0; n < times; n += 1) await node.ask({ bytes: crLines(100, n) })
  }

  it("is told in words, opens the breaker, and then nobody is asked and nothing is read until it is time", async () => {
    const node = await strict.start({ attempts: 1, breaker: { failures: 3, cooldown: "30s" } })
    await strict.server.down()
    const why = `s3://logs at ${strict.server.endpoint}: the server refuses connections; check endpoint, region and the way to it from this node`
    expect(await node.ask(small)).toEqual(Defer(why, 30_000))
    await down(node, 2)
    expect(node.logged).toEqual([`Warn shipping pauses, nothing is removed unshipped: ${why}`])
    await strict.server.up()
    const file: File = { bytes: crLines(500) }
    const { retryAfterMs, ...ruling } = (await node.ask(file)) as { readonly retryAfterMs: number }
    expect(ruling).toEqual({ _tag: "Defer", by: "s3", why, timedOut: false })
    expect(retryAfterMs).toBeGreaterThan(0)
    expect(retryAfterMs).toBeLessThanOrEqual(30_000)
    expect({ requests: strict.server.requests, readBytes: file.readBytes }).toEqual({
      requests: [],
      readBytes: undefined,
    })
  })

  it("ends with one that gets through, and everything that waited is shipped", async () => {
    const node = await strict.start({ attempts: 1, breaker: { failures: 2, cooldown: "30s" } })
    await strict.server.down()
    await down(node, 2)
    node.advance(30_000)
    // Still down: one is tried, in vain, and the wait is twice as long.
    await down(node, 2)
    await strict.server.up()
    node.advance(30_000)
    expect(await node.ask(small)).toMatchObject({ _tag: "Defer" })
    node.advance(30_000)
    const held = strict.server.faults.failNext({ kind: "hold", match: { op: "HeadObject" } })
    const first = node.ask(small)
    await held.reached
    // While that one is under way, the others wait.
    expect(await node.ask({ bytes: crLines(700), stamp: "20260909-043312" })).toMatchObject({ _tag: "Defer" })
    held.release()
    expect(await first).toEqual(Allow)
    expect(await node.ask({ bytes: crLines(700), stamp: "20260909-043312" })).toEqual(Allow)
    expect(node.logged.at(-1)).toBe(`Info shipping goes on: s3://logs at ${strict.server.endpoint} answers again`)
  })

  it("isn't what a single segment's trouble is", async () => {
    const node = await strict.start({ breaker: { failures: 1 } })
    const unreadable: File = { bytes: Buffer.from("no gzip"), suffix: ".gz" }
    for (let n = 0; n < 3; n += 1) await node.ask(unreadable)
    strict.server.place("logs", keyFor(small.bytes), "other")
    await node.ask(small)
    expect(await node.ask(large)).toEqual(Allow)
  })
})

describe("secrets", () => {
  it("are nowhere: not in what is recorded, logged, answered or thrown, nor in the settings' errors", async () => {
    const said: Array<unknown> = []
    const told = async (config: Settings, fault?: FaultOrder): Promise<void> => {
      if (fault !== undefined) strict.server.faults.failNext(fault)
      const node = await strict.start({ attempts: 1, ...config })
      said.push(await node.ask({ ...small }), await node.ask({ ...large }), node.recorded, node.logged, node.spans)
      strict.server.faults.clear()
    }
    const message = `AWSAccessKeyId=${CREDENTIALS.accessKeyId}&${CREDENTIALS.secretAccessKey}`
    await told({})
    for (const [status, code] of [
      [403, "InvalidAccessKeyId"],
      [403, "SignatureDoesNotMatch"],
      [400, "InvalidRequest"],
      [500, "InternalError"],
    ] as const) {
      await told({ prefix: code }, { kind: "status", status, code, message, times: Number.POSITIVE_INFINITY })
    }
    provideCredentials({ ...CREDENTIALS, accessKeyId: "AKIDOFNOBODY" })
    await told({ prefix: "nobody" })
    await strict.server.down()
    await told({ prefix: "down" })
    said.push(
      await strict
        .start({ endpoint: `http://${CREDENTIALS.accessKeyId}:password@127.0.0.1:1` })
        .catch((error: unknown) => error),
    )
    const everything = inspect(said, {
      depth: Number.POSITIVE_INFINITY,
      maxStringLength: null,
      maxArrayLength: null,
      showHidden: true,
    })
    expect(everything).toContain("must not hold a user or a password")
    for (const secret of [...Object.values(CREDENTIALS), "AKIDOFNOBODY", "password@"])
      expect(everything).not.toContain(secret)
  })
})
