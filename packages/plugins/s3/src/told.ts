/** What was recorded about a segment before, and whether a receipt still holds. A receipt alone is never believed. */
import type { Doomed } from "@cordwood/core"
import { Effect } from "effect"
import type { S3 } from "./client.ts"
import { Conflict, Shipped, UploadBegan } from "./events.ts"
import type { S3Failure } from "./failure.ts"
import { checksumIn, lookAhead } from "./proof.ts"
import type { Digest } from "./reading.ts"

/** The last that was recorded about a segment. */
export type Told =
  | { readonly _tag: "nothing" }
  | { readonly _tag: "shipped"; readonly receipt: Shipped }
  | { readonly _tag: "began"; readonly upload: UploadBegan }
  | { readonly _tag: "conflict"; readonly conflict: Conflict }

/** What was recorded about the segment, if it is about this bucket. */
export const readTold = (s3: S3, { told }: Doomed): Told => {
  const here = <A extends { readonly bucket: string }>(known: A, make: (known: A) => Told): Told =>
    known.bucket === s3.bucket ? make(known) : { _tag: "nothing" }
  try {
    if (told?.type === "s3.Shipped") return here(Shipped.parse(told.data), (receipt) => ({ _tag: "shipped", receipt }))
    if (told?.type === "s3.UploadBegan")
      return here(UploadBegan.parse(told.data), (upload) => ({ _tag: "began", upload }))
    if (told?.type === "s3.Conflict")
      return here(Conflict.parse(told.data), (conflict) => ({ _tag: "conflict", conflict }))
  } catch {
    // What can't be read says nothing.
  }
  return { _tag: "nothing" }
}

/** Whether the receipt is for just the bytes on disk, and its object as it was when it was proven. */
export const stillThere = (s3: S3, receipt: Shipped, raw: Digest): Effect.Effect<boolean, S3Failure> =>
  receipt.rawSha256 !== raw.sha256
    ? Effect.succeed(false)
    : Effect.map(
        lookAhead(s3, receipt.key),
        (head) =>
          head !== null &&
          head.etag === receipt.etag &&
          head.bytes === receipt.bytes &&
          head.rawSha256 === receipt.rawSha256 &&
          (receipt.checksum === null || checksumIn(head) === receipt.checksum),
      )
