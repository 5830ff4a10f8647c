/** Disks that can't be written for a while: the agent's own way in to them, or all of them, as after an error. */
import { mkdirSync, statSync } from "node:fs"
import { join } from "node:path"
import { expect, test } from "vitest"
import { filesOf } from "../containerd/account.ts"
import { eventually } from "../containerd/eventually.ts"
import { account } from "./account.ts"
import { bundledAgent, configured, cordwood, Daemon, eventsIn, passOf } from "./agent.ts"
import { Disk, scratchFolder, syncAll } from "./disk.ts"
import { LINE_BYTES } from "./numbered-line.ts"
import { onDisks } from "./requirements.ts"
import { EVERYTHING, expectAllAccounted, NOTHING_TO_GIVE, sceneIn } from "./scene.ts"
import { Writer } from "./writer.ts"

const WITHIN_MS = 5 * 60_000
/** For what the agent does on its next pass; long, since other tests share the machine. */
const SOON_MS = 60_000
const LINE_EVERY_MS = 1

onDisks("a disk that can't be written", () => {
  const program = bundledAgent()

  /** Everything that a pass has to do, with its journal, on a disk of its own. */
  const onExt4 = () => {
    const scratch = scratchFolder()
    const disk = Disk.ext4(scratch, { kib: 8 * 1024 })
    const writer = Writer.start(scratch)
    const place = { logs: join(disk.at, "logs"), journalFolder: disk.folder("state"), pidFile: writer.pidFile }
    const scene = sceneIn(EVERYTHING, place)
    return { config: configured(scratch, scene.settings), disk, scene, writer }
  }

  const failuresIn = (journal: string): ReadonlyArray<string> =>
    eventsIn(journal).flatMap(({ data, type }) =>
      type === "Failed" && String(data["hint"]).includes("remount") ? [`${data["step"]} ${data["reason"]}`] : [],
    )

  test(
    "is reported, its log goes on in the file that it has, and is rotated once it can be, by an agent that runs on",
    async () => {
      const scratch = scratchFolder()
      const disk = Disk.ext4(scratch, { kib: 16 * 1024 })
      // As a container has it: the same folder, mounted with options of the container's own.
      const bound = disk.bound(scratch, disk.folder("logs"))
      const writer = Writer.start(scratch)
      const state = join(scratch, "state")
      mkdirSync(state)
      const scene = sceneIn(NOTHING_TO_GIVE, { logs: bound.at, journalFolder: state, pidFile: writer.pidFile })
      const { journal, policy } = scene.settings
      const config = configured(scratch, { ...scene.settings, policy: { ...policy, maxSize: "32Ki", maxFiles: 1000 } })
      await writer.open(join(disk.at, "logs", scene.kind.name), scene.lines + 1)
      await writer.writeEvery(LINE_EVERY_MS, Number.MAX_SAFE_INTEGER)

      const agent = Daemon.start(program(), config)
      const soon = <A>(what: string, ask: () => A | undefined | false): Promise<A> =>
        eventually({ what, withinMs: SOON_MS, instead: () => agent.said }, ask)
      // An archive and its original, side by side for a moment, are one.
      const segments = (): number =>
        new Set(filesOf(scene.log).flatMap(({ role, stamp }) => (role === "segment" ? [stamp] : []))).size
      const atFirst = segments()
      await soon("two rotations", () => segments() >= atFirst + 2)
      // Not while the agent has a file open for writing: then the kernel says that it is busy.
      await soon("a read-only mount", () => {
        bound.remount("bind,ro")
        return true
      })
      const meanwhile = segments()
      await soon("the failure", () => failuresIn(journal).includes("rotate ReadOnly"))
      const before = statSync(scene.log).size
      await soon(
        "lines of a writer that nothing has disturbed",
        () => statSync(scene.log).size > before + 256 * LINE_BYTES,
      )
      expect(segments()).toBe(meanwhile)
      bound.remount("bind,rw")
      await soon("two rotations more", () => segments() >= meanwhile + 2)
      const { begun, error, written } = await writer.hold()
      expect(await agent.stop()).toMatchObject({ code: 0, signal: null })
      const { faults, first, last } = account(scene.log)
      expect({ begun, error, faults, first, last }).toEqual({
        begun: 0,
        error: null,
        faults: [],
        first: 1,
        last: written,
      })
    },
    WITHIN_MS,
  )

  test(
    "makes a pass fail that changes nothing, and the next one does all when it can be written again",
    { timeout: WITHIN_MS },
    async () => {
      const { config, disk, scene, writer } = onExt4()
      disk.remount("ro")
      const { code, stdout, stderr } = await cordwood(program(), "once", "--json", "--config", config)
      const { problems } = JSON.parse(stdout) as { readonly problems: ReadonlyArray<Record<string, string>> }
      expect(code).toBe(1)
      expect(new Set(problems.map(({ reason, step }) => `${step} ${reason}`))).toEqual(
        // Exists: the temporary file that couldn't be cleaned away.
        new Set(["clean ReadOnly", "compress Exists", "compress ReadOnly", "journal ReadOnly", "rotate ReadOnly"]),
      )
      expect(stderr).toContain("remount the log's file system read-write")
      disk.remount("rw")
      await writer.open(scene.log, scene.lines + 1)
      const { written } = await writer.write(1)
      for (const { problems } of [await passOf(scene.settings), await passOf(scene.settings)])
        expect(problems).toEqual([])
      expectAllAccounted(scene, written)
    },
  )

  test(
    "after an error of its own, with the writer's file open, keeps what was there until it is mounted again",
    { timeout: WITHIN_MS },
    async () => {
      const { config, disk, scene, writer } = onExt4()
      await writer.open(scene.log, scene.lines + 1)
      await writer.write(10)
      syncAll(disk)
      // ext4 does with itself what it does when it comes upon damage, by default: no more writing.
      disk.remount("abort")
      const { begun, error, written } = await writer.write(10)
      expect([begun, error, written]).toEqual([0, "EROFS", scene.lines + 10])
      const { code, stderr } = await cordwood(program(), "once", "--json", "--config", config)
      expect(code).toBe(1)
      expect(stderr).toContain("remount the log's file system read-write")
      await writer.close()
      disk.unmount()
      Disk.ofImage(disk.image, disk.at)
      await writer.open(scene.log, scene.lines + 11)
      const after = await writer.write(1)
      for (const { problems } of [await passOf(scene.settings), await passOf(scene.settings)])
        expect(problems).toEqual([])
      expectAllAccounted(scene, after.written)
    },
  )
})
