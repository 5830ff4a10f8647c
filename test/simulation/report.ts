/** What a person is told of a failing seed: what broke, the story of the smallest scenario that breaks it, and how to see it again. Runs nothing. */
import type { Violation } from "./account.ts"
import type { Scenario, Shipping } from "./scenario.ts"
import type { Shrunk } from "./shrink.ts"

/** A story longer than this shows its beginning and its end. */
const MOST_LINES = 160
const MOST_COLUMNS = 240

export const violationText = ({ detail, guarantee, log }: Violation): string =>
  `${guarantee}: ${log === "" ? "" : `${log}: `}${detail}`

const scenarioText = (scenario: Scenario): ReadonlyArray<string> => {
  const { compression, keepStopped, maxFiles, maxSize, maxTotal, pressure } = scenario.policy
  const { containers, durationMs, happenings, intervalMs, mode, shipping, slowestMs, workers } = scenario
  return [
    `maxSize ${maxSize}, maxFiles ${maxFiles}, compression ${compression}, interval ${intervalMs} ms, workers ${workers}`,
    `keepStopped ${keepStopped}, maxTotal ${JSON.stringify(maxTotal ?? null)}, pressure ${JSON.stringify(pressure ?? null)}; the disk holds ${
      scenario.capacityBytes ?? "any amount of"
    } bytes; ${scenario.isOnePod ? "one pod" : "a pod for each container"}${scenario.forgets ? ", and the runtime forgets what has ended" : ""}`,
    `${mode === "run" ? "a daemon" : "a pass at every interval, each by an agent of its own"}; ${
      shipping === null ? "nothing is shipped" : shipping.early ? "shipped as soon as closed" : "shipped before it goes"
    }; an act takes up to ${slowestMs} ms; ${durationMs / 1_000} s`,
    ...(shipping === null ? [] : [shippingText(shipping)]),
    ...containers.map(
      ({ lateMs, name, reopens, speeds }) =>
        `container ${name}, ${reopens === "prompt" ? "reopens at once" : `goes on with the old file for ${lateMs} ms`}: ${speeds
          .map(({ everyMs, fromMs, records }) => `from ${fromMs} ms, ${records} records every ${everyMs} ms`)
          .join("; ")}`,
    ),
    `${happenings.length} things happen`,
  ]
}

const shippingText = (shipping: Shipping): string => {
  const { attempts, breaker, compresses, concurrency, hides, keeps, limitMs, partSize, patienceMs } = shipping
  const parts = partSize === null ? "in one request" : `parts of ${partSize} bytes, ${concurrency} at a time`
  const limit = limitMs === null ? "" : `; the guard gets ${limitMs} ms`
  return `S3 keeps ${keeps}${hides ? ", and lists nothing" : ""}; ${parts}${compresses ? ", compressed" : ""}; ${attempts} attempts of ${patienceMs} ms; pauses ${breaker.cooldownMs} ms after ${breaker.failures} failures${limit}`
}

export const failureText = (
  seed: number,
  before: Scenario,
  { outcome, scenario, tries }: Shrunk,
  command: string,
): string => {
  const { story, violation } = outcome
  const shown =
    story.length <= MOST_LINES
      ? story
      : [
          ...story.slice(0, MOST_LINES / 4),
          `   … ${story.length - MOST_LINES} lines …`,
          ...story.slice(-(MOST_LINES * 3) / 4),
        ]
  return [
    `seed ${seed} fails: ${violation === null ? "" : violationText(violation)}`,
    `shrunk from ${before.happenings.length} happenings and ${before.containers.length} containers, in ${tries} tries, to:`,
    ...scenarioText(scenario).map((line) => `  ${line}`),
    "",
    " seconds  who       what",
    ...shown.map((line) => (line.length > MOST_COLUMNS ? `${line.slice(0, MOST_COLUMNS - 1)}…` : line)),
    "",
    `again: ${command}`,
  ].join("\n")
}
