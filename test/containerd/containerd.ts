/**
 * A containerd of the tests' own: root, state, socket, logs and cgroups lie in a scratch folder or carry its name, so that one that
 * the machine runs is never touched. It can be killed and started again while its containers go on, and cleans up after itself:
 * pods, containers, shims, mounts, cgroups and the folder.
 */
import { execFile, spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { promisify } from "node:util"
import { Cri } from "./cri.ts"
import { eventually } from "./eventually.ts"
import { IMAGE, writeImage } from "./image.ts"
import { Keeper } from "./keeper.ts"
import { whereIs } from "./requirements.ts"
import { SCRATCH_PREFIX, sweep } from "./sweep.ts"

const READY_WITHIN_MS = 150_000
const IMPORT_WITHIN_MS = 150_000
const GONE_WITHIN_MS = 10_000
const COMPLAINTS = 20
const COMPLAINT_CHARS = 400

const required = (program: string): string => {
  const path = whereIs(program)
  if (path === undefined) throw new Error(`${program} isn't installed: guard these tests with onContainerd()`)
  return path
}

const settings = (scratch: string): string => `version = 2
root = "${scratch}/root"
state = "${scratch}/state"
temp = "${scratch}/temp"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.tracing"]

[grpc]
  address = "${scratch}/containerd.sock"

[plugins."io.containerd.internal.v1.opt"]
  path = "${scratch}/opt"

[plugins."io.containerd.grpc.v1.cri"]
  # Without it every sandbox fails where the process may not lower its own score.
  restrict_oom_score_adj = true
  sandbox_image = "${IMAGE}"
  netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "native"
  default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  BinaryName = "${required("runc")}"
  Root = "${scratch}/runc"

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "${scratch}/cni/bin"
  conf_dir = "${scratch}/cni/conf"
`

export class Containerd {
  /** Everything of this containerd lies in here; tests may put files of their own beside it. */
  readonly scratch: string
  readonly socket: string
  /** As `/var/log/pods` on a node. */
  readonly podLogs: string
  readonly cri: Cri
  private child: ChildProcess | undefined
  private readonly keeper: Keeper

  private constructor(scratch: string) {
    this.scratch = scratch
    this.socket = join(scratch, "containerd.sock")
    this.podLogs = join(scratch, "pods")
    this.cri = new Cri(this.socket)
    this.keeper = new Keeper(scratch)
  }

  /** A running containerd that holds the image. */
  static async start(): Promise<Containerd> {
    // A unix socket's path has at most 107 bytes, so the folder lies at the top of the temporary ones.
    const containerd = new Containerd(mkdtempSync(join(tmpdir(), SCRATCH_PREFIX)))
    try {
      mkdirSync(containerd.podLogs)
      writeFileSync(join(containerd.scratch, "config.toml"), settings(containerd.scratch))
      await containerd.resume()
      await containerd.importImage()
      return containerd
    } catch (error) {
      const output = containerd.output()
      await containerd.close()
      throw new Error(`containerd didn't start: ${String(error)}\n${output}`, { cause: error })
    }
  }

  /** Its cgroups' parent, so that they can be told from everybody else's. */
  get cgroupParent(): string {
    return `/${basename(this.scratch)}`
  }

  /** Starts the process on the same folder: for the first time, or again after `kill`. */
  async resume(): Promise<void> {
    if (this.child !== undefined) throw new Error("containerd runs already")
    const log = openSync(join(this.scratch, "containerd.log"), "a")
    const child = spawn(required("containerd"), ["--config", join(this.scratch, "config.toml")], {
      stdio: ["ignore", log, log],
      // Its own process group, so that Ctrl-C in the terminal doesn't end it before its pods.
      detached: true,
    })
    closeSync(log)
    this.child = child
    await eventually(
      { what: "containerd to be ready", withinMs: READY_WITHIN_MS, instead: () => this.output() },
      async () => {
        if (child.exitCode !== null) return false
        const { status } = await this.cri.call("Status", {}, 2_000)
        return status.conditions.some(({ type, status: holds }) => type === "RuntimeReady" && holds)
      },
    )
  }

  /** SIGKILL, as in a crash. Containers go on: they are their shims' children. */
  async kill(): Promise<void> {
    await this.end("SIGKILL")
  }

  get running(): boolean {
    return this.child !== undefined && this.child.exitCode === null && this.child.signalCode === null
  }

  /** What it complained of last, for a failed test's message. */
  output(): string {
    try {
      const lines = readFileSync(join(this.scratch, "containerd.log"), "utf8").trimEnd().split("\n")
      const complaints = lines.filter((line) => !/level=(debug|info) /.test(line)).slice(-COMPLAINTS)
      return `containerd complained of:\n${complaints.map((line) => line.slice(0, COMPLAINT_CHARS)).join("\n")}`
    } catch {
      return "containerd wrote no log"
    }
  }

  /** Removes pods first, as a kubelet would, then the process, then whatever is left. */
  async close(): Promise<void> {
    try {
      if (this.running) {
        const { items } = await this.cri.call("ListPodSandbox", {}, GONE_WITHIN_MS)
        for (const { id } of items) {
          await this.cri.call("StopPodSandbox", { podSandboxId: id })
          await this.cri.call("RemovePodSandbox", { podSandboxId: id })
        }
      }
    } catch (error) {
      console.warn(`pods couldn't be removed through CRI, ending them by their shims: ${String(error)}`)
    } finally {
      this.cri.close()
      await this.end("SIGTERM")
      sweep(this.scratch)
      this.keeper.dismiss()
    }
  }

  private async end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    const child = this.child
    this.child = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()))
    child.kill(signal)
    const late = new AbortController()
    await Promise.race([
      ended,
      pause(GONE_WITHIN_MS, undefined, { signal: late.signal }).then(
        () => child.kill("SIGKILL"),
        () => undefined,
      ),
    ])
    await ended
    late.abort()
  }

  private async importImage(): Promise<void> {
    const archive = join(this.scratch, "image.tar")
    writeImage(archive, required("busybox"))
    await promisify(execFile)(
      required("ctr"),
      ["--address", this.socket, "--namespace", "k8s.io", "images", "import", "--snapshotter", "native", archive],
      { timeout: IMPORT_WITHIN_MS },
    )
    // The CRI plugin hears of an import a moment after it.
    await eventually({ what: `the image ${IMAGE} in CRI`, withinMs: READY_WITHIN_MS }, async () => {
      const { image } = await this.cri.call("ImageStatus", { image: { image: IMAGE } })
      return image !== null
    })
  }
}
