// A runtime that answers with rubbish, over real gRPC: logs that may be touched, or an error in words, and never an exception nor a silence.
import { join } from "node:path"
import * as fc from "fast-check"
import { describe, expect, it, onTestFinished } from "vitest"
import { cri } from "../../src/source/cri/cri.ts"
import { container, type FakeContainer, FakeRuntime } from "./fake-runtime.ts"
import { opened, type PlainError, scratch } from "./opened.ts"

const given = process.env["CORDWOOD_SEED"]
const seed = given === undefined ? Date.now() % 2 ** 31 : Number(given)
const times = Number(process.env["FUZZ_RUNS"] ?? 1)
const fuzz = (cases: number) => ({ seed, numRuns: cases * times })
const timeout = 120_000 * times

const expectWords = ({ detail, hint }: PlainError): void => {
  expect(detail.length).toBeGreaterThan(5)
  expect(hint.length).toBeGreaterThan(5)
}
const start = async () => {
  const runtime = await FakeRuntime.start(join(scratch(), "cri.sock"))
  onTestFinished(() => runtime.stop())
  return { runtime, source: await opened(cri({ endpoint: runtime.socket, timeout: "20s" })) }
}
/** Whatever it is told, the agent goes only where an absolute path with no way up leads. */
const expectLogsOrWords = async (source: Awaited<ReturnType<typeof start>>["source"]): Promise<void> => {
  const outcome = await source.list()
  if ("error" in outcome) return expectWords(outcome.error)
  outcome.problems.forEach(expectWords)
  for (const { path } of outcome.logs) {
    expect(path.startsWith("/")).toBe(true)
    expect(path.split("/").some((part) => part === ".." || part === ".")).toBe(false)
  }
  expect(new Set(outcome.logs.map(({ path }) => path)).size).toBe(outcome.logs.length)
}

/** What such an answer looks like on the wire, for bending. */
const SOUND = Buffer.from(
  "0a5e0a0669642d61707012097361 6e64626f782d312a00300138014a2b0a17696f2e6b756265726e657465732e706f642e6e616d651203776562".replaceAll(
    " ",
    "",
  ),
  "hex",
)
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 200 }),
  fc.array(fc.tuple(fc.nat(SOUND.length - 1), fc.nat(255)), { minLength: 1, maxLength: 5 }).map((patches) => {
    const bent = Buffer.from(SOUND)
    for (const [at, byte] of patches) bent[at] = byte
    return bent
  }),
  fc.nat(SOUND.length).map((length) => SOUND.subarray(0, length)),
)

describe(`a runtime's rubbish (seed ${seed})`, () => {
  it("in the bytes of any answer is told in words, or read as what it says", { timeout }, async () => {
    const { runtime, source } = await start()
    runtime.containers = [container("app")]
    const method = fc.constantFrom("ListContainers", "ContainerStatus", "PodSandboxStatus")
    await fc.assert(
      fc.asyncProperty(method, bytes, fc.nat(1_000_000), async (which, answer, id) => {
        // A status is asked for once in a container's life.
        runtime.containers = [container("app", { id: `id-${id}`, sandbox: `sandbox-${id}` })]
        runtime.fault = (asked) => (asked === which ? { bytes: Buffer.from(answer) } : null)
        await expectLogsOrWords(source)
      }),
      fuzz(150),
    )
  })

  it(
    "in paths, labels, states and identities is told in words, or left out, and no path leads up",
    { timeout },
    async () => {
      const { runtime, source } = await start()
      const text = fc.oneof(
        fc.string({ maxLength: 30 }),
        fc.constantFrom(
          "",
          "/",
          "//",
          "/..",
          "/var/log/../../etc/passwd",
          "/var/log/./x",
          "relative/0.log",
          "/a\n/0.log",
          "/a\u0000/0.log",
          "/a/0.log",
          "/a/0.log/",
          `/${"x".repeat(5_000)}`,
          "\u202E",
        ),
      )
      const fake: fc.Arbitrary<FakeContainer> = fc.record({
        id: text,
        sandbox: text,
        logPath: text,
        state: fc.integer({ min: -1, max: 9 }),
        createdAt: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String),
        labels: fc.dictionary(
          fc.oneof(text, fc.constantFrom("io.kubernetes.pod.name", "io.kubernetes.pod.uid", "__proto__")),
          text,
          { maxKeys: 4 },
        ),
      })
      await fc.assert(
        fc.asyncProperty(fc.array(fake, { maxLength: 8 }), async (containers) => {
          runtime.containers = containers
          await expectLogsOrWords(source)
        }),
        fuzz(100),
      )
    },
  )

  it("and ten thousand containers are a list like any other", { timeout }, async () => {
    const { runtime, source } = await start()
    runtime.containers = Array.from({ length: 10_000 }, (_, n) =>
      container("app", { id: `id-${n}`, logPath: `/var/log/pods/shop_web_uid-1/app/${n}.log`, state: n < 50 ? 1 : 2 }),
    )
    await expectLogsOrWords(source)
  })
})
