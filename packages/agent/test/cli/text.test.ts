// Text for terminals: what is told from hostile names, patterns and times.
import { describe, expect, it } from "vitest"
import { parseSince } from "../../src/cli/since.ts"
import { logFilter } from "../../src/cli/log-filter.ts"
import { colorsFor, columns, safe } from "../../src/cli/terminal.ts"
import { eventLine } from "../../src/cli/event-text.ts"

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
