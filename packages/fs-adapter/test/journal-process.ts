/**
 * A process that keeps a journal, for tests that need a second one: `hold` appends once, `append` until it is killed,
 * `unprivileged` is `hold` by a user without rights, from when the program is loaded, and `look` what such a user is told of a journal.
 */
import { randomUUID } from "node:crypto"
import { Effect } from "effect"
import { Journal, type Unstored } from "@cordwood/core"
import { journalObstacle, sqliteJournal } from "../src/index.ts"

/** As in `journal-given.ts`, which a process without a test can't load. */
const NOBODY = 65_534
const [mode, path = ""] = process.argv.slice(2)
if ((mode === "unprivileged" || mode === "look") && process.geteuid?.() === 0) {
  process.setgid?.(NOBODY)
  process.setuid?.(NOBODY)
}
if (mode === "look") {
  const obstacle = journalObstacle(path)
  console.log(obstacle === null ? "none" : `${obstacle.reason}: ${obstacle.hint}`)
  process.exit()
}
const event = (): Unstored => ({
  id: randomUUID(),
  time: new Date().toISOString(),
  version: 1,
  log: { path: "/var/log/a.log" },
  metadata: { correlationId: "pass", causationId: null, traceId: null, spanId: null },
  type: "Removed",
  data: { path: "/var/log/a.log.1", bytes: 1, reason: "max-files" },
})

await Effect.gen(function* () {
  const journal = yield* Journal
  const stored = yield* journal.append([event()])
  console.log(`ready ${stored.events[0]?.id} ${stored.events[0]?.position}`)
  if (mode === "hold") {
    yield* Effect.promise(() => new Promise((resolve) => process.stdin.once("end", resolve).resume()))
    return
  }
  for (;;) {
    const { events } = yield* journal.append([event(), event()])
    for (const { id, position } of events) console.log(`stored ${id} ${position}`)
    yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
  }
}).pipe(
  Effect.provide(sqliteJournal({ path })),
  Effect.catch((error) => Effect.sync(() => console.log(`failed ${error.reason} ${error.message}`))),
  Effect.runPromise,
)
