/**
 * Power cuts on a real ext4. The agent is stopped after each call that names, unnames or syncs something, and what the disk's device holds at that
 * moment is copied: the page cache, where everything else is, would be gone. Each copy is then mounted as after a reboot, which replays the file
 * system's own journal, and a writer and a fresh agent come up on it.
 */
import { mkdirSync, rmSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { expect, test } from "vitest"
import { bundledAgent, configured, HeldAgent, passOf } from "./agent.ts"
import { copyAtPowerCut, Disk, scratchFolder, syncAll } from "./disk.ts"
import { onDisks } from "./requirements.ts"
import { EVERYTHING, expectAllAccounted, sceneIn } from "./scene.ts"
import { Trace } from "./trace.ts"
import { Writer } from "./writer.ts"

const WITHIN_MS = 15 * 60_000
const LOOK_AGAIN_MS = 2
const STOPS_AFTER = "rename,renameat2,link,linkat,unlink,unlinkat,ftruncate,fchmod,utimensat,fsync,fdatasync"
/**
 * `commit`: the file system commits nothing by itself while the test lasts. `noauto_da_alloc`: nor does it guess that a program which renames
 * a file it hasn't synced would like to have it (Documentation/admin-guide/ext4.rst).
 */
const HONEST = ["commit=600", "noauto_da_alloc"]
/** Written after the reboot. */
const MORE_LINES = 3

interface Cut {
  readonly image: string
  readonly after: string
}

onDisks("a node that loses power", () => {
  const program = bundledAgent()

  const cuts = [
    { title: "when only what was synced is on disk", meanwhile: () => undefined },
    {
      title: "when names came to disk before bytes",
      // All names so far are committed, as any other program's sync brings it about; the bytes of files that nobody has synced aren't.
      meanwhile: (other: Writer) => other.sync(),
    },
  ]
  test.each(cuts)(
    "$title, at any moment of a pass, has every line after the reboot, and the next passes finish what was begun",
    async ({ meanwhile }) => {
      const scratch = scratchFolder()
      const disk = Disk.ext4(scratch, { kib: 4 * 1024, blockBytes: 1024, options: HONEST })
      const writer = Writer.start(scratch)
      const other = Writer.start(scratch)
      const scene = sceneIn(EVERYTHING, {
        logs: join(disk.at, "logs"),
        journalFolder: disk.folder("state"),
        pidFile: writer.pidFile,
      })
      await other.open(join(disk.at, "other"), 1)
      await writer.open(scene.log, scene.lines + 1)
      syncAll(disk)

      const images = join(scratch, "images")
      mkdirSync(images)
      const found: Array<Cut> = []
      let last: string | null = null
      const cut = async (after: string): Promise<void> => {
        // So that there is something to commit.
        await other.write(1)
        await meanwhile(other)
        const image = join(images, `${found.length}.img`)
        const state = copyAtPowerCut(disk.image, image, last)
        if (state === null) return
        last = state
        found.push({ image, after })
      }

      const agent = await HeldAgent.start(program())
      const { main } = agent.threads
      const trace = await Trace.on(main, join(scratch, "trace"), {
        whose: "process",
        inject: `${STOPS_AFTER}:signal=SIGSTOP`,
      })
      agent.begin(configured(scratch, scene.settings))
      for (let stops = 1; agent.running;) {
        if (trace.stopsOf(main) < stops || !agent.stopped) {
          await pause(LOOK_AGAIN_MS)
          continue
        }
        await cut(trace.calls.at(-1)?.text ?? "")
        stops += 1
        process.kill(agent.pid, "SIGCONT")
      }
      expect((await agent.ended).code).toBe(0)
      await trace.ended
      await Promise.all([writer.close(), other.close()])
      disk.unmount()

      console.log(`${found.length} different disks after ${trace.stopsOf(main)} calls`)
      const wrong: Array<string> = []
      for (const { after, image } of found) {
        const rebooted = Disk.ofImage(image, disk.at)
        try {
          await writer.open(scene.log, scene.lines + 1)
          const { written } = await writer.write(MORE_LINES)
          const problems = [...(await passOf(scene.settings)).problems, ...(await passOf(scene.settings)).problems]
          expect(problems).toEqual([])
          expectAllAccounted(scene, written)
        } catch (error) {
          wrong.push(`cut after ${after}: ${String(error)}`)
        } finally {
          await writer.close()
          rebooted.unmount()
          rmSync(image)
        }
      }
      expect(wrong).toEqual([])
    },
    WITHIN_MS,
  )
})
