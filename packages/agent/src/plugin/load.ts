/**
 * Finds the plugins that a configuration names, imports them and reads their settings. Sets nothing up: that is the host's part.
 * Names and paths are resolved as from the configuration file, not from where this program is installed.
 */
import { type Configured, messageOf, PLUGIN_API, type Plugin } from "@cordwood/core"
import { existsSync, readFileSync, statSync } from "node:fs"
import { createRequire, registerHooks } from "node:module"
import { dirname, join, resolve } from "node:path"
import { pathToFileURL } from "node:url"
import type { ConfigProblem } from "../config/config-error.ts"
import { type ConfigDocument, problemAt } from "../config/document.ts"
import { parseAt } from "../config/issues.ts"
import { nearest } from "../config/nearest.ts"
import { distrust } from "../config/ownership.ts"

/** One entry of the file's list of plugins. */
export interface PluginUse {
  readonly use: string
  readonly with?: Readonly<Record<string, unknown>> | undefined
}

/** The plugin that comes with the program: no need to have it installed beside the configuration. */
const GZIP = "@cordwood/plugin-gzip"
/** What there is to choose from, for suggestions. */
export const KNOWN: ReadonlyArray<string> = [
  GZIP,
  "@cordwood/plugin-zstd",
  "@cordwood/plugin-s3",
  "@cordwood/plugin-otel",
]
/** A plugin whose module doesn't finish loading (a top-level await that never ends) must not hang the start for good. */
const IMPORT_LIMIT_MS = 30_000

/** Imports every plugin and reads its `with`. `file` is the configuration's absolute path. */
export const loadPlugins = async (
  file: string,
  uses: ReadonlyArray<PluginUse>,
  document: ConfigDocument,
): Promise<{ readonly configured: ReadonlyArray<Configured>; readonly problems: ReadonlyArray<ConfigProblem> }> => {
  const configured: Array<Configured> = []
  const problems: Array<ConfigProblem> = []
  const firstOf = new Map<string, number>()
  for (const [index, entry] of uses.entries()) {
    const at = ["plugins", index]
    const loaded = await loadOne(file, entry.use)
    if (typeof loaded === "string") {
      problems.push(problemAt(document, [...at, "use"], loaded))
      continue
    }
    const first = firstOf.get(loaded.name)
    if (first !== undefined) {
      problems.push(
        problemAt(
          document,
          [...at, "use"],
          `the plugin ${loaded.name} is in the list already, as plugins[${first}]; remove one of the two`,
        ),
      )
      continue
    }
    firstOf.set(loaded.name, index)
    const settings = parseAt(loaded.config, entry.with ?? {}, document, [...at, "with"])
    if (settings.ok) configured.push({ plugin: loaded, config: entry.with ?? {} })
    else problems.push(...settings.problems)
  }
  return { configured, problems }
}

/** A plugin, or what is wrong, as a sentence. */
const loadOne = async (file: string, use: string): Promise<Plugin | string> => {
  if (use === GZIP) return pluginIn(await import("@cordwood/plugin-gzip"), use)
  const path = locate(file, use)
  if (path === null) return notFound(file, use)
  const problem = distrust(path)
  if (problem !== null) return `found ${JSON.stringify(use)}, whose file ${path} is not loaded: ${problem}`
  let timer: NodeJS.Timeout | undefined
  try {
    const module = await Promise.race([
      import(pathToFileURL(path).href) as Promise<unknown>,
      new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error(`not loaded within ${IMPORT_LIMIT_MS / 1000} s`)), IMPORT_LIMIT_MS)
      }),
    ])
    return pluginIn(module, path)
  } catch (error) {
    return `${use} fails while it is loaded: ${messageOf(error)}\nIt was loaded from ${path}. Mend or update the plugin, or remove this entry.`
  } finally {
    clearTimeout(timer)
  }
}

const isPath = (use: string): boolean => /^\.{0,2}\//.test(use) || use === "." || use === ".."

/** The file that `use` means; null if there is none. */
const locate = (file: string, use: string): string | null => {
  if (!isPath(use)) return resolveModule(file, use)
  const path = resolve(dirname(file), use)
  if (!existsSync(path)) return null
  return statSync(path).isDirectory() ? entryOf(path) : path
}

/** A directory's module: what its package.json exports, or an index file. */
const entryOf = (directory: string): string | null => {
  const manifest = join(directory, "package.json")
  if (existsSync(manifest)) {
    const name = nameIn(manifest)
    const main = (name === null ? null : resolveModule(manifest, name)) ?? resolveModule(manifest, directory)
    if (main !== null) return main
  }
  return (
    ["index.js", "index.ts", "index.mjs"].map((name) => join(directory, name)).find((path) => existsSync(path)) ?? null
  )
}

const nameIn = (manifest: string): string | null => {
  try {
    const { exports, name } = JSON.parse(readFileSync(manifest, "utf8")) as { exports?: unknown; name?: unknown }
    // Only a package that has exports can be named from within itself.
    return exports !== undefined && typeof name === "string" ? name : null
  } catch {
    return null
  }
}

/** What `import` of a name would load if it stood in `from`. */
const resolveModule = (from: string, name: string): string | null => {
  // `import.meta.resolve` knows no other parent, and `require.resolve` reads the conditions for CommonJS, so that a package
  // for `import` alone isn't found. So the one's search is done with the other's conditions.
  const hooks = registerHooks({
    resolve: (specifier, context, next) =>
      next(specifier, {
        ...context,
        conditions: context.conditions.map((condition) => (condition === "require" ? "import" : condition)),
      }),
  })
  try {
    return createRequire(from).resolve(name)
  } catch {
    return null
  } finally {
    hooks.deregister()
  }
}

/** Nothing else is to be handed to `npm install`, which takes `folder/file` for a repository on GitHub. */
const isPackageName = (use: string): boolean =>
  /^(?:@[\w.~-]+\/)?[\w~-][\w.~-]*$/.test(use) && !/\.[cm]?[jt]s$/.test(use)

const notFound = (file: string, use: string): string => {
  if (isPath(use)) return `found ${JSON.stringify(use)}; there is no module at ${resolve(dirname(file), use)}`
  if (existsSync(resolve(dirname(file), use))) {
    return `found ${JSON.stringify(use)}, which is taken for a package's name, and none of that name is installed; did you mean ./${use}?`
  }
  if (!isPackageName(use)) {
    return `found ${JSON.stringify(use)}, which is not installed for ${dirname(file)}; if it is a path, begin it with ./ or /: there is no module at ${resolve(dirname(file), use)} either`
  }
  const meant = nearest(use, KNOWN)
  if (meant !== null && meant !== use)
    return `found ${JSON.stringify(use)}, which is not installed; did you mean ${meant}?`
  return `found ${JSON.stringify(use)}, which is not installed for ${dirname(file)}; run: npm install --prefix ${dirname(file)} ${use}`
}

/** The plugin that a module exports, as default or under a name. */
const pluginIn = (module: unknown, from: string): Plugin | string => {
  const exported = typeof module === "object" && module !== null ? (module as Readonly<Record<string, unknown>>) : {}
  const candidates = [
    exported["default"],
    ...Object.entries(exported).flatMap(([key, value]) => (key === "default" ? [] : [value])),
  ]
  const found = candidates.filter(looksLikePlugin)
  const plugin = found[0]
  if (plugin === undefined) {
    return `no plugin is exported from ${from}; export what definePlugin returns, as default or under a name`
  }
  if (plugin.api !== PLUGIN_API) {
    const newer = typeof plugin.api === "number" && plugin.api > PLUGIN_API
    return `the plugin ${plugin.name} is made for plugin api ${String(plugin.api)}, and this agent has ${PLUGIN_API}; ${newer ? "update the agent, or install an older version of the plugin" : "install a newer version of the plugin"}`
  }
  if (typeof plugin.config?.safeParse !== "function") {
    return `the plugin ${plugin.name} has a config that is no zod schema; it should be one, from zod 4`
  }
  return plugin
}

const looksLikePlugin = (value: unknown): value is Plugin => {
  if ((typeof value !== "object" || value === null) && typeof value !== "function") return false
  const { api, config, name, setup } = value as Partial<Record<keyof Plugin, unknown>>
  return typeof name === "string" && api !== undefined && config !== undefined && typeof setup === "function"
}
