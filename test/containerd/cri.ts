/**
 * A small CRI client over a unix socket, for the tests alone. It must share nothing with the agent's own client: a mistake made in
 * both would go unseen. Every call has a deadline.
 */
import { readFileSync } from "node:fs"
import { Client, credentials } from "@grpc/grpc-js"
import protobuf from "protobufjs"

/** Starting a sandbox on a machine busy with other tests may take long; a call that takes longer than this hangs. */
const CALL_WITHIN_MS = 150_000

export interface PodSandboxConfig {
  readonly metadata: {
    readonly name: string
    readonly uid: string
    readonly namespace: string
    readonly attempt: number
  }
  readonly logDirectory: string
  readonly labels: Readonly<Record<string, string>>
  readonly linux: {
    readonly cgroupParent: string
    readonly securityContext: { readonly namespaceOptions: { readonly network: "NODE" } }
  }
}
export interface ContainerConfig {
  readonly metadata: { readonly name: string; readonly attempt: number }
  readonly image: { readonly image: string }
  readonly command: ReadonlyArray<string>
  readonly mounts: ReadonlyArray<{ readonly containerPath: string; readonly hostPath: string }>
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  readonly logPath: string
  readonly linux: { readonly securityContext: { readonly namespaceOptions: { readonly network: "NODE" } } }
}
export type ContainerState = "CONTAINER_CREATED" | "CONTAINER_RUNNING" | "CONTAINER_EXITED" | "CONTAINER_UNKNOWN"
export interface Container {
  readonly id: string
  readonly podSandboxId: string
  readonly metadata: { readonly name: string; readonly attempt: number }
  readonly state: ContainerState
  readonly labels: Readonly<Record<string, string>>
}
export interface ContainerStatus {
  readonly id: string
  readonly state: ContainerState
  readonly exitCode: number
  readonly reason: string
  readonly message: string
  readonly logPath: string
}

interface Calls {
  readonly Version: [
    Record<string, never>,
    { readonly runtimeName: string; readonly runtimeVersion: string; readonly runtimeApiVersion: string },
  ]
  readonly Status: [
    Record<string, never>,
    { readonly status: { readonly conditions: ReadonlyArray<{ readonly type: string; readonly status: boolean }> } },
  ]
  readonly ImageStatus: [
    { readonly image: { readonly image: string } },
    { readonly image: { readonly id: string } | null },
  ]
  readonly RunPodSandbox: [{ readonly config: PodSandboxConfig }, { readonly podSandboxId: string }]
  readonly StopPodSandbox: [{ readonly podSandboxId: string }, Record<string, never>]
  readonly RemovePodSandbox: [{ readonly podSandboxId: string }, Record<string, never>]
  readonly ListPodSandbox: [Record<string, never>, { readonly items: ReadonlyArray<{ readonly id: string }> }]
  readonly CreateContainer: [
    { readonly podSandboxId: string; readonly config: ContainerConfig; readonly sandboxConfig: PodSandboxConfig },
    { readonly containerId: string },
  ]
  readonly StartContainer: [{ readonly containerId: string }, Record<string, never>]
  readonly StopContainer: [{ readonly containerId: string; readonly timeout: number }, Record<string, never>]
  readonly RemoveContainer: [{ readonly containerId: string }, Record<string, never>]
  readonly ListContainers: [Record<string, never>, { readonly containers: ReadonlyArray<Container> }]
  readonly ContainerStatus: [{ readonly containerId: string }, { readonly status: ContainerStatus }]
  readonly ReopenContainerLog: [{ readonly containerId: string }, Record<string, never>]
}

const schema = protobuf.parse(readFileSync(new URL("cri.proto", import.meta.url), "utf8")).root
const IMAGE_CALLS: ReadonlySet<string> = new Set(["ImageStatus"])

export class Cri {
  private readonly client: Client

  constructor(socket: string) {
    this.client = new Client(`unix://${socket}`, credentials.createInsecure(), {
      // A containerd that was killed and started again is to be seen again at once, not after gRPC's growing pauses.
      "grpc.initial_reconnect_backoff_ms": 100,
      "grpc.max_reconnect_backoff_ms": 500,
    })
  }

  call<M extends keyof Calls>(method: M, request: Calls[M][0], withinMs = CALL_WITHIN_MS): Promise<Calls[M][1]> {
    const requestType = schema.lookupType(`runtime.v1.${method}Request`)
    const responseType = schema.lookupType(`runtime.v1.${method}Response`)
    const service = IMAGE_CALLS.has(method) ? "ImageService" : "RuntimeService"
    return new Promise((resolve, reject) => {
      this.client.makeUnaryRequest(
        `/runtime.v1.${service}/${method}`,
        (value: Calls[M][0]) => Buffer.from(requestType.encode(requestType.fromObject(value)).finish()),
        (bytes) =>
          responseType.toObject(responseType.decode(bytes), {
            longs: Number,
            enums: String,
            defaults: true,
            arrays: true,
          }) as Calls[M][1],
        request,
        { deadline: Date.now() + withinMs },
        (error, response) => {
          if (error !== null) reject(new Error(`CRI ${method}: ${error.message}`, { cause: error }))
          else if (response === undefined) reject(new Error(`CRI ${method}: an answer without a message`))
          else resolve(response)
        },
      )
    })
  }

  close(): void {
    this.client.close()
  }
}
