// The two S3 servers that the plugin is tested on, held against what S3's documentation says; and of the strict one, that everything goes
// wrong just as it was ordered.
import { expect } from "vitest"
import { startForeignS3 } from "./foreign.ts"
import { startS3Server, type S3Server } from "./server/s3-server.ts"
import { s3Suite, type Differences } from "./server/suite.ts"

const access = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "not/a+secret", region: "eu-north-1" }

s3Suite("the strict server", async () => {
  const server: S3Server = await startS3Server({
    ...access,
    buckets: ["logs", { name: "locked-logs", objectLock: true }],
    kmsKeys: ["cordwood"],
  })
  return { ...server, ...access, bucket: "logs", lockedBucket: "locked-logs", kmsKeyId: "cordwood" }
})

// Of version 16.2.15, as Debian 12 has it: before there were checksums in S3, and before writes had conditions.
const checksums = "x-amz-checksum-* are neither looked at nor kept"
const trailers = "aws-chunked is known only with signed chunks and without trailers"
const each = (does: unknown) => ({ CRC32: does, CRC32C: does, CRC64NVME: does, SHA1: does, SHA256: does })
const whole = "10485768 6a6365d89e3c40f31d211b33970c51fd"

const differences: Differences = {
  "refuses a signature for another region": { does: "200", because: "the region is not looked at" },
  "refuses an x-amz- header that was added unsigned": { does: "200", because: "only signed headers are looked at" },
  "refuses a request without x-amz-content-sha256": {
    does: "403 SignatureDoesNotMatch",
    because: "the signature is looked at first",
  },
  "keeps and tells the checksum that came in a header": {
    does: each([undefined, undefined, undefined]),
    because: checksums,
  },
  "refuses a body of which the checksum in a header is not, and stores none of it": {
    does: each(["200", "123456789"]),
    because: checksums,
  },
  "refuses a checksum that is none": { does: each("200"), because: checksums },
  "takes the checksum that the SDK makes by itself": { does: [undefined, "123456789"], because: checksums },
  "keeps and tells the checksum that came in a trailer": {
    does: each("400 XAmzContentSHA256Mismatch"),
    because: trailers,
  },
  "refuses a body of which the checksum in a trailer is not, and stores none of it": {
    does: each(["400 XAmzContentSHA256Mismatch", "NoSuchKey"]),
    because: trailers,
  },
  "refuses a trailer that was announced and did not come": {
    does: ["400 XAmzContentSHA256Mismatch", "NoSuchKey"],
    because: trailers,
  },
  "refuses a body in chunks of which the last one did not come": {
    does: [
      "400 XAmzContentSHA256Mismatch",
      "400 XAmzContentSHA256Mismatch",
      "400 XAmzContentSHA256Mismatch",
      "NoSuchKey",
    ],
    because: trailers,
  },
  "refuses chunks of less than 8 KiB, but for the last": {
    does: "400 XAmzContentSHA256Mismatch",
    because: trailers,
  },
  "takes a body of unknown checksum from the SDK's stream, with the checksum behind it": {
    does: ["411 MissingContentLength", "NoSuchKey"],
    because: trailers,
  },
  "refuses two checksums at once": { does: "200", because: checksums },
  "refuses an announced checksum that is not there": { does: "200", because: checksums },
  "makes a CRC64NVME where no checksum came": { does: [undefined, undefined], because: checksums },
  "writes with If-Match only over what it names": {
    does: ["412 PreconditionFailed", "412 PreconditionFailed", "412 PreconditionFailed", "123456789"],
    because: "the ETag of a write's If-Match is compared with its quotes, and fails",
  },
  "completes with If-None-Match: * only where nothing is, and keeps the upload": {
    does: ["200", "of parts", "404 NoSuchUpload"],
    because: "CompleteMultipartUpload has no conditions",
  },
  "lets one of several through that complete at once with If-None-Match: *": {
    does: { won: 4, lost: true, winnersIsThere: expect.any(Boolean) as boolean },
    because: "CompleteMultipartUpload has no conditions",
  },
  "tells the object's ETag when it is complete": { does: "", because: "only HeadObject tells it" },
  "leaves out parts that are not listed": {
    does: ["400 InvalidPart", "NoSuchKey"],
    because: "all that were uploaded must be listed",
  },
  "refuses parts in the wrong order": {
    does: ["200", "10485760 e4601d5f000e075864aff05884874f91"],
    because: "they are put in order",
  },
  "refuses a part number outside of 1 to 10,000": {
    does: ["200", "200", "200", "200"],
    because: "part numbers have no limits",
  },
  "knows no upload that never was, nor one that is over": {
    does: ["500 InternalError", "204", "404 NoSuchUpload", "404 NoSuchUpload", "404 NoSuchKey"],
    because: "completing an upload ID of another form is an error of its own, and parts are looked up like objects",
  },
  "knows an upload no more that was completed": {
    does: ["200", "404 NoSuchUpload"],
    because: "completing may be said again",
  },
  "makes one CRC of the whole object from those of the parts (FULL_OBJECT)": {
    does: { done: undefined, head: undefined, type: undefined, whole },
    because: checksums,
  },
  "makes a checksum of the parts' checksums (COMPOSITE, of CRC32)": {
    does: { done: undefined, head: undefined, type: undefined, whole },
    because: checksums,
  },
  "makes a checksum of the parts' checksums (COMPOSITE, of SHA256)": {
    does: { done: undefined, head: undefined, type: undefined, whole },
    because: checksums,
  },
  "asks for each part's checksum again to make one of them (COMPOSITE)": {
    does: ["200", "200", "200"],
    because: checksums,
  },
  "makes checksums of parts only where their numbers are consecutive from 1 on": { does: "200", because: checksums },
  "refuses to complete with a checksum that the whole does not have": {
    does: ["200", "123456789", "200"],
    because: checksums,
  },
  "refuses to complete with a size that the whole does not have": {
    does: ["200", "123456789"],
    because: "x-amz-mp-object-size is not looked at",
  },
  "refuses a part's wrong checksum, and does not take the part": { does: ["200", 1], because: checksums },
  "refuses a part whose checksum is of another algorithm than the upload's": { does: "200", because: checksums },
  "knows no full-object SHA and no composite CRC64NVME": { does: ["200", "200"], because: checksums },
  "gives the whole for a range that is none": {
    does: [200, "0123456789", "bytes 0-9/10"],
    because: "it tells a Content-Range all the same",
  },
  "refuses more than 2 KB of metadata": { does: ["200", "123456789"], because: "metadata has other limits" },
  "refuses eleven tags": { does: ["400 InvalidArgument", "NoSuchKey"], because: "it has another code" },
  "refuses a tag whose name is longer than 128, or whose value is longer than 256": {
    does: ["200", "400 InvalidArgument", "400 InvalidArgument"],
    because: "it has another code",
  },
  "refuses one tag twice": { does: "200", because: "the last one is taken" },
  "refuses a key of 1025 bytes, and counts bytes rather than characters": {
    does: ["400 InvalidObjectName", "400 InvalidObjectName"],
    because: "it has another code",
  },
  "has no MD5 for an ETag where KMS encrypts": { does: true, because: "the ETag is the MD5 of what came" },
  "refuses a key that KMS does not know": {
    does: ["403 InvalidAccessKeyId", "NoSuchKey"],
    because: "the keys of KMS are of its testing backend",
  },
  "refuses to lock what came with neither Content-MD5 nor a checksum": {
    does: ["200", "123456789"],
    because: "a lock needs no integrity",
  },
}

s3Suite("Ceph's radosgw", startForeignS3, differences)
