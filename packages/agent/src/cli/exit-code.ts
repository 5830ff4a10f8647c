/** How commands end. The numbers are part of the product's outside; 64 and 78 are those of sysexits.h. */

export const DONE = 0
/** A log failed, or the agent could not go on. */
export const FAILED = 1
/** `plan --detailed-exitcode`: there are steps to do. */
export const STEPS_AHEAD = 2
/** EX_USAGE: the command line can't be understood. */
export const USAGE = 64
/** EX_CONFIG: the configuration can't be used; nothing has been touched. */
export const CONFIG = 78
/** What shells add a signal's number to. */
const SIGNALLED = 128
export const signalled = (signal: number): number => SIGNALLED + signal
