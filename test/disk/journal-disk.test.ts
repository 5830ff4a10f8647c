/** The journal on a full disk of its own, while the logs' disk has room: rotation goes on, and the events are stored when the journal's disk has room. */
import { join } from "node:path"
import { expect, test } from "vitest"
import { filesOf } from "../containerd/account.ts"
import { eventually } from "../containerd/eventually.ts"
import { account } from "./account.ts"
import { bundledAgent, configured, Daemon, eventsIn } from "./agent.ts"
import { Disk, scratchFolder } from "./disk.ts"
import { onDisks } from "./requirements.ts"
import { NOTHING_TO_GIVE, sceneIn } from "./scene.ts"
import { Writer } from "./writer.ts"

const WITHIN_MS = 5 * 60_000
/** For what the agent does on its next pass; long, since other tests share the machine. */
const SOON_MS = 60_000
const LINE_EVERY_MS = 1

onDisks("a journal whose disk is full", () => {
  const program = bundledAgent()

  const disks = [
    {
      title: "from the beginning, a tmpfs",
      full: "from the beginning",
      make: (scratch: string) => Disk.tmpfs(scratch, 512),
    },
    { title: "in the end, a tmpfs", full: "later", make: (scratch: string) => Disk.tmpfs(scratch, 512) },
    { title: "in the end, an ext4", full: "later", make: (scratch: string) => Disk.ext4(scratch, { kib: 8 * 1024 }) },
  ] as const
  test.each(disks)(
    "$title, holds up no rotation, is reported, and has every event once there is room",
    async ({ full, make }) => {
      const scratch = scratchFolder()
      const disk = make(scratch)
      const writer = Writer.start(scratch)
      const scene = sceneIn(NOTHING_TO_GIVE, {
        logs: join(scratch, "logs"),
        journalFolder: disk.folder("state"),
        pidFile: writer.pidFile,
      })
      const { journal, policy } = scene.settings
      const config = configured(scratch, { ...scene.settings, policy: { ...policy, maxSize: "32Ki", maxFiles: 1000 } })
      await writer.open(scene.log, scene.lines + 1)
      await writer.writeEvery(LINE_EVERY_MS, Number.MAX_SAFE_INTEGER)

      let makeRoom = full === "from the beginning" ? disk.fill(0) : null
      const agent = Daemon.start(program(), config)
      const soon = <A>(what: string, ask: () => A | undefined | false): Promise<A> =>
        eventually({ what, withinMs: SOON_MS, instead: () => agent.said }, ask)
      const rotatedIn = (): ReadonlyArray<unknown> =>
        eventsIn(journal).flatMap(({ data, type }) => (type === "Rotated" ? [data["to"]] : []))
      if (makeRoom === null) {
        await soon("a rotation on record", () => rotatedIn().length > 0)
        makeRoom = disk.fill(0)
      }
      await soon("the report", () => agent.said.includes("rotation goes on, events wait"))
      expect(agent.said).toContain(`Free space on the file system of ${disk.at}`)
      const newest = (): string => filesOf(scene.log).findLast(({ role }) => role === "segment")?.stamp ?? ""
      for (const what of ["a rotation meanwhile", "another", "a third"]) {
        const before = newest()
        await soon(what, () => newest() > before)
      }
      makeRoom()
      await soon("a word of it", () => agent.said.includes("can be written again"))
      const { written } = await writer.hold()
      expect(await agent.stop()).toMatchObject({ code: 0, signal: null })

      const { faults, first, last, segments } = account(scene.log)
      expect({ faults, first, last }).toEqual({ faults: [], first: 1, last: written })
      // Each rotation once and in order, those that had to wait among them; the first three segments were there before.
      const rotated = segments
        .slice(scene.kind.segments.length)
        .map(({ name }) => join(scratch, "logs", name.replace(/\.gz$/, "")))
      expect(rotatedIn()).toEqual(rotated)
      const failures = eventsIn(journal).filter(({ data, type }) => type === "Failed" && data["step"] === "journal")
      // More than one where room came and went, as when SQLite gives back its log of writes.
      expect(new Set(failures.map(({ data }) => data["reason"]))).toEqual(new Set(["NoSpace"]))
    },
    WITHIN_MS,
  )
})
