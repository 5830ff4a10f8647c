// The little XML that S3 speaks: writing answers, and reading the one document clients send (CompleteMultipartUpload).
// Not a parser of XML in general: what it does not expect is MalformedXML.
import { checksumNames, type ChecksumName } from "./checksum.ts"
import { S3Error } from "./errors.ts"

export const escapeXml = (text: string): string =>
  // oxlint-disable-next-line no-control-regex
  text.replace(/[&<>"'\u0000-\u001f]/g, (char) => `&#${char.charCodeAt(0)};`)

const unescapeXml = (text: string): string =>
  text.replace(
    /&(?:#x([0-9a-f]+)|#([0-9]+)|(amp|lt|gt|quot|apos));/gi,
    (_all, hex: string, dec: string, name: string) => {
      if (hex !== undefined) return String.fromCodePoint(Number.parseInt(hex, 16))
      if (dec !== undefined) return String.fromCodePoint(Number(dec))
      return { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" }[name.toLowerCase()] ?? ""
    },
  )

export type XmlValue = string | number | boolean | undefined | XmlFields | ReadonlyArray<XmlFields>
export interface XmlFields {
  readonly [name: string]: XmlValue
}

const fields = (values: XmlFields): string =>
  Object.entries(values)
    .map(([name, value]) => {
      if (value === undefined) return ""
      if (Array.isArray(value)) return value.map((one: XmlFields) => `<${name}>${fields(one)}</${name}>`).join("")
      if (typeof value === "object") return `<${name}>${fields(value as XmlFields)}</${name}>`
      return `<${name}>${escapeXml(String(value))}</${name}>`
    })
    .join("")

const head = '<?xml version="1.0" encoding="UTF-8"?>\n'

export const document = (root: string, values: XmlFields): string =>
  `${head}<${root} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${fields(values)}</${root}>`

// Errors have no namespace in S3.
export const errorDocument = (values: XmlFields): string => `${head}<Error>${fields(values)}</Error>`

export interface CompletedPart {
  readonly partNumber: number
  readonly etag: string
  readonly checksums: Partial<Record<ChecksumName, string>>
}

const malformed = () =>
  new S3Error(
    "MalformedXML",
    "The XML you provided was not well-formed or did not validate against our published schema",
  )

export const parseCompletedParts = (text: string): ReadonlyArray<CompletedPart> => {
  const root =
    /^\s*(?:<\?xml[^>]*\?>)?\s*<CompleteMultipartUpload(?:\s[^>]*)?>(.*)<\/CompleteMultipartUpload>\s*$/s.exec(text)
  if (root === null) throw malformed()
  const parts: CompletedPart[] = []
  const rest = (root[1] ?? "").replace(/<Part>(.*?)<\/Part>/gs, (_all, inside: string) => {
    const found = new Map<string, string>()
    const left = inside.replace(/<(\w+)>([^<]*)<\/\1>/g, (_one, name: string, value: string) => {
      found.set(name, unescapeXml(value).trim())
      return ""
    })
    const number = Number(found.get("PartNumber"))
    const etag = found.get("ETag")
    if (
      left.trim() !== "" ||
      !Number.isInteger(number) ||
      number < 1 ||
      number > 10_000 ||
      etag === undefined ||
      etag === ""
    ) {
      throw malformed()
    }
    const checksums: Partial<Record<ChecksumName, string>> = {}
    for (const name of checksumNames) {
      const value = found.get(`Checksum${name.toUpperCase()}`)
      if (value !== undefined) checksums[name] = value
    }
    parts.push({ partNumber: number, etag, checksums })
    return ""
  })
  if (rest.trim() !== "" || parts.length === 0 || parts.length > 10_000) throw malformed()
  return parts
}
