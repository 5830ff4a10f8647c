// What this package offers to others. Holds no logic of its own.
export * from "./log-files/node-log-files.ts"
export * from "./journal/journal.ts"
export * from "./journal/reader.ts"
