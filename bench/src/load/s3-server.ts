/** The strict S3 server of the plugin's tests, in a process of its own: keeps digests and no bodies. Prints its endpoint, and ends with its standard input. */
import { startS3Server } from "../../../packages/plugins/s3/test/server/s3-server.ts"

const [, , accessKeyId = "", secretAccessKey = "", region = "", bucket = ""] = process.argv
const server = await startS3Server({ accessKeyId, secretAccessKey, region, buckets: [bucket], keepBodies: false })
process.stdout.write(`${server.endpoint}\n`)
process.stdin.resume().on("end", () => void server.close())
