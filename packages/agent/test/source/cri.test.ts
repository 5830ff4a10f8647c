import { join } from "node:path"
import { status } from "@grpc/grpc-js"
import { Effect } from "effect"
import { expect, onTestFinished, test } from "vitest"
import { cri } from "../../src/source/cri/cri.ts"
import { container, EXITED, FakeRuntime, logOf } from "./fake-runtime.ts"
import { opened, scratch } from "./opened.ts"

const fakeRuntime = async (): Promise<FakeRuntime> => {
  const runtime = await FakeRuntime.start(join(scratch(), "cri.sock"))
  onTestFinished(() => runtime.stop())
  return runtime
}
/** What every list asks. */
const listed = ["ListContainers", "ListPodSandbox"].map((method) => `${method} {"filter":null}`)
const nothing = { logs: [], problems: [] }

test("a running container becomes a log with the names that its labels give", async () => {
  const runtime = await fakeRuntime()
  runtime.containers = [
    container("app"),
    container("bare", { sandbox: "sandbox-2", logPath: "/logs/bare.log", labels: {} }),
  ]
  const source = await opened(cri({ endpoint: `unix://${runtime.socket}` }))
  expect(source.source.name).toBe(`cri unix://${runtime.socket}`)
  expect(await source.list()).toEqual({
    logs: [logOf("app"), { path: "/logs/bare.log", containerId: "id-bare" }],
    problems: [],
  })
})

test("a log has the labels of its pod, which are asked for with it once", async () => {
  const runtime = await fakeRuntime()
  runtime.containers = [
    container("app"),
    container("proxy"),
    container("bare", { sandbox: "sandbox-2", logPath: "/logs/bare.log", labels: {} }),
  ]
  runtime.podLabels = { "sandbox-1": { tier: "front", "app.kubernetes.io/name": "shop" } }
  const { source } = await opened(cri({ endpoint: runtime.socket }))
  for (let round = 0; round < 2; round += 1) {
    const { labels, logs } = await Effect.runPromise(source.list)
    expect(logs.map(({ path }) => [path, labels?.get(path)])).toEqual([
      [logOf("app").path, { tier: "front", "app.kubernetes.io/name": "shop" }],
      [logOf("proxy").path, { tier: "front", "app.kubernetes.io/name": "shop" }],
      ["/logs/bare.log", {}],
    ])
  }
  expect(runtime.calls.filter((call) => call.startsWith("PodSandboxStatus "))).toEqual([
    "PodSandboxStatus sandbox-1",
    "PodSandboxStatus sandbox-2",
  ])
})

test("a runtime that tells nothing of pods gives logs without labels", async () => {
  const runtime = await fakeRuntime()
  runtime.containers = [container("app")]
  runtime.fault = (method) =>
    method === "PodSandboxStatus" ? { code: status.UNIMPLEMENTED, details: "unknown method" } : null
  const { source } = await opened(cri({ endpoint: runtime.socket }))
  const { labels, logs } = await Effect.runPromise(source.list)
  expect([logs, labels]).toEqual([[logOf("app")], new Map([[logOf("app").path, {}]])])
})

test("one list is one ListContainers and one ListPodSandbox, and a container and its pod are asked about once in their lives", async () => {
  const runtime = await fakeRuntime()
  runtime.containers = [container("app"), container("proxy")]
  const source = await opened(cri({ endpoint: runtime.socket }))
  const all = { logs: [logOf("app"), logOf("proxy")], problems: [] }
  expect([await source.list(), await source.list(), await source.list()]).toEqual([all, all, all])
  const asked = ["PodSandboxStatus sandbox-1", "ContainerStatus id-app", "ContainerStatus id-proxy"]
  expect(runtime.calls).toEqual([...listed, ...asked, ...listed, ...listed])
})

test("a container that went away is forgotten, and asked about again should it come back", async () => {
  const runtime = await fakeRuntime()
  runtime.containers = [container("app")]
  const source = await opened(cri({ endpoint: runtime.socket }))
  await source.list()
  runtime.containers = []
  expect(await source.list()).toEqual(nothing)
  runtime.containers = [container("app", { logPath: "/var/log/pods/elsewhere/1.log" })]
  expect(await source.list()).toEqual({ logs: [logOf("app", "/var/log/pods/elsewhere/1.log")], problems: [] })
})

test("a container without a log is left out in silence, and not asked about again", async () => {
  const runtime = await fakeRuntime()
  runtime.containers = [container("quiet", { logPath: "" })]
  const source = await opened(cri({ endpoint: runtime.socket }))
  expect([await source.list(), await source.list()]).toEqual([nothing, nothing])
  expect(runtime.calls.filter((call) => call === "ContainerStatus id-quiet")).toHaveLength(1)
})

test("a container that ended, or was removed, after the list was made is none that runs, in silence", async () => {
  const runtime = await fakeRuntime()
  const bare = { sandbox: "sandbox-2", logPath: "/logs/done.log", labels: {} }
  runtime.containers = [container("app"), container("done", { ...bare, stateByNow: EXITED })]
  const done = { path: "/logs/done.log", containerId: "id-done" }
  const source = await opened(cri({ endpoint: runtime.socket }))
  expect(await source.list()).toEqual({ logs: [logOf("app"), done], stopped: [done.path], problems: [] })
  runtime.containers = [container("app"), container("gone")]
  runtime.fault = (method, about) =>
    method === "ContainerStatus" && about === "id-gone"
      ? { code: status.NOT_FOUND, details: "an error occurred: not found" }
      : null
  expect(await source.list()).toEqual({ logs: [logOf("app")], problems: [] })
})

test("a container that is listed time and again but can't be found is a problem", async () => {
  const runtime = await fakeRuntime()
  runtime.containers = [container("gone")]
  runtime.fault = (method) => (method === "ContainerStatus" ? { code: status.NOT_FOUND, details: "not found" } : null)
  const source = await opened(cri({ endpoint: runtime.socket }))
  await source.list()
  expect(await source.list()).toEqual({
    logs: [],
    problems: [
      {
        source: `cri unix://${runtime.socket}`,
        op: "list",
        target: "container id-gone (shop/web/gone)",
        reason: "NotFound",
        detail: "not found",
        hint: "the container has ended meanwhile: nothing to do",
      },
    ],
  })
})

test("one container's failing status is a problem, the others go on, and it is asked again by the next list", async () => {
  const runtime = await fakeRuntime()
  runtime.containers = [container("bad"), container("app")]
  runtime.fault = (method, about) =>
    method === "ContainerStatus" && about === "id-bad" ? { code: status.UNKNOWN, details: "snapshot is\nbroken" } : null
  const source = await opened(cri({ endpoint: runtime.socket }))
  const problem = {
    source: `cri unix://${runtime.socket}`,
    op: "list",
    target: "container id-bad (shop/web/bad)",
    reason: "Refused",
    detail: "snapshot is broken",
    hint: "see the message and the runtime's own log; it is tried again on the next pass",
  }
  expect(await source.list()).toEqual({ logs: [logOf("app")], problems: [problem] })
  runtime.fault = () => null
  expect(await source.list()).toEqual({ logs: [logOf("bad"), logOf("app")], problems: [] })
})

test("many new containers are asked about with at most eight calls at a time", async () => {
  const runtime = await fakeRuntime()
  runtime.containers = Array.from({ length: 40 }, (_, index) =>
    container(`app-${index}`, { sandbox: `sandbox-${index}` }),
  )
  let underWay = 0
  let most = 0
  runtime.fault = (method) => {
    if (method !== "ContainerStatus") return null
    underWay += 1
    most = Math.max(most, underWay)
    // The answer waits until the event loop has taken in whatever else is on the wire.
    return { after: new Promise<void>((resolve) => setTimeout(resolve, 5)).then(() => void (underWay -= 1)) }
  }
  const source = await opened(cri({ endpoint: runtime.socket }))
  expect(await source.list()).toEqual({
    logs: Array.from({ length: 40 }, (_, index) => logOf(`app-${index}`)),
    problems: [],
  })
  expect(most).toBe(8)
})

test("of two running containers with one log path the newer is looked after, and the older is a problem", async () => {
  const runtime = await fakeRuntime()
  const logPath = "/var/log/pods/shop_web_uid-1/app/0.log"
  // They differ in the last digit, beyond what a double can tell apart.
  runtime.containers = [
    container("older", { logPath, createdAt: "1789000000000000001" }),
    container("newer", { logPath, createdAt: "1789000000000000002" }),
  ]
  const problem = {
    source: `cri unix://${runtime.socket}`,
    op: "list",
    target: logPath,
    reason: "Invalid",
    detail:
      "two running containers have this log path: container id-newer (shop/web/newer), which is the newer one and is looked after, and container id-older (shop/web/older)",
    hint: "give each container a log path of its own: what the older one writes may be torn apart",
  }
  const source = await opened(cri({ endpoint: runtime.socket }))
  expect(await source.list()).toEqual({ logs: [logOf("newer", logPath)], problems: [problem] })
  runtime.containers = runtime.containers.toReversed()
  expect(await source.list()).toEqual({ logs: [logOf("newer", logPath)], problems: [problem] })
})

test.each([
  ["relative/0.log", null, "it is not absolute"],
  ["/var/log/pods/../../etc/shadow", null, "it has a part .."],
  ["/var/log/pods/./0.log", null, "it has a part ."],
  ["/var/log//pods/0.log", null, "it has an empty part (//)"],
  ["/var/log/pods/app/", null, "it ends in a slash"],
  ["/var/log/pods/a\nb.log", null, "it has control characters"],
  [`/${"a/".repeat(2_100)}b`, null, "it has more than 4095 bytes"],
  [
    "/etc/shadow",
    "/var/log/pods/shop_web_uid-1",
    "it lies outside the pod's log directory /var/log/pods/shop_web_uid-1",
  ],
  [
    "/var/log/pods/shop_web_uid-1",
    "/var/log/pods/shop_web_uid-1",
    "it lies outside the pod's log directory /var/log/pods/shop_web_uid-1",
  ],
  [
    "/var/log/pods/shop_web_uid-10/0.log",
    "/var/log/pods/shop_web_uid-1/",
    "it lies outside the pod's log directory /var/log/pods/shop_web_uid-1/",
  ],
  ["/var/log/pods/x/0.log", "pods/x", `the pod's log directory "pods/x" is no path to rely on`],
])("the log path %j in the pod's directory %j is refused and reported", async (logPath, directory, why) => {
  const runtime = await fakeRuntime()
  runtime.containers = [container("app", { logPath })]
  if (directory !== null) runtime.info = { "sandbox-1": { pid: 1, config: { log_directory: directory } } }
  const source = await opened(cri({ endpoint: runtime.socket }))
  const refused = {
    logs: [],
    problems: [
      {
        source: `cri unix://${runtime.socket}`,
        op: "list",
        target: logPath,
        reason: "Invalid",
        detail: `the runtime names a log path that may not be touched: ${why} (container id-app (shop/web/app))`,
        hint: "nothing was done to it; look at how the container's log path was set, and whether the runtime can be trusted",
      },
    ],
  }
  expect([await source.list(), await source.list()]).toEqual([refused, refused])
  expect(runtime.calls.filter((call) => call === "ContainerStatus id-app")).toHaveLength(1)
})

test.each([
  ["with a slash", { config: { log_directory: "/var/log/pods/shop_web_uid-1/" } }],
  ["without a slash", { config: { log_directory: "/var/log/pods/shop_web_uid-1" } }],
  ["as nothing", { config: {} }],
  ["as empty text", { config: { log_directory: "" } }],
  ["as no text", { config: { log_directory: 7 } }],
  ["in no form known", "a text"],
])("a log path inside the pod's directory is taken when the runtime gives that %s", async (_, info) => {
  const runtime = await fakeRuntime()
  runtime.containers = [container("app")]
  runtime.info = { "sandbox-1": info }
  const source = await opened(cri({ endpoint: runtime.socket }))
  expect(await source.list()).toEqual({ logs: [logOf("app")], problems: [] })
})

test("a runtime without PodSandboxStatus is trusted with the path's form alone", async () => {
  const runtime = await fakeRuntime()
  runtime.containers = [container("app")]
  runtime.fault = (method) =>
    method === "PodSandboxStatus" ? { code: status.UNIMPLEMENTED, details: "unknown method" } : null
  const source = await opened(cri({ endpoint: runtime.socket }))
  expect(await source.list()).toEqual({ logs: [logOf("app")], problems: [] })
})

test("a pod whose directory can't be asked for has its containers left alone until it can", async () => {
  const runtime = await fakeRuntime()
  runtime.containers = [container("app")]
  runtime.fault = (method) =>
    method === "PodSandboxStatus" ? { code: status.INTERNAL, details: "store is locked" } : null
  const source = await opened(cri({ endpoint: runtime.socket }))
  expect(await source.list()).toEqual({
    logs: [],
    problems: [
      {
        source: `cri unix://${runtime.socket}`,
        op: "list",
        target: "container id-app (shop/web/app)",
        reason: "Refused",
        detail: "store is locked",
        hint: "see the message and the runtime's own log; it is tried again on the next pass",
      },
    ],
  })
  runtime.fault = () => null
  expect(await source.list()).toEqual({ logs: [logOf("app")], problems: [] })
})

test("reopen has the runtime reopen just this container's log", async () => {
  const runtime = await fakeRuntime()
  runtime.containers = [container("app"), container("proxy")]
  const source = await opened(cri({ endpoint: runtime.socket }))
  expect(await source.reopen(logOf("proxy"))).toBe("told")
  expect(runtime.calls).toEqual(["ReopenContainerLog id-proxy"])
})

test.each([
  ["NOT_FOUND", status.NOT_FOUND, "no such container", "NotFound"],
  ["containerd's words for an exited container", status.UNKNOWN, "container is not running", "NotFound"],
  ["an open that failed", status.UNKNOWN, "failed to open: no space left on device", "Refused"],
  ["a failed precondition", status.FAILED_PRECONDITION, "frozen", "Refused"],
  ["PERMISSION_DENIED", status.PERMISSION_DENIED, "no", "Refused"],
  ["the runtime's own UNAVAILABLE", status.UNAVAILABLE, "shim is gone", "Unavailable"],
] as const)("a reopen that the runtime answers with %s is an error of its kind", async (_, code, details, reason) => {
  const runtime = await fakeRuntime()
  runtime.fault = () => ({ code, details })
  const source = await opened(cri({ endpoint: runtime.socket }))
  const result = await source.reopen(logOf("app"))
  expect(result).toEqual({
    error: {
      source: `cri unix://${runtime.socket}`,
      op: "reopen",
      target: logOf("app").path,
      reason,
      detail: details,
      hint: expect.stringMatching(
        /^(the container has ended|see the message|check that the container runtime runs)/,
      ) as string,
    },
  })
})

test("a log that no container writes can't be reopened", async () => {
  const runtime = await fakeRuntime()
  const source = await opened(cri({ endpoint: runtime.socket }))
  expect(await source.reopen({ path: "/var/log/a.log" })).toEqual({
    error: {
      source: `cri unix://${runtime.socket}`,
      op: "reopen",
      target: "/var/log/a.log",
      reason: "Invalid",
      detail: "the log has no container that could be told to reopen it",
      hint: "only a log that this source listed can be reopened by it",
    },
  })
  expect(runtime.calls).toEqual([])
})
