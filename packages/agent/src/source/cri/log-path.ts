/**
 * Which paths a container runtime may name. Pure text, no disk: that nothing on the way is a symbolic link is for those to see who
 * open the files. Rotation runs as root, so a path is refused rather than mended.
 */

/** Linux' PATH_MAX, less a byte for its end. */
const MAX_PATH_BYTES = 4_095

/** What makes this text no path to touch; null when nothing does. */
export const pathProblem = (path: string): string | null => {
  if (!path.startsWith("/")) return "it is not absolute"
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) return `it has more than ${MAX_PATH_BYTES} bytes`
  if (/\p{Cc}/u.test(path)) return "it has control characters"
  if (path.includes("\uFFFD")) return "it is not valid UTF-8"
  for (const part of path.slice(1).split("/")) {
    if (part === "") return path.endsWith("/") ? "it ends in a slash" : "it has an empty part (//)"
    if (part === "." || part === "..") return `it has a part ${part}`
  }
  return null
}

/** What makes this log's path one not to touch, given its pod's log directory where the runtime tells it; null when nothing does. */
export const logPathProblem = (path: string, podDirectory: string | null): string | null => {
  const problem = pathProblem(path)
  if (problem !== null || podDirectory === null) return problem
  const directory = podDirectory.replace(/\/+$/, "")
  if (pathProblem(directory) !== null) {
    return `the pod's log directory ${JSON.stringify(podDirectory)} is no path to rely on`
  }
  return path.startsWith(`${directory}/`) ? null : `it lies outside the pod's log directory ${podDirectory}`
}
