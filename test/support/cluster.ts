import { join } from 'node:path';
import { kubeletUser, startControlPlane } from '../controlplane/controlplane.ts';
import { startKubelet } from '../kubelet/kubelet.ts';
import { applyPrerequisites } from '../local/cluster.ts';
import { kubectlFor } from '../local/kubectl.ts';
import type { ClusterInfo } from './shared.ts';

// The cluster that the integration tests share, in a process of its own. It prints one line of JSON when it is ready
// and ends when its standard input does, which the kernel closes with the process that started it.
const log = (line: string) => process.stderr.write(`${line}\n`);
const begin = Date.now();
const fail = (error: Error): never => {
  log(error.message);
  process.exit(1);
};
const controlPlane = await startControlPlane({ log }).catch(fail);
const kubelet = await startKubelet({
  kubeConfig: controlPlane.kubeConfigFor({ user: kubeletUser }),
  images: { 'macp-auth-sidecar:dev': [process.execPath, 'sidecar/main.ts'], host: [] },
  cwd: join(import.meta.dirname, '../..'),
  log,
}).catch(async (error) => {
  await controlPlane.stop();
  return fail(error);
});
// Before any test file, of which several start at once.
await applyPrerequisites(kubectlFor(controlPlane.binaries.kubectl, controlPlane.kubeconfigPath));
log(`test cluster ready after ${((Date.now() - begin) / 1000).toFixed(1)} s`);
const info: ClusterInfo = {
  kubeconfigPath: controlPlane.kubeconfigPath,
  auditLogPath: controlPlane.auditLogPath,
  binaries: controlPlane.binaries,
  kubeletDir: kubelet.dir,
  hostIP: kubelet.hostIP,
};
process.stdout.write(`${JSON.stringify(info)}\n`);

let stopping = false;
const stop = async () => {
  if (stopping) return;
  stopping = true;
  await kubelet.stop();
  await controlPlane.stop();
  process.exit(0);
};
process.stdin.on('end', stop).on('error', stop).resume();
process.on('SIGTERM', stop);
process.on('SIGINT', stop);
