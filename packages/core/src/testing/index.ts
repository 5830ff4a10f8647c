/** What tests and third parties use: a node in memory with faults, given/when/then, and the suites that ports and codecs must pass. */
export * from "./codec-suite.ts"
export * from "./given.ts"
export * from "./journal-suite.ts"
export * from "./log-files-suite.ts"
export * from "./memory-journal.ts"
export * from "./world.ts"
