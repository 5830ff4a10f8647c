// The agent in plain TypeScript: passes until Ctrl-C or SIGTERM, then finishes the steps in hand. Run it with `npm start`.
import { Agent } from "@cordwood/agent"
import { optionsFromEnvironment } from "./options.ts"

const stop = new AbortController()
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort())

const agent = Agent.make(optionsFromEnvironment())
await agent.run({
  signal: stop.signal,
  onEvent: ({ data, log, type }) => console.log(JSON.stringify({ type, log: log.path, data })),
})
