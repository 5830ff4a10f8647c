/**
 * What a kubelet does with CRI, as far as the tests need it: pods with its labels and its log paths, containers that are stopped
 * and started anew. Follows pkg/kubelet/kuberuntime: `<logs>/<namespace>_<name>_<uid>/<container>/<restart>.log`.
 */
import { randomUUID } from "node:crypto"
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import type { Containerd } from "./containerd.ts"
import type { PodSandboxConfig } from "./cri.ts"
import { eventually } from "./eventually.ts"
import { IMAGE } from "./image.ts"

const HOST_NETWORK = { namespaceOptions: { network: "NODE" } } as const
const EXIT_WITHIN_MS = 150_000
const NAMESPACE = "cordwood-e2e"

/** What an event of this container's log must carry. */
export interface LogIdentity {
  readonly path: string
  readonly namespace: string
  readonly pod: string
  readonly podUid: string
  readonly container: string
  readonly containerId: string
}

export class RunningContainer {
  readonly log: LogIdentity
  private readonly containerd: Containerd

  constructor(containerd: Containerd, log: LogIdentity) {
    this.containerd = containerd
    this.log = log
  }

  /** SIGKILL at once, and back when the runtime says that it has exited. */
  async stop(): Promise<void> {
    const containerId = this.log.containerId
    await this.containerd.cri.call("StopContainer", { containerId, timeout: 0 })
    await eventually({ what: `container ${this.log.container} to exit`, withinMs: EXIT_WITHIN_MS }, async () => {
      const { status } = await this.containerd.cri.call("ContainerStatus", { containerId })
      return status.state === "CONTAINER_EXITED"
    })
  }

  /** Removes it, once it has exited. Its logs stay: the runtime knows no more of them. */
  async remove(): Promise<void> {
    await this.containerd.cri.call("RemoveContainer", { containerId: this.log.containerId })
  }
}

export class Pod {
  private readonly containerd: Containerd
  private readonly id: string
  private readonly config: PodSandboxConfig

  private constructor(containerd: Containerd, id: string, config: PodSandboxConfig) {
    this.containerd = containerd
    this.id = id
    this.config = config
  }

  static async run(containerd: Containerd, name: string): Promise<Pod> {
    const uid = randomUUID()
    const logDirectory = join(containerd.podLogs, `${NAMESPACE}_${name}_${uid}`)
    const config: PodSandboxConfig = {
      metadata: { name, uid, namespace: NAMESPACE, attempt: 0 },
      logDirectory,
      labels: {
        "io.kubernetes.pod.name": name,
        "io.kubernetes.pod.namespace": NAMESPACE,
        "io.kubernetes.pod.uid": uid,
      },
      linux: { cgroupParent: containerd.cgroupParent, securityContext: HOST_NETWORK },
    }
    mkdirSync(logDirectory, { mode: 0o755 })
    const { podSandboxId } = await containerd.cri.call("RunPodSandbox", { config })
    return new Pod(containerd, podSandboxId, config)
  }

  /** Starts a container; `restart` counts up when it is the same one again, and names its log. */
  async start(
    name: string,
    command: ReadonlyArray<string>,
    options: { readonly gate?: string; readonly restart?: number } = {},
  ): Promise<RunningContainer> {
    const { gate, restart = 0 } = options
    const { metadata, logDirectory, labels } = this.config
    mkdirSync(join(logDirectory, name), { recursive: true, mode: 0o755 })
    const logPath = `${name}/${restart}.log`
    const { containerId } = await this.containerd.cri.call("CreateContainer", {
      podSandboxId: this.id,
      sandboxConfig: this.config,
      config: {
        metadata: { name, attempt: restart },
        image: { image: IMAGE },
        command,
        mounts: gate === undefined ? [] : [{ containerPath: "/gate", hostPath: gate }],
        labels: { ...labels, "io.kubernetes.container.name": name },
        annotations: { "io.kubernetes.container.restartCount": String(restart) },
        logPath,
        linux: { securityContext: HOST_NETWORK },
      },
    })
    await this.containerd.cri.call("StartContainer", { containerId })
    const path = join(logDirectory, logPath)
    const { namespace, name: pod, uid: podUid } = metadata
    return new RunningContainer(this.containerd, { path, namespace, pod, podUid, container: name, containerId })
  }

  /** Stops and removes the pod with its containers. Logs stay, as they do on a node. */
  async remove(): Promise<void> {
    await this.containerd.cri.call("StopPodSandbox", { podSandboxId: this.id })
    await this.containerd.cri.call("RemovePodSandbox", { podSandboxId: this.id })
  }
}
