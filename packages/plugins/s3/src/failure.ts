/**
 * What can go wrong with S3, in words for people: what happened, where, what to do. Takes nothing from an error that a secret might be in, nor
 * anything that differs from try to try (ids, counts, times): the agent records a deferral when its text changes.
 */
import { Data } from "effect"

/**
 * `unreachable`: no answer. `unavailable`: S3 says that it can't now. `setup`: what is configured, here or there, doesn't allow it. `exists`: the
 * key is taken. `contended`: somebody else writes to the key. `damaged`: what arrived is not what was sent. `gone`: no such upload, or no object any more.
 * `rejected`: S3 doesn't take the request as it is. `slow`: over the segment's time.
 */
export type FailureKind =
  | "unreachable"
  | "unavailable"
  | "setup"
  | "exists"
  | "contended"
  | "damaged"
  | "gone"
  | "rejected"
  | "slow"

export class S3Failure extends Data.TaggedError("S3Failure")<{
  /** As S3 calls it: `PutObject`. */
  readonly op: string
  readonly kind: FailureKind
  /** S3's word for it, or the system's: `NoSuchBucket`, `ECONNREFUSED`. */
  readonly code: string
  readonly detail: string
  readonly hint: string
}> {
  override get message(): string {
    return `${this.detail}; ${this.hint}`
  }
  /** The word that spans have as their error.type. */
  get reason(): string {
    return this.code === "" ? this.kind : this.code
  }
}

/** Whether the next segment would fail as well. */
export const isAboutS3 = ({ kind }: S3Failure): boolean =>
  kind === "unreachable" || kind === "unavailable" || kind === "setup" || kind === "slow"

export interface Place {
  readonly bucket: string
  /** For people: `s3://logs at http://127.0.0.1:9000`. */
  readonly name: string
}
export const placeOf = (bucket: string, where: string): Place => ({ bucket, name: `s3://${bucket} at ${where}` })

/** The permission that an operation needs. */
const PERMISSIONS: Readonly<Record<string, string>> = {
  PutObject: "s3:PutObject",
  HeadObject: "s3:GetObject",
  GetObject: "s3:GetObject",
  CreateMultipartUpload: "s3:PutObject",
  UploadPart: "s3:PutObject",
  CompleteMultipartUpload: "s3:PutObject",
  AbortMultipartUpload: "s3:AbortMultipartUpload",
  ListMultipartUploads: "s3:ListBucketMultipartUploads",
}

const KEYS_HINT = "check the credentials that AWS's default chain finds (environment, profile, instance or pod role)"
interface Known {
  readonly kind: FailureKind
  readonly what: string
  readonly hint: string
}
const KNOWN: Readonly<Record<string, Known>> = {
  NoSuchBucket: {
    kind: "setup",
    what: "the bucket doesn't exist",
    hint: "create it, or mend bucket, region or endpoint",
  },
  InvalidAccessKeyId: { kind: "setup", what: "S3 doesn't know the access key", hint: KEYS_HINT },
  SignatureDoesNotMatch: {
    kind: "setup",
    what: "S3 finds the signature wrong",
    hint: `${KEYS_HINT}: the secret is not the access key's, or a proxy changes requests`,
  },
  ExpiredToken: {
    kind: "setup",
    what: "the credentials have expired",
    hint: "renew them, or use a role that does so by itself",
  },
  ExpiredTokenException: {
    kind: "setup",
    what: "the credentials have expired",
    hint: "renew them, or use a role that does so by itself",
  },
  TokenRefreshRequired: {
    kind: "setup",
    what: "the credentials have expired",
    hint: "renew them, or use a role that does so by itself",
  },
  InvalidToken: { kind: "setup", what: "S3 finds the session token wrong", hint: KEYS_HINT },
  CredentialsProviderError: { kind: "setup", what: "no credentials were found", hint: KEYS_HINT },
  TokenProviderError: { kind: "setup", what: "no credentials were found", hint: KEYS_HINT },
  RequestTimeTooSkewed: {
    kind: "setup",
    what: "this node's clock is off",
    hint: "set it (NTP): S3 takes no more than 15 minutes",
  },
  RequestExpired: {
    kind: "setup",
    what: "this node's clock is off",
    hint: "set it (NTP): S3 takes no more than 15 minutes",
  },
  PermanentRedirect: { kind: "setup", what: "the bucket is in another region", hint: "set region to the bucket's" },
  TemporaryRedirect: {
    kind: "setup",
    what: "the bucket is in another region",
    hint: "set region to the bucket's; a new bucket may take an hour",
  },
  AuthorizationHeaderMalformed: {
    kind: "setup",
    what: "the region is not the bucket's",
    hint: "set region to the bucket's",
  },
  IllegalLocationConstraintException: {
    kind: "setup",
    what: "the region is not the bucket's",
    hint: "set region to the bucket's",
  },
  AllAccessDisabled: { kind: "setup", what: "access to the bucket is disabled", hint: "see the bucket's owner" },
  AccountProblem: { kind: "setup", what: "S3 finds a problem with the account", hint: "see the account's owner" },
  InvalidObjectState: {
    kind: "rejected",
    what: "the object is archived",
    hint: "restore it, or remove what lies at its key",
  },
  InvalidStorageClass: { kind: "setup", what: "S3 doesn't have the storage class", hint: "mend storageClass" },
  InvalidTag: { kind: "setup", what: "S3 doesn't take the tags", hint: "mend tags" },
  KeyTooLongError: { kind: "rejected", what: "the key is too long", hint: "shorten prefix or key" },
  MetadataTooLarge: { kind: "rejected", what: "the metadata are too long", hint: "this is a bug; please report it" },
  EntityTooLarge: { kind: "rejected", what: "the segment is too large for S3", hint: "lower policy.maxSize" },
  PreconditionFailed: { kind: "exists", what: "the key is taken", hint: "it is compared on the next try" },
  ConditionalRequestConflict: {
    kind: "contended",
    what: "somebody else writes to the key",
    hint: "let each node have a name of its own",
  },
  OperationAborted: {
    kind: "contended",
    what: "somebody else changes the same thing",
    hint: "it is tried again by itself",
  },
  NoSuchKey: {
    kind: "gone",
    what: "the object was removed meanwhile",
    hint: "see whether somebody, or a lifecycle rule, removes objects too early",
  },
  NoSuchUpload: {
    kind: "gone",
    what: "the upload was aborted meanwhile",
    hint: "see whether a lifecycle rule aborts uploads too early",
  },
  ...Object.fromEntries(
    ["BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "IncompleteBody", "InvalidPart"].map((code) => [
      code,
      {
        kind: "damaged",
        what: "what arrived is not what was sent",
        hint: "check the network and what lies between; the file stays",
      } as const,
    ]),
  ),
}

const isKms = (code: string): boolean => code.startsWith("KMS.") || code.startsWith("KMS")

/** What the system calls it, in words. */
const TRANSPORT: Readonly<Record<string, string>> = {
  ECONNREFUSED: "refuses connections",
  ENOTFOUND: "is not known by name",
  EAI_AGAIN: "can't be looked up by name",
  EHOSTUNREACH: "can't be reached",
  ENETUNREACH: "can't be reached",
}
const REACH_HINT = "check endpoint, region and the way to it from this node"

interface Thrown {
  readonly name?: unknown
  readonly code?: unknown
  readonly message?: unknown
  readonly $metadata?: { readonly httpStatusCode?: unknown }
}
/** A word that is safe to repeat. */
const word = (value: unknown): string =>
  typeof value === "string" && /^[A-Za-z0-9_.-]{1,64}$/.test(value) ? value : ""

/** What was thrown, classified. `scrub` takes what is secret out of a text. */
export const classify = (op: string, place: Place, thrown: unknown, scrub: (text: string) => string): S3Failure => {
  const error: Thrown = typeof thrown === "object" && thrown !== null ? thrown : {}
  const status = typeof error.$metadata?.httpStatusCode === "number" ? error.$metadata.httpStatusCode : 0
  const name = word(error.name)
  const failure = (kind: FailureKind, code: string, what: string, hint: string): S3Failure =>
    new S3Failure({ op, kind, code, detail: `${place.name}: ${what}`, hint })
  const known = Object.hasOwn(KNOWN, name) ? KNOWN[name] : undefined
  if (known !== undefined) return failure(known.kind, name, known.what, known.hint)
  if (status === 0) return transport(error, failure)
  if (status === 429 || status >= 500) {
    return failure(
      "unavailable",
      name,
      "S3 can't take it now",
      "nothing to do if it ends by itself; else see the server's health",
    )
  }
  if (status === 301 || status === 307)
    return failure("setup", name, "the bucket is in another region", "set region to the bucket's")
  if (status === 401 || status === 403) {
    const permission = PERMISSIONS[op] ?? op
    return failure(
      "setup",
      "AccessDenied",
      `${permission} is denied`,
      `allow ${permission} on the bucket, and use of its KMS key; ${KEYS_HINT}`,
    )
  }
  if (status === 412) return failure("exists", name, "the key is taken", "it is compared on the next try")
  if (status === 409)
    return failure("contended", name, "somebody else writes to the key", "let each node have a name of its own")
  if (isKms(name)) {
    return failure(
      "setup",
      name,
      `S3 can't use the KMS key (${name})`,
      "mend sse.kmsKeyId, or the key's state and policy",
    )
  }
  if (status === 501 || status === 405) {
    return failure(
      "setup",
      name,
      `the server doesn't know ${op} as it is asked (${name || status})`,
      "use a server that does, or leave out what it lacks",
    )
  }
  const said = typeof error.message === "string" ? readable(scrub(error.message)) : ""
  return failure(
    "rejected",
    name,
    `S3 refused ${op}: ${name || `HTTP ${status}`}${said === "" ? "" : `, "${said}"`}`,
    "mend the plugin's settings, or the bucket's",
  )
}

type Make = (kind: FailureKind, code: string, what: string, hint: string) => S3Failure
const transport = ({ code: systemCode, message, name }: Thrown, failure: Make): S3Failure => {
  const code = word(systemCode) || word(name)
  const words = TRANSPORT[code]
  if (words !== undefined) return failure("unreachable", code, `the server ${words}`, REACH_HINT)
  if (/^(ERR_TLS|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO)/.test(code)) {
    return failure(
      "setup",
      code,
      `the server's certificate is not trusted (${code})`,
      "let NODE_EXTRA_CA_CERTS name the authority's certificate",
    )
  }
  // An SDK that lacks a setting says so in words of its own, which name no secret.
  if (typeof message === "string" && message.startsWith("Region is missing")) {
    return failure("setup", code, "no region is known", "set region, or AWS_REGION")
  }
  return failure("unreachable", code, "the server gives no answer", REACH_HINT)
}

const MAX_SAID_LENGTH = 200
/** What a server says, in one line without anything that can't be seen. */
const readable = (text: string): string =>
  text
    .replaceAll(/[^\u0020-\u007e\u00a0-\uffff]+/g, " ")
    .replaceAll('"', "'")
    .trim()
    .slice(0, MAX_SAID_LENGTH)
