import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** A package that is in a bundle, as its package.json has it. */
export interface Package {
  /** Where it is. */
  folder: string;
  name: string;
  version: string;
  license: string;
}

const packageFolder = /^.*node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/;

/**
 * The packages that a bundle has a part of, in the order of their folders.
 *
 * @param root what the inputs are relative to.
 * @param inputs files of the bundle; those of no package are ours.
 */
export async function packagesOf(root: string, inputs: readonly string[]): Promise<Package[]> {
  const folders = new Set(inputs.flatMap((input) => packageFolder.exec(input) ?? []));
  return Promise.all(
    [...folders].sort().map(async (relative) => {
      const folder = join(root, relative);
      const { name, version, license } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'));
      return { folder, name, version, license };
    }),
  );
}
