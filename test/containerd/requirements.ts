/**
 * What a machine must have for these tests, and what becomes of them where it is missing: skipped with the reason printed, or,
 * with "containerd" in the list CORDWOOD_E2E, failed. Looks only; installs and changes nothing.
 */
import { accessSync, constants, readFileSync } from "node:fs"
import { delimiter, join } from "node:path"
import { beforeAll, describe } from "vitest"

const ELF_MAGIC = 0x7f454c46
const PT_INTERP = 3

/** Where the program lies, or undefined. sbin is looked through too: Debian has runc there, and not every shell has it in PATH. */
export const whereIs = (program: string): string | undefined => {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
  return folders
    .filter((folder) => folder !== "")
    .map((folder) => join(folder, program))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK)
        return true
      } catch {
        return false
      }
    })
}

/** A program that needs no loader: the image holds nothing but busybox. Reads the 64-bit ELF program headers. */
const isStatic = (path: string): boolean => {
  const elf = readFileSync(path)
  if (elf.readUInt32BE(0) !== ELF_MAGIC) return false
  const tableAt = Number(elf.readBigUInt64LE(32))
  const entryBytes = elf.readUInt16LE(54)
  const entries = Array.from({ length: elf.readUInt16LE(56) }, (_, index) =>
    elf.readUInt32LE(tableAt + index * entryBytes),
  )
  return !entries.includes(PT_INTERP)
}

/** What is missing here, each as a sentence's part. Empty: the tests can run. */
export const lacking = (): ReadonlyArray<string> => {
  if (process.platform !== "linux") return ["Linux"]
  const programs = ["containerd", "containerd-shim-runc-v2", "ctr", "runc"].filter(
    (name) => whereIs(name) === undefined,
  )
  const busybox = whereIs("busybox")
  return [
    ...(process.getuid?.() === 0 ? [] : ["root"]),
    ...programs,
    ...(busybox !== undefined && isStatic(busybox) ? [] : ["busybox, statically linked"]),
  ]
}

/** A group of tests on real containerd. */
export const onContainerd = (title: string, body: () => void): void => {
  const lacks = lacking()
  const mustRun = (process.env["CORDWOOD_E2E"] ?? "").split(",").includes("containerd")
  const reason = `«${title}» needs ${lacks.join(", ")}; on Debian, as root: apt-get install containerd runc busybox-static`
  if (lacks.length > 0 && !mustRun) console.warn(`skipped: ${reason}`)
  describe.skipIf(lacks.length > 0 && !mustRun)(title, () => {
    beforeAll(() => {
      if (lacks.length > 0) throw new Error(`CORDWOOD_E2E has containerd, but ${reason}`)
    })
    body()
  })
}
