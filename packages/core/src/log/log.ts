/** What identifies a log: its active file's path, and, where the source knows it, the container that writes it. */
import * as z from "zod"

/** A log as events, commands and spans name it. Field names follow the CRI's labels (`io.kubernetes.pod.name` …). */
export const Log = z.object({
  /** Absolute path of the active file; two logs never share one. */
  path: z.string().min(1),
  namespace: z.string().optional(),
  pod: z.string().optional(),
  podUid: z.string().optional(),
  container: z.string().optional(),
  containerId: z.string().optional(),
})
export type Log = z.infer<typeof Log>

/** A pod's labels, by name. */
export type Labels = Readonly<Record<string, string>>

/** Directory of a path, without the trailing slash; `/` for a file at the root. Paths are absolute, with `/`. */
export const directoryOf = (path: string): string => path.slice(0, Math.max(1, path.lastIndexOf("/")))
/** Last part of a path. */
export const nameOf = (path: string): string => path.slice(path.lastIndexOf("/") + 1)
/** The path of a file that lies beside another. */
export const besideOf = (path: string, name: string): string => path.slice(0, path.lastIndexOf("/") + 1) + name
