import { writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type BuildOptions, build } from 'esbuild';
import { licences } from './licences.ts';
import { sbom } from './sbom.ts';

const root = join(import.meta.dirname, '../..');

/** What esbuild is told of all that it makes here. */
export const formOfPrograms = {
  absWorkingDir: root,
  bundle: true,
  platform: 'node',
  target: 'node22.19',
  // Starts faster than a module: nothing is loaded asynchronously, nor is the loader for it.
  format: 'cjs',
  logLevel: 'warning',
} as const satisfies BuildOptions;

/**
 * Makes one file of JavaScript of a program, and beside it LICENSES.txt with the licences of what is in it and
 * sbom.cdx.json, its software bill of materials.
 *
 * @param entry the program's first module, from the root of the repository.
 * @param file what is made, from there too.
 * @param special what esbuild is told of this program's own modules.
 * @throws when something cannot be found, or a package has no file with its licence.
 */
export async function bundle(
  entry: string,
  file: string,
  special: Pick<BuildOptions, 'alias' | 'external' | 'plugins'>,
): Promise<void> {
  const { metafile } = await build({
    ...formOfPrograms,
    ...special,
    entryPoints: [entry],
    outfile: file,
    minify: true,
    // In a file of their own, whole.
    legalComments: 'none',
    metafile: true,
  });
  const included = Object.values(metafile.outputs)
    .flatMap(({ inputs }) => Object.entries(inputs))
    .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
    .map(([input]) => input);
  const folder = join(root, dirname(file));
  await writeFile(join(folder, 'LICENSES.txt'), await licences(root, included));
  const name = `macp-auth-${basename(file, '.cjs')}`;
  await writeFile(join(folder, 'sbom.cdx.json'), await sbom(root, name, included));
}
