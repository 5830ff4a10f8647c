/**
 * What every implementation of `LogFiles` must do, as named cases: for the one on a real disk, for the one in memory, and for those of
 * others. Knows no test framework and no disk: a harness brings the disk, and a case fails by throwing.
 */
import { Deferred, Effect, Fiber, Result } from "effect"
import { besideOf, nameOf } from "../log/log.ts"
import type { Entry, FileSeen } from "../log/snapshot.ts"
import { type FileReason, type Glance, LogFiles, LogFilesError } from "../port/log-files.ts"
import type { Codec } from "../plugin/codec.ts"

/** The disk behind the implementation, seen past it. What can't be done is a defect of the harness: it dies. */
export interface LogFilesHarness {
  /** Absolute path of an empty directory of the case's own. Its parent may be written to as well. */
  readonly directory: string
  /** Makes the file, or replaces what it holds: it stays the same file then. Permissions are 0o640 if not given, `modifiedMs` is now. */
  readonly write: (
    path: string,
    bytes: Uint8Array,
    options?: { readonly mode?: number; readonly modifiedMs?: number },
  ) => Effect.Effect<void>
  readonly append: (path: string, bytes: Uint8Array) => Effect.Effect<void>
  /** Null: there is no regular file at the path. */
  readonly read: (path: string) => Effect.Effect<Uint8Array | null>
  /** Takes a name away, of whatever kind but a directory. */
  readonly unlink: (path: string) => Effect.Effect<void>
  readonly rename: (from: string, to: string) => Effect.Effect<void>
  readonly symlink: (target: string, path: string) => Effect.Effect<void>
  readonly makeDirectory: (path: string) => Effect.Effect<void>
  /** Names in a directory, sorted. */
  readonly names: (directory: string) => Effect.Effect<ReadonlyArray<string>>
  /** Permissions and time of modification of a file that must be there. */
  readonly attributes: (path: string) => Effect.Effect<{ readonly mode: number; readonly modifiedMs: number }>
}

export interface LogFilesCase {
  readonly name: string
  readonly run: (harness: LogFilesHarness) => Effect.Effect<void, unknown, LogFiles>
}

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

const shown = (value: unknown): string =>
  JSON.stringify(
    value,
    (_, part: unknown) =>
      part instanceof Uint8Array ? { text: new TextDecoder().decode(part) } : part === undefined ? "undefined" : part,
    1,
  )
/** Values are plain data here, so their text says whether they are equal. */
const same = (actual: unknown, expected: unknown): void => {
  const [is, should] = [shown(actual), shown(expected)]
  if (is !== should) throw new Error(`expected ${should}\nbut found ${is}`)
}

/** The reason and the path an operation fails with. */
const failureOf = <A, R>(
  effect: Effect.Effect<A, LogFilesError, R>,
): Effect.Effect<{ readonly reason: FileReason; readonly path: string }, never, R> =>
  Effect.result(effect).pipe(
    Effect.map((result) => {
      if (Result.isSuccess(result)) throw new Error(`it should have failed, and gave ${shown(result.success)}`)
      const error = result.failure
      if (!(error instanceof LogFilesError) || error.detail === "" || error.hint === "") {
        throw new Error(`an error must be a LogFilesError with a detail and a hint: ${shown(error)}`)
      }
      return { reason: error.reason, path: error.path }
    }),
  )

/** What `list` says of one file. */
const seen = (active: string, path: string): Effect.Effect<Entry, LogFilesError, LogFiles> =>
  LogFiles.use((files) => files.list(active)).pipe(
    Effect.map(({ entries }) => {
      const entry = entries.find(({ name }) => name === nameOf(path))
      if (entry === undefined) throw new Error(`${path} isn't among ${shown(entries)}`)
      return entry
    }),
  )

const MARK = bytesOf("MIRROR")
const mirror = (chunk: Uint8Array): Uint8Array => chunk.map((byte) => byte ^ 0x5a)
/** A format that can be told from plain text, whose end can be cut off, and which needs no library: mark, mirrored bytes, mark. */
const mirrorCodec: Codec = {
  id: "mirror",
  suffix: ".mir",
  encode: async function* (input) {
    yield MARK
    for await (const chunk of input) yield mirror(chunk)
    yield MARK
  },
  decode: async function* (input) {
    let held = new Uint8Array(0)
    let begun = false
    for await (const chunk of input) {
      const all = new Uint8Array(held.length + chunk.length)
      all.set(held)
      all.set(chunk, held.length)
      held = all
      if (!begun && held.length >= MARK.length) {
        if (!MARK.every((byte, at) => held[at] === byte)) throw new Error("no mark at the beginning")
        begun = true
        held = held.slice(MARK.length)
      }
      if (begun && held.length > MARK.length) {
        yield mirror(held.slice(0, -MARK.length))
        held = held.slice(-MARK.length)
      }
    }
    if (!begun || held.length !== MARK.length || !MARK.every((byte, at) => held[at] === byte)) {
      throw new Error("no mark at the end")
    }
  },
}
/** Their CRC-32 is 0, as that of an empty file. */
const CHECKSUM_OF_NOTHING = Uint8Array.of(0x9d, 0x0a, 0xd9, 0x6d)
const packed = (text: string): Uint8Array => new Uint8Array([...MARK, ...mirror(bytesOf(text)), ...MARK])
const misbehaving = (parts: Partial<Pick<Codec, "encode" | "decode">>): Codec => ({ ...mirrorCodec, ...parts })

interface Log {
  readonly files: LogFiles["Service"]
  readonly active: string
  readonly segment: string
  readonly twin: string
  readonly temporary: string
}
/** A case with a log's usual names at hand. */
const check = (
  name: string,
  body: (harness: LogFilesHarness, log: Log) => Effect.Effect<void, unknown, LogFiles>,
): LogFilesCase => ({
  name,
  run: (harness) =>
    Effect.gen(function* () {
      const files = yield* LogFiles
      const active = `${harness.directory}/0.log`
      const segment = `${active}.20260909-043310`
      yield* body(harness, { files, active, segment, twin: `${segment}.mir`, temporary: `${segment}.tmp` })
    }),
})

const looking: ReadonlyArray<LogFilesCase> = [
  check(
    "list gives the active file and what begins with its name and a dot, and nothing else",
    (disk, { active, files, segment }) =>
      Effect.gen(function* () {
        yield* disk.write(active, bytesOf("abc"), { modifiedMs: 1_700_000_000_000 })
        yield* disk.write(segment, bytesOf("de"), { modifiedMs: 1_600_000_000_000 })
        yield* disk.write(besideOf(active, "0.log.backup"), bytesOf("x"), { modifiedMs: 1_500_000_000_000 })
        yield* disk.write(besideOf(active, "0.logs"), bytesOf("y"))
        yield* disk.write(besideOf(active, "10.log"), bytesOf("z"))
        const listing = yield* files.list(active)
        same(
          listing.entries
            .map(({ bytes, kind, modifiedMs, name, path }) => ({ name, kind, path, bytes, modifiedMs }))
            .toSorted((a, b) => (a.name < b.name ? -1 : 1)),
          [
            { name: "0.log", kind: "file", path: active, bytes: 3, modifiedMs: 1_700_000_000_000 },
            { name: nameOf(segment), kind: "file", path: segment, bytes: 2, modifiedMs: 1_600_000_000_000 },
            { name: "0.log.backup", kind: "file", path: `${active}.backup`, bytes: 1, modifiedMs: 1_500_000_000_000 },
          ],
        )
        same(
          [new Set(listing.entries.map(({ identity }) => identity)).size, Number.isFinite(listing.takenAtMs)],
          [3, true],
        )
      }),
  ),
  check("list says what is no regular file, and follows no link", (disk, { active, files, segment }) =>
    Effect.gen(function* () {
      yield* disk.write(besideOf(active, "elsewhere"), bytesOf("secret"))
      yield* disk.symlink("elsewhere", active)
      yield* disk.symlink("nowhere", segment)
      yield* disk.makeDirectory(`${active}.d`)
      const { entries } = yield* files.list(active)
      same(
        entries.map(({ kind, name }) => `${name} ${kind}`).toSorted(),
        ["0.log symlink", `${nameOf(segment)} symlink`, "0.log.d directory"].toSorted(),
      )
    }),
  ),
  check(
    "list is empty where the directory holds nothing of the log, and fails where there is no directory",
    (disk, { active, files }) =>
      Effect.gen(function* () {
        yield* disk.write(besideOf(active, "other"), bytesOf("x"))
        same((yield* files.list(active)).entries, [])
        const missing = `${disk.directory}/none/0.log`
        same(yield* failureOf(files.list(missing)), { reason: "NotFound", path: missing })
      }),
  ),
  check("list refuses a directory that is a symbolic link", (disk, { files }) =>
    Effect.gen(function* () {
      yield* disk.makeDirectory(`${disk.directory}/real`)
      yield* disk.write(`${disk.directory}/real/0.log`, bytesOf("x"))
      yield* disk.symlink("real", `${disk.directory}/link`)
      const active = `${disk.directory}/link/0.log`
      same(yield* failureOf(files.list(active)), { reason: "NotRegular", path: active })
    }),
  ),
  check(
    "glance sees the active file's size, and that a name in its directory changed",
    (disk, { active, files, segment }) =>
      Effect.gen(function* () {
        const into: Glance = { bytes: 7, directoryChangedMs: 7 }
        const looked = (): Glance => {
          files.glance(active, into)
          return { ...into }
        }
        const empty = looked()
        same([empty.bytes, empty.directoryChangedMs > 0], [-1, true])
        yield* disk.write(active, bytesOf("abcd"))
        same(looked().bytes, 4)
        yield* disk.unlink(active)
        yield* disk.write(segment, bytesOf("x"))
        yield* disk.symlink(nameOf(segment), active)
        same(looked().bytes, -1)
        files.glance(`${disk.directory}/none/0.log`, into)
        same(into, { bytes: -1, directoryChangedMs: -1 })
      }),
  ),
]

const renaming: ReadonlyArray<LogFilesCase> = [
  check("setAside renames the active file and keeps what it is", (disk, { active, files, segment }) =>
    Effect.gen(function* () {
      yield* disk.write(active, bytesOf("abc"), { mode: 0o604, modifiedMs: 1_600_000_000_000 })
      const before = yield* seen(active, active)
      yield* files.setAside(before, segment)
      same(yield* disk.names(disk.directory), [nameOf(segment)])
      same(yield* disk.attributes(segment), { mode: 0o604, modifiedMs: 1_600_000_000_000 })
      const after = yield* seen(active, segment)
      same([after.identity, after.bytes], [before.identity, 3])
    }),
  ),
  check("setAside takes along what was written after the look", (disk, { active, files, segment }) =>
    Effect.gen(function* () {
      yield* disk.write(active, bytesOf("abc"))
      const before = yield* seen(active, active)
      yield* disk.append(active, bytesOf("def"))
      yield* files.setAside(before, segment)
      same(yield* disk.read(segment), bytesOf("abcdef"))
    }),
  ),
  check(
    "setAside never overwrites: a file, a link or a directory of that name stays",
    (disk, { active, files, segment }) =>
      Effect.gen(function* () {
        yield* disk.write(active, bytesOf("active"))
        yield* disk.write(segment, bytesOf(""))
        yield* disk.symlink("nowhere", `${active}.link`)
        yield* disk.makeDirectory(`${active}.d`)
        const before = yield* seen(active, active)
        for (const to of [segment, `${active}.link`, `${active}.d`]) {
          same(yield* failureOf(files.setAside(before, to)), { reason: "Exists", path: to })
        }
        same(yield* disk.read(active), bytesOf("active"))
        same(yield* disk.read(segment), bytesOf(""))
        same(yield* disk.names(disk.directory), ["0.log", "0.log.d", "0.log.link", nameOf(segment)].toSorted())
      }),
  ),
  check("setAside leaves alone what isn't the file that was seen", (disk, { active, files, segment }) =>
    Effect.gen(function* () {
      yield* disk.write(active, bytesOf("first"))
      const before = yield* seen(active, active)
      yield* disk.rename(active, `${disk.directory}/moved`)
      same(yield* failureOf(files.setAside(before, segment)), { reason: "NotFound", path: active })
      yield* disk.write(active, bytesOf("second"))
      same(yield* failureOf(files.setAside(before, segment)), { reason: "Changed", path: active })
      yield* disk.unlink(active)
      yield* disk.symlink("moved", active)
      same(yield* failureOf(files.setAside(before, segment)), { reason: "NotRegular", path: active })
      same(yield* disk.names(disk.directory), ["0.log", "moved"])
    }),
  ),
  check("setAside makes no file outside the log's directory", (disk, { active, files }) =>
    Effect.gen(function* () {
      yield* disk.write(active, bytesOf("abc"))
      yield* disk.makeDirectory(`${disk.directory}/sub`)
      const before = yield* seen(active, active)
      const to = `${disk.directory}/sub/0.log.20260909-043310`
      same(yield* failureOf(files.setAside(before, to)), { reason: "Other", path: to })
      same(yield* disk.names(disk.directory), ["0.log", "sub"])
      same(yield* disk.names(`${disk.directory}/sub`), [])
    }),
  ),
  check("putBack gives the segment the active file's name again", (disk, { active, files, segment }) =>
    Effect.gen(function* () {
      yield* disk.write(active, bytesOf("abc"), { mode: 0o604, modifiedMs: 1_600_000_000_000 })
      const before = yield* seen(active, active)
      yield* files.setAside(before, segment)
      yield* files.putBack(segment, active)
      same(yield* disk.names(disk.directory), ["0.log"])
      same(yield* seen(active, active), before)
    }),
  ),
  check("putBack never overwrites what the writer has begun meanwhile", (disk, { active, files, segment }) =>
    Effect.gen(function* () {
      yield* disk.write(segment, bytesOf("old"))
      yield* disk.write(active, bytesOf(""))
      same(yield* failureOf(files.putBack(segment, active)), { reason: "Exists", path: active })
      same([yield* disk.read(active), yield* disk.read(segment)], [bytesOf(""), bytesOf("old")])
      yield* disk.unlink(active)
      yield* disk.symlink("nowhere", active)
      same(yield* failureOf(files.putBack(segment, active)), { reason: "Exists", path: active })
      same(yield* disk.names(disk.directory), ["0.log", nameOf(segment)])
    }),
  ),
  check("putBack puts back nothing but a regular file", (disk, { active, files, segment }) =>
    Effect.gen(function* () {
      same(yield* failureOf(files.putBack(segment, active)), { reason: "NotFound", path: segment })
      yield* disk.symlink("nowhere", segment)
      same(yield* failureOf(files.putBack(segment, active)), { reason: "NotRegular", path: segment })
      same(yield* disk.names(disk.directory), [nameOf(segment)])
    }),
  ),
]

const removing: ReadonlyArray<LogFilesCase> = [
  check("remove takes the file away and says how many bytes that were", (disk, { active, files, segment }) =>
    Effect.gen(function* () {
      yield* disk.write(segment, bytesOf("abc"))
      yield* disk.write(active, bytesOf("x"))
      const before = yield* seen(active, segment)
      same(yield* files.remove(before, { unchanged: true }), 3)
      same(yield* disk.names(disk.directory), ["0.log"])
      same(yield* failureOf(files.remove(before, { unchanged: false })), { reason: "NotFound", path: segment })
    }),
  ),
  check(
    "remove keeps a file that changed, where its bytes are only kept elsewhere as they were",
    (disk, { active, files, segment }) =>
      Effect.gen(function* () {
        yield* disk.write(segment, bytesOf("abc"), { modifiedMs: 1_600_000_000_000 })
        const before = yield* seen(active, segment)
        yield* disk.write(segment, bytesOf("abcd"), { modifiedMs: 1_600_000_000_000 })
        same(yield* failureOf(files.remove(before, { unchanged: true })), { reason: "Changed", path: segment })
        yield* disk.write(segment, bytesOf("abC"), { modifiedMs: 1_600_000_001_000 })
        same(yield* failureOf(files.remove(before, { unchanged: true })), { reason: "Changed", path: segment })
        same(yield* disk.read(segment), bytesOf("abC"))
        yield* disk.append(segment, bytesOf("de"))
        same(yield* files.remove(before, { unchanged: false }), 5)
        same(yield* disk.names(disk.directory), [])
      }),
  ),
  check("remove leaves alone what isn't the file that was seen, or no file", (disk, { active, files, segment }) =>
    Effect.gen(function* () {
      yield* disk.write(segment, bytesOf("first"))
      const before = yield* seen(active, segment)
      yield* disk.rename(segment, `${disk.directory}/moved`)
      yield* disk.write(segment, bytesOf("other"))
      same(yield* failureOf(files.remove(before, { unchanged: false })), { reason: "Changed", path: segment })
      yield* disk.unlink(segment)
      yield* disk.symlink("moved", segment)
      same(yield* failureOf(files.remove(before, { unchanged: false })), { reason: "NotRegular", path: segment })
      yield* disk.unlink(segment)
      yield* disk.makeDirectory(segment)
      same(yield* failureOf(files.remove(before, { unchanged: false })), { reason: "NotRegular", path: segment })
      same(yield* disk.names(disk.directory), [nameOf(segment), "moved"].toSorted())
    }),
  ),
]

/** A failed compression must leave just what was there. */
const untouched = (disk: LogFilesHarness, segment: string, text: string): Effect.Effect<void> =>
  Effect.gen(function* () {
    same([yield* disk.names(disk.directory), yield* disk.read(segment)], [[nameOf(segment)], bytesOf(text)])
  })

const misbehaviours: ReadonlyArray<readonly [what: string, reason: FileReason, codec: Codec]> = [
  [
    "throws at once",
    "Codec",
    misbehaving({
      encode: () => {
        throw new Error("no")
      },
    }),
  ],
  [
    "fails half way",
    "Codec",
    misbehaving({
      encode: async function* (input) {
        for await (const chunk of input) {
          yield chunk
          throw new Error("half way")
        }
      },
    }),
  ],
  ["returns no stream", "Codec", misbehaving({ encode: () => 7 as unknown as AsyncIterable<Uint8Array> })],
  [
    "yields something else than bytes",
    "Codec",
    misbehaving({
      encode: async function* () {
        yield "text" as unknown as Uint8Array
      },
    }),
  ],
  [
    "reads all and yields nothing",
    "Codec",
    misbehaving({
      encode: async function* (input) {
        for await (const chunk of input) if (chunk.length === 0) yield chunk
      },
    }),
  ],
  [
    "stops before the end of its input",
    "Codec",
    misbehaving({
      encode: async function* () {
        yield MARK
        yield MARK
      },
    }),
  ],
  [
    "never ends",
    "Codec",
    misbehaving({
      encode: async function* (input) {
        for await (const chunk of input) for (;;) yield chunk
      },
    }),
  ],
  [
    "yields pieces with nothing in them for ever",
    "Codec",
    misbehaving({
      encode: async function* () {
        for (;;) yield new Uint8Array(0)
      },
    }),
  ],
  [
    "changes a byte",
    "Corrupt",
    misbehaving({
      encode: async function* (input) {
        yield MARK
        for await (const chunk of input) yield mirror(chunk).with(0, 0)
        yield MARK
      },
    }),
  ],
  [
    "loses the end",
    "Corrupt",
    misbehaving({
      encode: async function* (input) {
        yield MARK
        for await (const chunk of input) yield mirror(chunk).slice(0, -1)
        yield MARK
      },
    }),
  ],
  [
    "can't decode what it made",
    "Corrupt",
    misbehaving({
      encode: async function* (input) {
        for await (const chunk of input) yield chunk
      },
    }),
  ],
  [
    "decodes to more than there was",
    "Corrupt",
    misbehaving({
      decode: async function* (input) {
        for await (const chunk of input) for (;;) yield chunk
      },
    }),
  ],
]

const compressing: ReadonlyArray<LogFilesCase> = [
  check(
    "compress makes a twin with the original's mode and time, and leaves the original",
    (disk, { active, files, segment, twin }) =>
      Effect.gen(function* () {
        yield* disk.write(segment, bytesOf("some text"), { mode: 0o604, modifiedMs: 1_600_000_000_000 })
        const before = yield* seen(active, segment)
        const result = yield* files.compress(before, twin, mirrorCodec)
        const { bytes, identity, modifiedMs, path } = before
        same(
          [
            result.source.path,
            result.source.bytes,
            result.source.modifiedMs,
            result.source.identity,
            result.bytesIn,
            result.bytesOut,
          ],
          [path, bytes, modifiedMs, identity, 9, 9 + 2 * MARK.length],
        )
        same(yield* disk.names(disk.directory), [nameOf(segment), nameOf(twin)])
        same([yield* disk.read(segment), yield* disk.read(twin)], [bytesOf("some text"), packed("some text")])
        same(yield* disk.attributes(twin), { mode: 0o604, modifiedMs: 1_600_000_000_000 })
        same(yield* files.remove(result.source, { unchanged: true }), 9)
      }),
  ),
  check("compress takes an empty segment too", (disk, { active, files, segment, twin }) =>
    Effect.gen(function* () {
      yield* disk.write(segment, bytesOf(""))
      const result = yield* files.compress(yield* seen(active, segment), twin, mirrorCodec)
      same([result.bytesIn, result.bytesOut, yield* disk.read(twin)], [0, 2 * MARK.length, packed("")])
    }),
  ),
  check(
    "compress never overwrites: neither what lies at the twin's name nor what lies at the temporary one",
    (disk, log) =>
      Effect.gen(function* () {
        const { active, files, segment, temporary, twin } = log
        yield* disk.write(segment, bytesOf("some text"))
        const before = yield* seen(active, segment)
        const victim = `${disk.directory}/victim`
        yield* disk.write(victim, bytesOf("precious"))
        for (const path of [twin, temporary]) {
          yield* disk.write(path, bytesOf("theirs"))
          same(yield* failureOf(files.compress(before, twin, mirrorCodec)), { reason: "Exists", path })
          same(
            [yield* disk.read(path), yield* disk.names(disk.directory)],
            [bytesOf("theirs"), [nameOf(segment), nameOf(path), "victim"]],
          )
          yield* disk.unlink(path)
          yield* disk.symlink("victim", path)
          same(yield* failureOf(files.compress(before, twin, mirrorCodec)), { reason: "Exists", path })
          yield* disk.unlink(path)
        }
        same([yield* disk.read(victim), yield* disk.read(segment)], [bytesOf("precious"), bytesOf("some text")])
        same(yield* disk.names(disk.directory), [nameOf(segment), "victim"])
      }),
  ),
  check("compress doesn't overwrite a twin that appears while it works", (disk, { active, files, segment, twin }) =>
    Effect.gen(function* () {
      yield* disk.write(segment, bytesOf("some text"))
      const codec = misbehaving({
        encode: async function* (input) {
          await Effect.runPromise(disk.write(twin, bytesOf("theirs")))
          yield* mirrorCodec.encode(input)
        },
      })
      same(yield* failureOf(files.compress(yield* seen(active, segment), twin, codec)), {
        reason: "Exists",
        path: twin,
      })
      same(
        [yield* disk.names(disk.directory), yield* disk.read(twin)],
        [[nameOf(segment), nameOf(twin)], bytesOf("theirs")],
      )
    }),
  ),
  check(
    "compress gives up on a segment that grew since it was seen, or grows while it is read or verified",
    (disk, log) =>
      Effect.gen(function* () {
        const { active, files, segment, twin } = log
        const grow = async (): Promise<void> => Effect.runPromise(disk.append(segment, bytesOf("+")))
        yield* disk.write(segment, bytesOf("a"))
        const before = yield* seen(active, segment)
        yield* disk.append(segment, bytesOf("b"))
        same(yield* failureOf(files.compress(before, twin, mirrorCodec)), { reason: "Changed", path: segment })
        yield* untouched(disk, segment, "ab")
        const early = misbehaving({
          encode: async function* (input) {
            await grow()
            yield* mirrorCodec.encode(input)
          },
        })
        same(yield* failureOf(files.compress(yield* seen(active, segment), twin, early)), {
          reason: "Changed",
          path: segment,
        })
        yield* untouched(disk, segment, "ab+")
        const late = misbehaving({
          encode: async function* (input) {
            yield* mirrorCodec.encode(input)
            await grow()
          },
        })
        same(yield* failureOf(files.compress(yield* seen(active, segment), twin, late)), {
          reason: "Changed",
          path: segment,
        })
        yield* untouched(disk, segment, "ab++")
        const verifying = misbehaving({
          decode: async function* (input) {
            yield* mirrorCodec.decode(input)
            await grow()
          },
        })
        same(yield* failureOf(files.compress(yield* seen(active, segment), twin, verifying)), {
          reason: "Changed",
          path: segment,
        })
        yield* untouched(disk, segment, "ab+++")
        // A codec that hides that reading failed doesn't hide it from us.
        const hiding = misbehaving({
          encode: async function* (input) {
            await grow()
            try {
              for await (const chunk of input) yield chunk
            } catch {
              yield MARK
            }
          },
        })
        same(yield* failureOf(files.compress(yield* seen(active, segment), twin, hiding)), {
          reason: "Changed",
          path: segment,
        })
        yield* untouched(disk, segment, "ab++++")
      }),
  ),
  check("compress takes nothing but the file that was seen", (disk, { active, files, segment, twin }) =>
    Effect.gen(function* () {
      yield* disk.write(segment, bytesOf("first"))
      const before = yield* seen(active, segment)
      yield* disk.rename(segment, `${disk.directory}/moved`)
      same(yield* failureOf(files.compress(before, twin, mirrorCodec)), { reason: "NotFound", path: segment })
      yield* disk.write(segment, bytesOf("other"))
      same(yield* failureOf(files.compress(before, twin, mirrorCodec)), { reason: "Changed", path: segment })
      yield* disk.unlink(segment)
      yield* disk.symlink("moved", segment)
      same(yield* failureOf(files.compress(before, twin, mirrorCodec)), { reason: "NotRegular", path: segment })
      same(yield* disk.names(disk.directory), [nameOf(segment), "moved"].toSorted())
    }),
  ),
  ...misbehaviours.map(([what, reason, codec]) =>
    check(`compress leaves just the original when the codec ${what}`, (disk, { active, files, segment, twin }) =>
      Effect.gen(function* () {
        yield* disk.write(segment, bytesOf("some text"))
        same(yield* failureOf(files.compress(yield* seen(active, segment), twin, codec)), { reason, path: segment })
        yield* untouched(disk, segment, "some text")
        same((yield* files.compress(yield* seen(active, segment), twin, mirrorCodec)).bytesIn, 9)
      }),
    ),
  ),
  check(
    "compress leaves just the original when it is interrupted, wherever the codec hangs",
    (disk, { active, files, segment, twin }) =>
      Effect.gen(function* () {
        yield* disk.write(segment, bytesOf("some text"))
        const before = yield* seen(active, segment)
        for (const hung of ["encode", "decode"] as const) {
          const reached = yield* Deferred.make<void>()
          const codec = misbehaving({
            [hung]: async function* (input: AsyncIterable<Uint8Array>) {
              for await (const chunk of input) {
                yield chunk.slice(0, 1)
                await Effect.runPromise(Deferred.succeed(reached, undefined))
                await new Promise<never>(() => undefined)
              }
            },
          })
          const fiber = yield* Effect.forkChild(files.compress(before, twin, codec))
          yield* Deferred.await(reached)
          yield* Fiber.interrupt(fiber)
          yield* untouched(disk, segment, "some text")
        }
      }),
  ),
]

const matching: ReadonlyArray<LogFilesCase> = [
  check(
    "matches is true only of a twin that decodes to just the original's bytes",
    (disk, { active, files, segment, twin }) =>
      Effect.gen(function* () {
        yield* disk.write(segment, bytesOf("some text"))
        const original = yield* seen(active, segment)
        const twins: ReadonlyArray<readonly [Uint8Array, boolean]> = [
          [packed("some text"), true],
          [packed("some texT"), false],
          [packed("some tex"), false],
          [packed("some text and more"), false],
          [packed("some text").slice(0, -1), false],
          [bytesOf("some text"), false],
          [bytesOf(""), false],
        ]
        for (const [bytes, expected] of twins) {
          yield* disk.write(twin, bytes)
          const found = yield* files.matches(yield* seen(active, twin), original, mirrorCodec)
          same([bytes, found], [bytes, expected])
        }
        same(yield* disk.names(disk.directory), [nameOf(segment), nameOf(twin)])
      }),
  ),
  check("compress and matches compare lengths too: these four bytes have the checksum of none", (disk, log) =>
    Effect.gen(function* () {
      const { active, files, segment, twin } = log
      yield* disk.write(segment, CHECKSUM_OF_NOTHING)
      const original = yield* seen(active, segment)
      const dropping = misbehaving({
        encode: async function* (input) {
          for await (const chunk of input) if (chunk.length === 0) yield chunk
          yield* [MARK, MARK]
        },
      })
      same(yield* failureOf(files.compress(original, twin, dropping)), { reason: "Corrupt", path: segment })
      yield* disk.write(twin, packed(""))
      same(yield* files.matches(yield* seen(active, twin), original, mirrorCodec), false)
    }),
  ),
  check("matches is an error when either file isn't the one that was seen, or changes, or can't be read", (disk, log) =>
    Effect.gen(function* () {
      const { active, files, segment, twin } = log
      yield* disk.write(segment, bytesOf("some text"))
      yield* disk.write(twin, packed("some text"))
      const original: FileSeen = yield* seen(active, segment)
      const made: FileSeen = yield* seen(active, twin)
      same(yield* failureOf(files.matches({ ...made, identity: "other" }, original, mirrorCodec)), {
        reason: "Changed",
        path: twin,
      })
      same(yield* failureOf(files.matches(made, { ...original, identity: "other" }, mirrorCodec)), {
        reason: "Changed",
        path: segment,
      })
      const growing = misbehaving({
        decode: async function* (input) {
          yield* mirrorCodec.decode(input)
          await Effect.runPromise(disk.append(segment, bytesOf("+")))
        },
      })
      same(yield* failureOf(files.matches(made, original, growing)), { reason: "Changed", path: segment })
      yield* disk.write(segment, bytesOf("some text"), { modifiedMs: 1_600_000_000_000 })
      const rewriting = misbehaving({
        decode: async function* (input) {
          yield* mirrorCodec.decode(input)
          await Effect.runPromise(disk.write(segment, bytesOf("some text"), { modifiedMs: 1_600_000_001_000 }))
        },
      })
      same(yield* failureOf(files.matches(made, original, rewriting)), { reason: "Changed", path: segment })
      yield* disk.unlink(twin)
      same(yield* failureOf(files.matches(made, original, mirrorCodec)), { reason: "NotFound", path: twin })
      yield* disk.symlink(nameOf(segment), twin)
      same(yield* failureOf(files.matches(made, original, mirrorCodec)), { reason: "NotRegular", path: twin })
    }),
  ),
  check(
    "matches stops at once when a twin decodes to more than the original holds",
    (disk, { active, files, segment, twin }) =>
      Effect.gen(function* () {
        yield* disk.write(segment, bytesOf("some text"))
        yield* disk.write(twin, packed("some text"))
        let decodedBytes = 0
        const bomb = misbehaving({
          decode: async function* () {
            for (; decodedBytes < 1_000_000; decodedBytes += 5) yield bytesOf("bytes")
          },
        })
        const made = yield* seen(active, twin)
        same([yield* files.matches(made, yield* seen(active, segment), bomb), decodedBytes], [false, 5])
      }),
  ),
]

/** Every case, each to be run with a harness of its own. */
export const logFilesSuite: ReadonlyArray<LogFilesCase> = [
  ...looking,
  ...renaming,
  ...removing,
  ...compressing,
  ...matching,
]
