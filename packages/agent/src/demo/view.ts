/** What the demo shows: a picture of every log on a terminal, lines in a pipe, and the account at the end. Pure. */
import { type Envelope, formatBytes, formatDuration, type Log } from "@cordwood/core"
import { eventDetail } from "../cli/event-text.ts"
import { type Colors, columns } from "../cli/terminal.ts"
import type { LogNow, Outcome } from "./experiment.ts"
import { isComplete } from "./piece.ts"
import type { SeenFile } from "./files.ts"

/** What the demo runs with, as far as the picture goes. */
export interface Scene {
  readonly maxSize: number
  readonly maxFiles: number
  readonly interval: string
  readonly elapsedMs: number
  /** Null: until Ctrl-C. */
  readonly forMs: number | null
}

const count = (value: number): string => value.toLocaleString("en-US")
const clock = (ms: number): string => {
  const seconds = Math.floor(ms / 1_000)
  return `${String(Math.floor(seconds / 60)).padStart(2, "0")}:${String(seconds % 60).padStart(2, "0")}`
}

const EIGHTHS = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"]
/** A bar of `width` cells for a share of 1; what goes beyond is cut. */
export const bar = (share: number, width: number): string => {
  const eighths = Math.round(Math.max(0, Math.min(1, share)) * width * 8)
  return `${"█".repeat(eighths >> 3)}${EIGHTHS[eighths & 7] ?? ""}`.padEnd(width)
}
const fit = (text: string, width: number): string =>
  text.length > width ? `${text.slice(0, Math.max(0, width - 1))}…` : text

const NAME_WIDTH = 26
const BAR_WIDTH = 24
/** The fewest events that are worth their lines; below that, the logs are shown in a line each. */
const MIN_EVENTS = 3
const MAX_EVENTS = 12

/** The picture, no wider than `width` and no higher than `height`. `recent` are events, oldest first. */
export const picture = (
  scene: Scene,
  logs: ReadonlyArray<LogNow>,
  recent: ReadonlyArray<Envelope>,
  size: { readonly width: number; readonly height: number },
  colors: Colors,
): string => {
  const width = Math.max(40, size.width - 1)
  const head = headLines(scene, logs, width, colors)
  // Each log has as many lines as it may have files, so that the picture stands still.
  const detailed = logs.flatMap((log) => detailLines(log, scene, width, colors))
  const room = size.height - head.length - 3
  const body =
    detailed.length + MIN_EVENTS <= room ? detailed : logs.map((log) => compactLine(log, scene, width, colors))
  const shown = recent.slice(-Math.max(0, Math.min(MAX_EVENTS, room - body.length)))
  const names = new Map(logs.map(({ name, path }) => [path, name]))
  const events = shown.map((event) => eventText(event, names, width, colors))
  return [...head, "", ...body, "", ...events].slice(0, Math.max(1, size.height - 1)).join("\n")
}

const headLines = (scene: Scene, logs: ReadonlyArray<LogNow>, width: number, colors: Colors): ReadonlyArray<string> => {
  const { elapsedMs, forMs, interval, maxFiles, maxSize } = scene
  const lines = logs.reduce((sum, log) => sum + log.lines, 0)
  const bytes = logs.reduce((sum, log) => sum + sizeOf(log.files), 0)
  const time =
    forMs === null
      ? `${clock(elapsedMs)}  Ctrl-C ends it and counts every line`
      : `${clock(elapsedMs)} of ${clock(forMs)}`
  const title = fit(`maxSize ${formatBytes(maxSize)}, maxFiles ${maxFiles}, interval ${interval}`, width - 16)
  return [
    `${colors.bold("cordwood demo")}  ${colors.dim(title)}`,
    fit(`${time}  ${count(lines)} lines written, ${formatBytes(bytes)} on disk`, width),
  ]
}

const sizeOf = (files: ReadonlyArray<SeenFile>): number => files.reduce((sum, { bytes }) => sum + bytes, 0)
const isCompressed = ({ name }: SeenFile): boolean => name.endsWith(".gz")
const painted = (file: SeenFile, active: boolean, text: string, colors: Colors): string =>
  active
    ? colors.green(text)
    : file.name.endsWith(".tmp")
      ? colors.yellow(text)
      : isCompressed(file)
        ? colors.cyan(text)
        : colors.blue(text)

const detailLines = (
  { files, lines, name }: LogNow,
  { maxFiles, maxSize }: Scene,
  width: number,
  colors: Colors,
): ReadonlyArray<string> => {
  const title = fit(`${count(lines)} lines, ${formatBytes(sizeOf(files))} on disk`, width - name.length - 2)
  const rows = files.slice(0, maxFiles + 1).map((file, index) => {
    const label = fit(file.name, NAME_WIDTH).padEnd(NAME_WIDTH)
    const share = bar(file.bytes / Math.max(1, maxSize), BAR_WIDTH)
    return `  ${index === 0 ? label : colors.dim(label)} ${painted(file, index === 0, share, colors)} ${formatBytes(file.bytes).padStart(9)}`
  })
  // One more than allowed is there for a moment: between rotation and removal, or beside a temporary file.
  const blank = Array.from({ length: Math.max(0, maxFiles + 1 - rows.length) }, () => "")
  return [`${colors.bold(name)}  ${colors.dim(title)}`, ...rows, ...blank]
}

const compactLine = ({ files, lines, name }: LogNow, { maxSize }: Scene, width: number, colors: Colors): string => {
  const [active, ...segments] = files
  const share = active === undefined ? 0 : active.bytes / Math.max(1, maxSize)
  const head = `${name.padEnd(10)} ${count(lines).padStart(11)} lines `
  const size = active === undefined ? "missing" : formatBytes(active.bytes)
  const rest = segments.map((file) => `${formatBytes(file.bytes)}${isCompressed(file) ? " gz" : ""}`).join(", ")
  const used = head.length + 12 + size.length + 4
  return `${colors.bold(head)} ${colors.green(bar(share, 10))} ${size}  ${colors.dim(fit(rest, Math.max(0, width - used)))}`
}

const paintType = (type: string, colors: Colors): string => {
  const text = type.padEnd("Compressed".length)
  if (type === "Failed") return colors.red(text)
  if (type === "Rotated") return colors.green(text)
  return type === "Removed" ? colors.magenta(text) : type === "Compressed" ? colors.cyan(text) : colors.dim(text)
}
const nameIn = (names: ReadonlyMap<string, string>, { path }: Log): string => names.get(path) ?? path

/** An event in a line; logs by their writers' names, times within the day. */
export const eventText = (
  event: Envelope,
  names: ReadonlyMap<string, string>,
  width: number,
  colors: Colors,
): string => {
  const time = event.time.slice(11, 19)
  const name = nameIn(names, event.log)
  const detail = fit(eventDetail(event), Math.max(10, width - time.length - name.length - 16))
  return `${colors.dim(time)}  ${paintType(event.type, colors)}  ${name}  ${detail}`
}

/** Where a demo in a pipe stands: a line for all logs. */
export const statusText = ({ elapsedMs }: Pick<Scene, "elapsedMs">, logs: ReadonlyArray<LogNow>): string => {
  const each = logs.map(
    ({ files, lines, name }) =>
      `${name} ${count(lines)} lines in ${files.length} ${files.length === 1 ? "file" : "files"}, ${formatBytes(sizeOf(files))}`,
  )
  return `${clock(elapsedMs)}     ${each.join("; ")}`
}

/** The account of every line, and what the agent did meanwhile. */
export const accountText = (
  { accounts, compressed, compressedFrom, compressedTo, failed, problems, removed, rotated, complete }: Outcome,
  elapsedMs: number,
  colors: Colors,
): string => {
  const fault = (value: number): string => (value === 0 ? "0" : colors.red(count(value)))
  const rows = accounts.map((account) => [
    isComplete(account) ? account.name : colors.red(account.name),
    count(account.written),
    count(account.onDisk),
    count(account.removed),
    fault(account.missing),
    fault(account.duplicated),
    fault(account.outOfOrder),
    fault(account.garbled),
  ])
  const heads = ["LOG", "WRITTEN", "ON DISK", "REMOVED", "MISSING", "DOUBLED", "REORDERED", "GARBLED"]
  const total = accounts.reduce((sum, { written }) => sum + written, 0)
  const ratio = compressedTo > 0 ? ` (${(compressedFrom / compressedTo).toFixed(1)}x smaller)` : ""
  const acts = `${count(rotated)} rotated, ${count(compressed)} compressed${ratio}, ${count(removed)} removed by policy${failed > 0 ? `, ${count(failed)} failed` : ""}`
  return [
    columns(heads, rows, colors, new Set([1, 2, 3, 4, 5, 6, 7])),
    "",
    `In ${formatDuration(elapsedMs)}: ${acts}.`,
    ...problems.map((problem) => colors.red(problem)),
    complete
      ? colors.green(`Every line is accounted for: ${count(total)} of ${count(total)}.`)
      : colors.red("NOT every line is accounted for."),
  ].join("\n")
}
