import { readFile, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { fileNames } from '../contract/files.ts';
import { errorCode } from '../error-code.ts';
import { FileError } from './file-error.ts';

/** The text of each mounted file, undefined where there is no such file. */
export type FileTexts = Record<keyof typeof fileNames, string | undefined>;

const attempts = 5;

/** Reads the mounted files as {@link readVersion} does. */
export async function readFiles(directory: string): Promise<FileTexts> {
  const { keys, jwks, settings } = fileNames;
  const texts = await readVersion(directory, [keys, jwks, settings], 'MACP_AUTH_FILES_DIR');
  return { keys: texts[0], jwks: texts[1], settings: texts[2] };
}

/**
 * Reads files of a mounted directory, all from one version of the volume. kubelet lays a volume out as a directory per
 * version with the link `..data` to the current one, and swaps the link; the names beside it go through the
 * link, so reading by those could mix two versions. A directory without `..data` is read as it is.
 *
 * @param variable the name of the variable that names the directory, for the error.
 * @returns the texts in the order of their names, undefined where there is no such file.
 * @throws {FileError} when the directory or a file can't be read, or is swapped faster than it can be read.
 */
export async function readVersion(
  directory: string,
  names: readonly string[],
  variable: string,
): Promise<(string | undefined)[]> {
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    const version = await currentVersion(directory, variable);
    const texts = await Promise.all(names.map((name) => readIfThere(join(version, name))));
    // After a swap kubelet deletes the old version: what was not found may have been there a moment ago.
    if ((await currentVersion(directory, variable)) === version) return texts;
  }
  throw new FileError(directory, 'is swapped faster than it can be read', 'try again later');
}

async function currentVersion(directory: string, variable: string): Promise<string> {
  const version = await unlessMissing(realpath(join(directory, '..data')), directory);
  return version ?? (await unlessMissing(realpath(directory), directory)) ?? missing(directory, variable);
}

function missing(directory: string, variable: string): never {
  throw new FileError(directory, 'does not exist', `mount the volume there, or correct ${variable}`);
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
