// Every test of the repository, one project per package. Holds no test logic of its own.
import { defaultServerConditions } from "vite"
import { defineConfig } from "vitest/config"

// Workspaces resolve to their sources, so that no test needs a build (but the packaging test, which is about the build).
// Without "module", which Node doesn't know: OpenTelemetry's packages have modules under it that only bundlers can read.
const conditions = ["cordwood-source", ...defaultServerConditions.filter((condition) => condition !== "module")]

const roots = {
  "@cordwood/core": "packages/core",
  "@cordwood/fs-adapter": "packages/fs-adapter",
  "@cordwood/agent": "packages/agent",
  "@cordwood/plugin-gzip": "packages/plugins/gzip",
  "@cordwood/plugin-zstd": "packages/plugins/zstd",
  "@cordwood/plugin-s3": "packages/plugins/s3",
  "@cordwood/plugin-otel": "packages/plugins/otel",
  "@cordwood/example-plugin-template": "examples/plugin-template",
  "cordwood-codec-brotli": "examples/codec-brotli",
  "@cordwood/test": "test",
}

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    // What a test has not done after this long, it will not do: an end-to-end test sets its own, longer limit.
    testTimeout: 20_000,
    hookTimeout: 60_000,
    projects: Object.entries(roots).map(([name, root]) => ({
      extends: true as const,
      test: {
        name,
        root,
        include: root === "test" ? ["**/*.test.ts"] : ["test/**/*.test.ts"],
      },
    })),
  },
})
