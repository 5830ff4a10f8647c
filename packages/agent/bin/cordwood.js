#!/usr/bin/env node
// The command as npm links it: this file has to be there, and executable, before anything is built, and is read by any Node. Holds nothing of
// the program.
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number)
if (major < 22 || (major === 22 && minor < 18)) {
  // npm only warns of it (`engines`), and what the program is then missing depends on the version.
  process.stderr.write(`cordwood: it needs Node 22.18 or newer, and this is ${process.versions.node}\n`)
  process.exitCode = 1
} else {
  try {
    await import("../dist/cordwood.js")
  } catch (error) {
    if (error?.code !== "ERR_MODULE_NOT_FOUND" || !String(error.message).includes("dist/cordwood.js")) throw error
    process.stderr.write("cordwood: it is not built yet; run npm run build\n")
    process.exitCode = 1
  }
}
