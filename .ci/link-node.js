// Runs after `npm ci` and `npm install`, on the system's Node. Makes node_modules/.bin/node the Node that this repository
// brings, where npm did not: npm 10 removes that link together with the platform packages it skips. Downloads nothing.
import { existsSync, mkdirSync, rmSync, symlinkSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const modules = fileURLToPath(new URL("../node_modules", import.meta.url))
const brought = join(`node-${process.platform}-${process.arch}`, "bin", "node")
const link = join(modules, ".bin", "node")

if (existsSync(join(modules, brought)) && !existsSync(link)) {
  mkdirSync(join(modules, ".bin"), { recursive: true })
  rmSync(link, { force: true })
  symlinkSync(join("..", brought), link)
}
