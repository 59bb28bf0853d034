import { type Logger, pino } from 'pino';

/** The values of `LOG_LEVEL`, from the loudest to none. */
export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
/** One of {@link logLevels}. */
export type LogLevel = (typeof logLevels)[number];
/** A structured logger. */
export type Log = Logger;

/**
 * The program's log: one JSON object a line on standard output, with `level` as a word and `time` in RFC 3339,
 * written before the call returns so that a line is never lost to an exit.
 */
export function createLog(level: LogLevel): Log {
  return pino({
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
  });
}
