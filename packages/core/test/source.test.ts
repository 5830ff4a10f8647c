// A source's error as people read it.
import { expect, it } from "vitest"
import { SourceError } from "@cordwood/core"

it.each([
  ["cri unix:///run/c.sock", "/run/c.sock", "cri unix:///run/c.sock list: odd"],
  ["cri unix:///run/c.sock", "/logs/0.log", "cri unix:///run/c.sock list /logs/0.log: odd"],
  ["files /logs/*.log", "/logs/*.log", "files /logs/*.log list: odd"],
  ["files /logs/*.log", "/logs/a.log", "files /logs/*.log list /logs/a.log: odd"],
])("the error of %s about %s names each once", (source, target, message) => {
  expect(new SourceError({ source, op: "list", target, reason: "Other", detail: "odd", hint: "" }).message).toBe(
    message,
  )
})
