/**
 * Counts the lines of every segment before it is removed, through the seam that the product has for that: a plugin that is asked first. Allows
 * every removal.
 */
import { type Configured, definePlugin, PluginError } from "@cordwood/core"
import { Effect } from "effect"
import * as z from "zod"
import { readPiece } from "./files.ts"
import type { Piece } from "./piece.ts"

export interface Ledger {
  readonly plugin: Configured
  /** What segments held, by path; of those that the agent was about to remove. */
  readonly pieces: ReadonlyMap<string, Piece>
}

/** `writerOf` tells a log's writer by the log's path. */
export const makeLedger = (writerOf: (path: string) => string | undefined): Ledger => {
  const pieces = new Map<string, Piece>()
  const ledger = definePlugin({
    name: "demo-ledger",
    api: 1,
    config: z.strictObject({}),
    setup: () =>
      Effect.succeed({
        beforeRemove: ({ log, segment }) =>
          Effect.tryPromise({
            try: async () => {
              const writer = writerOf(log.path)
              // Asked again about a segment, it is still the same one.
              if (writer !== undefined && !pieces.has(segment.path))
                pieces.set(segment.path, await readPiece(writer, segment.path))
              return { _tag: "Allow" } as const
            },
            catch: (error) =>
              new PluginError({
                plugin: "demo-ledger",
                slot: "beforeRemove",
                detail: `${segment.name} can't be read: ${error instanceof Error ? error.message : String(error)}`,
                hint: "the segment stays; see whether the temporary directory is all right",
              }),
          }),
      }),
  })
  return { plugin: ledger(), pieces }
}
