/** Loads a configuration: the file, its plugins, its sources. Touches nothing else, and starts nothing. */
import { type Configured, NO_COMPRESSION } from "@cordwood/core"
import { Effect } from "effect"
import { resolve } from "node:path"
import type { AgentOptions, Settings } from "../agent-options.ts"
import { configHashOf } from "../plugin/config-hash.ts"
import { setUpPlugins } from "../plugin/host.ts"
import { KNOWN, loadPlugins, type PluginUse } from "../plugin/load.ts"
import { cri } from "../source/cri/cri.ts"
import { files } from "../source/files/files.ts"
import type { SourceFactory } from "../source/source-factory.ts"
import { ConfigError, type ConfigProblem } from "./config-error.ts"
import { ConfigFile, type ConfigFileInput } from "./config-file.ts"
import { type ConfigDocument, problemAt, readDocument } from "./document.ts"
import { parseAt } from "./issues.ts"
import { nearest } from "./nearest.ts"
import { version } from "../version.ts"

export interface LoadedConfig {
  /** As it was given. */
  readonly file: string
  /** What an agent is made of. */
  readonly options: AgentOptions
  /** The same settings with every default filled in, in bytes and milliseconds. */
  readonly settings: Settings
  /** The codecs that the policy names. */
  readonly codecs: ReadonlyArray<NamedCodec>
  /** The error that says no codec of a named id is there. `known` are the ids that are. */
  readonly unknownCodec: (named: NamedCodec, known: ReadonlyArray<string>) => ConfigError
}

/** A codec's id, and where in the file it stands. */
export interface NamedCodec {
  readonly at: ReadonlyArray<string | number>
  readonly id: string
}

/** The codec that is always there, also the name of the plugin that brings it, and that plugin's package. */
const BUNDLED_CODEC = "gzip"
const BUNDLED_PACKAGE = "@cordwood/plugin-gzip"

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
  // What is wrong in one part says nothing about the others.
  const uses = usesIn(document.value)
  const { configured, problems } =
    uses === null ? { configured: [], problems: [] } : await loadPlugins(resolve(file), uses, document)
  const codecs = codecsIn(document.value)
  const hopeless = uses !== null && onlyBundled(uses, configured) ? codecs.filter(({ id }) => !isBundled(id)) : []
  const all = [
    ...(parsed.ok ? [] : parsed.problems),
    ...problems,
    ...hopeless.map((named) => codecProblem(document, named, [BUNDLED_CODEC])),
  ]
  if (!parsed.ok || all.length > 0) throw new ConfigError({ file, problems: inOrder(all) })
  const { plugins: _, sources, ...settings } = parsed.value
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
    codecs,
    unknownCodec: (named, known) => new ConfigError({ file, problems: [codecProblem(document, named, known)] }),
  }
}

/** In the order of the file; what has no place in it comes first. */
const inOrder = (problems: ReadonlyArray<ConfigProblem>): ReadonlyArray<ConfigProblem> =>
  problems.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0))

/** Whether a codec of this id needs no plugin. */
const isBundled = (id: string): boolean => id === BUNDLED_CODEC || id === NO_COMPRESSION

/** Parts of a file whose others may be wrong; null where they are wrong themselves. */
type Parts = { readonly [Part in keyof ConfigFileInput]?: unknown } | null
const usesIn = (value: unknown): ReadonlyArray<PluginUse> | null =>
  ConfigFile.shape.plugins.safeParse((value as Parts)?.plugins).data ?? null
const codecsIn = (value: unknown): ReadonlyArray<NamedCodec> => {
  const policy = (value as Parts)?.policy as { readonly compression?: unknown; readonly overrides?: unknown } | null
  const overrides: ReadonlyArray<unknown> = Array.isArray(policy?.overrides) ? policy.overrides : []
  const named = [
    { at: ["policy", "compression"], id: policy?.compression },
    ...overrides.map((override, index) => ({
      at: ["policy", "overrides", index, "compression"],
      id: (override as { readonly compression?: unknown } | null)?.compression,
    })),
  ]
  // What is no id is told of elsewhere.
  return named.flatMap(({ at, id }) => (typeof id === "string" && id !== "" ? [{ at, id }] : []))
}

/**
 * Whether the bundled codec is the only one that these plugins can bring. Which codecs another one brings is known once it is set up, and not
 * at all of one that can't be loaded.
 */
const onlyBundled = (uses: ReadonlyArray<PluginUse>, configured: ReadonlyArray<Configured>): boolean =>
  uses.every(({ use }) => use === BUNDLED_PACKAGE) ||
  (configured.length === uses.length && configured.every(({ plugin }) => plugin.name === BUNDLED_CODEC))

/** The schema has seen to it that each one has just one key. */
const sourceOf = (source: ConfigFileInput["sources"][number]): SourceFactory =>
  source.files === undefined ? cri(source.cri) : files(source.files)

const codecProblem = (
  document: ConfigDocument,
  { at, id }: NamedCodec,
  known: ReadonlyArray<string>,
): ConfigProblem => {
  const ids = [...known.filter((codec) => codec !== NO_COMPRESSION), NO_COMPRESSION]
  const meant = nearest(id, ids)
  // A package that isn't there is not to be suggested: somebody else could publish it.
  const plugin = `@cordwood/plugin-${id}`
  const adding = KNOWN.includes(plugin)
    ? `add the plugin that brings it:\nplugins:\n  - use: "${plugin}"`
    : "add the plugin that brings it to plugins"
  const advice = meant === null ? `known here: ${ids.join(", ")}; for another one, ${adding}` : `did you mean ${meant}?`
  return problemAt(document, at, `found ${JSON.stringify(id)}, which no codec is called; ${advice}`)
}

/**
 * Whether the codecs that the policy names are there. Sets the plugins up, and closes them again, if one must come from them; that is the
 * only way to learn what they bring.
 */
export const checkCodecs = ({
  codecs,
  file,
  options,
  settings,
  unknownCodec,
}: LoadedConfig): Effect.Effect<void, ConfigError> => {
  const wanted = codecs.filter(({ id }) => !isBundled(id))
  if (wanted.length === 0) return Effect.void
  const plugins: ReadonlyArray<Configured> = options.plugins ?? []
  return setUpPlugins(plugins, {
    version: version(),
    configHash: configHashOf(settings, options.sources, plugins),
  }).pipe(
    Effect.scoped,
    Effect.catch((error) =>
      Effect.fail(
        new ConfigError({
          file,
          problems: [{ path: "plugins", line: null, column: null, message: `${error.message}; ${error.hint}` }],
        }),
      ),
    ),
    Effect.flatMap(({ codecs }) => {
      const missing = wanted.find((named) => codecs.every(({ id }) => id !== named.id))
      if (missing === undefined) return Effect.void
      return Effect.fail(unknownCodec(missing, [BUNDLED_CODEC, ...codecs.map(({ id }) => id)]))
    }),
  )
}
