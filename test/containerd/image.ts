/**
 * The one image of these tests: busybox and links to it, as an OCI layout in a tar file, made here because no registry need be
 * reachable. It serves as the sandbox's image too. Writes one file and nothing else.
 */
import { createHash } from "node:crypto"
import { readFileSync, writeFileSync } from "node:fs"

/** Fully qualified, so that neither ctr nor the CRI plugin rewrites it. */
export const IMAGE = "localhost/cordwood/busybox:1"

const APPLETS = ["awk", "cat", "dd", "echo", "ls", "mv", "rm", "seq", "sh", "sleep", "touch", "true", "usleep"]
const BLOCK_BYTES = 512
const ARCHITECTURE: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64" }

interface Entry {
  readonly name: string
  readonly mode: number
  readonly body?: Buffer
  readonly linkTo?: string
}

/** One ustar header and its body. Names are short and sizes small here, so no extension of the format is needed. */
const member = ({ name, mode, body = Buffer.alloc(0), linkTo = "" }: Entry): Buffer => {
  const header = Buffer.alloc(BLOCK_BYTES)
  const octal = (value: number, at: number, width: number): void => {
    header.write(`${value.toString(8).padStart(width - 1, "0")}\0`, at, "latin1")
  }
  header.write(name, 0, 100, "latin1")
  octal(mode, 100, 8)
  octal(0, 108, 8)
  octal(0, 116, 8)
  octal(body.length, 124, 12)
  octal(0, 136, 12)
  header.write(" ".repeat(8), 148, "latin1")
  header.write(linkTo === "" ? (name.endsWith("/") ? "5" : "0") : "2", 156, "latin1")
  header.write(linkTo, 157, 100, "latin1")
  header.write("ustar\u000000", 257, "latin1")
  header.write(
    `${header
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, "0")}\0 `,
    148,
    "latin1",
  )
  const padding = Buffer.alloc((BLOCK_BYTES - (body.length % BLOCK_BYTES)) % BLOCK_BYTES)
  return Buffer.concat([header, body, padding])
}

const tar = (entries: ReadonlyArray<Entry>): Buffer =>
  Buffer.concat([...entries.map(member), Buffer.alloc(2 * BLOCK_BYTES)])

interface Blob {
  readonly digest: string
  readonly body: Buffer
}
const blob = (body: Buffer): Blob => ({ digest: createHash("sha256").update(body).digest("hex"), body })
const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))
const descriptor = (mediaType: string, { digest, body }: Blob) => ({
  mediaType,
  digest: `sha256:${digest}`,
  size: body.length,
})

/** Writes the image's OCI layout to `path`, for `ctr images import`. `busybox` is a statically linked one. */
export const writeImage = (path: string, busybox: string): void => {
  const architecture = ARCHITECTURE[process.arch]
  if (architecture === undefined) throw new Error(`no image can be built for ${process.arch}: add it to ARCHITECTURE`)
  const folder = (name: string, mode = 0o755): Entry => ({ name, mode })
  const layer = blob(
    tar([
      ...["bin/", "dev/", "etc/", "proc/", "sys/", "gate/"].map((name) => folder(name)),
      folder("tmp/", 0o1777),
      { name: "bin/busybox", mode: 0o755, body: readFileSync(busybox) },
      ...APPLETS.map((name) => ({ name: `bin/${name}`, mode: 0o777, linkTo: "busybox" })),
    ]),
  )
  const config = blob(
    json({
      architecture,
      os: "linux",
      config: { Env: ["PATH=/bin"], Entrypoint: ["/bin/sleep", "2147483647"] },
      rootfs: { type: "layers", diff_ids: [`sha256:${layer.digest}`] },
    }),
  )
  const manifest = blob(
    json({
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      config: descriptor("application/vnd.oci.image.config.v1+json", config),
      layers: [descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
    }),
  )
  const index = json({
    schemaVersion: 2,
    manifests: [
      {
        ...descriptor("application/vnd.oci.image.manifest.v1+json", manifest),
        annotations: { "io.containerd.image.name": IMAGE },
        platform: { architecture, os: "linux" },
      },
    ],
  })
  writeFileSync(
    path,
    tar([
      { name: "oci-layout", mode: 0o644, body: json({ imageLayoutVersion: "1.0.0" }) },
      { name: "index.json", mode: 0o644, body: index },
      folder("blobs/"),
      folder("blobs/sha256/"),
      ...[layer, config, manifest].map(({ digest, body }) => ({ name: `blobs/sha256/${digest}`, mode: 0o644, body })),
    ]),
  )
}
