/**
 * Whose word root takes. A configuration names commands to run, and a plugin is code: whoever can write one could make root do anything. Looks at
 * owners and modes, and changes nothing.
 */
import { realpathSync, type Stats, statSync } from "node:fs"
import { dirname } from "node:path"

const STICKY = 0o1000
const GROUP_WRITES = 0o020
const OTHERS_WRITE = 0o002

interface Trusted {
  readonly users: ReadonlySet<number>
  readonly groups: ReadonlySet<number>
}

/**
 * What is wrong with a file that root is about to obey, and what to do about it; null if nothing is, or if this isn't root. The rule is logrotate's,
 * for the file and the directory that it really lies in (behind all links, as with a ConfigMap): nobody may write it but its
 * owner, and that is a user who has root's say already:
 * - root itself;
 * - who called `sudo`: a configuration in one's own home is what one means by `sudo cordwood once --config …`. A sudoers rule that lets somebody
 *   run just this program must name the file as well, as with every program whose configuration holds commands;
 * - who owns this program, or a directory on the way to it, and could as well replace the program: so a clone that is another user's works,
 *   with the plugins in it.
 * Not so the group root's, or that of a directory with the sticky bit (/tmp), in which nobody can replace what isn't theirs.
 * `seen` is what was opened, if it is open.
 */
export const distrust = (file: string, seen?: Stats): string | null => {
  if (process.geteuid?.() !== 0) return null
  const trusted = trustedNow()
  const path = realPath(file)
  const own = seen ?? statSync(path ?? file)
  const problem = problemWith(own, trusted)
  if (problem !== null)
    return `${problem(path ?? file)}. Root does what it says, and so must trust all who can write it`
  // A pipe lies nowhere.
  if (path === null || !own.isFile()) return null
  const directory = dirname(path)
  const above = statSync(directory)
  // Where names are protected, only owners can put another file under one.
  const protects = (above.mode & STICKY) !== 0 && trusted.users.has(above.uid)
  const around = protects ? null : problemWith(above, trusted)
  return around === null
    ? null
    : `the directory that it lies in, ${directory}, ${around(directory)}. Root does what the file says, and so must trust all who can replace it`
}

type Said = (path: string) => string
const problemWith = ({ gid, mode, uid }: Stats, { groups, users }: Trusted): Said | null => {
  const seen = `(mode ${(mode & 0o7777).toString(8).padStart(4, "0")})`
  if (!users.has(uid)) {
    return (path) => `belongs to user ${uid} ${seen}; give it to root: chown root ${path}, or run cordwood as that user`
  }
  if ((mode & OTHERS_WRITE) !== 0) return (path) => `may be written by everybody ${seen}; run: chmod o-w ${path}`
  if ((mode & GROUP_WRITES) !== 0 && !groups.has(gid)) {
    return (path) => `may be written by everybody in group ${gid} ${seen}; run: chmod g-w ${path}`
  }
  return null
}

const realPath = (file: string): string | null => {
  try {
    return realpathSync(file)
  } catch {
    return null
  }
}

const trustedNow = (): Trusted => {
  const users = new Set([0])
  const groups = new Set([0])
  const caller = process.env["SUDO_UID"] ?? ""
  if (/^\d{1,10}$/.test(caller)) users.add(Number(caller))
  for (let path = import.meta.filename; ; path = dirname(path)) {
    const { gid, mode, uid } = statSync(path)
    users.add(uid)
    if ((mode & GROUP_WRITES) !== 0) groups.add(gid)
    if (path === dirname(path)) return { users, groups }
  }
}
