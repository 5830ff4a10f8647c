// Logs whose container has ended: as the runtime tells of it, or as the directories of pods do when it no longer does.
import { execFileSync } from "node:child_process"
import { mkdirSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { status } from "@grpc/grpc-js"
import { Effect } from "effect"
import { describe, expect, onTestFinished, test } from "vitest"
import { cri } from "../../src/source/cri/cri.ts"
import { PodDirectories } from "../../src/source/cri/pod-directory.ts"
import { container, CREATED, EXITED, type FakeContainer, FakeRuntime, UNKNOWN } from "./fake-runtime.ts"
import { opened, scratch } from "./opened.ts"

const LONG_AGO = new Date("2026-01-01T00:00:00Z")
const STAMP = "20260909-043300"

const POD = { name: "web", namespace: "shop", uid: "uid-1" }
const homeIn = (root: string): string => join(root, `${POD.namespace}_${POD.name}_${POD.uid}`)

/** A runtime whose first pod has its logs in a folder of this test, and says so. */
const onNode = async (): Promise<{ readonly runtime: FakeRuntime; readonly home: string }> => {
  const root = scratch()
  const runtime = await FakeRuntime.start(join(root, "cri.sock"))
  onTestFinished(() => runtime.stop())
  const home = homeIn(root)
  mkdirSync(home)
  runtime.info = { "sandbox-1": { config: { log_directory: home } } }
  runtime.sandboxes = { "sandbox-1": POD }
  return { runtime, home }
}
/** Files that nobody has written to for long. */
const put = (directory: string, ...names: ReadonlyArray<string>): void => {
  for (const name of names) {
    const path = join(directory, name)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, "a line\n")
    utimesSync(path, LONG_AGO, LONG_AGO)
  }
}
const attempt = (home: string, number: number, more: Partial<FakeContainer> = {}): FakeContainer =>
  container("app", { id: `id-${number}`, logPath: `${home}/app/${number}.log`, createdAt: String(number), ...more })
const logOf = (home: string, name: string, containerId?: string) => ({
  path: `${home}/app/${name}`,
  namespace: "shop",
  pod: "web",
  podUid: "uid-1",
  container: "app",
  ...(containerId === undefined ? {} : { containerId }),
})
const sourceOn = (runtime: FakeRuntime) => opened(cri({ endpoint: runtime.socket }))
/** Logs as running ones and those that have ended, by their names. */
const told = async (source: Awaited<ReturnType<typeof opened>>) => {
  const { logs, stopped = new Set() } = await Effect.runPromise(source.source.list)
  const names = (isStopped: boolean) =>
    logs
      .flatMap(({ path }) => (stopped.has(path) === isStopped ? [path.split("/").slice(-2).join("/")] : []))
      .toSorted()
  return { running: names(false), stopped: names(true) }
}

describe("a container that has ended", () => {
  test("has its log listed as stopped, without another question about it", async () => {
    const { home, runtime } = await onNode()
    put(home, "app/0.log", "proxy/0.log")
    const proxy = container("proxy", { logPath: `${home}/proxy/0.log` })
    runtime.containers = [attempt(home, 0), proxy]
    runtime.podLabels = { "sandbox-1": { tier: "front" } }
    const source = await sourceOn(runtime)
    const app = logOf(home, "0.log", "id-0")
    const beside = { ...app, path: `${home}/proxy/0.log`, container: "proxy", containerId: "id-proxy" }
    expect(await source.list()).toEqual({ logs: [app, beside], problems: [] })
    runtime.calls.length = 0
    runtime.containers = [attempt(home, 0, { state: EXITED }), proxy]
    expect(await source.list()).toEqual({ logs: [beside, app], stopped: [app.path], problems: [] })
    expect(runtime.calls.toSorted()).toEqual(['ListContainers {"filter":null}', 'ListPodSandbox {"filter":null}'])
    const { labels } = await Effect.runPromise(source.source.list)
    expect(labels?.get(app.path)).toEqual({ tier: "front" })
  })

  test("is asked about once where it had ended before it was first seen", async () => {
    const { home, runtime } = await onNode()
    put(home, "app/0.log")
    runtime.containers = [attempt(home, 0, { state: EXITED })]
    const source = await sourceOn(runtime)
    const app = logOf(home, "0.log", "id-0")
    const all = { logs: [app], stopped: [app.path], problems: [] }
    expect([await source.list(), await source.list()]).toEqual([all, all])
    expect(runtime.calls.filter((call) => call.startsWith("ContainerStatus"))).toEqual(["ContainerStatus id-0"])
  })

  test("has its log listed as long as a file of it is there, be it a compressed segment", async () => {
    const { home, runtime } = await onNode()
    put(home, "app/0.log", `app/0.log.${STAMP}.gz`)
    runtime.containers = [attempt(home, 0, { state: EXITED })]
    const source = await sourceOn(runtime)
    const rounds: Array<unknown> = []
    for (const gone of ["app/0.log", `app/0.log.${STAMP}.gz`, "app"]) {
      rounds.push((await told(source)).stopped)
      rmSync(join(home, gone), { recursive: true })
    }
    rounds.push((await told(source)).stopped)
    expect(rounds).toEqual([["app/0.log"], ["app/0.log"], [], []])
  })

  test("has its log listed wherever it lies, also where nobody looks for files", async () => {
    const { runtime } = await onNode()
    runtime.containers = [
      container("bare", { sandbox: "sandbox-2", logPath: "/logs/bare.log", labels: {}, state: EXITED }),
    ]
    const source = await sourceOn(runtime)
    expect(await told(source)).toEqual({ running: [], stopped: ["logs/bare.log"] })
  })

  test("is another thing than one that is created, or in a state that nobody knows: their logs are neither", async () => {
    const { home, runtime } = await onNode()
    put(home, "app/0.log", "app/1.log", "app/2.log", "app/3.log")
    runtime.containers = [CREATED, UNKNOWN, 9, EXITED].map((state, number) => attempt(home, number, { state }))
    const source = await sourceOn(runtime)
    const ended = { running: [], stopped: ["app/3.log"] }
    expect([await told(source), await told(source)]).toEqual([ended, ended])
  })

  test("gives its log's path up to another one that runs, or may yet run, whichever is newer", async () => {
    const { home, runtime } = await onNode()
    put(home, "app/0.log")
    const path = `${home}/app/0.log`
    const [first, second] = [
      container("app", { id: "id-first", logPath: path, createdAt: "1" }),
      container("app", { id: "id-second", logPath: path, createdAt: "2" }),
    ]
    const results: Array<unknown> = []
    for (const containers of [
      [{ ...first, state: EXITED }, second],
      [first, { ...second, state: EXITED }],
      [
        { ...first, state: EXITED },
        { ...second, state: CREATED },
      ],
      [
        { ...first, state: EXITED },
        { ...second, state: EXITED },
      ],
    ]) {
      runtime.containers = containers
      results.push(await (await sourceOn(runtime)).list())
    }
    const log = (id: string) => logOf(home, "0.log", id)
    expect(results).toEqual([
      { logs: [log("id-second")], problems: [] },
      { logs: [log("id-first")], problems: [] },
      { logs: [], problems: [] },
      { logs: [log("id-second")], stopped: [path], problems: [] },
    ])
  })
})

describe("a container that the runtime knows no more", () => {
  test("has its log found in the directory of its pod, with the pod's names and labels", async () => {
    const { home, runtime } = await onNode()
    put(home, "app/0.log", `app/1.log.${STAMP}`, `app/1.log.${STAMP}.gz`, "app/2.log", `app/3.log.${STAMP}.tmp`)
    runtime.containers = [attempt(home, 2)]
    runtime.podLabels = { "sandbox-1": { tier: "front" } }
    const source = await sourceOn(runtime)
    const gone = ["0.log", "1.log", "3.log"].map((name) => logOf(home, name))
    const first = await Effect.runPromise(source.source.list)
    expect(first.logs.toSorted((a, b) => (a.path < b.path ? -1 : 1))).toEqual(
      [...gone, logOf(home, "2.log", "id-2")].toSorted((a, b) => (a.path < b.path ? -1 : 1)),
    )
    expect([first.stopped, first.labels?.get(gone[0]!.path)]).toEqual([
      new Set(gone.map(({ path }) => path)),
      { tier: "front" },
    ])
    // The first list had to be sure of what it found; later ones are by what was found before.
    expect(runtime.calls.filter((call) => call.startsWith("ListContainers"))).toHaveLength(2)
    await source.list()
    expect(runtime.calls.filter((call) => call.startsWith("ListContainers"))).toHaveLength(3)
  })

  test("has it found in a pod that has no container at all, where the runtime tells of pods", async () => {
    const { home, runtime } = await onNode()
    put(home, "app/0.log")
    expect(await told(await sourceOn(runtime))).toEqual({ running: [], stopped: ["app/0.log"] })
    runtime.fault = (method) => (method === "ListPodSandbox" ? { code: status.UNIMPLEMENTED, details: "what?" } : null)
    const source = await sourceOn(runtime)
    expect(await source.list()).toEqual({ logs: [], problems: [] })
    runtime.containers = [container("proxy", { logPath: `${home}/proxy/0.log` })]
    await source.list()
    expect(await told(source)).toEqual({ running: ["proxy/0.log"], stopped: ["app/0.log"] })
  })

  test("has it found by where another container's log lies, where the runtime doesn't tell directories", async () => {
    const { home, runtime } = await onNode()
    put(home, "app/0.log")
    runtime.info = {}
    runtime.containers = [container("proxy", { logPath: `${home}/proxy/0.log` })]
    expect(await told(await sourceOn(runtime))).toEqual({ running: ["proxy/0.log"], stopped: ["app/0.log"] })
    // Lies elsewhere than the kubelet puts it: nothing is to be learnt from it.
    runtime.containers = [container("proxy", { logPath: `${home}/other/0.log` })]
    expect(await told(await sourceOn(runtime))).toEqual({ running: ["other/0.log"], stopped: [] })
  })

  test.each([["another_web_uid-1"], ["shop_web_uid-2"], ["shop_web"]])(
    "has it found in no directory but one of its pod's own name: not in %s",
    async (name) => {
      const { home, runtime } = await onNode()
      const other = join(dirname(home), name)
      put(other, "app/0.log")
      runtime.info = { "sandbox-1": { config: { log_directory: other } } }
      expect(await told(await sourceOn(runtime))).toEqual({ running: [], stopped: [] })
    },
  )

  test.each([
    ["it ran until then", undefined],
    ["it had ended", EXITED],
  ])("has its log listed without a break, however lately it was written to, where %s", async (_, state) => {
    const { home, runtime } = await onNode()
    put(home, "app/0.log")
    utimesSync(join(home, "app/0.log"), new Date(), new Date())
    runtime.containers = [attempt(home, 0, state === undefined ? {} : { state })]
    const source = await sourceOn(runtime)
    await source.list()
    runtime.containers = []
    const gone = { running: [], stopped: ["app/0.log"] }
    expect([await told(source), await told(source)]).toEqual([gone, gone])
  })

  test("is not taken for gone as long as its log was found only after the list that doesn't name it", async () => {
    const { home, runtime } = await onNode()
    const source = await sourceOn(runtime)
    await source.list()
    put(home, "app/0.log", "app/1.log")
    // As if both had been made after the list: one is in the next one.
    expect(await told(source)).toEqual({ running: [], stopped: [] })
    runtime.containers = [attempt(home, 1)]
    expect(await told(source)).toEqual({ running: ["app/1.log"], stopped: ["app/0.log"] })
  })

  test("is not taken for gone if it was created while the first list was made", async () => {
    const { home, runtime } = await onNode()
    put(home, "app/0.log", "app/1.log")
    let lists = 0
    runtime.fault = (method) => {
      if (method === "ListContainers" && (lists += 1) === 2) runtime.containers = [attempt(home, 1)]
      return null
    }
    const source = await sourceOn(runtime)
    expect(await told(source)).toEqual({ running: [], stopped: [] })
    expect(await told(source)).toEqual({ running: ["app/1.log"], stopped: ["app/0.log"] })
  })

  test("is not taken for gone if the list that was to make sure of it fails", async () => {
    const { home, runtime } = await onNode()
    put(home, "app/0.log")
    let lists = 0
    runtime.fault = (method) =>
      method === "ListContainers" && (lists += 1) === 2 ? { code: status.INTERNAL, details: "locked" } : null
    const source = await sourceOn(runtime)
    expect(await told(source)).toEqual({ running: [], stopped: [] })
    expect(await told(source)).toEqual({ running: [], stopped: ["app/0.log"] })
  })

  test("is not taken for gone while its file may be that of one that CRI-O is about to list", async () => {
    const { home, runtime } = await onNode()
    put(home, "app/0.log", "app/1.log", `app/2.log.${STAMP}`)
    utimesSync(join(home, "app/1.log"), new Date(), new Date())
    const source = await sourceOn(runtime)
    expect(await told(source)).toEqual({ running: [], stopped: ["app/0.log", "app/2.log"] })
    utimesSync(join(home, "app/1.log"), LONG_AGO, LONG_AGO)
    expect(await told(source)).toEqual({ running: [], stopped: ["app/0.log", "app/1.log", "app/2.log"] })
  })

  test("is not looked for behind links, nor among names that the kubelet doesn't give", async () => {
    const { home, runtime } = await onNode()
    const elsewhere = scratch()
    put(elsewhere, "app/0.log", "0.log")
    put(
      home,
      "app/0.log.backup",
      "app/app.log",
      "app/00000000000.log",
      `app/0.log.${STAMP}.gz.old`,
      "0.log",
      "Odd/0.log",
    )
    put(home, "a.b/0.log", "app/1.log/0.log")
    symlinkSync(join(elsewhere, "app"), join(home, "linked"))
    symlinkSync(join(elsewhere, "0.log"), join(home, "app/2.log"))
    symlinkSync(join(elsewhere, "0.log"), join(home, `app/3.log.${STAMP}`))
    execFileSync("mkfifo", [join(home, "app/4.log")])
    const source = await sourceOn(runtime)
    expect(await source.list()).toEqual({ logs: [], problems: [] })
    // Nor when the pod's own directory has become one.
    put(home, "app/5.log")
    await source.list()
    expect(await told(source)).toEqual({ running: [], stopped: ["app/5.log"] })
    renameSync(home, `${home}-moved`)
    symlinkSync(`${home}-moved`, home)
    expect(await told(source)).toEqual({ running: [], stopped: [] })
  })
})

describe("where it isn't known where a container writes", () => {
  const unanswered = (runtime: FakeRuntime, id: string): void => {
    runtime.fault = (method, about) =>
      method === "ContainerStatus" && about === id ? { code: status.UNKNOWN, details: "broken" } : null
  }

  test("nothing of its pod is said to have ended, until it is known", async () => {
    const { home, runtime } = await onNode()
    const other = join(dirname(home), "shop_api_uid-2")
    put(home, "app/0.log", "app/1.log")
    put(other, "app/0.log")
    runtime.sandboxes = { ...runtime.sandboxes, "sandbox-2": { name: "api", namespace: "shop", uid: "uid-2" } }
    runtime.info = { ...runtime.info, "sandbox-2": { config: { log_directory: other } } }
    runtime.containers = [attempt(home, 1, { state: EXITED }), attempt(home, 2)]
    unanswered(runtime, "id-2")
    const source = await sourceOn(runtime)
    expect((await source.list()) as object).toMatchObject({ stopped: [`${other}/app/0.log`] })
    runtime.fault = () => null
    expect(await told(source)).toEqual({
      running: ["app/2.log"],
      stopped: ["app/0.log", "app/0.log", "app/1.log"],
    })
  })

  test("nothing is said to have ended at all if it has no pod that is known", async () => {
    const { home, runtime } = await onNode()
    put(home, "app/0.log")
    runtime.containers = [container("bare", { sandbox: "sandbox-9", labels: {} })]
    unanswered(runtime, "id-bare")
    const source = await sourceOn(runtime)
    await source.list()
    expect(await told(source)).toEqual({ running: [], stopped: [] })
  })

  test("it is the same for one whose path may not be touched", async () => {
    const { home, runtime } = await onNode()
    put(home, "app/0.log")
    runtime.containers = [attempt(home, 1, { logPath: `${home}/app/../app/0.log` })]
    const source = await sourceOn(runtime)
    await source.list()
    expect(await told(source)).toEqual({ running: [], stopped: [] })
  })
})

test("a runtime that fails to tell of pods is a problem, and its containers are looked after all the same", async () => {
  const { home, runtime } = await onNode()
  put(home, "app/0.log", "app/1.log")
  runtime.containers = [attempt(home, 0, { state: EXITED }), attempt(home, 1)]
  runtime.fault = (method) => (method === "ListPodSandbox" ? { code: status.INTERNAL, details: "locked" } : null)
  const source = await sourceOn(runtime)
  const problem = {
    source: `cri unix://${runtime.socket}`,
    op: "list",
    target: runtime.socket,
    reason: "Refused",
    detail: "locked",
    hint: "see the message and the runtime's own log; it is tried again on the next pass",
  }
  expect(await source.list()).toEqual({
    logs: [logOf(home, "1.log", "id-1"), logOf(home, "0.log", "id-0")],
    stopped: [`${home}/app/0.log`],
    problems: [problem],
  })
})

test("a pod that can't be asked about is a problem, and one that is gone by then is none", async () => {
  const { runtime } = await onNode()
  const code = { now: status.NOT_FOUND }
  runtime.fault = (method) => (method === "PodSandboxStatus" ? { code: code.now, details: "no such pod" } : null)
  const source = await sourceOn(runtime)
  expect(await source.list()).toEqual({ logs: [], problems: [] })
  code.now = status.INTERNAL
  expect(await source.list()).toMatchObject({ problems: [{ target: "pod sandbox sandbox-1", reason: "Refused" }] })
})

describe("the directories of pods", () => {
  const NOW = LONG_AGO.getTime() + 3_600_000
  /** Counts the names that are looked at, and the directories: each is a chance to stop. */
  const counting = () => {
    const signal = { looks: 0, throwIfAborted: () => void (signal.looks += 1) }
    return signal as typeof signal & AbortSignal
  }
  const age = (...paths: ReadonlyArray<string>): void => {
    for (const path of paths) utimesSync(path, LONG_AGO, LONG_AGO)
  }
  const looksOf = async (directories: PodDirectories, home: string, nowMs = NOW) => {
    const signal = counting()
    const { logs } = await directories.read([home], nowMs, signal)
    return {
      looks: signal.looks,
      logs: Object.fromEntries([...logs].map(([path, names]) => [path, [...names].toSorted()])),
    }
  }

  test("are read anew only once they have changed", async () => {
    const home = homeIn(scratch())
    put(home, "app/0.log", "app/1.log", "proxy/0.log")
    age(join(home, "app"), join(home, "proxy"), home)
    const directories = new PodDirectories()
    const logs = { [`${home}/app`]: ["0.log", "1.log"], [`${home}/proxy`]: ["0.log"] }
    // Three directories, and the five names in them; then the directories alone.
    expect(await looksOf(directories, home)).toEqual({ looks: 8, logs })
    expect(await looksOf(directories, home)).toEqual({ looks: 3, logs })
    put(home, "app/2.log")
    age(join(home, "app"))
    const more = { ...logs, [`${home}/app`]: ["0.log", "1.log", "2.log"] }
    expect(await looksOf(directories, home)).toEqual({ looks: 6, logs: more })
    expect(await looksOf(directories, home)).toEqual({ looks: 3, logs: more })
  })

  test("are read anew while another change could have left the same time", async () => {
    const home = homeIn(scratch())
    put(home, "app/0.log")
    age(join(home, "app"), home)
    const directories = new PodDirectories()
    const soon = LONG_AGO.getTime() + 1_000
    const looks = [soon, soon, NOW, NOW].map((nowMs) => async () => (await looksOf(directories, home, nowMs)).looks)
    const counts: Array<number> = []
    for (const look of looks) counts.push(await look())
    expect(counts).toEqual([4, 4, 4, 2])
  })

  test("that hold too many names are looked at in part, and nothing in them is said to be gone", async () => {
    const home = homeIn(scratch())
    put(home, "app/0.log", "proxy/0.log")
    for (let number = 0; number < 10; number += 1) writeFileSync(join(home, "app", `x-${number}`), "")
    const { cut, isGone } = await (async () => {
      const files = await new PodDirectories(10).read([home], NOW, counting())
      return { cut: files.cut, isGone: (name: string) => files.isGone(`${home}/${name}`) }
    })()
    expect([cut, ["app/0.log", "app/1.log", "proxy/0.log", "proxy/1.log"].map(isGone)]).toEqual([
      [`${home}/app`],
      [false, false, false, true],
    ])
  })
})
