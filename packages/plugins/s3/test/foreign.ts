// Starts an S3 server that nobody here wrote: Ceph's radosgw on a RADOS of one monitor and one OSD in memory, all on loopback, with its files in
// a scratch folder. Debian has it (ceph-mon, ceph-osd, radosgw; their default services are not used and need not run). Up in about two seconds.
// Ends only the processes it started, by their ids. Holds no test.
import { spawn, spawnSync, type ChildProcess } from "node:child_process"
import { randomBytes, randomUUID } from "node:crypto"
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer, type AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3"

export interface ForeignS3 {
  readonly endpoint: string
  readonly region: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly bucket: string
  /** A bucket with object lock; what is locked in it lasts no longer than the server. */
  readonly lockedBucket: string
  /** A key for SSE-KMS that the server knows. */
  readonly kmsKeyId: string
  /** Stops the server in the middle of what it does, with nothing lost: requests are refused. */
  readonly down: () => Promise<void>
  /** Starts it again, on the same port and with the same objects. */
  readonly up: () => Promise<void>
  readonly close: () => Promise<void>
}

const programs = ["ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin", "setpriv"]
const readyWithinMs = 60_000
const endWithinMs = 10_000

/** A port that nobody listens on at the moment. Another may take it before it is used: starting is tried again then. */
const freePort = async (): Promise<number> => {
  const server = createServer()
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject)
    server.listen(0, "127.0.0.1", resolve)
  })
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

const configuration = (
  home: string,
  fsid: string,
  monPort: number,
  rgwPort: number,
  kmsKeyId: string,
): string => `[global]
fsid = ${fsid}
mon_host = [v2:127.0.0.1:${monPort}]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_ipv6 = false
run_dir = ${home}
admin_socket = ${home}/$name.$pid.asok
log_file = ${home}/$name.log
crash_dir = ${home}/crash
mon_data = ${home}/mon
osd_data = ${home}/osd
keyring = ${home}/keyring
auth_allow_insecure_global_id_reclaim = false
mon_data_avail_warn = 1
mon_data_avail_crit = 1
mon_allow_pool_size_one = true
paxos_propose_interval = 0.05
paxos_min_wait = 0.01
osd_objectstore = memstore
memstore_device_bytes = ${2 * 1024 ** 3}
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_max_pg_per_osd = 1000
[client]
rgw_frontends = beast endpoint=127.0.0.1:${rgwPort}
rgw_data = ${home}/rgw
rgw_thread_pool_size = 32
rgw_crypt_require_ssl = false
rgw_crypt_s3_kms_backend = testing
rgw_crypt_s3_kms_encryption_keys = ${kmsKeyId}=${randomBytes(32).toString("base64")}
`

const start = async (): Promise<ForeignS3> => {
  const home = mkdtempSync(join(tmpdir(), "cordwood-s3-"))
  const [monPort, rgwPort] = await Promise.all([freePort(), freePort()])
  const fsid = randomUUID()
  const kmsKeyId = "cordwood"
  const accessKeyId = "CORDWOODTEST"
  const secretAccessKey = randomBytes(20).toString("hex")
  const env = { ...process.env, CEPH_CONF: join(home, "ceph.conf") }
  const running = new Set<ChildProcess>()

  const run = (program: string, ...args: string[]): string => {
    const done = spawnSync(program, args, { cwd: home, env, encoding: "utf8", timeout: readyWithinMs })
    if (done.status === 0) return done.stdout
    throw new Error(`${program} ${args.join(" ")} ended with ${done.status ?? done.signal}: ${done.stderr}`)
  }
  const daemon = (program: string, ...args: string[]): ChildProcess => {
    const output = openSync(join(home, `${program}.out`), "a")
    // Should this process be killed, the daemons go with it.
    const child = spawn("setpriv", ["--pdeathsig", "KILL", program, "-f", ...args], {
      cwd: home,
      env,
      stdio: ["ignore", output, output],
    })
    closeSync(output)
    running.add(child)
    child.once("exit", () => running.delete(child))
    return child
  }
  const stop = async (child: ChildProcess, signal: NodeJS.Signals): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()))
    child.kill(signal)
    const timer = setTimeout(() => child.kill("SIGKILL"), endWithinMs)
    await ended
    clearTimeout(timer)
  }
  const close = async (): Promise<void> => {
    // Nothing of it is wanted any more, so nothing need be put in order.
    await Promise.all([...running].map((child) => stop(child, "SIGKILL")))
    rmSync(home, { recursive: true, force: true })
  }
  const tail = (file: string): string => {
    try {
      return readFileSync(join(home, file), "utf8").split("\n").slice(-20).join("\n")
    } catch {
      return ""
    }
  }
  const endpoint = `http://127.0.0.1:${rgwPort}`
  let gateway: ChildProcess | undefined
  const up = async (): Promise<void> => {
    const child = daemon("radosgw", "-n", "client.admin")
    gateway = child
    for (const deadline = Date.now() + readyWithinMs; ; await sleep(50)) {
      const answered = await fetch(endpoint, { signal: AbortSignal.timeout(5_000) }).then(
        (response) => response.ok,
        () => false,
      )
      if (answered) return
      if (child.exitCode !== null || child.signalCode !== null || Date.now() > deadline) {
        throw new Error(`radosgw did not come up: ${tail("radosgw.out")}\n${tail("client.admin.log")}`)
      }
    }
  }

  try {
    for (const folder of ["mon", "osd", "rgw", "crash"]) mkdirSync(join(home, folder))
    writeFileSync(join(home, "ceph.conf"), configuration(home, fsid, monPort, rgwPort, kmsKeyId))
    const entity = (name: string, ...caps: string[]) =>
      run("ceph-authtool", "keyring", "--gen-key", "-n", name, ...caps.flatMap((cap) => ["--cap", ...splitCap(cap)]))
    run("ceph-authtool", "--create-keyring", "keyring")
    entity("mon.", "mon allow *")
    entity("client.admin", "mon allow *", "osd allow *", "mgr allow *")
    entity("osd.0", "mon allow profile osd", "osd allow *", "mgr allow profile osd")
    // With the monitor's name and port: left to find itself by public_addr, it listens on 3300, whoever else is there, and nobody asks it.
    run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", `[v2:127.0.0.1:${monPort}]`, "monmap")
    run("ceph-mon", "--mkfs", "-i", "a", "--monmap", "monmap", "--keyring", "keyring")
    daemon("ceph-mon", "-i", "a")
    const osd = randomUUID()
    run("ceph", "--connect-timeout", "30", "osd", "new", osd)
    run("ceph-osd", "--mkfs", "-i", "0", "--osd-uuid", osd)
    daemon("ceph-osd", "-i", "0")
    run(
      "radosgw-admin",
      "user",
      "create",
      "--uid=cordwood",
      "--display-name=cordwood",
      `--access-key=${accessKeyId}`,
      `--secret-key=${secretAccessKey}`,
    )
    await up()
    const region = "us-east-1"
    const client = new S3Client({
      endpoint,
      region,
      forcePathStyle: true,
      credentials: { accessKeyId, secretAccessKey },
    })
    const bucket = "logs"
    const lockedBucket = "locked-logs"
    await client.send(new CreateBucketCommand({ Bucket: bucket }))
    await client.send(new CreateBucketCommand({ Bucket: lockedBucket, ObjectLockEnabledForBucket: true }))
    client.destroy()
    return {
      endpoint,
      region,
      accessKeyId,
      secretAccessKey,
      bucket,
      lockedBucket,
      kmsKeyId,
      down: async () => {
        if (gateway !== undefined) await stop(gateway, "SIGKILL")
      },
      up,
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

/** "mon allow *" → ["mon", "allow *"]. */
const splitCap = (cap: string): [string, string] => {
  const at = cap.indexOf(" ")
  return [cap.slice(0, at), cap.slice(at + 1)]
}

const installed = (program: string): boolean => spawnSync("sh", ["-c", 'command -v "$1"', "sh", program]).status === 0

/**
 * Starts radosgw, or says what is missing for it; where the list CORDWOOD_E2E has "s3", what is missing is a failure.
 *
 * What it does not hold to of S3 is in server.test.ts, with the reasons; first of all: it knows no x-amz-checksum-*, no trailing checksums and no
 * conditions on CompleteMultipartUpload.
 */
export const startForeignS3 = async (): Promise<ForeignS3 | { readonly missing: string }> => {
  const lacking = programs.filter((program) => !installed(program))
  if (lacking.length > 0) {
    const missing = `${lacking.join(", ")} not found: apt-get install --no-install-recommends ceph-mon ceph-osd radosgw`
    if ((process.env["CORDWOOD_E2E"] ?? "").split(",").includes("s3")) throw new Error(missing)
    return { missing }
  }
  // Ports may be taken between being found free and being used.
  for (let tries = 1; ; tries++) {
    try {
      return await start()
    } catch (error) {
      if (tries === 3) throw error
    }
  }
}
