/**
 * The source `cri`: the containers of a container runtime, by its CRI socket: those that run, and those that have ended, as far as the runtime or
 * their pods' directories tell of them. Source of the rules: the kubelet's container log manager (pkg/kubelet/logs). Lists and reopens; writes to
 * no file.
 */
import { directoryOf, type Log, type Logs, nameOf, type Source, SourceError } from "@cordwood/core"
import { Clock, Effect } from "effect"
import * as z from "zod"
import type { RuntimeClient } from "./client.ts"
import { isNewer, labelOf } from "./container.ts"
import { errorsOf } from "./failure.ts"
import { Inquiry } from "./inquiry.ts"
import { CONTAINER_EXITED, CONTAINER_RUNNING, type Container } from "./messages.ts"
import { pathProblem } from "./log-path.ts"
import { freshAmong, NO_FILES, PodDirectories, type PodFiles } from "./pod-directory.ts"
import { readOptions, type SourceFactory, Timeout } from "../source-factory.ts"

/** The kubelet's default (`containerRuntimeEndpoint`). */
const DEFAULT_ENDPOINT = "unix:///run/containerd/containerd.sock"
const DEFAULT_TIMEOUT_MS = 10_000
/** A socket's address has room for this many bytes on Linux (`sun_path`, less its end). */
const MAX_SOCKET_PATH_BYTES = 107
/** A look into the pods' directories that takes longer is stuck on a dead disk. */
const READ_WITHIN_MS = 10_000
/**
 * CRI-O lists a container once it has been created, and conmon has made its log file by then: a file that was written to within this time may be
 * such a one's.
 */
const CREATED_WITHIN_MS = 10_000

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

/** A log, and the pod that it is of. */
interface OfPod {
  readonly log: Log
  readonly sandbox: string
}
interface Owner {
  readonly container: Container
  readonly log: Log
}

const sourceOf = (name: string, socket: string, timeoutMs: number, client: RuntimeClient): Source => {
  const errors = errorsOf(name, timeoutMs)
  const inquiry = new Inquiry(client, timeoutMs, errors)
  const directories = new PodDirectories()
  /** Logs on disk that no container of the last list had; null before the first one. */
  let ownerless: ReadonlySet<string> | null = null
  /** Paths that the last list had a container for, or was sure to have none for any more. */
  let settled: ReadonlySet<string> = new Set()

  const containers = client.call("ListContainers", {}).pipe(
    Effect.map((response) => new Map(response.containers.map((one) => [one.id, one]))),
    Effect.mapError((failure) => errors.failed("list", socket, failure)),
  )
  /** Every pod that the runtime has, also those without a container. Where it can't say, what containers tell must do. */
  const sandboxes = client.call("ListPodSandbox", {}).pipe(
    Effect.map(({ items }) => ({ ids: items.map(({ id }) => id), problems: [] })),
    Effect.catch((failure) =>
      Effect.succeed({ ids: [], problems: failure.unimplemented ? [] : [errors.failed("list", socket, failure)] }),
    ),
  )

  const list: Effect.Effect<Logs, SourceError> = Effect.gen(function* () {
    const listed = yield* containers
    const pods = yield* sandboxes
    const unreached = yield* inquiry.about(listed, pods.ids)
    const { owners, problems, unsure } = gather(listed.values())
    const { files, problems: onDisk } = yield* lookAround
    const gone = yield* goneFor(listed, owners, unsure, files)

    const running: Array<OfPod> = []
    const ended: Array<OfPod> = []
    for (const { container, log } of owners.values()) {
      const state = inquiry.stateOf(container)
      const one = { log, sandbox: container.podSandboxId }
      if (state === CONTAINER_RUNNING) running.push(one)
      else if (state === CONTAINER_EXITED && !unsure.has(log) && !files.isGone(log.path)) ended.push(one)
    }
    const all = [...running, ...ended, ...gone]
    const ofPods = pods.ids.flatMap((id) => inquiry.troubleOf(id) ?? [])
    return {
      logs: all.map(({ log }) => log),
      labels: new Map(all.map(({ log, sandbox }) => [log.path, inquiry.labelsOf(sandbox)])),
      stopped: new Set([...ended, ...gone].map(({ log }) => log.path)),
      problems: [...problems, ...unreached, ...pods.problems, ...ofPods, ...onDisk],
    }
  })

  /** Whose each path is: the running container's; of those that don't run, the one's that may yet; of two alike, the newer one's. */
  const gather = (
    listed: Iterable<Container>,
  ): {
    readonly owners: ReadonlyMap<string, Owner>
    readonly problems: ReadonlyArray<SourceError>
    readonly unsure: Unsure
  } => {
    const owners = new Map<string, Owner>()
    const problems: Array<SourceError> = []
    const unsure = new Unsure()
    for (const container of listed) {
      const found = inquiry.knownOf(container)
      const trouble = inquiry.troubleOf(container.id)
      if (found === undefined || found.kind === "refused") unsure.add(container)
      if (found?.kind === "refused") problems.push(found.problem)
      else if (found?.kind === "log") {
        const owner = { container, log: found.log }
        const other = owners.get(found.log.path)
        const [taken, left] = other === undefined || precedes(owner, other) ? [owner, other] : [other, owner]
        owners.set(found.log.path, taken)
        if (left !== undefined && inquiry.stateOf(left.container) === CONTAINER_RUNNING)
          problems.push(shared(taken, left))
      } else if (trouble !== undefined) problems.push(trouble)
    }
    return { owners, problems, unsure }
  }
  const precedes = ({ container: a }: Owner, { container: b }: Owner): boolean => {
    const rank = (container: Container): number => {
      const state = inquiry.stateOf(container)
      return state === CONTAINER_RUNNING ? 2 : state === CONTAINER_EXITED ? 0 : 1
    }
    return rank(a) > rank(b) || (rank(a) === rank(b) && isNewer(a, b))
  }
  const shared = ({ container: taken, log }: Owner, { container: left }: Owner): SourceError => {
    const detail = `two running containers have this log path: ${labelOf(taken)}, which is the newer one and is looked after, and ${labelOf(left)}`
    const hint = "give each container a log path of its own: what the older one writes may be torn apart"
    return errors.listed("Invalid", log.path, detail, hint)
  }

  /** What lies in the directories of the pods whose logs lie as the kubelet lays them out. */
  const lookAround = Effect.gen(function* () {
    const homes = new Set(Array.from(inquiry.homes, ({ directory }) => directory))
    const [first] = homes
    if (first === undefined) return { files: NO_FILES, problems: [] }
    const nowMs = yield* Clock.currentTimeMillis
    const read = yield* onDisk((signal) => directories.read(homes, nowMs, signal))
    if (read === null) {
      const detail = `the logs in it were not found within ${READ_WITHIN_MS} ms`
      const hint = "check the disk; running containers are looked after meanwhile"
      return { files: NO_FILES, problems: [errors.listed("DeadlineExceeded", directoryOf(first), detail, hint)] }
    }
    const problems = read.cut.map((directory) => {
      const detail =
        "it holds more names than are looked at, and the logs of containers that are gone may be among the others"
      return errors.listed("LeftAlone", directory, detail, "look at what makes them, and remove those that are no logs")
    })
    return { files: read, problems }
  })
  const onDisk = <A>(look: (signal: AbortSignal) => Promise<A>): Effect.Effect<A | null> =>
    Effect.promise(look).pipe(Effect.timeoutOrElse({ duration: READ_WITHIN_MS, orElse: () => Effect.succeed(null) }))

  /**
   * Logs on disk whose container is gone for sure. A container is listed before its log is there: so a log that was found by an earlier look than
   * the list, or was a container's in the one before, is nobody's if nobody has it there. The first look comes after its list; there another list tells.
   */
  const goneFor = (
    listed: ReadonlyMap<string, Container>,
    owners: ReadonlyMap<string, Owner>,
    unsure: Unsure,
    files: PodFiles,
  ): Effect.Effect<ReadonlyArray<OfPod>> =>
    Effect.gen(function* () {
      const homes = new Map(Array.from(inquiry.homes, (home) => [home.directory, home]))
      const found = new Map<string, OfPod>()
      for (const [directory, names] of files.logs) {
        const home = homes.get(directoryOf(directory))
        if (home === undefined) continue
        const { namespace, pod, podUid, sandbox } = home
        for (const name of names) {
          const path = `${directory}/${name}`
          if (owners.has(path)) continue
          found.set(path, { log: { path, namespace, pod, podUid, container: nameOf(directory) }, sandbox })
        }
      }
      let before = ownerless
      ownerless = new Set(found.keys())
      if (before === null && found.size > 0) {
        const again = yield* Effect.option(containers)
        if (again._tag === "Some") {
          before = ownerless
          for (const container of again.value.values()) if (!listed.has(container.id)) unsure.add(container)
        }
      }
      const wasSettled = settled
      const certain = [...found.values()].filter(
        ({ log: { path }, log }) => (wasSettled.has(path) || before?.has(path) === true) && !unsure.has(log),
      )
      const nowMs = yield* Clock.currentTimeMillis
      // What was a container's a moment ago is none's that is about to be listed.
      const maybeNew = certain.flatMap(({ log }) => (wasSettled.has(log.path) ? [] : [log.path]))
      const fresh = yield* onDisk((signal) => freshAmong(maybeNew, nowMs, CREATED_WITHIN_MS, signal))
      const gone = fresh === null ? [] : certain.filter(({ log }) => !fresh.has(log.path))
      settled = new Set([...owners.keys(), ...gone.map(({ log }) => log.path)])
      return gone
    })

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
      Effect.mapError((failure) => errors.failed("reopen", log.path, failure)),
    )
  }

  return { name, list, reopen }
}

/** Pods with a container of which it isn't known where it writes: nothing of theirs is said to have ended. Of a container without a pod: all pods. */
class Unsure {
  readonly #uids = new Set<string>()
  #any = false
  #all = false

  add({ labels }: Container): void {
    const uid = labels["io.kubernetes.pod.uid"] ?? ""
    this.#any = true
    if (uid === "") this.#all = true
    else this.#uids.add(uid)
  }
  has({ podUid }: Log): boolean {
    return this.#all || (podUid === undefined ? this.#any : this.#uids.has(podUid))
  }
}
