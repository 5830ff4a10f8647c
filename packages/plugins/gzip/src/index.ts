// What this package offers to others. Holds no logic of its own.
export { gzip } from "./gzip.ts"
