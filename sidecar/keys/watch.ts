import { FileError } from './file-error.ts';
import { readFiles } from './files.ts';
import { follow } from './follow.ts';
import type { Material } from './material.ts';
import { parseFiles } from './mounted.ts';

/** What the follower reports. Each distinct problem is reported once, until the files are good again. */
export interface FileEvents {
  loaded(material: Material): void;
  broken(problem: FileError): void;
}

/**
 * Reads the mounted files and goes on following them. A broken version, one with another role, or one of an older
 * revision is reported and not used; the last good one stays. It ends with the process.
 *
 * @returns gives the last good material.
 * @throws {FileError} when the files are not good at the start.
 */
export async function followFiles(directory: string, events: FileEvents): Promise<() => Material> {
  const seen = await readFiles(directory);
  let material = parseFiles(seen);
  events.loaded(material);
  void follow({
    directory,
    seen,
    read: () => readFiles(directory),
    use(texts) {
      material = successor(material, parseFiles(texts));
      events.loaded(material);
    },
    broken: events.broken,
  });
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
