// Makes dist/: the sidecar as one file of JavaScript, the licences of what is in it, and what V8 compiled of it.
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build, type Plugin } from 'esbuild';
import { bundleFolder } from './command.ts';
import { licences } from './licences.ts';
import { warm } from './warm.ts';

const root = join(import.meta.dirname, '../..');
const folder = join(root, bundleFolder);

// Those that the sidecar or Express says by their names. Of all 2,500, mime-types makes tables when it is loaded.
const mediaTypes = ['application/json', 'application/octet-stream', 'text/html', 'text/plain'];

const fewMediaTypes: Plugin = {
  name: 'few media types',
  setup: ({ onLoad }) =>
    onLoad({ filter: /\/mime-db\/db\.json$/ }, async ({ path }) => {
      const all: Record<string, unknown> = JSON.parse(await readFile(path, 'utf8'));
      const few = Object.fromEntries(mediaTypes.map((type) => [type, all[type]]));
      return { contents: JSON.stringify(few), loader: 'json' };
    }),
};

await rm(folder, { recursive: true, force: true });
const { metafile } = await build({
  absWorkingDir: root,
  entryPoints: ['sidecar/main.ts'],
  outfile: join(folder, 'sidecar.cjs'),
  bundle: true,
  platform: 'node',
  target: 'node22.19',
  // Starts faster than a module: nothing is loaded asynchronously, nor is the loader for it.
  format: 'cjs',
  minify: true,
  // In a file of their own, whole.
  legalComments: 'none',
  metafile: true,
  // Express parses query strings with it where it is asked to. Nothing here asks.
  alias: { qs: 'node:querystring' },
  // Character sets of East Asia, which body-parser never gets as far as: it takes Unicode alone.
  external: ['./tables/*.json'],
  plugins: [fewMediaTypes],
  logLevel: 'warning',
});
await writeFile(join(folder, 'LICENSES.txt'), await licences(root, Object.keys(metafile.inputs)));
await warm(folder);
