/** How the demo starts its writers: an unlisted command of this very program. */
export const WRITER_COMMAND = "__demo-writer"
