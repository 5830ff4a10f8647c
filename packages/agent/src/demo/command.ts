import { Effect } from "effect"
export const demo = (_: { forMs: number|null, keep: boolean, json: boolean }) => Effect.void
