/**
 * Keeps SQLite off the last bytes of a disk where running out of them would kill the process. Its `-shm` file is mapped into memory. SQLite writes
 * one byte into each 4 KiB of it beforehand, so that there is room for the rest; on a file system with smaller blocks (ext4 has some of
 * 1 KiB where it is smaller than 512 MiB) that leaves holes, and where a hole can't be filled the kernel sends SIGBUS. Only looks.
 */
import { statfsSync } from "node:fs"
import { dirname } from "node:path"

/** What SQLite takes for a page of memory when it makes room in `-shm`. */
const MAPPED_BYTES = 4096
/** A new journal with its companions takes half of this, opening one that is there far less. */
const SPARE_BYTES = 256 * 1024
/** Of the log of writes for each byte of an event: its page, and those of the indexes that name it. */
const WRITTEN_PER_BYTE = 8

class NoRoom extends Error {
  readonly code = "ENOSPC"
}

/** Throws ENOSPC if less is free than SQLite may need to write so many bytes of events, and lacking it would be fatal. */
export const demandRoom = (path: string, bytes: number): void => {
  const { bavail, bsize } = statfsSync(dirname(path))
  const needed = SPARE_BYTES + WRITTEN_PER_BYTE * bytes
  if (bsize >= MAPPED_BYTES || bavail * bsize >= needed) return
  throw new NoRoom(`${bavail * bsize} bytes are free, and ${needed} must be on a file system of ${bsize}-byte blocks`)
}
