// What may go wrong to order: each fault waits for a request that it matches, and is used up after `times` of them.
// Only keeps the orders; the server does what they say.

export type Operation =
  | "PutObject"
  | "HeadObject"
  | "GetObject"
  | "DeleteObject"
  | "CreateMultipartUpload"
  | "UploadPart"
  | "CompleteMultipartUpload"
  | "AbortMultipartUpload"
  | "ListMultipartUploads"
  | "ListParts"
  | "ListObjectsV2"
  | "HeadBucket"

/**
 * - status: refused before anything is done, the body thrown away; `code` as S3 names it, `retryAfterSeconds` as a header.
 * - reset: the connection is reset: before the body is read, in its middle, or after all took effect and before the reply.
 * - delay: waits, before doing anything or (after-store) before the reply.
 * - hang: never answers; before doing anything, or after all took effect. The connection stays open until the client or the server ends it.
 * - hold: waits until `release()` is called: before doing anything, after the body was read and before it is stored, or before the reply.
 * - trickle: the reply's body comes at so many bytes a second.
 * - truncate: the reply says its full length, brings half of the body, and the connection ends.
 * - corrupt: what is stored differs in one bit from what came. The reply to the upload is of what came; all that is told later is of what is stored.
 * - error-in-200: CompleteMultipartUpload says 200 and then an Error document; `took` says whether the object is there all the same.
 */
export type FaultKind =
  | {
      readonly kind: "status"
      readonly status: number
      readonly code: string
      readonly message?: string
      readonly retryAfterSeconds?: number
    }
  | { readonly kind: "reset"; readonly when: "before-body" | "mid-body" | "after-store" }
  | { readonly kind: "delay"; readonly delayMs: number; readonly when?: "before" | "after-store" }
  | { readonly kind: "hang"; readonly when?: "before" | "after-store" }
  | { readonly kind: "hold"; readonly when?: "before" | "before-store" | "after-store" }
  | { readonly kind: "trickle"; readonly bytesPerSecond: number }
  | { readonly kind: "truncate" }
  | { readonly kind: "corrupt" }
  | { readonly kind: "error-in-200"; readonly code: string; readonly message?: string; readonly took?: boolean }

export interface FaultMatch {
  readonly op?: Operation | ReadonlyArray<Operation>
  readonly key?: RegExp
  readonly partNumber?: number
}

export type FaultOrder = FaultKind & {
  readonly match?: FaultMatch
  /** How many requests it strikes; 1 if not said, Infinity for all. */
  readonly times?: number
  /** How many matching requests pass before the first is struck. */
  readonly skip?: number
}

export interface Fault {
  /** How many requests it has struck. */
  readonly struck: () => number
  /** Settles when it strikes for the first time. */
  readonly reached: Promise<void>
  /** Lets all held requests go on, and later ones that it strikes pass at once. */
  readonly release: () => void
  readonly cancel: () => void
}

export interface Asked {
  readonly op: Operation
  readonly key: string | undefined
  readonly partNumber: number | undefined
}

export interface Striking {
  readonly fault: FaultKind
  readonly released: Promise<void>
}

interface Pending {
  readonly order: FaultOrder
  left: number
  skip: number
  struck: number
  readonly reach: () => void
  readonly released: Promise<void>
  readonly release: () => void
}

export class Faults {
  #pending: Pending[] = []

  /** The next matching requests fail as said. Orders are asked in the order they were given; one request is struck by at most one. */
  failNext(order: FaultOrder): Fault {
    const reached = Promise.withResolvers<void>()
    const released = Promise.withResolvers<void>()
    const pending: Pending = {
      order,
      left: order.times ?? 1,
      skip: order.skip ?? 0,
      struck: 0,
      reach: reached.resolve,
      released: released.promise,
      release: released.resolve,
    }
    this.#pending.push(pending)
    const cancel = () => {
      this.#pending = this.#pending.filter((one) => one !== pending)
    }
    return { struck: () => pending.struck, reached: reached.promise, release: pending.release, cancel }
  }

  /** Takes all orders back, and lets held requests go on. */
  clear(): void {
    for (const pending of this.#pending) pending.release()
    this.#pending = []
  }

  /** Orders that have not struck as often as they should. */
  pending(): ReadonlyArray<FaultOrder> {
    return this.#pending.filter((one) => one.left > 0 && one.left !== Number.POSITIVE_INFINITY).map((one) => one.order)
  }

  /** For the server: which fault strikes this request, if any. */
  strike(asked: Asked): Striking | undefined {
    for (const pending of this.#pending) {
      if (pending.left <= 0 || !matches(pending.order.match, asked)) continue
      if (pending.skip > 0) {
        pending.skip--
        continue
      }
      pending.left--
      pending.struck++
      pending.reach()
      return { fault: pending.order, released: pending.released }
    }
    return undefined
  }
}

const matches = (match: FaultMatch | undefined, asked: Asked): boolean => {
  if (match === undefined) return true
  if (match.op !== undefined && !(typeof match.op === "string" ? [match.op] : match.op).includes(asked.op)) return false
  if (
    match.key !== undefined &&
    (asked.key === undefined || !new RegExp(match.key.source, match.key.flags.replace(/[gy]/g, "")).test(asked.key))
  )
    return false
  return match.partNumber === undefined || match.partNumber === asked.partNumber
}
