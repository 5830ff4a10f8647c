/** Holds the events of a run against the files of a log: what contract.md says an event is, and what is on disk. */
import { basename, dirname, join } from "node:path"
import { expect } from "vitest"
import { filesOf } from "./account.ts"
import type { Account } from "./account.ts"
import type { Event } from "./agent.ts"
import type { LogIdentity } from "./kubelet.ts"

const UTC = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/
const bytes = expect.any(Number)
const text = expect.any(String)

/** Contract.md's table. More fields may be there; these must be. */
const DATA: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  Scanned: { activeBytes: bytes, segments: expect.any(Number), totalBytes: bytes },
  Cleaned: { path: text, bytes, reason: expect.stringMatching(/^(temporary|superseded|invalid)$/) },
  Removed: { path: text, bytes, reason: "max-files" },
  Compressed: { from: text, to: text, codec: "gzip", bytesIn: bytes, bytesOut: bytes, durationMs: expect.any(Number) },
  Rotated: { from: text, to: text, bytes, reopened: true },
  Deferred: { step: text, path: text, by: text, why: text, retryAfterMs: expect.any(Number) },
  Failed: { step: text, path: text, reason: text, message: text, hint: expect.stringMatching(/\S/) },
}

/** Every event of this log is as the contract has it, and positions only ever count up. */
export const expectWellFormed = (events: ReadonlyArray<Event>, log: LogIdentity): ReadonlyArray<Event> => {
  const positions = events.map(({ position }) => position)
  expect(positions, "positions, strictly increasing").toEqual([...new Set(positions)].sort((a, b) => a - b))
  expect(new Set(events.map(({ id }) => id)).size, "ids are unique").toBe(events.length)
  const own = events.filter(({ log: { path } }) => path === log.path)
  for (const event of own) {
    expect(event).toEqual(
      expect.objectContaining({
        id: text,
        position: expect.any(Number),
        time: expect.stringMatching(UTC),
        type: expect.any(String),
        version: expect.any(Number),
        log: expect.objectContaining(log),
        data: expect.objectContaining(DATA[event.type] ?? {}),
        metadata: expect.objectContaining({ correlationId: text }),
      }),
    )
    expect(Object.keys(event.metadata)).toEqual(
      expect.arrayContaining(["causationId", "correlationId", "spanId", "traceId"]),
    )
  }
  return own
}

const paths = (events: ReadonlyArray<Event>, type: string, field: string): ReadonlyArray<string> =>
  events.filter((event) => event.type === type).map(({ data }) => String(data[field]))
const plain = (path: string): string => path.replace(/\.gz$/, "")

/**
 * The agent at rest: each segment on disk was rotated once, each archive compressed once, and each segment that isn't there any
 * more was removed once. `account` gives the decoded lengths.
 */
export const expectEventsMatchDisk = (all: ReadonlyArray<Event>, log: LogIdentity, { shares }: Account): void => {
  const events = expectWellFormed(all, log)
  const folder = dirname(log.path)
  const segments = filesOf(log.path).filter(({ role }) => role === "segment")
  const here = segments.map(({ name }) => join(folder, name))
  const decoded = new Map(shares.map(({ name, bytes: length }) => [plain(name), length]))

  const rotated = paths(events, "Rotated", "to")
  const removed = paths(events, "Removed", "path")
  expect(new Set(paths(events, "Rotated", "from"))).toEqual(new Set([log.path]))
  expect(rotated, "rotated to: what is there and what was removed, oldest first").toEqual(
    [...removed, ...here].map(plain).sort(),
  )
  expect(removed.map(plain), "removed from the oldest").toEqual(rotated.slice(0, removed.length))
  for (const { data } of events.filter(({ type }) => type === "Rotated")) {
    const length = decoded.get(basename(String(data["to"])))
    // Until it has reopened, the writer goes on in the renamed file.
    if (length !== undefined) expect(Number(data["bytes"])).toBeLessThanOrEqual(length)
  }

  const compressed = new Map(
    events.filter(({ type }) => type === "Compressed").map(({ data }) => [String(data["to"]), data]),
  )
  expect([...compressed.keys()], "compressed: every archive here, and those removed").toEqual(
    [...removed, ...here].filter((path) => path.endsWith(".gz")).sort(),
  )
  for (const { name, compressed: isArchive, bytesOnDisk } of segments) {
    if (!isArchive) continue
    const path = join(folder, name)
    expect(compressed.get(path)).toEqual(
      expect.objectContaining({
        from: plain(path),
        bytesIn: decoded.get(plain(name)),
        bytesOut: bytesOnDisk,
      }),
    )
  }
}
