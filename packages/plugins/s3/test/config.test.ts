// What a user may write, and what is said about the rest.
import { describe, expect, it } from "vitest"
import * as z from "zod"
import { s3 } from "../src/index.ts"

const problems = (config: unknown): string => z.prettifyError(s3.config.safeParse(config).error!)

describe("the settings", () => {
  it("need a bucket only", () => {
    expect(s3.config.parse({ bucket: "logs" })).toEqual({
      bucket: "logs",
      forcePathStyle: false,
      prefix: "",
      key: "ns={namespace}/dt={date}/hour={hour}/node={node}/{pod}_{uid}_{container}_{restart}_{stamp}_{sha16}.log",
      when: "before-remove",
      compress: "none",
      partSize: 16 * 1024 ** 2,
      concurrency: 2,
      attempts: 4,
      connectTimeout: 5_000,
      idleTimeout: 20_000,
      requestTimeout: 300_000,
      breaker: { failures: 5, cooldown: 30_000 },
    })
  })

  it("each say what they are for", () => {
    const { properties = {} } = z.toJSONSchema(s3.config, { io: "input" }) as {
      properties?: Record<string, { description?: string }>
    }
    const silent = Object.entries(properties).filter(([, { description }]) => description === undefined)
    expect(silent.map(([name]) => name)).toEqual([])
  })

  it("take what the contract's example has, and everything that objects can get", () => {
    const { success } = s3.config.safeParse({
      bucket: "logs",
      region: "eu-west-1",
      endpoint: "http://127.0.0.1:9000",
      forcePathStyle: true,
      prefix: "v1/cluster=demo",
      sse: { kmsKeyId: "alias/logs", bucketKey: true },
      tags: { team: "shop" },
      objectLock: { mode: "GOVERNANCE", days: 30, legalHold: false },
      storageClass: "GLACIER_IR",
    })
    expect(success).toBe(true)
  })

  it.each([
    [{}, "✖ Invalid input: expected string, received undefined\n  → at bucket"],
    [{ bucket: "logs", buckett: 1 }, `✖ Unrecognized key: "buckett"`],
    [{ bucket: "logs", accessKeyId: "AKID" }, `✖ Unrecognized key: "accessKeyId"`],
    [{ bucket: "../x" }, "✖ must be a bucket's name, or an access point's ARN\n  → at bucket"],
    [
      { bucket: "logs", endpoint: "127.0.0.1:9000" },
      "✖ must be a URL that begins with http:// or https://, such as http://127.0.0.1:9000\n  → at endpoint",
    ],
    [
      { bucket: "logs", endpoint: "http://me:secret@x" },
      "✖ must not hold a user or a password: credentials come from AWS's default chain\n  → at endpoint",
    ],
    [{ bucket: "logs", endpoint: "http://x?y" }, "✖ must have neither a query nor a fragment\n  → at endpoint"],
    [
      { bucket: "logs", key: "{pod}" },
      "✖ must have {stamp}, and {sha16} or {sha256}: without them different segments would have the same key\n  → at key",
    ],
    [
      { bucket: "logs", prefix: "../up" },
      "✖ must have no empty part between slashes, nor one of dots alone\n  → at prefix",
    ],
    [{ bucket: "logs", partSize: "1Mi" }, "✖ must be from 5Mi to 512Mi\n  → at partSize"],
    [{ bucket: "logs", idleTimeout: "1h" }, "✖ must be from 100ms to 10m\n  → at idleTimeout"],
    [
      { bucket: "logs", objectLock: { mode: "GOVERNANCE" } },
      "✖ needs mode with either days or retainUntil, or legalHold, or both\n  → at objectLock",
    ],
    [
      { bucket: "logs", objectLock: { days: 3, legalHold: true } },
      "✖ needs mode with either days or retainUntil, or legalHold, or both\n  → at objectLock",
    ],
  ])("%j: what is wrong is said", (config, problem) => {
    expect(problems(config)).toBe(problem)
  })
})
