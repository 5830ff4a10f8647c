// AWS Signature Version 4 in the Authorization header, checked as "Authenticating Requests: Using the Authorization Header" in the S3 API
// reference has it: the canonical request is made again from what came over the wire. Shares no code with the client.
// Query signatures (presigned) and SigV4A are not here. Nothing here may put a secret or a signature into an error or a log.
import { createHash, createHmac, timingSafeEqual } from "node:crypto"
import { S3Error } from "./errors.ts"

export interface Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** For temporary credentials: every request must carry it in x-amz-security-token. */
  readonly sessionToken?: string | undefined
}

export type PayloadMode =
  | { readonly kind: "signed"; readonly sha256: string }
  | { readonly kind: "unsigned" }
  | { readonly kind: "chunked"; readonly signed: boolean; readonly trailer: boolean }

export interface Authenticated {
  readonly payload: PayloadMode
  /** Signs what follows the headers: chunks and trailers, each on top of the one before. */
  readonly sign: (stringToSign: string) => string
  readonly seedSignature: string
  readonly amzDate: string
  readonly scope: string
}

export const sha256Hex = (data: string | Uint8Array): string => createHash("sha256").update(data).digest("hex")
const hmac = (key: string | Uint8Array, data: string): Buffer => createHmac("sha256", key).update(data).digest()

/** S3's UriEncode: everything but unreserved characters, each byte of UTF-8, once. */
export const uriEncode = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)

export const maxSkewMs = 15 * 60 * 1000

const payloadModeOf = (value: string): PayloadMode => {
  if (/^[0-9a-f]{64}$/.test(value)) return { kind: "signed", sha256: value }
  switch (value) {
    case "UNSIGNED-PAYLOAD":
      return { kind: "unsigned" }
    case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD":
      return { kind: "chunked", signed: true, trailer: false }
    case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER":
      return { kind: "chunked", signed: true, trailer: true }
    case "STREAMING-UNSIGNED-PAYLOAD-TRAILER":
      return { kind: "chunked", signed: false, trailer: true }
    default:
      throw new S3Error(
        "InvalidArgument",
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.",
      )
  }
}

const parseAmzDate = (text: string): number => {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text)
  if (match === null) return Number.NaN
  const [, year, month, day, hour, minute, second] = match
  return Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`)
}

const malformed = (message: string, details: Record<string, string> = {}) =>
  new S3Error("AuthorizationHeaderMalformed", `The authorization header is malformed; ${message}`, details)

export interface SignedRequest {
  readonly method: string
  /** As decoded, beginning with a slash: S3 encodes it again, and does not tidy dots or double slashes away. */
  readonly path: string
  readonly query: ReadonlyArray<readonly [string, string]>
  /** By lower-case name; one that came several times is joined by commas. */
  readonly headers: ReadonlyMap<string, string>
}

export const canonicalQuery = (query: ReadonlyArray<readonly [string, string]>): string =>
  query
    .map(([name, value]) => [uriEncode(name), uriEncode(value)] as const)
    .sort(([a, x], [b, y]) => (a < b ? -1 : a > b ? 1 : x < y ? -1 : x > y ? 1 : 0))
    .map(([name, value]) => `${name}=${value}`)
    .join("&")

export const authenticate = (
  request: SignedRequest,
  credentials: Credentials,
  region: string,
  nowMs: number,
): Authenticated => {
  const { headers } = request
  const authorization = headers.get("authorization")
  if (authorization === undefined) throw new S3Error("AccessDenied", "Access Denied")
  const match = /^AWS4-HMAC-SHA256 +Credential=([^,\s]+), *SignedHeaders=([^,\s]+), *Signature=([^,\s]+)$/.exec(
    authorization,
  )
  if (match === null) {
    if (!authorization.startsWith("AWS4-HMAC-SHA256")) {
      throw new S3Error(
        "InvalidRequest",
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
      )
    }
    throw malformed("it needs Credential, SignedHeaders and Signature.")
  }
  const [, credential = "", signedList = "", signature = ""] = match
  const scopeParts = credential.split("/")
  const [date = "", scopeRegion = "", service = "", terminal = ""] = scopeParts.slice(-4)
  const accessKeyId = scopeParts.slice(0, -4).join("/")
  if (scopeParts.length < 5 || terminal !== "aws4_request") throw malformed("the Credential is mal-formed.")

  const amzDate = headers.get("x-amz-date")
  const atMs = parseAmzDate(amzDate ?? "")
  if (amzDate === undefined || Number.isNaN(atMs)) {
    throw new S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
  }
  if (accessKeyId !== credentials.accessKeyId) {
    throw new S3Error("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
  }
  if (headers.get("x-amz-security-token") !== credentials.sessionToken) {
    throw new S3Error("InvalidToken", "The provided token is malformed or otherwise invalid.")
  }
  if (date !== amzDate.slice(0, 8)) throw malformed("Invalid credential date.")
  if (service !== "s3") throw malformed(`incorrect service "${service}". This endpoint belongs to "s3".`)
  if (scopeRegion !== region) {
    throw malformed(`the region '${scopeRegion}' is wrong; expecting '${region}'`, { Region: region })
  }
  if (Math.abs(nowMs - atMs) > maxSkewMs) {
    throw new S3Error(
      "RequestTimeTooSkewed",
      "The difference between the request time and the current time is too large.",
      {
        RequestTime: amzDate,
        ServerTime: new Date(nowMs).toISOString(),
        MaxAllowedSkewMilliseconds: String(maxSkewMs),
      },
    )
  }

  const signedNames = signedList.split(";")
  if (
    signedNames.some(
      (name, index) => name !== name.toLowerCase() || (index > 0 && name <= (signedNames[index - 1] ?? "")),
    )
  ) {
    throw malformed("SignedHeaders must be lower case and sorted.")
  }
  // Host, Content-Type if there is one, and every x-amz-* must be signed (API reference, Task 1, CanonicalHeaders).
  const unsigned = [...headers.keys()].filter(
    (name) => (name === "host" || name === "content-type" || name.startsWith("x-amz-")) && !signedNames.includes(name),
  )
  if (unsigned.length > 0 || !signedNames.includes("host")) {
    throw new S3Error("AccessDenied", "There were headers present in the request which were not signed", {
      HeadersNotSigned: unsigned.join(", "),
    })
  }
  const contentSha256 = headers.get("x-amz-content-sha256")
  if (contentSha256 === undefined) {
    throw new S3Error("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
  }
  const payload = payloadModeOf(contentSha256)

  const canonicalHeaders = signedNames
    .map((name) => `${name}:${(headers.get(name) ?? "").trim().replace(/ +/g, " ")}\n`)
    .join("")
  const canonicalRequest = [
    request.method,
    request.path.split("/").map(uriEncode).join("/"),
    canonicalQuery(request.query),
    canonicalHeaders,
    signedList,
    contentSha256,
  ].join("\n")
  const scope = `${date}/${scopeRegion}/${service}/${terminal}`
  const key = hmac(hmac(hmac(hmac(`AWS4${credentials.secretAccessKey}`, date), scopeRegion), service), terminal)
  const sign = (stringToSign: string) => hmac(key, stringToSign).toString("hex")
  const expected = sign(`AWS4-HMAC-SHA256\n${amzDate}\n${scope}\n${sha256Hex(canonicalRequest)}`)
  if (!sameSignature(expected, signature)) throw signatureMismatch()
  return { payload, sign, seedSignature: expected, amzDate, scope }
}

export const sameSignature = (expected: string, given: string): boolean =>
  expected.length === given.length && timingSafeEqual(Buffer.from(expected), Buffer.from(given))

export const signatureMismatch = (): S3Error =>
  new S3Error(
    "SignatureDoesNotMatch",
    "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
  )
