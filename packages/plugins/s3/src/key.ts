/**
 * Keys: from what is known of a segment and its log, by a template. Pure, and the same for the same segment, so that a second try hits the same
 * object. Names are hostile: whatever they hold, a key stays below its prefix, and two that differ give keys that differ.
 */
import { createHash } from "node:crypto"
import { directoryOf, type Log, nameOf, type Stamp } from "@cordwood/core"

export const DEFAULT_TEMPLATE =
  "ns={namespace}/dt={date}/hour={hour}/node={node}/{pod}_{uid}_{container}_{restart}_{stamp}_{sha16}.log"

/** S3's limit for a key, in bytes of UTF-8. */
export const MAX_KEY_BYTES = 1024
const MAX_PREFIX_BYTES = 512
/** For a codec's suffix. */
const MAX_SUFFIX_BYTES = 32
const MAX_TEMPLATE_LENGTH = 512
/** Longer values are cut to so many bytes; if the key is too long still, to fewer. */
const VALUE_LIMITS = [253, 128, 64, 32]
const CUT_HASH_DIGITS = 16

/** What a key is made of. `sha256`: of the segment's bytes as they were written, in hexadecimal digits. */
export interface KeyParts {
  readonly log: Log
  readonly node: string
  readonly stamp: Stamp
  readonly sha256: string
}

const VALUES = {
  namespace: ({ log }) => log.namespace ?? "",
  date: ({ stamp }) => `${stamp.slice(0, 4)}-${stamp.slice(4, 6)}-${stamp.slice(6, 8)}`,
  hour: ({ stamp }) => stamp.slice(9, 11),
  node: ({ node }) => node,
  // A log of no pod is told apart by where it lies.
  pod: ({ log }) => log.pod ?? directoryOf(log.path).slice(1),
  uid: ({ log }) => log.podUid ?? "",
  container: ({ log }) => log.container ?? "",
  // The kubelet calls the log of a container's nth restart n.log. Elsewhere, 5.log and 5 are two logs.
  restart: ({ log }) =>
    (log.pod === undefined ? null : /^(\d{1,10})\.log$/.exec(nameOf(log.path))?.[1]) ?? nameOf(log.path),
  stamp: ({ stamp }) => stamp,
  sha16: ({ sha256 }) => sha256.slice(0, 16),
  sha256: ({ sha256 }) => sha256,
} satisfies Record<string, (parts: KeyParts) => string>
type Placeholder = keyof typeof VALUES
const isPlaceholder = (name: string): name is Placeholder => Object.hasOwn(VALUES, name)

/** Literal text at even places, names of placeholders at odd ones. */
const split = (template: string): ReadonlyArray<string> => template.split(/\{([^{}]*)\}/)

const pathProblem = (text: string): string | null => {
  if (!/^[\u0020-\u007e]*$/.test(text)) return "must be printable ASCII"
  if (/[\\{}^%`[\]"<>~#|]/.test(text)) return 'must have none of \\ { } ^ % ` [ ] " < > ~ # |'
  return text.split("/").some((part) => part === "" || /^\.+$/.test(part))
    ? "must have no empty part between slashes, nor one of dots alone"
    : null
}

/** What is wrong with a prefix; null: nothing. */
export const prefixProblem = (prefix: string): string | null => {
  if (prefix === "") return null
  if (prefix.length > MAX_PREFIX_BYTES) return `must be at most ${MAX_PREFIX_BYTES} characters long`
  return pathProblem(prefix)
}

/** What is wrong with a template; null: nothing. */
export const templateProblem = (template: string): string | null => {
  if (template.length > MAX_TEMPLATE_LENGTH) return `must be at most ${MAX_TEMPLATE_LENGTH} characters long`
  const pieces = split(template)
  const names = pieces.filter((_piece, at) => at % 2 === 1)
  const unknown = names.find((name) => !isPlaceholder(name))
  if (unknown !== undefined) {
    return `{${unknown.slice(0, 40)}} is not known; there are ${Object.keys(VALUES)
      .map((name) => `{${name}}`)
      .join(", ")}`
  }
  if (!names.includes("stamp") || !(names.includes("sha16") || names.includes("sha256"))) {
    return "must have {stamp}, and {sha16} or {sha256}: without them different segments would have the same key"
  }
  // A value is never empty nor made of dots alone, so a letter stands for it.
  const problem = pathProblem(pieces.map((piece, at) => (at % 2 === 1 ? "x" : piece)).join(""))
  if (problem !== null) return problem
  const least = pieces.reduce(
    (sum, piece, at) => sum + (at % 2 === 1 ? (piece === "sha256" ? 64 : 32) : piece.length),
    0,
  )
  const room = MAX_KEY_BYTES - MAX_PREFIX_BYTES - 1 - MAX_SUFFIX_BYTES
  return least <= room ? null : `is too long for keys of ${MAX_KEY_BYTES} bytes`
}

const hex = (byte: number): string => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`

/** UTF-8, and, of half a surrogate pair, the three bytes it would be: every text has bytes of its own. */
const bytesOf = (character: string): ReadonlyArray<number> => {
  const code = character.codePointAt(0) ?? 0
  return code >= 0xd800 && code <= 0xdfff
    ? [0xe0 | (code >> 12), 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f)]
    : [...Buffer.from(character)]
}

/**
 * A value as a part of a key. What isn't a letter, a digit, a dot or a dash is percent-encoded, the underscore included, which stands between
 * values; nothing at all is an underscore. Longer than `limit` bytes: its beginning, `~`, and digits of its SHA-256. Different values
 * give different parts.
 */
export const keyPart = (value: string, limit: number): string => {
  if (value === "") return "_"
  let encoded = ""
  for (const character of value) {
    encoded += /^[A-Za-z0-9.-]$/.test(character) ? character : bytesOf(character).map(hex).join("")
  }
  if (/^\.+$/.test(encoded)) encoded = encoded.replaceAll(".", "%2E")
  if (encoded.length <= limit) return encoded
  const hash = createHash("sha256").update(encoded).digest("hex").slice(0, CUT_HASH_DIGITS)
  // An escape isn't cut in its middle.
  const kept = encoded.slice(0, limit - 1 - CUT_HASH_DIGITS).replace(/%.?$/, "")
  return `${kept}~${hash}`
}

/** The key of a segment, which ends in `suffix`, the codec's, as it is. Never longer than S3 allows. */
export const keyOf = (
  { prefix, template }: { readonly prefix: string; readonly template: string },
  parts: KeyParts,
  suffix: string,
): string => {
  const pieces = split(template)
  const render = (limit: number): string => {
    const path = pieces.map((piece, at) => {
      if (at % 2 === 0 || !isPlaceholder(piece)) return piece
      const value = VALUES[piece](parts)
      return keyPart(value, piece === "sha256" ? 64 : limit)
    })
    return `${prefix === "" ? "" : `${prefix}/`}${path.join("")}${suffix}`
  }
  for (const limit of VALUE_LIMITS) {
    const key = render(limit)
    if (key.length <= MAX_KEY_BYTES) return key
  }
  return render(VALUE_LIMITS.at(-1) ?? CUT_HASH_DIGITS)
}
