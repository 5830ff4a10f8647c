// One signal's way to a collector: what is tried again, what isn't, and that closing ends all of it. Real HTTP on the loopback.
import type { ServerResponse } from "node:http"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { Connection } from "../src/connection.ts"
import type { Target } from "../src/environment.ts"
import { type Collector, deadPort, startCollector, until } from "./collector.ts"

const BODY = new TextEncoder().encode("{}")
const JSON_TYPE = "application/json"

let collector: Collector
beforeEach(async () => void (collector = await startCollector()))
afterEach(() => collector.close())

const connect = (over: Partial<Target> = {}): Connection =>
  new Connection({
    signal: "traces",
    url: `${collector.url}/v1/traces`,
    protocol: "http/json",
    headers: {},
    compression: "none",
    timeoutMs: 10_000,
    tls: {},
    ...over,
  })
const send = (connection: Connection) => connection.send(BODY, JSON_TYPE)

/** Answers each request in turn as told, and as a sound collector after that. */
const answer = (...answers: ReadonlyArray<(response: ServerResponse) => void>): void => {
  const left = [...answers]
  collector.answer = (response) => {
    const next = left.shift() ?? ((sound: ServerResponse) => sound.writeHead(200).end("{}"))
    next(response)
  }
}
const status =
  (code: number, headers: Record<string, string> = {}, body = "") =>
  (response: ServerResponse): void =>
    void response.writeHead(code, headers).end(body)
const hang = (): void => {}
const cutOff = (response: ServerResponse): void => void response.socket?.resetAndDestroy()

const DELIVERED = { ok: true, body: Buffer.from("{}") }

describe("a request", () => {
  it("goes out with the target's headers, which can't change what it is", async () => {
    const connection = connect({ headers: { authorization: "x", "content-type": "text/plain", "content-length": "1" } })
    expect(await send(connection)).toEqual(DELIVERED)
    connection.close()
    const { headers, path } = collector.requests[0]!
    const { authorization, "content-length": length, "content-type": type, "user-agent": agent } = headers
    expect({ path, authorization, type, agent, length }).toEqual({
      path: "/v1/traces",
      authorization: "x",
      type: JSON_TYPE,
      agent: "cordwood-plugin-otel",
      length: "2",
    })
  })

  it.each([
    ["429", status(429, { "Retry-After": "0" })],
    ["502", status(502, { "Retry-After": "0" })],
    ["503", status(503, { "Retry-After": "0" })],
    ["504", status(504, { "Retry-After": "0" })],
    ["503 until a moment that has passed", status(503, { "Retry-After": "Wed, 09 Sep 2026 04:33:10 GMT" })],
  ])("is sent again after %s", async (_what, refusal) => {
    answer(refusal, refusal)
    const connection = connect()
    expect(await send(connection)).toEqual(DELIVERED)
    connection.close()
    expect(collector.requests.length).toBe(3)
  })

  it.each([
    ["503 without a word about when", status(503)],
    ["503 with a moment that is none", status(503, { "Retry-After": "soon" })],
    ["a connection that is cut off", cutOff],
  ])("is sent again in a second or so after %s", async (_what, refusal) => {
    answer(refusal)
    const connection = connect()
    expect(await send(connection)).toEqual(DELIVERED)
    connection.close()
    expect(collector.requests.length).toBe(2)
  })

  it.each([
    [400, "Bad Request"],
    [401, "Unauthorized"],
    [404, "Not Found"],
    [413, "Payload Too Large"],
    [500, "Internal Server Error"],
    [301, "Moved Permanently"],
  ])("is given up after %i, which would come again", async (code, word) => {
    answer(status(code, { location: "http://127.0.0.1:9/" }, "words"))
    const connection = connect()
    expect(await send(connection)).toEqual({ ok: false, why: `it answered ${code} ${word}` })
    connection.close()
    expect(collector.requests.length).toBe(1)
  })

  it("is given up at once where the collector wants more time than there is", async () => {
    answer(status(503, { "Retry-After": "60" }))
    const connection = connect()
    expect(await send(connection)).toEqual({
      ok: false,
      why: "it answered 503 Service Unavailable",
      again: { afterMs: 60_000 },
    })
    connection.close()
  })

  it("is given up once its time is over, while nobody answers", async () => {
    answer(hang)
    const connection = connect({ timeoutMs: 50 })
    expect(await send(connection)).toMatchObject({ ok: false, why: "no answer in time" })
    connection.close()
  })

  it("counts as delivered where the answer to it is cut off after its status, and isn't sent twice", async () => {
    answer((response) => {
      response.writeHead(200, { "Content-Length": "100" }).flushHeaders()
      response.write("{", () => response.socket?.destroy())
    })
    const connection = connect()
    expect(await send(connection)).toEqual({ ok: true, body: Buffer.from("{") })
    connection.close()
    expect(collector.requests.length).toBe(1)
  })

  it("takes no answer without end", async () => {
    answer((response) => {
      response.writeHead(200)
      const more = (): void => void (response.destroyed || response.write("x".repeat(60_000), more))
      more()
    })
    const connection = connect()
    expect(await send(connection)).toEqual({ ok: false, why: "an answer of more than 65536 bytes" })
    connection.close()
  })

  it("repeats a collector's words in one line", async () => {
    answer((response) => void response.socket?.end("HTTP/1.1 400 no\u001b[31m\u007fway\r\nContent-Length: 0\r\n\r\n"))
    const connection = connect()
    const { why } = (await send(connection)) as { readonly why: string }
    connection.close()
    // eslint-disable-next-line no-control-regex
    expect(why).not.toMatch(/[\u0000-\u001f]/)
  })

  it("is given up at once where nobody listens and the agent is ending", async () => {
    const connection = connect({ url: `http://127.0.0.1:${await deadPort()}/v1/traces` })
    connection.hurry()
    expect(await send(connection)).toMatchObject({ ok: false, why: expect.stringContaining("ECONNREFUSED") })
    connection.close()
  })

  it("is sent anew where the collector closes a connection just as it is used again, also at the end", async () => {
    answer(status(200, {}, "{}"), cutOff)
    const connection = connect()
    expect(await send(connection)).toEqual(DELIVERED)
    connection.hurry()
    expect(await send(connection)).toEqual(DELIVERED)
    connection.close()
    expect(collector.requests.length).toBe(3)
  })
})

describe("a connection that", () => {
  it("is in a hurry doesn't wait to try again", async () => {
    answer(status(503, { "Retry-After": "5" }))
    const connection = connect()
    const sending = send(connection)
    await until(() => collector.requests.length === 1, "the first try")
    connection.hurry()
    expect(await sending).toMatchObject({ ok: false, why: "it answered 503 Service Unavailable" })
    connection.close()
    expect(collector.requests.length).toBe(1)
  })

  it("is closed ends what is under way, and sends nothing any more", async () => {
    answer(hang)
    const connection = connect()
    const sending = send(connection)
    await until(() => collector.requests.length === 1, "the request")
    connection.close()
    expect(await sending).toEqual({ ok: false, why: "the agent stopped before it was answered" })
    expect(await send(connection)).toEqual({ ok: false, why: "the agent stopped before it was sent" })
    expect(collector.requests.length).toBe(1)
  })

  it("says where it leads without a password in the URL", () => {
    const connection = connect({ url: "http://user:s3cr3t@collector:4318/v1/traces?key=s3cr3t" })
    expect(connection.address).toBe("http://collector:4318/v1/traces")
    connection.close()
  })
})
