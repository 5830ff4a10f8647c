/** What a configuration file may say, as one schema: the only place that knows its keys. Reads nothing. */
import * as z from "zod"
import { Settings } from "../agent-options.ts"
import { CriOptions } from "../source/cri/cri.ts"
import { FilesOptions } from "../source/files/files.ts"

/** More sources than this is a list that a program wrote by mistake. */
const MAX_SOURCES = 1_000
const MAX_PLUGINS = 100

/** What to write when nothing is said about where the logs are. */
export const SOURCES_EXAMPLE = `On a Kubernetes node:
sources:
  - cri: { endpoint: unix:///run/containerd/containerd.sock }
On a plain host:
sources:
  - files: { include: ["/var/log/nginx/*.log"], reopen: { signal: USR1, pidFile: /run/nginx.pid } }`

const Source = z
  .strictObject(
    { cri: CriOptions.optional(), files: FilesOptions.optional() },
    {
      error: ({ code }) =>
        code === "invalid_type"
          ? 'write a mapping such as cri: {} or files: { include: ["/var/log/nginx/*.log"] }'
          : undefined,
    },
  )
  .refine((source) => Object.values(source).filter((value) => value !== undefined).length === 1, {
    error: "write just one of cri and files in each item of the list",
  })
  .meta({
    title: "Source",
    description: "Where logs come from: the containers of a CRI runtime, or files that patterns name. One of the two.",
    minProperties: 1,
    maxProperties: 1,
  })

const PluginEntry = z
  .strictObject({
    use: z
      .string()
      .min(1)
      .meta({
        description: "A package's name, or a path relative to the configuration file (./my-plugin.ts).",
        examples: ["@cordwood/plugin-zstd", "./my-plugin.ts"],
      }),
    with: z
      .record(z.string(), z.unknown())
      .optional()
      .meta({ description: "The plugin's own settings; the plugin says which there are." }),
  })
  .meta({ title: "Plugin" })

export const ConfigFile = z
  .strictObject({
    sources: z
      .array(Source, {
        error: (issue) => (issue.input === undefined ? `say where the logs are.\n${SOURCES_EXAMPLE}` : undefined),
      })
      .min(1, { error: `say where the logs are.\n${SOURCES_EXAMPLE}` })
      .max(MAX_SOURCES)
      .meta({ description: "Where logs come from; at least one." }),
    ...Settings.shape,
    plugins: z
      .array(PluginEntry)
      .max(MAX_PLUGINS)
      .default([])
      .meta({ description: "In this order they are asked before a segment is removed. gzip needs no entry." }),
  })
  .meta({ title: "Cordwood", description: "The configuration of cordwood run, once, plan, events and status." })
export type ConfigFile = z.output<typeof ConfigFile>
/** What the file says, before quantities and durations are read. */
export type ConfigFileInput = z.input<typeof ConfigFile>

/** The file's JSON Schema (draft 2020-12), for editors and other tools. */
export const configJsonSchema = (): z.core.JSONSchema.BaseSchema =>
  z.toJSONSchema(ConfigFile, { io: "input", target: "draft-2020-12" })
