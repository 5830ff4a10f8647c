// The program from outside: exit codes, what is printed where, signals, closed pipes.
import { spawn, spawnSync } from "node:child_process"
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs"
import { join } from "node:path"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { bundleProgram, type Ended, makeHost, type Running, start as startProgram, until } from "./program.ts"

let program: Awaited<ReturnType<typeof bundleProgram>>
beforeAll(async () => {
  program = await bundleProgram()
})
afterAll(() => program.remove())
const start = (args: ReadonlyArray<string>, env: Readonly<Record<string, string>> = {}): Running =>
  startProgram(program.path, args, env)
const cordwood = (...args: ReadonlyArray<string>): Promise<Ended> => start(args).ended

let host: ReturnType<typeof makeHost>
beforeEach(() => {
  host = makeHost()
})
afterEach(() => rmSync(host.directory, { recursive: true, force: true }))

const VERSION = (
  JSON.parse(readFileSync(join(import.meta.dirname, "../../package.json"), "utf8")) as { version: string }
).version
const json = (text: string): ReadonlyArray<unknown> =>
  text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as unknown)

describe("usage", () => {
  it("--version prints the package's version", async () => {
    expect(await cordwood("--version")).toEqual({ code: 0, stdout: `cordwood v${VERSION}\n`, stderr: "" })
  })
  it("--help, and no command at all, print the commands on standard output", async () => {
    const [asked, bare] = await Promise.all([cordwood("--help"), cordwood()])
    expect(asked).toEqual({ code: 0, stdout: bare.stdout, stderr: "" })
    expect(bare.code).toBe(0)
    expect([...asked.stdout.matchAll(/^ {2}([a-z]+) {3,}/gm)].map(([, name]) => name)).toEqual([
      "run",
      "once",
      "plan",
      "events",
      "status",
      "verify",
      "config",
      "demo",
    ])
  })
  it.each<readonly [ReadonlyArray<string>, string]>([
    [
      ["rnu"],
      'cordwood: unknown subcommand "rnu" for "cordwood"\n\n  Did you mean this?\n    run\nSee cordwood --help\n',
    ],
    [["run"], "cordwood run: missing required flag: --config\nSee cordwood run --help\n"],
    [
      ["plan", "--config", "f", "--foo"],
      "cordwood plan: unrecognized flag: --foo in command cordwood plan\nSee cordwood plan --help\n",
    ],
    [
      ["plan", "--config", "f", "extra"],
      'cordwood plan: unexpected positional argument: "extra"\nSee cordwood plan --help\n',
    ],
    [
      ["events", "--config", "f", "--since", "yesterday"],
      'cordwood events: invalid value for flag --since: "yesterday". Expected: a time such as 2026-09-09T04:33:10Z, or for how long: 10m, 1h30m, 2d\nSee cordwood events --help\n',
    ],
    [
      ["demo", "--for", "60"],
      'cordwood demo: invalid value for flag --for: "60". Expected: "60" has no unit; write 60s for seconds\nSee cordwood demo --help\n',
    ],
    [["config", "check"], "cordwood config check: missing required argument: FILE\nSee cordwood config check --help\n"],
  ])("%j is wrong usage: 64, and a line that says why", async (args, stderr) => {
    expect(await cordwood(...args)).toEqual({ code: 64, stdout: "", stderr })
  })
  it("a hostile argument can't print a line of its own", async () => {
    expect(await cordwood("plan", "--config", "f", "--x\ncordwood: all fine")).toEqual({
      code: 64,
      stdout: "",
      stderr:
        "cordwood plan: unrecognized flag: --x\\x0acordwood: all fine in command cordwood plan\nSee cordwood plan --help\n",
    })
  })
  it("colours help only where it is wanted", async () => {
    // oxlint-disable-next-line no-control-regex
    const coloured = (text: string): boolean => /\u001B\[/.test(text)
    const [pipe, forced, refused] = await Promise.all([
      start(["--help"]).ended,
      start(["--help"], { FORCE_COLOR: "1" }).ended,
      start(["--help"], { FORCE_COLOR: "1", NO_COLOR: "1" }).ended,
    ])
    expect([pipe, forced, refused].map(({ stdout }) => coloured(stdout))).toEqual([false, true, false])
  })
})

describe("a bad configuration", () => {
  it.each(["run", "once", "plan", "events", "status", "verify"])(
    "ends %s with 78, and nothing has been touched",
    async (command) => {
      writeFileSync(host.config, `${readFileSync(host.config, "utf8")}workers: none\n`)
      expect(await cordwood(command, "--config", host.config)).toEqual({
        code: 78,
        stdout: "",
        stderr: `${host.config}:5:10: workers: found "none"; write a number\ncordwood: nothing has been touched\n`,
      })
      expect(readdirSync(host.directory).toSorted()).toEqual(["cordwood.yaml", "logs"])
      expect(readdirSync(host.logs).toSorted()).toEqual(["a.log", "b.log"])
    },
  )
  it("is what config check finds, as text and as JSON", async () => {
    expect(await cordwood("config", "check", host.config)).toEqual({
      code: 0,
      stdout: `${host.config}: ok\n`,
      stderr: "",
    })
    writeFileSync(host.config, "sources: [{ cri: {} }]\nworkers: 0\n")
    expect(await cordwood("config", "check", host.config)).toEqual({
      code: 78,
      stdout: "",
      stderr: `${host.config}:2:10: workers: found 0; it must be at least 1\ncordwood: nothing has been touched\n`,
    })
    const asJson = await cordwood("config", "check", host.config, "--json")
    expect({ ...asJson, stdout: json(asJson.stdout) }).toEqual({
      code: 78,
      stdout: [
        {
          file: host.config,
          ok: false,
          path: "workers",
          line: 2,
          column: 10,
          message: "found 0; it must be at least 1",
        },
      ],
      stderr: "",
    })
  })
  it("can't print a line of its own by its name", async () => {
    const file = join(host.directory, "x\ncordwood: all fine")
    writeFileSync(file, "sources: [{ cri: {} }]\nworkers: 0\n")
    expect(await cordwood("config", "check", file)).toEqual({
      code: 78,
      stdout: "",
      stderr: `${host.directory}/x\\x0acordwood: all fine:2:10: workers: found 0; it must be at least 1\ncordwood: nothing has been touched\n`,
    })
  })
  it("has a schema to be checked by", async () => {
    const { code, stderr, stdout } = await cordwood("config", "schema")
    const schema = JSON.parse(stdout) as { $schema: string; properties: object; required: ReadonlyArray<string> }
    expect({
      code,
      stderr,
      dialect: schema.$schema,
      keys: Object.keys(schema.properties),
      required: schema.required,
    }).toEqual({
      code: 0,
      stderr: "",
      dialect: "https://json-schema.org/draft/2020-12/schema",
      keys: ["sources", "policy", "interval", "workers", "journal", "plugins"],
      required: ["sources"],
    })
  })
})

describe("plan", () => {
  it("prints the steps and changes nothing; with --detailed-exitcode, 2 if there are any", async () => {
    const { code, stderr, stdout } = await cordwood("plan", "--config", host.config, "--json", "--detailed-exitcode")
    const a = join(host.logs, "a.log")
    const b = join(host.logs, "b.log")
    expect({ code, stderr, logs: json(stdout.replaceAll(/\.\d{8}-\d{6}/g, ".STAMP")) }).toEqual({
      code: 2,
      stderr: "",
      logs: [
        {
          log: { path: a },
          writer: "running",
          policy: "default",
          mode: "enforce",
          activeBytes: 2_000,
          files: 1,
          totalBytes: 2_000,
          steps: [{ step: "rotate", path: a, to: `${a}.STAMP`, bytes: 2_000 }],
        },
        {
          log: { path: b },
          writer: "running",
          policy: "default",
          mode: "enforce",
          activeBytes: 5,
          files: 1,
          totalBytes: 5,
          steps: [],
        },
      ],
    })
    const plain = await cordwood("plan", "--config", host.config)
    expect({
      ...plain,
      stdout: plain.stdout
        .replaceAll(/\.\d{8}-\d{6}/g, ".STAMP")
        .replaceAll(host.logs, "LOGS")
        .replaceAll(/ +/g, " "),
    }).toEqual({
      code: 0,
      stdout:
        "LOG FILES SIZE STEP FILE BYTES DETAIL\nLOGS/a.log 1 2.0 KiB rotate a.log 2.0 KiB to a.log.STAMP\nLOGS/b.log 1 5 B nothing to do\n",
      stderr: "",
    })
    expect(readdirSync(host.logs).toSorted()).toEqual(["a.log", "b.log"])
    expect(existsSync(join(host.directory, "journal"))).toBe(false)
  })
  it("has no step for a file that is missing because its writer, whom nobody tells, has not come back", async () => {
    await cordwood("once", "--config", host.config)
    const a = join(host.logs, "a.log")
    expect(existsSync(a)).toBe(false)
    const { code, stdout } = await cordwood("plan", "--config", host.config, "--json", "--detailed-exitcode")
    expect({ code, first: json(stdout)[0] }).toEqual({
      code: 0,
      first: {
        log: { path: a },
        writer: "running",
        policy: "default",
        mode: "enforce",
        activeBytes: null,
        files: 1,
        totalBytes: 2_000,
        steps: [],
      },
    })
  })
  it("ends with 0 when there is nothing to do", async () => {
    rmSync(join(host.logs, "a.log"))
    expect((await cordwood("plan", "--config", host.config, "--detailed-exitcode")).code).toBe(0)
  })
})

describe("a problem", () => {
  /** A source of the host's logs beside a runtime that nobody answers for. */
  const withRuntime = (): string => {
    const socket = join(host.directory, "nobody.sock")
    writeFileSync(
      host.config,
      readFileSync(host.config, "utf8").replace("[{", `[{ cri: { endpoint: "${socket}", timeout: 1s } }, {`),
    )
    return socket
  }
  it("of plan is an object on standard output too, and wins over the steps there are", async () => {
    const socket = withRuntime()
    const { code, stderr, stdout } = await cordwood("plan", "--config", host.config, "--json", "--detailed-exitcode")
    const lines = json(stdout) as ReadonlyArray<{ readonly log?: object; readonly problem?: object }>
    expect({ code, lines: lines.map((line) => Object.keys(line)), problem: lines.at(-1)?.problem }).toEqual({
      code: 1,
      lines: [
        ["log", "writer", "policy", "mode", "activeBytes", "files", "totalBytes", "steps"],
        ["log", "writer", "policy", "mode", "activeBytes", "files", "totalBytes", "steps"],
        ["problem"],
      ],
      problem: {
        path: socket,
        step: "source",
        reason: "Unavailable",
        message: `cri unix://${socket} list: connect ENOENT`,
        hint: expect.stringContaining("check that the container runtime runs") as string,
      },
    })
    expect(stderr).toContain(`cordwood: source: cri unix://${socket} list: connect ENOENT\n`)
    expect(stderr.split(socket), "the socket is named once").toHaveLength(2)
  })
  it("that is over is not in status any more: neither of a source nor of the journal", async () => {
    const sound = readFileSync(host.config, "utf8")
    const socket = withRuntime()
    mkdirSync(join(host.directory, "journal"))
    writeFileSync(
      join(host.directory, "journal/journal.db"),
      "this is no database, and it is long enough to tell".repeat(100),
    )
    expect((await cordwood("once", "--config", host.config)).code).toBe(1)
    const stored = json((await cordwood("events", "--config", host.config, "--json")).stdout)
    const failures = (stored as ReadonlyArray<{ type: string; data: { step: string } }>)
      .filter(({ type }) => type === "Failed")
      .map(({ data }) => data.step)
    expect(failures.toSorted()).toEqual(["journal", "source"])

    const failingIn = (text: string): ReadonlyArray<unknown> =>
      (
        json(text) as ReadonlyArray<{ log: { path: string }; failing: ReadonlyArray<{ step: string; since: unknown }> }>
      ).map(({ failing, log }) => [log.path, ...failing.map(({ since, step }) => ({ step, since }))])
    const logs = [[join(host.logs, "a.log")], [join(host.logs, "b.log")]]
    const now = await cordwood("status", "--config", host.config, "--json")
    expect({ code: now.code, failing: failingIn(now.stdout) }).toEqual({
      code: 1,
      failing: [...logs, [socket, { step: "source", since: null }]],
    })
    const table = await cordwood("status", "--config", host.config)
    expect({ code: table.code, stderr: table.stderr }).toEqual({ code: 1, stderr: "" })
    expect(table.stdout).toMatch(/nobody\.sock +source fails: cri /)

    writeFileSync(host.config, sound)
    const after = await cordwood("status", "--config", host.config, "--json")
    expect({ ...after, stdout: failingIn(after.stdout) }).toEqual({ code: 0, stdout: logs, stderr: "" })
  })
  it("that is a name left alone beside the logs is told of, and no failure; one that is spelt out is", async () => {
    const link = join(host.logs, "link.log")
    symlinkSync(join(host.logs, "a.log"), link)
    const said = `cordwood: source: files ${host.logs}/*.log list ${link}: it is a symbolic link, and links are not followed\n    include the path that it points to\n`
    const plan = await cordwood("plan", "--config", host.config, "--json", "--detailed-exitcode")
    expect({ code: plan.code, stderr: plan.stderr, last: json(plan.stdout).at(-1) }).toMatchObject({
      code: 2,
      stderr: said,
      last: { problem: { path: link, step: "source", reason: "LeftAlone" } },
    })
    const status = await cordwood("status", "--config", host.config)
    expect(status.code).toBe(0)
    expect(status.stdout).toMatch(/link\.log +left alone: files /)
    expect(await cordwood("once", "--config", host.config)).toEqual({
      code: 0,
      stdout: "2 logs: 1 rotated, 1 left alone\n",
      stderr: said,
    })
    writeFileSync(host.config, readFileSync(host.config, "utf8").replace("*.log", "link.log"))
    const spelt = await cordwood("once", "--config", host.config)
    expect({ code: spelt.code, stdout: spelt.stdout }).toEqual({ code: 1, stdout: "0 logs: 1 failed\n" })
  })
  it("can't print a line of its own by a file's name", async () => {
    const name = join(host.logs, "x\ncordwood: all fine.log")
    writeFileSync(name, "")
    const run = start(["run", "--config", host.config])
    await until(() => run.stderr().includes("all fine"), run.stderr)
    run.child.kill("SIGTERM")
    expect((await run.ended).stderr.split("\n").filter((line) => line.startsWith("cordwood: all fine"))).toEqual([])
    for (const command of ["plan", "once"]) {
      const { stderr } = await cordwood(command, "--config", host.config)
      expect(stderr).toBe(
        `cordwood: source: files ${host.logs}/*.log list ${host.logs}/x\\x0acordwood: all fine.log: its name has control characters or is not valid UTF-8, so it is left alone\n    rename the file, or narrow the pattern so that it doesn't match\n`,
      )
    }
  })
})

describe("once, then what the journal says", () => {
  it("does what is due, and events and status tell of it", async () => {
    const before = await cordwood("events", "--config", host.config)
    expect(before).toEqual({
      code: 0,
      stdout: "",
      stderr: `cordwood: there is no journal at ${host.directory}/journal/journal.db yet; cordwood run begins it\n`,
    })
    expect(await cordwood("once", "--config", host.config)).toEqual({
      code: 0,
      stdout: "2 logs: 1 rotated\n",
      stderr: "",
    })
    writeFileSync(join(host.logs, "a.log"), "new")

    const events = await cordwood("events", "--config", host.config, "--json", "--log", "a.log")
    const stored = json(events.stdout) as ReadonlyArray<Record<string, unknown>>
    expect(events).toMatchObject({ code: 0, stderr: "" })
    expect(stored.map(({ type }) => type)).toEqual(["Scanned", "Rotated"])
    expect(stored.map((event) => Object.keys(event))).toEqual(
      stored.map(() => ["id", "position", "time", "type", "version", "log", "data", "metadata"]),
    )
    expect(await cordwood("events", "--config", host.config, "--since", "2099-01-01")).toEqual({
      code: 0,
      stdout: "",
      stderr: "",
    })
    expect((await cordwood("events", "--config", host.config, "--log", `${host.logs}/b*`)).stdout).toMatch(
      /^\S+Z {2}Scanned {5}\S+b\.log {2}5 B active, 0 segments, 5 B in all\n$/,
    )

    const status = await cordwood("status", "--config", host.config, "--json")
    const rotated = stored[1] as { readonly time: string }
    const limits = { maxSize: 1_000, maxFiles: 5, compression: "gzip" }
    expect({ ...status, stdout: json(status.stdout) }).toEqual({
      code: 0,
      stderr: "",
      stdout: [
        {
          log: { path: join(host.logs, "a.log") },
          files: 2,
          activeBytes: 3,
          totalBytes: 2_003,
          writer: "running",
          policy: "default",
          mode: "enforce",
          limits,
          lastRotatedAt: rotated.time,
          deferred: [],
          failing: [],
        },
        {
          log: { path: join(host.logs, "b.log") },
          files: 1,
          activeBytes: 5,
          totalBytes: 5,
          writer: "running",
          policy: "default",
          mode: "enforce",
          limits,
          lastRotatedAt: null,
          deferred: [],
          failing: [],
        },
      ],
    })
  })
  it("ends with 1 and says what to do when a source fails", async () => {
    writeFileSync(
      host.config,
      `sources: [{ cri: { endpoint: "${host.directory}/nobody.sock", timeout: 1s } }]\njournal: { path: ${host.directory}/journal/journal.db }\n`,
    )
    const { code, stderr, stdout } = await cordwood("once", "--config", host.config)
    expect({ code, stdout }).toEqual({ code: 1, stdout: "0 logs: 1 failed\n" })
    expect(stderr).toContain(`${host.directory}/nobody.sock`)
    expect(stderr).toContain("check that the container runtime runs")
  })
})

describe("a journal that isn't there", () => {
  it("is yet to begin where it can, and otherwise status and events say what is wrong", async () => {
    const yet = await cordwood("status", "--config", host.config)
    expect({ code: yet.code, stderr: yet.stderr }).toEqual({
      code: 0,
      stderr: `cordwood: there is no journal at ${host.directory}/journal/journal.db yet; cordwood run begins it\n`,
    })
    const file = join(host.directory, "logs/a.log/journal.db")
    writeFileSync(host.config, readFileSync(host.config, "utf8").replace(/path: .*db/, `path: ${file}`))
    const wrong = `cordwood: look for ${file}: ${host.logs}/a.log is no directory\n    Correct journal.path.\n`
    const status = await cordwood("status", "--config", host.config)
    expect({ code: status.code, stderr: status.stderr }).toEqual({ code: 0, stderr: wrong })
    expect(status.stdout).toContain("a.log")
    expect(await cordwood("events", "--config", host.config)).toEqual({ code: 1, stdout: "", stderr: wrong })
    const follow = start(["events", "--config", host.config, "--follow"])
    await until(() => follow.stderr() !== "", follow.stderr)
    follow.child.kill("SIGINT")
    expect((await follow.ended).stderr).toBe(`${wrong.trimEnd().replace("\n    ", "; ")}\n`)
  })
})

describe("run", () => {
  it.each(["SIGTERM", "SIGINT"] as const)(
    "rotates until %s and ends with 0; --json prints the events and nothing else",
    async (signal) => {
      const run = start(["run", "--config", host.config, "--json"])
      await until(() => run.stdout().includes('"Rotated"'), run.stderr)
      run.child.kill(signal)
      const { code, stderr, stdout } = await run.ended
      expect(code).toBe(0)
      expect(json(stdout).map((event) => (event as { readonly type: string }).type)).toContain("Rotated")
      expect(stderr).toMatch(/^\S+Z info {2}started .*maxFiles=5.*\n[\s\S]*Z info {2}stopped\n$/)
      expect(readdirSync(host.logs).some((name) => /^a\.log\.\d{8}-\d{6}$/.test(name))).toBe(true)
    },
  )
  it("goes on rotating when nobody reads its output", async () => {
    const run = start(["run", "--config", host.config, "--json"])
    await until(() => run.stdout().includes('"Rotated"'), run.stderr)
    run.child.stdout?.destroy()
    writeFileSync(join(host.logs, "a.log"), "y".repeat(2_000))
    await until(() => readdirSync(host.logs).filter((name) => name.startsWith("a.log.")).length === 2, run.stderr)
    run.child.kill("SIGTERM")
    const { code, stderr } = await run.ended
    expect({
      code,
      said: stderr.includes("standard output is closed (EPIPE); events are no longer printed, rotation goes on"),
    }).toEqual({ code: 0, said: true })
  })
  it("goes on rotating when its reader has stopped reading, and still ends when it is told to", async () => {
    // Their first events alone are more than any pipe holds.
    for (let log = 0; log < 300; log += 1) writeFileSync(join(host.logs, `${"n".repeat(150)}-${log}.log`), "small")
    const child = spawn(process.execPath, [program.path, "run", "--config", host.config, "--json"], {
      stdio: ["ignore", "pipe", "ignore"],
    })
    const ended = new Promise((resolve) => {
      child.on("exit", resolve)
    })
    const log = join(host.logs, "a.log")
    await until(
      () => !existsSync(log),
      () => "the first rotation",
    )
    writeFileSync(log, "y".repeat(2_000))
    await until(
      () => !existsSync(log),
      () => "the second rotation",
    )
    child.kill("SIGTERM")
    expect(await ended).toBe(0)
  })
  it("refuses a journal that another agent keeps", async () => {
    const first = start(["run", "--config", host.config])
    await until(() => first.stderr().includes("started"), first.stderr)
    const second = await cordwood("run", "--config", host.config)
    first.child.kill("SIGTERM")
    expect({ code: second.code, stdout: second.stdout, first: (await first.ended).code }).toEqual({
      code: 1,
      stdout: "",
      first: 0,
    })
    expect(second.stderr).toContain(`${host.directory}/journal/journal.db`)
  })
})

describe("a reader that is slow", () => {
  it("gets every event all the same, though they are more than its pipe holds", async () => {
    for (let log = 0; log < 300; log += 1) writeFileSync(join(host.logs, `${"n".repeat(150)}-${log}.log`), "small")
    await cordwood("once", "--config", host.config)
    // Its own process, as this one's pipes are sockets, which take more: it begins to read once the program has ended or waits.
    const script = '"$0" "$1" events --config "$2" --json | { sleep 1; cat; }'
    const { stdout } = spawnSync("sh", ["-c", script, process.execPath, program.path, host.config], {
      encoding: "utf8",
      maxBuffer: 64 * 1024 * 1024,
    })
    expect(json(stdout).length).toBe(303)
  })
})

describe("events --follow", () => {
  it("prints new events as they come, over a journal that is begun anew, until SIGINT", async () => {
    const follow = start(["events", "--config", host.config, "--follow", "--json"])
    await until(() => follow.stderr().includes("waiting for it"), follow.stderr)
    await cordwood("once", "--config", host.config)
    await until(() => follow.stdout().includes('"Rotated"'), follow.stderr)
    rmSync(join(host.directory, "journal"), { recursive: true })
    writeFileSync(join(host.logs, "a.log"), "z".repeat(2_000))
    await cordwood("once", "--config", host.config)
    const rotations = (): number => follow.stdout().split('"Rotated"').length - 1
    await until(
      () => rotations() === 2,
      () => follow.stdout() + follow.stderr(),
    )
    follow.child.kill("SIGINT")
    expect((await follow.ended).code).toBe(0)
  })
})

describe("demo", () => {
  it(
    "--for ends by itself with 0 when every line is accounted for, and leaves nothing behind",
    { timeout: 60_000 },
    async () => {
      const { code, stderr, stdout } = await start(["demo", "--for", "2s"], { TMPDIR: host.directory }).ended
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
      expect(stdout).toMatch(/\nEvery line is accounted for: ([\d,]+) of \1\.\n$/)
      expect(readdirSync(host.directory).filter((name) => name.startsWith("cordwood-demo-"))).toEqual([])
    },
  )
  it("ends with Ctrl-C, counts all the same, and --keep leaves the logs", { timeout: 60_000 }, async () => {
    const demo = start(["demo", "--keep", "--json"], { TMPDIR: host.directory })
    await until(() => demo.stdout().includes('"Scanned"'), demo.stderr)
    demo.child.kill("SIGINT")
    const { code, stderr, stdout } = await demo.ended
    const outcome = json(stdout) as ReadonlyArray<{ readonly type: string; readonly complete?: boolean }>
    expect({ code, types: outcome.slice(-4).map(({ type }) => type), complete: outcome.at(-1)?.complete }).toEqual({
      code: 0,
      types: ["demo.Account", "demo.Account", "demo.Account", "demo.Outcome"],
      complete: true,
    })
    const [kept = ""] = readdirSync(host.directory).filter((name) => name.startsWith("cordwood-demo-"))
    expect(stderr).toBe(`The logs are in ${join(host.directory, kept)}\n`)
    expect(readdirSync(join(host.directory, kept)).toSorted()).toEqual(["journal", "run", "var"])
  })
  it("fails, and keeps the logs, when lines are lost", { timeout: 60_000 }, async () => {
    const demo = start(["demo", "--for", "4s"], { TMPDIR: host.directory })
    const pods = (): string => {
      const [kept = ""] = readdirSync(host.directory).filter((name) => name.startsWith("cordwood-demo-"))
      return join(host.directory, kept, "var/log/pods")
    }
    await until(
      () => existsSync(pods()) && readdirSync(pods()).some((name) => name.startsWith("demo_steady")),
      demo.stderr,
    )
    const log = join(pods(), readdirSync(pods()).find((name) => name.startsWith("demo_steady")) ?? "", "app/0.log")
    await until(() => existsSync(log) && readFileSync(log).length > 40_000, demo.stderr)
    // What copytruncate does to a log.
    truncateSync(log, 0)
    const { code, stdout } = await demo.ended
    expect({ code, said: stdout.includes("NOT every line is accounted for."), kept: existsSync(log) }).toEqual({
      code: 1,
      said: true,
      kept: true,
    })
  })
})

it("a reader that closes the pipe early ends the program quietly", async () => {
  const schema = start(["config", "schema"])
  schema.child.stdout?.destroy()
  const { code, stderr } = await schema.ended
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
})
