import { access } from 'node:fs/promises';
import { resolve } from 'node:path';
import { ensureBinaries } from '../../controlplane/binaries.ts';
import { type Log, which } from '../../support/process.ts';
import type { ClusterInfo } from './info.ts';

/** Names the kubeconfig of a cluster to test on, in place of a node of the tests' own. */
const kubeconfigVariable = 'MACP_E2E_KUBECONFIG';

const imageVariables = {
  sidecar: 'MACP_E2E_SIDECAR_IMAGE',
  operator: 'MACP_E2E_OPERATOR_IMAGE',
  runtime: 'MACP_E2E_RUNTIME_IMAGE',
  python: 'MACP_E2E_PYTHON_IMAGE',
};

/** Whether the environment names a cluster. */
export const isGiven = (): boolean => Boolean(process.env[kubeconfigVariable]);

/** The cluster that the environment names, with images that its nodes can get; undefined when it names none. */
export async function givenCluster(log: Log): Promise<ClusterInfo | undefined> {
  const given = process.env[kubeconfigVariable];
  if (!given) return undefined;
  const kubeconfigPath = resolve(given);
  await access(kubeconfigPath).catch(() => {
    throw new Error(`${kubeconfigVariable}=${given}: there is no such file`);
  });
  const missing = Object.values(imageVariables).filter((name) => !process.env[name]);
  if (missing.length > 0) {
    throw new Error(
      `with ${kubeconfigVariable} the images that its nodes can get are named by ${missing.join(', ')}`,
    );
  }
  const image = (name: keyof typeof imageVariables) => process.env[imageVariables[name]] as string;
  return {
    kubeconfigPath,
    kubectlPath: which('kubectl') ?? (await ensureBinaries({ log })).kubectl,
    images: {
      sidecar: image('sidecar'),
      operator: image('operator'),
      runtime: image('runtime'),
      python: image('python'),
    },
  };
}
