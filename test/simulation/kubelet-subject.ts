/**
 * The kubelet's log manager by its own rules (`pkg/kubelet/logs`, `rotateLogs`), over the same node: the same order of steps, the same names, the same acts on
 * files, and the errors that it looks at or doesn't. It stands for what Cordwood is measured against, and is not to be improved.
 */
import type { Log, LogFilesError } from "@cordwood/core"
import type { Operation } from "@cordwood/core/testing"
import { Effect } from "effect"
import type { Node, Subject } from "./node.ts"
import { pack } from "./packed.ts"

const TEMPORARY = ".tmp"
const COMPRESSED = ".packed"

type Step<A> = Effect.Effect<A, LogFilesError>

const nameOf = (path: string): string => path.slice(path.lastIndexOf("/") + 1)
const directoryOf = (path: string): string => path.slice(0, path.lastIndexOf("/"))
const two = (value: number): string => String(value).padStart(2, "0")

/** `20060102-150405`, in local time. */
const timestampOf = (localMs: number): string => {
  const at = new Date(localMs)
  const day = `${at.getUTCFullYear()}${two(at.getUTCMonth() + 1)}${two(at.getUTCDate())}`
  return `${day}-${two(at.getUTCHours())}${two(at.getUTCMinutes())}${two(at.getUTCSeconds())}`
}

const passOver = (node: Node, log: Log): Effect.Effect<void> => {
  const { scenario, world } = node
  const source = node.source()
  const { compression, maxFiles, maxSize } = scenario.policy
  const act = <A>(operation: Operation, path: string, does: (nowMs: number) => A): Step<A> =>
    world.act(operation, path, does)
  const rename = (operation: Operation, from: string, to: string): Step<void> =>
    act(operation, from, (nowMs) => world.rename(from, to, nowMs))
  const remove = (path: string): Step<void> => act("remove", path, (nowMs) => world.unlink(path, nowMs))
  const sizeOf = (path: string): number => world.read(path)?.length ?? -1

  /** Whatever begins with the log's name and a dot, whoever made it. */
  const rotatedFiles = act("list", log.path, () =>
    world
      .namesIn(directoryOf(log.path))
      .filter((name) => name.startsWith(`${nameOf(log.path)}.`))
      .map((name) => `${directoryOf(log.path)}/${name}`)
      .filter((path) => world.attributesOf(path)?.kind === "file"),
  )

  const compress = (path: string): Step<void> => {
    const temporary = path + TEMPORARY
    const written = Effect.gen(function* () {
      yield* act("compress", path, (nowMs) => world.put(temporary, new Uint8Array(), { modifiedMs: nowMs }))
      const bytes = pack(world.read(path) ?? new Uint8Array())
      // What doesn't fit is found out by closing, and that error isn't looked at. Nothing is synced.
      yield* act("compress.write", temporary, (nowMs) =>
        world.rewrite(temporary, bytes.slice(0, world.freeBytes), { modifiedMs: nowMs }),
      )
      yield* rename("compress.rename", temporary, path + COMPRESSED)
    })
    const tidied = Effect.suspend(() => (world.read(temporary) === undefined ? Effect.void : remove(temporary)))
    return Effect.andThen(
      Effect.tapError(written, () => Effect.ignore(tidied)),
      remove(path),
    )
  }

  const rotateLatest = Effect.gen(function* () {
    const to = `${log.path}.${timestampOf(node.localMs())}`
    yield* rename("setAside", log.path, to)
    const reopened = yield* Effect.result(source.reopen(log))
    if (reopened._tag === "Failure") yield* Effect.ignore(rename("putBack", to, log.path))
  })

  return Effect.gen(function* () {
    if (sizeOf(log.path) < 0) yield* source.reopen(log)
    if (sizeOf(log.path) < maxSize) return
    const found = yield* rotatedFiles
    const isUnused = (path: string): boolean =>
      path.endsWith(TEMPORARY) || (!path.endsWith(COMPRESSED) && found.includes(path + COMPRESSED))
    for (const path of found.filter(isUnused)) yield* remove(path)
    const used = found.filter((path) => !isUnused(path)).toSorted()
    const excess = used.slice(0, Math.max(0, used.length - (maxFiles - 2)))
    for (const path of excess) yield* remove(path)
    if (compression !== "none") {
      for (const path of used.slice(excess.length)) if (!path.endsWith(COMPRESSED)) yield* compress(path)
    }
    yield* rotateLatest
  }).pipe(Effect.ignore)
}

export const kubeletSubject: Subject = {
  name: "the kubelet's rules",
  keepsRecords: false,
  minds: false,
  run: (node) => {
    const { intervalMs, mode } = node.scenario
    const round = Effect.gen(function* () {
      const listed = yield* Effect.result(node.source().list)
      if (listed._tag === "Failure") return
      const { logs, stopped } = listed.success
      for (const log of logs) if (stopped?.has(log.path) !== true) yield* passOver(node, log)
    })
    return mode === "once" ? round : Effect.forever(Effect.andThen(round, Effect.sleep(intervalMs)))
  },
}
