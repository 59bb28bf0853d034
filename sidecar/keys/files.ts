import { readFile, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { fileNames } from '../contract/files.ts';
import { errorCode } from '../error-code.ts';
import { FileError } from './file-error.ts';

/** The text of each mounted file, undefined where there is no such file. */
export type FileTexts = Record<keyof typeof fileNames, string | undefined>;

const attempts = 5;

/**
 * Reads the mounted files, all from one version of the volume. kubelet lays a volume out as a directory per
 * version with the link `..data` to the current one, and swaps the link; the names beside it go through the
 * link, so reading by those could mix two versions. A directory without `..data` is read as it is.
 *
 * @throws {FileError} when the directory or a file can't be read, or is swapped faster than it can be read.
 */
export async function readFiles(directory: string): Promise<FileTexts> {
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    const version = await currentVersion(directory);
    const [keys, jwks, settings] = await Promise.all([
      readIfThere(join(version, fileNames.keys)),
      readIfThere(join(version, fileNames.jwks)),
      readIfThere(join(version, fileNames.settings)),
    ]);
    // After a swap kubelet deletes the old version: what was not found may have been there a moment ago.
    if ((await currentVersion(directory)) === version) return { keys, jwks, settings };
  }
  throw new FileError(directory, 'is swapped faster than it can be read', 'try again later');
}

async function currentVersion(directory: string): Promise<string> {
  const version = await unlessMissing(realpath(join(directory, '..data')), directory);
  return version ?? (await unlessMissing(realpath(directory), directory)) ?? missing(directory);
}

function missing(directory: string): never {
  throw new FileError(directory, 'does not exist', 'mount the volume there, or correct MACP_AUTH_FILES_DIR');
}

function readIfThere(path: string): Promise<string | undefined> {
  return unlessMissing(readFile(path, 'utf8'), path);
}

async function unlessMissing(result: Promise<string>, path: string): Promise<string | undefined> {
  try {
    return await result;
  } catch (error) {
    const code = errorCode(error);
    if (code === 'ENOENT') return undefined;
    throw new FileError(path, `can't be read (${code})`, 'let it be readable for the user of this process');
  }
}
