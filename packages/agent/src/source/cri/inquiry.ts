/**
 * What is known of the containers and pods that a runtime lists: where a container's log lies, where a pod's do. Each is asked about once in its
 * life, and what comes of it is kept as long as it is listed. Asks; decides nothing about logs.
 */
import { attemptIn, directoryOf, type Labels, type Log, nameOf, type SourceError } from "@cordwood/core"
import { Effect } from "effect"
import * as z from "zod"
import type { CallFailure, RuntimeClient } from "./client.ts"
import { labelOf, logOf } from "./container.ts"
import type { Errors } from "./failure.ts"
import { logPathProblem, pathProblem } from "./log-path.ts"
import { CONTAINER_RUNNING, type Container } from "./messages.ts"

/** Calls at a time when many containers are new: enough to be quick on start, few enough not to be felt by the kubelet. */
const STATUS_CALLS_AT_A_TIME = 8
/** Time for all statuses of one list together, in timeouts of one call. Those not reached are asked first by the next list. */
const STATUS_TIMEOUTS = 2

/** What became of asking for a container. */
export type Known =
  | { readonly kind: "log"; readonly log: Log }
  /** It writes no log. */
  | { readonly kind: "silent" }
  | { readonly kind: "refused"; readonly problem: SourceError }

/** What a container's pod has for it. `directory`: of its logs; null where the runtime doesn't tell it. */
interface Pod {
  readonly directory: string | null
  readonly labels: Labels
}
/** Where a pod's logs lie, if as the kubelet lays them out: then its directory bears the pod's uid, and is no other pod's. */
export interface Home extends Required<Pick<Log, "namespace" | "pod" | "podUid">> {
  readonly sandbox: string
  readonly directory: string
}

export class Inquiry {
  readonly #client: RuntimeClient
  readonly #timeoutMs: number
  readonly #errors: Errors
  readonly #known = new Map<string, Known>()
  /** By the id of its sandbox. */
  readonly #pods = new Map<string, Pod>()
  readonly #homes = new Map<string, Home>()
  /** Containers and pods whose last asking failed, so that the next one begins with those that nothing is known of. */
  #troubled = new Map<string, SourceError>()
  #troubledBefore: ReadonlySet<string> = new Set()
  /** What ContainerStatus has said of those that were asked about last: the list is older. */
  readonly #states = new Map<string, number>()

  constructor(client: RuntimeClient, timeoutMs: number, errors: Errors) {
    this.#client = client
    this.#timeoutMs = timeoutMs
    this.#errors = errors
  }

  knownOf({ id }: Container): Known | undefined {
    return this.#known.get(id)
  }
  stateOf({ id, state }: Container): number {
    return this.#states.get(id) ?? state
  }
  labelsOf(sandbox: string): Labels {
    return this.#pods.get(sandbox)?.labels ?? {}
  }
  get homes(): Iterable<Home> {
    return this.#homes.values()
  }
  /** Why nothing is known of a container or a pod, if that is worth telling: one that was gone by the time it was asked about is no trouble. */
  troubleOf(id: string): SourceError | undefined {
    const trouble = this.#troubled.get(id)
    return trouble?.reason === "NotFound" && !this.#troubledBefore.has(id) ? undefined : trouble
  }

  /** Asks about what is new among these, as far as time allows, and forgets the rest. What it didn't get round to is in what it returns. */
  about(
    containers: ReadonlyMap<string, Container>,
    sandboxes: Iterable<string>,
  ): Effect.Effect<ReadonlyArray<SourceError>> {
    return Effect.gen({ self: this }, function* () {
      const alive = new Set([...[...containers.values()].map(({ podSandboxId }) => podSandboxId), ...sandboxes])
      for (const id of this.#known.keys()) if (!containers.has(id)) this.#known.delete(id)
      for (const id of this.#pods.keys()) if (!alive.has(id)) this.#pods.delete(id)
      for (const id of this.#homes.keys()) if (!alive.has(id)) this.#homes.delete(id)
      const before = new Set(this.#troubled.keys())
      this.#troubledBefore = before
      this.#troubled = new Map()
      this.#states.clear()

      const asked = new Set<string>()
      const answered = new Set<string>()
      const unknown = [...containers.values()].filter(({ id }) => !this.#known.has(id))
      // Those that write come first, and last those that were asked in vain before.
      const place = ({ id, state }: Container): number =>
        (before.has(id) ? 2 : 0) + (state === CONTAINER_RUNNING ? 0 : 1)
      const askedFirst = unknown.toSorted((a, b) => place(a) - place(b))
      // By pod, so that its directory is asked for once; pods side by side, those with no new container last.
      const ofPods = Map.groupBy(askedFirst, ({ podSandboxId }) => podSandboxId)
      for (const sandbox of alive) {
        if (!this.#pods.has(sandbox) && !ofPods.has(sandbox)) ofPods.set(sandbox, [])
      }
      yield* Effect.forEach(
        ofPods,
        ([sandbox, ofPod]) =>
          ofPod.length === 0
            ? this.#askPod(sandbox)
            : Effect.forEach(ofPod, (one) => this.#ask(one, asked, answered), { discard: true }),
        { concurrency: STATUS_CALLS_AT_A_TIME, discard: true },
      ).pipe(Effect.timeoutOption(STATUS_TIMEOUTS * this.#timeoutMs))

      const unreached: Array<SourceError> = []
      for (const container of unknown) {
        if (answered.has(container.id)) continue
        const problem = this.#notReached(container)
        if (asked.has(container.id)) this.#troubled.set(container.id, problem)
        else unreached.push(problem)
      }
      return unreached
    })
  }

  /** Keeps the answer; never fails. Marks the container as asked, and as answered if that came to an end. */
  #ask(container: Container, asked: Set<string>, answered: Set<string>): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      asked.add(container.id)
      const { directory } = yield* this.#podOf(container.podSandboxId)
      const { status } = yield* this.#client.call("ContainerStatus", { containerId: container.id })
      if (status === null) {
        const detail = "the runtime's answer to ContainerStatus holds no status"
        const hint = "see the runtime's own log"
        this.#troubled.set(container.id, this.#errors.listed("Invalid", labelOf(container), detail, hint))
        return
      }
      this.#states.set(container.id, status.state)
      const found = this.#read(container, status.logPath, directory)
      this.#known.set(container.id, found)
      if (found.kind === "log") this.#settleBy(container.podSandboxId, found.log)
    }).pipe(
      Effect.catch((failure) => this.#failed(container.id, labelOf(container), failure)),
      Effect.andThen(Effect.sync(() => void answered.add(container.id))),
    )
  }

  #askPod(sandbox: string): Effect.Effect<void> {
    return this.#podOf(sandbox).pipe(
      Effect.asVoid,
      Effect.catch((failure) => this.#failed(sandbox, `pod sandbox ${sandbox}`, failure)),
    )
  }

  #failed(id: string, target: string, failure: CallFailure): Effect.Effect<void> {
    return Effect.sync(() => void this.#troubled.set(id, this.#errors.failed("list", target, failure)))
  }

  #podOf(sandbox: string): Effect.Effect<Pod, CallFailure> {
    const pod = this.#pods.get(sandbox)
    if (pod !== undefined) return Effect.succeed(pod)
    return this.#client.call("PodSandboxStatus", { podSandboxId: sandbox, verbose: true }).pipe(
      Effect.map(({ info, status }) => {
        const directory = logDirectoryIn(info)
        const { name = "", namespace = "", uid = "" } = status?.metadata ?? {}
        if (directory !== null) this.#settle(sandbox, directory, { namespace, pod: name, podUid: uid })
        return { directory, labels: status?.labels ?? {} }
      }),
      Effect.catchIf(
        (failure) => failure.unimplemented,
        () => Effect.succeed<Pod>({ directory: null, labels: {} }),
      ),
      Effect.tap((found) => Effect.sync(() => this.#pods.set(sandbox, found))),
    )
  }

  /** Takes the directory for the pod's home if it is one that the kubelet has named. */
  #settle(sandbox: string, directory: string, { namespace, pod, podUid }: Omit<Home, "sandbox" | "directory">): void {
    const path = directory.replace(/\/+$/, "")
    if (namespace === "" || pod === "" || podUid === "" || pathProblem(path) !== null) return
    if (nameOf(path) !== `${namespace}_${pod}_${podUid}`) return
    this.#homes.set(sandbox, { sandbox, directory: path, namespace, pod, podUid })
  }
  /** A runtime that doesn't tell a pod's directory shows it by a container's log, if that lies where the kubelet has it. */
  #settleBy(sandbox: string, { container, namespace = "", path, pod = "", podUid = "" }: Log): void {
    if (this.#homes.has(sandbox) || attemptIn(nameOf(path)) === null) return
    if (nameOf(directoryOf(path)) !== container) return
    this.#settle(sandbox, directoryOf(directoryOf(path)), { namespace, pod, podUid })
  }

  #read(container: Container, path: string, directory: string | null): Known {
    if (path === "") return { kind: "silent" }
    const problem = logPathProblem(path, directory)
    if (problem === null) return { kind: "log", log: logOf(container, path) }
    const detail = `the runtime names a log path that may not be touched: ${problem} (${labelOf(container)})`
    const hint =
      "nothing was done to it; look at how the container's log path was set, and whether the runtime can be trusted"
    return { kind: "refused", problem: this.#errors.listed("Invalid", path, detail, hint) }
  }

  #notReached(container: Container): SourceError {
    const detail = `nothing is known of it yet: the runtime is too slow to be asked about every new container within ${STATUS_TIMEOUTS * this.#timeoutMs} ms`
    const hint = "it is asked about by the next list; see the runtime's own log"
    return this.#errors.listed("DeadlineExceeded", labelOf(container), detail, hint)
  }
}

/** Where containerd puts the sandbox's configuration: JSON under `info`. CRI-O tells nothing of the kind. */
const PodInfo = z.object({ config: z.object({ log_directory: z.string().min(1) }) })
const logDirectoryIn = (info: Readonly<Record<string, string>>): string | null => {
  try {
    return PodInfo.parse(JSON.parse(info["info"] ?? "null")).config.log_directory
  } catch {
    return null
  }
}
