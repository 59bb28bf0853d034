import { watch } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { FileError } from './file-error.ts';

/** Watches may be lost without a word; this bounds how late a change can then be noticed. */
const pollMilliseconds = 2000;

/** How the files of a directory are read again and again. */
export interface Following<Texts> {
  directory: string;
  read(): Promise<Texts>;
  /** Takes files that are others than before; throws when they can't be used. */
  use(texts: Texts): void;
  /** Is told of each distinct problem once, until the files are good again. */
  broken(problem: FileError): void;
  /** What was read already. */
  seen?: Texts;
}

/**
 * Reads the files of a directory now, and again at each event of the directory, and every two seconds, until the process
 * ends.
 *
 * @returns when they were read once.
 */
export async function follow<Texts>(following: Following<Texts>): Promise<void> {
  const { directory, read, use, broken } = following;
  let { seen } = following;
  let lastProblem: string | undefined;
  let reading = false;
  let again = false;

  async function readOnce(): Promise<void> {
    try {
      const before = seen;
      // Forgotten until the read has succeeded, so that the same files count as loaded again after a gap.
      seen = undefined;
      seen = await read();
      if (isDeepStrictEqual(seen, before)) return;
      use(seen);
      lastProblem = undefined;
    } catch (error) {
      const problem = error instanceof FileError ? error : unexpected(directory, error);
      if (problem.message !== lastProblem) broken(problem);
      lastProblem = problem.message;
    }
  }

  async function refresh(): Promise<void> {
    again = true;
    if (reading) return;
    reading = true;
    while (again) {
      again = false;
      await readOnce();
    }
    reading = false;
  }

  watchDirectory(directory, refresh);
  setInterval(refresh, pollMilliseconds).unref();
  // What changed between an earlier read and the watch raised no event.
  await refresh();
}

// A running program keeps its last good files whatever happens to a later version of them.
function unexpected(directory: string, error: unknown): FileError {
  const kind = error instanceof Error ? error.name : typeof error;
  return new FileError(directory, `can't be used (${kind})`, 'please report this as a bug');
}

function watchDirectory(directory: string, changed: () => void): void {
  try {
    const watcher = watch(directory, { persistent: false }, changed);
    // When the directory goes away, or the host runs out of inotify instances: the poll goes on alone.
    watcher.on('error', () => watcher.close());
  } catch {
    return;
  }
}
