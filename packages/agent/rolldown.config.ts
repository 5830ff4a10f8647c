// The bundle that the bin runs: one entry with all dependencies inlined, and what is imported lazily in chunks of its own, so
// that a command loads only what it uses. Names stay as they are, for stack traces a person can read.
import { defineConfig } from "rolldown"

export default defineConfig({
  input: { cordwood: "src/bin/cordwood.ts" },
  platform: "node",
  resolve: { conditionNames: ["cordwood-source", "import", "module", "node", "default"] },
  output: {
    dir: "dist",
    format: "esm",
    entryFileNames: "[name].js",
    chunkFileNames: "chunks/[name].js",
    minify: { compress: true, mangle: false, codegen: false },
  },
  // What can't be resolved would be left as an import, and fail in front of a user.
  onLog: (level, log, handle) => handle(log.code === "UNRESOLVED_IMPORT" ? "error" : level, log),
})
