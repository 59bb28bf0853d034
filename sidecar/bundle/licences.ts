import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Package, packagesOf } from './packages.ts';

/**
 * The licences of all packages that a bundle has a part of, which most of them want to go with each copy.
 *
 * @param root what the inputs are relative to.
 * @param inputs files of the bundle.
 * @throws {Error} when a package has no file with its licence.
 */
export async function licences(root: string, inputs: readonly string[]): Promise<string> {
  const texts = await Promise.all((await packagesOf(root, inputs)).map(licenceOf));
  return texts.join(`\n${'-'.repeat(80)}\n\n`);
}

async function licenceOf({ folder, name, version, license }: Package): Promise<string> {
  const file = (await readdir(folder)).find((entry) => /^licen[cs]e(\.|$)/i.test(entry));
  if (file === undefined) throw new Error(`${name} ${version} (${license}) has no file with its licence`);
  const text = (await readFile(join(folder, file), 'utf8')).replaceAll('\r\n', '\n').trim();
  return `${name} ${version} (${license})\n\n${text}\n`;
}
