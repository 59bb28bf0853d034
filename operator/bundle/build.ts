// Makes dist/operator/: the operator as one file of JavaScript, and the licences of what is in it.
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Plugin } from 'esbuild';
import { bundle } from '../../sidecar/bundle/bundle.ts';
import { bundleFile } from './command.ts';

// client-node does not say that its modules have no side effects, as is the case. Without this the classes of all kinds of
// Kubernetes would come along for KubeConfig, which is what is used of it.
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

await rm(join(import.meta.dirname, '../..', dirname(bundleFile)), { recursive: true, force: true });
await bundle('operator/main.ts', bundleFile, {
  // Faster ways of ws, where they are installed. No WebSocket is opened here.
  external: ['bufferutil', 'utf-8-validate'],
  plugins: [onlyWhatIsUsed],
});
