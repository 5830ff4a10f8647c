/** `config check` and `config schema`. */
import { Effect } from "effect"
import { configJsonSchema } from "../config/config-file.ts"
import { checkCodecs, loadConfig } from "../config/load.ts"
import { EndWith } from "./failure.ts"
import { CONFIG } from "./exit-code.ts"
import { print, printJson, safe } from "./terminal.ts"

export const check = ({ file, json }: { readonly file: string; readonly json: boolean }) =>
  loadConfig(file).pipe(
    Effect.tap(checkCodecs),
    Effect.tap(() => Effect.sync(() => (json ? printJson({ file, ok: true }) : print(`${safe(file)}: ok`)))),
    Effect.catchIf(
      () => json,
      ({ problems }) => {
        for (const problem of problems) printJson({ file, ok: false, ...problem })
        return Effect.fail(new EndWith(CONFIG))
      },
    ),
  )

export const schema = ({ json }: { readonly json: boolean }) =>
  Effect.sync(() => (json ? printJson(configJsonSchema()) : print(JSON.stringify(configJsonSchema(), null, 2))))
