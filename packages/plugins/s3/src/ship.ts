/**
 * The dialogue with S3 about one segment, until it is proven that S3 has it, or known why not. Never takes a claim for a proof: neither a receipt,
 * nor an object's metadata, nor a reply to an upload. What is there and differs stays, here and there.
 */
import { type Codec, type Doomed, formatBytes, LogFilesError, NO_COMPRESSION, type PluginError } from "@cordwood/core"
import { Clock, Data, Effect, Random, type Semaphore } from "effect"
import type { Head, NewObject, Replaces, S3 } from "./client.ts"
import type { Config } from "./config.ts"
import { Conflict, Shipped, UploadBegan } from "./events.ts"
import { S3Failure } from "./failure.ts"
import { keyOf } from "./key.ts"
import { metadataOf } from "./metadata.ts"
import { type Digest, digestSink, type Lines, linesSink, readInto } from "./reading.ts"
import { readWhole, SourceChanged, uploadInParts } from "./upload.ts"

/** How often S3 is asked anew about one segment: after a race, damage on the way, or an upload that may have succeeded or not. */
const ROUNDS = 4
/** The wait before a round is a random part of this, doubled each time. */
const ROUND_WAIT_MS = 200

/** The segment stays, for a reason of its own. */
export class Kept extends Data.TaggedError("Kept")<{ readonly why: string; readonly retryAfterMs: number }> {}
/** Something else lies at the key. */
const CONFLICT_RETRY_MS = 10 * 60_000
/** The file can't be read as it should. */
const UNREADABLE_RETRY_MS = 60_000

export interface Shipping {
  readonly s3: S3
  readonly config: Config
  readonly node: string
  readonly buffers: Semaphore.Semaphore
}
type Trouble = S3Failure | Kept | PluginError

/** How a segment is stored: as it lies, or compressed on the way. */
interface Form {
  readonly suffix: string
  readonly codec: string | null
  readonly open: () => AsyncIterable<Uint8Array>
  /** Null: what is stored is what was written. */
  readonly decode: Codec["decode"] | null
  readonly encodes: boolean
}
/** `body`: all of it, where it was worth keeping. */
interface Packed {
  readonly stored: Digest
  readonly body: Uint8Array | null
}
type Raw = Digest & Lines
/** An object that is proven to hold the segment. */
interface Proven {
  readonly key: string
  readonly head: Head
  readonly stored: Digest
  readonly proof: Shipped["proof"]
}
/** What lies at a key, held against what should. */
type Found =
  | { readonly _tag: "nothing" }
  | ({ readonly _tag: "same" } & Proven)
  /** It is said to be the same log, but isn't whole. */
  | { readonly _tag: "damaged"; readonly head: Head }
  | { readonly _tag: "other"; readonly head: Head }

interface Asked extends Shipping {
  readonly doomed: Doomed
  readonly form: Form
  readonly raw: Raw
  readonly told: Told
  readonly startedMs: number
}

/** Succeeds once the segment, just as it lies on disk, is proven to be in S3. */
export const ship = (shipping: Shipping, doomed: Doomed): Effect.Effect<void, Trouble> =>
  Effect.gen(function* () {
    const startedMs = yield* monotonicMs
    const form = yield* formOf(shipping.config, doomed)
    const raw = yield* measure(shipping, doomed)
    const told = readTold(shipping, doomed)
    if (told._tag === "shipped" && (yield* stillThere(shipping.s3, told.receipt, raw))) return
    const asked: Asked = { ...shipping, doomed, form, raw, told, startedMs }
    const sent = (yield* findElsewhere(asked)) ?? (yield* send(asked))
    yield* Effect.annotateCurrentSpan({ "aws.s3.key": sent.key, "cordwood.bytes.stored": sent.stored.bytes })
    yield* doomed.record({ type: "s3.Shipped", data: yield* receiptOf(asked, sent) })
  })

const monotonicMs: Effect.Effect<number> = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos / 1_000_000n))

const formOf = (config: Config, { codecs, raw, segment, stored }: Doomed): Effect.Effect<Form, Kept> => {
  const { codec: codecId, suffix } = segment
  if (codecId !== null) {
    const codec = codecs.find(({ id }) => id === codecId)
    return Effect.succeed({ suffix, codec: codecId, open: stored, decode: codec?.decode ?? null, encodes: false })
  }
  if (config.compress === NO_COMPRESSION) {
    return Effect.succeed({ suffix: "", codec: null, open: stored, decode: null, encodes: false })
  }
  const codec = codecs.find(({ id }) => id === config.compress)
  return codec === undefined
    ? Effect.fail(
        new Kept({
          why: `there is no codec ${config.compress}, which is to compress segments on their way to S3; add its plugin, or mend compress`,
          retryAfterMs: UNREADABLE_RETRY_MS,
        }),
      )
    : Effect.succeed({
        suffix: codec.suffix,
        codec: codec.id,
        open: () => codec.encode(raw()),
        decode: codec.decode,
        encodes: true,
      })
}

/** What reading throws, as the reason why the file stays. */
const reading = <A>(read: (signal: AbortSignal) => Promise<A>): Effect.Effect<A, Kept> =>
  Effect.tryPromise({ try: read, catch: unreadable })
const unreadable = (error: unknown): Kept => {
  const why =
    error instanceof LogFilesError
      ? `it can't be read, ${error.detail}: ${error.hint}`
      : error instanceof SourceChanged
        ? "its bytes are not the same each time they are read: it is being written to, or its codec isn't deterministic"
        : `it can't be read or compressed: ${error instanceof Error ? error.message : String(error)}`
  return new Kept({ why, retryAfterMs: UNREADABLE_RETRY_MS })
}

const measure = ({ config }: Shipping, doomed: Doomed): Effect.Effect<Raw, Kept> =>
  reading(async (signal) => {
    const digest = digestSink({ md5: wantsMd5(config) })
    const lines = linesSink()
    await readInto(doomed.raw(), signal, digest, lines)
    return { ...digest.done(), ...lines.done() }
  })

/** AWS's own S3 keeps real checksums; of other servers some know nothing but MD5. */
const wantsMd5 = ({ endpoint }: Config): boolean => endpoint !== undefined

type Told =
  | { readonly _tag: "nothing" }
  | { readonly _tag: "shipped"; readonly receipt: Shipped }
  | { readonly _tag: "began"; readonly upload: UploadBegan }
  | { readonly _tag: "conflict"; readonly conflict: Conflict }

/** What was recorded about the segment, if it is about this bucket. */
const readTold = ({ s3 }: Shipping, { told }: Doomed): Told => {
  const read = (): Told => {
    if (told?.type === "s3.Shipped") return { _tag: "shipped", receipt: Shipped.parse(told.data) }
    if (told?.type === "s3.UploadBegan") return { _tag: "began", upload: UploadBegan.parse(told.data) }
    if (told?.type === "s3.Conflict") return { _tag: "conflict", conflict: Conflict.parse(told.data) }
    return { _tag: "nothing" }
  }
  try {
    const known = read()
    const bucket =
      known._tag === "shipped"
        ? known.receipt.bucket
        : known._tag === "began"
          ? known.upload.bucket
          : known._tag === "conflict"
            ? known.conflict.bucket
            : s3.bucket
    return bucket === s3.bucket ? known : { _tag: "nothing" }
  } catch {
    // A receipt that can't be read proves nothing.
    return { _tag: "nothing" }
  }
}

/** Whether the receipt is for just the bytes on disk, and its object as it was when it was proven. */
const stillThere = (s3: S3, receipt: Shipped, raw: Raw): Effect.Effect<boolean, S3Failure> =>
  receipt.rawSha256 !== raw.sha256
    ? Effect.succeed(false)
    : Effect.map(
        s3.head(receipt.key),
        (head) =>
          head !== null &&
          head.etag === receipt.etag &&
          head.bytes === receipt.bytes &&
          head.rawSha256 === receipt.rawSha256 &&
          (receipt.checksum === null || checksumIn(head) === receipt.checksum),
      )

const checksumIn = ({ crc32, sha256 }: Head): string | null =>
  sha256 !== null ? `sha256:${sha256}` : crc32 !== null ? `crc32:${crc32}` : null

const CONTENT_TYPES: Readonly<Record<string, string>> = { ".gz": "application/gzip", ".zst": "application/zstd" }

const keyFor = ({ config, doomed, node, raw }: Asked, suffix: string): string =>
  keyOf(
    { prefix: config.prefix, template: config.key },
    { log: doomed.log, node, stamp: doomed.segment.stamp, sha256: raw.sha256 },
    suffix,
  )

const receiptOf = (
  { doomed, raw, s3, startedMs, told }: Asked,
  { head, key, proof, stored }: Proven,
): Effect.Effect<Shipped> =>
  Effect.map(monotonicMs, (nowMs) => ({
    path: doomed.segment.path,
    bucket: s3.bucket,
    key,
    bytes: stored.bytes,
    sha256: stored.sha256,
    etag: head.etag,
    rawBytes: raw.bytes,
    rawSha256: raw.sha256,
    lines: raw.lines,
    firstTimestamp: raw.firstTimestamp,
    lastTimestamp: raw.lastTimestamp,
    checksum: checksumIn(head),
    proof,
    ...(head.versionId === null ? {} : { versionId: head.versionId }),
    ...(told._tag === "shipped" && told.receipt.key !== key ? { supersedes: told.receipt.key } : {}),
    durationMs: nowMs - startedMs,
  }))

/** S3 says 403 of a key that is free where the agent may not list: what is denied now, the upload will tell of. */
const lookAhead = (s3: S3, key: string): Effect.Effect<Head | null, S3Failure> =>
  Effect.catchIf(
    s3.head(key),
    ({ kind }) => kind === "setup" || kind === "rejected",
    () => Effect.succeed(null),
  )

/**
 * Shipped before in another form: it was plain then, or of another codec, and the receipt is lost. Receipts aren't asked for here, as they name
 * their key.
 */
const findElsewhere = (asked: Asked): Effect.Effect<Proven | null, S3Failure> =>
  Effect.gen(function* () {
    const { doomed, form, raw, s3, told } = asked
    if (told._tag === "shipped") return null
    const forms = [{ suffix: "", decode: null }, ...doomed.codecs].filter(({ suffix }) => suffix !== form.suffix)
    const heads = yield* Effect.forEach(
      forms,
      ({ decode, suffix }) => {
        const key = keyFor(asked, suffix)
        return Effect.map(lookAhead(s3, key), (head) => ({ key, decode, head }))
      },
      { concurrency: "unbounded" },
    )
    for (const { decode, head, key } of heads) {
      if (head === null || head.rawSha256 !== raw.sha256) continue
      const found = yield* hold(asked, key, head, decode, decode === null ? raw : null, null)
      if (found._tag === "same") return found
    }
    return null
  })

/** Holds an object against the segment: by what S3 says of it if that is enough, else by reading it. */
const hold = (
  { raw, s3 }: Asked,
  key: string,
  head: Head,
  decode: Form["decode"],
  stored: Digest | null,
  etag: string | null,
): Effect.Effect<Found, S3Failure> => {
  if (head.rawSha256 !== null && head.rawSha256 !== raw.sha256) return Effect.succeed({ _tag: "other", head })
  const proof = stored === null ? null : proofIn(head, stored, etag)
  if (stored !== null && proof !== null) return Effect.succeed({ _tag: "same", key, head, stored, proof })
  const differs: Found = { _tag: head.rawSha256 === null ? "other" : "damaged", head }
  // What is stored as it was written can't have another length.
  if (decode === null && head.bytes !== raw.bytes) return Effect.succeed(differs)
  return Effect.map(readBack(s3, key, head, decode), (back) =>
    back !== null && back.rawSha256 === raw.sha256
      ? { _tag: "same", key, head, stored: back.stored, proof: "read-back" }
      : differs,
  )
}

const proofIn = (head: Head, stored: Digest, etag: string | null): Shipped["proof"] | null => {
  if (head.bytes !== stored.bytes) return null
  if (head.sha256 !== null)
    return head.sha256 === Buffer.from(stored.sha256, "hex").toString("base64") ? "checksum" : null
  if (head.crc32 !== null) return head.crc32 === stored.crc32 ? "checksum" : null
  return head.etagIsMd5 && etag !== null && head.etag === etag ? "etag" : null
}

/** What an object holds; null if its codec can't read it. */
const readBack = (
  s3: S3,
  key: string,
  head: Head,
  decode: Form["decode"],
): Effect.Effect<{ readonly stored: Digest; readonly rawSha256: string } | null, S3Failure> =>
  Effect.retry(
    s3.read(key, head.etag, async (bytes, signal) => {
      const stored = digestSink({ md5: false })
      const raw = digestSink({ md5: false })
      let isCutOff = true
      const counted = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
        for await (const chunk of bytes) {
          stored.update(chunk)
          yield chunk
        }
        isCutOff = false
      }
      try {
        await readInto(decode === null ? counted() : decode(counted()), signal, raw)
      } catch (error) {
        // A codec that finds fault before the end has found fault with the bytes; else the connection broke.
        if (isCutOff && isTransport(error)) throw error
        return null
      }
      return { stored: stored.done(), rawSha256: raw.done().sha256 }
    }),
    { times: READ_RETRIES, while: ({ kind }) => kind === "unreachable" },
  )
/** The SDK tries a request again, but not a body that breaks off. */
const READ_RETRIES = 2
const isTransport = (error: unknown): boolean =>
  error instanceof Error && (error.name === "AbortError" || error.name === "TimeoutError" || "code" in error)

const send = (asked: Asked): Effect.Effect<Proven, Trouble> =>
  Effect.gen(function* () {
    const { buffers, config, doomed, form, raw, s3, told } = asked
    if (told._tag === "began") {
      const { key, uploadId } = told.upload
      yield* Effect.ignore(s3.abortUpload(key, uploadId))
    }
    const isPlain = form.codec === null
    const packed =
      isPlain && raw.bytes > config.partSize
        ? { stored: raw, body: null }
        : yield* buffers.withPermit(
            Effect.gen(function* () {
              const packed = yield* pack(asked)
              if (packed.stored.bytes > config.partSize) return packed
              return yield* untilProven(asked, packed, (object, replaces) =>
                Effect.gen(function* () {
                  const source = { open: form.open, stored: packed.stored }
                  const body = packed.body ?? (yield* reading((signal) => readWhole(source, signal)))
                  yield* s3.put(object, body, replaces)
                  return packed.stored.md5 === null ? null : `"${packed.stored.md5}"`
                }),
              )
            }),
          )
    if ("proof" in packed) return packed
    const source = { open: form.open, stored: packed.stored }
    return yield* untilProven(asked, packed, (object, replaces) => {
      const began = (uploadId: string) => {
        const data: UploadBegan = { path: doomed.segment.path, bucket: s3.bucket, key: object.key, uploadId }
        return doomed.record({ type: "s3.UploadBegan", data })
      }
      const { concurrency, partSize } = config
      return Effect.catchTag(
        uploadInParts(s3, { object, source, partSize, concurrency, buffers, replaces, began }),
        "ReadFailure",
        ({ error }) => Effect.fail(unreadable(error)),
      )
    })
  })

/** What is to be stored, known before it is sent, and proven to decode to what was written. */
const pack = ({ config, form, raw }: Asked): Effect.Effect<Packed, Kept> => {
  if (form.codec === null) return Effect.succeed({ stored: raw, body: null })
  return reading(async (signal) => {
    const digest = digestSink({ md5: wantsMd5(config) })
    const { decode } = form
    if (!form.encodes || decode === null) {
      await readInto(form.open(), signal, digest)
      return { stored: digest.done(), body: null }
    }
    // Compressing is dear: what fits into one request is kept.
    const kept = Buffer.allocUnsafe(Math.min(config.partSize, raw.bytes + SMALL_GROWTH_BYTES))
    let bytes = 0
    const tapped = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
      for await (const chunk of form.open()) {
        digest.update(chunk)
        if (bytes + chunk.length <= kept.length) kept.set(chunk, bytes)
        bytes += chunk.length
        yield chunk
      }
    }
    const back = digestSink({ md5: false })
    await readInto(decode(tapped()), signal, back)
    if (back.done().sha256 !== raw.sha256) throw new Error(`what ${form.codec} wrote doesn't decode to the segment`)
    return { stored: digest.done(), body: bytes <= kept.length ? kept.subarray(0, bytes) : null }
  })
}
/** What a codec's frame adds to bytes that don't get smaller. */
const SMALL_GROWTH_BYTES = 64 * 1024

/** Looks, sends, and looks again, until what lies at the key is the segment. `send` says the ETag that its object should have, if it can be known. */
const untilProven = (
  asked: Asked,
  { stored }: Packed,
  send: (object: NewObject, replaces: Replaces) => Effect.Effect<string | null, Trouble>,
): Effect.Effect<Proven, Trouble> =>
  Effect.gen(function* () {
    const { doomed, form, node, raw, s3, told } = asked
    const key = keyFor(asked, form.suffix)
    const supersedes = told._tag === "shipped" && told.receipt.key !== key ? told.receipt.key : null
    const object: NewObject = {
      key,
      contentType: form.suffix === "" ? "text/plain" : (CONTENT_TYPES[form.suffix] ?? "application/octet-stream"),
      metadata: metadataOf({
        log: doomed.log,
        node,
        stamp: doomed.segment.stamp,
        codec: form.codec,
        raw,
        stored,
        supersedes,
      }),
      stored,
      nowMs: yield* Clock.currentTimeMillis,
    }
    let etag = stored.md5 === null ? null : `"${stored.md5}"`
    let last: S3Failure | null = null
    for (let sends = 0; ; sends += 1) {
      const head = yield* sends === 0 ? lookAhead(s3, key) : s3.head(key)
      const found: Found =
        head === null ? { _tag: "nothing" } : yield* hold(asked, key, head, form.decode, stored, etag)
      if (found._tag === "same") return found
      if (found._tag === "other") return yield* conflict(asked, key, found.head)
      if (sends === ROUNDS) return yield* Effect.fail(last ?? damaged(s3, found._tag === "damaged"))
      if (last !== null) yield* Effect.sleep(yield* Random.nextIntBetween(0, ROUND_WAIT_MS * 2 ** sends))
      const replaces = found._tag === "damaged" ? found.head.etag : null
      const sent = yield* Effect.result(send(object, replaces))
      if (sent._tag === "Success") {
        last = null
        etag = sent.success ?? etag
      } else if (sent.failure._tag === "S3Failure" && MAY_SUCCEED_NOW.has(sent.failure.kind)) {
        last = sent.failure
      } else {
        return yield* Effect.fail(sent.failure)
      }
    }
  })
/** A failure after which looking and sending once more makes sense. */
const MAY_SUCCEED_NOW: ReadonlySet<S3Failure["kind"]> = new Set(["exists", "contended", "damaged", "gone"])

const damaged = ({ place }: S3, isThere: boolean): S3Failure =>
  new S3Failure({
    op: "HeadObject",
    kind: "damaged",
    code: isThere ? "Damaged" : "Missing",
    detail: `${place.name}: ${isThere ? "what S3 stored is not what was sent" : "S3 took the object and doesn't have it"}`,
    hint: "check the server and what lies between; the file stays",
  })

const conflict = ({ doomed, raw, s3, told }: Asked, key: string, head: Head): Effect.Effect<never, Trouble> =>
  Effect.gen(function* () {
    const { path } = doomed.segment
    const found: Conflict = {
      path,
      bucket: s3.bucket,
      key,
      rawSha256: raw.sha256,
      foundRawSha256: head.rawSha256,
      etag: head.etag,
    }
    const why = `${s3.place.name}: something else lies at its key ${key} already, and is not overwritten; find out who wrote it, let each node and cluster have keys of its own (node, prefix, key), then remove or rename the object`
    const isKnown = told._tag === "conflict" && told.conflict.key === key && told.conflict.etag === head.etag
    if (!isKnown) {
      yield* doomed.record({ type: "s3.Conflict", data: found })
      yield* Effect.logError(`${path} (${formatBytes(raw.bytes)}) is kept: ${why}`)
    }
    return yield* Effect.fail(new Kept({ why, retryAfterMs: CONFLICT_RETRY_MS }))
  })
