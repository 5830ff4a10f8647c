/** Run by a test as a program of its own: lists from two sockets, leaves both sources open, and must end nevertheless. */
import { createRequire } from "node:module"
import { Effect, Scope } from "effect"
import { cri } from "../../src/source/cri/cri.ts"

const hasGrpc = (): boolean =>
  Object.keys(createRequire(import.meta.url).cache).some((path) => path.includes("@grpc/grpc-js"))

const [there = "", missing = ""] = process.argv.slice(2)
const before = hasGrpc()
const scope = await Effect.runPromise(Scope.make())
const [here, away] = await Promise.all(
  [there, missing].map((endpoint) => Effect.runPromise(Scope.provide(cri({ endpoint }).open, scope))),
)
console.log(`gRPC before: ${before}, after: ${hasGrpc()}`)
if (here !== undefined) console.log(`${(await Effect.runPromise(here.list)).logs.length} log`)
if (away !== undefined) console.log((await Effect.runPromise(Effect.flip(away.list))).reason)
