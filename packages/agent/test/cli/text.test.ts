// Text for terminals: what is told from hostile names, patterns and times.
import { describe, expect, it } from "vitest"
import { parseSince } from "../../src/cli/since.ts"
import { logFilter } from "../../src/cli/log-filter.ts"
import { colorsFor, columns, jsonLine, safe } from "../../src/cli/terminal.ts"
import { countedSteps, eventDetail, eventLine, unknownLine } from "../../src/cli/event-text.ts"

const NONE = colorsFor({ isTTY: false }, {})

describe("colours", () => {
  it.each<readonly [string, boolean, Record<string, string>, boolean]>([
    ["on a terminal", true, {}, true],
    ["not in a pipe", false, {}, false],
    ["not in a pipe on CI", false, { CI: "true" }, false],
    ["in a pipe where they are forced", false, { FORCE_COLOR: "1" }, true],
    ["not where forcing is turned off", false, { FORCE_COLOR: "0" }, false],
    ["never with NO_COLOR", true, { NO_COLOR: "1", FORCE_COLOR: "1" }, false],
    ["with an empty NO_COLOR, which says nothing", true, { NO_COLOR: "" }, true],
    ["never on a dumb terminal", true, { TERM: "dumb" }, false],
  ])("%s", (_, isTTY, env, colours) => {
    expect(colorsFor({ isTTY }, env).isColorSupported).toBe(colours)
  })
})

it("control characters of file names don't reach the terminal", () => {
  expect(safe("a\nb\u001B[2Jc\u009Bd\u202Ee")).toBe("a\\x0ab\\x1b[2Jc\\x9bd\\u202ee")
  const log = { path: "/logs/\u001B]0;title\u0007.log" }
  const metadata = { correlationId: "c", causationId: null, traceId: null, spanId: null }
  const line = eventLine(
    {
      id: "0",
      position: 1,
      time: "2026-09-09T04:33:10.123Z",
      type: "Removed",
      version: 1,
      log,
      data: { path: `${log.path}.1`, bytes: 1, reason: "max-files" },
      metadata,
    },
    NONE,
  )
  expect(line).toBe(
    "2026-09-09T04:33:10.123Z  Removed     /logs/\\x1b]0;title\\x07.log  \\x1b]0;title\\x07.log.1, 1 B (max-files)",
  )
})

it("JSON has nothing in it that a terminal takes for more than text, and says the same", () => {
  const said = { path: "/logs/\u001B[2J\n\u007F\u009B31m\u202E.log", "\u0085": ["\u2066ü😀\\"] }
  expect(jsonLine(said)).toBe('{"path":"/logs/\\u001b[2J\\n\\u007f\\u009b31m\\u202e.log","\\u0085":["\\u2066ü😀\\\\"]}')
  expect(JSON.parse(jsonLine(said))).toEqual(said)
})

describe("a plugin's event", () => {
  const shipped = {
    path: "/logs/0.log.20260909-043310.zst",
    bucket: "logs",
    key: `node-1/${"shop/".repeat(20)}0.log.zst`,
    bytes: 10_485_760,
    sha256: "0".repeat(64),
    firstTimestamp: null,
  }
  const envelope = {
    id: "0",
    position: 1,
    time: "2026-09-09T04:33:10.123Z",
    type: "s3.Shipped" as const,
    version: 1,
    log: { path: "/logs/0.log", namespace: "shop", pod: "web-0", container: "nginx" },
    metadata: { correlationId: "c", causationId: null, traceId: null, spanId: null },
  }
  const key = `node-1/${"shop/".repeat(20)}`.slice(0, 59)
  const line = `2026-09-09T04:33:10.123Z  s3.Shipped  shop/web-0/nginx  0.log.20260909-043310.zst bucket=logs key=${key}… bytes=10.0 MiB …`
  it("is a short line, whether the plugin is loaded or not", () => {
    const event = { ...envelope, data: shipped }
    expect([
      eventLine(event, NONE),
      unknownLine({ _tag: "Unknown", type: "s3.Shipped", version: 1, raw: event }, NONE),
    ]).toEqual([line, line])
  })
  it.each<readonly [unknown, string]>([
    [{ path: "/logs/0.log.1" }, "0.log.1"],
    [{ path: 7, ok: false }, "path=7 ok=false"],
    [{ path: "/logs/0.log.1", parts: [1, 2], said: 'a "b" c', none: null }, '0.log.1 said="a \\"b\\" c" …'],
    [{ bytes: "many", "\u001B[2J": 1 }, "bytes=many \\x1b[2J=1"],
    [{ text: `${"a".repeat(58)}😀😀` }, `text=${"a".repeat(58)}…`],
    [{}, ""],
    [null, "null"],
    ["x".repeat(100), `"${"x".repeat(58)}…`],
    [undefined, ""],
  ])("with the data %j says %s", (data, said) => {
    const { log, time } = envelope
    expect(eventLine({ ...envelope, data }, NONE)).toBe(`${time}  s3.Shipped  shop/web-0/nginx  ${said}`)
    expect(eventDetail({ ...envelope, log, data })).not.toContain("\n")
  })
})

it("steps are counted in words", () => {
  expect([countedSteps("remove", 1), countedSteps("offer", 8), countedSteps("compress", 2)]).toEqual([
    "1 removal",
    "8 offers",
    "2 compressions",
  ])
})

it("columns stand under their heads, numbers to the right", () => {
  expect(
    columns(
      ["LOG", "SIZE", "STATE"],
      [
        ["a", "1 B", "ok"],
        ["longer", "10.0 MiB", ""],
      ],
      NONE,
      new Set([1]),
    ),
  ).toBe("LOG         SIZE  STATE\na            1 B  ok\nlonger  10.0 MiB")
})

it("numbers of the last column go to the right, too", () => {
  const rows = [
    ["a", "0"],
    ["b", "12"],
  ]
  expect(columns(["LOG", "GARBLED"], rows, NONE, new Set([1]))).toBe("LOG  GARBLED\na          0\nb         12")
})

describe("columns in a terminal", () => {
  const heads = ["LOG", "FILES", "STEP", "DETAIL"]
  const rows = [
    ["/var/log/pods/shop_web-0/nginx/0.log", "12", "rotate", "to 0.log.1"],
    ["", "", "compress", "to 0.log.1.gz"],
    ["/run/nobody.sock", "", "", "source fails: connect ENOENT; check that the container runtime runs"],
  ]
  const shown = (width: number | undefined): ReadonlyArray<string> =>
    columns(heads, rows, NONE, new Set([1]), { width, lead: 2 }).split("\n")
  it("are one line a row where there is room, or no terminal", () => {
    const flat = [
      "LOG                                   FILES  STEP      DETAIL",
      "/var/log/pods/shop_web-0/nginx/0.log     12  rotate    to 0.log.1",
      "                                             compress  to 0.log.1.gz",
      "/run/nobody.sock                                       source fails: connect ENOENT; check that the container runtime runs",
    ]
    expect([shown(undefined), shown(0), shown(122)]).toEqual([flat, flat, flat])
  })
  it("have a last cell that finds no room below", () => {
    expect(shown(72)).toEqual([
      "LOG                                   FILES  STEP      DETAIL",
      "/var/log/pods/shop_web-0/nginx/0.log     12  rotate    to 0.log.1",
      "                                             compress  to 0.log.1.gz",
      "/run/nobody.sock",
      "    source fails: connect ENOENT; check that the container runtime runs",
    ])
  })
  it("have what leads above where that isn't enough, and break between words only", () => {
    expect(shown(44)).toEqual([
      "LOG  FILES",
      "  STEP      DETAIL",
      "/var/log/pods/shop_web-0/nginx/0.log  12",
      "  rotate    to 0.log.1",
      "  compress  to 0.log.1.gz",
      "/run/nobody.sock",
      "    source fails: connect ENOENT; check that",
      "    the container runtime runs",
    ])
  })
  it("count wide characters as terminals do, and colours as nothing", () => {
    const colors = colorsFor({ isTTY: true }, {})
    expect(
      columns(
        ["A", "B"],
        [
          ["日本", colors.red("ok")],
          ["abcd", ""],
        ],
        NONE,
      ),
    ).toBe(`A     B\n日本  ${colors.red("ok")}\nabcd`)
  })
})

describe("--log", () => {
  const web = { path: "/var/log/pods/shop_web-0_1/nginx/0.log", namespace: "shop", pod: "web-0", container: "nginx" }
  it.each<readonly [string, boolean]>([
    ["web-0", true],
    ["shop/web-0", true],
    ["shop/*/nginx", true],
    ["/var/log/pods/shop_*/**", true],
    ["/var/log/pods/*", false],
    ["db", false],
    ["/var/log/pods/shop_web-0_1/nginx/0.log", true],
  ])("%s: %s", (pattern, matches) => {
    expect(logFilter(pattern)(web)).toBe(matches)
  })
})

describe("--since", () => {
  const now = Date.parse("2026-09-09T12:00:00.000Z")
  it.each([
    ["1h30m", "2026-09-09T10:30:00.000Z"],
    ["2d", "2026-09-07T12:00:00.000Z"],
    ["2026-09-08", "2026-09-08T00:00:00.000Z"],
    ["2026-09-08T04:05", "2026-09-08T04:05:00.000Z"],
    ["2026-09-08 04:05:06", "2026-09-08T04:05:06.000Z"],
    ["2026-09-08T04:05:06+02:00", "2026-09-08T02:05:06.000Z"],
  ])("%s is %s", (text, iso) => {
    expect(parseSince(text, now)).toBe(iso)
  })
  it.each(["", "yesterday", "2026-13-01", "10"])("%j is refused", (text) => {
    expect(() => parseSince(text, now)).toThrow("a time such as")
  })
})
