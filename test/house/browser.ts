// Bundles a module as a browser would get it and runs it where there is nothing but the language itself: no Node, no DOM.
import { createContext, runInContext } from "node:vm"
import { rolldown } from "rolldown"

/** The answer of `expression`, in which `cordwood` is the module, as JSON. Throws where the module needs more than the language. */
export const evaluateBare = async (module: string, expression: string): Promise<unknown> => {
  await using bundle = await rolldown({
    input: module,
    platform: "browser",
    resolve: { conditionNames: ["cordwood-source", "browser", "import", "default"] },
    onLog: (_level, log) => {
      throw new Error(log.message)
    },
  })
  const { output } = await bundle.generate({ format: "iife", name: "cordwood", codeSplitting: false })
  const [{ code, imports }] = output
  if (imports.length > 0) throw new Error(`the bundle still imports ${imports.join(", ")}`)
  return JSON.parse(String(runInContext(`${code}\nJSON.stringify(${expression})`, createContext({}))))
}
