import { watch } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { FileError } from './file-error.ts';
import { type FileTexts, readFiles } from './files.ts';
import type { Material } from './material.ts';
import { parseFiles } from './mounted.ts';

/** What the follower reports. Each distinct problem is reported once, until the files are good again. */
export interface FileEvents {
  loaded(material: Material): void;
  broken(problem: FileError): void;
}

/** Watches may be lost without a word; this bounds how late a change can then be noticed. */
const pollMilliseconds = 2000;

/**
 * Reads the mounted files and goes on following them: at each event of the directory, and every two seconds.
 * A broken version, one with another role, or one of an older revision is reported and not used; the last good
 * one stays. It ends with the process.
 *
 * @returns gives the last good material.
 * @throws {FileError} when the files are not good at the start.
 */
export async function followFiles(directory: string, events: FileEvents): Promise<() => Material> {
  let seen: FileTexts | undefined = await readFiles(directory);
  let material = parseFiles(seen);
  let lastProblem: string | undefined;
  let reading = false;
  let again = false;
  events.loaded(material);

  async function readOnce(): Promise<void> {
    try {
      const before = seen;
      // Forgotten until the read has succeeded, so that the same files count as loaded again after a gap.
      seen = undefined;
      seen = await readFiles(directory);
      if (isDeepStrictEqual(seen, before)) return;
      material = successor(material, parseFiles(seen));
      lastProblem = undefined;
      events.loaded(material);
    } catch (error) {
      const problem = error instanceof FileError ? error : unexpected(directory, error);
      if (problem.message !== lastProblem) events.broken(problem);
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
  // What changed between the first read and the watch raised no event.
  void refresh();
  return () => material;
}

function successor(current: Material, next: Material): Material {
  if ((current.mint === undefined) !== (next.mint === undefined)) {
    throw new FileError(
      'settings.json',
      'role: changed while running',
      'restore it, or restart this process',
    );
  }
  if ((next.revision ?? 0) < (current.revision ?? 0)) {
    throw new FileError(
      'settings.json',
      `revision: ${next.revision} is older than ${current.revision}, which stays in use`,
      'let the operator write the current one, or restart this process to go back',
    );
  }
  return next;
}

// A running program keeps its last good keys whatever happens to a later version of the files.
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
