/** What a benchmark came to, as tables for people and as lines for programs. Measures nothing. */
import Table from "cli-table3"

/** Samples of one figure, in the order they were taken; or a word, for what can't be measured here. */
export type Cell = Samples | string
export interface Samples {
  readonly unit: string
  readonly digits: number
  readonly samples: ReadonlyArray<number>
}
export interface Row {
  readonly case: string
  /** By figure; one that is missing leaves its place empty. */
  readonly cells: Readonly<Record<string, Cell>>
}
export interface Report {
  readonly title: string
  /** What a reader must know to read the figures: lengths, sizes, what is in them and what is not. */
  readonly notes: ReadonlyArray<string>
  readonly rows: ReadonlyArray<Row>
}

export const samplesOf = (unit: string, digits: number, samples: ReadonlyArray<number>): Samples => ({
  unit,
  digits,
  samples,
})

export interface Spread {
  readonly min: number
  readonly median: number
  readonly max: number
}
/** The value that `share` of the samples don't exceed. */
export const quantile = (samples: ReadonlyArray<number>, share: number): number => {
  const sorted = samples.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN
}
export const spreadOf = (samples: ReadonlyArray<number>): Spread => {
  const sorted = samples.toSorted((a, b) => a - b)
  const upper = sorted[sorted.length >> 1] ?? Number.NaN
  const lower = sorted[(sorted.length - 1) >> 1] ?? Number.NaN
  return { min: sorted[0] ?? Number.NaN, median: (lower + upper) / 2, max: sorted.at(-1) ?? Number.NaN }
}

/** `12.3 s/GB (12.1–12.9)`: the median, and the least and the largest where there are several. */
const textOf = (cell: Cell | undefined): string => {
  if (cell === undefined) return ""
  if (typeof cell === "string") return cell
  if (cell.samples.length === 0) return ""
  const { max, median, min } = spreadOf(cell.samples)
  const fixed = (value: number): string => value.toFixed(cell.digits)
  const unit = cell.unit === "" ? "" : ` ${cell.unit}`
  return `${fixed(median)}${unit}${cell.samples.length > 1 ? ` (${fixed(min)}–${fixed(max)})` : ""}`
}

const figuresOf = ({ rows }: Report): ReadonlyArray<string> => [
  ...new Set(rows.flatMap(({ cells }) => Object.keys(cells))),
]

export const asTable = (report: Report): string => {
  const figures = figuresOf(report)
  const table = new Table({ head: ["", ...figures], style: { head: [], border: [] } })
  for (const row of report.rows) table.push([row.case, ...figures.map((figure) => textOf(row.cells[figure]))])
  return [report.title, table.toString(), ...report.notes.map((note) => `  ${note}`), ""].join("\n")
}

export const asMarkdown = (report: Report): string => {
  const figures = figuresOf(report)
  const line = (cells: ReadonlyArray<string>): string => `| ${cells.join(" | ")} |`
  return [
    `**${report.title}**`,
    "",
    line(["", ...figures]),
    line(["---", ...figures.map(() => "---")]),
    ...report.rows.map((row) => line([row.case, ...figures.map((figure) => textOf(row.cells[figure]))])),
    "",
    ...report.notes.map((note) => `- ${note}`),
    "",
  ].join("\n")
}

/** One object for each figure. */
export const asJsonLines = (benchmark: string, report: Report): ReadonlyArray<string> =>
  report.rows.flatMap((row) =>
    Object.entries(row.cells).map(([figure, cell]) => {
      const about = { benchmark, title: report.title, case: row.case, figure }
      if (typeof cell === "string") return JSON.stringify({ ...about, quoted: cell })
      return JSON.stringify({ ...about, unit: cell.unit, ...spreadOf(cell.samples), samples: cell.samples })
    }),
  )
