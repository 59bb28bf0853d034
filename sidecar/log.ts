import { type Logger, pino } from 'pino';
import { errorCode } from './error-code.ts';

/** The values of `LOG_LEVEL`, from the loudest to none. */
export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
/** One of {@link logLevels}. */
export type LogLevel = (typeof logLevels)[number];
/** A structured logger. */
export type Log = Logger;

// What is more than text to some readers: control characters that JSON leaves alone, what ends a line (NEL, U+2028,
// U+2029), what is not seen or turns text around, and lone surrogates, which UTF-8 cannot have.
const unseen = /[\u007f-\u009f\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

// Most lines are of nothing else, and this is quickly told.
const plain = /^[\x20-\x7e\n]*$/;

/** The same JSON, with what readers of lines or a screen could take for more than text as escapes. */
export function plainJSON(json: string): string {
  if (plain.test(json)) return json;
  return json.replaceAll(unseen, (text) =>
    text
      .split('')
      .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
      .join(''),
  );
}

/**
 * The program's log: one JSON object a line on standard output, with `level` as a word and `time` in RFC 3339,
 * written before the call returns so that a line is never lost to an exit. A slow reader makes the program wait.
 *
 * @param lost is told that a line could not be written, by the code of the error, and must end the program.
 */
export function createLog(level: LogLevel, lost: (code: string) => never): Log {
  // Without `sync` lines would be written some time later, or never.
  const output = pino.destination({ dest: 1, sync: true });
  output.on('error', (error: Error) => lost(errorCode(error)));
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      hooks: { streamWrite: plainJSON },
    },
    output,
  );
}
