/**
 * A guard that ships to an `ObjectStore`, by the rules of plugins/s3: what lies there is looked at before a segment is let go, whatever its receipt says;
 * what isn't there is sent, and looked at again. A receipt is recorded as an event, and only says where to look.
 */
import { type Configured, definePlugin, type Doomed, PluginError } from "@cordwood/core"
import { Effect } from "effect"
import * as z from "zod"
import type { ObjectStore } from "./object-store.ts"

/** How soon it is asked again about what it keeps, milliseconds. */
const RETRY_MS = 4_000
/** How long one answer may take: less than the store may hang, so that the limit of a guard is met, too. */
const LIMIT_MS = 2_500

const Receipt = z.object({ path: z.string(), key: z.string(), bytes: z.int() })

export const shipping = (store: ObjectStore, { early }: { readonly early: boolean }): Configured =>
  definePlugin({
    name: "store",
    api: 1,
    config: z.strictObject({}),
    setup: () =>
      Effect.succeed({
        guard: { early, limitMs: LIMIT_MS },
        events: { "store.Shipped": Receipt },
        beforeRemove: (doomed) =>
          Effect.gen(function* () {
            const raw = yield* read(doomed)
            const key = keyOf(doomed, raw)
            if (
              (yield* isThere(store, key, raw)) ||
              ((yield* store.put(key, raw)) && (yield* isThere(store, key, raw)))
            ) {
              const told = Receipt.safeParse(doomed.told?.data)
              const isTold = told.success && told.data.key === key && told.data.bytes === raw.length
              const { path } = doomed.segment
              if (!isTold) {
                yield* doomed.record({ type: "store.Shipped", data: { path, key, bytes: raw.length } })
              }
              return { _tag: "Allow" as const }
            }
            return { _tag: "Defer" as const, why: `another object lies at ${key}`, retryAfterMs: RETRY_MS }
          }).pipe(
            Effect.catchTag("StoreFailure", ({ detail }) =>
              Effect.succeed({ _tag: "Defer" as const, why: `the store: ${detail}`, retryAfterMs: RETRY_MS }),
            ),
          ),
      }),
  })()

const isThere = (store: ObjectStore, key: string, raw: Uint8Array) =>
  Effect.map(store.get(key), (object) => object !== null && Buffer.compare(object, raw) === 0)

/** By how much there is of it, too: one that grew after it was shipped is another object. */
const keyOf = ({ log, segment }: Doomed, raw: Uint8Array): string => `${log.path}/${segment.stamp}/${raw.length}`

const read = ({ raw, segment }: Doomed): Effect.Effect<Uint8Array, PluginError> =>
  Effect.tryPromise({
    try: async () => {
      const pieces: Array<Uint8Array> = []
      for await (const piece of raw()) pieces.push(piece)
      return Buffer.concat(pieces)
    },
    catch: (error) =>
      new PluginError({
        plugin: "store",
        slot: "beforeRemove",
        detail: `${segment.path}: ${String(error)}`,
        hint: "none",
      }),
  })
