/** Disks that are full when a pass comes to them: of bytes, to the last block, and of inodes. The log, its writer and the journal share the disk. */
import { join } from "node:path"
import { expect, test } from "vitest"
import { account } from "./account.ts"
import { bundledAgent, configured, cordwood, passOf } from "./agent.ts"
import type { Ended } from "./agent.ts"
import { Disk, scratchFolder, useUpInodes } from "./disk.ts"
import { onDisks } from "./requirements.ts"
import { EVERYTHING, expectAllAccounted, expectAllThere, NOTHING_TO_GIVE, sceneIn } from "./scene.ts"
import type { Scene } from "./scene.ts"
import { Writer } from "./writer.ts"

const WITHIN_MS = 5 * 60_000
const KIB = 1024
/** Lines that the writer tries to write meanwhile. */
const MORE_LINES = 20

interface Problem {
  readonly step: string
  readonly reason: string
  readonly hint: string
}

/** What `once --json` says has failed. All of it must be for want of room, be told to people too, and make it exit 1. */
const failedFor = ({ code, signal, stderr, stdout }: Ended): ReadonlyArray<string> => {
  expect(signal === null ? "" : `${signal}: ${stderr}`).toBe("")
  const { problems } = JSON.parse(stdout) as { readonly problems: ReadonlyArray<Problem> }
  expect(code).toBe(problems.length === 0 ? 0 : 1)
  for (const { hint, reason } of problems) {
    expect(reason).toBe("NoSpace")
    expect(hint).toMatch(/\bfree space\b/i)
    expect(stderr).toContain(hint)
  }
  return problems.map(({ step }) => step)
}

onDisks("a disk that is full", () => {
  const program = bundledAgent()

  /** A log on the disk, and a writer that has it open. */
  const logOn = async (disk: Disk, scratch: string, kind: Scene["kind"], journalIsThere: boolean) => {
    const writer = Writer.start(scratch)
    const place = { logs: join(disk.at, "logs"), journalFolder: disk.folder("state"), pidFile: writer.pidFile }
    const nowhere = { include: join(place.logs, "*.log"), journal: join(place.journalFolder, "journal.db"), policy: {} }
    if (journalIsThere) await passOf({ ...nowhere, pidFile: writer.pidFile })
    const scene = sceneIn(kind, place)
    await writer.open(scene.log, scene.lines + 1)
    const config = configured(scratch, scene.settings)
    const once = async (): Promise<ReadonlyArray<string>> =>
      failedFor(await cordwood(program(), "once", "--json", "--config", config))
    return { once, scene, writer }
  }
  /** What the writer has written is all there is, in order, and nothing lies about. */
  const expectNothingLost = (
    { log }: Scene,
    { begun, written }: { readonly begun: number; readonly written: number },
  ) => {
    const { faults, last, leftovers, ...found } = account(log)
    expect({ begun: found.begun, faults, last, leftovers }).toEqual({ begun, faults: [], last: written, leftovers: [] })
  }

  const expectPasses = async ({ settings }: Scene, count: number): Promise<void> => {
    for (let n = 0; n < count; n++) expect((await passOf(settings)).problems).toEqual([])
  }

  /** A pass while so many bytes are free, then others with room; the steps that failed. */
  const passWith = async (disk: Disk, scratch: string, freeBytes: number, journalIsThere: boolean) => {
    const { once, scene, writer } = await logOn(disk, scratch, NOTHING_TO_GIVE, journalIsThere)
    const makeRoom = disk.fill(freeBytes)
    const before = await writer.write(MORE_LINES)
    const failed = await once()
    expectNothingLost(scene, before)
    const after = await writer.write(MORE_LINES)
    expect(account(scene.log)).toMatchObject({ faults: [], last: after.written, begun: after.begun })
    makeRoom()
    const { written } = await writer.hold()
    await expectPasses(scene, 2)
    expectAllAccounted(scene, written)
    await writer.close()
    disk.unmount()
    return failed
  }

  const disks = [
    {
      title: "a tmpfs",
      make: (scratch: string) => Disk.tmpfs(scratch, 1024),
      freeKib: { withJournal: [0, 16], without: [0] },
      fails: ["compress", "journal"],
    },
    {
      title: "an ext4",
      make: (scratch: string) => Disk.ext4(scratch, { kib: 8 * 1024 }),
      freeKib: { withJournal: [0, 8], without: [64] },
      fails: ["compress", "journal"],
    },
    {
      // Here the directory needs a block more for the name of the segment, and SQLite must keep off the last bytes.
      title: "an ext4 with blocks of 1 KiB",
      make: (scratch: string) => Disk.ext4(scratch, { kib: 4 * 1024, blockBytes: 1024 }),
      freeKib: { withJournal: [0, 4, 24, 32], without: [0, 72] },
      fails: ["compress", "journal", "rotate"],
    },
  ]
  test.each(disks)(
    "of bytes, $title, keeps every one that was written, says what fails and what to do, and all is done once there is room",
    async ({ fails, freeKib: { withJournal, without }, make }) => {
      const scratch = scratchFolder()
      const failed = new Set<string>()
      for (const kib of withJournal)
        (await passWith(make(scratch), scratch, kib * KIB, true)).forEach((step) => failed.add(step))
      for (const kib of without) await passWith(make(scratch), scratch, kib * KIB, false)
      expect([...failed].sort()).toEqual(fails)
    },
    WITHIN_MS,
  )

  test(
    "of inodes, renames nothing for which there is no name, and goes on as soon as there is one",
    async () => {
      const scratch = scratchFolder()
      const disk = Disk.ext4(scratch, { kib: 8 * 1024, inodes: 64 })
      const { once, scene, writer } = await logOn(disk, scratch, NOTHING_TO_GIVE, true)
      const makeRoom = useUpInodes(disk)
      const before = await writer.write(MORE_LINES)
      expect(new Set(await once())).toEqual(new Set(["compress", "journal", "rotate"]))
      expectNothingLost(scene, before)
      makeRoom()
      await expectPasses(scene, 2)
      expectAllAccounted(scene, (await writer.write(MORE_LINES)).written)
    },
    WITHIN_MS,
  )

  test(
    "of inodes, is helped by retention where it has something to give",
    async () => {
      const scratch = scratchFolder()
      const disk = Disk.ext4(scratch, { kib: 8 * 1024, inodes: 64 })
      const { once, scene, writer } = await logOn(disk, scratch, EVERYTHING, true)
      const makeRoom = useUpInodes(disk)
      expect(await once()).toContain("rotate")
      expect(await once()).not.toContain("rotate")
      const { reopened, written } = await writer.write(MORE_LINES)
      expect(reopened).toBe(1)
      makeRoom()
      await expectPasses(scene, 2)
      // The first pass could tell of what it removed, but not store it, and said so.
      expectAllThere(scene, written)
    },
    WITHIN_MS,
  )
})
