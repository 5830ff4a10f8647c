import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { chmodSync, existsSync, readFileSync, renameSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect, Fiber } from "effect"
import { expect, onTestFinished, test } from "vitest"
import { files } from "../../src/source/files/files.ts"
import { pidIn } from "../../src/source/files/writer.ts"
import { eventually, opened, scratch } from "./opened.ts"

interface Place {
  readonly root: string
  readonly log: { readonly path: string }
  readonly pidFile: string
}
/** A folder with a log that was set aside, as a rotation does before it has the writer reopen. */
const place = (): Place => {
  const root = scratch()
  return { root, log: { path: join(root, "app.log") }, pidFile: join(root, "app.pid") }
}

const running = async (child: ChildProcess): Promise<number> => {
  onTestFinished(() => void child.kill("SIGKILL"))
  await once(child, "spawn")
  return child.pid!
}
/** A process that writes "ready", and on the signal makes the file as given. Its pid is in the pid file. */
const writer = async (
  { log, pidFile }: Place,
  signal: string,
  onSignal = `fs.writeFileSync(${JSON.stringify(log.path)}, "")`,
) => {
  const program = `const fs = require("fs"); process.on("${signal}", () => { ${onSignal} }); setInterval(() => {}, 1e6); console.log("ready")`
  const child = spawn(process.execPath, ["-e", program], { stdio: ["ignore", "pipe", "inherit"] })
  const pid = await running(child)
  await once(child.stdout, "data")
  writeFileSync(pidFile, `${pid}\n`)
  return pid
}
const bySignal = ({ pidFile, root }: Place, timeout = "10s") =>
  opened(files({ include: [join(root, "*.log")], reopen: { signal: "USR2", pidFile, timeout } }))
const byCommand = ({ root }: Place, command: [string, ...ReadonlyArray<string>], timeout = "10s") =>
  opened(files({ include: [join(root, "*.log")], reopen: { command: [...command], timeout } }))
const reopenError = ({ log, root }: Place, reason: string, detail: string, hint: string) => ({
  error: { source: `files ${root}/*.log`, op: "reopen", target: log.path, reason, detail, hint },
})
const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return !/^\d+ \(.*\) Z/s.test(readFileSync(`/proc/${pid}/stat`, "utf8"))
  } catch {
    return false
  }
}

test("a writer that reopens by itself isn't told", async () => {
  const here = place()
  const source = await opened(files({ include: [join(here.root, "*.log")], reopen: "none" }))
  expect(await source.reopen(here.log)).toBe("not-told")
})

test("a signal has the writer reopen, and it counts as told when the file is there again", async () => {
  const here = place()
  await writer(here, "SIGUSR2")
  const source = await bySignal(here)
  expect(await source.reopen(here.log)).toBe("told")
  expect(existsSync(here.log.path)).toBe(true)
})

test("two logs of one writer that are rotated at the same time are both told", async () => {
  const here = place()
  const other = join(here.root, "other.log")
  const onSignal = `for (const path of ${JSON.stringify([here.log.path, other])}) if (!fs.existsSync(path)) fs.writeFileSync(path, "")`
  await writer(here, "SIGUSR2", onSignal)
  const source = await bySignal(here)
  expect(await Promise.all([source.reopen(here.log), source.reopen({ path: other })])).toEqual(["told", "told"])
})

test("a signal that doesn't bring the file back is an error when its time is up", async () => {
  const here = place()
  await writer(here, "SIGUSR2", "")
  const source = await bySignal(here, "300ms")
  expect(await source.reopen(here.log)).toEqual(
    reopenError(
      here,
      "DeadlineExceeded",
      "the writer was told to reopen, but the file was not there again within 300 ms",
      "check that this is how the writer is told to reopen its files; if it is just slow, raise reopen.timeout",
    ),
  )
})

test("a link in the file's place doesn't count as reopened", async () => {
  const here = place()
  await writer(here, "SIGUSR2", `fs.symlinkSync("/etc/passwd", ${JSON.stringify(here.log.path)})`)
  const source = await bySignal(here)
  expect(await source.reopen(here.log)).toEqual(
    reopenError(here, "Invalid", "what is there now is not a regular file", "let the writer write to a plain file"),
  )
})

// Read as text and not through a pid file: should this go wrong, no process is to be signalled that the test didn't start.
test.each<[string, string]>([
  ["nothing", ""],
  ["words", "nginx"],
  ["a number and more", "17 18"],
  ["a sign", "-17"],
  ["process group 0", "0"],
  ["init", "1"],
  ["a number no process can have", "4294967298"],
  ["a number in hex", "0x11"],
  ["a fraction", "17.5"],
  ["a number with what may be more of it cut off", `${" ".repeat(63)}17`],
  ["a number and more blanks than are read", `17${" ".repeat(63)}`],
])("a pid file's text that holds %s names no process", (_, text) => {
  expect(pidIn(text)).toBe(null)
})

test("a pid file's text may have blanks around its number", () => {
  expect(["17", "17\n", " 17\r\n", `${" ".repeat(62)}17`, "2", "2147483647"].map(pidIn)).toEqual([
    17, 17, 17, 17, 2, 2_147_483_647,
  ])
})

test("a pid file that holds no process number sends no signal", async () => {
  const here = place()
  const pid = await writer(here, "SIGUSR2")
  // The number is that of a process of ours, should it be taken nevertheless.
  const source = await bySignal(here, "1s")
  const hint = "it must hold one number above 1 and nothing else; check that pidFile names the right file"
  const refused = reopenError(here, "Invalid", `${here.pidFile} doesn't hold the number of a process`, hint)
  for (const text of [`${pid} ${pid}`, `${pid}${" ".repeat(100)}`, `${pid}x`]) {
    writeFileSync(here.pidFile, text)
    expect(await source.reopen(here.log)).toEqual(refused)
  }
  expect(existsSync(here.log.path)).toBe(false)
})

test("a missing pid file is an error that names it", async () => {
  const here = place()
  const source = await bySignal(here)
  expect(await source.reopen(here.log)).toEqual(
    reopenError(
      here,
      "NotFound",
      `there is no pid file ${here.pidFile}`,
      "check that the writer runs, and where it puts its pid file",
    ),
  )
})

test("a stale pid file is an error that says so", async () => {
  const here = place()
  // Linux gives out no number above 2^22, so this is never anybody's.
  const pid = 2_147_483_647
  writeFileSync(here.pidFile, String(pid))
  const source = await bySignal(here)
  expect(await source.reopen(here.log)).toEqual(
    reopenError(
      here,
      "NotFound",
      `${here.pidFile} names process ${pid}, which is no more`,
      "the writer has ended without removing its pid file: start it, or remove the file",
    ),
  )
})

test("a pid file that names the agent itself sends no signal", async () => {
  const here = place()
  writeFileSync(here.pidFile, String(process.pid))
  const source = await bySignal(here)
  expect(await source.reopen(here.log)).toEqual(
    reopenError(
      here,
      "NotFound",
      `${here.pidFile} names this agent itself (${process.pid}), so it is stale`,
      "start the writer, so that it writes its own pid there",
    ),
  )
})

test("a pid file that is a link, a pipe or open to anybody sends no signal", async () => {
  const here = place()
  const pid = await writer(here, "SIGUSR2")
  const source = await bySignal(here)
  chmodSync(here.pidFile, 0o666)
  const open = reopenError(
    here,
    "Invalid",
    `anybody may write to ${here.pidFile}`,
    `take that right away: chmod o-w ${here.pidFile}`,
  )
  expect(await source.reopen(here.log)).toEqual(open)
  renameSync(here.pidFile, join(here.root, "real.pid"))
  chmodSync(join(here.root, "real.pid"), 0o644)
  symlinkSync(join(here.root, "real.pid"), here.pidFile)
  const linked = reopenError(
    here,
    "Invalid",
    `${here.pidFile} is a symbolic link`,
    "let pidFile name what it points to",
  )
  expect(await source.reopen(here.log)).toEqual(linked)
  renameSync(here.pidFile, join(here.root, "link.pid"))
  await once(spawn("mkfifo", [here.pidFile], { stdio: "ignore" }), "exit")
  const hint = "let pidFile name the file that the writer puts its pid in"
  expect(await source.reopen(here.log)).toEqual(
    reopenError(here, "Invalid", `${here.pidFile} is not a regular file`, hint),
  )
  expect({ reopened: existsSync(here.log.path), alive: alive(pid) }).toEqual({ reopened: false, alive: true })
})

test("a command has the writer reopen, with its arguments as they are and no shell in between", async () => {
  const here = place()
  const path = join(here.root, "a $(touch pwned) 'b'; \"c\" *.log")
  const source = await byCommand(here, ["touch", path])
  expect(await source.reopen({ path })).toBe("told")
  expect(existsSync(join(here.root, "pwned"))).toBe(false)
})

test("a command that fails is an error that holds the end of what it said", async () => {
  const here = place()
  const script = "head -c 100000 /dev/zero | tr '\\0' x; echo; echo 'no such\tpid' >&2; exit 3"
  const source = await byCommand(here, ["sh", "-c", script])
  const result = await source.reopen(here.log)
  const detail = typeof result === "object" ? result.error.detail : ""
  expect({
    length: detail.length <= 2_048 + 40,
    begins: detail.startsWith("sh ended with exit code 3: xxx"),
    ends: detail.endsWith("x no such pid"),
  }).toEqual({
    length: true,
    begins: true,
    ends: true,
  })
  expect(result).toEqual(
    reopenError(here, "Refused", detail, "run the command by hand, as the user that the agent runs as"),
  )
})

test("a command that a signal ends is an error that names it", async () => {
  const here = place()
  const source = await byCommand(here, ["sh", "-c", "kill -TERM $$"])
  expect(await source.reopen(here.log)).toEqual(
    reopenError(
      here,
      "Refused",
      "sh was ended by SIGTERM",
      "run the command by hand, as the user that the agent runs as",
    ),
  )
})

test.each<[string, string, string, string]>([
  ["isn't there", "/nowhere/at-all", "ENOENT", "NotFound"],
  ["may not be run", "/etc/passwd", "EACCES", "Refused"],
])("a command that %s is an error that says so", async (_, program, code, reason) => {
  const here = place()
  const source = await byCommand(here, [program])
  const hint =
    code === "ENOENT"
      ? "give the program's absolute path, and check that it is installed"
      : "check that the agent may run it"
  expect(await source.reopen(here.log)).toEqual(reopenError(here, reason, `${program} can't be started: ${code}`, hint))
})

test("a command that succeeds without bringing the file back is an error when its time is up", async () => {
  const here = place()
  const source = await byCommand(here, ["true"], "300ms")
  expect(await source.reopen(here.log)).toEqual(
    reopenError(
      here,
      "DeadlineExceeded",
      "the writer was told to reopen, but the file was not there again within 300 ms",
      "check that this is how the writer is told to reopen its files; if it is just slow, raise reopen.timeout",
    ),
  )
})

/** Notes the pids of the shell and of its child, then hangs; neither minds SIGTERM. */
const HANGS = `trap '' TERM; sleep 1000 & echo "$$ $!" >"$0.new"; mv "$0.new" "$0"; wait`
const pidsIn = (file: string): Promise<ReadonlyArray<number>> =>
  eventually("the command to start", () =>
    existsSync(file) ? readFileSync(file, "utf8").trim().split(" ").map(Number) : undefined,
  )
const allGone = (pids: ReadonlyArray<number>): Promise<boolean> =>
  eventually("the command and its child to be gone", () => (pids.some(alive) ? undefined : true))

test("a command that hangs is killed with all it has started when its time is up", async () => {
  const here = place()
  const pids = join(here.root, "pids")
  const source = await byCommand(here, ["sh", "-c", HANGS, pids], "1s")
  expect(await source.reopen(here.log)).toEqual(
    reopenError(
      here,
      "DeadlineExceeded",
      "the command did not end within 1000 ms",
      "check that this is how the writer is told to reopen its files; if it is just slow, raise reopen.timeout",
    ),
  )
  expect(await allGone(await pidsIn(pids))).toBe(true)
})

test("a command is killed with all it has started when its reopen is interrupted", async () => {
  const here = place()
  const pids = join(here.root, "pids")
  const source = await byCommand(here, ["sh", "-c", HANGS, pids])
  const fiber = Effect.runFork(source.source.reopen(here.log))
  const started = await pidsIn(pids)
  expect(started.map(alive)).toEqual([true, true])
  await Effect.runPromise(Fiber.interrupt(fiber))
  expect(await allGone(started)).toBe(true)
})

test("what a command leaves running with its output open holds up neither a success nor a failure", async () => {
  const here = place()
  const leaves = (exit: number): [string, ...ReadonlyArray<string>] => [
    "sh",
    "-c",
    `sleep 1000 & echo "$!" >"$0.new"; mv "$0.new" "$0"; touch "$1"; echo why >&2; exit ${exit}`,
    join(here.root, `pids-${exit}`),
    here.log.path,
  ]
  const results = [
    await (await byCommand(here, leaves(0))).reopen(here.log),
    await (await byCommand(here, leaves(1))).reopen(here.log),
  ]
  const left = [...(await pidsIn(join(here.root, "pids-0"))), ...(await pidsIn(join(here.root, "pids-1")))].filter(
    alive,
  )
  for (const pid of left) process.kill(pid, "SIGKILL")
  expect({ results, left: left.length }).toEqual({
    results: [
      "told",
      reopenError(
        here,
        "Refused",
        "sh ended with exit code 1: why",
        "run the command by hand, as the user that the agent runs as",
      ),
    ],
    left: 2,
  })
})
