/** How far verifying has come, on a terminal; nothing is shown elsewhere. Says nothing about what was found. */
import { formatBytes } from "@cordwood/core"
import { Effect, type Scope } from "effect"
import { createLogUpdate } from "log-update"
import type { VerifyProgress } from "../verify/report.ts"

/** Often enough to look alive. */
const DRAW_EVERY_MS = 100

export interface Progress {
  readonly show: (progress: VerifyProgress) => void
  /** Takes it off the screen. */
  readonly end: () => void
}
type Screen = Pick<NodeJS.WriteStream, "isTTY"> & NodeJS.WriteStream

/** For as long as the scope lasts. */
export const showProgress = (screen: Screen): Effect.Effect<Progress, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync((): Progress => {
      if (screen.isTTY !== true) return { show: () => {}, end: () => {} }
      const update = createLogUpdate(screen, { showCursor: true })
      let drawnMs = Number.NEGATIVE_INFINITY
      let over = false
      return {
        show: (progress) => {
          const nowMs = performance.now()
          if (over || nowMs - drawnMs < DRAW_EVERY_MS) return
          drawnMs = nowMs
          update(progressText(progress))
        },
        end: () => {
          if (!over) update.clear()
          over = true
        },
      }
    }),
    ({ end }) => Effect.sync(end),
  )

/** `verifying: 12 of 340 logs, 45 of 1,360 segments, 120.0 MiB of 4.1 GiB`. */
export const progressText = (progress: VerifyProgress): string => {
  const { bytes, bytesDone, logs, logsDone, segments, segmentsDone } = progress
  const of = (done: number, all: number, text: (count: number) => string): string =>
    // What has come up meanwhile is done beside what was counted.
    `${text(done)} of ${text(Math.max(done, all))}`
  const number = (count: number): string => count.toLocaleString("en-US")
  return `verifying: ${of(logsDone, logs, number)} logs, ${of(segmentsDone, segments, number)} segments, ${of(bytesDone, bytes, formatBytes)}`
}
