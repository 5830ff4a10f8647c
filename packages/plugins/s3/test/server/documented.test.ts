// The strict server's arithmetic, held against what others have computed: the worked examples of the S3 API reference (signatures, also of
// chunks and trailers) and the check values of the CRC catalogue. None of it is made with this repository's code.
import * as fc from "fast-check"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { heard, open, replyOf, type Heard } from "./asking.ts"
import { checksumOf, combineCrcs, compositeChecksum, hasher } from "./checksum.ts"
import { startS3Server, type S3Server } from "./s3-server.ts"
import { authenticate } from "./signature.ts"

// Of the examples: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html and the two pages on chunked uploads.
const credentials = {
  accessKeyId: "AKIAIOSFODNN7EXAMPLE",
  secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
}
const at = Date.UTC(2013, 4, 24)
const scope = `${credentials.accessKeyId}/20130524/us-east-1/s3/aws4_request`
const authorization = (signedHeaders: string, signature: string): string =>
  `AWS4-HMAC-SHA256 Credential=${scope},SignedHeaders=${signedHeaders},Signature=${signature}`
const emptySha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

describe("signatures of the API reference", () => {
  const examples = [
    {
      title: "GET Object",
      method: "GET",
      path: "/test.txt",
      query: [],
      headers: { range: "bytes=0-9", "x-amz-content-sha256": emptySha256 },
      signature: "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    },
    {
      title: "PUT Object",
      method: "PUT",
      path: "/test$file.text",
      query: [],
      headers: {
        date: "Fri, 24 May 2013 00:00:00 GMT",
        "x-amz-content-sha256": "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
      },
      signature: "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    },
    {
      title: "GET Bucket Lifecycle",
      method: "GET",
      path: "/",
      query: [["lifecycle", ""]],
      headers: { "x-amz-content-sha256": emptySha256 },
      signature: "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    },
    {
      title: "List Objects",
      method: "GET",
      path: "/",
      query: [
        ["max-keys", "2"],
        ["prefix", "J"],
      ],
      headers: { "x-amz-content-sha256": emptySha256 },
      signature: "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    },
  ] as const
  it.each(examples)("are made alike: $title", ({ method, path, query, headers, signature }) => {
    const all = new Map(
      Object.entries({ host: "examplebucket.s3.amazonaws.com", "x-amz-date": "20130524T000000Z", ...headers }),
    )
    const names = [...all.keys()].sort().join(";")
    all.set("authorization", authorization(names, signature))
    const request = { method, path, query, headers: all }
    expect(authenticate(request, credentials, "us-east-1", at).seedSignature).toBe(signature)
    all.set(
      "authorization",
      authorization(
        names,
        signature.replace(/.$/, (digit) => (digit === "0" ? "1" : "0")),
      ),
    )
    expect(() => authenticate(request, credentials, "us-east-1", at)).toThrow("does not match")
  })
})

describe("uploads in chunks of the API reference", () => {
  let server: S3Server
  beforeAll(async () => {
    server = await startS3Server({ ...credentials, region: "us-east-1", buckets: ["examplebucket"], now: () => at })
  })
  afterAll(() => server.close())

  const send = async (headers: Record<string, string>, body: string): Promise<Heard> => {
    const { hostname, port } = new URL(server.endpoint)
    const request = open({
      method: "PUT",
      host: hostname,
      port: Number(port),
      target: "/examplebucket/chunkObject.txt",
      headers: {
        host: "s3.amazonaws.com",
        "x-amz-date": "20130524T000000Z",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
        "content-encoding": "aws-chunked",
        "x-amz-decoded-content-length": "66560",
        "content-length": String(body.length),
        ...headers,
      },
    })
    const reply = replyOf(request)
    request.end(body)
    return heard(await reply)
  }
  const stored = () => {
    const object = server.objects("examplebucket").get("chunkObject.txt")
    return object && { bytes: object.body?.equals(Buffer.alloc(66_560, "a")), encoding: object.contentEncoding }
  }
  const chunks = (signatures: readonly [string, string, string]): string =>
    [65_536, 1024, 0]
      .map((size, index) => `${size.toString(16)};chunk-signature=${signatures[index]}\r\n${"a".repeat(size)}\r\n`)
      .join("")

  const signed = {
    "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    authorization: authorization(
      "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class",
      "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
    ),
  }
  const first = "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"
  const second = "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"
  const last = "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"

  it("are refused where a chunk's signature is another's, and nothing is stored", async () => {
    const { status, code } = await send(signed, chunks([first, last, second]))
    expect([status, code, stored()]).toEqual([403, "SignatureDoesNotMatch", undefined])
  })

  it("are taken with the signatures of their chunks", async () => {
    const body = chunks([first, second, last])
    expect(body.length).toBe(66_824)
    const { status, code } = await send(signed, body)
    expect([status, code, stored()]).toEqual([200, undefined, { bytes: true, encoding: undefined }])
  })

  const trailing = {
    "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    "x-amz-trailer": "x-amz-checksum-crc32c",
    authorization: authorization(
      "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer",
      "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
    ),
  }
  const trailed = (signature: string): string =>
    `${chunks([
      "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
      "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
      "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
    ]).slice(0, -2)}x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:${signature}\r\n\r\n`
  const trailerSignature = "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"

  it("are taken with a checksum behind them, and refused where its signature is another", async () => {
    const refused = await send(trailing, trailed(first))
    expect([refused.status, refused.code]).toEqual([403, "SignatureDoesNotMatch"])
    const taken = await send(trailing, trailed(trailerSignature))
    expect([taken.status, taken.code, taken.headers["x-amz-checksum-crc32c"], stored()]).toEqual([
      200,
      undefined,
      "sOO8/Q==",
      { bytes: true, encoding: undefined },
    ])
  })
})

describe("checksums", () => {
  it("have the check values of the CRC catalogue", () => {
    const hex = (name: "crc32" | "crc32c" | "crc64nvme") =>
      Buffer.from(checksumOf(name, Buffer.from("123456789")), "base64").toString("hex")
    expect([hex("crc32"), hex("crc32c"), hex("crc64nvme")]).toEqual(["cbf43926", "e3069283", "ae8b14860a799888"])
  })

  it("are the same of bytes that come in pieces", () => {
    fc.assert(
      fc.property(
        fc.constantFrom("crc32", "crc32c", "crc64nvme", "sha1", "sha256", "md5"),
        fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 6 }),
        (name, pieces) => {
          const hash = hasher(name)
          for (const piece of pieces) hash.update(piece)
          expect(hash.digest().toString("base64")).toBe(checksumOf(name, Buffer.concat(pieces)))
        },
      ),
    )
  })

  it("of parts make that of the whole, where they are CRCs", () => {
    fc.assert(
      fc.property(
        fc.constantFrom("crc32", "crc32c", "crc64nvme"),
        fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 6 }),
        (name, pieces) => {
          const parts = pieces.map((piece) => ({ checksum: checksumOf(name, piece), size: piece.length }))
          expect(combineCrcs(name, parts)).toBe(checksumOf(name, Buffer.concat(pieces)))
        },
      ),
    )
  })

  it("of checksums have the number of parts behind a dash", () => {
    const parts = [checksumOf("sha256", Buffer.from("a")), checksumOf("sha256", Buffer.from("b"))]
    // By Python's hashlib.
    expect(compositeChecksum("sha256", parts)).toBe("5aAf7hTg7VxIcU8iGA8lrYNltT+XefedxKPX6Tlj+Uo=-2")
  })
})
