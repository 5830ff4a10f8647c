/** The limits for a log. Names and defaults are the kubelet's (`containerLogMaxSize`, `containerLogMaxFiles`). */
import * as z from "zod"
import { Quantity } from "../unit/quantity.ts"

/** Codec id that leaves segments plain. */
export const NO_COMPRESSION = "none"

export const Policy = z.strictObject({
  maxSize: Quantity.prefault("10Mi").meta({
    description:
      "Bytes. A log is rotated once its active file holds at least as many; negative: never; 0: on every pass. The kubelet's containerLogMaxSize.",
  }),
  maxFiles: z.int().min(2, "must be at least 2: the active file and one segment").max(100_000).default(5).meta({
    description: "Files of one log, the active one included. The kubelet's containerLogMaxFiles.",
  }),
  compression: z
    .string()
    .min(1)
    .default("gzip")
    .meta({
      description: "Id of the codec that segments are compressed with, or none.",
      examples: ["gzip", NO_COMPRESSION],
    }),
})
export type Policy = z.output<typeof Policy>
/** What a user writes: `{ maxSize: "10Mi", maxFiles: 5, compression: "gzip" }`, each one optional. */
export type PolicyInput = z.input<typeof Policy>
