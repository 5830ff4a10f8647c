/** The program's own log: a readable line on standard error for each message. Events of the journal are not made here. */
import { Cause, Logger, References } from "effect"
import { type Colors, colorsFor, safe, say, valueText } from "./terminal.ts"

const LEVEL: Readonly<
  Record<string, { readonly name: string; readonly paint: (colors: Colors, text: string) => string }>
> = {
  Fatal: { name: "fatal", paint: (colors, text) => colors.red(text) },
  Error: { name: "error", paint: (colors, text) => colors.red(text) },
  Warn: { name: "warn ", paint: (colors, text) => colors.yellow(text) },
  Info: { name: "info ", paint: (colors, text) => colors.green(text) },
  Debug: { name: "debug", paint: (colors, text) => colors.dim(text) },
  Trace: { name: "trace", paint: (colors, text) => colors.dim(text) },
}

const wordOf = (value: unknown): string =>
  typeof value === "string" ? value : (JSON.stringify(value) ?? String(value))

/** `2026-09-09T04:33:10.123Z info  message key=value`. */
export const stderrLogger = Logger.make<unknown, void>(({ cause, date, fiber, logLevel, message }) => {
  const colors = colorsFor(process.stderr)
  const level = LEVEL[logLevel] ?? { name: String(logLevel).toLowerCase(), paint: (_: Colors, text: string) => text }
  const words = (Array.isArray(message) ? message : [message]).map((word) => safe(wordOf(word)))
  for (const [key, value] of Object.entries(fiber.getRef(References.CurrentLogAnnotations))) {
    words.push(`${colors.dim(`${safe(key)}=`)}${safe(valueText(wordOf(value)))}`)
  }
  const causes = cause.reasons.length === 0 ? [] : Cause.prettyErrors(cause).map((error) => `: ${error.message}`)
  say(
    `${colors.dim(date.toISOString())} ${level.paint(colors, level.name)} ${words.join(" ")}${causes.map(safe).join("")}`,
  )
})

export const layerStderrLogger = Logger.layer([stderrLogger])
