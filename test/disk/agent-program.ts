/**
 * `cordwood`, for these tests. With arguments, the command as it is. Without, it is held before its first act: loaded, its pool of threads alive,
 * waiting for a line on standard input that names the configuration of a `once`; so that a tracer put on one of its threads then finds
 * what the pass does and nothing else. Bundled into one file by agent.ts.
 */
import { stat } from "node:fs/promises"
import { main } from "../../packages/agent/src/cli/main.ts"

const held = async (): Promise<ReadonlyArray<string>> => {
  await stat("/")
  process.stdout.write("held\n")
  const config = await new Promise<string>((resolve) => {
    process.stdin.once("data", (chunk: Buffer) => resolve(chunk.toString().trim()))
  })
  process.stdin.destroy()
  return ["once", "--json", "--config", config]
}

const given = process.argv.slice(2)
main(given.length > 0 ? given : await held())
