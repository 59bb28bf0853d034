// Writes what the chart makes of some values to dist/manifests.yaml, for kubectl and kustomize. Flags are those of `helm
// template`, such as --values and --set.
import { mkdir, writeFile } from 'node:fs/promises';
import { release, renderChart } from '../test/support/helm.ts';

const file = new URL('../dist/manifests.yaml', import.meta.url);
const flags = ['--no-hooks', ...process.argv.slice(2)];
const log = (line: string) => process.stderr.write(`${line}\n`);

const namespace = [
  'apiVersion: v1',
  'kind: Namespace',
  'metadata:',
  `  name: ${release.namespace}`,
  '  labels: { pod-security.kubernetes.io/enforce: restricted }',
  '',
].join('\n');

try {
  const objects = await renderChart({ log, values: {}, flags });
  await mkdir(new URL('.', file), { recursive: true });
  await writeFile(file, `${namespace}${objects}`);
  log(`dist/manifests.yaml: for kubectl apply -f, or as a resource of a kustomization`);
} catch (error) {
  log((error as Error).message);
  process.exitCode = 1;
}
