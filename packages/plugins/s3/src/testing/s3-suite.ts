/**
 * What every `S3` must do, as named cases: for the one over AWS's SDK, for those in memory that tests bring, and for those of others. Knows no test framework and
 * no server; a case fails by throwing. What lies in the bucket beside a case's own keys, it leaves alone.
 */
import { createHash } from "node:crypto"
import { crc32 } from "node:zlib"
import { Effect, Result } from "effect"
import type { Head, NewObject, Part, PartReceipt, S3 } from "../client.ts"
import type { S3Failure } from "../failure.ts"
import { RAW_SHA256 } from "../metadata.ts"
import { crcText, type Digest, digestSink } from "../reading.ts"

export interface S3Case {
  readonly name: string
  readonly run: (s3: S3) => Effect.Effect<void, S3Failure>
}

/** S3's least for every part but the last. */
const PART_BYTES = 5 * 1024 ** 2
const MTIME_MS = Date.parse("2026-09-09T04:33:10Z")

const shown = (value: unknown): string => JSON.stringify(value, (_, part: unknown) => part ?? null, 1)
/** Values are plain data here, so their text says whether they are equal. */
const same = (actual: unknown, expected: unknown): void => {
  const [is, should] = [shown(actual), shown(expected)]
  if (is !== should) throw new Error(`expected ${should}\nbut found ${is}`)
}

const digestOf = (...pieces: ReadonlyArray<Uint8Array>): Digest => {
  const sink = digestSink({ md5: true })
  for (const piece of pieces) sink.update(piece)
  return sink.done()
}
const objectOf = (key: string, ...pieces: ReadonlyArray<Uint8Array>): NewObject => {
  const stored = digestOf(...pieces)
  const metadata = { [RAW_SHA256]: stored.sha256 }
  return { key, contentType: "text/plain", metadata, stored, nowMs: MTIME_MS }
}
const partOf = (number: number, body: Uint8Array): Part => ({
  number,
  body,
  crc32: crcText(crc32(body)),
  md5: createHash("md5").update(body).digest("hex"),
})
const base64 = (hex: string): string => Buffer.from(hex, "hex").toString("base64")

/** Why an operation fails; null: it doesn't. */
const kindOf = <A>(effect: Effect.Effect<A, S3Failure>): Effect.Effect<S3Failure["kind"] | null> =>
  Effect.map(Effect.result(effect), (result) => (Result.isSuccess(result) ? null : result.failure.kind))

/** What a HEAD says, held against what was sent. What a server keeps nothing of, it tells nothing of, and never something else. */
const sameHead = (head: Head | null, { metadata, stored }: NewObject, etag: string): void => {
  const or = (told: string | null | undefined, truth: string): string | null => (told === null ? null : truth)
  same(head, {
    bytes: stored.bytes,
    etag: head?.etagIsMd5 === true ? `"${etag}"` : head?.etag,
    versionId: head?.versionId,
    sha256: or(head?.sha256, base64(stored.sha256)),
    crc32: or(head?.crc32, stored.crc32),
    etagIsMd5: head?.etagIsMd5,
    rawSha256: metadata[RAW_SHA256],
  })
  if (head?.etag === "") throw new Error("an object has no ETag")
}

const readAll = (s3: S3, key: string, etag: string): Effect.Effect<string, S3Failure> =>
  s3.read(key, etag, async (bytes) => {
    const pieces: Array<Uint8Array> = []
    for await (const piece of bytes) pieces.push(piece)
    return digestOf(...pieces).sha256
  })

const began = (s3: S3, object: NewObject): Effect.Effect<string, S3Failure> =>
  Effect.map(s3.createUpload(object), ({ uploadId }) => uploadId)
const sent = (
  s3: S3,
  { key }: NewObject,
  id: string,
  ...bodies: ReadonlyArray<Uint8Array>
): Effect.Effect<ReadonlyArray<PartReceipt>, S3Failure> =>
  Effect.forEach(bodies, (body, at) => s3.uploadPart(key, id, partOf(at + 1, body)), { concurrency: 2 })

const LINE: Uint8Array = Buffer.from("2026-09-09T04:33:10.123456789Z stdout F a line\n")
const OTHER: Uint8Array = Buffer.from("2026-09-09T04:33:11.123456789Z stdout F another\n")
const LARGE: Uint8Array = Buffer.alloc(PART_BYTES, LINE)

/** `s3Suite("some/prefix").forEach(({ name, run }) => it(name, () => Effect.runPromise(run(s3))))`, with a prefix that no other run has. */
export const s3Suite = (prefix: string): ReadonlyArray<S3Case> => [
  {
    name: "says of a key that is free that nothing lies there",
    run: (s3) => Effect.map(s3.head(`${prefix}/free`), (head) => same(head, null)),
  },
  {
    name: "puts an object, and tells and gives back just what was sent",
    run: (s3) =>
      Effect.gen(function* () {
        const object = objectOf(`${prefix}/put`, LINE)
        yield* s3.put(object, LINE, null)
        const head = yield* s3.head(object.key)
        sameHead(head, object, object.stored.md5 ?? "")
        same(yield* readAll(s3, object.key, head?.etag ?? ""), object.stored.sha256)
      }),
  },
  {
    name: "puts an object of no bytes",
    run: (s3) =>
      Effect.gen(function* () {
        const object = objectOf(`${prefix}/empty`)
        yield* s3.put(object, new Uint8Array(), null)
        sameHead(yield* s3.head(object.key), object, object.stored.md5 ?? "")
      }),
  },
  {
    name: "puts nothing over what lies there",
    run: (s3) =>
      Effect.gen(function* () {
        const [first, second] = [objectOf(`${prefix}/taken`, LINE), objectOf(`${prefix}/taken`, OTHER)]
        yield* s3.put(first, LINE, null)
        same(yield* kindOf(s3.put(second, OTHER, null)), "exists")
        sameHead(yield* s3.head(first.key), first, first.stored.md5 ?? "")
      }),
  },
  {
    name: "replaces the object of an ETag, and no other",
    run: (s3) =>
      Effect.gen(function* () {
        const [first, second] = [objectOf(`${prefix}/replaced`, LINE), objectOf(`${prefix}/replaced`, OTHER)]
        yield* s3.put(first, LINE, null)
        const etag = (yield* s3.head(first.key))?.etag ?? ""
        same(yield* kindOf(s3.put(second, OTHER, `"${digestOf(OTHER).md5}"`)), "exists")
        yield* s3.put(second, OTHER, etag)
        sameHead(yield* s3.head(first.key), second, second.stored.md5 ?? "")
        same(yield* kindOf(readAll(s3, first.key, etag)), "exists")
      }),
  },
  {
    name: "replaces nothing where nothing lies",
    run: (s3) =>
      Effect.gen(function* () {
        const object = objectOf(`${prefix}/nothing`, LINE)
        // S3 says 404, others 412.
        const kind = yield* kindOf(s3.put(object, LINE, `"${object.stored.md5}"`))
        same(kind === "exists" ? "gone" : kind, "gone")
        same(yield* s3.head(object.key), null)
      }),
  },
  {
    name: "refuses bytes that are others than they are said to be",
    run: (s3) =>
      Effect.gen(function* () {
        const object = objectOf(`${prefix}/bent`, LINE)
        const bent = LINE.slice()
        bent[7] = (bent[7] ?? 0) ^ 1
        same(yield* kindOf(s3.put(object, bent, null)), "damaged")
        same(yield* s3.head(object.key), null)
      }),
  },
  {
    name: "makes an object of parts, which isn't there before it is completed",
    run: (s3) =>
      Effect.gen(function* () {
        const object = objectOf(`${prefix}/parts`, LARGE, LINE)
        const id = yield* began(s3, object)
        const parts = yield* sent(s3, object, id, LARGE, LINE)
        same(yield* s3.head(object.key), null)
        yield* s3.completeUpload(object, id, parts, null)
        const head = yield* s3.head(object.key)
        const md5s = createHash("md5")
        for (const body of [LARGE, LINE]) md5s.update(digestOf(body).md5 ?? "", "hex")
        sameHead(head, object, `${md5s.digest("hex")}-2`)
        same(yield* readAll(s3, object.key, head?.etag ?? ""), object.stored.sha256)
        same(yield* s3.uploadsTo(object.key), [])
      }),
  },
  {
    name: "completes no upload over what lies there",
    run: (s3) =>
      Effect.gen(function* () {
        const [first, second] = [objectOf(`${prefix}/taken-by-one`, LINE), objectOf(`${prefix}/taken-by-one`, OTHER)]
        const id = yield* began(s3, second)
        const parts = yield* sent(s3, second, id, OTHER)
        yield* s3.put(first, LINE, null)
        same(yield* kindOf(s3.completeUpload(second, id, parts, null)), "exists")
        sameHead(yield* s3.head(first.key), first, first.stored.md5 ?? "")
        yield* s3.abortUpload(first.key, id)
      }),
  },
  {
    name: "completes no upload with a part that it doesn't have",
    run: (s3) =>
      Effect.gen(function* () {
        const object = objectOf(`${prefix}/missing-part`, LARGE, LINE)
        const id = yield* began(s3, object)
        const parts = yield* sent(s3, object, id, LARGE)
        const made: PartReceipt = { ...partOf(2, LINE), etag: `"${digestOf(LINE).md5}"` }
        same(yield* kindOf(s3.completeUpload(object, id, [...parts, made], null)), "damaged")
        same(yield* s3.head(object.key), null)
        yield* s3.abortUpload(object.key, id)
      }),
  },
  {
    name: "knows the uploads to a key, and to no other, until they are aborted; then they are gone",
    run: (s3) =>
      Effect.gen(function* () {
        const object = objectOf(`${prefix}/aborted`, LINE)
        const beside = objectOf(`${prefix}/aborted.gz`, LINE)
        const ids = [yield* began(s3, object), yield* began(s3, object)]
        const other = yield* began(s3, beside)
        same((yield* s3.uploadsTo(object.key)).toSorted(), ids.toSorted())
        for (const id of ids) yield* s3.abortUpload(object.key, id)
        same([yield* s3.uploadsTo(object.key), yield* s3.uploadsTo(beside.key)], [[], [other]])
        // Once more, as by one that didn't hear the answer.
        yield* s3.abortUpload(object.key, ids[0] ?? "")
        same(yield* kindOf(sent(s3, object, ids[0] ?? "", LINE)), "gone")
        same(yield* s3.head(object.key), null)
        yield* s3.abortUpload(beside.key, other)
      }),
  },
]
