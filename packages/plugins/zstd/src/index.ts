// What this package offers to others. Holds no logic of its own.
export { zstd } from "./zstd.ts"
