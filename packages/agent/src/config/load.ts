/** Loads a configuration: the file, its plugins, its sources. Touches nothing else, and starts nothing. */
import { type Configured, NO_COMPRESSION } from "@cordwood/core"
import { Effect } from "effect"
import { resolve } from "node:path"
import type { AgentOptions, Settings } from "../agent-options.ts"
import { setUpPlugins } from "../plugin/host.ts"
import { loadPlugins } from "../plugin/load.ts"
import { cri } from "../source/cri/cri.ts"
import { files } from "../source/files/files.ts"
import type { SourceFactory } from "../source/source-factory.ts"
import { ConfigError } from "./config-error.ts"
import { ConfigFile, type ConfigFileInput } from "./config-file.ts"
import { type ConfigDocument, problemAt, readDocument } from "./document.ts"
import { parseAt } from "./issues.ts"
import { nearest } from "./nearest.ts"

export interface LoadedConfig {
  /** As it was given. */
  readonly file: string
  /** What an agent is made of. */
  readonly options: AgentOptions
  /** The same settings with every default filled in, in bytes and milliseconds. */
  readonly settings: Settings
  /** The error that says no codec of the chosen id is there. `known` are the ids that are. */
  readonly unknownCodec: (known: ReadonlyArray<string>) => ConfigError
}

/** The codec that is always there. */
const BUNDLED_CODEC = "gzip"

/** Reads `file` with all that it names. Every problem at once, so that a file is mended in one go. */
export const loadConfig = (file: string): Effect.Effect<LoadedConfig, ConfigError> =>
  Effect.tryPromise({
    try: () => load(file),
    catch: (error) => {
      if (error instanceof ConfigError) return error
      throw error
    },
  })

const load = async (file: string): Promise<LoadedConfig> => {
  const document = readDocument(file)
  const parsed = parseAt(ConfigFile, document.value, document)
  if (!parsed.ok)
    throw new ConfigError({ file, problems: [...parsed.problems, ...(await pluginProblems(file, document))] })
  const { plugins: uses, sources, ...settings } = parsed.value
  const { configured, problems } = await loadPlugins(resolve(file), uses, document)
  const unknownCodec = (known: ReadonlyArray<string>): ConfigError =>
    codecError(file, document, settings.policy.compression, known)
  const fromPlugins = configured.some(({ plugin }) => plugin.name !== BUNDLED_CODEC)
  if (problems.length > 0) throw new ConfigError({ file, problems })
  // Which codecs a plugin brings is known once it is set up; without one there is nothing to wait for.
  if (!fromPlugins && !isBundled(settings.policy.compression)) throw unknownCodec([BUNDLED_CODEC])
  const input = document.value as ConfigFileInput
  return {
    file,
    settings,
    options: {
      sources: input.sources.map(sourceOf),
      plugins: configured,
      policy: input.policy ?? {},
      journal: input.journal ?? {},
      workers: settings.workers,
      interval: `${settings.interval}ms`,
    },
    unknownCodec,
  }
}

/** Whether a codec of this id needs no plugin. */
const isBundled = (id: string): boolean => id === BUNDLED_CODEC || id === NO_COMPRESSION

/** What is wrong with the plugins of a file whose other parts are wrong already. */
const pluginProblems = async (file: string, document: ConfigDocument): Promise<ConfigError["problems"]> => {
  const list = ConfigFile.shape.plugins.safeParse((document.value as { readonly plugins?: unknown } | null)?.plugins)
  return list.success ? (await loadPlugins(resolve(file), list.data, document)).problems : []
}

/** The schema has seen to it that each one has just one key. */
const sourceOf = (source: ConfigFileInput["sources"][number]): SourceFactory =>
  source.files === undefined ? cri(source.cri) : files(source.files)

const codecError = (file: string, document: ConfigDocument, id: string, known: ReadonlyArray<string>): ConfigError => {
  const ids = [...known.filter((codec) => codec !== NO_COMPRESSION), NO_COMPRESSION]
  const meant = nearest(id, ids)
  const advice =
    meant === null
      ? `known here: ${ids.join(", ")}; for another one, add the plugin that brings it, such as\nplugins:\n  - use: "@cordwood/plugin-${id}"`
      : `did you mean ${meant}?`
  return new ConfigError({
    file,
    problems: [
      problemAt(
        document,
        ["policy", "compression"],
        `found ${JSON.stringify(id)}, which no codec is called; ${advice}`,
      ),
    ],
  })
}

/**
 * Whether the codec that the policy names is there. Sets the plugins up, and closes them again, if it must come from one of them; that is the
 * only way to learn what they bring.
 */
export const checkCodec = ({
  file,
  options,
  settings,
  unknownCodec,
}: LoadedConfig): Effect.Effect<void, ConfigError> => {
  const id = settings.policy.compression
  if (isBundled(id)) return Effect.void
  const plugins: ReadonlyArray<Configured> = options.plugins ?? []
  return setUpPlugins(plugins).pipe(
    Effect.scoped,
    Effect.catch((error) =>
      Effect.fail(
        new ConfigError({
          file,
          problems: [{ path: "plugins", line: null, column: null, message: `${error.message}; ${error.hint}` }],
        }),
      ),
    ),
    Effect.flatMap(({ codecs }) =>
      codecs.some((codec) => codec.id === id)
        ? Effect.void
        : Effect.fail(unknownCodec([BUNDLED_CODEC, ...codecs.map((codec) => codec.id)])),
    ),
  )
}
