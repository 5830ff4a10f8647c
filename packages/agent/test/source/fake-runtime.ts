/**
 * A container runtime for tests: real gRPC on a unix socket, with faults to order. Its messages are written out here once more, from
 * kubernetes/cri-api, pkg/apis/runtime/v1/api.proto, so that a wrong number in the agent's own shows.
 */
import { rmSync } from "node:fs"
import { Server, ServerCredentials, status, type UntypedHandleCall } from "@grpc/grpc-js"
import protobuf from "protobufjs"

const schema = protobuf.parse(`
  syntax = "proto3";
  package runtime.v1;
  enum ContainerState { CONTAINER_CREATED = 0; CONTAINER_RUNNING = 1; CONTAINER_EXITED = 2; CONTAINER_UNKNOWN = 3; }
  message ContainerStateValue { ContainerState state = 1; }
  message ContainerFilter { string id = 1; ContainerStateValue state = 2; string pod_sandbox_id = 3; }
  message ContainerMetadata { string name = 1; uint32 attempt = 2; }
  message Container {
    string id = 1; string pod_sandbox_id = 2; ContainerMetadata metadata = 3; string image_ref = 5;
    ContainerState state = 6; int64 created_at = 7; map<string, string> labels = 8; map<string, string> annotations = 9;
  }
  message ListContainersRequest { ContainerFilter filter = 1; }
  message ListContainersResponse { repeated Container containers = 1; }
  message ContainerStatus {
    string id = 1; ContainerMetadata metadata = 2; ContainerState state = 3; int64 created_at = 4; int64 started_at = 5;
    string reason = 10; map<string, string> labels = 12; string log_path = 15;
  }
  message ContainerStatusRequest { string container_id = 1; bool verbose = 2; }
  message ContainerStatusResponse { ContainerStatus status = 1; map<string, string> info = 2; }
  message PodSandboxMetadata { string name = 1; string uid = 2; string namespace = 3; uint32 attempt = 4; }
  enum PodSandboxState { SANDBOX_READY = 0; SANDBOX_NOTREADY = 1; }
  message PodSandbox {
    string id = 1; PodSandboxMetadata metadata = 2; PodSandboxState state = 3; int64 created_at = 4;
    map<string, string> labels = 5; map<string, string> annotations = 6; string runtime_handler = 7;
  }
  message PodSandboxStateValue { PodSandboxState state = 1; }
  message PodSandboxFilter { string id = 1; PodSandboxStateValue state = 2; map<string, string> label_selector = 3; }
  message ListPodSandboxRequest { PodSandboxFilter filter = 1; }
  message ListPodSandboxResponse { repeated PodSandbox items = 1; }
  message PodSandboxStatus {
    string id = 1; PodSandboxMetadata metadata = 2; PodSandboxState state = 3; int64 created_at = 4;
    map<string, string> labels = 7; map<string, string> annotations = 8;
  }
  message PodSandboxStatusRequest { string pod_sandbox_id = 1; bool verbose = 2; }
  message PodSandboxStatusResponse { PodSandboxStatus status = 1; map<string, string> info = 2; }
  message ReopenContainerLogRequest { string container_id = 1; }
  message ReopenContainerLogResponse {}
`).root

const METHODS = [
  "ListContainers",
  "ListPodSandbox",
  "ContainerStatus",
  "PodSandboxStatus",
  "ReopenContainerLog",
] as const
export type Method = (typeof METHODS)[number]

export interface FakeContainer {
  readonly id: string
  readonly sandbox: string
  readonly logPath: string
  readonly state?: number
  /** What ContainerStatus says, where it differs. */
  readonly stateByNow?: number
  readonly createdAt?: string
  readonly labels?: Readonly<Record<string, string>>
}

export interface PodName {
  readonly name: string
  readonly namespace: string
  readonly uid: string
}

/** What a call comes to instead of its answer. */
export type Fault =
  | { readonly code: number; readonly details: string }
  /** This very message, whatever it decodes to. */
  | { readonly bytes: Buffer }
  /** The answer, once this has come about; never, if it doesn't. */
  | { readonly after: Promise<unknown> }
  | null

export const CREATED = 0
export const RUNNING = 1
export const EXITED = 2
export const UNKNOWN = 3

export class FakeRuntime {
  readonly socket: string
  /** As ListContainers gives them. Replace it to have some come or go. */
  containers: ReadonlyArray<FakeContainer> = []
  /** Sandboxes that ListPodSandbox gives beside those of the containers, and what they are called. */
  sandboxes: Readonly<Record<string, PodName>> = {}
  /** JSON of the verbose answer, by sandbox. */
  info: Readonly<Record<string, unknown>> = {}
  /** A pod's labels, by sandbox. */
  podLabels: Readonly<Record<string, Readonly<Record<string, string>>>> = {}
  /** Every call so far, with what it was about. */
  readonly calls: Array<string> = []
  fault: (method: Method, about: string) => Fault = () => null
  #server: Server | null = null

  private constructor(socket: string) {
    this.socket = socket
  }

  static async start(socket: string): Promise<FakeRuntime> {
    const runtime = new FakeRuntime(socket)
    await runtime.resume()
    return runtime
  }

  /** Listens: for the first time, or again on a new socket of the same path. */
  async resume(): Promise<void> {
    const server = new Server({ "grpc.max_send_message_length": -1 })
    const definition = Object.fromEntries(
      METHODS.map((method) => {
        const request = schema.lookupType(`runtime.v1.${method}Request`)
        const response = schema.lookupType(`runtime.v1.${method}Response`)
        return [
          method,
          {
            path: `/runtime.v1.RuntimeService/${method}`,
            requestStream: false,
            responseStream: false,
            requestSerialize: (value: object) => Buffer.from(request.encode(request.fromObject(value)).finish()),
            requestDeserialize: (bytes: Buffer) => request.toObject(request.decode(bytes), { defaults: true }),
            responseSerialize: (value: object) =>
              Buffer.isBuffer(value) ? value : Buffer.from(response.encode(response.fromObject(value)).finish()),
            responseDeserialize: (bytes: Buffer) => response.decode(bytes),
          },
        ]
      }),
    )
    const handlers = Object.fromEntries(
      METHODS.map((method) => {
        const handle: UntypedHandleCall = (
          call: { readonly request: Record<string, unknown> },
          reply: (error: { code: number; details: string } | null, value?: object) => void,
        ) => {
          const about = String(
            call.request["containerId"] ?? call.request["podSandboxId"] ?? JSON.stringify(call.request),
          )
          this.calls.push(`${method} ${about}`)
          const fault = this.fault(method, about)
          if (fault === null) this.#answer(method, about, reply)
          else if ("code" in fault) reply(fault)
          else if ("bytes" in fault) reply(null, fault.bytes)
          else void fault.after.then(() => this.#answer(method, about, reply))
        }
        return [method, handle]
      }),
    )
    server.addService(definition, handlers)
    await new Promise<void>((resolve, reject) => {
      server.bindAsync(`unix://${this.socket}`, ServerCredentials.createInsecure(), (error) =>
        error === null ? resolve() : reject(error),
      )
    })
    this.#server = server
  }

  /** As when it is killed: connections break, and the socket's file stays if asked to. */
  stop(): void {
    this.#server?.forceShutdown()
    this.#server = null
    rmSync(this.socket, { force: true })
  }

  #podName(sandbox: string): PodName {
    const labels = this.containers.find((one) => one.sandbox === sandbox)?.labels ?? {}
    return (
      this.sandboxes[sandbox] ?? {
        name: labels["io.kubernetes.pod.name"] ?? sandbox,
        namespace: labels["io.kubernetes.pod.namespace"] ?? "default",
        uid: labels["io.kubernetes.pod.uid"] ?? sandbox,
      }
    )
  }

  #answer(
    method: Method,
    about: string,
    reply: (error: { code: number; details: string } | null, value?: object) => void,
  ): void {
    const container = this.containers.find(({ id }) => id === about)
    switch (method) {
      case "ListContainers": {
        const containers = this.containers.map(({ id, sandbox, state = RUNNING, createdAt = "1", labels = {} }) => ({
          id,
          podSandboxId: sandbox,
          state,
          createdAt,
          labels,
        }))
        return reply(null, { containers })
      }
      case "ListPodSandbox": {
        const ids = new Set([...this.containers.map(({ sandbox }) => sandbox), ...Object.keys(this.sandboxes)])
        const items = [...ids].map((id) => ({ id, metadata: this.#podName(id), createdAt: "1" }))
        return reply(null, { items })
      }
      case "ContainerStatus": {
        if (container === undefined) return reply({ code: status.NOT_FOUND, details: `no container ${about}` })
        const { id, logPath, state = RUNNING, stateByNow = state } = container
        return reply(null, { status: { id, state: stateByNow, logPath } })
      }
      case "PodSandboxStatus": {
        const info = this.info[about]
        const labels = this.podLabels[about] ?? {}
        const status = {
          id: about,
          metadata: this.#podName(about),
          createdAt: "1",
          labels,
          annotations: { none: "of these" },
        }
        return reply(null, { status, info: info === undefined ? {} : { info: JSON.stringify(info) } })
      }
      case "ReopenContainerLog":
        if (container === undefined) return reply({ code: status.NOT_FOUND, details: `no container ${about}` })
        return reply(null, {})
    }
  }
}

/** A container as a kubelet would have made it. */
export const container = (name: string, more: Partial<FakeContainer> = {}): FakeContainer => ({
  id: `id-${name}`,
  sandbox: "sandbox-1",
  logPath: `/var/log/pods/shop_web_uid-1/${name}/0.log`,
  labels: {
    "io.kubernetes.pod.name": "web",
    "io.kubernetes.pod.namespace": "shop",
    "io.kubernetes.pod.uid": "uid-1",
    "io.kubernetes.container.name": name,
  },
  ...more,
})

/** The log that `container` of the same arguments comes to. */
export const logOf = (name: string, path = `/var/log/pods/shop_web_uid-1/${name}/0.log`) => ({
  path,
  namespace: "shop",
  pod: "web",
  podUid: "uid-1",
  container: name,
  containerId: `id-${name}`,
})
