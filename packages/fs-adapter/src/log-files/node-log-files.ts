/** `LogFiles` on a real disk, through node:fs. Puts the parts together and holds no rule of its own. */
import { promises } from "node:fs"
import { LogFiles, type LogFilesShape } from "@cordwood/core"
import { Clock, Effect, Layer } from "effect"
import { compress, matches } from "./compress.ts"
import { canAnchor, withDirectory } from "./directory.ts"
import { attempt } from "./failure.ts"
import { glance, readEntries } from "./look.ts"
import { putBack, remove, setAside } from "./move.ts"
import { stream } from "./stream.ts"

const span = (op: string, path: string) =>
  Effect.withSpan(`LogFiles.${op}`, { attributes: { "log.file.path": path } }, { captureStackTrace: false })

/** `anchored`: see directory.ts; `false` is for systems without /proc. */
export const makeNodeLogFiles = (anchored: boolean): LogFilesShape => ({
  glance,
  list: (active) =>
    Effect.gen(function* () {
      // Before the reading: a file's age is then never taken for more than it is.
      const takenAtMs = yield* Clock.currentTimeMillis
      const entries = yield* withDirectory("list", active, anchored, (directory) => readEntries(directory, active))
      return { entries, takenAtMs }
      // No span: most listings find that there is nothing to do.
    }),
  // These three are done once they are begun: half of one is worse than either end of it.
  setAside: (active, to) =>
    withDirectory("setAside", active.path, anchored, (directory) => setAside(directory, active, to)).pipe(
      Effect.uninterruptible,
      span("setAside", active.path),
    ),
  putBack: (segment, active) =>
    withDirectory("putBack", segment, anchored, (directory) => putBack(directory, segment, active)).pipe(
      Effect.uninterruptible,
      span("putBack", segment),
    ),
  remove: (file, options) =>
    withDirectory("remove", file.path, anchored, (directory) => remove(directory, file, options)).pipe(
      Effect.uninterruptible,
      span("remove", file.path),
    ),
  compress: (segment, to, codec) =>
    withDirectory("compress", segment.path, anchored, (directory) => compress(directory, segment, to, codec)).pipe(
      span("compress", segment.path),
    ),
  matches: (twin, original, codec) =>
    withDirectory("matches", original.path, anchored, (directory) => matches(directory, twin, original, codec)).pipe(
      span("matches", original.path),
    ),
  read: (file, codec) => stream(file, codec, anchored),
  free: (active) =>
    withDirectory("free", active, anchored, (directory) =>
      attempt("free", active, async () => {
        const { bavail, bsize } = await promises.statfs(directory.at("."))
        return bavail * bsize
      }),
    ),
})

/** `LogFiles` on node:fs: atomic, durable, and led nowhere by links. */
export const nodeLogFiles: Layer.Layer<LogFiles> = Layer.sync(LogFiles, () => makeNodeLogFiles(canAnchor()))
