/** What those who compose their own agent import. */
export { Agent, type AgentPorts, type AgentShape, type CallOptions, type PromiseAgent } from "./agent.ts"
export { AgentError } from "./agent-error.ts"
export { type AgentOptions, JournalOptions, Settings } from "./agent-options.ts"
export type { PassReport, PlannedLog, PlanReport, Problem } from "./pass/report.ts"
export type { VerifyOptions, VerifyProgress, VerifyReport } from "./verify/report.ts"
export { cri, CriOptions } from "./source/cri/cri.ts"
export { files, FilesOptions } from "./source/files/files.ts"
export type { SourceFactory } from "./source/source-factory.ts"
