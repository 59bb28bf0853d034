import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Script } from 'node:vm';

/** What V8 compiled of the bundle when it last ran, beside it. */
export const codeFile = 'sidecar.code';

/**
 * The bundle as a script. When it runs it gives a function that takes `require`, and is the program.
 *
 * @param folder where the bundle is.
 * @param cachedData what V8 compiled of the same bundle earlier; of another V8, or for a processor with other features, it is
 *   rejected, and compiled anew as it is needed.
 */
export function compile(folder: string, cachedData?: Buffer): Script {
  const filename = join(folder, 'sidecar.cjs');
  // esbuild writes all else than ASCII as escapes: there is nothing to decode.
  const source = readFileSync(filename, 'latin1');
  return new Script(`(function (require) {${source}\n})`, { filename, cachedData });
}
