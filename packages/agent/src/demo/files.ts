/** Reads the demo's logs from disk, by means of its own: neither the agent's scan nor its codecs. */
import { createReadStream, readdirSync, statSync } from "node:fs"
import { dirname, basename, join } from "node:path"
import { createGunzip } from "node:zlib"
import { type Piece, pieceReader } from "./piece.ts"

export interface SeenFile {
  readonly name: string
  readonly path: string
  readonly bytes: number
}

/** The files of a log that are on disk now: the active one first, then the segments, newest first. */
export const filesOf = (active: string): ReadonlyArray<SeenFile> => {
  const directory = dirname(active)
  const name = basename(active)
  return namesIn(directory)
    .filter((entry) => entry === name || entry.startsWith(`${name}.`))
    .flatMap((entry) => seen(join(directory, entry)))
    .toSorted((a, b) => (a.name === name ? -1 : b.name === name ? 1 : a.name < b.name ? 1 : -1))
}
const namesIn = (directory: string): ReadonlyArray<string> => {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}
const seen = (path: string): ReadonlyArray<SeenFile> => {
  try {
    return [{ name: basename(path), path, bytes: statSync(path).size }]
  } catch {
    // It was removed or renamed since its name was read.
    return []
  }
}

/** Reads a file, compressed or not. */
export const readPiece = async (writer: string, path: string): Promise<Piece> => {
  const reader = pieceReader(writer)
  const raw = createReadStream(path, { highWaterMark: 256 * 1024 })
  const plain = path.endsWith(".gz") ? raw.pipe(createGunzip()) : raw
  raw.on("error", (error) => plain.destroy(error))
  // What is written is ASCII, so that a character never lies across two chunks.
  for await (const chunk of plain as AsyncIterable<Buffer>) reader.push(chunk.toString("latin1"))
  return reader.end()
}
