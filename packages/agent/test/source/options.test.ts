import { expect, test } from "vitest"
import * as z from "zod"
import { cri, CriOptions } from "../../src/source/cri/cri.ts"
import { files, FilesOptions } from "../../src/source/files/files.ts"

const problems = (schema: z.ZodType, value: unknown): ReadonlyArray<string> => {
  const read = schema.safeParse(value)
  return read.success ? [] : read.error.issues.map(({ message, path }) => `${path.join(".")}: ${message}`)
}

test("cri's options are read with the kubelet's endpoint and ten seconds for those left out", () => {
  expect([
    CriOptions.parse({}),
    CriOptions.parse({ endpoint: "/run/crio/crio.sock", timeout: "1500ms" }),
    CriOptions.parse({ endpoint: "unix:///run/k3s/containerd/containerd.sock", timeout: "50s" }),
  ]).toEqual([
    { endpoint: "unix:///run/containerd/containerd.sock", timeout: 10_000 },
    { endpoint: "/run/crio/crio.sock", timeout: 1_500 },
    { endpoint: "unix:///run/k3s/containerd/containerd.sock", timeout: 50_000 },
  ])
})

const EXAMPLES = "write unix:///run/containerd/containerd.sock or a path such as /run/crio/crio.sock"
test.each([
  ...["tcp://127.0.0.1:2375", "unix://run/containerd.sock", "containerd.sock", "npipe:////./pipe/x", ""].map(
    (endpoint) => [
      endpoint,
      `"${endpoint}" is not the address of a unix socket, and a runtime's socket is always one; ${EXAMPLES}`,
    ],
  ),
  ["unix:///run/../etc/x.sock", `"unix:///run/../etc/x.sock" can't be a socket's path: it has a part ..; ${EXAMPLES}`],
  ["/run/containerd/", `"/run/containerd/" can't be a socket's path: it ends in a slash; ${EXAMPLES}`],
  [`/run/${"x".repeat(103)}`, `"/run/${"x".repeat(103)}" is too long: the path of a socket has at most 107 bytes`],
])("cri's endpoint can't be %j", (endpoint, problem) => {
  expect(problems(CriOptions, { endpoint })).toEqual([`endpoint: ${problem}`])
})

test("cri from code throws what is wrong with its options", () => {
  // @ts-expect-error An unknown key is a mistake that the compiler sees too.
  expect(() => cri({ endpoint: "/run/x.sock", timeOut: "3s", timeout: "0s" })).toThrow(
    new TypeError(
      `cri(…) got options that can't be used:\n✖ Unrecognized key: "timeOut"\n✖ must be longer than nothing\n  → at timeout`,
    ),
  )
  expect(cri({ endpoint: "/run/x.sock" }).name).toBe("cri unix:///run/x.sock")
})

test("files' options are read, signals by any of their names", () => {
  const include = ["/var/log/nginx/*.log"]
  expect([
    FilesOptions.parse({ include, reopen: "none" }),
    FilesOptions.parse({
      include,
      exclude: ["/var/log/nginx/x*"],
      reopen: { signal: "USR1", pidFile: "/run/nginx.pid" },
    }),
    FilesOptions.parse({ include, reopen: { signal: "sighup", pidFile: "/run/x.pid", timeout: "1s" } }),
    FilesOptions.parse({ include, reopen: { command: ["nginx", "-s", "reopen"], timeout: "30s" } }),
  ]).toEqual([
    { include, exclude: [], reopen: "none" },
    {
      include,
      exclude: ["/var/log/nginx/x*"],
      reopen: { signal: "SIGUSR1", pidFile: "/run/nginx.pid", timeout: 10_000 },
    },
    { include, exclude: [], reopen: { signal: "SIGHUP", pidFile: "/run/x.pid", timeout: 1_000 } },
    { include, exclude: [], reopen: { command: ["nginx", "-s", "reopen"], timeout: 30_000 } },
  ])
})

const FORMS = `reopen: write none, { signal: USR1, pidFile: /run/nginx.pid } or { command: ["nginx", "-s", "reopen"] }`
const COMMAND = `reopen: command: write the program and its arguments as a list: ["nginx","-s","reopen"]`
test.each<[string, unknown, string]>([
  ["nothing", undefined, FORMS],
  ["another word", "never", FORMS],
  ["a mapping of neither", { exec: ["x"] }, FORMS],
  [
    "an unknown signal",
    { signal: "USR3", pidFile: "/run/x.pid" },
    `reopen: signal: "USR3" is no signal that can be used here; write one of HUP, USR1, USR2, WINCH, ALRM, CONT`,
  ],
  [
    "a signal that ends the writer",
    { signal: "KILL", pidFile: "/run/x.pid" },
    `reopen: signal: "KILL" is no signal that can be used here; write one of HUP, USR1, USR2, WINCH, ALRM, CONT`,
  ],
  ["a relative pid file", { signal: "HUP", pidFile: "x.pid" }, "reopen.pidFile: must be an absolute path"],
  ["a command line", { command: "nginx -s reopen" }, COMMAND],
  ["an empty command", { command: [] }, "reopen.command: must name a program"],
  ["a NUL in a command", { command: ["a\0b"] }, "reopen.command.0: must not have a NUL"],
])("files' reopen can't be %s", (_, reopen, problem) => {
  expect(problems(FilesOptions, { include: ["/a"], reopen })).toEqual([problem])
})

test.each([
  ["var/log/*.log", "must be an absolute path, as the agent has no working directory to rely on"],
  ["!/var/log/*.log", "a pattern can't begin with !; put what is to be left out under exclude"],
  ["/var/log/", "must name files: no slash at the end, and no //"],
  ["/var//log", "must name files: no slash at the end, and no //"],
  ["/var/../log", "must not have a part . or .."],
  ["/var/log/{a,b/c}.log", "braces can't span a slash; write two patterns"],
  ["/var/log/a\nb", "must not have control characters"],
  [
    "/var/log/app.log.gz",
    "this is the name of a rotated, compressed or temporary file; include the file that is being written",
  ],
  [
    "/var/log/app.log.20260909-043310",
    "this is the name of a rotated, compressed or temporary file; include the file that is being written",
  ],
])("files can't include %j", (pattern, problem) => {
  expect(problems(FilesOptions, { include: [pattern], reopen: "none" })).toEqual([`include.0: ${problem}`])
})

test("files needs at least one pattern, and no unknown key", () => {
  expect(problems(FilesOptions, { include: [], reopen: "none", recursive: true })).toEqual([
    "include: must have at least one pattern",
    `: Unrecognized key: "recursive"`,
  ])
})

test("files from code throws what is wrong with its options, and is named for its patterns", () => {
  expect(() => files({ include: ["a.log"], reopen: "none" })).toThrow(
    /^files\(…\) got options that can't be used:\n✖ must be an absolute path/,
  )
  const names = [
    files({ include: ["/a", "/b"], reopen: "none" }).name,
    files({ include: ["/a", "/b", "/c", "/d", "/e"], reopen: "none" }).name,
  ]
  expect(names).toEqual(["files /a /b", "files /a /b /c and 2 more"])
})

test("both schemas have a JSON Schema for what a user writes", () => {
  const shapes = [CriOptions, FilesOptions].map((schema) => {
    const { additionalProperties, properties = {}, required } = z.toJSONSchema(schema, { io: "input" })
    return { additionalProperties, properties: Object.keys(properties), required }
  })
  expect(shapes).toEqual([
    { additionalProperties: false, properties: ["endpoint", "timeout"], required: undefined },
    { additionalProperties: false, properties: ["include", "exclude", "reopen"], required: ["include", "reopen"] },
  ])
})

test("a deadline longer than a pass waits for is refused", () => {
  expect(() => cri({ timeout: "1m" })).toThrow("must be at most 50s: what takes longer is tried again on the next pass")
})
