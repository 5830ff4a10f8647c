// A neighbour who changes all he can while the agent works. `npm run attack` does the same for as long as one likes.
import { existsSync, rmSync } from "node:fs"
import { expect, test } from "vitest"
import { NEIGHBOUR, quickDirectory, race } from "./race.ts"

const TIMES = 20_000
/** On a machine that has little time for it the neighbour gets fewer chances. */
const LIMIT_MS = 20_000

test.skipIf(!existsSync("/proc/self/fd"))(
  "whatever a neighbour swaps and lays down meanwhile, nothing outside is touched, shown or opened, and no record is lost",
  { timeout: 180_000 },
  async () => {
    const root = quickDirectory()
    const seed = (Date.now() % 2 ** 31) + 1
    try {
      const { harm, leaks, losses, racedActs, tricks } = await race({
        root,
        times: TIMES,
        limitMs: LIMIT_MS,
        seed,
        user: NEIGHBOUR,
      })
      expect({ harm, leaks, losses }, `seed ${seed}`).toEqual({ harm: [], leaks: [], losses: [] })
      expect(racedActs).toBeGreaterThan(0)
      expect(Object.keys(tricks).filter((trick) => trick.startsWith("the log's directory"))).toHaveLength(1)
    } finally {
      rmSync(root, { recursive: true, force: true })
    }
  },
)
