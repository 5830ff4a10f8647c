/** Which records there have been, a bit each: a `Set` takes forty bytes for one, and no more than 2^24 of them. */
export class RecordSet {
  #bits = new Uint8Array(2 ** 16)

  /** A whole number from 0 on. */
  add(record: number): void {
    const at = Math.floor(record / 8)
    if (at >= this.#bits.length) {
      const grown = new Uint8Array(2 ** Math.ceil(Math.log2(at + 1)))
      grown.set(this.#bits)
      this.#bits = grown
    }
    this.#bits[at] = (this.#bits[at] ?? 0) | (1 << (record % 8))
  }
  has(record: number): boolean {
    return ((this.#bits[Math.floor(record / 8)] ?? 0) & (1 << (record % 8))) !== 0
  }
}
