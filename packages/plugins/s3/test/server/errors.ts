// What the server answers when it refuses: S3's error codes with the status each has in the API reference ("Error responses").
// Holds no rule itself; the modules that know a rule throw the error.

const statuses = {
  AccessDenied: 403,
  AuthorizationHeaderMalformed: 400,
  BadDigest: 400,
  ConditionalRequestConflict: 409,
  EntityTooLarge: 400,
  EntityTooSmall: 400,
  IncompleteBody: 400,
  InternalError: 500,
  InvalidAccessKeyId: 403,
  InvalidArgument: 400,
  InvalidChunkSizeError: 403,
  InvalidDigest: 400,
  InvalidEncryptionAlgorithmError: 400,
  InvalidPart: 400,
  InvalidPartOrder: 400,
  InvalidRange: 416,
  InvalidRequest: 400,
  InvalidStorageClass: 400,
  InvalidTag: 400,
  InvalidToken: 400,
  InvalidURI: 400,
  "KMS.NotFoundException": 400,
  KeyTooLongError: 400,
  MalformedTrailerError: 400,
  MalformedXML: 400,
  MaxMessageLengthExceeded: 400,
  MetadataTooLarge: 400,
  MethodNotAllowed: 405,
  MissingContentLength: 411,
  NoSuchBucket: 404,
  NoSuchKey: 404,
  NoSuchUpload: 404,
  NotImplemented: 501,
  PreconditionFailed: 412,
  RequestTimeTooSkewed: 403,
  RequestTimeout: 400,
  SignatureDoesNotMatch: 403,
  SlowDown: 503,
  XAmzContentSHA256Mismatch: 400,
} as const

export type S3ErrorCode = keyof typeof statuses

/** A refusal, to be answered as S3 answers it: the status, and an XML body with the code and the message. */
export class S3Error extends Error {
  readonly code: string
  readonly status: number
  /** Further elements of the error's XML, such as ActualObjectSize. */
  readonly details: Readonly<Record<string, string>>

  constructor(code: S3ErrorCode, message: string, details: Readonly<Record<string, string>> = {}) {
    super(message)
    this.name = "S3Error"
    this.code = code
    this.status = statuses[code]
    this.details = details
  }
}

/** The client went away, or the connection broke, before the whole request was read: nothing may be stored, and nobody can be answered. */
export class CutOff extends Error {
  constructor() {
    super("the connection ended before the request did")
    this.name = "CutOff"
  }
}
