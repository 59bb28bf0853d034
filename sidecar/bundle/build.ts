// Makes dist/: the sidecar as one file of JavaScript, the licences of what is in it, what V8 compiled of it, and what starts it
// with that.
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { build, type Plugin } from 'esbuild';
import { bundle, formOfPrograms } from './bundle.ts';
import { bundleFolder } from './command.ts';
import { warm } from './warm.ts';

const folder = join(import.meta.dirname, '../..', bundleFolder);

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
await bundle('sidecar/main.ts', join(bundleFolder, 'sidecar.cjs'), {
  // Express parses query strings with it where it is asked to. Nothing here asks.
  alias: { qs: 'node:querystring' },
  // Character sets of East Asia, which body-parser never gets as far as: it takes Unicode alone.
  external: ['./tables/*.json'],
  plugins: [fewMediaTypes],
});
await build({
  ...formOfPrograms,
  entryPoints: [join(import.meta.dirname, 'start.ts')],
  outfile: join(folder, 'start.cjs'),
});
await warm(folder);
