// Makes dist/operator/: the operator as one file of JavaScript, and the licences of what is in it.
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build, type Plugin } from 'esbuild';
import { licences } from '../../sidecar/bundle/licences.ts';
import { bundleFile } from './command.ts';

const root = join(import.meta.dirname, '../..');
const file = join(root, bundleFile);
const folder = join(file, '..');

// It has no list of its modules with side effects, and none with any: without this all classes of all kinds of Kubernetes
// would come along for KubeConfig, which is what is used of it.
const onlyWhatIsUsed: Plugin = {
  name: 'only what is used of client-node',
  setup({ onResolve, resolve }) {
    const pending = Symbol('pending');
    onResolve({ filter: /./ }, async ({ path, pluginData, ...options }) => {
      if (pluginData === pending) return undefined;
      const found = await resolve(path, { ...options, pluginData: pending });
      const isClient = /\/node_modules\/@kubernetes\/client-node\//.test(found.path);
      return isClient ? { ...found, sideEffects: false } : found;
    });
  },
};

await rm(folder, { recursive: true, force: true });
await mkdir(folder, { recursive: true });
const { metafile } = await build({
  absWorkingDir: root,
  entryPoints: ['operator/main.ts'],
  outfile: file,
  bundle: true,
  platform: 'node',
  target: 'node22.19',
  format: 'cjs',
  minify: true,
  legalComments: 'none',
  metafile: true,
  // Faster ways of ws, where they are installed. No WebSocket is opened here.
  external: ['bufferutil', 'utf-8-validate'],
  plugins: [onlyWhatIsUsed],
  logLevel: 'warning',
});
const included = Object.values(metafile.outputs)
  .flatMap(({ inputs }) => Object.entries(inputs))
  .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
  .map(([input]) => input);
await writeFile(join(folder, 'LICENSES.txt'), await licences(root, included));
