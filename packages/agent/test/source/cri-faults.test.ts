import { execFile } from "node:child_process"
import { chmodSync, writeFileSync } from "node:fs"
import { createServer as createHttp2Server } from "node:http2"
import { createServer, type Server, type Socket } from "node:net"
import { join } from "node:path"
import { promisify } from "node:util"
import { status } from "@grpc/grpc-js"
import { Effect, Fiber } from "effect"
import { expect, onTestFinished, test } from "vitest"
import { cri } from "../../src/source/cri/cri.ts"
import { container, FakeRuntime, logOf } from "./fake-runtime.ts"
import { eventually, opened, scratch } from "./opened.ts"

/** Short, but long enough for a machine that is busy with other tests to answer a call that isn't held. */
const TIMEOUT = "1s"
const never = new Promise(() => {})

const fakeRuntime = async (socket = join(scratch(), "cri.sock")): Promise<FakeRuntime> => {
  const runtime = await FakeRuntime.start(socket)
  onTestFinished(() => runtime.stop())
  return runtime
}
const app = { logs: [logOf("app")], problems: [] }
const listError = (socket: string, reason: string, detail: unknown, hint: unknown) => ({
  error: { source: `cri unix://${socket}`, op: "list", target: socket, reason, detail, hint },
})
const START_IT =
  "check that the container runtime runs (systemctl status containerd) and that endpoint names its socket; it is tried again by itself"
const STUCK =
  "the runtime is stuck or overloaded: see its own log; if it is just slow, raise the source's timeout (1000 ms)"
const WRONG_SOCKET = "check that endpoint names a container runtime's CRI socket"

/** The source lists `app` again, however long gRPC's pause before the next try is. */
const comesBack = (source: Awaited<ReturnType<typeof opened>>): Promise<unknown> =>
  eventually("the runtime to be seen again", async () => {
    const result = await source.list()
    return "error" in result ? undefined : result
  })

test("a missing socket is an error that names it, at once, and the runtime is seen when it comes", async () => {
  const socket = join(scratch(), "cri.sock")
  const source = await opened(cri({ endpoint: socket, timeout: "50s" }))
  const missing = listError(socket, "Unavailable", "connect ENOENT", START_IT)
  expect([await source.list(), await source.list()]).toEqual([missing, missing])
  const runtime = await fakeRuntime(socket)
  runtime.containers = [container("app")]
  expect(await comesBack(source)).toEqual(app)
})

test("a socket that nobody listens on is an error that names it", async () => {
  const socket = join(scratch(), "cri.sock")
  writeFileSync(socket, "")
  const source = await opened(cri({ endpoint: socket }))
  expect(await source.list()).toEqual(listError(socket, "Unavailable", "connect ECONNREFUSED", START_IT))
})

test("a runtime that was restarted on a new socket of the same path is seen again, and its containers are still known", async () => {
  const runtime = await fakeRuntime()
  runtime.containers = [container("app")]
  const source = await opened(cri({ endpoint: runtime.socket }))
  expect(await source.list()).toEqual(app)
  runtime.stop()
  const away = await eventually("the runtime to be missed", async () => {
    const result = await source.list()
    return "error" in result ? result : undefined
  })
  expect(away).toEqual(listError(runtime.socket, "Unavailable", expect.any(String), START_IT))
  await runtime.resume()
  runtime.calls.length = 0
  expect(await comesBack(source)).toEqual(app)
  expect(runtime.calls.filter((call) => call.startsWith("ContainerStatus"))).toEqual([])
})

test("a call that isn't answered ends by its deadline, and calls under way beside it go on", async () => {
  const runtime = await fakeRuntime()
  runtime.containers = [container("app")]
  let answer = (): void => {}
  const held = new Promise<void>((resolve) => {
    answer = resolve
  })
  runtime.fault = (method) => ({ after: method === "ReopenContainerLog" ? held : never })
  const source = await opened(cri({ endpoint: runtime.socket, timeout: "2s" }))
  const startedMs = performance.now()
  const listing = source.list()
  // So that the second call has half of its time left when the first one's is up.
  await eventually("half of the list's time", () => (performance.now() - startedMs > 1_000 ? true : undefined))
  const reopening = source.reopen(logOf("app"))
  expect(await listing).toMatchObject({
    error: { reason: "DeadlineExceeded", detail: "no answer to ListContainers within 2000 ms" },
  })
  answer()
  expect(await reopening).toBe("told")
  runtime.fault = () => null
  expect(await source.list()).toEqual(app)
})

test("a list that isn't answered is an error that says how to give the runtime more time", async () => {
  const runtime = await fakeRuntime()
  runtime.fault = () => ({ after: never })
  const source = await opened(cri({ endpoint: runtime.socket, timeout: TIMEOUT }))
  expect(await source.list()).toEqual(
    listError(runtime.socket, "DeadlineExceeded", "no answer to ListContainers within 1000 ms", STUCK),
  )
})

test("a container whose status is never answered is a problem, and one that answers is still listed", async () => {
  const runtime = await fakeRuntime()
  runtime.containers = [container("hangs"), container("app", { sandbox: "sandbox-2" })]
  runtime.fault = (method, about) => (method === "ContainerStatus" && about === "id-hangs" ? { after: never } : null)
  const source = await opened(cri({ endpoint: runtime.socket, timeout: TIMEOUT }))
  const problem = {
    source: `cri unix://${runtime.socket}`,
    op: "list",
    target: "container id-hangs (shop/web/hangs)",
    reason: "DeadlineExceeded",
    detail: "no answer to ContainerStatus within 1000 ms",
    hint: STUCK,
  }
  expect(await source.list()).toEqual({ logs: [logOf("app")], problems: [problem] })
})

test("a list of containers that all hang ends all the same, and the next list begins with those not reached", async () => {
  const runtime = await fakeRuntime()
  const names = Array.from({ length: 8 * 3 }, (_, index) => `hangs-${index}`)
  runtime.containers = [...names, "app"].map((name) => container(name, { sandbox: `of-${name}` }))
  runtime.fault = (method, about) =>
    method === "ContainerStatus" && about.startsWith("id-hangs") ? { after: never } : null
  const source = await opened(cri({ endpoint: runtime.socket, timeout: TIMEOUT }))
  const first = await source.list()
  expect(first).toMatchObject({ logs: [] })
  expect("problems" in first && first.problems.map(({ reason }) => reason)).toEqual(
    Array.from({ length: 8 * 3 + 1 }, () => "DeadlineExceeded"),
  )
  expect(await source.list()).toMatchObject({ logs: [logOf("app")] })
})

test("an interrupted list lets go of its call", async () => {
  const runtime = await fakeRuntime()
  runtime.fault = () => ({ after: never })
  const source = await opened(cri({ endpoint: runtime.socket, timeout: "50s" }))
  const fiber = Effect.runFork(source.source.list)
  await eventually("the call", () => (runtime.calls.length > 0 ? true : undefined))
  await Effect.runPromise(Fiber.interrupt(fiber))
  runtime.fault = () => null
  expect(await source.list()).toEqual({ logs: [], problems: [] })
})

test("an answer beyond the limit is refused, whoever it is from", async () => {
  const runtime = await fakeRuntime()
  runtime.containers = [container("app", { labels: { big: "x".repeat(17 * 1024 * 1024) } })]
  const source = await opened(cri({ endpoint: runtime.socket }))
  expect(await source.list()).toEqual(
    listError(runtime.socket, "Invalid", "the answer to ListContainers is larger than 16777216 bytes", WRONG_SOCKET),
  )
  runtime.containers = [container("app")]
  expect(await source.list()).toEqual(app)
})

test("bytes that are no message are an error, and the next answer is read", async () => {
  const runtime = await fakeRuntime()
  runtime.fault = () => ({ bytes: Buffer.from("this is no message at all, is it?") })
  const source = await opened(cri({ endpoint: runtime.socket }))
  expect(await source.list()).toEqual(
    listError(runtime.socket, "Invalid", expect.stringMatching(/^Response message parsing error: /), WRONG_SOCKET),
  )
  runtime.containers = [container("app")]
  runtime.fault = () => null
  expect(await source.list()).toEqual(app)
})

test("an answer of another kind lists nothing and breaks nothing", async () => {
  const runtime = await fakeRuntime()
  runtime.containers = [container("app")]
  // Of each message there is nothing but a field that no one knows.
  runtime.fault = () => ({ bytes: Buffer.from([0xf8, 0x3f, 0x01]) })
  const source = await opened(cri({ endpoint: runtime.socket }))
  expect(await source.list()).toEqual({ logs: [], problems: [] })
  runtime.fault = (method) => (method === "ContainerStatus" ? { bytes: Buffer.from([0xf8, 0x3f, 0x01]) } : null)
  expect(await source.list()).toEqual({
    logs: [],
    problems: [
      {
        source: `cri unix://${runtime.socket}`,
        op: "list",
        target: "container id-app (shop/web/app)",
        reason: "Invalid",
        detail: "the runtime's answer to ContainerStatus holds no status",
        hint: "see the runtime's own log",
      },
    ],
  })
})

test("a runtime that doesn't speak CRI v1 is refused with what would do", async () => {
  const runtime = await fakeRuntime()
  const details = "unknown service runtime.v1.RuntimeService"
  runtime.fault = () => ({ code: status.UNIMPLEMENTED, details })
  const source = await opened(cri({ endpoint: runtime.socket }))
  const hint = `what answers there doesn't know ListContainers of CRI v1: use containerd 1.6 or later with its CRI plugin enabled, or CRI-O 1.20 or later`
  expect(await source.list()).toEqual(listError(runtime.socket, "Refused", details, hint))
})

test("a runtime's long and unprintable words are cut to one line", async () => {
  const runtime = await fakeRuntime()
  runtime.fault = () => ({ code: status.UNKNOWN, details: `bad\n\u001B[31m${"x".repeat(2_000)}` })
  const source = await opened(cri({ endpoint: runtime.socket }))
  expect(await source.list()).toMatchObject({ error: { reason: "Refused", detail: `bad [31m${"x".repeat(492)}…` } })
})

/** A peer on a socket that does as told with every connection, and can be replaced by a runtime on the same path. */
const peer = async (socket: string, server: Server): Promise<() => Promise<void>> => {
  const connections = new Set<Socket>()
  server.on("connection", (connection: Socket) => {
    connections.add(connection)
    connection.on("error", () => {})
  })
  await new Promise<void>((resolve) => server.listen(socket, resolve))
  const close = async (): Promise<void> => {
    for (const connection of connections) connection.destroy()
    if (server.listening) await new Promise((resolve) => server.close(resolve))
  }
  onTestFinished(close)
  return close
}

test.each<[string, () => Server, string, RegExp]>([
  [
    "writes junk",
    () => createServer((one) => one.write("junk ".repeat(200))),
    "Invalid",
    /^what answers there doesn't speak gRPC: Protocol error$/,
  ],
  [
    "answers in HTTP/1",
    () => createServer((one) => one.end("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")),
    "Invalid",
    /^what answers there doesn't speak gRPC: Protocol error$/,
  ],
  [
    "closes every connection",
    () => createServer((one) => one.end()),
    "Invalid",
    /^what answers there doesn't speak gRPC: /,
  ],
  [
    "breaks every connection",
    () => createServer((one) => one.destroy()),
    "Invalid",
    /^what answers there doesn't speak gRPC: /,
  ],
  [
    "takes connections and says nothing",
    () => createServer(),
    "DeadlineExceeded",
    /^no answer to ListContainers within 1000 ms$/,
  ],
  [
    "speaks HTTP/2 and knows no such page",
    () =>
      createHttp2Server((_, response) => response.writeHead(404, { "content-type": "text/html" }).end("<h1>404</h1>")),
    "Invalid",
    /HTTP|content-type/i,
  ],
  [
    "speaks HTTP/2 and has a page for everything",
    () =>
      createHttp2Server((_, response) =>
        response.writeHead(200, { "content-type": "text/html" }).end("<h1>hello</h1>"),
      ),
    "Invalid",
    /./,
  ],
  [
    "breaks every HTTP/2 stream",
    () => createHttp2Server().on("stream", (stream) => stream.on("error", () => {}).close(2)),
    "Invalid",
    /./,
  ],
  [
    "ends every HTTP/2 session",
    () => createHttp2Server().on("session", (session) => session.destroy()),
    "Unavailable",
    /./,
  ],
])("a peer that %s is an error, and a runtime in its place is seen", async (_, serve, reason, detail) => {
  const socket = join(scratch(), "cri.sock")
  const close = await peer(socket, serve())
  const source = await opened(cri({ endpoint: socket, timeout: TIMEOUT }))
  const error = listError(socket, reason, expect.stringMatching(detail), expect.any(String))
  expect([await source.list(), await source.list()]).toEqual([error, error])
  await close()
  const runtime = await fakeRuntime(socket)
  runtime.containers = [container("app")]
  expect(await comesBack(source)).toEqual(app)
})

test("a peer that holds its connections and says nothing doesn't keep the runtime in its place from being seen", async () => {
  const socket = join(scratch(), "cri.sock")
  const silent = createServer()
  await peer(socket, silent)
  const source = await opened(cri({ endpoint: socket, timeout: TIMEOUT }))
  expect(await source.list()).toMatchObject({ error: { reason: "DeadlineExceeded" } })
  // The silent one goes on holding the connection; its socket's name is taken over.
  silent.close()
  const runtime = await fakeRuntime(socket)
  runtime.containers = [container("app")]
  expect(await source.list()).toEqual(app)
})

test.skipIf(process.getuid?.() === 0)("a socket that may not be opened says who should run the agent", async () => {
  const runtime = await fakeRuntime()
  chmodSync(runtime.socket, 0)
  const source = await opened(cri({ endpoint: runtime.socket }))
  const hint = "run the agent as root, or let its user open the socket"
  expect(await source.list()).toEqual(listError(runtime.socket, "Unavailable", "connect EACCES", hint))
})

test("a closed source asks nothing more", async () => {
  const runtime = await fakeRuntime()
  const source = await opened(cri({ endpoint: runtime.socket }))
  await source.close()
  expect(await source.list()).toMatchObject({ error: { reason: "Refused", detail: "the source is closed" } })
  expect(runtime.calls).toEqual([])
})

test("gRPC is loaded when a source is opened, not before, and nothing of it keeps the process alive, away or there", async () => {
  const runtime = await fakeRuntime()
  runtime.containers = [container("app")]
  const program = join(import.meta.dirname, "list-and-end.ts")
  const run = promisify(execFile)
  const arguments_ = ["--conditions=cordwood-source", program, runtime.socket, join(scratch(), "missing.sock")]
  const { stdout, stderr } = await run(process.execPath, arguments_, { timeout: 15_000 })
  expect({ stdout, stderr }).toEqual({ stdout: "gRPC before: false, after: true\n1 log\nUnavailable\n", stderr: "" })
})
