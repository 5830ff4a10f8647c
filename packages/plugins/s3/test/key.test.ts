// Keys: where a segment goes, whatever its names hold.
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { DEFAULT_TEMPLATE, keyOf, keyPart, MAX_KEY_BYTES, prefixProblem, templateProblem } from "../src/key.ts"
import { LOG } from "./node.ts"

const SHA = "0123456789abcdef".repeat(4)
const parts = { log: LOG, node: "node-1.example", stamp: "20260909-043310", sha256: SHA }
const usual = { prefix: "v1/cluster=demo", template: DEFAULT_TEMPLATE }

describe("the usual key", () => {
  it("is partitioned by namespace, day, hour and node, and tells everything else in its last part", () => {
    expect(keyOf(usual, parts, ".zst")).toBe(
      "v1/cluster=demo/ns=shop/dt=2026-09-09/hour=04/node=node-1.example/web-0_6f1c_app_3_20260909-043310_0123456789abcdef.log.zst",
    )
  })

  it("needs no prefix", () => {
    expect(keyOf({ ...usual, prefix: "" }, parts, "")).toMatch(/^ns=shop\/dt=/)
  })

  it.each([
    ["/var/log/nginx/access.log", "var%2Flog%2Fnginx_____access.log_"],
    ["/access_log", "______access%5Flog_"],
    ["/x/0012345678901.log", "x_____0012345678901.log_"],
    ["/x/5.log", "x_____5.log_"],
    ["/x/5", "x_____5_"],
  ])("of a log that no pod wrote, %s, has its folder for a pod and its name for a restart", (path, expected) => {
    expect(keyOf(usual, { ...parts, log: { path } }, "")).toBe(
      `v1/cluster=demo/ns=_/dt=2026-09-09/hour=04/node=node-1.example/${expected}20260909-043310_0123456789abcdef.log`,
    )
  })
})

describe("a value", () => {
  it.each([
    ["", "_"],
    ["_", "%5F"],
    ["web-0.A", "web-0.A"],
    [".", "%2E"],
    ["..", "%2E%2E"],
    ["...", "%2E%2E%2E"],
    ["../../etc/passwd", "..%2F..%2Fetc%2Fpasswd"],
    ["a=b&c", "a%3Db%26c"],
    ["%2F", "%252F"],
    ["\0\n\r\u007f", "%00%0A%0D%7F"],
    ["é", "%C3%A9"],
    ["e\u0301", "e%CC%81"],
    ["\u202egol.exe", "%E2%80%AEgol.exe"],
    ["\ud800", "%ED%A0%80"],
    ["\ufffd", "%EF%BF%BD"],
    ["😀", "%F0%9F%98%80"],
  ])("%j becomes %s", (value, part) => {
    expect(keyPart(value, 253)).toBe(part)
  })

  it("that is too long is cut, never in the middle of an escape, and told apart by its hash", () => {
    const [a, b] = [keyPart(`${"é".repeat(300)}a`, 253), keyPart(`${"é".repeat(300)}b`, 253)]
    expect(a).toMatch(/^(%C3|%A9)+~[0-9a-f]{16}$/)
    expect(a.length).toBeLessThanOrEqual(253)
    expect(a).not.toBe(b)
  })
})

const anyText = fc.oneof(
  fc.string({ unit: "binary", maxLength: 400 }),
  fc.constantFrom("..", ".", "", "_", "a_b", "a/b", "../x", "a=b", "~", "\ud800", "\udfff", "%", "%2e%2e"),
  fc.array(fc.nat(0xffff), { maxLength: 30 }).map((units) => String.fromCharCode(...units)),
)
const anyParts = fc.record({
  log: fc.record(
    {
      path: anyText.map((name) => `/var/log/${name}/${name}.log`),
      namespace: anyText,
      pod: anyText,
      podUid: anyText,
      container: anyText,
    },
    { requiredKeys: ["path"] },
  ),
  node: anyText,
  stamp: fc.constantFrom("20260909-043310", "20260909-043311", "99999999-999999"),
  sha256: fc.constantFrom(SHA, "f".repeat(64)),
})

describe("whatever names hold", () => {
  // A value is nothing, and then an underscore, or has none.
  const value = "(_|[^/_]+)"
  const values = Array(4).fill(value).join("_")
  const form = new RegExp(
    `^v1/cluster=demo/ns=${value}/dt=\\d{4}-\\d\\d-\\d\\d/hour=\\d\\d/node=${value}/${values}_\\d{8}-\\d{6}_[0-9a-f]{16}\\.log\\.gz$`,
  )

  it("a key is below its prefix, of the same form, printable, and not too long", () => {
    fc.assert(
      fc.property(anyParts, (given) => {
        const key = keyOf(usual, given, ".gz")
        expect(key).toMatch(form)
        expect(key).toMatch(/^[\u0021-\u007e]+$/)
        expect(key.split("/").some((part) => /^\.+$/.test(part))).toBe(false)
        expect(Buffer.byteLength(key)).toBeLessThanOrEqual(MAX_KEY_BYTES)
      }),
    )
  })

  it("names that differ give keys that differ, and the same ones the same", () => {
    /** All that a key says: of a pod's log its folder isn't part of it. */
    const said = ({ log, node, sha256, stamp }: Parameters<typeof keyOf>[1]): string => {
      const [folder, name] = [
        log.path.slice(1, log.path.lastIndexOf("/")),
        log.path.slice(log.path.lastIndexOf("/") + 1),
      ]
      const { namespace = "", pod = folder, podUid = "", container = "" } = log
      return [namespace, pod, podUid, container, name, node, stamp, sha256]
        .map((value) => [...value].map((c) => c.codePointAt(0)))
        .join("|")
    }
    fc.assert(
      fc.property(anyParts, fc.option(anyParts), (one, different) => {
        const other = different ?? structuredClone(one)
        expect(keyOf(usual, one, "") === keyOf(usual, other, "")).toBe(said(one) === said(other))
      }),
    )
  })

  it("values never run into each other", () => {
    fc.assert(
      fc.property(fc.array(anyText, { minLength: 4, maxLength: 4 }), ([a = "", b = "", c = "", d = ""]) => {
        fc.pre(a !== c || b !== d)
        expect(`${keyPart(a, 64)}_${keyPart(b, 64)}`).not.toBe(`${keyPart(c, 64)}_${keyPart(d, 64)}`)
      }),
    )
  })

  it("a key has room for all that Kubernetes allows, uncut", () => {
    const log = {
      path: `/var/log/pods/x/y/4294967295.log`,
      namespace: "n".repeat(63),
      pod: "p".repeat(253),
      podUid: "u".repeat(36),
      container: "c".repeat(63),
    }
    expect(
      keyOf({ ...usual, prefix: "p".repeat(150) }, { ...parts, log, node: "h".repeat(253) }, ".zst"),
    ).not.toContain("~")
    // And with the longest prefix there may be, cut.
    const key = keyOf({ ...usual, prefix: "p".repeat(512) }, { ...parts, log, node: "h".repeat(253) }, ".zst")
    expect(key.length).toBeLessThanOrEqual(MAX_KEY_BYTES)
  })
})

describe("a template", () => {
  it("of one's own may have any of the placeholders", () => {
    const template = "{namespace}/{date}/{hour}/{node}/{pod}/{uid}/{container}/{restart}/{stamp}-{sha256}"
    expect(templateProblem(template)).toBe(null)
    expect(keyOf({ prefix: "", template }, parts, ".gz")).toBe(
      `shop/2026-09-09/04/node-1.example/web-0/6f1c/app/3/20260909-043310-${SHA}.gz`,
    )
  })

  it.each([
    [
      "{stmap}",
      "{stmap} is not known; there are {namespace}, {date}, {hour}, {node}, {pod}, {uid}, {container}, {restart}, {stamp}, {sha16}, {sha256}",
    ],
    [
      "{constructor}",
      "{constructor} is not known; there are {namespace}, {date}, {hour}, {node}, {pod}, {uid}, {container}, {restart}, {stamp}, {sha16}, {sha256}",
    ],
    [
      "{pod}.log",
      "must have {stamp}, and {sha16} or {sha256}: without them different segments would have the same key",
    ],
    [
      "{stamp}.log",
      "must have {stamp}, and {sha16} or {sha256}: without them different segments would have the same key",
    ],
    ["/{stamp}_{sha16}", "must have no empty part between slashes, nor one of dots alone"],
    ["a/../{stamp}_{sha16}", "must have no empty part between slashes, nor one of dots alone"],
    ["{stamp}_{sha16}/", "must have no empty part between slashes, nor one of dots alone"],
    ["{stamp}_{sha16}_{", 'must have none of \\ { } ^ % ` [ ] " < > ~ # |'],
    ["{stamp}_{sha16}\n", "must be printable ASCII"],
    [`{stamp}_{sha16}${"x".repeat(450)}`, "is too long for keys of 1024 bytes"],
    [`{stamp}_{sha16}${"x".repeat(550)}`, "must be at most 512 characters long"],
  ])("%j is refused, with what is wrong", (template, problem) => {
    expect(templateProblem(template)).toBe(problem)
  })

  it("that isn't refused gives keys that aren't too long", () => {
    const piece = fc.constantFrom(
      "{namespace}",
      "{pod}",
      "{node}",
      "{uid}",
      "{container}",
      "{restart}",
      "{sha256}",
      "/",
      "a",
      "=",
      "-".repeat(40),
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), anyParts, (pieces, given) => {
        const template = `${pieces.join("")}{stamp}{sha16}`
        fc.pre(templateProblem(template) === null)
        expect(keyOf({ prefix: "p".repeat(512), template }, given, `.${"s".repeat(31)}`).length).toBeLessThanOrEqual(
          MAX_KEY_BYTES,
        )
      }),
    )
  })
})

describe("a prefix", () => {
  it.each([
    ["", null],
    ["v1/cluster=demo", null],
    ["/v1", "must have no empty part between slashes, nor one of dots alone"],
    ["v1/", "must have no empty part between slashes, nor one of dots alone"],
    ["v1/..", "must have no empty part between slashes, nor one of dots alone"],
    ["v1/ü", "must be printable ASCII"],
    ["p".repeat(513), "must be at most 512 characters long"],
  ])("%j: %j", (prefix, problem) => {
    expect(prefixProblem(prefix)).toBe(problem)
  })
})
