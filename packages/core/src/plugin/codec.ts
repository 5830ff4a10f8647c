/** A compression format. Web-standard bytes in and out, so that codecs run wherever their library does. */

/**
 * `encode` and `decode` are streaming: they hold a bounded part of the file, whatever its size. They throw (reject) on failure, and stop
 * and free what they hold when the consumer returns early. `decode` reads all of a file: several members or frames one after another,
 * and fails on one that is cut off.
 */
export interface Codec {
  /** What `policy.compression` says, and events as `codec`: `gzip`. */
  readonly id: string
  /** What is appended to a segment's name: `.gz`. One dot, then letters and digits; `.tmp` is taken. */
  readonly suffix: `.${string}`
  readonly encode: (input: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>
  readonly decode: (input: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>
}
