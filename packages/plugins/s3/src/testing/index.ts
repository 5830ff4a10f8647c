/** What tests and third parties use: the plugin over an S3 of their own, and what it takes to be one. */
export type { Head, NewObject, Part, PartReceipt, Replaces, S3 } from "../client.ts"
export { classify, type FailureKind, type Place, placeOf, S3Failure } from "../failure.ts"
export type { Digest } from "../reading.ts"
export { s3Over } from "./s3-over.ts"
export { type S3Case, s3Suite } from "./s3-suite.ts"
