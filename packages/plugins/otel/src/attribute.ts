/** Makes OpenTelemetry's attributes of whatever a program hands out: flat, bounded, and never an exception. */
import type { Attributes, AttributeValue } from "@opentelemetry/api"

/** Characters of one value: a path has 4,096 at most; what is longer is a mistake, and a collector would refuse the batch. */
export const MAX_VALUE_LENGTH = 4_096
/** Items of one list. */
const MAX_ITEMS = 128

/** Undefined where there is nothing to say: OpenTelemetry has no attribute without a value. */
export const attributeValueOf = (value: unknown): AttributeValue | undefined => {
  try {
    return Array.isArray(value) ? listOf(value) : primitiveOf(value)
  } catch {
    // A getter or a toString of somebody else's.
    return undefined
  }
}

export const attributesOf = (values: Readonly<Record<string, unknown>> | undefined): Attributes => {
  const attributes: Attributes = {}
  for (const [key, value] of Object.entries(values ?? {})) {
    const known = attributeValueOf(value)
    if (known !== undefined) attributes[key] = known
  }
  return attributes
}

const primitiveOf = (value: unknown): string | number | boolean | undefined => {
  switch (typeof value) {
    case "string":
      return cut(value)
    case "number":
    case "boolean":
      return value
    case "bigint":
      return Number.isSafeInteger(Number(value)) ? Number(value) : String(value)
    case "object":
      return value === null ? undefined : cut(value instanceof Date ? value.toISOString() : textOf(value))
    default:
      return undefined
  }
}

/** A list has items of one kind; a mixed one becomes text. */
const listOf = (values: ReadonlyArray<unknown>): AttributeValue => {
  const items = values.slice(0, MAX_ITEMS).flatMap((value) => primitiveOf(value) ?? [])
  if (items.every((item) => typeof item === "number")) return items
  if (items.every((item) => typeof item === "boolean")) return items
  return items.map(String)
}

const textOf = (value: object): string => JSON.stringify(value) ?? String(value)
const cut = (text: string): string => (text.length > MAX_VALUE_LENGTH ? `${text.slice(0, MAX_VALUE_LENGTH)}…` : text)
