/** The limits for a log. Names and defaults are the kubelet's (`containerLogMaxSize`, `containerLogMaxFiles`). */
import * as z from "zod"
import { Quantity } from "../unit/quantity.ts"

/** Codec id that leaves segments plain. */
export const NO_COMPRESSION = "none"

export const Policy = z.strictObject({
  /** Bytes. The active file is rotated once it holds at least as many; negative: never; 0: on every pass. Kubelet's default. */
  maxSize: Quantity.default(10 * 1024 * 1024),
  /** Files of one log, the active one included. Kubelet's default and lower bound. */
  maxFiles: z.int().min(2, "must be at least 2: the active file and one segment").max(100_000).default(5),
  /** Id of the codec for segments, or `none`. */
  compression: z.string().min(1).default("gzip"),
})
export type Policy = z.output<typeof Policy>
/** What a user writes: `{ maxSize: "10Mi", maxFiles: 5, compression: "gzip" }`, each one optional. */
export type PolicyInput = z.input<typeof Policy>
