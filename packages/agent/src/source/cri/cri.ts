/**
 * The source `cri`: the running containers of a container runtime, by its CRI socket. Source of the rules: the kubelet's container log
 * manager (pkg/kubelet/logs). Lists and reopens; touches no file.
 */
import { type Labels, type Log, type Logs, type Source, SourceError } from "@cordwood/core"
import { Effect } from "effect"
import * as z from "zod"
import type { CallFailure, RuntimeClient } from "./client.ts"
import { CONTAINER_RUNNING, type Container } from "./messages.ts"
import { logPathProblem, pathProblem } from "./log-path.ts"
import { readOptions, type SourceFactory, Timeout } from "../source-factory.ts"

/** The kubelet's default (`containerRuntimeEndpoint`). */
const DEFAULT_ENDPOINT = "unix:///run/containerd/containerd.sock"
const DEFAULT_TIMEOUT_MS = 10_000
/** A socket's address has room for this many bytes on Linux (`sun_path`, less its end). */
const MAX_SOCKET_PATH_BYTES = 107
/** Calls at a time when many containers are new: enough to be quick on start, few enough not to be felt by the kubelet. */
const STATUS_CALLS_AT_A_TIME = 8
/** Time for all statuses of one list together, in timeouts of one call. Those not reached are asked first by the next list. */
const STATUS_TIMEOUTS = 2

const endpointProblem = (endpoint: string): string | null => {
  const path = socketPathOf(endpoint)
  const examples = `write ${DEFAULT_ENDPOINT} or a path such as /run/crio/crio.sock`
  if (path === null) {
    return `${JSON.stringify(endpoint)} is not the address of a unix socket, and a runtime's socket is always one; ${examples}`
  }
  const problem = pathProblem(path)
  if (problem !== null) return `${JSON.stringify(endpoint)} can't be a socket's path: ${problem}; ${examples}`
  return Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES
    ? `${JSON.stringify(endpoint)} is too long: the path of a socket has at most ${MAX_SOCKET_PATH_BYTES} bytes`
    : null
}
const socketPathOf = (endpoint: string): string | null =>
  endpoint.startsWith("unix:///") ? endpoint.slice("unix://".length) : endpoint.startsWith("/") ? endpoint : null

export const CriOptions = z
  .strictObject({
    endpoint: z
      .string()
      .superRefine((endpoint, context) => {
        const problem = endpointProblem(endpoint)
        if (problem !== null) context.addIssue({ code: "custom", message: problem })
      })
      .default(DEFAULT_ENDPOINT)
      .meta({
        description: "The container runtime's CRI socket: unix:///path, or just its path.",
        examples: [DEFAULT_ENDPOINT, "/run/crio/crio.sock"],
      }),
    timeout: Timeout.default(DEFAULT_TIMEOUT_MS).meta({
      description: "How long one call to the runtime may take.",
      examples: ["10s"],
    }),
  })
  .meta({ description: "The containers of a container runtime (containerd, CRI-O) that speaks CRI v1." })
export type CriOptions = z.output<typeof CriOptions>
/** What a user writes: `{ endpoint: "unix:///run/containerd/containerd.sock", timeout: "10s" }`, each one optional. */
export type CriOptionsInput = z.input<typeof CriOptions>

/** The source as code composes it. Throws a TypeError if the options can't be used. */
export const cri = (options: CriOptionsInput = {}): SourceFactory => criSource(readOptions("cri", CriOptions, options))

/** The source for options that were read by `CriOptions` already. */
export const criSource = (options: CriOptions): SourceFactory => {
  const { endpoint, timeout } = options
  const socket = socketPathOf(endpoint) ?? endpoint
  const name = `cri unix://${socket}`
  return {
    name,
    settings: options,
    open: Effect.acquireRelease(
      // Imported here, so that commands without a runtime start without gRPC.
      Effect.map(
        Effect.promise(() => import("./client.ts")),
        ({ runtimeClient }) => runtimeClient(socket, timeout),
      ),
      (client) => Effect.sync(client.close),
    ).pipe(Effect.map((client) => sourceOf(name, socket, timeout, client))),
  }
}

/** What a container's pod has for it. `directory`: of its logs; null where the runtime doesn't tell it. */
interface Pod {
  readonly directory: string | null
  readonly labels: Labels
}

/** What became of asking for a container. It is asked once in its life, so this is kept while the container is listed. */
type Known =
  | { readonly kind: "log"; readonly log: Log }
  /** It writes no log. */
  | { readonly kind: "silent" }
  | { readonly kind: "refused"; readonly problem: SourceError }

const sourceOf = (name: string, socket: string, timeoutMs: number, client: RuntimeClient): Source => {
  const known = new Map<string, Known>()
  /** Containers whose last asking failed, so that the next list asks those first that nothing is known of. */
  const troubled = new Map<string, SourceError>()
  /** By the id of its sandbox. */
  const pods = new Map<string, Pod>()

  const failed = (op: "list" | "reopen", target: string, failure: CallFailure): SourceError =>
    new SourceError({
      source: name,
      op,
      target,
      reason: failure.reason,
      detail: failure.detail,
      hint: hintFor(failure, timeoutMs),
    })
  const invalid = (target: string, detail: string, hint: string): SourceError =>
    new SourceError({ source: name, op: "list", target, reason: "Invalid", detail, hint })

  const podOf = (sandbox: string): Effect.Effect<Pod, CallFailure> => {
    const pod = pods.get(sandbox)
    if (pod !== undefined) return Effect.succeed(pod)
    return client.call("PodSandboxStatus", { podSandboxId: sandbox, verbose: true }).pipe(
      Effect.map(({ info, status }): Pod => ({ directory: logDirectoryIn(info), labels: status?.labels ?? {} })),
      Effect.catchIf(
        (failure) => failure.unimplemented,
        () => Effect.succeed<Pod>({ directory: null, labels: {} }),
      ),
      Effect.tap((found) => Effect.sync(() => pods.set(sandbox, found))),
    )
  }

  /** Asks for one container and keeps the answer; never fails. Marks it as asked, and as answered if that came to an end. */
  const ask = (container: Container, asked: Set<string>, answered: Set<string>): Effect.Effect<void> =>
    Effect.gen(function* () {
      asked.add(container.id)
      const { directory } = yield* podOf(container.podSandboxId)
      const { status } = yield* client.call("ContainerStatus", { containerId: container.id })
      if (status === null) {
        const detail = "the runtime's answer to ContainerStatus holds no status"
        troubled.set(container.id, invalid(labelOf(container), detail, "see the runtime's own log"))
        return
      }
      // It has ended since the list was made, and the next list won't name it.
      if (status.state !== CONTAINER_RUNNING) return
      known.set(container.id, read(container, status.logPath, directory))
      troubled.delete(container.id)
    }).pipe(
      Effect.catch((failure) =>
        Effect.sync(() => {
          troubled.set(container.id, failed("list", labelOf(container), failure))
        }),
      ),
      Effect.andThen(Effect.sync(() => void answered.add(container.id))),
    )

  const read = (container: Container, path: string, directory: string | null): Known => {
    if (path === "") return { kind: "silent" }
    const problem = logPathProblem(path, directory)
    if (problem === null) return { kind: "log", log: logOf(container, path) }
    const detail = `the runtime names a log path that may not be touched: ${problem} (${labelOf(container)})`
    const hint =
      "nothing was done to it; look at how the container's log path was set, and whether the runtime can be trusted"
    return { kind: "refused", problem: invalid(path, detail, hint) }
  }

  const list: Effect.Effect<Logs, SourceError> = Effect.gen(function* () {
    const { containers } = yield* client
      .call("ListContainers", { filter: { state: { state: CONTAINER_RUNNING } } })
      .pipe(Effect.mapError((failure) => failed("list", socket, failure)))
    // The filter is the peer's to apply; the kubelet looks again too.
    const running = new Map(containers.filter(({ state }) => state === CONTAINER_RUNNING).map((one) => [one.id, one]))
    const sandboxes = new Set([...running.values()].map(({ podSandboxId }) => podSandboxId))
    for (const id of known.keys()) if (!running.has(id)) known.delete(id)
    for (const id of pods.keys()) if (!sandboxes.has(id)) pods.delete(id)
    const before = new Map(troubled)
    troubled.clear()

    const asked = new Set<string>()
    const answered = new Set<string>()
    const unknown = [...running.values()].filter(({ id }) => !known.has(id))
    const askedFirst = unknown.toSorted((a, b) => Number(before.has(a.id)) - Number(before.has(b.id)))
    // By pod, so that its directory is asked for once; pods side by side.
    yield* Effect.forEach(
      Map.groupBy(askedFirst, ({ podSandboxId }) => podSandboxId).values(),
      (pod) => Effect.forEach(pod, (one) => ask(one, asked, answered), { discard: true }),
      { concurrency: STATUS_CALLS_AT_A_TIME, discard: true },
    ).pipe(Effect.timeoutOption(STATUS_TIMEOUTS * timeoutMs))

    const unreached: Array<SourceError> = []
    for (const container of unknown) {
      if (answered.has(container.id)) continue
      const problem = notReached(container)
      if (asked.has(container.id)) troubled.set(container.id, problem)
      else unreached.push(problem)
    }
    const { problems, ...found } = gather(running.values(), before)
    return { ...found, problems: [...problems, ...unreached] }
  })

  const notReached = (container: Container): SourceError =>
    new SourceError({
      source: name,
      op: "list",
      target: labelOf(container),
      reason: "DeadlineExceeded",
      detail: `nothing is known of it yet: the runtime is too slow to be asked about every new container within ${STATUS_TIMEOUTS * timeoutMs} ms`,
      hint: "it is asked about by the next list; see the runtime's own log",
    })

  const gather = (running: Iterable<Container>, before: ReadonlyMap<string, SourceError>): Logs => {
    const byPath = new Map<string, { readonly container: Container; readonly log: Log }>()
    const problems: Array<SourceError> = []
    for (const container of running) {
      const found = known.get(container.id)
      const trouble = troubled.get(container.id)
      if (found?.kind === "refused") problems.push(found.problem)
      else if (found?.kind === "log") {
        const other = byPath.get(found.log.path)
        if (other === undefined) byPath.set(found.log.path, { container, log: found.log })
        else {
          const later = isNewer(container, other.container) ? container : other.container
          if (later === container) byPath.set(found.log.path, { container, log: found.log })
          problems.push(shared(found.log.path, later, later === container ? other.container : container))
        }
      } else if (trouble !== undefined) {
        // Gone between the list and the question: nothing is wrong, unless the next list names it again.
        if (trouble.reason !== "NotFound" || before.has(container.id)) problems.push(trouble)
      }
    }
    const found = [...byPath.values()]
    const labels = found.map(
      ({ container, log }) => [log.path, pods.get(container.podSandboxId)?.labels ?? {}] as const,
    )
    return { logs: found.map(({ log }) => log), labels: new Map(labels), problems }
  }

  const shared = (path: string, taken: Container, left: Container): SourceError => {
    const detail = `two running containers have this log path: ${labelOf(taken)}, which is the newer one and is looked after, and ${labelOf(left)}`
    return invalid(
      path,
      detail,
      "give each container a log path of its own: what the older one writes may be torn apart",
    )
  }

  const reopen: Source["reopen"] = (log) => {
    if (log.containerId === undefined) {
      const detail = "the log has no container that could be told to reopen it"
      const hint = "only a log that this source listed can be reopened by it"
      return Effect.fail(
        new SourceError({ source: name, op: "reopen", target: log.path, reason: "Invalid", detail, hint }),
      )
    }
    return client.call("ReopenContainerLog", { containerId: log.containerId }).pipe(
      Effect.as("told" as const),
      Effect.mapError((failure) => failed("reopen", log.path, failure)),
    )
  }

  return { name, list, reopen }
}

/** A container as people know it; its id where it has no labels. */
const labelOf = ({ id, labels }: Container): string => {
  const pod = labels["io.kubernetes.pod.name"]
  const named = [labels["io.kubernetes.pod.namespace"], pod, labels["io.kubernetes.container.name"]]
  return pod === undefined
    ? `container ${id}`
    : `container ${id} (${named.filter((part) => part !== undefined).join("/")})`
}

const logOf = ({ id, labels }: Container, path: string): Log => {
  const field = <K extends string>(key: K, label: string): { readonly [P in K]?: string } => {
    const value = labels[label]
    return (value === undefined || value === "" ? {} : { [key]: value }) as { readonly [P in K]?: string }
  }
  return {
    path,
    ...field("namespace", "io.kubernetes.pod.namespace"),
    ...field("pod", "io.kubernetes.pod.name"),
    ...field("podUid", "io.kubernetes.pod.uid"),
    ...field("container", "io.kubernetes.container.name"),
    containerId: id,
  }
}

const isNewer = (a: Container, b: Container): boolean => BigInt(a.createdAt) > BigInt(b.createdAt)

/** Where containerd puts the sandbox's configuration: JSON under `info`. CRI-O tells nothing of the kind. */
const PodInfo = z.object({ config: z.object({ log_directory: z.string().min(1) }) })
const logDirectoryIn = (info: Readonly<Record<string, string>>): string | null => {
  try {
    return PodInfo.parse(JSON.parse(info["info"] ?? "null")).config.log_directory
  } catch {
    return null
  }
}

/** The socket is in the source's name, with which every message begins. */
const hintFor = ({ errno, method, reason, unimplemented }: CallFailure, timeoutMs: number): string => {
  if (unimplemented) {
    return `what answers there doesn't know ${method} of CRI v1: use containerd 1.6 or later with its CRI plugin enabled, or CRI-O 1.20 or later`
  }
  switch (reason) {
    case "Unavailable":
      return errno === "EACCES" || errno === "EPERM"
        ? "run the agent as root, or let its user open the socket"
        : "check that the container runtime runs (systemctl status containerd) and that endpoint names its socket; it is tried again by itself"
    case "DeadlineExceeded":
      return `the runtime is stuck or overloaded: see its own log; if it is just slow, raise the source's timeout (${timeoutMs} ms)`
    case "NotFound":
      return "the container has ended meanwhile: nothing to do"
    case "Invalid":
      return "check that endpoint names a container runtime's CRI socket"
    default:
      return "see the message and the runtime's own log; it is tried again on the next pass"
  }
}
