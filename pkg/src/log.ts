import { isolated } from './listeners.js'
import type { LogEntry, LogLevel } from './types.js'

const LEVELS: readonly LogLevel[] = ['silent', 'error', 'warn', 'info', 'debug']

/** Where entries of `level` and above go: to `logger`, or to the console where there is none. */
export function makeLog(
  logger: ((entry: LogEntry) => void) | undefined,
  level: LogLevel = 'warn',
): (entry: LogEntry) => void {
  const most = LEVELS.indexOf(level)
  const write = typeof logger === 'function' ? logger : toConsole
  return (entry) => {
    if (LEVELS.indexOf(entry.level) <= most) isolated(() => write(entry))
  }
}

function toConsole(entry: LogEntry): void {
  // biome-ignore lint/suspicious/noConsole: the console is where people look when no logger is given.
  console[entry.level](
    entry.message.startsWith('keepfresh: ') ? entry.message : `keepfresh: ${entry.message}`,
    entry,
  )
}
