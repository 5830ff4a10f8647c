// What `status` tells as failing: what is seen now, and of the journal only what nothing has ended since.
import { type CoreEnvelope, type CoreFact, evolve, initialState, type Log, Policy } from "@cordwood/core"
import { expect, it } from "vitest"
import { deferralTexts, type Known, statusRows } from "../../src/cli/status.ts"
import type { Problem } from "../../src/pass/report.ts"

const POLICY = Policy.parse({ maxSize: 1_000, maxFiles: 5, compression: "gzip" })
const LIMITS = { maxSize: 1_000, maxFiles: 5, compression: "gzip" }
const LOG = { path: "/logs/0.log", namespace: "shop", pod: "web-0", container: "nginx" }
const SOCKET = "/run/runtime.sock"
const JOURNAL = "/var/lib/journal.db"
const SEEN = {
  activeBytes: 3,
  files: 2,
  totalBytes: 2_003,
  writer: "running" as const,
  policy: "canary",
  mode: "observe" as const,
  limits: { maxSize: 7, maxFiles: 2, compression: "none" },
}

const failed = (step: "source" | "journal" | "scan" | "rotate", path: string): CoreFact => ({
  type: "Failed",
  data: { step, path, reason: "Then", message: `${step} failed then`, hint: "do this" },
})
const problem = (step: string, path: string): Problem => ({
  step,
  path,
  reason: "Now",
  message: `${step} fails now`,
  hint: "do that",
})
const statesOf = (...stored: ReadonlyArray<readonly [Log, CoreFact]>): ReadonlyMap<string, Known> => {
  const states = new Map<string, Known>()
  for (const [position, [log, fact]] of stored.entries()) {
    const time = new Date(position * 1_000).toISOString()
    const metadata = { correlationId: "c", causationId: null, traceId: null, spanId: null }
    const event = { ...fact, id: String(position), position, time, version: 1, log, metadata } as CoreEnvelope
    states.set(log.path, { log, state: evolve(states.get(log.path)?.state ?? initialState, event) })
  }
  return states
}

it("a source and a journal that have recovered are not told of, a log's own failure is", () => {
  const states = statesOf(
    [{ path: SOCKET }, failed("source", SOCKET)],
    [{ path: JOURNAL }, failed("journal", JOURNAL)],
    [LOG, failed("source", LOG.path)],
    [LOG, failed("rotate", LOG.path)],
  )
  expect(statusRows({ logs: [{ log: LOG, steps: [], ...SEEN }], problems: [] }, states, POLICY)).toEqual([
    {
      log: LOG,
      ...SEEN,
      lastRotatedAt: null,
      deferred: [],
      failing: [
        {
          step: "rotate",
          path: LOG.path,
          reason: "Then",
          message: "rotate failed then",
          hint: "do this",
          since: "1970-01-01T00:00:03.000Z",
        },
      ],
    },
  ])
})

it("a source that fails now is told of as it is now, and so is a log that can't be read", () => {
  const nothing = {
    files: null,
    activeBytes: null,
    totalBytes: null,
    writer: null,
    policy: null,
    mode: null,
    limits: LIMITS,
    lastRotatedAt: null,
    deferred: [],
  }
  const states = statesOf([{ path: SOCKET }, failed("source", SOCKET)], [LOG, failed("scan", LOG.path)])
  const problems = [problem("source", SOCKET), problem("scan", LOG.path)]
  expect(statusRows({ logs: [], problems }, states, POLICY)).toEqual([
    {
      log: { path: SOCKET },
      ...nothing,
      // The stored failure may be one that was over since.
      failing: [{ ...problem("source", SOCKET), since: null }],
    },
    {
      log: LOG,
      ...nothing,
      failing: [{ ...problem("scan", LOG.path), since: "1970-01-01T00:00:01.000Z" }],
    },
  ])
})

it("a problem with the path of a listed log stands in that log's row", () => {
  const logs = [{ log: LOG, steps: [], ...SEEN }]
  expect(statusRows({ logs, problems: [problem("source", LOG.path)] }, new Map(), POLICY)).toEqual([
    {
      log: LOG,
      ...SEEN,
      lastRotatedAt: null,
      deferred: [],
      failing: [{ ...problem("source", LOG.path), since: null }],
    },
  ])
})

it("a log whose container has ended fails to rotate or reopen no more, and whatever else fails is told", () => {
  const states = statesOf(
    [LOG, failed("rotate", LOG.path)],
    [LOG, { ...failed("scan", LOG.path), data: { ...failed("scan", LOG.path).data, step: "compress" } } as CoreFact],
  )
  const failing = (writer: "stopped" | "surplus"): ReadonlyArray<string> =>
    statusRows({ logs: [{ log: LOG, steps: [], ...SEEN, writer }], problems: [] }, states, POLICY).flatMap((row) =>
      row.failing.map(({ step }) => step),
    )
  expect([failing("stopped"), failing("surplus")]).toEqual([["compress"], ["rotate", "compress"]])
})

it("what waits for the same reason is one line, with how many they are and since when", () => {
  const put = (name: string, step: "remove" | "offer", why: string, second: number) => ({
    path: `/logs/0.log.${name}`,
    step,
    by: "s3",
    why,
    since: new Date(second * 1_000).toISOString(),
  })
  const deferred = [
    put("1", "remove", "away", 20),
    put("2", "offer", "away", 21),
    put("3", "remove", "away", 14),
    put("4", "remove", "other bytes are there", 50),
    put("5", "remove", "away", 59),
  ]
  expect(deferralTexts(deferred, 60_000)).toEqual([
    "3 removals deferred for 46s (the oldest) by s3: away",
    "offer 0.log.2 deferred for 39s by s3: away",
    "remove 0.log.4 deferred for 10s by s3: other bytes are there",
  ])
})
