import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crdName } from '../../operator/api/names.ts';
import { kubeletUser, startControlPlane } from '../controlplane/controlplane.ts';
import { startKubelet } from '../kubelet/kubelet.ts';
import { release } from '../support/helm.ts';
import { sidecarCommand, sidecarImage } from '../support/operator.ts';
import { renderPrerequisites } from '../support/permissions.ts';
import type { Log } from '../support/process.ts';
import { which } from '../support/process.ts';
import { type Kubectl, kubectlFor } from './kubectl.ts';

/** A cluster to run the main job on. */
export interface Cluster {
  /** Of a cluster administrator. */
  kubeconfig: string;
  kubectlPath: string;
  kubectl: Kubectl;
  /** For what belongs to this run. */
  dir: string;
  /** Image and flags for the operator. */
  sidecarImage: string;
  operatorFlags: string[];
  /** Makes the kubeconfig that the operator runs with; the operator's permissions are applied by then. */
  operatorKubeconfig(): Promise<string>;
  /** The address at which this process reaches a port of a pod. */
  podAddress(namespace: string, pod: string, port: number): Promise<string>;
  stop(): Promise<void>;
}

const namespace = JSON.stringify({
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name: release.namespace },
});

/** Applies what the chart has for an operator that runs elsewhere: the CRD, and the operator's permissions. */
export async function applyPrerequisites(kubectl: Kubectl): Promise<void> {
  const objects = await renderPrerequisites([
    'crd.yaml',
    'operator/serviceaccount.yaml',
    'operator/rbac.yaml',
  ]);
  await kubectl.run(['apply', '-f', '-'], `${namespace}\n${objects}`);
  await kubectl.run(['wait', '--for=condition=Established', `crd/${crdName}`, '--timeout=60s']);
}

// A day: long enough for a demonstration, and short for a token that reads Secrets.
const tokenDuration = '24h';

/** Writes a kubeconfig of a ServiceAccount of the operator's namespace into a folder; resolves with its path. */
export async function serviceAccountKubeconfig(
  kubectl: Kubectl,
  dir: string,
  name = 'macp-auth-operator',
): Promise<string> {
  const token = await kubectl.run([
    'create',
    'token',
    name,
    '-n',
    'macp-auth-system',
    `--duration=${tokenDuration}`,
  ]);
  const config = JSON.parse(await kubectl.run(['config', 'view', '--raw', '--minify', '-o', 'json']));
  config.users[0].user = { token };
  const file = join(dir, `${name}.kubeconfig`);
  await writeFile(file, JSON.stringify(config), { mode: 0o600 });
  return file;
}

/** The embedded cluster: a real control plane, and pods as processes of this machine. Its files lie in `dir`. */
export async function embeddedCluster(dir: string, log: Log): Promise<Cluster> {
  const controlPlane = await startControlPlane({ log, dir });
  try {
    const kubelet = await startKubelet({
      kubeConfig: controlPlane.kubeConfigFor({ user: kubeletUser }),
      images: { [sidecarImage]: sidecarCommand },
      log,
    });
    const kubectl = kubectlFor(controlPlane.binaries.kubectl, controlPlane.kubeconfigPath);
    return {
      kubeconfig: controlPlane.kubeconfigPath,
      kubectlPath: controlPlane.binaries.kubectl,
      kubectl,
      dir,
      sidecarImage,
      // There is nobody else in it to be kept from others' namespaces.
      operatorFlags: ['--sidecar-image', sidecarImage, '--trusted-namespaces', 'default,macp-auth-system'],
      operatorKubeconfig: () => serviceAccountKubeconfig(kubectl, dir),
      async podAddress(namespace, pod, port) {
        const ip = await kubectl.run(['get', 'pod', pod, '-n', namespace, '-o', 'jsonpath={.status.podIP}']);
        return `http://${ip}:${port}`;
      },
      async stop() {
        await kubelet.stop();
        await controlPlane.stop();
      },
    };
  } catch (error) {
    await controlPlane.stop();
    throw error;
  }
}

/** A cluster of one's own: pods are reached through its API server, by the operator too. Its files lie in `dir`. */
export function ownCluster(dir: string, kubeconfig: string, image: string): Cluster {
  const kubectlPath = which('kubectl');
  if (!kubectlPath) throw new Error('kubectl is not on PATH: install it, or leave --kubeconfig away');
  const kubectl = kubectlFor(kubectlPath, kubeconfig);
  return {
    kubeconfig,
    kubectlPath,
    kubectl,
    dir,
    sidecarImage: image,
    operatorFlags: [
      ...['--sidecar-image', image, '--probe', 'proxy'],
      ...['--trusted-namespaces', 'macp-auth-system'],
    ],
    async operatorKubeconfig() {
      await kubectl.run(['apply', '-f', join(import.meta.dirname, 'proxy-rbac.yaml')]);
      return serviceAccountKubeconfig(kubectl, dir);
    },
    podAddress: async (namespace, pod, port) =>
      `http://127.0.0.1:${await kubectl.forward(namespace, pod, port)}`,
    stop: async () => {},
  };
}
