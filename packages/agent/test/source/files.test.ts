import { execFileSync } from "node:child_process"
import { linkSync, mkdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { expect, test } from "vitest"
import { files } from "../../src/source/files/files.ts"
import { find, type Found } from "../../src/source/files/find.ts"
import { matcherOf, readPattern } from "../../src/source/files/pattern.ts"
import { opened, scratch } from "./opened.ts"

/** Long ago, so that no plain segment looks like a rotation that was cut off. */
const LONG_AGO = new Date("2026-01-01T00:00:00Z")

const tree = (...paths: ReadonlyArray<string>): string => {
  const root = scratch()
  for (const path of paths) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), "")
    utimesSync(join(root, path), LONG_AGO, LONG_AGO)
  }
  return root
}
/** Paths and problems without the root in front. */
const listed = async (root: string, include: ReadonlyArray<string>, exclude: ReadonlyArray<string> = []) => {
  const inRoot = (pattern: string): string => `${root}${pattern}`
  const source = await opened(files({ include: include.map(inRoot), exclude: exclude.map(inRoot), reopen: "none" }))
  const result = await source.list()
  if ("error" in result) return result
  const short = (path: string): string => path.replace(root, "")
  return {
    logs: result.logs.map(({ path }) => short(path) + (result.dormant?.includes(path) === true ? " (dormant)" : "")),
    problems: result.problems.map(({ detail, hint, reason, target }) => ({
      target: short(target),
      reason,
      detail,
      hint,
    })),
  }
}
const only = (...logs: ReadonlyArray<string>) => ({ logs, problems: [] })

test.each<[string, ReadonlyArray<string>, ReadonlyArray<string>]>([
  ["a name", ["/nginx/access.log"], ["/nginx/access.log"]],
  ["a star within a name", ["/nginx/*.log"], ["/nginx/access.log", "/nginx/error.log"]],
  ["a question mark", ["/app-?/out.log"], ["/app-1/out.log", "/app-2/out.log"]],
  ["a class", ["/app-[2-9]/*"], ["/app-2/out.log"]],
  ["braces", ["/nginx/{access,error}.log"], ["/nginx/access.log", "/nginx/error.log"]],
  ["two stars in front of a name", ["/deep/**/x.log"], ["/deep/a/b/x.log", "/deep/a/x.log", "/deep/x.log"]],
  ["two stars at the end", ["/deep/**"], ["/deep/a/b/x.log", "/deep/a/x.log", "/deep/x.log"]],
  [
    "two stars in front of a pattern",
    ["/**/a*/**/*.log"],
    ["/app-1/out.log", "/app-2/out.log", "/deep/a/b/x.log", "/deep/a/x.log"],
  ],
  ["a star over a directory", ["/*/out.log"], ["/app-1/out.log", "/app-2/out.log"]],
  ["a backslash in front of what would be a pattern", ["/odd/\\[1\\].log"], ["/odd/[1].log"]],
  [
    "patterns that overlap",
    ["/nginx/*", "/nginx/access.log", "/**/access.log"],
    ["/nginx/access.log", "/nginx/error.log"],
  ],
  ["a dot, when the pattern has one", ["/hidden/.*"], ["/hidden/.x.log"]],
  ["no hidden file otherwise", ["/hidden/*", "/hidden/**"], []],
  ["nothing", ["/nginx/*.txt", "/app-1/none.log"], []],
])("patterns find %s", async (_, include, expected) => {
  const root = tree(
    "/nginx/access.log",
    "/nginx/error.log",
    "/app-1/out.log",
    "/app-2/out.log",
    "/deep/x.log",
    "/deep/a/x.log",
    "/deep/a/b/x.log",
    "/deep/.git/x.log",
    "/odd/[1].log",
    "/odd/1.log",
    "/hidden/.x.log",
  )
  expect(await listed(root, include)).toEqual(only(...expected))
})

test("excluded paths are left out, by name and by directory", async () => {
  const root = tree("/a/x.log", "/a/debug.log", "/b/x.log", "/b/.x.log")
  expect(await listed(root, ["/**/*.log", "/b/.x.log"], ["/**/debug*", "/b/**"])).toEqual(only("/a/x.log"))
})

test("no rotated, compressed or temporary file is taken for an active one, however wide the pattern", async () => {
  const root = tree(
    "/app.log",
    // The kubelet's and ours, of any codec.
    "/app.log.20260909-043310",
    "/app.log.20260909-043320.gz",
    "/app.log.20260909-043330.zst",
    "/app.log.20260909-043340.tmp",
    "/app.log.20260909-043350.own-codec",
    // Left by others: logrotate, with and without dateext; and by hand.
    "/app.log.1",
    "/app.log.2.gz",
    "/app.log-20260909",
    "/app.log-20260909-1234",
    "/app.log.2026-09-09",
    "/app.log.bz2",
    "/x.tmp",
    // Set aside from files that are no more: of the first there is a segment.
    "/gone.log.20260909-043310",
    "/away.log.20260909-043310.tmp",
    // Written, and only similar.
    "/app.log.json",
    "/app.log-debug",
    "/app-1",
    "/prog.INFO.20260909-043310.4711",
    "/app.log.123456",
  )
  expect(await listed(root, ["/*"])).toEqual(
    only(
      "/app-1",
      "/app.log",
      "/app.log-debug",
      "/app.log.123456",
      "/app.log.json",
      "/gone.log (dormant)",
      "/prog.INFO.20260909-043310.4711",
    ),
  )
})

test("a log whose active file a rotation has just taken away is listed, so that its writer is told to reopen", async () => {
  const root = tree(
    "/named.log.20260909-043310",
    "/matched.log.20260909-043310",
    "/old.log.20260909-043310",
    "/other.txt.20260909-043310",
  )
  const now = new Date()
  for (const name of ["/named.log", "/matched.log", "/other.txt"])
    utimesSync(`${root}${name}.20260909-043310`, now, now)
  expect(await listed(root, ["/named.log"])).toEqual(only("/named.log"))
  expect(await listed(root, ["/*.log"])).toEqual(only("/matched.log", "/named.log", "/old.log (dormant)"))
  expect(await listed(root, ["/*.log"], ["/{named,old}*"])).toEqual(only("/matched.log"))
})

test("of several segments only the newest tells that a rotation was cut off, and only while it is plain", async () => {
  const root = tree("/a.log.20260909-043310", "/a.log.20260909-043320", "/b.log.20260909-043310.gz")
  for (const name of ["/a.log.20260909-043310", "/b.log.20260909-043310.gz"])
    utimesSync(`${root}${name}`, new Date(), new Date())
  expect(await listed(root, ["/{a,b}.log"])).toEqual(only("/a.log (dormant)", "/b.log (dormant)"))
  // Compressed, with the plain one not removed yet: that rotation was over.
  writeFileSync(`${root}/a.log.20260909-043330`, "")
  expect(await listed(root, ["/a.log"])).toEqual(only("/a.log"))
  writeFileSync(`${root}/a.log.20260909-043330.zst`, "")
  expect(await listed(root, ["/a.log"])).toEqual(only("/a.log (dormant)"))
})

test("a log whose writer has been away for long stays listed while there are segments, but nobody waits for its file", async () => {
  const root = tree("/a.log.20260909-043310", "/a.log.20260909-043300.gz", "/b.log.20260909-043310.zst", "/c.log.1")
  expect(await listed(root, ["/a.log"])).toEqual(only("/a.log (dormant)"))
  expect(await listed(root, ["/*.log"])).toEqual(only("/a.log (dormant)", "/b.log (dormant)"))
  expect(await listed(root, ["/*"], ["/a*"])).toEqual(only("/b.log (dormant)", "/c.log.1"))
  writeFileSync(join(root, "a.log"), "it is back")
  expect(await listed(root, ["/**"])).toEqual(only("/a.log", "/b.log (dormant)", "/c.log.1"))
})

test("a symbolic link to a file is refused and reported, whatever it points to", async () => {
  const root = tree("/real.txt")
  symlinkSync(join(root, "real.txt"), join(root, "link.log"))
  symlinkSync("/nowhere", join(root, "broken.log"))
  const refused = (target: string, reason: string) => ({
    target,
    reason,
    detail: "it is a symbolic link, and links are not followed",
    hint: "include the path that it points to",
  })
  expect(await listed(root, ["/*.log", "/link.log"])).toEqual({
    logs: [],
    // One is matched by a pattern alone, the other is spelt out: that one is a log that is expected.
    problems: [refused("/broken.log", "LeftAlone"), refused("/link.log", "Invalid")],
  })
})

test("a symbolic link to a directory is followed where the operator names it, and nowhere else", async () => {
  const root = tree("/real/logs/a.log")
  symlinkSync(join(root, "real"), join(root, "link"))
  expect(await listed(root, ["/link/logs/*.log"])).toEqual(only("/link/logs/a.log"))
  expect(await listed(root, ["/l*/logs/a.log", "/l*/logs/*.log", "/link/**/a.log"])).toEqual(only("/link/logs/a.log"))
  rmSync(join(root, "real/logs"), { recursive: true })
  mkdirSync(join(root, "elsewhere"))
  writeFileSync(join(root, "elsewhere/a.log"), "")
  symlinkSync(join(root, "elsewhere"), join(root, "real/logs"))
  expect(await listed(root, ["/r*/logs/a.log", "/r*/logs/*.log", "/r*/**/a.log"])).toEqual(only())
})

test("what is no regular file is refused and reported", async () => {
  const root = tree("/a.log")
  execFileSync("mkfifo", [join(root, "pipe.log")])
  mkdirSync(join(root, "directory.log"))
  expect(await listed(root, ["/*.log"])).toEqual({
    logs: ["/a.log"],
    problems: [
      {
        target: "/pipe.log",
        reason: "LeftAlone",
        detail: "it is not a regular file",
        hint: "exclude it, or narrow the pattern",
      },
    ],
  })
})

test("a name with a newline or invalid UTF-8 is left alone and reported, the others go on", async () => {
  const root = tree("/a.log", "/b\nc.log")
  linkSync(
    join(root, "a.log"),
    Buffer.concat([Buffer.from(`${root}/d`), Buffer.from([0xff]), Buffer.from(".log")]) as unknown as string,
  )
  const refused = (target: string) => ({
    target,
    reason: "LeftAlone",
    detail: "its name has control characters or is not valid UTF-8, so it is left alone",
    hint: "rename the file, or narrow the pattern so that it doesn't match",
  })
  const result = await listed(root, ["/*.log"])
  expect({
    ...result,
    problems: "problems" in result && result.problems.toSorted((a, b) => (a.target < b.target ? -1 : 1)),
  }).toEqual({
    logs: ["/a.log"],
    problems: [refused("/b\nc.log"), refused("/d\uFFFD.log")],
  })
})

test("a directory that a pattern spells out and that isn't there is a problem, one that it leaves open is none", async () => {
  const root = tree("/a/x.log")
  expect(
    await listed(root, ["/nginx/*.log", "/nginx/sub/**/*.log", "/*/sub/*.log", "/a/*/*.log", "/a/x.log/*"]),
  ).toEqual({
    logs: [],
    problems: ["/nginx", "/nginx/sub", "/a/x.log"].map((target) => ({
      target,
      reason: "NotFound",
      detail: "there is no such directory",
      hint: "check the pattern under include; in a container, check that the directory is mounted into it",
    })),
  })
})

const searched = async (
  root: string,
  pattern: string,
  limits: { readonly matches: number; readonly names: number },
): Promise<Found> =>
  await find({
    patterns: [readPattern(`${root}${pattern}`)],
    isExcluded: matcherOf([]),
    nowMs: Date.now(),
    signal: new AbortController().signal,
    limits,
  })
const tooWide = (root: string, pattern: string, detail: string) => ({
  target: `${root}${pattern}`,
  reason: "Invalid",
  detail: `the patterns are too wide: ${detail}; the rest is left out`,
  hint: "narrow the patterns, or split them over several sources",
})

test("more matches than the limit are cut off and reported", async () => {
  const root = tree("/3.log", "/1.log", "/2.log")
  expect(await searched(root, "/*.log", { matches: 3, names: 9 })).toEqual({
    paths: ["/1.log", "/2.log", "/3.log"].map((path) => root + path),
    dormant: new Set(),
    troubles: [],
  })
  expect(await searched(root, "/*.log", { matches: 2, names: 9 })).toEqual({
    paths: ["/1.log", "/2.log"].map((path) => root + path),
    dormant: new Set(),
    troubles: [tooWide(root, "/*.log", "they match 3 files, more than 2")],
  })
})

test("a search that looks at more names than the limit ends and reports it", async () => {
  const root = tree("/a/1.log", "/a/2.log", "/b/1.log", "/b/2.log")
  const found = await searched(root, "/**/*.log", { matches: 9, names: 4 })
  expect(found.paths).toHaveLength(2)
  expect(found.troubles).toEqual([tooWide(root, "/**/*.log", "they make the search look at more than 4 names")])
})

test("two stars end at a depth, and say so", async () => {
  const below = (depth: number): string => "/d".repeat(depth)
  const root = tree(`${below(32)}/in.log`, `${below(33)}/out.log`)
  expect(await searched(root, "/**/*.log", { matches: 9, names: 99 })).toEqual({
    paths: [`${root}${below(32)}/in.log`],
    dormant: new Set(),
    troubles: [
      {
        target: `${root}${below(32)}`,
        reason: "Invalid",
        detail: "a ** looks no further than 32 directories down",
        hint: "narrow the pattern",
      },
    ],
  })
})

test("a search that is called off ends", async () => {
  const root = tree("/a.log")
  const calledOff = new AbortController()
  calledOff.abort(new Error("called off"))
  const search = find({
    patterns: [readPattern(`${root}/*`)],
    isExcluded: matcherOf([]),
    nowMs: 0,
    signal: calledOff.signal,
  })
  await expect(search).rejects.toThrow("called off")
})
