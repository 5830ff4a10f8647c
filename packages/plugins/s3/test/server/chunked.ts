// Takes the aws-chunked framing off a body and checks the signature of every chunk and of the trailers ("Signature Calculations for the
// Authorization Header: Transferring Payload in Multiple Chunks" and "… Including Trailing Headers" in the S3 API reference).
// Hands data on as it comes: a chunk is never kept.
import { createHash, type Hash } from "node:crypto"
import { S3Error } from "./errors.ts"
import { sameSignature, sha256Hex, signatureMismatch, type Authenticated } from "./signature.ts"

/** "Only the last chunk is allowed to have a size less than 8192 bytes." */
export const minChunkBytes = 8192
const maxLineBytes = 4096
const maxTrailerBytes = 16 * 1024

export interface ChunkedEnd {
  readonly trailers: ReadonlyMap<string, string>
}

const incomplete = () => new S3Error("IncompleteBody", "The request body terminated unexpectedly")

/** Decodes piece by piece: `push` what came, then `end`, which tells the trailers. */
export class ChunkedDecoder {
  readonly #auth: Authenticated
  readonly #signed: boolean
  readonly #trailer: boolean
  readonly #onData: (bytes: Buffer) => void
  #previous: string
  #state: "size" | "data" | "data-end" | "trailers" = "size"
  #line = Buffer.alloc(0)
  #left = 0
  #size = 0
  #lastSize: number | undefined
  #chunkSignature = ""
  #hash: Hash | undefined

  constructor(auth: Authenticated, mode: { signed: boolean; trailer: boolean }, onData: (bytes: Buffer) => void) {
    this.#auth = auth
    this.#signed = mode.signed
    this.#trailer = mode.trailer
    this.#onData = onData
    this.#previous = auth.seedSignature
  }

  push(bytes: Buffer): void {
    let rest = bytes
    while (rest.length > 0) {
      if (this.#state === "data") {
        const data = rest.subarray(0, this.#left)
        rest = rest.subarray(data.length)
        this.#left -= data.length
        this.#hash?.update(data)
        this.#onData(data)
        if (this.#left === 0) this.#state = "data-end"
      } else if (this.#state === "trailers") {
        this.#line = Buffer.concat([this.#line, rest])
        if (this.#line.length > maxTrailerBytes)
          throw new S3Error("MalformedTrailerError", "The trailers are too long.")
        rest = rest.subarray(rest.length)
      } else {
        const newline = rest.indexOf(10)
        const taken = newline === -1 ? rest : rest.subarray(0, newline + 1)
        this.#line = Buffer.concat([this.#line, taken])
        rest = rest.subarray(taken.length)
        if (this.#line.length > maxLineBytes) throw new S3Error("InvalidRequest", "A chunk's first line is too long.")
        if (newline !== -1) this.#onLine()
      }
    }
  }

  #onLine(): void {
    const line = this.#line.toString("latin1")
    this.#line = Buffer.alloc(0)
    if (!line.endsWith("\r\n")) throw new S3Error("InvalidRequest", "A chunk's line does not end in CRLF.")
    if (this.#state === "data-end") {
      if (line !== "\r\n") throw new S3Error("InvalidRequest", "A chunk is longer than it says.")
      this.#checkChunk()
      this.#state = "size"
      return
    }
    const match = /^([0-9a-fA-F]{1,12})(?:;chunk-signature=([0-9a-f]{64}))?\r\n$/.exec(line)
    if (match === null) throw new S3Error("InvalidRequest", "A chunk's first line is malformed.")
    if (this.#signed !== (match[2] !== undefined)) throw signatureMismatch()
    this.#size = Number.parseInt(match[1] ?? "", 16)
    this.#chunkSignature = match[2] ?? ""
    this.#hash = this.#signed ? createHash("sha256") : undefined
    if (this.#size === 0) {
      this.#checkChunk()
      this.#state = "trailers"
      return
    }
    if (this.#lastSize !== undefined && this.#lastSize < minChunkBytes) {
      throw new S3Error("InvalidChunkSizeError", "Only the last chunk is allowed to have a size less than 8192 bytes", {
        BadChunkSize: String(this.#lastSize),
      })
    }
    this.#lastSize = this.#size
    this.#left = this.#size
    this.#state = "data"
  }

  #checkChunk(): void {
    if (this.#hash === undefined) return
    const { amzDate, scope, sign } = this.#auth
    const expected = sign(
      ["AWS4-HMAC-SHA256-PAYLOAD", amzDate, scope, this.#previous, sha256Hex(""), this.#hash.digest("hex")].join("\n"),
    )
    if (!sameSignature(expected, this.#chunkSignature)) throw signatureMismatch()
    this.#previous = expected
  }

  end(): ChunkedEnd {
    if (this.#state !== "trailers") throw incomplete()
    const text = this.#line.toString("latin1")
    // The whole ends in an empty line; the documentation's examples end a trailer in \n or in \r\n.
    if (!text.endsWith("\r\n")) throw incomplete()
    const trailers = new Map<string, string>()
    for (const line of text.split(/[\r\n]+/)) {
      if (line === "") continue
      const colon = line.indexOf(":")
      if (colon < 1)
        throw new S3Error("MalformedTrailerError", "The request contained trailing data that was not well-formed.")
      trailers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim())
    }
    const signature = trailers.get("x-amz-trailer-signature")
    trailers.delete("x-amz-trailer-signature")
    if (!this.#trailer && trailers.size > 0) {
      throw new S3Error("MalformedTrailerError", "The request contained trailing data that was not announced.")
    }
    if (this.#signed && this.#trailer) {
      const canonical = [...trailers]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, value]) => `${name}:${value}\n`)
        .join("")
      const { amzDate, scope, sign } = this.#auth
      const expected = sign(
        ["AWS4-HMAC-SHA256-TRAILER", amzDate, scope, this.#previous, sha256Hex(canonical)].join("\n"),
      )
      if (signature === undefined || !sameSignature(expected, signature)) throw signatureMismatch()
    }
    return { trailers }
  }
}
