/**
 * The dialogue with S3 about one segment, until it is proven that S3 has it, or known why not. Never takes a claim for a proof: neither a receipt,
 * nor an object's metadata, nor a reply to an upload. What is there and differs stays, here and there.
 */
import { type Doomed, formatBytes, type PluginError } from "@cordwood/core"
import { Clock, Effect, Random, type Semaphore } from "effect"
import type { Head, NewObject, Replaces, S3 } from "./client.ts"
import type { Config } from "./config.ts"
import type { Conflict, Shipped, UploadBegan } from "./events.ts"
import { S3Failure } from "./failure.ts"
import { type Form, formOf, Kept, measure, pack, type Packed, type Raw, reading, unreadable, wantsMd5 } from "./form.ts"
import { keyOf } from "./key.ts"
import { metadataOf } from "./metadata.ts"
import { checksumIn, type Found, hold, lookAhead, type Proven } from "./proof.ts"
import { readTold, stillThere, type Told } from "./told.ts"
import { readWhole, uploadInParts } from "./upload.ts"

/** How often S3 is asked anew about one segment: after a race, damage on the way, or an upload that may have succeeded or not. */
const ROUNDS = 4
/** The wait before a round is a random part of this, doubled each time. */
const ROUND_WAIT_MS = 200

/** Nothing changes until a person has looked. */
const CONFLICT_RETRY_MS = 10 * 60_000
export interface Shipping {
  readonly s3: S3
  readonly config: Config
  readonly node: string
  readonly buffers: Semaphore.Semaphore
}
type Trouble = S3Failure | Kept | PluginError

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
    const raw = yield* measure(shipping.config, doomed)
    const told = readTold(shipping.s3, doomed)
    if (told._tag === "shipped" && (yield* stillThere(shipping.s3, told.receipt, raw))) return
    const asked: Asked = { ...shipping, doomed, form, raw, told, startedMs }
    const sent = (yield* findElsewhere(asked)) ?? (yield* send(asked))
    yield* Effect.annotateCurrentSpan({ "aws.s3.key": sent.key, "cordwood.bytes.stored": sent.stored.bytes })
    yield* doomed.record({ type: "s3.Shipped", data: yield* receiptOf(asked, sent) })
  })

const monotonicMs: Effect.Effect<number> = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos / 1_000_000n))

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
      const found = yield* hold(s3, { key, head, decode, raw, stored: decode === null ? raw : null, etag: null })
      if (found._tag === "same") return found
    }
    return null
  })

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
              const packed = yield* pack(config, form, raw)
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
        uploadInParts(s3, { object, source, partSize, concurrency, md5: wantsMd5(config), buffers, replaces, began }),
        "ReadFailure",
        ({ error }) => Effect.fail(unreadable(error)),
      )
    })
  })

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
        head === null ? { _tag: "nothing" } : yield* hold(s3, { key, head, decode: form.decode, raw, stored, etag })
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
