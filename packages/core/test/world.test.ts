// The world's disk passes the suite that the real one passes, and its faults leave behind what they say.
import { Clock, Effect, Fiber, Result } from "effect"
import { TestClock } from "effect/testing"
import { describe, expect, it } from "vitest"
import { type Codec, type FileSeen, LogFiles, type LogFilesShape, type Source } from "@cordwood/core"
import {
  type Fault,
  type LogFilesHarness,
  logFilesSuite,
  type Operation,
  plainCodec,
  World,
} from "@cordwood/core/testing"

const DIRECTORY = "/var/log/pods/ns_web_1/app"
const ACTIVE = `${DIRECTORY}/0.log`
const SEGMENT = `${ACTIVE}.20260909-043310`
const TEMPORARY = `${SEGMENT}.tmp`
const TWIN = `${SEGMENT}.plain`

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
const textOf = (bytes: Uint8Array | undefined): string => new TextDecoder().decode(bytes)

/** Paths and contents of every file. */
const onDisk = (world: World): Readonly<Record<string, string>> =>
  Object.fromEntries(world.paths().map((path) => [path, textOf(world.read(path))]))

const seenAt = (world: World, path: string): FileSeen => ({
  path,
  bytes: world.read(path)?.length ?? -1,
  modifiedMs: world.attributesOf(path)?.modifiedMs ?? -1,
  identity: world.identityOf(path) ?? "none",
})

const harnessOver = (world: World): LogFilesHarness => {
  const now = <A>(act: (nowMs: number) => A): Effect.Effect<A> => Effect.map(Clock.currentTimeMillis, act)
  return {
    directory: DIRECTORY,
    write: (path, bytes, { mode = 0o640, modifiedMs } = {}) =>
      now((nowMs) => {
        // Overwriting keeps the inode, as it does on a real disk.
        const attributes = { mode, modifiedMs: modifiedMs ?? nowMs }
        if (world.read(path) === undefined) world.put(path, bytes, { ...attributes, nowMs })
        else world.rewrite(path, bytes, attributes)
      }),
    append: (path, bytes) => now((nowMs) => world.append(path, bytes, nowMs)),
    read: (path) => Effect.sync(() => world.read(path) ?? null),
    unlink: (path) => now((nowMs) => world.unlink(path, nowMs)),
    rename: (from, to) => now((nowMs) => world.rename(from, to, nowMs)),
    symlink: (target, path) => now((nowMs) => world.put(path, bytesOf(target), { kind: "symlink", modifiedMs: nowMs })),
    makeDirectory: (path) =>
      now((nowMs) => world.put(path, new Uint8Array(), { kind: "directory", modifiedMs: nowMs })),
    names: (directory) => Effect.sync(() => world.namesIn(directory)),
    attributes: (path) =>
      Effect.sync(() => {
        const attributes = world.attributesOf(path)
        if (attributes === undefined) throw new Error(`nothing at ${path}`)
        return { mode: attributes.mode, modifiedMs: attributes.modifiedMs }
      }),
  }
}

describe("the suite of LogFiles, on the disk of a world,", () => {
  for (const { name, run } of logFilesSuite) {
    it(name, async () => {
      const world = new World()
      const harness = harnessOver(world)
      await Effect.runPromise(
        Effect.andThen(harness.makeDirectory(DIRECTORY), run(harness)).pipe(
          Effect.provideService(LogFiles, world.files()),
        ),
      )
    })
  }
})

/** Time for what runs on promises: a codec of a few bytes needs one or two turns. */
const TURNS = 50
const turns = async (until: () => boolean = () => false): Promise<void> => {
  for (let turn = 0; turn < TURNS && !until(); turn += 1) await new Promise((resolve) => setImmediate(resolve))
}

type Answer = "done" | "never" | string
/** What comes of it: `done`, the reason it fails for, or `never`. What never ends is left running. */
const answerOf = async (effect: Effect.Effect<unknown, { readonly reason: string }>): Promise<Answer> => {
  let answer: Answer = "never"
  Effect.runFork(
    Effect.map(Effect.result(effect), (result) => {
      answer = Result.isSuccess(result) ? "done" : result.failure.reason
    }),
  )
  await turns(() => answer !== "never")
  return answer
}

interface Ports {
  readonly world: World
  readonly files: LogFilesShape
  readonly source: Source
}
const portsOf = (world: World): Ports => ({
  world,
  files: world.files(),
  source: world.source(() => [{ path: ACTIVE }]),
})
const worldWith = (files: Readonly<Record<string, string>>): World => {
  const world = new World()
  for (const [path, text] of Object.entries(files)) world.put(path, bytesOf(text), { modifiedMs: 1_000 })
  return world
}

const calls = {
  list: ({ files }: Ports) => files.list(ACTIVE),
  setAside: ({ files, world }: Ports) => files.setAside(seenAt(world, ACTIVE), SEGMENT),
  putBack: ({ files }: Ports) => files.putBack(SEGMENT, ACTIVE),
  remove: ({ files, world }: Ports) => files.remove(seenAt(world, SEGMENT), { unchanged: true }),
  compress: ({ files, world }: Ports) => files.compress(seenAt(world, SEGMENT), TWIN, plainCodec),
  matches: ({ files, world }: Ports) => files.matches(seenAt(world, TWIN), seenAt(world, SEGMENT), plainCodec),
  reopen: ({ source }: Ports) => source.reopen({ path: ACTIVE }),
  sourceList: ({ source }: Ports) => source.list,
} satisfies Partial<Record<Operation, (ports: Ports) => Effect.Effect<unknown, { readonly reason: string }>>>

const active = { [ACTIVE]: "abc" }
const segment = { [SEGMENT]: "abc" }
const both = { ...active, ...segment }
const packed = "Pabc\0\0\0\u0003"
const twins = { ...segment, [TWIN]: packed }

/** By operation: what is on the disk before, and after each fault. */
const outcomes: ReadonlyArray<
  readonly [
    operation: Operation,
    call: keyof typeof calls,
    before: Readonly<Record<string, string>>,
    after: Readonly<Record<NonNullable<Fault>, Readonly<Record<string, string>>>>,
  ]
> = [
  ["list", "list", both, { before: both, after: both, "crash-before": both, "crash-after": both, hang: both }],
  [
    "setAside",
    "setAside",
    active,
    { before: active, after: segment, "crash-before": active, "crash-after": segment, hang: segment },
  ],
  [
    "setAside.reserved",
    "setAside",
    active,
    {
      before: active,
      after: segment,
      "crash-before": { ...active, [SEGMENT]: "" },
      "crash-after": segment,
      hang: segment,
    },
  ],
  [
    "putBack",
    "putBack",
    segment,
    { before: segment, after: active, "crash-before": segment, "crash-after": active, hang: active },
  ],
  [
    "putBack.linked",
    "putBack",
    segment,
    { before: both, after: active, "crash-before": both, "crash-after": active, hang: active },
  ],
  [
    "remove",
    "remove",
    both,
    { before: both, after: active, "crash-before": both, "crash-after": active, hang: active },
  ],
  [
    "compress",
    "compress",
    segment,
    { before: segment, after: twins, "crash-before": segment, "crash-after": twins, hang: twins },
  ],
  [
    "compress.write",
    "compress",
    segment,
    {
      before: segment,
      after: segment,
      "crash-before": { ...segment, [TEMPORARY]: "" },
      "crash-after": { ...segment, [TEMPORARY]: packed.slice(0, 4) },
      hang: { ...segment, [TEMPORARY]: packed.slice(0, 4) },
    },
  ],
  [
    "compress.rename",
    "compress",
    segment,
    {
      before: segment,
      after: twins,
      "crash-before": { ...segment, [TEMPORARY]: packed },
      "crash-after": twins,
      hang: twins,
    },
  ],
  [
    "matches",
    "matches",
    twins,
    { before: twins, after: twins, "crash-before": twins, "crash-after": twins, hang: twins },
  ],
  [
    "reopen",
    "reopen",
    segment,
    {
      before: segment,
      after: { ...segment, [ACTIVE]: "" },
      "crash-before": segment,
      "crash-after": { ...segment, [ACTIVE]: "" },
      hang: { ...segment, [ACTIVE]: "" },
    },
  ],
  [
    "sourceList",
    "sourceList",
    both,
    { before: both, after: both, "crash-before": both, "crash-after": both, hang: both },
  ],
]

describe("a fault", () => {
  for (const [operation, call, before, after] of outcomes) {
    for (const [fault, files] of Object.entries(after) as Array<
      [NonNullable<Fault>, Readonly<Record<string, string>>]
    >) {
      it(`${fault} at ${operation} has no more effect than it says`, async () => {
        const world = worldWith(before)
        world.faults = (at) => (at === operation ? fault : null)
        const answer = await answerOf(calls[call](portsOf(world)))
        const refusal = operation === "reopen" || operation === "sourceList" ? "Unavailable" : "Io"
        expect({ answer, files: onDisk(world), incarnation: world.incarnation }).toEqual({
          answer: fault === "before" || fault === "after" ? refusal : "never",
          files,
          incarnation: fault.startsWith("crash") ? 2 : 1,
        })
      })
    }
  }

  it("is asked for at every operation, and every operation is told of", async () => {
    const found: Record<string, unknown> = {}
    for (const [call, run] of Object.entries(calls)) {
      const world = worldWith(call === "setAside" ? active : call === "putBack" ? segment : twins)
      if (call === "compress") world.unlink(TWIN)
      const asked: Array<string> = []
      world.faults = (operation, path) => {
        asked.push(`${operation} ${path}`)
        return null
      }
      expect([call, await answerOf(run(portsOf(world)))]).toEqual([call, "done"])
      expect(world.calls).toEqual(asked)
      found[call] = asked
    }
    expect(found).toEqual({
      list: [`list ${ACTIVE}`],
      setAside: [`setAside ${ACTIVE}`, `setAside.reserved ${SEGMENT}`, `setAside.sync ${SEGMENT}`],
      putBack: [`putBack ${ACTIVE}`, `putBack.sync ${ACTIVE}`, `putBack.linked ${SEGMENT}`, `putBack.synced ${ACTIVE}`],
      remove: [`remove ${SEGMENT}`, `remove.sync ${SEGMENT}`],
      compress: [
        `compress ${SEGMENT}`,
        `compress.write ${TEMPORARY}`,
        `compress.sync ${TEMPORARY}`,
        `compress.source ${SEGMENT}`,
        `compress.rename ${TWIN}`,
        `compress.renamed ${TWIN}`,
      ],
      matches: [`matches ${TWIN}`, `matches.sync ${TWIN}`],
      reopen: [`reopen ${ACTIVE}`],
      sourceList: ["sourceList world"],
    })
  })

  it("fails for the reason that was ordered; one that would have failed anyway keeps its own", async () => {
    const world = worldWith({ ...active, ...segment })
    world.failReason = "NoSpace"
    world.faults = () => "before"
    expect(await answerOf(calls.setAside(portsOf(world)))).toBe("NoSpace")
    world.faults = () => "after"
    expect(await answerOf(calls.setAside(portsOf(world)))).toBe("Exists")
    expect(onDisk(world)).toEqual(both)
  })

  it("that hangs in the midst of compress leaves nothing once it is interrupted", async () => {
    const world = worldWith(segment)
    world.faults = (operation) => (operation === "compress.write" ? "hang" : null)
    const fiber = Effect.runFork(calls.compress(portsOf(world)))
    await turns(() => world.read(TEMPORARY)?.length === 4)
    expect(onDisk(world)).toEqual({ ...segment, [TEMPORARY]: packed.slice(0, 4) })
    await Effect.runPromise(Fiber.interrupt(fiber))
    expect(onDisk(world)).toEqual(segment)
  })

  it("in the midst of putBack leaves one file under two names, and putting it back again takes the second away", async () => {
    const world = worldWith(segment)
    const identity = world.identityOf(SEGMENT)
    world.faults = (operation) => (operation === "putBack.linked" ? "crash-before" : null)
    expect(await answerOf(calls.putBack(portsOf(world)))).toBe("never")
    expect([world.identityOf(ACTIVE), world.identityOf(SEGMENT)]).toEqual([identity, identity])
    world.faults = () => null
    expect(await answerOf(calls.putBack(portsOf(world)))).toBe("done")
    expect([onDisk(world), world.identityOf(ACTIVE)]).toEqual([active, identity])
  })

  it("in the midst of setAside leaves a placeholder that is another file, and is never renamed over", async () => {
    const world = worldWith(active)
    world.faults = (operation) => (operation === "setAside.reserved" ? "crash-before" : null)
    expect(await answerOf(calls.setAside(portsOf(world)))).toBe("never")
    expect(world.identityOf(SEGMENT)).not.toBe(world.identityOf(ACTIVE))
    world.faults = () => null
    expect(await answerOf(calls.setAside(portsOf(world)))).toBe("Exists")
    expect(onDisk(world)).toEqual({ ...active, [SEGMENT]: "" })
  })

  it("leaves what others did between two acts: a placeholder that was written to, a twin, a file in the temporary one's place", async () => {
    const found: Array<unknown> = []
    const between = async (at: Operation, call: keyof typeof calls, files: object, meddle: (world: World) => void) => {
      const world = worldWith({ ...files })
      world.faults = (operation) => {
        if (operation === at) meddle(world)
        return null
      }
      found.push([at, await answerOf(calls[call](portsOf(world))), onDisk(world)])
    }
    await between("setAside.reserved", "setAside", active, (world) => world.append(SEGMENT, bytesOf("theirs")))
    await between("setAside.reserved", "setAside", active, (world) => world.put(ACTIVE, bytesOf("theirs")))
    await between("putBack.linked", "putBack", segment, (world) => world.put(ACTIVE, bytesOf("theirs")))
    await between("compress.rename", "compress", segment, (world) => world.put(TWIN, bytesOf("theirs")))
    await between("compress.rename", "compress", segment, (world) => world.put(TEMPORARY, bytesOf("theirs")))
    expect(found).toEqual([
      ["setAside.reserved", "Exists", { ...active, [SEGMENT]: "theirs" }],
      ["setAside.reserved", "Changed", { [ACTIVE]: "theirs" }],
      ["putBack.linked", "Changed", { ...segment, [ACTIVE]: "theirs" }],
      ["compress.rename", "Exists", { ...segment, [TWIN]: "theirs" }],
      ["compress.rename", "Changed", { ...segment, [TEMPORARY]: "theirs" }],
    ])
  })
})

describe("an agent that has died", () => {
  it("gets no answer from any operation, and none has an effect; the next agent's have", async () => {
    const world = worldWith({ ...active, ...segment })
    const dead = portsOf(world)
    world.crash()
    for (const [call, run] of Object.entries(calls)) expect([call, await answerOf(run(dead))]).toEqual([call, "never"])
    expect([onDisk(world), world.calls]).toEqual([both, []])
    expect(await answerOf(calls.remove(portsOf(world)))).toBe("done")
    expect(onDisk(world)).toEqual(active)
  })

  it("leaves the temporary file of a compression under way, whether the codec goes on, fails or is interrupted", async () => {
    const ways: Readonly<Record<string, (go: Promise<void>) => Codec>> = {
      "goes on": (go) => ({
        ...plainCodec,
        encode: async function* (input) {
          await go
          yield* plainCodec.encode(input)
        },
      }),
      fails: (go) => ({
        ...plainCodec,
        encode: async function* (input) {
          await go
          for await (const chunk of input) if (chunk.length > 0) throw new Error("no")
          yield bytesOf("")
        },
      }),
    }
    const found: Record<string, unknown> = {}
    for (const [way, codecFor] of Object.entries(ways)) {
      const world = worldWith(segment)
      const { promise, resolve } = Promise.withResolvers<void>()
      const fiber = Effect.runFork(world.files().compress(seenAt(world, SEGMENT), TWIN, codecFor(promise)))
      await turns(() => world.read(TEMPORARY) !== undefined)
      world.crash()
      resolve()
      await turns()
      found[way] = [fiber.pollUnsafe() === undefined, onDisk(world)]
      await Effect.runPromise(Fiber.interrupt(fiber))
      found[`${way}, then is interrupted`] = onDisk(world)
    }
    const left = { ...segment, [TEMPORARY]: "" }
    expect(found).toEqual({
      "goes on": [true, left],
      "goes on, then is interrupted": left,
      fails: [true, left],
      "fails, then is interrupted": left,
    })
  })
})

describe("a world", () => {
  it("stops a codec that makes more of a file than any format needs, where a real disk would", async () => {
    const world = worldWith(segment)
    let made = 0
    const swelling: Codec = {
      ...plainCodec,
      encode: async function* (input) {
        for await (const chunk of input) for (;;) yield (((made += chunk.length), chunk))
      },
    }
    const error = await Effect.runPromise(Effect.flip(world.files().compress(seenAt(world, SEGMENT), TWIN, swelling)))
    expect([error.reason, error.detail, made]).toEqual([
      "Codec",
      "the codec plain failed: it makes more than 65542 bytes of 3",
      65_544,
    ])
    expect(onDisk(world)).toEqual(segment)
  })

  it("gives a large segment to a codec in chunks, which the codec may write into", async () => {
    const size = 600 * 1024
    const world = new World()
    world.put(SEGMENT, new Uint8Array(size).fill(7))
    const chunks: Array<number> = []
    const scribbling: Codec = {
      id: "as-is",
      suffix: ".raw",
      encode: async function* (input) {
        for await (const chunk of input) {
          chunks.push(chunk.length)
          yield chunk
          chunk.fill(0)
        }
      },
      decode: (input) => input,
    }
    const result = await Effect.runPromise(world.files().compress(seenAt(world, SEGMENT), TWIN, scribbling))
    expect([result.bytesIn, result.bytesOut, chunks]).toEqual([size, size, [262_144, 262_144, 90_112]])
    expect(world.read(SEGMENT)).toEqual(world.read(TWIN))
    expect(world.read(SEGMENT)?.every((byte) => byte === 7)).toBe(true)
  })

  it("takes no file for proof of itself", async () => {
    const world = worldWith(segment)
    world.link(SEGMENT, TWIN)
    const { files } = portsOf(world)
    const itself: Codec = { id: "as-is", suffix: ".plain", encode: (input) => input, decode: (input) => input }
    const answer = answerOf(files.matches(seenAt(world, TWIN), seenAt(world, SEGMENT), itself))
    expect(await answer).toBe("Changed")
  })

  it("doesn't take a broken codec's rubbish for a twin that isn't one", async () => {
    const world = worldWith(twins)
    const { files } = portsOf(world)
    const rubbish: Codec = {
      ...plainCodec,
      decode: async function* () {
        yield "abc" as unknown as Uint8Array
      },
    }
    const answer = answerOf(files.matches(seenAt(world, TWIN), seenAt(world, SEGMENT), rubbish))
    expect(await answer).toBe("Codec")
  })

  it("tells a codec that no more is wanted, and gives it nothing more", async () => {
    const world = worldWith(segment)
    const go = Promise.withResolvers<void>()
    const found: Array<string> = []
    const stubborn: Codec = {
      ...plainCodec,
      encode: (input) => {
        const chunks = input[Symbol.asyncIterator]()
        const next = async (): Promise<IteratorResult<Uint8Array>> => {
          found.push("asked")
          await go.promise
          found.push(await chunks.next().then(() => "given more", String))
          return { done: true, value: undefined }
        }
        const iterator = {
          next,
          return: async () => {
            found.push("told")
            return { done: true as const, value: undefined }
          },
        }
        return { [Symbol.asyncIterator]: () => iterator }
      },
    }
    const fiber = Effect.runFork(world.files().compress(seenAt(world, SEGMENT), TWIN, stubborn))
    await turns(() => found.length > 0)
    await Effect.runPromise(Fiber.interrupt(fiber))
    go.resolve()
    await turns(() => found.length > 2)
    expect([found, onDisk(world)]).toEqual([["asked", "told", "Error: reading has been stopped"], segment])
  })

  it("has a writer that goes on with its file, whatever that is called, until it reopens", () => {
    const world = new World()
    world.openWriter(ACTIVE, 1)
    world.write(ACTIVE, bytesOf("a"), 2)
    world.rename(ACTIVE, SEGMENT, 3)
    world.write(ACTIVE, bytesOf("b"), 4)
    expect([onDisk(world), world.writerIsHome(ACTIVE)]).toEqual([{ [SEGMENT]: "ab" }, false])
    expect(world.attributesOf(SEGMENT)).toEqual({ kind: "file", mode: 0o640, modifiedMs: 4 })
    expect(world.attributesOf(DIRECTORY)).toEqual({ kind: "directory", mode: 0o755, modifiedMs: 3 })
    world.openWriter(ACTIVE, 5)
    world.write(ACTIVE, bytesOf("c"), 6)
    world.unlink(SEGMENT, 7)
    expect([onDisk(world), world.writerIsHome(ACTIVE)]).toEqual([{ [ACTIVE]: "c" }, true])
  })

  it("refuses what can't be done to a disk, so that no test means what it doesn't do", () => {
    const world = worldWith(active)
    const nothing = new Uint8Array()
    const impossible: ReadonlyArray<() => void> = [
      () => world.unlink(SEGMENT),
      () => world.rename(SEGMENT, ACTIVE),
      () => world.link(SEGMENT, ACTIVE),
      () => world.append(SEGMENT, nothing),
      () => world.rewrite(SEGMENT, nothing),
      () => world.unlink(DIRECTORY),
      () => world.write(SEGMENT, nothing),
      () => world.put(`${ACTIVE}/1.log`, nothing),
    ]
    const messages = impossible.map((act) => {
      try {
        act()
        return "done"
      } catch (error) {
        return String(error)
      }
    })
    expect(messages).toEqual([
      ...Array.from({ length: 5 }, () => `Error: no file at ${SEGMENT}`),
      `Error: no file at ${DIRECTORY}`,
      `Error: no writer at ${SEGMENT}`,
      `Error: ${ACTIVE} is no directory`,
    ])
    expect(onDisk(world)).toEqual(active)
  })
})

/** Chooses of everything the least that a power cut leaves, or the most. */
const least = (): number => 0
const most = (below: number): number => below - 1

describe("a power cut", () => {
  it("leaves what was synced, and of what wasn't whatever is chosen", () => {
    const left = (choose: (below: number) => number): Readonly<Record<string, string>> => {
      const world = worldWith({ [ACTIVE]: "abc" })
      world.sync()
      world.append(ACTIVE, bytesOf("def"))
      world.put(SEGMENT, bytesOf("new"))
      world.cutPower(choose)
      return onDisk(world)
    }
    expect([left(least), left(most)]).toEqual([{ [ACTIVE]: "abc" }, { [ACTIVE]: "abcdef", [SEGMENT]: "new" }])
  })

  it("leaves a rename that wasn't synced done or not done, never half", () => {
    for (const choose of [least, most]) {
      const world = worldWith(active)
      world.sync()
      world.rename(ACTIVE, SEGMENT)
      world.cutPower(choose)
      expect(onDisk(world)).toEqual(choose === least ? active : segment)
    }
  })

  it("takes nothing away of what an act has done that returned, whatever is chosen", async () => {
    const after: Record<string, ReadonlyArray<unknown>> = {}
    for (const call of ["setAside", "putBack", "remove", "compress"] as const) {
      const outcomes: Array<unknown> = []
      for (const choose of [least, most]) {
        const world = worldWith(call === "setAside" ? active : segment)
        world.sync()
        expect(await answerOf(calls[call](portsOf(world)))).toBe("done")
        world.cutPower(choose)
        outcomes.push(onDisk(world))
      }
      after[call] = outcomes
    }
    expect(after).toEqual({
      setAside: [segment, segment],
      putBack: [active, active],
      remove: [{}, {}],
      compress: [twins, twins],
    })
  })

  it("may bring back a file whose directory couldn't be synced when it was removed", async () => {
    const found: Array<unknown> = []
    for (const choose of [least, most]) {
      const world = worldWith(segment)
      world.sync()
      world.faults = (operation) => (operation === "remove.sync" ? "before" : null)
      expect(await answerOf(calls.remove(portsOf(world)))).toBe("done")
      world.cutPower(choose)
      found.push(onDisk(world))
    }
    expect(found).toEqual([segment, {}])
  })

  it("never leaves less of an original than of its twin", async () => {
    const world = worldWith({ ...active, [SEGMENT]: "ab" })
    world.sync()
    world.append(SEGMENT, bytesOf("c"))
    expect(await answerOf(calls.compress(portsOf(world)))).toBe("done")
    world.cutPower(least)
    expect(onDisk(world)).toEqual({ ...active, ...twins })
  })

  it("before a twin that matches was synced may take the twin; after it, nothing", async () => {
    const world = worldWith(twins)
    const { length } = packed
    expect([world.durableBytes(TWIN), await answerOf(calls.matches(portsOf(world)))]).toEqual([
      { here: 0, anywhere: 0 },
      "done",
    ])
    expect(world.durableBytes(TWIN)).toEqual({ here: length, anywhere: length })
    world.cutPower(least)
    expect(Object.keys(onDisk(world))).toContain(TWIN)
  })
})

describe("latency", () => {
  it("lets others in before an operation takes effect, and an agent that dies meanwhile does nothing", async () => {
    const found: Array<Readonly<Record<string, string>>> = []
    for (const dies of [false, true]) {
      const world = worldWith(active)
      world.latencyMs = () => 10
      const story = Effect.gen(function* () {
        yield* Effect.forkDetach(calls.setAside(portsOf(world)))
        yield* TestClock.adjust(5)
        found.push(onDisk(world))
        if (dies) world.crash()
        yield* TestClock.adjust(100)
        found.push(onDisk(world))
      })
      await Effect.runPromise(Effect.scoped(Effect.provide(story, TestClock.layer())))
    }
    expect(found).toEqual([active, segment, active, active])
  })
})
