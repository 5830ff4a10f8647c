/** A file as a stream of bytes for whoever asks, decoded if need be: `LogFiles.read`. Opens it at the first piece, and closes it whatever happens. */
import type { Codec, FileSeen, LogFilesError } from "@cordwood/core"
import { Effect, Exit, Scope } from "effect"
import { type OpenDirectory, withDirectory } from "./directory.ts"
import { failureOf } from "./failure.ts"
import { demandSame } from "./look.ts"
import { demandOneName, demandOneNameStill, lookAgain, openToRead } from "./reading.ts"
import { pieces } from "./transcoding.ts"

/** Throws a `LogFilesError`. The file must be, from beginning to end, as it was seen. */
export async function* stream(
  file: FileSeen,
  codec: Codec | null,
  anchored: boolean,
): AsyncGenerator<Uint8Array, void, undefined> {
  const scope = Scope.makeUnsafe()
  try {
    const opened = await Effect.runPromise(
      withDirectory("read", file.path, anchored, (directory) =>
        Scope.provide(openToRead("read", directory, file.path), scope),
      ),
    )
    const check = (now: FileSeen): void => demandSame("read", now, file, true)
    checked(file, () => {
      check(opened.seen)
      demandOneName("read", opened)
    })
    yield* pieces("read", opened, codec)
    const now = await Effect.runPromise(lookAgain("read", opened))
    checked(file, () => check(now))
    const still = (directory: OpenDirectory): Effect.Effect<void, LogFilesError> =>
      Effect.try({ try: () => demandOneNameStill("read", directory, opened), catch: failureOf("read", file.path) })
    await Effect.runPromise(withDirectory("read", file.path, anchored, still))
  } finally {
    await Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

const checked = (file: FileSeen, check: () => void): void => {
  try {
    check()
  } catch (cause) {
    throw failureOf("read", file.path)(cause)
  }
}
