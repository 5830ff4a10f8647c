// What this package offers to others. Holds no logic of its own.
export type { Conflict, Shipped, UploadBegan } from "./events.ts"
export { s3 } from "./s3.ts"
