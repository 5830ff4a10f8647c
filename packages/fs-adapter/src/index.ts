// What this package offers to others. Holds no logic of its own.
export * from "./log-files/node-log-files.ts"
export * from "./journal/journal.ts"
export {
  examineJournal,
  isJournalGone,
  type JournalExamination,
  type JournalFault,
  journalKeeper,
  setAsideJournal,
} from "./journal/examine.ts"
export {
  journalObstacle,
  type JournalReader,
  type JournalReaderOptions,
  sqliteJournalReader,
} from "./journal/reader.ts"
