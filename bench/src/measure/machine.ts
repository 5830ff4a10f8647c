/** The machine that the figures are from, in one line. */
import { statfsSync } from "node:fs"
import { availableParallelism, cpus, release, totalmem } from "node:os"

/** statfs(2)'s numbers of the file systems one meets. Syncing costs what the file system makes it cost. */
const FILE_SYSTEMS: Readonly<Record<number, string>> = {
  0xef53: "ext4",
  0x58465342: "xfs",
  0x9123683e: "btrfs",
  0x01021994: "tmpfs",
  0x794c7630: "overlayfs",
  0x2fc12fc1: "zfs",
}

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGiB: number
  readonly kernel: string
  readonly node: string
  readonly fileSystem: string
}

/** `directory`: where the logs will lie. */
export const machine = (directory: string): Machine => {
  const { type } = statfsSync(directory)
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    fileSystem: FILE_SYSTEMS[type] ?? `file system 0x${type.toString(16)}`,
  }
}

export const machineLine = ({ cores, cpu, fileSystem, kernel, memoryGiB, node }: Machine): string =>
  `${cpu}, ${cores} cores, ${memoryGiB} GiB; Linux ${kernel}, ${fileSystem}; node ${node}`
