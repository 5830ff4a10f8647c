/**
 * Reads stored events back. Never throws: what is newer than this program, or belongs to a plugin that isn't loaded, comes back
 * as `Unknown`, so that an agent that was rolled back can read what its successor wrote.
 */
import * as z from "zod"
import { head, type Envelope } from "./envelope.ts"
import { isCoreType, payloads } from "./payload.ts"
import { currentVersion, upcast, type Upcasters, upcasters as coreUpcasters } from "./upcast.ts"

export type Decoded =
  | { readonly _tag: "Known"; readonly event: Envelope }
  /** The envelope is sound; the type or its version isn't known here. `raw` is all that was stored. */
  | { readonly _tag: "Unknown"; readonly type: string; readonly version: number; readonly raw: unknown }
  | { readonly _tag: "Invalid"; readonly problem: string }

const Head = z.object({ ...head, data: z.unknown() })

/** What else is needed to read events: the plugins' own types, and, for tests of the mechanism, other upcasters. */
export interface DecodeOptions {
  readonly plugins?: Readonly<Record<string, z.ZodType>>
  readonly upcasters?: Upcasters
}

export const decode = (raw: unknown, options: DecodeOptions = {}): Decoded => {
  const parsed = Head.safeParse(raw)
  if (!parsed.success) return { _tag: "Invalid", problem: z.prettifyError(parsed.error) }
  const { data: stored, type, version, ...rest } = parsed.data
  const { plugins = {}, upcasters = coreUpcasters } = options
  const schema = isCoreType(type) ? payloads[type] : Object.hasOwn(plugins, type) ? plugins[type] : undefined
  const current = currentVersion(upcasters, type)
  if (schema === undefined || version > current) return { _tag: "Unknown", type, version, raw }
  const invalid = (problem: string): Decoded => ({ _tag: "Invalid", problem: `${type} ${rest.id}: ${problem}` })
  let raised
  try {
    raised = upcast(upcasters, type, version, stored)
  } catch (error) {
    // An upcaster relies on the shape of its version, which stored data may not have.
    return invalid(`version ${version} can't be raised to ${current}: ${String(error)}`)
  }
  const data = schema.safeParse(raised.data)
  if (!data.success) return invalid(z.prettifyError(data.error))
  // The schema above belongs to the type, which the compiler can't follow through the lookup.
  return { _tag: "Known", event: { ...rest, type, version: raised.version, data: data.data } as Envelope }
}
