/**
 * Runs examples/custom-agent as its README says, with promises and as a layer, against a real disk, an S3 server and an OTLP receiver on loopback.
 */
import { spawn, type ChildProcess } from "node:child_process"
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { zstdDecompressSync } from "node:zlib"
import { expect, onTestFinished, test } from "vitest"
import { startS3Server } from "../../packages/plugins/s3/test/server/s3-server.ts"

const EXAMPLE = fileURLToPath(new URL("../../examples/custom-agent/", import.meta.url))
const TEST_MS = 90_000
const STOPPED_WITHIN_MS = 20_000
const ROUNDS = 4
const LINES = 12_000
const line = (round: number, number: number): string => `round ${round} line ${number} ${"x".repeat(90)}\n`

interface Told {
  readonly type: string
  readonly log: string
  readonly data: Readonly<Record<string, unknown>>
}

/** What the example prints, an event a line, and waiting for one of them. */
const eventsOf = (child: ChildProcess) => {
  const told: Array<Told> = []
  const waiting = new Set<() => void>()
  let said = ""
  child.stderr?.on("data", (chunk: Buffer) => {
    said += chunk.toString()
  })
  const output = child.stdout
  if (output === null) throw new Error("no output to read")
  createInterface({ input: output }).on("line", (text) => {
    told.push(JSON.parse(text) as Told)
    for (const look of waiting) look()
  })
  const until = (what: string, isThere: () => boolean): Promise<void> =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`waited in vain for ${what}; it said: ${said}`)), TEST_MS / 3)
      const look = (): void => {
        if (!isThere()) return
        waiting.delete(look)
        clearTimeout(timer)
        resolve()
      }
      waiting.add(look)
      look()
    })
  return { told, until }
}

const collector = async (): Promise<{ readonly endpoint: string; readonly paths: Set<string> }> => {
  const paths = new Set<string>()
  const server = createServer((request, response) => {
    paths.add(request.url ?? "")
    request.resume().on("end", () => response.writeHead(200, { "content-type": "application/x-protobuf" }).end())
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return { endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, paths }
}

test.each(["promises.ts", "layer.ts"])(
  "the custom agent of %s ships before it removes, traces, only watches what it should, and ends when it is told to",
  async (program) => {
    const folder = mkdtempSync(join(tmpdir(), "cordwood-custom-agent-"))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const logs = join(folder, "logs")
    mkdirSync(logs)
    const credentials = { accessKeyId: "AKIATESTONLY", secretAccessKey: "loopback-only-secret" }
    const s3 = await startS3Server({ ...credentials, region: "eu-north-1", buckets: ["logs"] })
    onTestFinished(() => s3.close())
    const { endpoint, paths } = await collector()

    const child = spawn(process.execPath, ["--conditions=cordwood-source", program], {
      cwd: EXAMPLE,
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        ...process.env,
        LOGS: logs,
        JOURNAL: join(folder, "journal.db"),
        BUCKET: "logs",
        S3_ENDPOINT: s3.endpoint,
        AWS_REGION: s3.region,
        AWS_ACCESS_KEY_ID: credentials.accessKeyId,
        AWS_SECRET_ACCESS_KEY: credentials.secretAccessKey,
        OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
      },
    })
    onTestFinished(() => void child.kill("SIGKILL"))
    const exited = new Promise<number | null>((resolve) => child.once("exit", resolve))
    const { told, until } = eventsOf(child)

    const app = join(logs, "app.log")
    const watched = join(logs, "postgres-1.log")
    const count = (type: string, log: string): number =>
      told.filter((one) => one.type === type && one.log === log).length
    for (let round = 1; round <= ROUNDS; round += 1) {
      const lines = Array.from({ length: LINES }, (_, number) => line(round, number)).join("")
      appendFileSync(app, lines)
      if (round === 1) appendFileSync(watched, lines)
      await until(`rotation ${round}`, () => count("Rotated", app) >= round)
    }
    await until("two removals, and a plan for the log that is only watched", () => {
      return count("Removed", app) >= 2 && count("Planned", watched) > 0
    })
    child.kill("SIGTERM")
    const timer = setTimeout(() => child.kill("SIGKILL"), STOPPED_WITHIN_MS)
    expect(await exited).toBe(0)
    clearTimeout(timer)

    const decoded = (name: string, bytes: Buffer): string =>
      (name.endsWith(".zst") ? zstdDecompressSync(bytes) : bytes).toString()
    const stampIn = (name: string): string => /\d{8}-\d{6}/.exec(name)?.[0] ?? "active"
    const pieces = new Map<string, string>()
    for (const [key, { body }] of s3.objects("logs"))
      pieces.set(stampIn(key.slice(key.lastIndexOf("/"))), decoded(key, body ?? Buffer.alloc(0)))
    for (const name of readdirSync(logs).filter((name) => name.startsWith("app.log"))) {
      pieces.set(stampIn(name), decoded(name, readFileSync(join(logs, name))))
    }
    const read = [...pieces]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([, text]) => text)
      .join("")
    const written = Array.from({ length: ROUNDS * LINES }, (_, at) =>
      line(Math.floor(at / LINES) + 1, at % LINES),
    ).join("")
    expect({
      every: read === written,
      shippedFirst: told
        .filter(({ type }) => type === "Removed" || type === "s3.Shipped")
        .slice(0, 2)
        .map(({ type }) => type),
      watched: readdirSync(logs).filter((name) => name.startsWith("postgres-1.log")),
      traced: paths.has("/v1/traces"),
    }).toEqual({ every: true, shippedFirst: ["s3.Shipped", "Removed"], watched: ["postgres-1.log"], traced: true })
  },
  TEST_MS,
)
