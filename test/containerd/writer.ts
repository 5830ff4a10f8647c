/**
 * The writers inside the containers: a busybox script that prints numbered lines of a fixed length, and the gate through which
 * a test holds it: a folder mounted into the container. The gate is what makes the tests exact: a held writer says how many
 * lines it has written, and that number doesn't come from any log.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { eventually } from "./eventually.ts"

const HELD_WITHIN_MS = 150_000
/** A fast writer of a test needs ten seconds on an idle machine. */
const WRITTEN_WITHIN_MS = 300_000
const PREFIX = "line "
const DIGITS = 10
const SUFFIX = " end"
const FIXED_CHARS = PREFIX.length + DIGITS + 1 + SUFFIX.length

/** The one line with this number: fixed length, so that a line cut short or joined wrongly is no line. */
export const line = (number: number, lineChars: number): string =>
  `${PREFIX}${String(number).padStart(DIGITS, "0")} ${"x".repeat(lineChars - FIXED_CHARS)}${SUFFIX}`

/** The number of a line that is whole, undefined for anything else. */
export const numberOf = (lineChars: number): ((content: string) => number | undefined) => {
  const behind = line(0, lineChars).slice(PREFIX.length + DIGITS)
  return (content) => {
    const digits = content.slice(PREFIX.length, PREFIX.length + DIGITS)
    const isWhole = content.startsWith(PREFIX) && /^\d{10}$/.test(digits) && content.endsWith(behind)
    return isWhole && content.length === lineChars ? Number(digits) : undefined
  }
}

export interface Writing {
  /** Characters of a line, without its newline. */
  readonly lineChars: number
  /** Lines printed in one go; between two goes the writer looks at its gate. */
  readonly burstLines: number
  /** Pause after each go, in seconds; 0 for as fast as it can. */
  readonly pauseSeconds: number
  /** Holds itself after this many lines. Without it, writes until held. */
  readonly lines?: number
}

/** `/gate/hold` holds a token: hold. `/gate/held.<token>`: holds, and has written as many lines as stand in the file. */
const SCRIPT = `
burst=$1 pause=$2 last=$3 pad=$4
next=1
while :; do
  token=
  if [ -e /gate/hold ]; then token=$(cat /gate/hold 2>/dev/null)
  elif [ "$last" -gt 0 ] && [ "$next" -gt "$last" ]; then token=last
  fi
  if [ -n "$token" ]; then
    if [ ! -e "/gate/held.$token" ]; then echo $((next - 1)) >/gate/held.new; mv /gate/held.new "/gate/held.$token"; fi
    usleep 20000
    continue
  fi
  to=$((next + burst - 1))
  if [ "$last" -gt 0 ] && [ "$to" -gt "$last" ]; then to=$last; fi
  awk -v from="$next" -v to="$to" -v pad="$pad" 'BEGIN { for (i = from; i <= to; i++) printf "${PREFIX}%0${DIGITS}d %s${SUFFIX}\\n", i, pad }'
  next=$((to + 1))
  [ "$pause" = 0 ] || sleep "$pause"
done
`

/** What the container runs. */
export const writing = ({ lineChars, burstLines, pauseSeconds, lines = 0 }: Writing): ReadonlyArray<string> => [
  "/bin/sh",
  "-c",
  SCRIPT,
  "writer",
  String(burstLines),
  String(pauseSeconds),
  String(lines),
  "x".repeat(lineChars - FIXED_CHARS),
]

/** One container prints a 330-character line 2,000 times, sleeps a second, and repeats. */
export const REFERENCE: Writing = { lineChars: 330, burstLines: 2_000, pauseSeconds: 1 }

export class Gate {
  readonly folder: string
  private holds = 0

  constructor(scratch: string) {
    const gates = join(scratch, "gates")
    mkdirSync(gates, { recursive: true })
    this.folder = mkdtempSync(join(gates, "gate-"))
  }

  /** Lines written, once the writer has written all that it was to write. */
  async written(): Promise<number> {
    return await this.heldWith("last", WRITTEN_WITHIN_MS)
  }

  /** Has the writer stop between two goes; lines written by then. */
  async hold(): Promise<number> {
    return await this.heldWith(this.close(), HELD_WITHIN_MS)
  }

  /** Tells the writer to hold, and doesn't wait until it does. */
  close(): string {
    this.holds += 1
    const token = String(this.holds)
    writeFileSync(join(this.folder, "hold.new"), token)
    renameSync(join(this.folder, "hold.new"), join(this.folder, "hold"))
    return token
  }

  /** Lets a held writer go on. */
  release(): void {
    rmSync(join(this.folder, "hold"), { force: true })
  }

  private async heldWith(token: string, withinMs: number): Promise<number> {
    const held = join(this.folder, `held.${token}`)
    return await eventually({ what: "the writer to hold", withinMs }, () =>
      existsSync(held) ? Number(readFileSync(held, "utf8")) : undefined,
    )
  }
}
