// The strict server's own: every fault does what its comment says, to the request it was ordered for and to no other; going down, coming back
// and ending; and what the options change. What S3 says is asked in the suite.
import { once } from "node:events"
import { spawn } from "node:child_process"
import type { ClientRequest } from "node:http"
import { connect } from "node:net"
import { setImmediate } from "node:timers/promises"
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  UploadPartCommand,
} from "@aws-sdk/client-s3"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { clientOf, heard, open, outcome, raw, rawOutcome, replyOf, sign, type Heard, type Said } from "./asking.ts"
import { checksumOf } from "./checksum.ts"
import { startS3Server, type S3Server, type S3ServerOptions } from "./s3-server.ts"

const access = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "not/a+secret", region: "eu-north-1" }
const body = Buffer.from("what is kept".repeat(100))
const hourMs = 3_600_000

let server: S3Server
const start = async (more: Partial<S3ServerOptions> = {}): Promise<void> => {
  server = await startS3Server({ ...access, buckets: ["logs"], ...more })
}
beforeEach(() => start())
afterEach(() => server.close())

const said = (method: Said["method"], key: string, more: Partial<Said> = {}): Said => ({
  method,
  path: `/logs/${key}`,
  access: { ...access, endpoint: server.endpoint },
  ...more,
})
const put = (key: string): Promise<Heard> => raw(said("PUT", key, { body }))
const get = (key: string): Promise<Heard> => raw(said("GET", key))
const keys = (): ReadonlyArray<string> => [...server.objects("logs").keys()]
const logged = (): ReadonlyArray<unknown> => server.requests.map(({ op, key, status, code }) => [op, key, status, code])
/** How a request that is not answered ends: the error's code. */
const failure = (asked: Promise<unknown>): Promise<unknown> =>
  asked.then(
    (answer) => ({ unexpected: answer }),
    (error: { code?: string }) => error.code,
  )
const until = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await setImmediate()
}
/** A request on its own connection, and whether it was answered by now. */
const asking = async (one: Said) => {
  const request: ClientRequest = open(await sign(one))
  let answered = false
  const reply = replyOf(request).then((response) => {
    answered = true
    return heard(response)
  })
  // Who waits for it hears of the error; who gives it up does not.
  reply.catch(() => undefined)
  request.end(one.body ?? "")
  return { request, reply, answered: () => answered }
}

describe("a fault", () => {
  it("(status) refuses with the status, code and wait that were ordered, before anything is done", async () => {
    const fault = server.faults.failNext({
      kind: "status",
      status: 503,
      code: "SlowDown",
      message: "Please reduce your request rate.",
      retryAfterSeconds: 7,
    })
    const refused = await put("a")
    expect([refused.status, refused.code, refused.headers["retry-after"], keys()]).toEqual([503, "SlowDown", "7", []])
    expect(refused.body.toString()).toContain("<Message>Please reduce your request rate.</Message>")
    const next = await put("a")
    expect([next.status, keys(), fault.struck()]).toEqual([200, ["a"], 1])
    expect(logged()).toEqual([
      ["PutObject", "a", 503, "SlowDown"],
      ["PutObject", "a", 200, undefined],
    ])
  })

  it("(status) is a failure that the SDK tries again", async () => {
    server.faults.failNext({ kind: "status", status: 503, code: "SlowDown", times: 2 })
    const client = clientOf({ ...access, endpoint: server.endpoint }, { maxAttempts: 3 })
    expect(await outcome(client.send(new PutObjectCommand({ Bucket: "logs", Key: "a", Body: body })))).toBe("200")
    client.destroy()
    expect(logged().map((one) => (one as unknown[])[2])).toEqual([503, 503, 200])
  })

  it.each([
    ["before-body", []],
    ["mid-body", []],
    ["after-store", ["a"]],
  ] as const)("(reset, %s) resets the connection", async (when, there) => {
    server.faults.failNext({ kind: "reset", when })
    expect([await failure(put("a")), keys()]).toEqual(["ECONNRESET", there])
    expect(logged()).toEqual([["PutObject", "a", undefined, undefined]])
    const next = await put("b")
    expect([next.status, keys()]).toEqual([200, [...there, "b"]])
  })

  it("(reset, mid-body) happens in the middle of the body", async () => {
    server.faults.failNext({ kind: "reset", when: "mid-body" })
    const request = open(await sign(said("PUT", "a", { body })))
    const ended = failure(replyOf(request))
    request.write(body.subarray(0, body.length / 2 - 1))
    await until(() => server.requests.length === 1)
    // It has come as far as the server, which answers another meanwhile, and does not end this one.
    const other = await put("b")
    expect([other.status, request.destroyed]).toEqual([200, false])
    request.write("t")
    expect([await ended, keys()]).toEqual(["ECONNRESET", ["b"]])
  })

  it.each([
    ["before", []],
    ["after-store", ["a"]],
  ] as const)("(delay, %s) answers late, and others meanwhile", async (when, there) => {
    server.faults.failNext({ kind: "delay", delayMs: hourMs, when, match: { key: /^a$/ } })
    const late = await asking(said("PUT", "a", { body }))
    await until(() => server.requests[0]?.fault !== undefined && keys().length === there.length)
    const other = await put("b")
    expect([other.status, late.answered(), keys()]).toEqual([200, false, [...there, "b"]])
    late.request.destroy()
  })

  it.each(["before", "after-store"] as const)("(delay, %s) answers all the same", async (when) => {
    server.faults.failNext({ kind: "delay", delayMs: 1, when })
    expect([(await put("a")).status, keys()]).toEqual([200, ["a"]])
  })

  it.each([
    ["before", []],
    ["after-store", ["a"]],
  ] as const)("(hang, %s) never answers, and leaves the connection open", async (when, there) => {
    server.faults.failNext({ kind: "hang", when, match: { key: /^a$/ } })
    const hanging = await asking(said("PUT", "a", { body }))
    await until(() => server.requests[0]?.fault !== undefined && keys().length === there.length)
    const other = await put("b")
    expect([other.status, hanging.answered(), hanging.request.destroyed, keys()]).toEqual([
      200,
      false,
      false,
      [...there, "b"],
    ])
    await server.down()
    expect(await failure(hanging.reply)).toBe("ECONNRESET")
  })

  it.each([
    ["before", []],
    ["before-store", []],
    ["after-store", ["a"]],
  ] as const)("(hold, %s) waits until it is released", async (when, there) => {
    const fault = server.faults.failNext({ kind: "hold", when, times: 2, match: { key: /^a$/ } })
    const held = await asking(said("PUT", "a", { body }))
    await fault.reached
    await until(() => keys().length === there.length)
    const other = await put("b")
    expect([other.status, held.answered(), keys()]).toEqual([200, false, [...there, "b"]])
    fault.release()
    expect([(await held.reply).status, keys().toSorted()]).toEqual([200, ["a", "b"]])
    // Later ones pass at once.
    expect([(await put("a")).status, fault.struck()]).toEqual([200, 2])
  })

  it("(hold, before-store) lets another write come first, whose condition then holds", async () => {
    const fault = server.faults.failNext({ kind: "hold", when: "before-store" })
    const conditional = said("PUT", "a", { body, headers: { "if-none-match": "*" } })
    const held = await asking(conditional)
    await fault.reached
    expect(await rawOutcome(conditional)).toBe("200")
    fault.release()
    const late = await held.reply
    expect([late.status, late.code]).toEqual([412, "PreconditionFailed"])
  })

  it("(trickle) brings the reply's body bit by bit, and all of it", async () => {
    server.place("logs", "a", body)
    server.faults.failNext({ kind: "trickle", bytesPerSecond: 20 })
    const request = open(await sign(said("GET", "a")))
    const reply = replyOf(request)
    request.end()
    const [first] = (await once(await reply, "data")) as [Buffer]
    // A second one comes whole while the first is still coming.
    expect((await get("a")).body.equals(body)).toBe(true)
    expect([first.length < body.length, body.subarray(0, first.length).equals(first)]).toEqual([true, true])
    request.destroy()

    server.faults.failNext({ kind: "trickle", bytesPerSecond: 100_000 })
    expect((await get("a")).body.equals(body)).toBe(true)
  })

  it("(truncate) tells the full length, brings half, and ends the connection", async () => {
    server.place("logs", "a", body)
    server.faults.failNext({ kind: "truncate" })
    const request = open(await sign(said("GET", "a")))
    const reply = replyOf(request)
    request.end()
    const response = await reply
    const pieces: Buffer[] = []
    response.on("data", (piece: Buffer) => pieces.push(piece))
    const [error] = (await once(response, "error")) as [{ code: string }]
    expect([
      response.statusCode,
      response.headers["content-length"],
      error.code,
      Buffer.concat(pieces).equals(body.subarray(0, body.length / 2)),
    ]).toEqual([200, String(body.length), "ECONNRESET", true])
  })

  it("(corrupt) tells what came when it comes, and what is stored, one bit off, from then on", async () => {
    server.faults.failNext({ kind: "corrupt" })
    const headers = { "x-amz-checksum-crc32": checksumOf("crc32", body) }
    const told = await raw(said("PUT", "a", { body, headers }))
    const stored = await get("a")
    const head = await raw(said("HEAD", "a", { headers: { "x-amz-checksum-mode": "ENABLED" } }))
    const differing = [...stored.body].map((byte, index) => byte ^ body.readUInt8(index)).filter((bits) => bits !== 0)
    expect([told.status, told.headers["x-amz-checksum-crc32"], told.headers["etag"], differing]).toEqual([
      200,
      checksumOf("crc32", body),
      `"${Buffer.from(checksumOf("md5", body), "base64").toString("hex")}"`,
      [1],
    ])
    expect([head.headers["x-amz-checksum-crc32"], head.headers["etag"]]).toEqual([
      checksumOf("crc32", stored.body),
      `"${Buffer.from(checksumOf("md5", stored.body), "base64").toString("hex")}"`,
    ])
  })

  it("(corrupt) of a part shows in the object's checksum, and not before", async () => {
    const client = clientOf({ ...access, endpoint: server.endpoint })
    const at = { Bucket: "logs", Key: "a" }
    const { UploadId } = await client.send(
      new CreateMultipartUploadCommand({ ...at, ChecksumAlgorithm: "CRC64NVME", ChecksumType: "FULL_OBJECT" }),
    )
    server.faults.failNext({ kind: "corrupt", match: { partNumber: 1 } })
    const ChecksumCRC64NVME = checksumOf("crc64nvme", body)
    const part = await client.send(
      new UploadPartCommand({ ...at, UploadId, PartNumber: 1, Body: body, ChecksumCRC64NVME }),
    )
    expect(part.ChecksumCRC64NVME).toBe(ChecksumCRC64NVME)
    const complete = (more: object) =>
      client.send(
        new CompleteMultipartUploadCommand({
          ...at,
          UploadId,
          MultipartUpload: { Parts: [{ PartNumber: 1, ETag: part.ETag, ChecksumCRC64NVME }] },
          ...more,
        }),
      )
    expect(await outcome(complete({ ChecksumCRC64NVME }))).toBe("400 BadDigest")
    await complete({})
    const head = await client.send(new HeadObjectCommand({ ...at, ChecksumMode: "ENABLED" }))
    const bytes = server.objects("logs").get("a")?.body ?? Buffer.alloc(0)
    expect([bytes.equals(body), head.ChecksumCRC64NVME]).toEqual([false, checksumOf("crc64nvme", bytes)])
    client.destroy()
  })

  it.each([
    [false, [[], 1, "200"]],
    [true, [["a"], 0, "404 NoSuchUpload"]],
  ] as const)("(error-in-200, took: %s) is a refusal after all, and completes or does not", async (took, then) => {
    const client = clientOf({ ...access, endpoint: server.endpoint })
    const at = { Bucket: "logs", Key: "a" }
    const { UploadId } = await client.send(new CreateMultipartUploadCommand(at))
    const { ETag } = await client.send(new UploadPartCommand({ ...at, UploadId, PartNumber: 1, Body: body }))
    const list = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${ETag}</ETag></Part></CompleteMultipartUpload>`
    const complete = said("POST", "a", { query: { uploadId: UploadId ?? "" }, body: list })
    server.faults.failNext({ kind: "error-in-200", code: "InternalError", took })
    const answer = await raw(complete)
    expect([answer.status, /<Error><Code>InternalError<\/Code>/.test(answer.body.toString())]).toEqual([200, true])
    expect([keys(), server.uploads("logs").length, await rawOutcome(complete)]).toEqual(then)
    client.destroy()
  })

  it("(error-in-200) is an error to the SDK", async () => {
    const client = clientOf({ ...access, endpoint: server.endpoint })
    const at = { Bucket: "logs", Key: "a" }
    const { UploadId } = await client.send(new CreateMultipartUploadCommand(at))
    const { ETag } = await client.send(new UploadPartCommand({ ...at, UploadId, PartNumber: 1, Body: body }))
    server.faults.failNext({ kind: "error-in-200", code: "InternalError" })
    const asked = client.send(
      new CompleteMultipartUploadCommand({ ...at, UploadId, MultipartUpload: { Parts: [{ PartNumber: 1, ETag }] } }),
    )
    await expect(asked).rejects.toMatchObject({ name: "InternalError" })
    client.destroy()
  })

  it("strikes what it was ordered for: by operation, key, part, after some, so many times", async () => {
    const status = (code: string) => ({ kind: "status", status: 500, code }) as const
    const { faults } = server
    faults.failNext({ ...status("Second"), match: { op: ["GetObject", "PutObject"], key: /^a/g }, skip: 1, times: 2 })
    faults.failNext({ ...status("Part"), match: { op: "UploadPart", partNumber: 2 } })
    const answers: Array<string | undefined> = []
    for (const key of ["b", "a1", "a2", "a3", "a4"]) answers.push((await put(key)).code)
    expect(answers).toEqual([undefined, undefined, "Second", "Second", undefined])
    expect(faults.pending().map((order) => (order as { code: string }).code)).toEqual(["Part"])
    const part = (partNumber: string) => rawOutcome(said("PUT", "a", { query: { uploadId: "none", partNumber }, body }))
    expect([await part("1"), await part("2"), faults.pending()]).toEqual(["404 NoSuchUpload", "500 Part", []])
  })

  it("can be taken back, alone or with all others", async () => {
    const first = server.faults.failNext({ kind: "status", status: 500, code: "First" })
    server.faults.failNext({ kind: "status", status: 500, code: "Second", times: Number.POSITIVE_INFINITY })
    first.cancel()
    expect([(await put("a")).code, (await put("a")).code]).toEqual(["Second", "Second"])
    server.faults.clear()
    expect([(await put("a")).status, first.struck()]).toEqual([200, 0])
  })

  it("does not strike what is not signed", async () => {
    const fault = server.faults.failNext({ kind: "status", status: 503, code: "SlowDown" })
    const unsigned = said("PUT", "a", { body, altered: ({ authorization: _authorization, ...headers }) => headers })
    expect([await rawOutcome(unsigned), fault.struck()]).toEqual(["403 AccessDenied", 0])
  })
})

describe("the connections", () => {
  it("are refused while it is down, and taken again on the same port with everything kept", async () => {
    await put("a")
    const { endpoint } = server
    await server.down()
    await server.down()
    expect(await failure(put("b"))).toBe("ECONNREFUSED")
    await server.up()
    await server.up()
    expect([server.endpoint, (await get("a")).body.equals(body), (await put("b")).status, keys()]).toEqual([
      endpoint,
      true,
      200,
      ["a", "b"],
    ])
  })

  it("that are open end when it goes down, in the middle of a body too", async () => {
    const { hostname, port } = new URL(server.endpoint)
    const idle = connect(Number(port), hostname)
    await once(idle, "connect")
    const request = open(await sign(said("PUT", "a", { body })))
    const cut = failure(replyOf(request))
    request.write(body.subarray(0, 10))
    await until(() => server.requests.length === 1)
    const idleEnds = once(idle, "close")
    await server.down()
    await idleEnds
    expect([await cut, keys()]).toEqual(["ECONNRESET", []])
  })

  it("and everything else end with it, so that a process which closes it ends", async () => {
    const program = `
      import { connect } from "node:net"
      import { startS3Server } from ${JSON.stringify(new URL("./s3-server.ts", import.meta.url).href)}
      const server = await startS3Server({ accessKeyId: "a", secretAccessKey: "s", region: "r", buckets: [], latencyMs: ${hourMs} })
      const socket = connect(Number(new URL(server.endpoint).port), "127.0.0.1")
      socket.on("error", () => undefined)
      socket.write("GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
      while (server.requests.length === 0) await new Promise((resolve) => setImmediate(resolve))
      await server.close()
      await server.close()
      console.log("closed")
    `
    const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
      stdio: ["ignore", "pipe", "inherit"],
      // Of one that does not end by itself.
      timeout: 10_000,
    })
    let output = ""
    child.stdout.on("data", (piece: Buffer) => (output += piece.toString()))
    const [code] = (await once(child, "close")) as [number]
    expect([output, code]).toEqual(["closed\n", 0])
  })
})

describe("the options", () => {
  const restart = async (more: Partial<S3ServerOptions>): Promise<void> => {
    await server.close()
    await start(more)
  }

  it("(idleTimeoutMs) answer a body that stops coming, and store none of it", async () => {
    await restart({ idleTimeoutMs: 20 })
    const request = open(await sign(said("PUT", "a", { body })))
    const reply = replyOf(request)
    request.write(body.subarray(0, 10))
    const { status, code } = await heard(await reply)
    request.destroy()
    expect([status, code, keys()]).toEqual([400, "RequestTimeout", []])
  })

  it("(keepBodies: false) keep what can be known of a body, and not the body", async () => {
    await restart({ keepBodies: false })
    await put("a")
    const object = server.objects("logs").get("a")
    expect([object?.body, object?.size, object?.sha256]).toEqual([
      undefined,
      body.length,
      Buffer.from(checksumOf("sha256", body), "base64").toString("hex"),
    ])
    const answer = await get("a")
    expect([answer.status, answer.code]).toEqual([501, "NotImplemented"])
  })

  it("(maxKeptBytes) bound what is kept, (maxBodyBytes) what is taken", async () => {
    await restart({ maxKeptBytes: body.length + 1, maxBodyBytes: body.length })
    const outcomes = [await rawOutcome(said("PUT", "a", { body })), await rawOutcome(said("PUT", "b", { body }))]
    const large = await rawOutcome(said("PUT", "c", { body: Buffer.alloc(body.length + 1) }))
    expect([outcomes, large, keys()]).toEqual([["200", "500 InternalError"], "400 EntityTooLarge", ["a"]])
  })

  it("(sessionToken) ask for the token with every request", async () => {
    await restart({ sessionToken: "token" })
    const token = { "x-amz-security-token": "token" }
    expect([
      await rawOutcome(said("PUT", "a", { body })),
      await rawOutcome(said("PUT", "a", { body, headers: { "x-amz-security-token": "another" } })),
      await rawOutcome(said("PUT", "a", { body, headers: token })),
    ]).toEqual(["400 InvalidToken", "400 InvalidToken", "200"])
    expect(JSON.stringify(server.requests)).not.toMatch(/token"|Signature=/)
  })

  it("(owner) are compared with the owner that a client expects", async () => {
    await restart({ owner: "111122223333" })
    const expecting = (owner: string) =>
      rawOutcome(said("PUT", "a", { body, headers: { "x-amz-expected-bucket-owner": owner } }))
    expect([await expecting("444455556666"), await expecting("111122223333")]).toEqual(["403 AccessDenied", "200"])
  })

  it("leave nothing to be ignored: what the server does not know, it says", async () => {
    expect([
      await rawOutcome(said("PUT", "a", { body, headers: { "x-amz-acl": "public-read" } })),
      await rawOutcome(said("PUT", "a", { body, query: { tagging: "" } })),
      await rawOutcome(said("GET", "a", { query: { versionId: "1" } })),
      await rawOutcome(said("POST", "a", { body })),
      keys(),
    ]).toEqual(["501 NotImplemented", "501 NotImplemented", "501 NotImplemented", "501 NotImplemented", []])
  })

  it("do not matter to a client that waits for 100 Continue", async () => {
    const request = open(await sign(said("PUT", "a", { body, headers: { expect: "100-continue" } })))
    const reply = replyOf(request)
    request.flushHeaders()
    await once(request, "continue")
    request.end(body)
    expect([(await heard(await reply)).status, keys()]).toEqual([200, ["a"]])

    const refused = open(
      await sign(said("PUT", "b", { body, headers: { expect: "100-continue", "x-amz-tagging": "a=1&a=2" } })),
    )
    refused.flushHeaders()
    const { status, code } = await heard(await replyOf(refused))
    refused.destroy()
    expect([status, code, keys()]).toEqual([400, "InvalidArgument", ["a"]])
  })

  it("place an object as another client would have", async () => {
    server.place("logs", "a", "placed", { metadata: { of: "another" } })
    const client = clientOf({ ...access, endpoint: server.endpoint })
    const told = await client.send(new GetObjectCommand({ Bucket: "logs", Key: "a", ChecksumMode: "ENABLED" }))
    expect([await told.Body?.transformToString(), told.Metadata, told.ChecksumCRC64NVME, told.ETag]).toEqual([
      "placed",
      { of: "another" },
      checksumOf("crc64nvme", Buffer.from("placed")),
      `"${Buffer.from(checksumOf("md5", Buffer.from("placed")), "base64").toString("hex")}"`,
    ])
    client.destroy()
  })
})
