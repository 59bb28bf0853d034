import { startControlPlane } from './controlplane.ts';

// For development: a control plane that stays until Ctrl-C.
const log = (line: string) => process.stderr.write(`${line}\n`);
const begin = Date.now();
const controlPlane = await startControlPlane({ log }).catch((error: Error) => {
  log(error.message);
  process.exit(1);
});
log(`ready after ${((Date.now() - begin) / 1000).toFixed(1)} s; stop with Ctrl-C\n`);
process.stdout.write(
  `export KUBECONFIG=${controlPlane.kubeconfigPath}\nalias kubectl=${controlPlane.binaries.kubectl}\n`,
);

let stopping = false;
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, async () => {
    if (stopping) return;
    stopping = true;
    await controlPlane.stop();
    process.exit(0);
  });
}
