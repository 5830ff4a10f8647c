/** A container as the runtime lists it: what people call it, and the log that it writes. Pure. */
import type { Log } from "@cordwood/core"
import type { Container } from "./messages.ts"

/** A container as people know it; its id where it has no labels. */
export const labelOf = ({ id, labels }: Container): string => {
  const pod = labels["io.kubernetes.pod.name"]
  const named = [labels["io.kubernetes.pod.namespace"], pod, labels["io.kubernetes.container.name"]]
  return pod === undefined
    ? `container ${id}`
    : `container ${id} (${named.filter((part) => part !== undefined).join("/")})`
}

export const logOf = ({ id, labels }: Container, path: string): Log => {
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

export const isNewer = (a: Container, b: Container): boolean => BigInt(a.createdAt) > BigInt(b.createdAt)
