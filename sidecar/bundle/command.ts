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
      // A small young generation, and an old one that is collected before it has grown by much.
      '--max-semi-space-size=4',
      '--heap-growing-percent=10',
      // Of url.parse, which Express calls for unusual targets. Node.js overlooks it in node_modules alone.
      '--disable-warning=DEP0169',
      join(folder, 'sidecar.cjs'),
    ],
    environment: {
      // Two threads sign; each more has a stack and buffers of its own.
      UV_THREADPOOL_SIZE: '2',
      // One heap of malloc for all threads, which goes back to the kernel when it is free.
      MALLOC_ARENA_MAX: '1',
      MALLOC_TRIM_THRESHOLD_: '65536',
      NODE_COMPILE_CACHE: join(folder, 'compile-cache'),
      // So that a cache that was made in one folder is found in another.
      NODE_COMPILE_CACHE_PORTABLE: '1',
    },
  };
}
