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
            deferrals: [],
            observed: 0,
            problems: [],
            asked: 2,
            waiting: [packed, second].map((path) => ({ path, by: "sent", why: "the other side is away" })),
            unasked: [],
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
        /2 offers deferred for \S+ \(the oldest\) by sent: the other side is away/,
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
  it("drains a log whose file its writer has not made again, however long it has been away", async () => {
    plugin(GUARD)
    rmSync(join(host.logs, "a.log"))
    rmSync(join(host.logs, "b.log"))
    const path = segment("b.log", "20260101-000000", "one")
    writeFileSync(join(host.directory, "away"), "")
    expect(await cordwood("once", "--config", host.config, "--drain")).toEqual({
      code: 1,
      stdout: "1 log: nothing to do; 0 of 1 closed segments drained\n",
      stderr: `cordwood: ${path} waits for sent: the other side is away\n    nothing was lost; mend what it waits for and drain again\n`,
    })
    expect((await cordwood("plan", "--config", host.config, "--detailed-exitcode")).code).toBe(0)
    rmSync(join(host.directory, "away"))
    expect(await cordwood("once", "--config", host.config, "--drain")).toEqual({
      code: 0,
      stdout: "1 log: nothing to do; 1 of 1 closed segments drained\n",
      stderr: "",
    })
    expect((await cordwood("status", "--config", host.config)).stdout).toMatch(/b\.log .* missing /)
  })
  it("ends with 1 and lists what it may not ask about, as its policy only observes", { timeout: 30_000 }, async () => {
    plugin(GUARD)
    rmSync(join(host.logs, "a.log"))
    const first = segment("b.log", "20260101-000000", "one")
    const second = segment("b.log", "20260102-000000", "two")
    const enforced = readFileSync(host.config, "utf8")
    writeFileSync(host.config, enforced.replace("maxSize: 1k", "maxSize: 1k, mode: observe"))
    const hint =
      "\n    it is not drained: see that whoever rotates it keeps it, or let the policy enforce and drain again\n"
    const list = [first, second].map(
      (path) => `cordwood: ${path} was not asked about: policy default only observes${hint}`,
    )
    expect(await cordwood("once", "--config", host.config, "--drain")).toEqual({
      code: 1,
      stdout: "1 log: 1 observed only; 2 closed segments are under a policy that only observes; none was asked about\n",
      stderr: list.join(""),
    })
    const canary =
      "maxSize: 1k, mode: observe, overrides: [{ name: canary, match: { path: '*/c.log' }, mode: enforce }]"
    writeFileSync(host.config, enforced.replace("maxSize: 1k", canary))
    segment("c.log", "20260101-000000", "three")
    rmSync(second)
    expect(await cordwood("once", "--config", host.config, "--drain")).toEqual({
      code: 1,
      stdout:
        "2 logs: nothing to do; 1 of 1 closed segments drained; 1 closed segment is under a policy that only observes; it was not asked about\n",
      stderr: list[0],
    })
  })
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

describe("what a plugin keeps", () => {
  const MAX_FILES = "maxSize: 1k, maxFiles: 2, compression: none"
  const setPolicy = (policy: string): void =>
    writeFileSync(host.config, readFileSync(host.config, "utf8").replace("maxSize: 1k", policy))
  const old = (): ReadonlyArray<string> =>
    [1, 2, 3, 4].map((day) => segment("b.log", `2026010${day}-000000`, "x".repeat(100)))

  it("is told of with its reason, once, and is no failure; status has a line for it", { timeout: 60_000 }, async () => {
    plugin(GUARD)
    setPolicy(MAX_FILES)
    rmSync(join(host.logs, "a.log"))
    writeFileSync(join(host.directory, "away"), "")
    const paths = old()
    expect(await cordwood("once", "--config", host.config)).toEqual({
      code: 0,
      stdout: "1 log: 3 deferred\n",
      stderr:
        "cordwood: 3 removals deferred by sent: the other side is away\n    tried again in 1s by run, or by the next once\n",
    })
    expect(json((await cordwood("once", "--config", host.config, "--json")).stdout)).toEqual([
      {
        logs: 1,
        steps: { rotated: 0, compressed: 0, removed: 0, cleaned: 0 },
        deferred: 3,
        deferrals: [{ step: "remove", by: "sent", why: "the other side is away", count: 3, retryAfterMs: 1_000 }],
        observed: 0,
        problems: [],
      },
    ])
    const status = await cordwood("status", "--config", host.config)
    expect(status.stdout.split("\n").slice(1)).toEqual([
      expect.stringMatching(
        /b\.log {2}5 of 2 .* never {10}3 removals deferred for \S+ \(the oldest\) by sent: the other side is away$/,
      ),
      "",
    ])
    const [asJson] = json((await cordwood("status", "--config", host.config, "--json")).stdout)
    const deferred = asJson?.["deferred"] as ReadonlyArray<{ readonly path: string }>
    expect(deferred.map(({ path }) => path)).toEqual(paths.slice(0, 3))
  })
  it("by giving no answer is told of with those that are not asked about then", { timeout: 60_000 }, async () => {
    plugin("return { beforeRemove: () => Effect.never, guard: { limitMs: 50 } }")
    setPolicy(MAX_FILES)
    rmSync(join(host.logs, "a.log"))
    old()
    const { code, stderr, stdout } = await cordwood("once", "--config", host.config)
    expect({ code, stdout }).toEqual({ code: 0, stdout: "1 log: 3 deferred\n" })
    expect(stderr.split("\n").slice(1)).toEqual([
      "    tried again in 1m by run, or by the next once",
      "cordwood: 2 more deferred, unasked",
      "    a plugin that gives no answer is asked about no other segment of the log meanwhile",
      "",
    ])
    expect(stderr).toMatch(/^cordwood: 1 removal deferred by sent: /)
  })
  it("and must go is warned of once, with the reason; what is in force stands at the start", async () => {
    plugin(GUARD)
    setPolicy(
      `${MAX_FILES}, deferred: { onPressure: drop, maxSize: 250 }, overrides: [{ name: canary, percent: 0, maxFiles: 3 }]`,
    )
    rmSync(join(host.logs, "a.log"))
    writeFileSync(join(host.directory, "away"), "")
    const [oldest = ""] = old()
    const run = start(program.path, ["run", "--config", host.config])
    await until(() => run.stderr().includes("(pressure)") && run.stderr().includes("was dropped"), run.stderr)
    run.child.kill("SIGTERM")
    const { code, stderr } = await run.ended
    const about = stderr
      .split("\n")
      .map((line) => line.slice(line.indexOf(" ") + 1))
      .filter((line) => /started|dropped|pressure/.test(line))
      // The event and the warning come by different ways.
      .toSorted()
    expect({ code, about }).toEqual({
      code: 0,
      about: [
        `info  Removed ${join(host.logs, "b.log")}: b.log.20260101-000000, 100 B (pressure)`,
        expect.stringMatching(/^info {2}started config=\S+ sources=".*" plugins=sent overrides=1 maxSize=/),
        `warn  ${oldest} was dropped although a guard kept it: 100 B of log are gone; 300 B wait, and policy.deferred.maxSize is 250 B`,
      ],
    })
  })
  it("and whatever else there is stays where the policy only observes, which run says at its start", async () => {
    plugin("return {}")
    setPolicy("maxSize: 1k, mode: observe")
    const run = start(program.path, ["run", "--config", host.config])
    await until(() => run.stderr().includes(" started "), run.stderr)
    run.child.kill("SIGTERM")
    expect((await run.ended).stderr).toMatch(/ started config=\S+ sources=".*" plugins=sent mode=observe maxSize=/)
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
