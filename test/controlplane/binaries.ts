import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ensureToolchain, type Toolchain } from '../support/go-toolchain.ts';
import type { Log } from '../support/process.ts';

const run = promisify(execFile);

/** The programs of a control plane, as paths. */
export interface Binaries {
  etcd: string;
  'kube-apiserver': string;
  'kube-controller-manager': string;
  kubectl: string;
}

const versionFlags = (version: string) => {
  const [major, minor] = version.slice(1).split('.');
  return ['k8s.io/component-base/version', 'k8s.io/client-go/pkg/version']
    .flatMap((pkg) => [
      `-X ${pkg}.gitVersion=${version}`,
      `-X ${pkg}.gitMajor=${major}`,
      `-X ${pkg}.gitMinor=${minor}`,
    ])
    .join(' ');
};

const purpose = {
  builds: 'the test control plane',
  instead:
    'set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver, kube-controller-manager and kubectl (Kubernetes 1.36 or later)',
};

/** Programs of Kubernetes, all of one version; each set has a folder of its own in the cache. */
export function kubernetesToolchain(set: {
  name: string;
  purpose: Toolchain['purpose'];
  programs: string[];
}): Toolchain {
  return {
    name: set.name,
    source: join(import.meta.dirname, 'toolchain/kubernetes'),
    purpose: set.purpose,
    module: 'k8s.io/kubernetes',
    packages: Object.fromEntries(set.programs.map((name) => [name, `k8s.io/kubernetes/cmd/${name}`])),
    ldflags: (version) => `-s -w ${versionFlags(version)}`,
  };
}

const kubernetes = kubernetesToolchain({
  name: 'kubernetes',
  purpose,
  programs: ['kube-apiserver', 'kube-controller-manager', 'kubectl'],
});

const etcd: Toolchain = {
  name: 'etcd',
  source: join(import.meta.dirname, 'toolchain/etcd'),
  purpose,
  module: 'go.etcd.io/etcd/server/v3',
  packages: { etcd: 'go.etcd.io/etcd/server/v3' },
  ldflags: () => '-s -w',
};

/**
 * Finds the programs of a control plane: in KUBEBUILDER_ASSETS where that has a version that serves, else in the
 * cache, else by building them with Go (about ten minutes, once).
 */
export async function ensureBinaries({ log }: { log: Log }): Promise<Binaries> {
  const assets = process.env.KUBEBUILDER_ASSETS;
  if (assets) {
    const problem = await problemOfAssets(assets);
    if (!problem) return binariesIn(assets, assets);
    log(`KUBEBUILDER_ASSETS=${assets} is passed over: ${problem}`);
  }
  const etcdDir = await ensureToolchain(etcd, log);
  return binariesIn(etcdDir, await ensureToolchain(kubernetes, log));
}

function binariesIn(etcdDir: string, kubernetesDir: string): Binaries {
  return {
    etcd: join(etcdDir, 'etcd'),
    'kube-apiserver': join(kubernetesDir, 'kube-apiserver'),
    'kube-controller-manager': join(kubernetesDir, 'kube-controller-manager'),
    kubectl: join(kubernetesDir, 'kubectl'),
  };
}

async function problemOfAssets(folder: string): Promise<string | undefined> {
  for (const [name, file] of Object.entries(binariesIn(folder, folder))) {
    if (!existsSync(file)) return `it has no ${name}`;
  }
  try {
    const { stdout } = await run(join(folder, 'kube-apiserver'), ['--version']);
    const [, major, minor] = /v(\d+)\.(\d+)/.exec(stdout) ?? [];
    // MutatingAdmissionPolicy v1 begins there.
    if (Number(major) === 1 && Number(minor) >= 36) return undefined;
    return `Kubernetes 1.36 or later is needed, and it has ${stdout.trim()}`;
  } catch (error) {
    return `its kube-apiserver does not run: ${(error as Error).message}`;
  }
}
