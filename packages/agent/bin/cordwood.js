#!/usr/bin/env node
// The command as npm links it: this file has to be there, and executable, before anything is built. Holds nothing of the program.
try {
  await import("../dist/cordwood.js")
} catch (error) {
  if (error?.code !== "ERR_MODULE_NOT_FOUND" || !String(error.message).includes("dist/cordwood.js")) throw error
  process.stderr.write("cordwood: it is not built yet; run npm run build\n")
  process.exitCode = 1
}
