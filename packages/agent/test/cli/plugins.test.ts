// The program with plugins of a third party, which have a copy of effect of their own: draining, what waits, and what a plugin leaves behind.
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { bundleProgram, type Ended, makeHost, start, until } from "./program.ts"

let program: Awaited<ReturnType<typeof bundleProgram>>
beforeAll(async () => {
  program = await bundleProgram()
})
afterAll(() => program.remove())
const cordwood = (...args: ReadonlyArray<string>): Promise<Ended> => start(program.path, args).ended

let host: ReturnType<typeof makeHost>
beforeEach(() => {
  host = makeHost("plugins: [{ use: ./plugin.mjs }]\n")
  const require = createRequire(import.meta.url)
  mkdirSync(join(host.directory, "node_modules"))
  for (const name of ["effect", "zod"]) {
    symlinkSync(dirname(require.resolve(`${name}/package.json`)), join(host.directory, "node_modules", name))
  }
})
afterEach(() => rmSync(host.directory, { recursive: true, force: true }))

const plugin = (setup: string): void =>
  writeFileSync(
    join(host.directory, "plugin.mjs"),
    `import { Effect } from "effect"
import { existsSync } from "node:fs"
import * as z from "zod"
const Done = z.strictObject({ path: z.string() })
export default { name: "sent", api: 1, config: z.strictObject({}), setup: () => Effect.sync(() => { ${setup} }) }
`,
  )
/** Lets segments go once there is a file `away` no more, and records that. */
const GUARD = `return {
  events: { "sent.Done": Done },
  beforeRemove: ({ record, segment, told }) =>
    existsSync(new URL("./away", import.meta.url))
      ? Effect.succeed({ _tag: "Defer", why: "the other side is away", retryAfterMs: 1000 })
      : Effect.as(told === null ? record({ type: "sent.Done", data: { path: segment.path } }) : Effect.void, { _tag: "Allow" }),
}`
const segment = (name: string, stamp: string, content: string): string => {
  const path = join(host.logs, `${name}.${stamp}`)
  writeFileSync(path, content)
  utimesSync(path, 1e9, 1e9)
  return path
}
const json = (text: string): ReadonlyArray<Record<string, unknown>> =>
  text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Record<string, unknown>)

describe("once --drain", () => {
  it(
    "ends with 1 and lists what waits, and with 0 once nothing does; status tells since when",
    { timeout: 90_000 },
    async () => {
      plugin(GUARD)
      writeFileSync(join(host.directory, "away"), "")
      rmSync(join(host.logs, "a.log"))
      const first = segment("b.log", "20260101-000000", "one")
      const second = segment("b.log", "20260102-000000", "two")
      const packed = `${first}.gz`

      const waits = await cordwood("once", "--config", host.config, "--drain")
      const hint = "\n    nothing was lost; mend what it waits for and drain again\n"
      expect(waits).toEqual({
        code: 1,
        stdout: "1 log: 1 compressed; 0 of 2 closed segments drained\n",
        stderr: [packed, second]
          .map((path) => `cordwood: ${path} waits for sent: the other side is away${hint}`)
          .join(""),
      })
      const asJson = await cordwood("once", "--config", host.config, "--drain", "--json")
      expect({ code: asJson.code, stdout: json(asJson.stdout) }).toEqual({
        code: 1,
        stdout: [
          {
            logs: 1,
            steps: { rotated: 0, compressed: 0, removed: 0, cleaned: 0 },
            deferred: 0,
            observed: 0,
            problems: [],
            asked: 2,
            waiting: [packed, second].map((path) => ({ path, by: "sent", why: "the other side is away" })),
          },
        ],
      })
      // A later scan is where the next fold of the journal begins: what waits is still known, and since when.
      segment("b.log", "20260103-000000", "three")
      expect((await cordwood("once", "--config", host.config)).code).toBe(0)
      const events = json((await cordwood("events", "--config", host.config, "--json")).stdout)
      const since = events.find(({ type }) => type === "Deferred")?.["time"]
      const [status] = json((await cordwood("status", "--config", host.config, "--json")).stdout)
      expect(status).toMatchObject({ policy: "default", mode: "enforce" })
      const deferred = status?.["deferred"] as ReadonlyArray<Record<string, unknown>> | undefined
      expect(deferred?.[0]).toEqual({
        path: packed,
        step: "offer",
        by: "sent",
        why: "the other side is away",
        since,
      })
      expect((await cordwood("status", "--config", host.config)).stdout).toMatch(
        /offer b\.log\.20260101-000000\.gz deferred for \S+ by sent: the other side is away/,
      )

      rmSync(join(host.directory, "away"))
      expect(await cordwood("once", "--config", host.config, "--drain")).toEqual({
        code: 0,
        stdout: "1 log: nothing to do; 3 of 3 closed segments drained\n",
        stderr: "",
      })
      const [after] = json((await cordwood("status", "--config", host.config, "--json")).stdout)
      expect(after?.["deferred"]).toEqual([])
      const sent = json((await cordwood("events", "--config", host.config, "--json")).stdout)
      expect(sent.filter(({ type }) => type === "sent.Done").length).toBe(3)
      // What is drained stays until retention has no room for it.
      expect(readdirSync(host.logs).length).toBe(4)
    },
  )
  it("of a host without closed segments says so", async () => {
    plugin(GUARD)
    rmSync(join(host.logs, "a.log"))
    expect(await cordwood("once", "--config", host.config, "--drain")).toEqual({
      code: 0,
      stdout: "1 log: nothing to do; nothing to drain: no closed segment, or no plugin that keeps any\n",
      stderr: "",
    })
  })
})

describe("a policy in mode observe", () => {
  it(
    "leaves the whole directory as it is; plan says so, and --detailed-exitcode finds nothing ahead",
    { timeout: 60_000 },
    async () => {
      plugin("return {}")
      writeFileSync(host.config, readFileSync(host.config, "utf8").replace("maxSize: 1k", "maxSize: 1k, mode: observe"))
      segment("a.log", "20260101-000000", "one")
      segment("a.log", "20260102-000000", "two")
      const whole = (): ReadonlyArray<readonly [string, string]> =>
        readdirSync(host.logs)
          .toSorted()
          .map((name) => [name, readFileSync(join(host.logs, name), "latin1")])
      const before = whole()
      expect(await cordwood("once", "--config", host.config)).toEqual({
        code: 0,
        stdout: "2 logs: 3 observed only\n",
        stderr: "",
      })
      expect(whole()).toEqual(before)
      const plan = await cordwood("plan", "--config", host.config, "--detailed-exitcode")
      expect({ code: plan.code, said: plan.stdout.includes("a.log (default, observed only)") }).toEqual({
        code: 0,
        said: true,
      })
      expect((await cordwood("events", "--config", host.config)).stdout).toMatch(
        /Planned {5}\S+a\.log {2}rotate a\.log, compress a\.log\.20260101-000000, compress a\.log\.20260102-000000 \(observed only\)\n/,
      )
      expect((await cordwood("status", "--config", host.config)).stdout).toMatch(
        /a\.log .* observed only, by default\n/,
      )
    },
  )
})

describe("what a plugin leaves behind", () => {
  it("keeps no command from ending", async () => {
    plugin(`setInterval(() => {}, 1000); process.on("SIGUSR2", () => {}); return {}`)
    expect(await cordwood("once", "--config", host.config)).toEqual({
      code: 0,
      stdout: "2 logs: 1 rotated\n",
      stderr: "",
    })
  })
  it("and throws is told of, and the daemon goes on rotating until it is stopped", async () => {
    plugin(`
      setTimeout(() => { throw new Error("a timer of mine") }, 1)
      Promise.reject(new Error("a promise of mine"))
      return {}`)
    const run = start(program.path, ["run", "--config", host.config])
    await until(
      () => run.stderr().includes("a timer of mine") && run.stderr().includes("a promise of mine"),
      run.stderr,
    )
    const rotations = (): number => run.stderr().split(" Rotated ").length - 1
    await until(() => rotations() === 1, run.stderr)
    writeFileSync(join(host.logs, "a.log"), "y".repeat(2_000))
    await until(() => rotations() === 2, run.stderr)
    run.child.kill("SIGTERM")
    const { code, stderr } = await run.ended
    expect(code).toBe(0)
    expect(stderr).toMatch(
      /cordwood: something that nobody waits for failed: a timer of mine\n {4}rotation goes on; .*: at .*plugin\.mjs:\d+/,
    )
  })
})
