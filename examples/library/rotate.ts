// Cordwood as a library: an agent composed in code rotates a log of its own making, once. Run it with `npm start`.
import { appendFileSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Agent, files } from "@cordwood/agent"

const directory = mkdtempSync(join(tmpdir(), "cordwood-example-"))
const log = join(directory, "app.log")

const agent = Agent.make({
  // A writer that reopens its log by itself: this program opens the file anew for every append. For containers: cri({ endpoint }).
  sources: [files({ include: [join(directory, "*.log")], reopen: "none" })],
  policy: { maxSize: "64Ki", maxFiles: 3, compression: "gzip" },
  journal: { path: join(directory, "journal", "journal.db") },
})

try {
  for (let round = 1; round <= 3; round += 1) {
    for (let line = 1; line <= 1_000; line += 1)
      appendFileSync(log, `round ${round}, line ${line}: ${"x".repeat(60)}\n`)
    // What is about to be done, without doing it…
    const { logs } = await agent.plan()
    console.log(`\nround ${round}: ${logs.flatMap(({ steps }) => steps.map((step) => step._tag)).join(", ")}`)
    // …and then done, with every event as it is stored.
    const report = await agent.once({ onEvent: ({ data, type }) => console.log(`  ${type} ${JSON.stringify(data)}`) })
    for (const { hint, message } of report.problems) console.error(`  ${message}\n    ${hint}`)
    writeFileSync(log, "", { flag: "a" })
    // A segment is compressed once it has been at rest for a second: a writer may still hold it.
    await new Promise((resolve) => setTimeout(resolve, 1_100))
  }
  console.log("\non disk:")
  for (const name of readdirSync(directory).toSorted())
    console.log(`  ${name}, ${statSync(join(directory, name)).size} bytes`)
} finally {
  rmSync(directory, { recursive: true, force: true })
}
// A daemon is agent.run({ signal }): it rotates until the signal is aborted, then finishes the steps in hand.
