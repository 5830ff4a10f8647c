// Reads a request's body: to its announced length, out of the aws-chunked framing, through every hash that is asked for, and against what
// the client said of it (x-amz-content-sha256, Content-MD5, x-amz-checksum-*, trailing checksums). Keeps the bytes only if told to.
// A body that is cut off, too long in coming, or wrong in any of these never becomes a ReceivedBody.
import { createHash } from "node:crypto"
import type { IncomingMessage } from "node:http"
import { ChunkedDecoder } from "./chunked.ts"
import { checksumNames, hasher, parseAlgorithm, parseChecksum, type ChecksumName, type Hasher } from "./checksum.ts"
import { CutOff, S3Error } from "./errors.ts"
import type { Authenticated } from "./signature.ts"

export interface ReceivedBody {
  readonly size: number
  /** Hex. */
  readonly md5: string
  /** Hex. */
  readonly sha256: string
  readonly checksums: Partial<Record<ChecksumName, string>>
  /** What the reply to the upload tells: the same, unless what was stored was corrupted afterwards (a fault). */
  readonly told: { readonly md5: string; readonly checksums: Partial<Record<ChecksumName, string>> }
  /** Undefined where bodies are not kept. */
  readonly bytes: Buffer | undefined
}

/** Which checksum came with the request, whether in a header or announced as a trailer. */
export interface DeclaredChecksum {
  readonly name: ChecksumName
  /** Undefined for a trailer. */
  readonly value: string | undefined
}

type Headers = ReadonlyMap<string, string>

export const declaredChecksum = (headers: Headers): DeclaredChecksum | undefined => {
  const declared: DeclaredChecksum[] = []
  const known = checksumNames.map((name) => `x-amz-checksum-${name}`)
  for (const [header, value] of headers) {
    if (header.startsWith("x-amz-checksum-") && !/-(mode|type|algorithm)$/.test(header)) {
      const name = parseAlgorithm(header, header.slice("x-amz-checksum-".length))
      declared.push({ name, value: parseChecksum(name, value) })
    }
  }
  const trailer = headers.get("x-amz-trailer")?.toLowerCase().trim()
  if (trailer !== undefined) {
    if (!known.includes(trailer)) {
      parseAlgorithm("x-amz-trailer", trailer.replace("x-amz-checksum-", ""))
      throw new S3Error("InvalidRequest", "The value specified in the x-amz-trailer header is not supported")
    }
    declared.push({ name: parseAlgorithm("x-amz-trailer", trailer.slice("x-amz-checksum-".length)), value: undefined })
  }
  if (declared.length > 1) {
    throw new S3Error(
      "InvalidRequest",
      "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
    )
  }
  const [first] = declared
  const sdk = headers.get("x-amz-sdk-checksum-algorithm")
  if (sdk !== undefined) {
    const name = parseAlgorithm("x-amz-sdk-checksum-algorithm", sdk)
    if (first === undefined) {
      throw new S3Error(
        "InvalidRequest",
        "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.",
      )
    }
    if (name !== first.name) {
      throw new S3Error(
        "BadDigest",
        `The checksum sent is not of the algorithm ${sdk} that x-amz-sdk-checksum-algorithm names.`,
      )
    }
  }
  return first
}

export interface BodyOptions {
  readonly headers: Headers
  readonly auth: Authenticated
  readonly declared: DeclaredChecksum | undefined
  /** Further checksums that are to be known of it. */
  readonly also: ReadonlyArray<ChecksumName>
  readonly maxBytes: number
  readonly keep: boolean
  /** Throws when there is no room for so many more bytes. */
  readonly reserve: (bytes: number) => void
  readonly idleTimeoutMs: number
  /** After so many decoded bytes the connection is reset (a fault). */
  readonly resetAfterBytes: number | undefined
  /** One bit of what is kept is flipped (a fault): the reply is of what came, all later ones of what is kept. */
  readonly corrupt: boolean
}

const contentLengthOf = (headers: Headers): number | undefined => {
  const text = headers.get("content-length")
  return text === undefined || headers.has("transfer-encoding") ? undefined : Number(text)
}

/** How long the body is, told before it comes; S3 takes none without (411). */
export const announcedBytes = (headers: Headers, chunked: boolean): number => {
  const length = chunked ? headers.get("x-amz-decoded-content-length") : contentLengthOf(headers)
  if (length === undefined || !Number.isSafeInteger(Number(length)) || Number(length) < 0) {
    throw new S3Error("MissingContentLength", "You must provide the Content-Length HTTP header.")
  }
  return Number(length)
}

const parseMd5 = (headers: Headers): string | undefined => {
  const value = headers.get("content-md5")
  if (value === undefined) return undefined
  const bytes = Buffer.from(value, "base64")
  if (bytes.length !== 16 || bytes.toString("base64") !== value) {
    throw new S3Error("InvalidDigest", "The Content-MD5 you specified was invalid.")
  }
  return bytes.toString("hex")
}

/** Undefined at the end of the body. The socket lives on when nothing came for too long, so that the client can be told. */
const nextPiece = async (pieces: AsyncIterator<Buffer>, idleTimeoutMs: number): Promise<Buffer | undefined> => {
  let timer: NodeJS.Timeout | undefined
  const idle = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(
        new S3Error(
          "RequestTimeout",
          "Your socket connection to the server was not read from or written to within the timeout period. Idle connections will be closed.",
        ),
      )
    }, idleTimeoutMs)
  })
  try {
    const next = await Promise.race([pieces.next().catch(() => Promise.reject(new CutOff())), idle])
    return next.done === true ? undefined : next.value
  } finally {
    clearTimeout(timer)
  }
}

export const receiveBody = async (request: IncomingMessage, options: BodyOptions): Promise<ReceivedBody> => {
  const { headers, auth, declared } = options
  const chunked = auth.payload.kind === "chunked"
  const expected = announcedBytes(headers, chunked)
  const claimedMd5 = parseMd5(headers)
  if (expected > options.maxBytes) {
    throw new S3Error("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size", {
      ProposedSize: String(expected),
      MaxSizeAllowed: String(options.maxBytes),
    })
  }
  if (auth.payload.kind === "chunked" && auth.payload.trailer !== headers.has("x-amz-trailer")) {
    throw new S3Error(
      "MalformedTrailerError",
      "x-amz-content-sha256 and x-amz-trailer do not agree on whether there is a trailer.",
    )
  }
  if (chunked && !(headers.get("content-encoding") ?? "").split(",").some((one) => one.trim() === "aws-chunked")) {
    throw new S3Error(
      "InvalidRequest",
      "Content-Encoding must have aws-chunked where x-amz-content-sha256 says STREAMING-…",
    )
  }
  if (options.keep) options.reserve(expected)

  const wanted = new Set<ChecksumName>([...(declared === undefined ? [] : [declared.name]), ...options.also])
  const hashers = (): { md5: Hasher; sha256: ReturnType<typeof createHash>; named: Map<ChecksumName, Hasher> } => ({
    md5: hasher("md5"),
    sha256: createHash("sha256"),
    named: new Map([...wanted].filter((name) => name !== "sha256").map((name) => [name, hasher(name)])),
  })
  // What came is held against what was said; what is stored may differ from it (a fault), and is hashed apart then.
  const came = hashers()
  const stored = options.corrupt ? hashers() : came
  const chunks: Buffer[] = []
  let size = 0
  const into = (hashes: ReturnType<typeof hashers>, bytes: Buffer) => {
    hashes.md5.update(bytes)
    hashes.sha256.update(bytes)
    for (const one of hashes.named.values()) one.update(bytes)
  }
  const onData = (bytes: Buffer) => {
    if (bytes.length === 0) return
    let kept = bytes
    into(came, bytes)
    if (options.corrupt) {
      if (size === 0) {
        kept = Buffer.from(bytes)
        kept.writeUInt8(kept.readUInt8(0) ^ 1, 0)
      }
      into(stored, kept)
    }
    size += bytes.length
    if (size > expected)
      throw new S3Error("IncompleteBody", "The request body is longer than x-amz-decoded-content-length says.")
    if (options.keep) chunks.push(kept)
  }
  const decoder = auth.payload.kind === "chunked" ? new ChunkedDecoder(auth, auth.payload, onData) : undefined

  const pieces = (request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>)[Symbol.asyncIterator]()
  for (;;) {
    const piece = await nextPiece(pieces, options.idleTimeoutMs)
    if (piece === undefined) break
    if (decoder === undefined) onData(piece)
    else decoder.push(piece)
    if (options.resetAfterBytes !== undefined && size >= options.resetAfterBytes) {
      request.socket.resetAndDestroy()
      throw new CutOff()
    }
  }
  if (!request.complete) throw new CutOff()
  const trailers = decoder?.end().trailers
  if (size !== expected)
    throw new S3Error(
      "IncompleteBody",
      "You did not provide the number of bytes specified by the Content-Length HTTP header",
    )

  const cameSha256 = came.sha256.digest()
  if (auth.payload.kind === "signed" && auth.payload.sha256 !== cameSha256.toString("hex")) {
    throw new S3Error(
      "XAmzContentSHA256Mismatch",
      "The provided 'x-amz-content-sha256' header does not match what was computed.",
      {
        ClientComputedContentSHA256: auth.payload.sha256,
        S3ComputedContentSHA256: cameSha256.toString("hex"),
      },
    )
  }
  const cameMd5 = came.md5.digest()
  if (claimedMd5 !== undefined && claimedMd5 !== cameMd5.toString("hex")) {
    throw new S3Error("BadDigest", "The Content-MD5 you specified did not match what we received.")
  }
  const checksums = (hashes: ReturnType<typeof hashers>, sha256: Buffer) => {
    const made: Partial<Record<ChecksumName, string>> = {}
    for (const name of wanted)
      made[name] = (name === "sha256" ? sha256 : (hashes.named.get(name)?.digest() ?? Buffer.alloc(0))).toString(
        "base64",
      )
    return made
  }
  const cameChecksums = checksums(came, cameSha256)
  if (declared !== undefined) {
    const trailing = trailers?.get(`x-amz-checksum-${declared.name}`)
    if (declared.value === undefined && trailing === undefined) {
      throw new S3Error(
        "MalformedTrailerError",
        "The request contained trailing data that was not well-formed or did not conform to our published schema.",
      )
    }
    const claimed = declared.value ?? parseChecksum(declared.name, trailing ?? "")
    if (claimed !== cameChecksums[declared.name]) {
      throw new S3Error(
        "BadDigest",
        `The ${declared.name.toUpperCase()} you specified did not match the calculated checksum.`,
      )
    }
  }
  if (
    trailers !== undefined &&
    [...trailers.keys()].some((name) => declared?.value !== undefined || name !== `x-amz-checksum-${declared?.name}`)
  ) {
    throw new S3Error("MalformedTrailerError", "The trailers are not those that x-amz-trailer announced.")
  }
  const told = { md5: cameMd5.toString("hex"), checksums: cameChecksums }
  if (!options.corrupt) {
    return {
      told,
      size,
      md5: cameMd5.toString("hex"),
      sha256: cameSha256.toString("hex"),
      checksums: cameChecksums,
      bytes: options.keep ? Buffer.concat(chunks) : undefined,
    }
  }
  const storedSha256 = stored.sha256.digest()
  return {
    told,
    size,
    md5: stored.md5.digest().toString("hex"),
    sha256: storedSha256.toString("hex"),
    checksums: checksums(stored, storedSha256),
    bytes: options.keep ? Buffer.concat(chunks) : undefined,
  }
}
