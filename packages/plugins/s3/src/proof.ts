/**
 * Whether what lies at a key is the segment. Taken for a proof: S3's checksum of the whole object, an ETag that is made of MD5s, or the object's own
 * bytes. Never: metadata, which anybody may write.
 */
import type { Codec } from "@cordwood/core"
import { Effect } from "effect"
import type { Head, S3 } from "./client.ts"
import type { Shipped } from "./events.ts"
import type { S3Failure } from "./failure.ts"
import { type Digest, digestSink, readInto } from "./reading.ts"

/** An object that is proven to hold the segment. */
export interface Proven {
  readonly key: string
  readonly head: Head
  readonly stored: Digest
  readonly proof: Shipped["proof"]
}
/** What lies at a key, held against what should. */
export type Found =
  | { readonly _tag: "nothing" }
  | ({ readonly _tag: "same" } & Proven)
  /** It is said to be the same log, but isn't whole. */
  | { readonly _tag: "damaged"; readonly head: Head }
  | { readonly _tag: "other"; readonly head: Head }

export interface Candidate {
  readonly key: string
  readonly head: Head
  /** Of the log's bytes as they were written. */
  readonly raw: Digest
  /** Of the object, if it is known what that must be. */
  readonly stored: Digest | null
  /** The object's ETag where ETags are made of MD5s, if that is known. */
  readonly etag: string | null
  /** Null: what is stored is what was written. */
  readonly decode: Codec["decode"] | null
}

/** Before anything is sent. S3 says 403 of a key that is free where the agent may not list: what is denied now, the upload will tell of. */
export const lookAhead = (s3: S3, key: string): Effect.Effect<Head | null, S3Failure> =>
  Effect.catchIf(
    s3.head(key),
    ({ kind }) => kind === "setup" || kind === "rejected",
    () => Effect.succeed(null),
  )

/** Holds an object against the segment: by what S3 says of it if that is enough, else by reading it. */
export const hold = (s3: S3, { decode, etag, head, key, raw, stored }: Candidate): Effect.Effect<Found, S3Failure> => {
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
  decode: Codec["decode"] | null,
): Effect.Effect<{ readonly stored: Digest; readonly rawSha256: string } | null, S3Failure> =>
  Effect.retry(
    s3.read(key, head.etag, async (bytes, signal) => {
      const stored = digestSink({ md5: false })
      const raw = digestSink({ md5: false })
      let broke: { readonly error: unknown } | null = null
      const counted = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
        try {
          for await (const chunk of bytes) {
            stored.update(chunk)
            yield chunk
          }
        } catch (error) {
          broke = { error }
          throw error
        }
      }
      try {
        await readInto(decode === null ? counted() : decode(counted()), signal, raw)
      } catch (error) {
        signal.throwIfAborted()
        const { error: cause } = broke ?? { error: null }
        if (cause !== null) throw cause
        // The bytes came, and the codec finds fault with them.
        return decode === null ? Promise.reject(error) : null
      }
      return { stored: stored.done(), rawSha256: raw.done().sha256 }
    }),
    { times: READ_RETRIES, while: ({ kind }) => kind === "unreachable" },
  )
/** The SDK tries a request again, but not a body that breaks off. */
const READ_RETRIES = 2

/** The checksum of the whole object, if S3 keeps one. */
export const checksumIn = ({ crc32, sha256 }: Head): string | null =>
  sha256 !== null ? `sha256:${sha256}` : crc32 !== null ? `crc32:${crc32}` : null
