/** The failures that rotators of logs are known for, each as the smallest scenario that brings it about: data only. */
import { RECORD_BYTES } from "./records.ts"
import type { Container, Happening, Scenario } from "./scenario.ts"

const HOUR_MS = 3_600_000
/** Fills a file of the limit in a second and a quarter. */
const BUSY = { fromMs: 0, everyMs: 250, records: 2 }

/** One that fills it four times a second. */
const FLAT_OUT: Container = {
  name: "a",
  reopens: "prompt",
  lateMs: 0,
  speeds: [{ fromMs: 0, everyMs: 250, records: 10 }],
}

const scenario = (happenings: ReadonlyArray<Happening>, changes: Partial<Scenario> = {}): Scenario => ({
  seed: 1,
  policy: { maxSize: 10 * RECORD_BYTES, maxFiles: 4, compression: "packed", keepStopped: 1 },
  capacityBytes: null,
  isOnePod: false,
  forgets: false,
  intervalMs: 2_000,
  workers: 1,
  shipping: null,
  mode: "run",
  slowestMs: 0,
  reopenLimitMs: 10_000,
  containers: [{ name: "a", reopens: "prompt", lateMs: 0, speeds: [BUSY] }],
  happenings,
  durationMs: 20_000,
  ...changes,
})

const trouble = (
  atMs: number,
  operation: Extract<Happening, { readonly _tag: "Trouble" }>["operation"],
  kind: Extract<Happening, { readonly _tag: "Trouble" }>["trouble"],
  reason: Extract<Happening, { readonly _tag: "Trouble" }>["reason"] = "Io",
): Happening => ({ atMs, _tag: "Trouble", operation, trouble: kind, reason, times: 1 })

export interface Famous {
  readonly title: string
  readonly scenario: Scenario
  /** What becomes of it by the kubelet's rules; null: they stand it. */
  readonly kubelet: string | null
}

export const famous: ReadonlyArray<Famous> = [
  {
    title: "killed between rename and reopen",
    scenario: scenario([trouble(5_000, "setAside", "crash-after")]),
    // Its next pass finds no active file, and reopens.
    kubelet: null,
  },
  {
    title: "the reply to reopen lost after it took effect",
    scenario: scenario([trouble(5_000, "reopen", "after")]),
    kubelet:
      "every byte is in one place, in order: /pods/ns_a_uid/app/0.log: the last 128 bytes, from 384 on, are missing",
  },
  {
    title: "two rotations in one second",
    scenario: scenario([], { intervalMs: 300, containers: [FLAT_OUT] }),
    kubelet:
      "every byte is in one place, in order: /pods/ns_a_uid/app/0.log.20260909-063310: removed although /pods/ns_a_uid/app/0.log.20260909-063310.packed doesn't hold its 80 bytes",
  },
  {
    title: "the clock set back by an hour",
    scenario: scenario([{ atMs: 9_000, _tag: "ClockStep", stepMs: -HOUR_MS }]),
    kubelet:
      "every byte is in one place, in order: /pods/ns_a_uid/app/0.log: 512 bytes from 0 on are missing before 20260909-053320",
  },
  {
    title: "the end of daylight saving",
    scenario: scenario([{ atMs: 9_000, _tag: "DaylightSaving", isOver: true }]),
    kubelet:
      "every byte is in one place, in order: /pods/ns_a_uid/app/0.log: 512 bytes from 0 on are missing before 20260909-053320",
  },
  {
    title: "a full disk while a segment is compressed",
    scenario: scenario([{ atMs: 5_000, _tag: "DiskFull", leftBytes: 24, forMs: 4_000 }]),
    kubelet:
      "every byte is in one place, in order: /pods/ns_a_uid/app/0.log.20260909-063314: removed although /pods/ns_a_uid/app/0.log.20260909-063314.packed doesn't hold its 128 bytes",
  },
  {
    title: "the power cut just after a segment was compressed",
    scenario: scenario([{ atMs: 12_300, _tag: "PowerCut", downMs: 1_000, chance: 1 }]),
    kubelet:
      "a power cut takes nothing that was durable: /pods/ns_a_uid/app/0.log: of 128 bytes of 20260909-063320, 128 were durable, and 0 are left",
  },
]
