import { join } from 'node:path';

/** Where `npm run build` puts the bundle, from the root of the repository. */
export const bundleFolder = 'dist';

/** How a program is started: the arguments of `node`, and variables that are set before it starts. */
export interface StartCommand {
  arguments: readonly string[];
  environment: Readonly<Record<string, string>>;
}

/**
 * How the bundle is started, everywhere: an image has the same words in its `ENV` and `ENTRYPOINT`.
 * docs/decisions/0009-small-and-fast.md has what each of them brings.
 *
 * @param folder where the bundle is.
 */
export function startCommand(folder: string): StartCommand {
  return {
    arguments: [
      // A small young generation. Of V8's options only those may stand here that leave it the code that Node.js has compiled
      // of its own modules: see the record.
      '--max-semi-space-size=4',
      // One thread helps the main one to collect garbage, in place of four: the main one waits for each of them, and each
      // waits for a processor.
      '--v8-pool-size=1',
      // Of url.parse, which Express calls for unusual targets. Node.js overlooks it in node_modules alone.
      '--disable-warning=DEP0169',
      join(folder, 'start.cjs'),
    ],
    environment: {
      // Two threads sign; each more has a stack and buffers of its own.
      UV_THREADPOOL_SIZE: '2',
      // Two heaps of malloc for all threads, which go back to the kernel when much of them is free.
      MALLOC_ARENA_MAX: '2',
      MALLOC_TRIM_THRESHOLD_: '1048576',
    },
  };
}
