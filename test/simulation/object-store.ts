/**
 * S3 beyond the node, in memory, by S3's own rules: whole objects or none, conditions, uploads in parts, checksums, and what a HEAD says is what lies there. It has its
 * moods, and a client that tries again as AWS's does. A request that is under way when its agent dies may still be done. Knows nothing of logs.
 */
import { createHash } from "node:crypto"
import { crc32 } from "node:zlib"
import {
  classify,
  type Head,
  type NewObject,
  type Part,
  type PartReceipt,
  placeOf,
  type Replaces,
  type S3,
  type S3Failure,
} from "@cordwood/plugin-s3/testing"
import { Effect } from "effect"
import type { Chance } from "./chance.ts"

/**
 * `refuses`: it can't now. `hangs`: does nothing, and gives no answer. `silent`: does it, and gives no answer. `late`: does it long after its client has given up. `slow`: every
 * way takes seconds. `flaky`: of its answers, and of the bodies it sends, half are lost. `bends`: a bit of what is sent is another one, on the way or on its disk.
 */
export type Mood = "well" | "refuses" | "hangs" | "silent" | "slow" | "late" | "flaky" | "bends"
/** What S3 can be asked. */
export type Request =
  | "HeadObject"
  | "PutObject"
  | "CreateMultipartUpload"
  | "UploadPart"
  | "CompleteMultipartUpload"
  | "AbortMultipartUpload"
  | "ListMultipartUploads"
  | "GetObject"
/** What becomes of so many requests of one kind, whatever mood S3 is in. `crash`: the agent dies as it arrives. */
export interface Blow {
  readonly request: Request
  readonly mood: Mood | "crash"
  readonly times: number
}

/** What a server is like, and the client that asks it. */
export interface Traits {
  /** What it keeps of an object beside its bytes: checksums of its own, as AWS's; an ETag made of MD5s; or an ETag that says nothing, as with SSE-KMS. */
  readonly keeps: "checksums" | "md5" | "nothing"
  /** The agent may list neither objects nor uploads: of a key that is free it is told 403. */
  readonly hides: boolean
  /** How often one request is tried, and how long an answer is waited for, milliseconds. */
  readonly attempts: number
  readonly patienceMs: number
}

export interface StoredObject {
  readonly key: string
  readonly bytes: Uint8Array
  readonly metadata: Readonly<Record<string, string>>
  readonly etag: string
  readonly sha256: string | null
  readonly crc32: string | null
  /** When an agent was last told that it is there. */
  seenMs: number
}
interface Upload {
  readonly id: string
  readonly object: NewObject
  readonly parts: Map<number, { readonly bytes: Uint8Array; readonly etag: string }>
}

export interface Surroundings {
  /** Of the world, which goes on whatever becomes of the agent. */
  readonly after: (waitMs: number, run: () => void) => unknown
  readonly nowMs: () => number
  readonly chance: Chance
  /** The agent that runs dies. */
  readonly crash: () => void
  readonly tell: (what: () => string) => void
}

const BUCKET = "logs"
/** Milliseconds that a request takes to get there, and its answer to get back. */
const WAY_MS = 15
const SLOW_WAY_MS = 4_000
const LATE_MS = 9_000
/** The wait before another try is a random part of this, doubled each time, and no more than the limit. */
const BACKOFF_MS = 100
const MAX_BACKOFF_MS = 20_000
/** Of the requests of an agent that has died, so many in a hundred are done nevertheless. */
const OUTLIVES = 70
/** What is bent is bent in so many in a hundred. */
const BENT = 60

/** As AWS's client throws it. */
interface Thrown {
  readonly name: string
  readonly code?: string
  readonly $metadata?: { readonly httpStatusCode: number }
}
const refusal = (httpStatusCode: number, name: string): Thrown => ({ name, $metadata: { httpStatusCode } })
const NO_ANSWER: Thrown = { name: "TimeoutError" }
const CUT_OFF: Thrown = { name: "Error", code: "ECONNRESET" }
const isTransient = ({ $metadata }: Thrown): boolean => $metadata === undefined || $metadata.httpStatusCode >= 500

/** What a server does with a request, in a mood. */
type Does<A> = (mood: Mood) => A
type Answer<A> = { readonly ok: true; readonly value: A } | { readonly ok: false; readonly thrown: Thrown }
const attempted = <A>(does: () => A): Answer<A> => {
  try {
    return { ok: true, value: does() }
  } catch (thrown) {
    if (thrown instanceof Error) throw thrown
    return { ok: false, thrown: thrown as Thrown }
  }
}

const digest = (algorithm: "md5" | "sha256", bytes: Uint8Array, form: "hex" | "base64"): string =>
  createHash(algorithm).update(bytes).digest(form)
const crcOf = (bytes: Uint8Array): string => {
  const four = Buffer.alloc(4)
  four.writeUInt32BE(crc32(bytes))
  return four.toString("base64")
}

export class ObjectStore {
  readonly #traits: Traits
  readonly #around: Surroundings
  mood: Mood = "well"
  readonly objects = new Map<string, StoredObject>()
  /** What was there, and somebody took. */
  readonly lost: Array<StoredObject> = []
  readonly #uploads = new Map<string, Upload>()
  readonly #blows: Array<{ readonly blow: Blow; left: number }> = []
  #names = 0

  constructor(traits: Traits, around: Surroundings) {
    this.#traits = traits
    this.#around = around
  }

  /** Somebody takes all that is there, uploads that aren't complete among it. */
  empty(): void {
    this.lost.push(...this.objects.values())
    this.objects.clear()
    this.#uploads.clear()
  }

  strike(blow: Blow): void {
    this.#blows.push({ blow, left: blow.times })
  }
  /** It is well, and nothing is to happen to it any more. */
  heal(): void {
    this.mood = "well"
    this.#blows.length = 0
  }

  /** As the agent that runs now reaches it. */
  client(isDead: () => boolean): S3 {
    const { nowMs } = this.#around
    const ask = <A>(op: Request, key: string, does: Does<A>) => this.#ask(op, key, isDead, does)
    const done = (op: Request, key: string, does: Does<unknown>): Effect.Effect<void, S3Failure> =>
      Effect.asVoid(ask(op, key, does))
    return {
      place: PLACE,
      bucket: BUCKET,
      head: (key) =>
        Effect.map(
          ask("HeadObject", key, () => this.#at(key)),
          ({ value: object }) => {
            if (object === null) return null
            object.seenMs = nowMs()
            return this.#headOf(object)
          },
        ),
      put: (object, body, replaces) => {
        const sent = body.slice()
        return done("PutObject", object.key, (mood) => this.#put(object, sent, replaces, mood))
      },
      createUpload: (object) =>
        Effect.map(
          ask("CreateMultipartUpload", object.key, () => {
            const id = this.#newName("upload")
            this.#uploads.set(id, { id, object, parts: new Map() })
            return id
          }),
          ({ tries, value: uploadId }) => ({ uploadId, tries }),
        ),
      uploadPart: (key, id, part) => {
        const sent = part.body.slice()
        return Effect.map(
          ask("UploadPart", key, (mood) => this.#takePart(id, part, sent, mood)),
          ({ value }) => value,
        )
      },
      completeUpload: (object, id, parts, replaces) =>
        done("CompleteMultipartUpload", object.key, () => this.#complete(object, id, parts, replaces)),
      abortUpload: (key, id) => done("AbortMultipartUpload", key, () => this.#uploads.delete(id)),
      uploadsTo: (key) =>
        Effect.map(
          ask("ListMultipartUploads", key, () => {
            if (this.#traits.hides) throw refusal(403, "AccessDenied")
            return [...this.#uploads.values()].flatMap(({ id, object }) => (object.key === key ? [id] : []))
          }),
          ({ value }) => value,
        ),
      read: (key, etag, consume) =>
        Effect.flatMap(
          ask("GetObject", key, (mood) => {
            const object = this.objects.get(key)
            if (object === undefined) throw refusal(404, "NoSuchKey")
            if (object.etag !== etag) throw refusal(412, "PreconditionFailed")
            return { object, breaksOff: mood === "flaky" && this.#around.chance.percent(50) }
          }),
          ({ value: { breaksOff, object } }) =>
            Effect.tryPromise({
              try: async (signal) => {
                const found = await consume(bodyOf(object.bytes, breaksOff), signal)
                object.seenMs = nowMs()
                return found
              },
              catch: (thrown) => classify("GetObject", PLACE, thrown, () => ""),
            }),
        ),
    }
  }

  #at(key: string): StoredObject | null {
    const object = this.objects.get(key) ?? null
    // The answer to a HEAD has no body, and so no word for it.
    if (object === null && this.#traits.hides) throw refusal(403, "Forbidden")
    return object
  }
  #headOf({ bytes, crc32, etag, metadata, sha256 }: StoredObject): Head {
    return {
      bytes: bytes.length,
      etag,
      versionId: null,
      sha256,
      crc32,
      etagIsMd5: this.#traits.keeps !== "nothing",
      rawSha256: metadata["cordwood-raw-sha256"] ?? null,
    }
  }
  #newName(of: string): string {
    this.#names += 1
    return `${of}-${this.#names}`
  }

  #put(object: NewObject, sent: Uint8Array, replaces: Replaces, mood: Mood): void {
    this.#demand(object.key, replaces)
    const arrived = this.#carried(sent, mood)
    if (this.#traits.keeps !== "nothing" && digest("sha256", arrived, "hex") !== object.stored.sha256) {
      throw refusal(400, "BadDigest")
    }
    const bytes = this.#carried(arrived, mood)
    const { keeps } = this.#traits
    const sha256 = keeps === "checksums" ? digest("sha256", bytes, "base64") : null
    this.#store(object, bytes, { etag: digest("md5", bytes, "hex"), sha256, crc32: null })
  }
  #takePart(id: string, part: Part, sent: Uint8Array, mood: Mood): PartReceipt {
    const upload = this.#uploadOf(id)
    const arrived = this.#carried(sent, mood)
    if (this.#traits.keeps !== "nothing" && crcOf(arrived) !== part.crc32) throw refusal(400, "BadDigest")
    const bytes = this.#carried(arrived, mood)
    const etag = `"${digest("md5", bytes, "hex")}"`
    upload.parts.set(part.number, { bytes, etag })
    return { number: part.number, etag, crc32: part.crc32, md5: part.md5 }
  }
  #complete(object: NewObject, id: string, receipts: ReadonlyArray<PartReceipt>, replaces: Replaces): void {
    const upload = this.#uploadOf(id)
    this.#demand(object.key, replaces)
    const parts = receipts.map(({ etag, number }, at) => {
      const part = upload.parts.get(number)
      if (part === undefined || part.etag !== etag || number !== at + 1) throw refusal(400, "InvalidPart")
      return part
    })
    const bytes = Buffer.concat(parts.map((part) => part.bytes))
    const { keeps } = this.#traits
    if (keeps === "checksums" && crcOf(bytes) !== object.stored.crc32) throw refusal(400, "BadDigest")
    const md5s = Buffer.concat(parts.map((part) => Buffer.from(part.etag.slice(1, -1), "hex")))
    const etag = `${digest("md5", md5s, "hex")}-${parts.length}`
    this.#uploads.delete(id)
    // What the upload was begun with is what the object is described by.
    this.#store(upload.object, bytes, { etag, sha256: null, crc32: keeps === "checksums" ? crcOf(bytes) : null })
  }
  #uploadOf(id: string): Upload {
    const upload = this.#uploads.get(id)
    if (upload === undefined) throw refusal(404, "NoSuchUpload")
    return upload
  }
  #demand(key: string, replaces: Replaces): void {
    const there = this.objects.get(key)
    if (replaces === null ? there !== undefined : there !== undefined && there.etag !== replaces) {
      throw refusal(412, "PreconditionFailed")
    }
    if (replaces !== null && there === undefined) throw refusal(404, "NoSuchKey")
  }
  #store(
    { key, metadata }: NewObject,
    bytes: Uint8Array,
    { etag, ...checksums }: Pick<StoredObject, "etag" | "sha256" | "crc32">,
  ): void {
    const own = this.#traits.keeps === "nothing" ? this.#newName("object") : etag
    this.objects.set(key, { key, bytes, metadata: { ...metadata }, etag: `"${own}"`, ...checksums, seenMs: -Infinity })
  }
  /** A bit of it may be another one. */
  #carried(bytes: Uint8Array, mood: Mood): Uint8Array {
    const { chance } = this.#around
    if (mood !== "bends" || bytes.length === 0 || !chance.percent(BENT / 2)) return bytes
    const bent = bytes.slice()
    const at = chance.below(bent.length)
    bent[at] = (bent[at] ?? 0) ^ (1 << chance.below(8))
    return bent
  }

  /** Asks as often as the client tries. */
  #ask<A>(
    op: Request,
    key: string,
    isDead: () => boolean,
    does: Does<A>,
  ): Effect.Effect<{ readonly value: A; readonly tries: number }, S3Failure> {
    const { attempts, patienceMs } = this.#traits
    const once = Effect.callback<A, Thrown>((resume) => {
      if (isDead()) return
      this.#serve(op, key, isDead, does, (answer) => {
        if (!isDead()) resume(answer.ok ? Effect.succeed(answer.value) : Effect.fail(answer.thrown))
      })
    }).pipe(Effect.timeoutOrElse({ duration: patienceMs, orElse: () => Effect.fail(NO_ANSWER) }))
    const tried = (tries: number): Effect.Effect<{ readonly value: A; readonly tries: number }, Thrown> =>
      once.pipe(
        Effect.map((value) => ({ value, tries })),
        Effect.catch((thrown) => {
          if (tries >= attempts || !isTransient(thrown)) return Effect.fail(thrown)
          const most = Math.min(MAX_BACKOFF_MS, BACKOFF_MS * 2 ** tries)
          return Effect.andThen(Effect.sleep(this.#around.chance.below(most)), tried(tries + 1))
        }),
      )
    return Effect.mapError(tried(1), (thrown) => classify(op, PLACE, thrown, () => ""))
  }

  #serve<A>(op: Request, key: string, isDead: () => boolean, does: Does<A>, answer: (answer: Answer<A>) => void): void {
    const { after, chance, crash, tell } = this.#around
    const blow = this.#blows.find((one) => one.blow.request === op && one.left > 0)
    if (blow !== undefined) blow.left -= 1
    const mood = blow?.blow.mood ?? this.mood
    const wayMs = mood === "slow" ? SLOW_WAY_MS : WAY_MS
    const act = (): Answer<A> => {
      const answered = attempted(() => does(mood === "crash" ? "well" : mood))
      tell(() => `${op} ${key}${answered.ok ? "" : `  -> ${answered.thrown.name}`}`)
      return answered
    }
    after(wayMs, () => {
      if (mood !== "well") tell(() => `${op} ${key}  <- ${mood}`)
      if (mood === "crash") crash()
      if (mood === "hangs" || (isDead() && !chance.percent(OUTLIVES))) return
      if (mood === "late") {
        after(LATE_MS, act)
        return
      }
      const answered: Answer<A> = mood === "refuses" ? { ok: false, thrown: refusal(503, "SlowDown") } : act()
      if (mood === "silent" || (mood === "flaky" && chance.percent(50))) return
      after(wayMs, () => answer(answered))
    })
  }
}

const PLACE = placeOf(BUCKET, "a simulation")

const bodyOf = async function* (bytes: Uint8Array, breaksOff: boolean): AsyncGenerator<Uint8Array, void, undefined> {
  const half = Math.ceil(bytes.length / 2)
  yield bytes.slice(0, half)
  if (breaksOff) throw CUT_OFF
  yield bytes.slice(half)
}
