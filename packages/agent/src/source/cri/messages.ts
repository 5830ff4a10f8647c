/**
 * The part of CRI v1 that is spoken here: field numbers of `runtime.v1` in kubernetes/cri-api, `pkg/apis/runtime/v1/api.proto`. Fields
 * that nobody here reads are left out; those of a peer are skipped when read.
 */
import type { IMapField, INamespace } from "protobufjs"

/** Of `enum ContainerState`. Enums are int32 on the wire, and numbers here: an unknown one is no error. */
export const CONTAINER_RUNNING = 1
export const CONTAINER_EXITED = 2

export interface Container {
  readonly id: string
  readonly podSandboxId: string
  readonly state: number
  /** Nanoseconds since 1970; more than a double can hold, so text. */
  readonly createdAt: string
  readonly labels: Readonly<Record<string, string>>
}

/** What is sent and what comes back, by method. A message that was not there is null, everything else has its default. */
export interface Calls {
  readonly ListContainers: {
    /** Without a filter: containers of every state. */
    readonly request: {}
    readonly response: { readonly containers: ReadonlyArray<Container> }
  }
  readonly ContainerStatus: {
    readonly request: { readonly containerId: string }
    readonly response: { readonly status: { readonly state: number; readonly logPath: string } | null }
  }
  readonly ListPodSandbox: {
    readonly request: {}
    readonly response: { readonly items: ReadonlyArray<{ readonly id: string }> }
  }
  readonly PodSandboxStatus: {
    readonly request: { readonly podSandboxId: string; readonly verbose: true }
    /** Values of `info` are JSON, different for every runtime. `labels` are the pod's, as they were when it began. */
    readonly response: {
      readonly status: {
        readonly metadata: { readonly name: string; readonly uid: string; readonly namespace: string } | null
        readonly labels: Readonly<Record<string, string>>
      } | null
      readonly info: Readonly<Record<string, string>>
    }
  }
  readonly ReopenContainerLog: { readonly request: { readonly containerId: string }; readonly response: {} }
}
export type Method = keyof Calls

const textByText = (id: number): IMapField => ({ keyType: "string", type: "string", id })

export const MESSAGES: INamespace = {
  nested: {
    Container: {
      fields: {
        id: { type: "string", id: 1 },
        podSandboxId: { type: "string", id: 2 },
        state: { type: "int32", id: 6 },
        createdAt: { type: "int64", id: 7 },
        labels: textByText(8),
      },
    },
    ContainerStatus: { fields: { state: { type: "int32", id: 3 }, logPath: { type: "string", id: 15 } } },

    ListContainersRequest: { fields: {} },
    ListContainersResponse: { fields: { containers: { rule: "repeated", type: "Container", id: 1 } } },
    ContainerStatusRequest: { fields: { containerId: { type: "string", id: 1 } } },
    ContainerStatusResponse: { fields: { status: { type: "ContainerStatus", id: 1 } } },
    PodSandbox: { fields: { id: { type: "string", id: 1 } } },
    ListPodSandboxRequest: { fields: {} },
    ListPodSandboxResponse: { fields: { items: { rule: "repeated", type: "PodSandbox", id: 1 } } },
    PodSandboxStatusRequest: { fields: { podSandboxId: { type: "string", id: 1 }, verbose: { type: "bool", id: 2 } } },
    PodSandboxMetadata: {
      fields: {
        name: { type: "string", id: 1 },
        uid: { type: "string", id: 2 },
        namespace: { type: "string", id: 3 },
      },
    },
    PodSandboxStatus: { fields: { metadata: { type: "PodSandboxMetadata", id: 2 }, labels: textByText(7) } },
    PodSandboxStatusResponse: { fields: { status: { type: "PodSandboxStatus", id: 1 }, info: textByText(2) } },
    ReopenContainerLogRequest: { fields: { containerId: { type: "string", id: 1 } } },
    ReopenContainerLogResponse: { fields: {} },
  },
}
