/** Kubernetes quantities (`5Mi`, `10M`, `1e6`, `-1`) as whole numbers of bytes. Never rounds: a fraction of a byte is an error. */
import * as z from "zod"
import { quoted } from "./quoted.ts"

const BINARY: Readonly<Record<string, bigint>> = {
  Ki: 1n << 10n,
  Mi: 1n << 20n,
  Gi: 1n << 30n,
  Ti: 1n << 40n,
  Pi: 1n << 50n,
  Ei: 1n << 60n,
}
/** Powers of ten; the small ones are legal in Kubernetes and end, here, in a fraction of a byte. */
const DECIMAL: Readonly<Record<string, number>> = { n: -9, u: -6, m: -3, "": 0, k: 3, M: 6, G: 9, T: 12, P: 15, E: 18 }
const FORM = /^([+-]?)(\d{0,40})(?:\.(\d{0,40}))?(?:(Ki|Mi|Gi|Ti|Pi|Ei)|([numkMGTPE])|[eE]([+-]?\d{1,3}))?$/
/** A larger exponent can't be a number of bytes; the bound keeps `1e999` from costing memory. */
const MAX_EXPONENT = 30

/** What a quantity came to: bytes, or a sentence that says what is wrong with it. */
export type Parsed = { readonly ok: true; readonly value: number } | { readonly ok: false; readonly problem: string }
const problem = (text: string): Parsed => ({ ok: false, problem: text })

/**
 * Bytes of a Kubernetes quantity, signed. Source of the grammar: apimachinery `resource.Quantity`; like the kubelet's
 * `parseMaxSize`, what is not a whole number is refused. The result lies within ±2^53.
 */
export const parseQuantity = (input: string | number): Parsed => {
  const text = String(input).trim()
  const match = FORM.exec(text)
  const digits = `${match?.[2] ?? ""}${match?.[3] ?? ""}`
  if (match === null || digits === "") {
    return problem(`${quoted(input)} is not a quantity; write a number of bytes such as 10Mi, 5M or 1048576`)
  }
  const exponent = match[6] === undefined ? (DECIMAL[match[5] ?? ""] ?? 0) : Number(match[6])
  if (Math.abs(exponent) > MAX_EXPONENT) return problem(`${quoted(input)} is out of range`)
  const shift = exponent - (match[3] ?? "").length
  const scaled = BigInt(digits) * (BINARY[match[4] ?? ""] ?? 1n) * (shift > 0 ? 10n ** BigInt(shift) : 1n)
  const divisor = shift < 0 ? 10n ** BigInt(-shift) : 1n
  if (scaled % divisor !== 0n) return problem(`${quoted(input)} is not a whole number of bytes`)
  const value = Number(scaled / divisor) * (match[1] === "-" ? -1 : 1)
  return Number.isSafeInteger(value)
    ? { ok: true, value: value === 0 ? 0 : value }
    : problem(`${quoted(input)} is more than 2^53 bytes`)
}

/** A zod schema that reads a quantity, from text or a YAML number, as bytes. */
export const Quantity = z
  .union([z.string(), z.number()])
  .meta({
    description: "A Kubernetes quantity of bytes: 10Mi, 5M, 1e6, 1048576, -1.",
    examples: ["10Mi", "5M", 1048576],
  })
  .transform((input, context) => {
    const parsed = parseQuantity(input)
    if (parsed.ok) return parsed.value
    context.issues.push({ code: "custom", message: parsed.problem, input })
    return z.NEVER
  })

const STEPS = ["B", "KiB", "MiB", "GiB", "TiB"]
/** Bytes for people, in binary units with one decimal: `7.4 MiB`. */
export const formatBytes = (bytes: number): string => {
  let value = bytes
  let step = 0
  // What would be rounded to 1024.0 is 1.0 of the next unit.
  while (Math.abs(value) >= (step === 0 ? 1024 : 1023.95) && step < STEPS.length - 1) {
    value /= 1024
    step += 1
  }
  return `${step === 0 ? value : value.toFixed(1)} ${STEPS[step]}`
}
